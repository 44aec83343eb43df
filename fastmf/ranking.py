"""Ranking: the top items of users."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmf.followers.popular import kinds_by, kinds_of
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
    "leave_blank",
    "padded_ids",
    "rank_rows",
    "renew",
    "widened",
    "width_of",
]

_PARALLEL_FROM = 1 << 23  # scores, milliseconds of work: waking up idle threads takes as long
_CHUNK = 1 << 32  # products in one launch, some 50 ms on a core: Ctrl-C is handled between launches
FEWEST = 16  # queries per worker at once: with fewer, reading the rows takes longer than scoring them
_FEW = 8  # largest number of queries answered with the 8-bit copy; more queries share the reading of the rows
_ALL, _NONE_BARRED = np.empty(0, np.int32), np.empty(0, np.int64)


class Ranking(NamedTuple):
    """Recommendation lists: ids, best first, and their scores, one row per query.

    A list with fewer candidates than columns is padded at its end. Padding has the score -inf and an id that the model
    does not know: -1 or ``""``; if that is an id of the model, the smallest int64 that is not, or None.

    Attributes
    ----------
    ids : ndarray, shape (n, k)
        Item (or user) ids: int64, or object holding str.
    scores : ndarray of float32, shape (n, k)
        Scores, descending in each row.

    Examples
    --------
    >>> import fastmf
    >>> model = fastmf.MF.from_factors([[1.0]], [[0.5], [2.0]], items=[10, 20])
    >>> ranking = model.recommend([0], k=2, exclude=[20])
    >>> ranking.ids, ranking.scores, ranking.lengths
    (array([[10, -1]]), array([[ 0.5, -inf]], dtype=float32), array([1]))
    """

    ids: np.ndarray
    scores: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of entries of each list that are not padding, shape (n,)."""
        return np.asarray((self.scores > -np.inf).sum(axis=-1))


class Pool(NamedTuple):
    """Candidate rows of a query: the rows in `candidates` (ascending), or all rows that are not `barred`."""

    candidates: np.ndarray  # empty for all
    size: int
    barred: np.ndarray = _NONE_BARRED  # a bit per row, 64 to a word, the lowest bit first

    @classmethod
    def of(cls, count: int, candidates: np.ndarray | None = None, barred: np.ndarray | None = None) -> Pool:
        """Make the pool of `count` rows, restricted to `candidates` and without the `barred` ones.

        Both are row numbers in any order, where -1 is ignored, or None.
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


def width_of(k: int, table: Any) -> int:
    """Width of lists of `k` entries: at most the number of rows."""
    return int(min(k, max(table.count, 1)))  # kernels need room for one entry


def in_pieces(
    state: State, ids: np.ndarray, most: int, rank: Callable[[np.ndarray], Ranking], cost: int = 1
) -> Ranking:
    """Rank many queries in pieces of some 50 ms on a core, each of which sees one consistent state.

    `cost` is how many times longer than a product of factors a score takes.
    """
    items, size = state.items.table, most
    if ids.size > most:
        size = max(most, _CHUNK // (items.shape.width * max(items.count, 1) * cost))
    if ids.size <= size:
        return state.ask(lambda: rank(ids))
    parts = [state.ask(functools.partial(rank, ids[first : first + size])) for first in range(0, ids.size, size)]
    width = max(part.ids.shape[1] for part in parts)  # the catalogue may have grown between pieces
    padding = state.items.ids.padding
    return Ranking(
        np.concatenate([widened(part.ids, padding, width) for part in parts]),
        np.concatenate([widened(part.scores, -np.inf, width) for part in parts]),
    )


def widened(lists: np.ndarray, filler: Any, width: int) -> np.ndarray:
    """Pad lists with `filler` to a width."""
    if lists.shape[1] == width:
        return lists
    wider = np.full((len(lists), width), filler, lists.dtype)
    wider[:, : lists.shape[1]] = lists
    return wider


def best_items(state: State, loss: Any, users: np.ndarray, k: int, pool: Pool, unseen: bool, threads: int) -> Ranking:
    """Rank the items for user rows, without seen items if `unseen`; an unknown user (-1) stands at the prior."""
    owners = users if unseen else np.full(users.size, -1, np.int32)
    return answer_users(state, loss, users, *best_rows(state, users, k, pool, owners, threads))


def best_rows(
    state: State, users: np.ndarray, k: int, pool: Pool, owners: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best item rows for user rows, and their scores without the user's bias.

    `owners` are the rows of the users whose seen items are excluded, -1 for none.
    """
    best, values = _room(users.size, k, state.items.table)
    for places, alone, added in _parts(state, lambda: kinds_of(state, users)):
        asked = _queries(state, users[places], alone)
        best[places], values[places] = _best_rows(state, asked, k, pool, owners[places], threads, added)
    return best, values


