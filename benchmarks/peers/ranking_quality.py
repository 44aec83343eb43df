"""Implicit feedback: NDCG@10 and Recall@20 over the whole catalogue, on a random tenth of the events.

Items of a user's training set are excluded from the ranking. All libraries are evaluated by the same code, from their
vectors. Ties count against a contestant: items with the same score as a held-out item rank before it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.peers.clocks import Time
from benchmarks.peers.data import Ratings, load
from benchmarks.peers.recommenders import RECOMMENDERS, UNKNOWN, Recommender, Vectors

NDCG, RECALL = 10, 20
TILE = 512  # users scored at a time


def measure(
    recommender: Recommender, folder: Path, shape: str, factors: int, threads: int, epochs: int
) -> dict[str, float]:
    """Metrics after `epochs` epochs, and the seconds of the fit including set-up."""
    split, ticks = load(folder, shape), list[Time]()
    vectors = recommender(split, factors, threads, epochs, lambda: ticks.append(Time.now()))
    return {**evaluate(vectors, split.train, split.test), "seconds": ticks[-1].since(ticks[0]).wall}


def evaluate(vectors: Vectors, seen: Ratings, test: Ratings) -> dict[str, float]:
    """Means over all users of `test`; each metric is divided by the best value possible, so that its maximum is 1."""
    users = np.unique(test.users)
    known, wanted = (_grouped(ratings, users) for ratings in (seen, test))
    gains = 1 / np.log2(np.arange(2, NDCG + 2))
    ndcg, recall = 0.0, 0.0
    for first in range(0, users.size, TILE):
        tile = users[first : first + TILE]
        scores = vectors.users[tile].astype(np.float32) @ vectors.items.T.astype(np.float32) + vectors.biases
        scores = np.nan_to_num(scores, nan=UNKNOWN)
        for row, own in enumerate(scores, first):
            own[known[row]] = -np.inf
        for row, places in enumerate(_places(scores, wanted[first : first + tile.size]), first):
            most = len(wanted[row])
            ndcg += gains[places[places < NDCG]].sum() / gains[:most].sum()
            recall += np.count_nonzero(places < RECALL) / min(most, RECALL)
    return {"ndcg": float(ndcg / users.size), "recall": float(recall / users.size), "users": int(users.size)}


def _grouped(ratings: Ratings, users: np.ndarray) -> list[np.ndarray]:
    """The items of each of the sorted `users`."""
    rows = np.searchsorted(users, ratings.users).clip(max=users.size - 1)
    found = users[rows] == ratings.users
    rows, items = rows[found], ratings.items[found]
    order = np.argsort(rows, kind="stable")
    return np.split(items[order], np.searchsorted(rows[order], np.arange(1, users.size)))


def _places(scores: np.ndarray, wanted: list[np.ndarray]) -> list[np.ndarray]:
    """The ranks, from 0, of the wanted items of each row; exact for the first RECALL ranks. Overwrites `scores`."""
    own = [-np.sort(-row[items]) for row, items in zip(scores, wanted, strict=True)]
    for row, items in zip(scores, wanted, strict=True):
        row[items] = -np.inf
    most = min(RECALL, scores.shape[1])
    rivals = np.partition(scores, -most, axis=1)[:, -most:]
    return [np.arange(mine.size) + (row >= mine[:, None]).sum(axis=1) for mine, row in zip(own, rivals, strict=True)]


CONTESTANTS: dict[str, Callable[..., dict[str, float]]] = {
    name: partial(measure, recommender) for name, recommender in RECOMMENDERS.items()
}
