"""Histories for incremental ALS: all events of the rows that a batch names, the batch included, ready to be solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import Numbering, order_by
from fastmf.kernels.train import als
from fastmf.learners.gathering import Named
from fastmf.log.events import SIDES, Events
from fastmf.log.history import Batch, Wanted
from fastmf.plan import pieces
from fastmf.state import State

__all__ = ["OTHER", "Reading", "Touched", "touch"]

OTHER = {"users": "items", "items": "users"}
_PIECE = 1 << 16  # events read at a time, so that temporaries stay in the cache
_NO_TIMES = np.empty(0, np.int64)


class Touched(NamedTuple):
    """The rows of one side that a batch names, movable ones first, and all events of the movable ones.

    Attributes
    ----------
    named : Named
        The rows.
    bounds : int64[movable + 1]
        Row n has events ``bounds[n]`` to ``bounds[n + 1]``, the new ones last.
    met : int32 array
        Rows of the other side: those that the batch names, then all others that occur in the events.
    others, weights : int32[events], float32[events]
        For each event, the index in `met` of its row of the other side, and the confidence.
    targets : float32[events], optional
        None where all are 1.
    fresh : int32[movable]
        For rows of which only a sample of the history is read, the number of new events; for others als.FAR (users, and
        rows without history) or als.ANEW.
    """

    named: Named
    bounds: np.ndarray
    met: np.ndarray
    others: np.ndarray
    weights: np.ndarray
    targets: np.ndarray | None
    fresh: np.ndarray


class Reading(NamedTuple):
    """How past and new events are read for a solver.

    Attributes
    ----------
    split : callable
        Maps values to confidences and targets.
    fade : callable
        Applies the time decay to the weights of events.
    timed : bool
        Whether `fade` needs times.
    most : int
        The maximum number of past events read per row.
    few : int
        That of rows to which a batch adds little, 0 if there is no difference, see kernels/rows/log.py.
    check : callable, optional
        Called with the values of the events read; raises if they are invalid.
    """

    split: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    fade: Callable[[Events], Events]
    timed: bool
    most: int
    few: int = 0
    check: Callable[[np.ndarray], None] | None = None

    @np.errstate(over="ignore", invalid="ignore")  # rows that are not finite are rejected when the update is checked
    def of(self, events: Events) -> tuple[np.ndarray, np.ndarray | None]:
        """Confidences and targets of events; targets is None where all are 1."""
        if self.check is not None:
            self.check(events.values)
        faded = self.fade(events)
        weights, targets = self.split(events.values)
        if faded.weights is not None:
            weights = weights * faded.weights
        return weights, targets


def touch(state: State, arrived: Events, named: dict[str, Named], reading: Reading, threads: int) -> dict[str, Touched]:
    """The rows that a batch names and their events, for each side.

    Parameters
    ----------
    state : State
    arrived : Events
        The batch, in row numbers of the model.
    named : dict of str to Named
        The rows that the batch names, by side.
    reading : Reading
    threads : int
        With two or more, the sides are read in parallel.

    Returns
    -------
    dict of str to Touched
    """
    found = parallel_map(lambda side: _touched(side, state, arrived, named, reading), SIDES, threads)
    return dict(zip(SIDES, found, strict=True))


def _touched(side: str, state: State, arrived: Events, named: dict[str, Named], reading: Reading) -> Touched:
    rows, local, movable = named[side]
    (others_named, numbers, _), own = named[OTHER[side]], rows[:movable]
    limit, history, table = reading.most, state.history, state.side(OTHER[side]).table
    order, starts = order_by(local if movable else local[:0], rows.size)
    past, new = history.counts(side, own) if limit else np.zeros(own.size, np.int32), np.diff(starts)[:movable]
    limits = np.empty(own.size, np.int64)
    log.choose_limits(past, new, limit, reading.few, limits)
    bounds = np.concatenate([[0], np.cumsum(np.minimum(past, limits) + new)])
    near = als.FAR if side == "users" else als.ANEW  # users are solved first, and new events are a large part of theirs
    fresh = np.where(past > limits, new, np.where(past, near, als.FAR)).astype(np.int32)
    times = arrived.times if reading.timed and arrived.times is not None else _NO_TIMES
    batch = Batch((numbers, arrived.values, arrived.weights, times), order, starts)
    wanted = Wanted(reading.timed, state.value)
    others, weights, targets = np.empty(bounds[-1], np.int32), np.empty(bounds[-1], np.float32), None
    marks = state.scratch.take(table.count, others_named)
    numbering = Numbering.of(others_named, marks, min(int(bounds[-1]), table.count))
    for first, last in pieces(bounds, _PIECE):
        some, within = slice(first, last), slice(bounds[first], bounds[last])
        batch = batch._replace(starts=starts[first : last + 1])
        found = history.recall(side, own[some], bounds[first : last + 1], limits[some], numbering, batch, wanted)
        others[within] = getattr(found, OTHER[side])
        weights[within], aims = reading.of(found)
        if aims is not None:
            targets = np.empty(bounds[-1], np.float32) if targets is None else targets
            targets[within] = aims
    met = numbering.end()
    state.scratch.give(marks)
    return Touched(named[side], bounds, met, others, weights, targets, fresh)