def _parts(state: State, kinds: Callable[[], np.ndarray]) -> list[tuple[Any, bool, np.ndarray]]:
    """Which queries are ranked alike: their places, whether their rows do not count, and what is added to items.

    All at once, with the biases of items, where no live popularity is served; else by the kinds of their users.
    """
    live = state.live
    added = None if live is None else live.added(state)
    if live is None or added is None:
        return [(slice(None), False, state.items.table.records)]
    return live.parts(added, kinds())


def _queries(state: State, users: np.ndarray, nothing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Factors, and which rows of these stand for user rows, -1 for zero: for all if `nothing` of the users is asked."""
    table = state.users.table
    if nothing:
        return table.factors, np.full(users.size, -1, np.int32)
    if table.start.row is not None and users.size and users.min() < 0:
        return _as_stored(table.gather_or_unknown(users).factors, table), np.arange(users.size, dtype=np.int32)
    return table.factors, users


def _best_rows(
    state: State,
    queries: tuple[np.ndarray, np.ndarray],
    k: int,
    pool: Pool,
    owners: np.ndarray,
    threads: int,
    added: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`best_rows` for queries, with what is added to the scores of items."""
    items, past = state.items.table, (state.history.past("users"), owners)
    if owners.size <= _FEW and not pool.candidates.size:
        codes = state.scan.codes(items, state.history, state.gate)
        if codes is not None:
            return _rank_few(queries, items, added, codes, pool, past, k)
    return rank_rows(queries, items, (None, added), pool, past, k, threads)


def best_for(
    state: State, vectors: Image, session: Events, k: int, pool: Pool, unseen: bool, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best item rows for vectors that are not rows of the model, and their scores with these vectors' biases.

    `session` has positions in `vectors` in place of user rows; its items are excluded if `unseen`.
    """
    table, count = state.items.table, len(vectors.factors)
    queries = _as_stored(vectors.factors, table)
    order, starts = order_by(session.users, count)
    nothing, owners = np.zeros(count, np.int64), np.arange(count, dtype=np.int32)
    past = (starts[:-1].copy(), np.diff(starts).astype(np.int32), order, nothing, nothing, session.items)
    who = owners if unseen else np.full(count, -1, np.int32)
    rows, values = _room(count, k, table)
    for places, alone, added in _parts(state, lambda: kinds_by(np.diff(starts))):
        asked = queries, np.full(owners[places].size, -1, np.int32) if alone else owners[places]
        rows[places], values[places] = rank_rows(asked, table, (None, added), pool, (past, who[places]), k, threads)
    return rows, values + vectors.records[:, :1]


def _room(count: int, k: int, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Room for so many lists: rows and scores."""
    shape = count, width_of(k, table)
    return np.empty(shape, np.int32), np.empty(shape, np.float32)


def _as_stored(vectors: np.ndarray, table: Table) -> np.ndarray:
    """Vectors in the precision of a table, as the bits of float16 where that is its."""
    if table.layout.storage != "float16":
        return vectors
    stored = aligned(len(vectors), table.shape.width, np.uint16)
    stored[:] = vectors.astype(np.float16).view(np.uint16)
    return stored


def answer_users(state: State, loss: Any, users: np.ndarray, rows: np.ndarray, values: np.ndarray) -> Ranking:
    """As :func:`answer`; an unknown user (-1) has the bias of the prior, or no list if nothing tells items apart."""
    leave_blank(state, loss, users < 0, rows, values)
    if (bias := state.users.table.unknown.records[0, 0]) != 0:
        values[users < 0] += bias
    return answer(state, loss, users, rows, values)


def leave_blank(state: State, loss: Any, nobody: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Empty the lists of unknown users, in place, where all items score zero: there are neither biases nor a prior."""
    queries = state.users.table
    plain = queries.start.row is None and (loss.kind == "all-pairs" or not queries.shape.biases)
    plain = plain and (state.live is None or state.live.added(state) is None)
    if plain and nobody.any():
        rows[nobody], values[nobody] = -1, -np.inf


def answer(state: State, loss: Any, users: np.ndarray, rows: np.ndarray, values: np.ndarray) -> Ranking:
    """Convert what :func:`best_rows` found to ids and predictions; `values` are overwritten."""
    known = state.items.ids
    kind: Any = type(loss)
    text = known.kind == "str"
    ids = np.empty(rows.shape, np.int64)
    form = (users, state.users.table.records, state.global_mean, loss)
    short = scores.answer(kind)(*form, rows, values, known.keys[:0] if text else known.keys, ids)
    if text:
        return Ranking(padded_ids(known, rows), values)
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
    """Update lists of user rows for changed item rows (`touched`, ascending): rows, scores and fates, in place.

    A list whose fate is KEPT gets the fate KEPT (unchanged), RENEWED (updated) or LOST (must be ranked again).
    """
    for places, alone, added in _parts(state, lambda: kinds_of(state, users)):
        rows = np.full(users[places].size, -1, np.int32) if alone else users[places]
        some = lists[0][places], lists[1][places], lists[2][places]
        _renew(state, rows, owners[places], touched, some, threads, added)
        if not isinstance(places, slice):  # views of a slice are the lists themselves
            for column, one in zip(lists, some, strict=True):
                column[places] = one


def _renew(
    state: State,
    users: np.ndarray,
    owners: np.ndarray,
    touched: np.ndarray,
    lists: tuple[np.ndarray, np.ndarray, np.ndarray],
    threads: int,
    added: np.ndarray,
) -> None:
    """As :func:`renew`, with what is added to the scores of items."""
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
            added,
            moved,
            changed,
            log,
            owners[part],
            *(column[part] for column in lists),
        )


def padded_ids(ids: IdMap, rows: np.ndarray) -> np.ndarray:
    """The ids of rows, padding for -1."""
    found = rows >= 0
    if found.all():
        return ids.take(rows.ravel()).reshape(rows.shape)
    padded = np.full(rows.shape, ids.padding, object if ids.kind == "str" else np.int64)
    padded[found] = ids.take(rows[found])
    return padded


def _rank_few(
    queries: tuple[np.ndarray, np.ndarray],
    table: Table,
    added: np.ndarray,
    copy: tuple[np.ndarray, np.ndarray, np.ndarray],
    pool: Pool,
    past: tuple[tuple[np.ndarray, ...], np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rank by ``query . row + added`` as :func:`rank_rows` does, screening the rows with an 8-bit copy of the table."""
    source, rows = queries
    k = width_of(k, table)
    best, values = np.empty((rows.size, k), np.int32), np.empty((rows.size, k), np.float32)
    kernel = coarse.rank_few(table.shape)
    kernel(source, rows, table.factors, added, copy, *pool, *past, best, values)
    return best, values


def rank_rows(
    queries: tuple[np.ndarray, np.ndarray],
    table: Any,
    form: tuple[np.ndarray | None, np.ndarray | None],
    pool: Pool,
    past: tuple[tuple[np.ndarray, ...], np.ndarray],
    k: int,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best rows by ``scale * query . row + added``, with form = (scale, added); queries are rows of factors.

    `table` has a shape, factors and a count. The rows excluded for each query are given as the past of a row in a log.
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
