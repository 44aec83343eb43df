"""Catalogue metrics: coverage and novelty of recommendation lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastmf.metrics.numbers import require_ids, require_one_kind, shown_ids

__all__ = ["coverage", "novelty"]


def coverage(recommended: Any, catalogue: ArrayLike) -> float:
    """Catalogue coverage: the share of the catalogue that is recommended to at least one user [1]_.

    Parameters
    ----------
    recommended : Ranking, or array_like of ids, any shape
        Recommendations, such as ``model.recommend(users)`` or its ``ids``. Ids that are not in the catalogue are
        ignored, and so is the padding of short lists. (If the catalogue has ids that the model does not know, pass the
        Ranking: its scores tell padding from ids.)
    catalogue : array_like of ids
        All items, such as ``model.items.values``.

    Returns
    -------
    float
        Between 0 and 1; NaN for an empty catalogue.

    Raises
    ------
    DataError
        If a value is not an id, or one argument has int ids and the other str ids.

    References
    ----------
    .. [1] Ge, Delgado-Battenfeld, Jannach: Beyond accuracy: evaluating recommender systems by coverage and
       serendipity. RecSys 2010.

    Examples
    --------
    >>> coverage([[1, 2], [2, -1]], catalogue=[1, 2, 3, 4])
    0.5
    """
    known, shown = np.unique(require_ids("catalogue", catalogue)), shown_ids(recommended)
    require_one_kind(recommended=shown, catalogue=known)
    return float(np.isin(known, np.unique(shown)).mean()) if known.size else float("nan")


def novelty(recommended: Any, past: ArrayLike) -> float:
    """Novelty: the mean self-information of the recommended items, -log2 of an item's share of the past events [1]_.

    Parameters
    ----------
    recommended : Ranking, or array_like of ids, any shape
        Recommendations, as for `coverage`. Items without past events and padding are ignored.
    past : array_like of ids, shape (n,)
        The item of each past event.

    Returns
    -------
    float
        In bits: a value of b means that recommended items are on average as rare as one event in 2**b. NaN if no
        recommended item has past events.

    Raises
    ------
    DataError
        If a value is not an id, or one argument has int ids and the other str ids.

    References
    ----------
    .. [1] Zhou, Kuscsik, Liu, et al.: Solving the apparent diversity-accuracy dilemma of recommender systems. PNAS
       107(10), 2010.

    Examples
    --------
    >>> novelty([[1, 2]], past=[1, 1, 2, 3])
    1.5
    """
    items, events = np.unique(require_ids("past", past), return_counts=True)
    shown = shown_ids(recommended)
    require_one_kind(recommended=shown, past=items)
    if not items.size or not shown.size:
        return float("nan")
    place = np.minimum(np.searchsorted(items, shown), items.size - 1)
    known = items[place] == shown
    bits = np.log2(events.sum() / events[place[known]])
    return float(bits.mean()) if bits.size else float("nan")
