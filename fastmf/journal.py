"""Journal: learn single events in place, and turn all changes since the last version into one Delta."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta, new_identity
from fastmf.errors import DataError, DivergenceError
from fastmf.interactions import columns
from fastmf.kernels.train import online
from fastmf.kernels.train.ledger import (
    JOURNAL_COUNT,
    LEDGER_SIZE,
    SHARED,
    SharedEntries,
    SideEntries,
    write,
)
from fastmf.memory import grown, zeros
from fastmf.pairs import PARTS, key_of, lookup_of, unknown_of
from fastmf.parameters.moves import Image, Move
from fastmf.parameters.table import Table
from fastmf.state import Pending, State

__all__ = ["Journal"]

_LEARNED = online.LEARNED
_FIRST = 16  # rows of a side that a new journal has room for
_CAPACITY = 1 << 12  # rows of a side that may change between two flushes, so that a flush takes milliseconds
_LARGEST = float(np.finfo(np.float32).max)


class _Kept(NamedTuple):
    """Rows of a side that have changed, and a table of what they were before."""

    rows: np.ndarray
    table: Table

    @classmethod
    def of(cls, table: Table, room: int) -> _Kept:
        """Make room for rows of another table."""
        return cls(zeros(room, np.int32), Table(table.layout, table.start, table.budget, room=room))

    @property
    def room(self) -> int:
        """Number of rows that there is room for."""
        return min(self.rows.size, self.table.room, _CAPACITY)

    def larger(self, count: int) -> _Kept:
        """Return a copy of `count` rows with four times the room."""
        found = _Kept.of(self.table, min(4 * self.room, _CAPACITY))
        for mine, theirs in zip((self.rows, *self.table.parts), (found.rows, *found.table.parts), strict=True):
            theirs[:count] = mine[:count]
        return found


class Journal:
    """Single-event learning: keeps the previous values of all rows that changed since the last version.

    Parameters
    ----------
    state : State
        The state, which is changed in place, one event at a time.
    learner : Learner
        Its ``single`` provides the step of an event.
    objective : Objective
        Loss, solver and regularizer.
    """

    def __init__(self, state: State, learner: Any, objective: Any) -> None:
        self._state, self._loss = state, objective.loss
        self._mean = state.global_mean
        self._kept = {side: _Kept.of(state.side(side).table, _FIRST) for side in PARTS}
        self._marks = {side: zeros(0, np.int32) for side in PARTS}
        self._low, self._high = np.clip(objective.loss.domain, -_LARGEST, _LARGEST).tolist()
        self._lost = np.zeros(1)
        self._ledger = np.zeros(LEDGER_SIZE, np.int64)
        sized = objective.at_size(len(state.history), state.users.count, state.items.count)
        self._single = learner.single(state, sized, self._ledger)
        self.on_scale = objective.on_scale
        self.open()

    @property
    def state(self) -> State:
        """The state that is being changed."""
        return self._state

    @property
    def events(self) -> int:
        """Number of events since the journal was opened."""
        return len(self._state.history) - self._events

    # --- one event ----------------------------------------------------------------------------------------------------

    def learn(self, user: Any, item: Any, value: Any) -> bool:
        """Take one step on an event; a new id gets its initial row. False where a flush must come first."""
        first, second, number = user, item, value
        if type(user) is not int or type(item) is not int or type(value) is not float or self._text:
            first, second = key_of(self._state, "users", user), key_of(self._state, "items", item)
            number = float(columns.numbers("value", [value])[0])
        if not self._low <= number <= self._high:
            self._loss.check(columns.numbers("value", [number]))
        try:
            answer = self._single.learn(first, second, number)
        except OverflowError as error:
            raise DataError(f"users, items, row 0: {user} or {item} does not fit int64") from error
        if answer == _LEARNED:
            return True
        if answer == online.MOVED:
            self._write_ledger()
            return self.learn(user, item, value)
        if answer == online.UNKNOWN:
            return self._learn_new(user, item, value)
        if answer == online.NOT_FINITE:
            raise DivergenceError(f"learning ({user!r}, {item!r}, {value!r}) gives rows that are not finite")
        return self._make_room() and self.learn(user, item, value)

    def _learn_new(self, user: Any, item: Any, value: Any) -> bool:
        """Add the new ids of an event and learn it; if that fails, or needs a flush first, remove the ids again."""
        state, given = self._state, zip(PARTS, (user, item), strict=True)
        staged = {side: state.side(side).stage(columns.ids(side, [one]), side) for side, one in given}
        state.make_room({side: len(new.fresh) for side, new in staged.items()}, 1)
        state.await_event()
        try:
            for side, new in staged.items():
                group = state.side(side)
                if new.fresh.size:
                    group.prepare(new.fresh)
                    state.gate.begin()  # until the event is learned: no reader sees its ids before
                    group.grow(group.count, new.fresh)
                    state.grams.admit(side, state, new.rows)
            return self.learn(user, item, value)
        finally:
            state.finish()

    def _make_room(self) -> bool:
        """Make room for another event; False where the journal is as large as it may be: a flush must come first."""
        state = self._state
        if not state.history.has_room(0, 0, 1):
            state.make_room({}, 1)
            return True
        small = {side: kept for side, kept in self._kept.items() if kept.room < _CAPACITY}
        if not small:
            return False
        state.users.ids.moved[0] += 1  # the ledger is out of date until it is written
        self._kept = self._kept | {side: kept.larger(self._count(side)) for side, kept in small.items()}
        self._write_ledger()
        return True

    # --- from flush to flush ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start recording from the present state."""
        state = self._state
        for side, part in PARTS.items():
            journaled = self._kept[side].rows[: self._count(side)]
            self._marks[side][journaled] = 0
            self._ledger[part + JOURNAL_COUNT] = 0
        self._counts, self._events = state.counts, len(state.history)
        self._scalars, self._image = state.scalars, state.grams.image()
        self._lost[0] = 0.0
        self._single.restart()
        self._began = time.perf_counter()
        self._write_ledger()

    def told(self) -> Pending:
        """Return all changes since :meth:`open` as one Delta, which is already part of the state."""
        state = self._state
        log = state.history.between(self._events, len(state.history)).copy()
        count = log.users.size
        moves: dict[str, Any] = {side: self._move(side) for side in PARTS}
        further, notes = self._single.further(moves, self._counts)
        delta = Delta(
            lineage=state.lineage,
            parent=state.head,
            head=new_identity(),
            parent_version=state.version,
            version=state.version + 1,
            moves=moves | further,
            new_ids={side: state.side(side).ids_from(self._counts[side]) for side in PARTS},
            log=log,
            scalars={name: (number, state.scalars[name]) for name, number in self._scalars.items()},
            loss_before=float(self._lost[0]) / max(count, 1),
            loss_after=self._single.measure(log) / max(count, 1),
            seconds=time.perf_counter() - self._began,
            notes=notes,
            images={} if self._image is None else {"grams": self._image},
        )
        return Pending(delta, self._counts, self._events)

    def close(self) -> Delta:
        """Record all changes since :meth:`open` in the state as one Delta, and return it."""
        flush = self.told()
        self._state.absorb(flush)
        return flush.delta

    def _move(self, side: str) -> Move:
        """Make the move of a side: the rows that the kernel journaled, and new rows that it has not changed."""
        kept, table = self._kept[side], self._state.side(side).table
        kept.table.count = count = self._count(side)
        journaled = kept.rows[:count].copy()
        unmoved = np.setdiff1d(np.arange(self._counts[side], table.count, dtype=np.int32), journaled)
        before = kept.table.gather(np.arange(count, dtype=np.int32)), table.gather(unmoved)
        rows = np.concatenate([journaled, unmoved])
        return Move(rows, Image.concatenate(before), table.gather(rows))

    def _count(self, side: str) -> int:
        """Number of rows of a side in the journal."""
        return int(self._ledger[PARTS[side] + JOURNAL_COUNT])

    def _write_ledger(self) -> None:
        """Write the present addresses of all arrays to the ledger that kernels read."""
        state, ledger = self._state, self._ledger
        self._text = False
        for side, part in PARTS.items():
            group, kept = state.side(side), self._kept[side]
            table, lookup = group.table, lookup_of(state, side)
            self._text = self._text or lookup["by_row"]
            self._marks[side] = grown(self._marks[side], table.room)
            entries = SideEntries(
                factors=table.factors,
                records=table.records,
                **unknown_of(table),
                further=table.parts[2] if table.layout.further else 0,
                marks=self._marks[side],
                journal_rows=kept.rows,
                journal_factors=kept.table.factors,
                journal_records=kept.table.records,
                journal_further=kept.table.parts[2] if table.layout.further else 0,
                journal_size=kept.room,
                journal_count=ledger[part + JOURNAL_COUNT],
                **lookup,
                **state.history.side_arrays(side),
            )
            write(ledger, part, entries)
        shared = SharedEntries(
            loss=self._lost, changes=state.gate.changes, range=state.range, **state.history.shared_arrays()
        )
        write(ledger, SHARED, shared)
