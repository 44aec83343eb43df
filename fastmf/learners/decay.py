"""Time decay of event weights, and losses per unit of weight.

Age is measured from the newest time, except where a few events have times so far ahead of all others that these would
count for nothing: such times are taken to be errors (a wrong clock or unit).
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

_FEW = 16  # newest times considered, up to half of which may be outliers
GONE = 24  # half-lives after which a weight is below the resolution of float32 relative to 1


def numbered(batch: Interactions, users: np.ndarray, items: np.ndarray) -> Events:
    """A batch as Events, with row numbers in place of ids."""
    return Events(users, items, batch.values, batch.weights, batch.times)


def clock(history: History, half_life: float, times: np.ndarray | None = None) -> int:
    """The reference time for the age of events, in the unit of the times; there must be at least one time.

    This is the newest time of the history and of `times`. If at most eight events (and a tenth of all) are more than 24
    half-lives ahead of the next ones, and these are within 24 half-lives of each other, it is the newest of these
    instead.
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
    """A half-life in the unit of the times, or None; DataError for a timedelta if the times are not dates."""
    if not isinstance(half_life, TIMEDELTAS):
        return None if half_life is None else float(half_life)
    if not dated:
        raise DataError(
            f"half_life is {half_life!r}, and the times are plain integers, whose unit is not known: "
            "give half_life in their unit, or give datetimes as times"
        )
    return microseconds(half_life)


def require_times(batch: Interactions, history: History | None = None) -> None:
    """Raise DataError unless all events of a batch, and of the history if given, have times."""
    if batch.times is None and len(batch):
        raise DataError("half_life needs times, and the events have none")
    if history is not None:
        require_history_times(history)


def require_history_times(history: History) -> None:
    """Raise DataError unless all events of the history have times."""
    untimed = len(history) if history.untimed is None else history.untimed
    if untimed:
        raise DataError(
            f"half_life needs times, and the first {untimed} events of the history have none; "
            "fit with times (or, where rows take steps, leave the history out by history_epochs=0)"
        )


def decayed(events: Events, now: int, half_life: float) -> Events:
    """Exponential time decay: weights are halved for every `half_life` of age at `now`.

    Parameters
    ----------
    events : Events
        With times, if there are any events.
    now : int
        The reference time, see `clock`; later events keep their full weight.
    half_life : float
        In the unit of the times.

    Returns
    -------
    Events
        Weights too small for float32 are 0.

    References
    ----------
    Ding, Li (2005), Time Weight Collaborative Filtering.

    Examples
    --------
    >>> two, ones = np.zeros(2, np.int32), np.ones(2, np.float32)
    >>> decayed(Events(two, two, ones, ones, np.array([20, 30])), 30, half_life=5).weights
    array([0.25, 1.  ], dtype=float32)
    """
    if not events.values.size:  # History.recall omits one column of rows, so check the values
        return events
    assert events.times is not None
    age = np.subtract(now, np.minimum(events.times, now)).view(np.uint64)  # modulo 2**64: exact for any two times
    with np.errstate(over="ignore"):  # very old events: the weight underflows to 0
        fade = age / -float(half_life)
    np.exp2(fade, out=fade)
    if events.weights is not None:
        fade *= events.weights
    return events._replace(weights=fade.astype(np.float32))


def total_weight(events: Events) -> float:
    """The summed weight of events."""
    return float(events.users.size if events.weights is None else events.weights.sum(dtype=np.float64))


def mean_loss(lost: float, total: float) -> float:
    """Summed loss divided by total weight; 0 if that is 0."""
    return lost / total if total else 0.0


def sorted_by(side: str, state: State, events: Events) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts a fit's events by row of a side, and the start of each row; cached for the whole log."""
    count = state.groups[side].count
    if events.users.size == len(state.history):
        return state.history.sorted_by(side, count)
    return order_by(getattr(events, side), count)


def fade_of(job: UpdateJob) -> Callable[[Events], Events]:
    """The function that applies the recipe's time decay to events; the identity without a half-life."""
    if job.recipe.half_life is None or not job.arrived.users.size:
        return lambda events: events
    now = clock(job.state.history, job.recipe.half_life, job.arrived.times)
    return functools.partial(decayed, now=now, half_life=job.recipe.half_life)
