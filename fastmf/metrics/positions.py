"""Positions of relevant items in rankings of the whole catalogue."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmf.errors import DataError, require_integer
from fastmf.kernels.core.launch import launch, usable_threads
from fastmf.kernels.rank import ranks as kernels
from fastmf.kernels.rank.tiles import TILE
from fastmf.memory import aligned
from fastmf.metrics.numbers import require_no_nan, require_numbers, require_positions

__all__ = ["UNRANKED", "ranks", "ranks_of_products", "require_k"]

UNRANKED = np.iinfo(np.int64).max
_PARALLEL_FROM = 1 << 24  # comparisons, a millisecond of work
_CHUNK = 1 << 32  # products in one launch, some 100 ms on a core: Ctrl-C is handled between launches

Codes = NDArray[np.int64]


def require_k(k: int) -> int:
    """Check a cutoff, an integer from 1, and bound it so that kernels can count beyond it in int64."""
    return min(require_integer("k", k, 1), UNRANKED // 2)


def ranks(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, threads: int | None = None) -> Codes:
    """Rank of each relevant (row, column) pair among the scores of its row, sorted in descending order.

    Ties count against the relevant item: it is placed after all items with the same score.

    Parameters
    ----------
    scores : array_like of float, shape (queries, items)
        Scores of the whole catalogue, not of a sample. An item with the score -inf is not a candidate: use it to
        exclude seen items.
    rows, columns : array_like of int, shape (n,)
        The relevant pairs, each once.
    threads : int, optional
        Maximum number of threads; all cores by default.

    Returns
    -------
    ndarray of int64, shape (n,)
        Ranks, 1 for the best; `UNRANKED`, the largest int64, for pairs that are not candidates. Relevant pairs with
        equal scores are ranked in the order given.

    Raises
    ------
    DataError
        If `scores` is not 2-d or contains NaN, or a pair is outside of it.

    References
    ----------
    Krichene, Rendle: On sampled metrics for item recommendation. KDD 2020 (why the whole catalogue).

    Examples
    --------
    >>> ranks([[0.1, 0.9, 0.1]], rows=[0, 0], columns=[0, 1])
    array([3, 1])
    """
    table, rows, columns = _table(scores), require_positions("rows", rows), require_positions("columns", columns)
    if rows.shape != columns.shape or rows.ndim != 1:
        raise DataError(f"rows has shape {rows.shape}, columns {columns.shape}: one of each per pair")
    for name, given, size in (("rows", rows, table.shape[0]), ("columns", columns, table.shape[1])):
        bad = (given < 0) | (given >= size)
        if bad.any():
            place = int(np.argmax(bad))
            raise DataError(f"{name}, row {place}: {given[place]} is outside scores of shape {table.shape}")
    not_below = np.empty(rows.size, np.int64)
    large = rows.size * table.shape[1] >= _PARALLEL_FROM
    workers = usable_threads(threads) if large else 1
    launch(lambda: kernels.count(False), lambda: kernels.count(True), workers, table, rows, columns, not_below)
    own = table[rows, columns]
    return np.where(own > -np.inf, not_below - _tied_later(rows, own), UNRANKED)


def ranks_of_products(
    points: NDArray[np.floating],
    items: tuple[NDArray[np.floating], NDArray[np.floating]],
    pairs: tuple[Codes, Codes],
    excluded: tuple[Codes, Codes],
    most: int | None = None,
    threads: int | None = None,
) -> Codes:
    """Compute `ranks` for the scores ``points @ vectors.T + biases`` without storing them or computing all of them.

    The scores are not checked: NaN counts as -inf.

    Parameters
    ----------
    points : ndarray, shape (queries, factors)
        Query vectors.
    items : (ndarray, shape (items, factors); ndarray, shape (items,))
        Item vectors and biases.
    pairs, excluded : (ndarray of int64, ndarray of int64)
        Row and column of each relevant pair, and of each pair that is not a candidate; distinct, rows ascending.
    most : int, optional
        Ranks beyond this are returned as UNRANKED.
    threads : int, optional
        Maximum number of threads; all cores by default.

    Returns
    -------
    ndarray of int64
        The rank of each relevant pair.
    """
    rows, size = pairs[0], len(points)
    table, biases = _tiles(*items)
    queries = _padded(points, size)
    own, not_below = np.empty(rows.size, np.float32), np.empty(rows.size, np.int64)
    limit = UNRANKED // 2 if most is None else most
    launches = max(1, _CHUNK // max(1, table.size))
    for first in range(0, size, launches):
        stop = min(first + launches, size)
        asked, barred = (_part(*listed, first, stop) for listed in (pairs, excluded))
        start, end = np.searchsorted(rows, [first, stop])
        width = table.shape[1]
        launch(
            functools.partial(kernels.score_and_count, width, False),
            functools.partial(kernels.score_and_count, width, True),
            usable_threads(threads) if (stop - first) * len(table) >= _PARALLEL_FROM else 1,
            queries[first:stop],
            table,
            biases,
            asked,
            barred,
            limit,
            own[start:end],
            not_below[start:end],
        )
    found: Codes = np.where(own > -np.inf, not_below - _tied_later(rows, own), UNRANKED)
    return found if most is None else np.where(found > most, UNRANKED, found)


def candidates(scores: ArrayLike) -> Codes:
    """Count the candidates of each row of scores."""
    counts: Codes = np.count_nonzero(_table(scores) > -np.inf, axis=1)
    return counts


def _table(scores: ArrayLike) -> NDArray[np.floating]:
    table = require_numbers("scores", scores)
    if table.ndim != 2:
        raise DataError(f"scores has shape {table.shape}: one row per query and one column per item")
    kind = np.float32 if table.dtype == np.float32 else np.float64
    numbers: NDArray[np.floating] = np.ascontiguousarray(table, kind)
    require_no_nan("scores", numbers)
    return numbers


def _padded(vectors: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """Copy vectors to an aligned table of `count` rows, padded with zeros to whole tiles of factors."""
    table = aligned(count, max(1, -(-vectors.shape[1] // TILE)) * TILE)
    table[: len(vectors), : vectors.shape[1]] = vectors
    table[: len(vectors), vectors.shape[1] :] = 0
    table[len(vectors) :] = 0
    return table


def _tiles(
    vectors: NDArray[np.floating], biases: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Arrange item vectors and biases in whole tiles, padded with items that are ranked last."""
    count = -(-len(vectors) // TILE)
    addends = aligned(count, TILE)
    addends.ravel()[: len(vectors)] = biases
    addends.ravel()[len(vectors) :] = -np.inf
    return _padded(vectors, count * TILE), addends


def _part(rows: Codes, columns: Codes, first: int, stop: int) -> tuple[Codes, Codes]:
    """Return the start of each row from `first` to `stop`, and the columns of these rows."""
    starts = np.searchsorted(rows, np.arange(first, stop + 1))
    return starts - starts[0], columns[starts[0] : starts[-1]]


def _tied_later(rows: Codes, own: NDArray[np.floating]) -> Codes:
    """Count, for each pair, the later pairs with the same row and score."""
    order = np.lexsort((own, rows))  # stable: pairs that tie keep their order
    new = np.ones(order.size + 1, np.bool_)
    new[1:-1] = (np.diff(rows[order]) != 0) | (own[order[1:]] != own[order[:-1]])
    starts = np.flatnonzero(new)
    later = np.empty(order.size, np.int64)
    later[order] = np.repeat(starts[1:], np.diff(starts)) - 1 - np.arange(order.size)
    return later
