"""Explicit ratings: the test RMSE of rating models on the same split, and the seconds of the fit that reached it.

Every library chooses among some settings by the error on a tenth of the training set, and is then fitted to all of it;
the choice is not timed. fastmf's default model has nothing to choose. Predictions are clipped to the range of the
training values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.clocks import timed
from benchmarks.peers.data import Ratings, Size, load
from benchmarks.peers.data import split as divided


class Fitted(NamedTuple):
    """What a fit took, and its predictions for some pairs."""

    seconds: float
    predictions: np.ndarray


Fit = Callable[[Ratings, Ratings, Size, int, Any], Fitted]


def measure(fit: Fit, choices: Callable[[], Iterator[Any]], folder: Path, shape: str, factors: int) -> dict[str, Any]:
    """Choose settings, fit with them, and measure the error on the test part."""
    parts, tried = load(folder, shape), list(choices())
    if len(tried) > 1:
        train, held = divided(parts.train)
        tried.sort(key=lambda one: error(fit(train, held, parts.size, factors, one).predictions, train, held))
    found = fit(parts.train, parts.test, parts.size, factors, tried[0])
    rmse = error(found.predictions, parts.train, parts.test)
    return {"rmse": rmse, "seconds": found.seconds, "settings": str(tried[0]), "tried": len(tried)}


def error(predictions: np.ndarray, train: Ratings, test: Ratings) -> float:
    """The RMSE of predictions, clipped."""
    clipped = np.clip(np.asarray(predictions, np.float64), train.values.min(), train.values.max())
    return float(np.sqrt(np.mean((clipped - test.values) ** 2)))


def _product(**values: Any) -> Iterator[dict[str, Any]]:
    for one in product(*values.values()):
        yield dict(zip(values, one, strict=True))


# --- contestants ----------------------------------------------------------------------------------------------------


def fastmf(train: Ratings, test: Ratings, size: Size, factors: int, settings: dict[str, Any]) -> Fitted:
    from benchmarks.peers import ours
    from fastmf import MF, Options, optimizers, regularizers

    named: dict[str, Any] = {}
    if "rate" in settings:
        named = {"solver": optimizers.AdaGrad(settings["rate"]), "regularizer": regularizers.L2(settings["penalty"])}
    epochs = {"epochs": settings["epochs"]} if "epochs" in settings else {}
    options = Options(threads=1)
    MF(factors, options=options, **named).fit(ours.events(train.take(slice(0, 1_000))), progress=False)  # compile
    model, took = timed(lambda: MF(factors, options=options, **named).fit(ours.events(train), progress=False, **epochs))
    return Fitted(took.wall, model.predict(test.users, test.items))


def libmf(train: Ratings, test: Ratings, size: Size, factors: int, settings: dict[str, Any]) -> Fitted:
    from benchmarks.peers.libmf import LibMF, Settings

    library, (epochs, penalty) = LibMF(), (settings["epochs"], settings["penalty"])
    how = Settings(factors, 1, penalty=penalty)
    found, took = timed(lambda: library.predict(train, test, size, how, epochs))
    return Fitted(took.wall, found)


def surprise(train: Ratings, test: Ratings, size: Size, factors: int, settings: dict[str, Any]) -> Fitted:
    import pandas
    from surprise import SVD, Dataset, Reader

    frame, scale = pandas.DataFrame(train._asdict()), (float(train.values.min()), float(train.values.max()))
    ratings = Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()
    model, took = timed(lambda: SVD(n_factors=factors, random_state=1, **settings).fit(ratings))
    pairs = zip(test.users.tolist(), test.items.tolist(), strict=True)
    return Fitted(took.wall, np.array([model.predict(*pair).est for pair in pairs]))


def cornac(train: Ratings, test: Ratings, size: Size, factors: int, settings: dict[str, Any]) -> Fitted:
    from cornac.data import Dataset
    from cornac.models import MF

    ratings = Dataset.from_uir(zip(*(column.tolist() for column in train), strict=True), seed=1)
    model = MF(k=factors, use_bias=True, num_threads=1, seed=1, verbose=False, **settings)
    _, took = timed(lambda: model.fit(ratings))
    users, items = ratings.uid_map, ratings.iid_map
    p, b = _rows(users, test.users, (model.u_factors, model.u_biases[:, None]))
    q, c = _rows(items, test.items, (model.i_factors, model.i_biases[:, None]))
    return Fitted(took.wall, ratings.global_mean + (b + c)[:, 0] + (p * q).sum(axis=1))


def _rows(known: dict[int, int], asked: np.ndarray, tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The rows of ids, zeros for those unknown."""
    rows = np.array([known.get(one, -1) for one in asked.tolist()])
    return [np.where(rows[:, None] >= 0, table[rows], 0) for table in tables]


def myfm(train: Ratings, test: Ratings, size: Size, factors: int, settings: dict[str, Any]) -> Fitted:
    import myfm as library
    from scipy.sparse import csr_matrix, hstack

    def design(ratings: Ratings) -> Any:
        rows, ones = np.arange(ratings.users.size), np.ones(ratings.users.size)
        sides = zip(ratings[:2], size[:2], strict=True)
        return hstack([csr_matrix((ones, (rows, ids)), (rows.size, count)) for ids, count in sides], format="csr")

    model, given, samples = library.MyFMRegressor(rank=factors, random_seed=1), design(train), settings["samples"]
    how = {"n_iter": samples, "n_kept_samples": samples * 4 // 5, "group_shapes": [size.users, size.items]}
    _, took = timed(lambda: model.fit(given, train.values, **how))
    return Fitted(took.wall, model.predict(design(test)))


def nothing() -> Iterator[dict[str, Any]]:
    """The settings of a model that has none."""
    yield {}


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "fastmf Variational": partial(measure, fastmf, nothing),
    "fastmf AdaGrad": partial(
        measure, fastmf, partial(_product, rate=(0.04, 0.1), penalty=(0.03, 0.06, 0.1), epochs=(20, 40))
    ),
    "libmf": partial(measure, libmf, partial(_product, penalty=(0.03, 0.05, 0.1), epochs=(15, 25, 40))),
    "surprise": partial(
        measure, surprise, partial(_product, lr_all=(0.005, 0.01), reg_all=(0.05, 0.1), n_epochs=(20, 50))
    ),
    "cornac": partial(
        measure, cornac, partial(_product, learning_rate=(0.01, 0.02), lambda_reg=(0.05, 0.1), max_iter=(20, 50))
    ),
    "myfm": partial(measure, myfm, partial(_product, samples=(100, 200))),
}
