"""How much of a catalogue recommendation lists show, and how far off the beaten track they lead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastmf.metrics.numbers import require_ids, require_one_kind, shown_ids

__all__ = ["coverage", "novelty"]


def coverage(recommended: Any, catalogue: ArrayLike) -> float:
    """Share of a catalogue that occurs in the recommendations of anyone [1]_.

    Parameters
    ----------
    recommended : Ranking, or array_like of ids, any shape
        Such as ``model.recommend(users)``, or its ``ids``. What is not in the catalogue does not count; nor does what
        pads short lists, which is no id of the model (where the catalogue knows more ids than the model does, hand over
        the Ranking: its scores tell what is real).
    catalogue : array_like of ids
        Such as ``model.items.values``.

    Returns
    -------
    float
        Between 0 and 1; NaN for an empty catalogue.

    Raises
    ------
    DataError
        For what is no id, and where one side has int ids and the other str ids.

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
    """Mean self-information of the recommended items: -log2 of the share of the past events that an item holds [1]_.

    Parameters
    ----------
    recommended : Ranking, or array_like of ids, any shape
        As for `coverage`. What never occurs in the past does not count, nor does what pads short lists.
    past : array_like of ids
        The item of each event so far.

    Returns
    -------
    float
        In bits: what is recommended is on average as rare as one event in 2 to this power. NaN where nothing counts.

    Raises
    ------
    DataError
        As for `coverage`.

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
