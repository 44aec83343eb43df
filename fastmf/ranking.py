"""Ranking: the best items of a user, and rows alike."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.core.launch import launch
from fastmf.kernels.rank import quantized as coarse
from fastmf.kernels.rank import renewal, scores, topk
from fastmf.kernels.rank.renewal import KEPT, LOST
from fastmf.kernels.rows.grouping import order_by
from fastmf.log.events import Events
from fastmf.memory import aligned
from fastmf.parameters.ids import IdMap
from fastmf.parameters.moves import Image
from fastmf.parameters.table import Table
from fastmf.state import State

__all__ = [
    "FEWEST",
    "KEPT",
    "LOST",
    "Pool",
    "Ranking",
    "answer",
    "best_for",
    "best_items",
    "best_rows",
    "in_pieces",
    "most_similar",
    "renew",
    "widened",
    "width_of",
]

_PARALLEL_FROM = 1 << 23  # scores, milliseconds of work: threads that have gone to sleep take as long to wake up
_CHUNK = 1 << 32  # products in one launch, some 50 ms on a core: Ctrl-C waits for it
FEWEST = 16  # queries of a worker at once: with fewer, reading the rows takes longer than scoring them
_FEW = 8  # queries that are answered by way of an 8-bit copy; more share the reading of the rows
_ALL, _NONE_BARRED = np.empty(0, np.int32), np.empty(0, np.int64)


class Ranking(NamedTuple):
    """Lists of ids, best first, and their scores, one line per query; no wider than there are rows to rank.

    A list that is shorter than the others may be is padded. What pads it has score -inf, by which :attr:`lengths` knows
    what is real, and an id that is none of the model's: -1 or ``""``; where the model knows that as an id, the least
    int64 that it does not know, or None.
    """

    ids: np.ndarray
    scores: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """How many entries of each list are real."""
        return np.asarray((self.scores > -np.inf).sum(axis=-1))


class Pool(NamedTuple):
    """The rows of a table that a query may return: all but the barred ones, or only the candidates (ascending)."""

    candidates: np.ndarray  # or empty
    size: int
    barred: np.ndarray = _NONE_BARRED  # 64 rows to a word, the lowest first

    @classmethod
    def of(cls, count: int, candidates: np.ndarray | None = None, barred: np.ndarray | None = None) -> Pool:
        """What is left of `count` rows where only `candidates` may be returned, and nothing that is `barred`.

        Both are rows in any order, -1 for nothing, and may be None.
        """
        if candidates is not None:
            chosen = np.unique(candidates if barred is None else candidates[~np.isin(candidates, barred)])
            chosen = chosen[chosen >= 0]
            return cls(chosen, chosen.size)
        if barred is None:
            return cls(_ALL, count)
        bits = np.zeros(-(-count // 64) * 64, np.uint8)
        bits[barred[barred >= 0]] = 1
        return cls(_ALL, count, np.packbits(bits, bitorder="little").view("<i8").astype(np.int64, copy=False))


def width_of(k: int, table: Table | _Directions) -> int:
    """How wide lists are of which `k` entries are wanted: more than there are rows would cost time, and say nothing."""
    return min(k, max(table.count, 1))  # a kernel needs a place to write to


def in_pieces(state: State, ids: np.ndarray, most: int, rank: Callable[[np.ndarray], Ranking]) -> Ranking:
    """The lists of many queries, each piece of which is of one state; a piece is some 50 ms of work on a core."""
    items, size = state.items.table, most
    if ids.size > most:
        size = max(most, _CHUNK // (items.shape.width * max(items.count, 1)))
    if ids.size <= size:
        return state.ask(lambda: rank(ids))
    parts = [state.ask(functools.partial(rank, ids[first : first + size])) for first in range(0, ids.size, size)]
    width = max(part.ids.shape[1] for part in parts)  # the catalogue may have grown in between
    padding = state.items.ids.padding
    return Ranking(
        np.concatenate([widened(part.ids, padding, width) for part in parts]),
        np.concatenate([widened(part.scores, -np.inf, width) for part in parts]),
    )


def widened(lists: np.ndarray, filler: Any, width: int) -> np.ndarray:
    """The lists with so many size each."""
    if lists.shape[1] == width:
        return lists
    wider = np.full((len(lists), width), filler, lists.dtype)
    wider[:, : lists.shape[1]] = lists
    return wider


def best_items(state: State, loss: Any, users: np.ndarray, k: int, pool: Pool, unseen: bool, threads: int) -> Ranking:
    """The best items of user rows, what they have seen left out if `unseen`; an unknown user (-1) is a zero vector."""
    owners = users if unseen else np.full(users.size, -1, np.int32)
    return answer(state, loss, users, *best_rows(state, users, k, pool, owners, threads))


def best_rows(
    state: State, users: np.ndarray, k: int, pool: Pool, owners: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best item rows of user rows and their scores, less what is the user's own; `owners` have seen theirs."""
    queries, items, past = state.users.table, state.items.table, (state.history.past("users"), owners)
    if users.size <= _FEW and not pool.candidates.size:
        codes = state.scan.codes(items, state.history, state.gate)
        if codes is not None:
            return _rank_few((queries, users), items, codes, pool, past, k)
    return _rank((queries.factors, users), items, (None, items.records), pool, past, k, threads)


