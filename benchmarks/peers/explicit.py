"""Explicit ratings: million ratings per second of each epoch, excluding set-up.

If a library only offers a complete fit, the time of a short fit is subtracted from that of a longer one; fastmf calls
back after every epoch, so one fit has both times. An epoch counts as one pass over all ratings whatever is computed:
LIBMF adapts its learning rate per row and has no biases, fastmf has both, Surprise computes in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.clocks import Time, between, speed, timed
from benchmarks.peers.data import load

RATE, PENALTY = 0.01, 0.05  # for libraries without good defaults
BATCH = 8_192  # PyTorch batch size
CALLS = 50_000  # events for river


def two_points(fit: Callable[[int], Any], ratings: int, short: int, long: int) -> dict[str, float]:
    """The speed of the epochs by which one fit is longer than another."""
    fit(1)  # warm up lazy imports and memory
    first, second = timed(lambda: fit(short))[1], timed(lambda: fit(long))[1]
    return between(first, second, ratings, short, long)


def fastmf(folder: Path, shape: str, factors: int, threads: int, epochs: list[int], variant: str) -> dict[str, Any]:
    from benchmarks.peers import ours

    train = load(folder, shape).train
    ours.warm_up(train, factors, threads, variant)
    short, long = epochs
    ends: list[Time] = []
    began = Time.now()
    model = ours.model(factors, threads, variant)
    model.fit(ours.events(train), long, progress=False, callbacks=[lambda _: ends.append(Time.now())])
    return between(ends[short - 1].since(began), ends[-1].since(began), train.users.size, short, long)


def libmf(folder: Path, shape: str, factors: int, threads: int, epochs: list[int]) -> dict[str, Any]:
    from benchmarks.peers.libmf import LibMF, Settings

    library, split = LibMF(), load(folder, shape)
    settings = Settings(factors, threads)
    fit = partial(library.train, split.train, split.size, settings)
    return two_points(fit, split.train.users.size, *epochs)


def surprise(folder: Path, shape: str, factors: int, threads: int, epochs: list[int]) -> dict[str, Any]:
    import pandas
    from surprise import SVD, Dataset, Reader

    train = load(folder, shape).train
    frame = pandas.DataFrame(train._asdict())
    ratings = Dataset.load_from_df(frame, Reader(rating_scale=(0.5, 5))).build_full_trainset()

    def fit(count: int) -> None:
        SVD(n_factors=factors, n_epochs=count, lr_all=RATE, reg_all=PENALTY, random_state=1).fit(ratings)

    return two_points(fit, train.users.size, *epochs)


def cornac(folder: Path, shape: str, factors: int, threads: int, epochs: list[int]) -> dict[str, Any]:
    from cornac.data import Dataset
    from cornac.models import MF

    train = load(folder, shape).train
    ratings = Dataset.from_uir(zip(*(column.tolist() for column in train), strict=True))
    settings = {"k": factors, "learning_rate": RATE, "lambda_reg": PENALTY, "use_bias": True, "num_threads": threads}

    def fit(count: int) -> None:
        MF(max_iter=count, verbose=False, **settings).fit(ratings)

    return two_points(fit, train.users.size, *epochs)


def torch(folder: Path, shape: str, factors: int, threads: int, epochs: list[int]) -> dict[str, Any]:
    """The usual PyTorch implementation: embeddings, mini-batches, SparseAdam."""
    import torch as t

    t.set_num_threads(threads)
    split = load(folder, shape)
    users, items = (t.from_numpy(column.astype(np.int64)) for column in split.train[:2])
    values, mean = t.from_numpy(split.train.values), float(split.train.values.mean())
    sizes = (split.size.users, split.size.items)
    vectors = [t.nn.Embedding(rows, factors, sparse=True) for rows in sizes]
    biases = [t.nn.Embedding(rows, 1, sparse=True) for rows in sizes]
    for table in vectors:
        t.nn.init.normal_(table.weight, 0, 0.1)
    for table in biases:
        t.nn.init.zeros_(table.weight)
    solver = t.optim.SparseAdam([table.weight for table in (*vectors, *biases)], lr=RATE)

    def fit(count: int) -> None:
        for rows in (rows for _ in range(count) for rows in t.randperm(len(values)).split(BATCH)):
            pair = (users[rows], items[rows])
            p, q = (table(side) for table, side in zip(vectors, pair, strict=True))
            b, c = (table(side).squeeze(1) for table, side in zip(biases, pair, strict=True))
            error = mean + b + c + (p * q).sum(1) - values[rows]
            loss = (error**2).mean() + PENALTY * ((p**2).sum(1) + (q**2).sum(1)).mean()
            solver.zero_grad()
            loss.backward()
            solver.step()

    return two_points(fit, len(values), *epochs)


def river(folder: Path, shape: str, factors: int, threads: int, epochs: list[int]) -> dict[str, Any]:
    """river learns one event at a time only."""
    from river import reco

    model = reco.BiasedMF(n_factors=factors, seed=1)
    some = load(folder, shape).train.take(slice(0, CALLS))
    calls = list(zip(*(column.tolist() for column in some), strict=True))

    def learn() -> None:
        for call in calls:
            model.learn_one(*call)

    return speed(CALLS, timed(learn)[1], 1e6)


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    **{name: partial(fastmf, variant=name) for name in ("fastmf", "fastmf SGD", "fastmf float16")},
    "libmf": libmf,
    "surprise": surprise,
    "cornac": cornac,
    "torch": torch,
    "river": river,
}
