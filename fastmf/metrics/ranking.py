"""Ranking metrics, computed from the positions of relevant items.

Every metric is defined per row (one ranking) and averaged over the rows that have a relevant item. With m relevant
items of a row at positions r_1 < r_2 < ... < r_m, of which h are at k or better:

=============  =========================================================================================
``ndcg``       discounted gains at k, over those of the best order
``recall``     h / m
``precision``  h / k
``map``        average precision: the sum of j / r_j over these h, over m
``mrr``        1 / r_1, or 0 where h is 0
``hit_rate``   1, or 0 where h is 0
``auc``        share of all pairs of a relevant and another item in which the relevant one is placed before
=============  =========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from fastmf.errors import DataError
from fastmf.metrics.found import Codes, Floats, Found
from fastmf.metrics.numbers import require_no_nan, require_numbers, require_positions
from fastmf.metrics.positions import UNRANKED, candidates, ranks, require_k

__all__ = ["RANKINGS", "Found", "auc", "hit_rate", "map", "mrr", "ndcg", "ndcg_by_row", "precision", "recall"]


def _ndcg(found: Found, k: int, _: Codes) -> Floats:
    ideal = found._replace(positions=found.nth, gains=found.gains[np.lexsort((-found.gains, found.line))])
    share: Floats = _discounted(found, k) / _discounted(ideal, k)
    return share


def _discounted(found: Found, k: int) -> Floats:
    return found.total(np.where(found.positions <= k, found.gains / np.log2(1.0 + found.positions), 0.0))


def _recall(found: Found, k: int, _: Codes) -> Floats:
    share: Floats = found.total(found.positions <= k) / found.sizes
    return share


def _precision(found: Found, k: int, _: Codes) -> Floats:
    share: Floats = found.total(found.positions <= k) / k
    return share


def _map(found: Found, k: int, _: Codes) -> Floats:
    mean: Floats = found.total(np.where(found.positions <= k, found.nth / found.positions, 0.0)) / found.sizes
    return mean


def _mrr(found: Found, k: int, _: Codes) -> Floats:
    first = found.positions[found.nth == 1]
    values: Floats = np.where(first <= k, 1.0 / first, 0.0)
    return values


def _hit_rate(found: Found, k: int, _: Codes) -> Floats:
    return np.where(found.positions[found.nth == 1] <= k, 1.0, 0.0)


def _auc(found: Found, _: int, candidates: Codes) -> Floats:
    ranked = found.positions < UNRANKED
    others = candidates[found.names] - found.total(ranked)
    before = np.where(ranked, found.positions - found.nth, others[found.line])  # other items placed before this one
    pairs = others * found.sizes
    won = pairs - found.total(before)
    share: Floats = np.divide(won, pairs, out=np.full(pairs.size, np.nan), where=pairs > 0)
    return share


# Each function returns the value at k of every row of `found`, where row r has candidates[r] candidates; NaN where it
# is not defined. Only auc uses the candidates.
RANKINGS: dict[str, Callable[[Found, int, Codes], Floats]] = {
    "ndcg": _ndcg,
    "recall": _recall,
    "precision": _precision,
    "map": _map,
    "mrr": _mrr,
    "hit_rate": _hit_rate,
    "auc": _auc,
}


def ndcg_by_row(positions: ArrayLike, rows: ArrayLike, gains: ArrayLike, k: int = 10) -> tuple[Codes, Floats]:
    """Normalised discounted cumulative gain (NDCG) at k of each row, from the positions of its relevant items.

    The gain of an item at position r <= k is divided by log2(1 + r), and the sum over the items is divided by that of
    the ideal order [1]_.

    Parameters
    ----------
    positions, rows : array_like of int, shape (n,)
        Position (see `ranks`) and row of each relevant item.
    gains : array_like of float, shape (n,)
        Gain of each item; items whose gain is not positive are not relevant.
    k : int
        Cutoff: only the first k positions count.

    Returns
    -------
    rows : ndarray of int64, shape (m,)
        The rows that have a relevant item, ascending.
    values : ndarray of float64, shape (m,)
        Their NDCG, between 0 and 1.

    Raises
    ------
    DataError
        If a position or a row is not an integer, or a gain is not a number.
    ValueError
        If `k` is not an integer from 1.

    References
    ----------
    .. [1] Järvelin, Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM TOIS 20(4), 2002.

    Examples
    --------
    >>> ndcg_by_row(positions=[1, 3], rows=[4, 5], gains=[1, 1])
    (array([4, 5]), array([1. , 0.5]))
    """
    k = require_k(k)
    gains = require_numbers("gains", gains).astype(np.float64)
    require_no_nan("gains", gains)
    found = Found.of(require_positions("positions", positions), require_positions("rows", rows), gains)
    return found.names, _ndcg(found, k, found.names)


def ndcg(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10) -> float:
    """Mean NDCG at k of full-catalogue scores, over the rows that have a relevant item; ties count against it.

    Parameters
    ----------
    scores : array_like of float, shape (queries, items)
        Scores of the whole catalogue; -inf excludes an item, as in `ranks`.
    rows, columns : array_like of int, shape (n,)
        The relevant pairs, each once.
    gains : array_like of float, shape (n,), optional
        Gain of each pair, 1 by default; pairs whose gain is not positive are not relevant.
    k : int
        Cutoff: only the first k positions count.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError
        If `scores` is not 2-d or contains NaN, a pair is outside of it, a gain is NaN, or the arrays differ in length.
    ValueError
        If `k` is not an integer from 1.

    Examples
    --------
    >>> ndcg([[0.3, 0.2, 0.1]], rows=[0], columns=[0])
    1.0
    >>> ndcg([[0.0, 0.0, 0.0]], rows=[0], columns=[0])      # every tie lost
    0.5
    """
    return _mean("ndcg", scores, rows, columns, gains, k)


def recall(
    scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10
) -> float:
    """Mean recall at k: the share of a row's relevant items that are among the first k.

    Parameters
    ----------
    scores, rows, columns, gains, k
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError, ValueError
        As for `ndcg`.

    References
    ----------
    Manning, Raghavan, Schütze: Introduction to information retrieval, chapter 8, 2008; for the others here too.

    Examples
    --------
    >>> recall([[0.3, 0.2, 0.1]], rows=[0, 0], columns=[0, 2], k=2)
    0.5
    """
    return _mean("recall", scores, rows, columns, gains, k)


def precision(
    scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10
) -> float:
    """Mean precision at k: the share of the first k positions that hold relevant items, even if a row has fewer.

    Parameters
    ----------
    scores, rows, columns, gains, k
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError, ValueError
        As for `ndcg`.

    Examples
    --------
    >>> precision([[0.4, 0.3, 0.2, 0.1]], rows=[0], columns=[1], k=4)
    0.25
    """
    return _mean("precision", scores, rows, columns, gains, k)


def map(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10) -> float:
    """Mean average precision at k: per row, the mean of the precision at each relevant item, 0 beyond k.

    The mean is over all relevant items of a row, as in trec_eval: a row with more than k of them cannot reach 1.

    Parameters
    ----------
    scores, rows, columns, gains, k
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError, ValueError
        As for `ndcg`.

    Examples
    --------
    >>> map([[0.4, 0.3, 0.2, 0.1]], rows=[0, 0], columns=[0, 3])
    0.75
    """
    return _mean("map", scores, rows, columns, gains, k)


def mrr(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10) -> float:
    """Mean reciprocal rank at k: one over the position of the first relevant item, 0 if it is beyond k.

    Parameters
    ----------
    scores, rows, columns, gains, k
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError, ValueError
        As for `ndcg`.

    References
    ----------
    Voorhees: The TREC-8 question answering track report. TREC 1999.

    Examples
    --------
    >>> mrr([[0.4, 0.3, 0.2, 0.1]], rows=[0, 0], columns=[1, 3])
    0.5
    """
    return _mean("mrr", scores, rows, columns, gains, k)


def hit_rate(
    scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10
) -> float:
    """Hit rate at k: the share of the rows that have a relevant item among the first k.

    Parameters
    ----------
    scores, rows, columns, gains, k
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError, ValueError
        As for `ndcg`.

    Examples
    --------
    >>> hit_rate([[0.4, 0.3], [0.3, 0.4]], rows=[0, 1], columns=[0, 0], k=1)
    0.5
    """
    return _mean("hit_rate", scores, rows, columns, gains, k)


def auc(scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None) -> float:
    """Mean area under the ROC curve of each row: the share of (relevant, other) pairs in the right order.

    Random scores give 0.5, but equal scores give 0, since ties count against it. Relevant items that are not candidates
    are placed last. Rows whose candidates are all relevant are skipped.

    Parameters
    ----------
    scores, rows, columns, gains
        As in `ndcg`, but of a gain only the sign counts.

    Returns
    -------
    float
        Between 0 and 1; NaN without relevant pairs.

    Raises
    ------
    DataError
        As for `ndcg`.

    References
    ----------
    Hanley, McNeil: The meaning and use of the area under a receiver operating characteristic curve. Radiology 143,
    1982.

    Examples
    --------
    >>> auc([[0.4, 0.3, 0.2]], rows=[0], columns=[1])
    0.5
    """
    return _mean("auc", scores, rows, columns, gains)


def _mean(
    metric: str, scores: ArrayLike, rows: ArrayLike, columns: ArrayLike, gains: ArrayLike | None = None, k: int = 10
) -> float:
    """Compute the mean of a metric of `RANKINGS` over the rows where it is defined."""
    rows, columns = require_positions("rows", rows), require_positions("columns", columns)
    worth = np.ones(rows.shape) if gains is None else require_numbers("gains", gains).astype(np.float64)
    k = require_k(k)
    if not rows.shape == columns.shape == worth.shape:
        raise DataError(f"rows has shape {rows.shape}, columns {columns.shape}, gains {worth.shape}")
    require_no_nan("gains", worth)  # before sorting
    order = np.argsort(worth, kind="stable")  # of relevant items with equal scores the least relevant comes first
    rows, columns, worth = rows[order], columns[order], worth[order]
    found = Found.of(ranks(scores, rows, columns), rows, worth)
    choice = candidates(scores) if metric == "auc" else found.names
    values = RANKINGS[metric](found, k, choice)
    values = values[~np.isnan(values)]
    return float(np.mean(values)) if values.size else float("nan")
