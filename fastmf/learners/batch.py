"""What a fit and an update share: batches in row numbers, weights that decay, and losses per event."""

from __future__ import annotations

import numpy as np

from fastmf.errors import DataError
from fastmf.interactions import Interactions
from fastmf.kernels.rows.grouping import order_by
from fastmf.log.history import Events, History
from fastmf.protocols import Objective
from fastmf.state import State

__all__ = ["decayed", "mean_loss", "newest", "numbered", "require_steps", "require_times", "sorted_by", "total_weight"]


def numbered(batch: Interactions, users: np.ndarray, items: np.ndarray) -> Events:
    """A batch with row numbers in place of ids."""
    return Events(users, items, batch.values, batch.weights, batch.times)


def newest(history: History, times: np.ndarray | None = None) -> int:
    """The newest time of a history and of new events; there must be one."""
    known = [history.newest, None if times is None else int(times.max())]
    return max(one for one in known if one is not None)


def require_times(batch: Interactions, history: History | None = None) -> None:
    """Raise DataError unless all events of a batch, and of a history that is to be read, have times to decay by."""
    if batch.times is None and len(batch):
        raise DataError("half_life needs times, and the events have none")
    if history is None:
        return
    untimed = len(history) if history.untimed is None else history.untimed
    if untimed:
        raise DataError(
            f"half_life needs times, and the first {untimed} events of the history have none; "
            "fit with times (or, where rows take steps, leave the history out by history_epochs=0)"
        )


def decayed(events: Events, now: int, half_life: float) -> Events:
    """Events as they count in training: a weight halves with every `half_life` of its age at `now`, the newest time.

    A weight too small for float32 becomes 0. Events, if there are any, must have times.

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
    age = np.subtract(now, events.times).view(np.uint64)  # right however far apart: it wraps around into place
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
    count = len(state.ids[side])
    if events.users.size == len(state.history):
        return state.history.sorted_by(side, count)
    return order_by(getattr(events, side), count)


def require_steps(objective: Objective, rate: float | None, batch_size: int) -> None:
    """ValueError where a solver that takes no steps is asked for some."""
    for name, asked in (("rate", rate is not None), ("batch_size", batch_size != 1)):
        if objective.closed_form and asked:
            raise ValueError(f"{type(objective.solver).__name__} solves whole rows: it has no {name}")
