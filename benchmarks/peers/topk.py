"""Top-10 lists without seen items: users per second in bulk, and microseconds for single users.

All contestants have random vectors of the same shape and the same seen items. The upper bound is the bare float32
matrix product: every score, without selection.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.clocks import latencies, speed, timed
from benchmarks.peers.data import Ratings, load

K = 10
TILE = 128  # users scored at a time
ALONE = 200  # users queried one by one
FETCHED = 1_024  # users per faiss query, with similar numbers of seen items


class Task(NamedTuple):
    """Random vectors, and the items that users 0, 1, 2, ... have seen."""

    users: np.ndarray
    items: np.ndarray
    seen: Ratings

    @classmethod
    def of(cls, folder: Path, shape: str, factors: int, users: int) -> Task:
        split, rng = load(folder, shape), np.random.default_rng(5)
        chosen = rng.choice(split.size.users, min(users, split.size.users), replace=False)
        number = np.full(split.size.users, -1, np.int32)
        number[chosen] = np.arange(chosen.size, dtype=np.int32)
        seen = split.train.take(number[split.train.users] >= 0)
        vectors, traits = (rng.standard_normal((rows, factors), np.float32) for rows in (chosen.size, split.size.items))
        return cls(vectors, traits, seen._replace(users=number[seen.users]))

    def matrix(self) -> Any:
        from scipy.sparse import csr_matrix

        ones = np.ones(self.seen.users.size, np.float32)
        return csr_matrix((ones, self.seen[:2]), shape=(len(self.users), len(self.items)))


def _measured(answer: Callable[[np.ndarray], Any], task: Task, users: int | None = None) -> dict[str, Any]:
    """Time many users in bulk, then some one by one."""
    asked = np.arange(users or len(task.users), dtype=np.int32)
    answer(asked[:TILE])  # compile, and start threads
    took = timed(lambda: answer(asked))[1]
    alone = latencies(answer, [(asked[n : n + 1],) for n in range(ALONE)])
    return {**speed(asked.size, took), "alone": alone}


def matmul(folder: Path, shape: str, factors: int, threads: int, users: int) -> dict[str, Any]:
    """The upper bound: scoring alone."""
    task = Task.of(folder, shape, factors, users)
    room, items = np.empty((TILE, len(task.items)), np.float32), task.items.T.copy()

    def answer(asked: np.ndarray) -> None:
        for first in range(0, asked.size, TILE):
            tile = task.users[asked[first : first + TILE]]
            np.matmul(tile, items, out=room[: len(tile)])

    return _measured(answer, task)


def fastmf(folder: Path, shape: str, factors: int, threads: int, users: int) -> dict[str, Any]:
    """A fit of zero epochs: the log as history, and the random initial vectors."""
    from benchmarks.peers import ours

    task = Task.of(folder, shape, factors, users)
    never = np.setdiff1d(np.arange(len(task.items), dtype=np.int32), task.seen.items)
    more = Ratings(np.full(never.size, len(task.users), np.int32), never, np.ones(never.size, np.float32))
    log = Ratings(*(np.concatenate(pair) for pair in zip(task.seen, more, strict=True)))  # so that all items are known
    model = ours.model(factors, threads, biases=False).fit(ours.events(log), epochs=0, progress=False)
    return _measured(lambda asked: model.recommend(asked, k=K), task)


def implicit(folder: Path, shape: str, factors: int, threads: int, users: int) -> dict[str, Any]:
    from implicit.als import AlternatingLeastSquares

    task = Task.of(folder, shape, factors, users)
    model = AlternatingLeastSquares(factors=factors, num_threads=threads, use_gpu=False)
    model.user_factors, model.item_factors = task.users, task.items
    rows = task.matrix()
    return _measured(lambda asked: model.recommend(asked, rows[asked], N=K), task)


def faiss_kept(folder: Path, shape: str, factors: int, threads: int, users: int) -> dict[str, Any]:
    """An exact index without removal of seen items: less work than required."""
    task = Task.of(folder, shape, factors, users)
    index = _index(task, threads)
    return _measured(lambda asked: index.search(task.users[asked], K), task)


def faiss_removed(folder: Path, shape: str, factors: int, threads: int, users: int) -> dict[str, Any]:
    """An exact index, queried for as many additional items as a user has seen, from which seen ones are removed."""
    task = Task.of(folder, shape, factors, users)
    index, seen = _index(task, threads), task.matrix()
    degree = np.diff(seen.indptr)

    def answer(asked: np.ndarray) -> None:
        asked = asked[np.argsort(degree[asked])]
        for first in range(0, asked.size, FETCHED):
            some = asked[first : first + FETCHED]
            _, found = index.search(task.users[some], int(degree[some[-1]]) + K)
            for row, user in zip(found, some, strict=True):
                own = seen.indices[seen.indptr[user] : seen.indptr[user + 1]]
                candidates = row[: own.size + K]
                candidates[~np.isin(candidates, own)][:K]

    return _measured(answer, task, users // 10)


def _index(task: Task, threads: int) -> Any:
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(task.items.shape[1])
    index.add(task.items)
    return index


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "numpy matmul": matmul,
    "fastmf": fastmf,
    "implicit": implicit,
    "faiss seen kept": faiss_kept,
    "faiss": faiss_removed,
}
