"""Weights: how much events count, as they fade, and losses per unit of weight.

Age is counted from the newest time, unless a few events only have reached it, so far ahead of all others that next to
them nothing else would count: a clock was wrong there, or in another unit, and one such event must not end learning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmf.errors import DataError
from fastmf.interactions import Interactions
from fastmf.kernels.rows.grouping import order_by
from fastmf.learners.job import UpdateJob
from fastmf.log.events import Events
from fastmf.log.history import History, newest_of
from fastmf.recipes import TIMEDELTAS, microseconds
from fastmf.state import State

__all__ = [
    "GONE",
    "clock",
    "decayed",
    "fade_of",
    "half_life_in",
    "mean_loss",
    "numbered",
    "require_history_times",
    "require_times",
    "sorted_by",
    "total_weight",
]

_FEW = 16  # of the newest times, of which half may be wrong
GONE = 24  # half-lives: next to a weight of 1, float32 forgets what is smaller than 2**-24


def numbered(batch: Interactions, users: np.ndarray, items: np.ndarray) -> Events:
    """A batch with row numbers in place of ids."""
    return Events(users, items, batch.values, batch.weights, batch.times)


def clock(history: History, half_life: float, times: np.ndarray | None = None) -> int:
    """The time that age is counted from, of a history and of new events; there must be one.

    That is the newest, unless at most eight events (and a tenth of all) are more than 24 half-lives ahead of the next
    ones, which are close to each other: then it is the newest of these.
    """
    few, count = history.latest, len(history) - (history.untimed or 0)
    if times is not None:
        few, count = newest_of(np.concatenate([few, times]), _FEW), count + times.size
    latest, far = few[::-1].tolist(), GONE * half_life
    for ahead in range(min(_FEW // 2, count // 10) + 1):
        alone = ahead == 0 or latest[ahead - 1] - latest[ahead] > far
        if alone and latest[ahead] - latest[-1] <= far:
            return int(latest[ahead])
    return int(latest[0])


def half_life_in(half_life: Any, dated: bool) -> float | None:
    """A half-life, if there is one, in the unit of the times; DataError for a timedelta where nobody knows which."""
    if not isinstance(half_life, TIMEDELTAS):
        return None if half_life is None else float(half_life)
    if not dated:
        raise DataError(
            f"half_life is {half_life!r}, and the times are plain integers, whose unit is not known: "
            "give half_life in their unit, or give datetimes as times"
        )
    return microseconds(half_life)


def require_times(batch: Interactions, history: History | None = None) -> None:
    """Raise DataError unless all events of a batch, and of a history that is to be read, have times to decay by."""
    if batch.times is None and len(batch):
        raise DataError("half_life needs times, and the events have none")
    if history is not None:
        require_history_times(history)


def require_history_times(history: History) -> None:
    """Raise DataError unless all events of a history have times to decay by."""
    untimed = len(history) if history.untimed is None else history.untimed
    if untimed:
        raise DataError(
            f"half_life needs times, and the first {untimed} events of the history have none; "
            "fit with times (or, where rows take steps, leave the history out by history_epochs=0)"
        )


def decayed(events: Events, now: int, half_life: float) -> Events:
    """Events as they count in training: a weight halves with every `half_life` of its age at `now`, the newest time.

    A weight too small for float32 becomes 0, and what is newer than `now` counts in full. Events, if there are any,
    must have times.

    References
    ----------
    Ding, Li (2005), Time Weight Collaborative Filtering.

    Examples
    --------
    >>> two, ones = np.zeros(2, np.int32), np.ones(2, np.float32)
    >>> decayed(Events(two, two, ones, ones, np.array([20, 30])), 30, half_life=5).weights
    array([0.25, 1.  ], dtype=float32)
    """
    if not events.values.size:  # History.recall leaves out the rows of the side that is asked about
        return events
    assert events.times is not None
    age = np.subtract(now, np.minimum(events.times, now)).view(np.uint64)  # wraps around into place, however far apart
    with np.errstate(over="ignore"):  # so old that nothing is left
        fade = age / -float(half_life)
    np.exp2(fade, out=fade)
    if events.weights is not None:
        fade *= events.weights
    return events._replace(weights=fade.astype(np.float32))


def total_weight(events: Events) -> float:
    """What all events count together."""
    return float(events.users.size if events.weights is None else events.weights.sum(dtype=np.float64))


def mean_loss(lost: float, total: float) -> float:
    """A summed loss per unit of weight; 0 where there is none."""
    return lost / total if total else 0.0


def sorted_by(side: str, state: State, events: Events) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts events of a fit by the rows of a side, and the start of each row in it.

    That of the whole log is there already.
    """
    count = state.groups[side].count
    if events.users.size == len(state.history):
        return state.history.sorted_by(side, count)
    return order_by(getattr(events, side), count)


def fade_of(job: UpdateJob) -> Callable[[Events], Events]:
    """What makes old events count less, if the recipe has them do so."""
    if job.recipe.half_life is None or not job.arrived.users.size:
        return lambda events: events
    now = clock(job.state.history, job.recipe.half_life, job.arrived.times)
    return functools.partial(decayed, now=now, half_life=job.recipe.half_life)
