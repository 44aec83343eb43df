"""Evaluation of a model on held-out events: a metric, its value for five groups, and a bootstrap interval.

Results are kept as sums per user (`UserSums`), so that blocks and seeds can be pooled, and whole users, whose events
are not independent, can be resampled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.errors import DataError, require_flag
from fastmf.evaluation.holdout import Log, Model, RankingHoldout, RatingHoldout, group_masks, holdout
from fastmf.evaluation.sums import GROUPS, METRIC_NAMES, METRICS, Metric, UserSums, bootstrap, ranks_items, sign
from fastmf.interactions import Interactions
from fastmf.metrics.positions import require_k

__all__ = [
    "GROUPS",
    "METRICS",
    "METRIC_NAMES",
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
    """Result of `evaluate`.

    Attributes
    ----------
    metric : str
        Name of the metric.
    value : float
        Its value over all held-out events.
    interval : (float, float)
        95 % bootstrap interval of the value, from resampling whole users.
    by_group : dict of str to (float or None)
        Value per group of events, None for an empty group; an empty dict if `past` was not given.
    shares : dict of str to float
        Share of the events in each group, from 0 to 1; an empty dict if `past` was not given.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    by_group: dict[str, float | None]
    shares: dict[str, float]


def evaluate(
    model: Model,
    events: Interactions,
    metric: Metric = "rmse",
    past: Interactions | None = None,
    k: int = 10,
    exclude_seen: bool = True,
) -> Evaluation:
    """Evaluate a model on held-out events.

    Parameters
    ----------
    model : MF
        A fitted model.
    events : Interactions
        Held-out events, which the model was not trained on.
    metric : str
        A metric of predicted values: "rmse", "mae", "logloss" or "calibration". Or a metric of rankings: "ndcg" (the
        value of an event is its gain), "recall", "precision", "map", "mrr", "hit_rate" or "auc" (an event with a
        positive value is relevant). For these the whole catalogue is ranked for each user as by `recommend`, without
        the items that the user has in `past`, and ties count against the model. Each metric is the function of that
        name in `fastmf.metrics`.
    past : Interactions, optional
        The training events: needed for the groups, and to exclude seen items.
    k : int
        Cutoff of the ranking metrics: only the first k positions count. "auc" ignores it.
    exclude_seen : bool
        For metrics of rankings: rank for each user only what is not in `past`, and ask only for that. If False, the
        whole catalogue is ranked, and a pair that is in `past` is relevant if it comes again: for groceries, music and
        whatever else is taken many times.

    Returns
    -------
    Evaluation
        Value, interval and groups. Events are grouped by user into "returning-user" and "new-user" (in `past` or
        not), and by item into "head" (the most popular items that together have the first half of the past events),
        "tail" (the other items in `past`) and "new-item" (not in `past`).

    Raises
    ------
    DataError
        If there are no events or none that the metric counts, ids are of another kind than the model's, the metric is
        unknown, or a value is outside [0, 1] for "logloss".
    ValueError
        If `k` is not an integer from 1, or `exclude_seen` not a bool.
    NotFittedError
        If the model has not learned anything yet.

    Examples
    --------
    >>> import fastmf
    >>> past = fastmf.Interactions([1, 2, 3], [10, 10, 20])
    >>> model = fastmf.MF.from_factors([[1.0], [1.0]], [[3.0], [2.0], [1.0]], users=[1, 2], items=[10, 20, 30])
    >>> evaluate(model, fastmf.Interactions([1, 2], [20, 30]), "mrr", past).value  # 10 is seen; 20, then 30 are not
    0.75
    >>> evaluate(model, fastmf.Interactions([1, 2], [10, 30]), "mrr", past, exclude_seen=False).value  # 10 comes again
    0.6666666666666666
    """
    k, exclude_seen = require_k(k), require_flag("exclude_seen", exclude_seen)
    _require_ids_of(model, "events", events)
    if past is not None:
        _require_ids_of(model, "past", past)
    if not len(events):
        raise DataError("events: there are none to evaluate on")
    log = Log.of(events) if past is None else Log.of(past, events)
    known = 0 if past is None else len(past)
    held_out = holdout(log.part(slice(0, known)), log.part(slice(known, None)), metric, k, exclude_seen)
    sums = held_out.sums(model)
    value = sums.value()
    if value is None:
        raise DataError(f"events: {held_out.nothing}")
    low, high = np.quantile(bootstrap([sums]), [0.025, 0.975])
    groups = {} if past is None else sums.by_group()
    shares = {} if past is None else held_out.shares
    return Evaluation(metric, value, (float(low), float(high)), groups, shares)


def _require_ids_of(model: Model, name: str, events: Interactions) -> None:
    """Raise DataError unless these are Interactions with ids of the kinds that the model has."""
    if not isinstance(events, Interactions):
        raise DataError(f"{name} must be fastmf.Interactions, not {type(events).__name__}")
    model.users.require_kind(events.users, f"{name}.users")
    model.items.require_kind(events.items, f"{name}.items")
