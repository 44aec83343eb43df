"""How wrong a prediction is and how good a ranking is. NumPy only.

Ties count against the ranking: an item that scores the same as a relevant one is placed before it. Otherwise
a model that gives every item the same score would be perfect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmf.errors import DataError

__all__ = ["mae", "ndcg", "ndcg_by_row", "ranks", "rmse"]

UNRANKED = np.iinfo(np.int64).max


def rmse(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Root of the mean squared error.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        In the unit of `actual`; NaN for no values.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    error = _errors(actual, predicted)
    return float(np.sqrt(np.mean(error * error))) if error.size else float("nan")


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        In the unit of `actual`; NaN for no values.

    Examples
    --------
    >>> mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    error = _errors(actual, predicted)
    return float(np.mean(np.abs(error))) if error.size else float("nan")


def ranks(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike) -> NDArray[np.int64]:
    """Place of each relevant (row, column) pair when its row of scores is sorted downwards.

    Ties count against it: of two items with one score the relevant one comes second.

    Parameters
    ----------
    scores : array_like of float, shape (queries, items)
        The whole catalogue, not a sample of it. An item whose score is -inf or NaN is no candidate.
    rows, columns : array_like of int, shape (n,)
        The relevant pairs, each once.

    Returns
    -------
    ndarray of int64, shape (n,)
        1 is the best place; pairs that are no candidates get the largest int64. Relevant pairs that tie with
        one another follow in the order given.

    Examples
    --------
    >>> ranks([[0.1, 0.9, 0.1]], rows=[0, 0], columns=[0, 1])
    array([3, 1])
    """
    scores, rows, columns = np.asarray(scores), np.asarray(rows, np.int64), np.asarray(columns, np.int64)
    own = scores[rows, columns]
    # Sorting the catalogue would cost more than counting: a row has few relevant items.
    pairs = zip(rows.tolist(), own, strict=True)
    not_below = np.array([np.count_nonzero(scores[row] >= score) for row, score in pairs], np.int64)
    return np.where(own > -np.inf, not_below - _tied_later(rows, own), UNRANKED)


def ndcg_by_row(
    places: ArrayLike, rows: ArrayLike, gains: ArrayLike, k: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Normalised discounted cumulative gain of each row, from the places of its relevant items.

    The gain of an item at place r <= k is divided by log2(1 + r); the sum is divided by the sum of the best
    order [1]_.

    Parameters
    ----------
    places, rows : array_like of int, shape (n,)
        Place (see `ranks`) and row of each relevant item.
    gains : array_like of float, shape (n,)
        How relevant it is; what is not positive is not relevant.
    k : int
        Places that count.

    Returns
    -------
    (ndarray of int64, ndarray of float64), shape (m,)
        The rows that have a relevant item, ascending, and their values between 0 and 1.

    References
    ----------
    .. [1] Järvelin, Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM TOIS 20(4), 2002.

    Examples
    --------
    >>> ndcg_by_row(places=[1, 3], rows=[4, 5], gains=[1, 1])
    (array([4, 5]), array([1. , 0.5]))
    """
    places, rows, gains = np.asarray(places), np.asarray(rows, np.int64), np.asarray(gains, np.float64)
    relevant = gains > 0
    places, rows, gains = places[relevant], rows[relevant], gains[relevant]
    names, line = np.unique(rows, return_inverse=True)
    order = np.lexsort((-gains, line))
    best_place = np.arange(order.size) - np.searchsorted(line[order], line[order]) + 1
    best = _discounted(best_place, line[order], gains[order], k, names.size)
    return names, _discounted(places, line, gains, k, names.size) / best


def ndcg(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10) -> float:
    """Mean NDCG at k of full-catalogue scores over the rows that have a relevant item; ties count against it.

    Parameters
    ----------
    scores : array_like of float, shape (queries, items)
        See `ranks`.
    rows, columns : array_like of int, shape (n,)
        The relevant pairs, each once.
    gains : array_like of float, shape (n,), optional
        How relevant each pair is; 1 when not given.
    k : int
        Places that count.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Examples
    --------
    >>> ndcg([[0.3, 0.2, 0.1]], rows=[0], columns=[0])
    1.0
    >>> ndcg([[0.0, 0.0, 0.0]], rows=[0], columns=[0])      # every tie lost
    0.5
    """
    rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
    gains = np.ones(rows.size) if gains is None else np.asarray(gains, np.float64)
    order = np.argsort(gains, kind="stable")  # among relevant ties the least relevant comes first
    rows, columns, gains = rows[order], columns[order], gains[order]
    values = ndcg_by_row(ranks(scores, rows, columns), rows, gains, k)[1]
    return float(np.mean(values)) if values.size else float("nan")


def _errors(actual: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    wanted, got = np.asarray(actual, np.float64), np.asarray(predicted, np.float64)
    if wanted.shape != got.shape:
        raise DataError(f"actual has shape {wanted.shape}, predicted {got.shape}")
    return got - wanted


def _tied_later(rows: NDArray[np.int64], own: NDArray[np.generic]) -> NDArray[np.int64]:
    """For each pair, how many later ones have its row and score."""
    order = np.lexsort((own, rows))  # stable: pairs that tie keep their order
    new = np.ones(order.size + 1, np.bool_)
    new[1:-1] = (np.diff(rows[order]) != 0) | (own[order[1:]] != own[order[:-1]])
    starts = np.flatnonzero(new)
    later = np.empty(order.size, np.int64)
    later[order] = np.repeat(starts[1:], np.diff(starts)) - 1 - np.arange(order.size)
    return later


def _discounted(
    places: NDArray[np.int64], line: NDArray[np.intp], gains: NDArray[np.float64], k: int, size: int
) -> NDArray[np.float64]:
    counted = places <= k
    share = gains[counted] / np.log2(places[counted] + 1.0)
    return np.bincount(line[counted], share, minlength=size).astype(np.float64)
