"""Ranking: the best items of a user, and rows alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.factors import Table
from fastmf.ids import IdMap
from fastmf.kernels import scores
from fastmf.kernels.launch import launch
from fastmf.memory import aligned
from fastmf.state import State

__all__ = ["Barred", "Ranking", "best_items", "most_similar", "seen_items"]

_PARALLEL_FROM = 2_000_000  # scores: below, a launch costs more than it saves


class Ranking(NamedTuple):
    """Lists of ids, best first, and their scores, one line per query.

    A list that is shorter than asked for is padded with id -1 (or ``""``) and score -inf; `lengths` counts the rest.
    """

    ids: np.ndarray
    scores: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """How many entries of each list are real."""
        return np.asarray((self.scores > -np.inf).sum(axis=1))


class Barred(NamedTuple):
    """Rows that a query must not return: ascending ``rows[bounds[q]:bounds[q + 1]]`` for query q."""

    rows: np.ndarray
    bounds: np.ndarray

    @classmethod
    def none(cls, queries: int) -> Barred:
        """Nothing is barred."""
        return cls(np.empty(0, np.int32), np.zeros(queries + 1, np.int64))


def seen_items(state: State, users: np.ndarray) -> Barred:
    """The items in the history of each user row; unknown users (-1) have none."""
    known = users >= 0
    events, known_bounds = state.history.of("users", users[known])
    lengths = np.zeros(users.size, np.int64)
    lengths[known] = np.diff(known_bounds)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    query = np.repeat(np.arange(users.size), lengths)
    return Barred(events.items[np.lexsort((events.items, query))], bounds)


def best_items(
    state: State, loss: Any, users: np.ndarray, k: int, candidates: np.ndarray, barred: Barred, threads: int
) -> Ranking:
    """The best candidates (item rows, ascending) of user rows; an unknown user (-1) is a zero vector."""
    factors, table = state.factors, state.factors.items
    known = users >= 0
    found = factors.users.gather(users[known], factors.start("users"))
    queries = aligned(users.size, factors.shape.width)
    queries[:] = 0
    queries[known] = found.factors
    offsets = np.full(users.size, factors.global_mean, np.float32)
    offsets[known] += found.records[:, 0]
    form = (np.ones(table.count, np.float32), table.biases())
    rows, values = _rank(table, queries, form, k, candidates, barred, threads)
    values += offsets[:, None]
    listed = rows >= 0
    predictions = values[listed]
    kind: Any = type(loss)
    scores.link(kind)(predictions, loss)
    values[listed] = predictions
    return Ranking(_padded_ids(state.ids["items"], rows), values)


def most_similar(state: State, side: str, rows: np.ndarray, k: int, threads: int) -> Ranking:
    """The rows of a side that have the highest cosine with each given row, itself left out, and the cosines."""
    table = state.factors.tables[side]
    lengths = np.empty(table.count, np.float32)
    scores.lengths(table.shape)(table.factors, lengths)
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    queries = table.gather(rows, state.factors.start(side)).factors
    queries *= scale[rows][:, None]
    itself = Barred(rows, np.arange(rows.size + 1))
    candidates = np.arange(table.count, dtype=np.int32)
    form = (scale, np.zeros(table.count, np.float32))
    best, cosines = _rank(table, queries, form, k, candidates, itself, threads)
    return Ranking(_padded_ids(state.ids[side], best), cosines)


def _padded_ids(ids: IdMap, rows: np.ndarray) -> np.ndarray:
    found = rows >= 0
    padded = np.full(rows.shape, "", object) if ids.kind == "str" else np.full(rows.shape, -1, np.int64)
    padded[found] = ids.ids(rows[found])
    return padded


def _rank(
    table: Table,
    queries: np.ndarray,
    form: tuple[np.ndarray, np.ndarray],
    k: int,
    candidates: np.ndarray,
    barred: Barred,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The best rows by ``scale * query . row + added``, with form = (scale, added)."""
    best = np.empty((len(queries), k), np.int32)
    values = np.empty((len(queries), k), np.float32)
    launch(
        lambda: scores.rank(table.shape, False),
        lambda: scores.rank(table.shape, True),
        threads if len(queries) * candidates.size >= _PARALLEL_FROM else 1,
        queries,
        table.factors,
        *form,
        candidates,
        *barred,
        best,
        values,
    )
    return best, values
