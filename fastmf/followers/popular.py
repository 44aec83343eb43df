"""Live popularity: recent events of all items, for some half-lives, and the terms of rankings that follow from them.

All of it is a function of the log. With T events so far, the half-lives that are tried are shares of the largest power
of two up to T, so that they double as T does; counts of a half-life h are as of its origin, the last multiple of h / 2,
and events since then weigh a little more than 1. So an item's term changes when an event names it, and those of all
items when the origin moves on: once in h / 2 events, when the counts are made anew from the last 12 h.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta
from fastmf.gate import mine
from fastmf.kernels.rank import popular
from fastmf.memory import grown, zeros

__all__ = ["KINDS", "LivePopularity", "Served", "column_of", "kinds_by", "kinds_of", "ladder", "served_by", "served_of"]

KINDS = 3  # of users: without events, with few, with more
_FEW = 5  # events
_SHARES = (6, 5, 4, 3)  # half-lives as powers of 1 / 2 of the events so far
_SHORTEST = 16.0  # events
_WINDOW = 12  # half-lives after which an event is forgotten: its weight is below 1 / 4096
_NO_ROWS = np.empty(0, np.int32)


class Rung(NamedTuple):
    """A half-life in events, and the position in the log at which an event weighs 1."""

    half_life: float
    origin: int


class Served(NamedTuple):
    """What is added to scores for a kind of users: the half-life in events, the weight, and whether it stands alone."""

    half_life: float
    weight: float
    alone: bool

    @property
    def numbers(self) -> tuple[float, float, float]:
        """The parameters of the model that say so: 0 stands for an infinite half-life. See :func:`served_by`."""
        return 0.0 if self.half_life == math.inf else self.half_life, self.weight, float(self.alone)

    @property
    def nothing(self) -> bool:
        """Whether rankings are those of the model."""
        return not self.weight and not self.alone


def ladder(events: int, half_life: float | None) -> tuple[Rung, ...]:
    """The half-lives that are counted after so many events: the one given, or those to choose from."""
    if half_life is not None:
        return (_rung(half_life, events),)
    power = 2.0 ** (max(events, 1).bit_length() - 1)
    tried = [max(power * 0.5**share, _SHORTEST * 2.0 ** (_SHARES[0] - share)) for share in _SHARES]
    return (*(_rung(one, events) for one in tried), _rung(math.inf, events))


def column_of(rungs: tuple[Rung, ...], half_life: float) -> int:
    """Which of the rungs has a half-life; the shortest if none has it any more."""
    return next((column for column, rung in enumerate(rungs) if rung.half_life == half_life), 0)


def _rung(half_life: float, events: int) -> Rung:
    if half_life == math.inf:
        return Rung(half_life, 0)
    step = max(int(half_life / 2), 1)
    return Rung(half_life, events // step * step)


class LivePopularity:
    """Recent events of items and the terms of rankings; made at first use, and kept current from then on.

    Only who holds the lock of the state changes it.

    Parameters
    ----------
    popularity : Popularity
        What has been fixed by the caller.
    """

    def __init__(self, popularity: Any) -> None:
        self.popularity = popularity
        self._position = -1  # events counted, -1 if counts have to be made anew
        self._known = 0  # rows whose terms are there
        self._rungs = ladder(0, popularity.half_life)
        self._served: tuple[Served, ...] = ()
        self._counts, self.logs = (zeros(1, kind, len(self._rungs)) for kind in (np.int64, np.float32))
        self._added: list[np.ndarray] = []

    # --- as a follower ------------------------------------------------------------------------------------------------

    def prepare(self, state: Any, delta: Delta) -> None:
        """Make room for new items, or raise CapacityError."""
        if self._position >= 0:
            self._make_room(state.counts_after(delta)["items"])

    def abort(self) -> None:
        """Nothing to undo: room is no content."""

    def follow(self, state: Any, delta: Delta) -> None:
        """Count the events of a Delta, once, or take them back."""
        before, self._position = self._position, -1
        if before >= 0:
            self._bring(state, before, delta.moves["items"].rows, delta.log.items)

    def copy(self) -> LivePopularity:
        """One for a copy of the state, which counts at first use."""
        return LivePopularity(self.popularity)

    # --- for questions ------------------------------------------------------------------------------------------------

    def catch_up(self, state: Any, start: bool = True) -> None:
        """Count what has been learned singly, or everything at first use, unless this is not to be a `start`."""
        if self._position == len(state.history) or (self._position < 0 and not start):
            return
        lock, missing = state.gate.lock, self._position < 0 or len(self.logs) < state.items.count
        if mine(lock):
            self._count_up(state)
            return
        try:  # an interrupt may arrive as soon as the lock is held
            if lock.acquire(blocking=missing):  # if others hold it, terms of a moment ago will do
                self._count_up(state)
        finally:
            if mine(lock):
                lock.release()

    def _count_up(self, state: Any) -> None:
        """Count what has come; questions that have begun are asked again, and others wait until it is done."""
        state.finish()
        self._make_room(state.items.count)
        before, self._position = self._position, -1
        state.gate.changes[0] += 2
        self._bring(state, before, _NO_ROWS, _NO_ROWS)

    def added(self, state: Any) -> list[np.ndarray] | None:
        """What is added to products of rows, by kind of users, float32[items, fields] of which column 0 counts.

        None if that is the bias of the item for all of them.
        """
        if all(one.nothing for one in served_of(state)):
            return None
        self.catch_up(state)
        return self._added

    def parts(self, added: list[np.ndarray], kinds: np.ndarray) -> list[tuple[Any, bool, np.ndarray]]:
        """For each kind of users among these: their places, whether popularity alone is served, and what is added."""
        return [
            (np.flatnonzero(kinds == kind), self._served[kind].alone, added[kind]) for kind in np.unique(kinds).tolist()
        ]

    def alone(self, kinds: np.ndarray) -> np.ndarray:
        """Whether popularity alone is served to users of these kinds."""
        found: np.ndarray = np.array([one.alone for one in self._served])[kinds]
        return found

    def key(self, state: Any) -> tuple[Any, ...]:
        """What changes whenever the terms of items do that no event names."""
        self.added(state)
        served = [one for one in self._served if not one.nothing]
        return self._served, tuple(self._rungs[column_of(self._rungs, one.half_life)] for one in served)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _make_room(self, items: int) -> None:
        self._counts, self.logs = grown(self._counts, items), grown(self.logs, items)
        self._added = [grown(one, items) for one in self._added]

    def _bring(self, state: Any, before: int, moved: np.ndarray, removed: np.ndarray) -> None:
        """Bring what counts `before` events up to date; items have `moved`, and events `removed` are taken back."""
        events, rungs = len(state.history), ladder(len(state.history), self.popularity.half_life)
        if removed.size < before - events:
            before = -1
        whole, log = before < 0, state.history.items_since(0)
        for column, rung in enumerate(rungs):
            if before >= 0 and rung == self._rungs[column]:
                span = (log, before, events, 0, 1) if events >= before else (removed, 0, before - events, events, -1)
            else:
                self._counts[:, column], whole = 0, True
                first = 0 if rung.half_life == math.inf else max(0, rung.origin - int(_WINDOW * rung.half_life))
                span = (log, first, events, 0, 1)
            items, begin, end, first, sign = span
            popular.tally()(items, begin, end, first, rung.origin, rung.half_life, sign, column, self._counts)
        count = state.items.count
        if whole:
            rows = np.arange(count, dtype=np.int32)
        else:
            named = log[before:] if events >= before else removed
            rows = np.concatenate([moved, named, np.arange(self._known, count, dtype=np.int32)])
            rows = rows[rows < count]
        popular.terms()(rows, self._counts, self.logs)
        self._blend(state, rows, rungs)
        self._rungs, self._known, self._position = rungs, count, events

    def _blend(self, state: Any, rows: np.ndarray, rungs: tuple[Rung, ...]) -> None:
        served, table = served_of(state), state.items.table
        if served != self._served:
            rows = np.arange(table.count, dtype=np.int32)
        fields = table.records.shape[1]
        if not self._added:
            self._added = [zeros(len(self.logs), np.float32, fields) for _ in range(KINDS)]
        for one, added in zip(served, self._added, strict=True):
            column = column_of(rungs, one.half_life)
            popular.blend()(rows, self.logs, column, one.weight, one.alone, table.records, added)
        self._served = served


def served_of(state: Any) -> tuple[Served, ...]:
    """What is served to each kind of users."""
    return served_by(state.groups["popularity"].values["served"])


def served_by(values: np.ndarray) -> tuple[Served, ...]:
    """What is served to each kind of users, by the parameters of the model."""
    return tuple(Served(half_life or math.inf, weight, bool(alone)) for half_life, weight, alone in values.tolist())


def kinds_of(state: Any, users: np.ndarray) -> np.ndarray:
    """The kind of users in user rows: 0 without events, 1 with few, 2 with more."""
    known = users >= 0
    counts = np.zeros(users.size, np.int64)
    counts[known] = state.history.counts("users", users[known])
    return kinds_by(counts)


def kinds_by(counts: np.ndarray) -> np.ndarray:
    """The kind of users with so many events."""
    return np.asarray(np.digitize(counts, (1, _FEW + 1)))