def best_for(
    state: State, vectors: Image, session: Events, k: int, pool: Pool, unseen: bool, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """The best item rows of vectors that are no rows of the model, and scores with the biases of these vectors.

    `session` has the size of vectors in place of user rows; what they have met is left out if `unseen`.
    """
    table, count = state.items.table, len(vectors.factors)
    queries = vectors.factors
    if table.layout.storage == "float16":
        queries = aligned(count, table.shape.width, np.uint16)
        queries[:] = vectors.factors.astype(np.float16).view(np.uint16)
    order, starts = order_by(session.users, count)
    nothing, owners = np.zeros(count, np.int64), np.arange(count, dtype=np.int32)
    past = (starts[:-1].copy(), np.diff(starts).astype(np.int32), order, nothing, nothing, session.items)
    who = owners if unseen else np.full(count, -1, np.int32)
    rows, values = _rank((queries, owners), table, (None, table.records), pool, (past, who), k, threads)
    return rows, values + vectors.records[:, :1]


def answer(state: State, loss: Any, users: np.ndarray, rows: np.ndarray, values: np.ndarray) -> Ranking:
    """What :func:`best_rows` found, in ids and predictions; `values` are overwritten."""
    known = state.items.ids
    kind: Any = type(loss)
    text = known.kind == "str"
    ids = np.empty(rows.shape, np.int64)
    form = (users, state.users.table.records, state.global_mean, loss)
    short = scores.answer(kind)(*form, rows, values, known.keys[:0] if text else known.keys, ids)
    if text:
        return Ranking(_padded_ids(known, rows), values)
    if short and (padding := known.padding) != -1:
        ids[rows < 0] = padding  # type: ignore[assignment]
    return Ranking(ids, values)


def renew(
    state: State,
    users: np.ndarray,
    owners: np.ndarray,
    touched: np.ndarray,
    lists: tuple[np.ndarray, np.ndarray, np.ndarray],
    threads: int,
) -> None:
    """Bring lists of user rows up to date with touched item rows (ascending): rows, scores and fates, in place.

    Those that come with fate KEPT leave with KEPT, RENEWED, or LOST: to be made anew.
    """
    items, queries = state.items.table, state.users.table
    changed = np.zeros(max(items.count, int(touched[-1]) + 1) if touched.size else 0, np.bool_)
    changed[touched] = True
    moved, log = touched[touched < items.count], state.history.past("users")
    chunk = max(FEWEST * threads, _CHUNK // (items.shape.width * max(moved.size, 1)))
    for first in range(0, users.size if touched.size else 0, chunk):
        part = slice(first, first + chunk)
        launch(
            lambda: renewal.renew(items.shape, False),
            lambda: renewal.renew(items.shape, True),
            threads if users[part].size * moved.size >= _PARALLEL_FROM else 1,
            queries.factors,
            users[part],
            items.factors,
            items.records,
            moved,
            changed,
            log,
            owners[part],
            *(column[part] for column in lists),
        )


def most_similar(state: State, side: str, rows: np.ndarray, k: int, threads: int) -> Ranking:
    """The rows of a side that have the highest cosine with each given row, itself left out, and the cosines."""
    group = state.side(side)
    kept = group.table
    lengths = np.empty(kept.count, np.float32)  # rows added meanwhile are not part of this query
    scores.lengths(kept.shape)(kept.factors, lengths)
    usual = _of_usual_length(kept, lengths)
    table = kept if usual else _Directions.of(kept, lengths.size)
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0) if usual else None
    each, nothing = np.arange(rows.size), np.zeros(rows.size, np.int64)
    itself = (each, np.ones(rows.size, np.int32), each, nothing, nothing, rows), each.astype(np.int32)
    best, cosines = _rank((table.factors, rows), table, (scale, None), Pool(_ALL, lengths.size), itself, k, threads)
    np.minimum(cosines, 1, out=cosines)  # rounded, one may be beyond
    np.maximum(cosines, -1, out=cosines, where=best >= 0)
    return Ranking(_padded_ids(group.ids, best), cosines)


def _of_usual_length(table: Table, lengths: np.ndarray) -> bool:
    """Whether float32 has the products of any two rows: of rows of zeros it has, and of any that float16 keeps."""
    low, high = lengths.min(initial=1), lengths.max(initial=1)
    if table.layout.storage == "float16" or (low >= scores.SHORTEST and high <= scores.LONGEST):
        return True
    odd = np.flatnonzero((lengths < scores.SHORTEST) | ~(lengths <= scores.LONGEST))
    return not table.factors[odd].any()


@dataclass(frozen=True)
class _Directions:
    """The rows of a table brought to length 1: float32 may not have the products of very short or very long ones."""

    shape: Any
    factors: np.ndarray
    count: int

    @classmethod
    def of(cls, table: Table, count: int) -> _Directions:
        units = aligned(count, table.shape.width)
        scores.directions(table.shape)(table.factors, units)
        return cls(table.shape, units, count)


def _padded_ids(ids: IdMap, rows: np.ndarray) -> np.ndarray:
    found = rows >= 0
    if found.all():
        return ids.take(rows.ravel()).reshape(rows.shape)
    padded = np.full(rows.shape, ids.padding, object if ids.kind == "str" else np.int64)
    padded[found] = ids.take(rows[found])
    return padded


def _rank_few(
    queries: tuple[Table, np.ndarray],
    table: Table,
    copy: tuple[np.ndarray, np.ndarray, np.ndarray],
    pool: Pool,
    past: tuple[tuple[np.ndarray, ...], np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`_rank` finds by ``query . row + bias``, by way of an 8-bit copy of the table."""
    source, rows = queries
    k = width_of(k, table)
    best, values = np.empty((rows.size, k), np.int32), np.empty((rows.size, k), np.float32)
    kernel = coarse.rank_few(table.shape)
    kernel(source.factors, rows, table.factors, table.records, copy, *pool, *past, best, values)
    return best, values


def _rank(
    queries: tuple[np.ndarray, np.ndarray],
    table: Table | _Directions,
    form: tuple[np.ndarray | None, np.ndarray | None],
    pool: Pool,
    past: tuple[tuple[np.ndarray, ...], np.ndarray],
    k: int,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The best rows by ``scale * query . row + added``, with form = (scale, added); queries are rows of factors.

    What each query must not return is in a log, `past`, as the past of a row.
    """
    (source, rows), (log, owners), k = queries, past, width_of(k, table)
    best, values = np.empty((rows.size, k), np.int32), np.empty((rows.size, k), np.float32)
    half = table.factors.dtype == np.uint16
    chunk = FEWEST
    if rows.size > FEWEST:
        chunk = max(FEWEST * threads, _CHUNK // (table.shape.width * max(pool.size, 1)))
    for first in range(0, rows.size, chunk):
        part = slice(first, first + chunk)
        workers = threads if rows[part].size * pool.size >= _PARALLEL_FROM else 1
        launch(
            lambda: topk.rank(table.shape, half, False),
            lambda: topk.rank(table.shape, half, True),
            workers,
            source,
            rows[part],
            table.factors,
            *form,
            *pool,
            log,
            owners[part],
            workers,
            best[part],
            values[part],
        )
    return best, values
