"""New events on a trained model: latency of single events in microseconds, throughput of batches in events per second.

Events are those of the test set; ids are Python ints, batches are arrays. A batch is one pass over its events. Input
that other libraries need in addition is prepared untimed, in their favour: for implicit the new rows of the matrix, for
LightFM a matrix with one event.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.clocks import latencies
from benchmarks.peers.data import Ratings, load
from benchmarks.peers.recommenders import matrix

CALLS = 20_000
WARM_UP = 1_000  # untimed calls
SLOW_CALLS = 300  # calls of libraries that take more than a millisecond each
BATCH, BATCHES = 10_000, 7
RIVER_EVENTS = 200_000  # events that river is trained on; all would take minutes


def _calls(ratings: Ratings, count: int) -> list[tuple[int, int, float]]:
    return list(zip(*(column[:count].tolist() for column in ratings), strict=True))


def _batches(ratings: Ratings) -> list[Ratings]:
    """Batches of the last events, which single calls do not use; smaller ones if there are few."""
    size = min(BATCH, ratings.users.size // BATCHES)
    first = ratings.users.size - BATCHES * size
    return [ratings.take(slice(start, start + size)) for start in range(first, ratings.users.size, size)]


def _batch_speed(learn: Callable[[Ratings], Any], test: Ratings) -> float:
    """Events per second, the median over the batches after the first."""
    took = []
    for batch in _batches(test):
        began = time.perf_counter()
        learn(batch)
        took.append((time.perf_counter() - began) / batch.users.size)
    return 1 / float(np.median(took[1:]))


def fastmf(folder: Path, shape: str, factors: int) -> dict[str, Any]:
    from benchmarks.peers import ours

    split = load(folder, shape)
    model = ours.model(factors, threads=1).fit(ours.events(split.train), epochs=1, progress=False)
    calls = _calls(split.test, WARM_UP + CALLS)
    for user, item, value in calls[:WARM_UP]:  # compile
        model.learn_one(user, item, value)
        model.predict_one(user, item)
    model.flush()
    learn = latencies(model.learn_one, calls[WARM_UP:])
    predict = latencies(model.predict_one, [call[:2] for call in calls[WARM_UP:]])
    model.flush()
    batches = _batch_speed(lambda batch: model.update(ours.events(batch), ours.SINGLE_PASS), split.test)
    return {"learn": learn, "predict": predict, "batch": batches}


def river(folder: Path, shape: str, factors: int) -> dict[str, Any]:
    from river import reco

    split = load(folder, shape)
    model = reco.BiasedMF(n_factors=factors, seed=1)
    for call in _calls(split.train, RIVER_EVENTS):
        model.learn_one(*call)
    calls = _calls(split.test, CALLS)

    def batch(ratings: Ratings) -> None:
        for call in _calls(ratings, BATCH):
            model.learn_one(*call)

    predict = latencies(model.predict_one, [call[:2] for call in calls])
    return {"learn": latencies(model.learn_one, calls), "predict": predict, "batch": _batch_speed(batch, split.test)}


def lightfm(folder: Path, shape: str, factors: int) -> dict[str, Any]:
    from lightfm import LightFM
    from scipy.sparse import coo_matrix

    split = load(folder, shape)

    def pairs(ratings: Ratings) -> Any:
        ones = np.ones(ratings.users.size, np.float32)
        return coo_matrix((ones, ratings[:2]), shape=split.size[:2])

    model = LightFM(no_components=factors, loss="warp", random_state=1)
    model.fit_partial(pairs(split.train), epochs=1)
    singles = [(pairs(split.test.take(slice(n, n + 1))),) for n in range(SLOW_CALLS)]
    asked = [(split.test.users[n : n + 1], split.test.items[n : n + 1]) for n in range(SLOW_CALLS)]
    return {
        "learn": latencies(model.fit_partial, singles),
        "predict": latencies(model.predict, asked),
        "batch": _batch_speed(lambda batch: model.fit_partial(pairs(batch)), split.test),
    }


def implicit(folder: Path, shape: str, factors: int) -> dict[str, Any]:
    from implicit.als import AlternatingLeastSquares

    split = load(folder, shape)
    by_user = matrix(split.train, split)
    by_item = by_user.T.tocsr()
    model = AlternatingLeastSquares(factors=factors, iterations=1, num_threads=1, use_gpu=False, random_state=1)
    model.fit(by_user, show_progress=False)
    pairs = [call[:2] for call in _calls(split.test, SLOW_CALLS)]
    rows = [(user, by_user[user], item, by_item[item]) for user, item in pairs]

    def learn(user: int, user_row: Any, item: int, item_row: Any) -> None:
        model.partial_fit_users([user], user_row)
        model.partial_fit_items([item], item_row)

    def batch(ratings: Ratings) -> None:
        users, items = np.unique(ratings.users), np.unique(ratings.items)
        model.partial_fit_users(users, by_user[users])
        model.partial_fit_items(items, by_item[items])

    predict = latencies(lambda user, item: model.user_factors[user] @ model.item_factors[item], pairs)
    return {"learn": latencies(learn, rows), "predict": predict, "batch": _batch_speed(batch, split.test)}


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "fastmf": fastmf,
    "river": river,
    "lightfm": lightfm,
    "implicit": implicit,
}
