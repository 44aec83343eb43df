"""How good a model is on events it has not seen: as a whole, for five groups, and how sure that is.

Everything is kept as sums per user (a `UserSums`), so that blocks and seeds can be pooled, and whole users,
whose events are not independent, can be resampled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.errors import DataError
from fastmf.evaluation.holdout import Log, Model, RankingHoldout, RatingHoldout, group_masks, holdout
from fastmf.evaluation.sums import GROUPS, METRICS, Metric, UserSums, bootstrap, ranks_items, sign
from fastmf.interactions import Interactions
from fastmf.metrics.positions import require_k

__all__ = [
    "GROUPS",
    "METRICS",
    "Evaluation",
    "Log",
    "Metric",
    "RankingHoldout",
    "RatingHoldout",
    "UserSums",
    "bootstrap",
    "evaluate",
    "group_masks",
    "holdout",
    "ranks_items",
    "sign",
]


class Evaluation(NamedTuple):
    """The answer of `evaluate`.

    Attributes
    ----------
    metric : str
    value : float
    interval : (float, float)
        95 % interval of the value, from resampling whole users.
    by_group : dict
        Value per group of events, None where there are none; empty when the past was not given.
    shares : dict
        Share of the events that each group holds.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    by_group: dict[str, float | None]
    shares: dict[str, float]


def evaluate(
    model: Model, events: Interactions, metric: Metric = "rmse", past: Interactions | None = None, k: int = 10
) -> Evaluation:
    """How good a model is on events it has not been trained on.

    Parameters
    ----------
    model : MF
    events : Interactions
        What happened afterwards.
    metric : str
        Of predicted values: "rmse", "mae", "logloss" or "calibration". Of the whole catalogue ranked for each user,
        what is in `past` left out and ties counting against the model: "ndcg" (an event's value is its gain),
        "recall", "precision", "map", "mrr", "hit_rate" or "auc" (an event of positive value is relevant). Each is
        the function of that name in `fastmf.metrics`.
    past : Interactions, optional
        What the model was trained on: needed for the groups and for leaving out what a user has seen.
    k : int
        Places that count in rankings, for all but "auc".

    Returns
    -------
    Evaluation
        Its groups: "returning-user" and "new-user" (in `past` or not), and "head", "tail" and "new-item": the
        most popular items that together hold the first half of the past events, the other known items, and
        unknown ones.

    Raises
    ------
    DataError
        No events, none that count, ids of another kind than the model's, or an unknown metric; values outside [0, 1]
        for "logloss".

    Examples
    --------
    >>> import fastmf
    >>> past = fastmf.Interactions([1, 2, 3], [10, 10, 20])
    >>> model = fastmf.MF.from_factors([[1.0], [1.0]], [[3.0], [2.0], [1.0]], users=[1, 2], items=[10, 20, 30])
    >>> evaluate(model, fastmf.Interactions([1, 2], [20, 30]), "mrr", past).value  # 10 is seen; 20, then 30 are not
    0.75
    """
    k = require_k(k)
    _require_ids_of(model, "events", events)
    if past is not None:
        _require_ids_of(model, "past", past)
    if not len(events):
        raise DataError("events: there are none to evaluate on")
    log = Log.of(events) if past is None else Log.of(past, events)
    known = 0 if past is None else len(past)
    held_out = holdout(log.part(slice(0, known)), log.part(slice(known, None)), metric, k)
    sums = held_out.sums(model)
    value = sums.value()
    if value is None:
        raise DataError(f"events: {held_out.nothing}")
    low, high = np.quantile(bootstrap([sums]), [0.025, 0.975])
    groups = {} if past is None else sums.by_group()
    shares = {} if past is None else held_out.shares
    return Evaluation(metric, value, (float(low), float(high)), groups, shares)


def _require_ids_of(model: Model, name: str, events: Interactions) -> None:
    """Raise DataError unless these are events, and their ids of the kinds that a model knows."""
    if not isinstance(events, Interactions):
        raise DataError(f"{name} must be fastmf.Interactions, not {type(events).__name__}")
    model.users.require_kind(events.users, f"{name}.users")
    model.items.require_kind(events.items, f"{name}.items")
