"""Journal: learning one event at a time, in place, and turning what happened since into one Delta."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmf.delta import Delta
from fastmf.equations import form_of, room_of
from fastmf.errors import DataError, DivergenceError
from fastmf.followers.grams import NO_GRAM
from fastmf.interactions import columns
from fastmf.kernels.core.bridge import entry_point
from fastmf.kernels.train import online, relearn
from fastmf.kernels.train.online import Entry
from fastmf.kernels.train.pointwise import measure
from fastmf.log.history import Events
from fastmf.memory import reserve
from fastmf.parameters.table import SIDES, Move, Rows, Table
from fastmf.protocols import Objective
from fastmf.state import State, reckon, uninterrupted

__all__ = ["Journal"]

_CAPACITY = 1 << 12  # rows of a side that may move between two flushes, each of which then takes milliseconds
_PARTS = {"users": online.USERS, "items": online.ITEMS}
_LARGEST = float(np.finfo(np.float32).max)


class Journal:
    """The rows of a state as they were at the last flush, for those that moved since.

    Parameters
    ----------
    state : State
        Is changed in place, one event at a time.
    objective : Objective
        What each event's step descends.
    """

    def __init__(self, state: State, objective: Objective) -> None:
        factors = state.factors
        self._state, self._objective, self._mean = state, objective, np.float32(factors.global_mean)
        self._kept = {
            side: Table(factors.shape, stream, factors.storage, min(_CAPACITY, factors.capacity))
            for stream, side in enumerate(SIDES)
        }
        self._rows = {side: reserve(len(kept.factors), np.int32) for side, kept in self._kept.items()}
        self._low, self._high = np.clip(objective.loss.domain, -_LARGEST, _LARGEST).tolist()
        self._loss = np.zeros(1)
        self._ledger = np.zeros(online.LEDGER_SIZE, np.int64)
        half, start = factors.storage == "float16", (self._ledger, 0, 0)
        self._values, self.on_scale = objective.values, objective.on_scale
        self._learn: Callable[..., int] = _refuse(objective)
        if objective.closed_form:
            self._learn = _solving(state, objective, (self._ledger, self._mean), half)
        elif not objective.ranks:
            learn = online.learn(factors.shape, half, objective.classes)
            self._learn = entry_point(learn, *start, 0.0, self._mean, *objective.values)
        predict = online.predict(factors.shape, half, objective.classes[0])
        self._predict = entry_point(predict, *start, self._mean, objective.loss)
        self._measure(state.history.between(0, 0))  # compiled now, not in the middle of a stream
        self.open()

    @property
    def state(self) -> State:
        """What is being learned."""
        return self._state

    @property
    def events(self) -> int:
        """Events since the last flush."""
        return len(self._state.history) - self._events

    # --- one event ----------------------------------------------------------------------------------------------------

    def learn(self, user: Any, item: Any, value: Any) -> bool:
        """Take one step on an event; a new id comes in with its start vector. False where a flush must come first."""
        first, second, number = user, item, value
        if type(user) is not int or type(item) is not int or type(value) is not float or self._text:
            first, second = self._key("users", user), self._key("items", item)
            number = float(columns.numbers("value", [value])[0])
        if not self._low <= number <= self._high:
            self._objective.loss.check(columns.numbers("value", [number]))
        loss, solver, regularizer = self._values
        try:
            answer = self._learn(self._ledger, first, second, number, self._mean, loss, solver, regularizer)
        except OverflowError as error:
            raise DataError(f"users, items, row 0: {user} or {item} does not fit int64") from error
        if answer == online.LEARNED:
            factors = self._state.factors
            if not factors.low <= number <= factors.high:
                factors.see(np.array([number], np.float32))
            return True
        if answer == online.UNKNOWN:
            return self._learn_new(user, item, value)
        if answer == online.NOT_FINITE:
            raise DivergenceError(f"learning ({user!r}, {item!r}, {value!r}) gives rows that are not finite")
        self._state.history.require_room(1)
        return False

    def _learn_new(self, user: Any, item: Any, value: Any) -> bool:
        """Let the ids of an event in and learn it; where that fails they are out again."""
        counts, events, grams = self._state.counts, self.events, self._state.grams.images()
        try:
            self._admit(user, item)
            return self.learn(user, item, value)
        except BaseException:
            if self.events > events:  # interrupted after the step
                raise
            for side, count in zip(SIDES, counts, strict=True):
                if len(self._state.ids[side]) > count:
                    self._state.ids[side].truncate(count)
                    self._state.factors.tables[side].count = count
            self._state.grams.restore(grams)
            self._write_ledger()
            raise

    def predict(self, user: Any, item: Any) -> float:
        """The unclipped prediction for a pair."""
        first, second = user, item
        if type(user) is not int or type(item) is not int or self._text:
            first, second = self._key("users", user), self._key("items", item)
        try:
            return self._predict(self._ledger, first, second, self._mean, self._objective.loss)  # type: ignore[no-any-return]
        except OverflowError as error:
            raise DataError(f"users, items, row 0: {user} or {item} does not fit int64") from error

    def _key(self, side: str, one: Any) -> int:
        """What the kernels know an id by: itself where ids are int, else its row."""
        ids, known = columns.ids(side, [one]), self._state.ids[side]
        known.require_kind(ids, side)
        return int(ids[0]) if ids.dtype != object else int(known.rows(ids)[0])

    def _admit(self, user: Any, item: Any) -> None:
        """Let the ids of an event in."""
        for side, one in (("users", user), ("items", item)):
            ids, table = self._state.ids[side], self._state.factors.tables[side]
            staged = ids.stage(columns.ids(side, [one]), side)
            if not staged.fresh.size:
                continue
            ids.prepare(staged.fresh)
            table.require_room(table.count + 1)
            with uninterrupted():
                table.scatter(staged.rows, table.gather(staged.rows, self._state.factors.start(side)))
                ids.extend(staged.fresh)
                table.count += 1
                self._state.grams.take_in(side, table, staged.rows)
        self._write_ledger()

    # --- from flush to flush ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start over from the present state."""
        for part in _PARTS.values():
            self._ledger[part + Entry.JOURNAL_COUNT] = 0
        self._counts, self._events = self._state.counts, len(self._state.history)
        self._range, self._grams = self._state.scalars, self._state.grams.images()
        self._loss[0] = 0.0
        self._began = time.perf_counter()
        self._write_ledger()

    def close(self) -> Delta:
        """All that was learned since :meth:`open`, as one Delta that the state has already been through."""
        state = self._state
        events = state.history.between(self._events, len(state.history)).copy()
        count = events.users.size
        delta = Delta(
            lineage=state.lineage,
            parent=state.version,
            version=state.version + 1,
            moves={side: self._move(side, known) for side, known in zip(SIDES, self._counts, strict=True)},
            new_ids={
                side: state.ids[side].ids(np.arange(known, len(state.ids[side])))
                for side, known in zip(SIDES, self._counts, strict=True)
            },
            log=events,
            scalars={name: (number, state.scalars[name]) for name, number in self._range.items()},
            loss_before=float(self._loss[0]) / max(count, 1),
            loss_after=self._measure(events) / max(count, 1),
            seconds=time.perf_counter() - self._began,
            grams=self._grams,
        )
        with uninterrupted():
            state.grams.restore(self._grams)  # as whoever applies the Delta has it
            reckon(state, delta, self._counts)
            state.version = delta.version
            state.trail.follow(delta)
            self.open()
        return delta

    def _move(self, side: str, known: int) -> Move:
        """The rows that the kernel journaled, and new rows that it never reached."""
        kept, table = self._kept[side], self._state.factors.tables[side]
        count = int(self._ledger[_PARTS[side] + Entry.JOURNAL_COUNT])
        kept.count = count
        journaled = self._rows[side][:count].copy()
        unmoved = np.setdiff1d(np.arange(known, table.count, dtype=np.int32), journaled)
        start = self._state.factors.start(side)
        before, fresh = kept.gather(np.arange(count, dtype=np.int32), start), table.gather(unmoved, start)
        rows = np.concatenate([journaled, unmoved])
        table.marks[journaled] = 0
        whole = Rows(*(np.concatenate(pair) for pair in zip(before, fresh, strict=True))).copy()
        return Move(rows, whole, table.gather(rows, start))

    def _measure(self, events: Events) -> float:
        if self._objective.ranks:  # there are none
            return 0.0
        factors = self._state.factors
        tables = [part for table in factors.tables.values() for part in (table.factors, table.records)]
        kernel = measure(factors.shape, self._objective.classes[:1])
        return float(kernel(events.weighed().contiguous()[:4], *tables, self._mean, self._objective.loss))

    def _write_ledger(self) -> None:
        """Tell the kernels where everything is now."""
        state, ledger = self._state, self._ledger
        self._text = False
        for side, part in _PARTS.items():
            table, kept, ids = state.factors.tables[side], self._kept[side], state.ids[side]
            by_row = ids.kind == "str"
            self._text = self._text or by_row
            slots, older = ids.tables
            lookup = (by_row, slots, slots.size, older, older.size)
            rows = (table.factors, table.records, len(table.factors), table.marks)
            journal = (self._rows[side], kept.factors, kept.records, len(kept.factors))
            _enter(ledger, part, (*lookup, *rows, *state.history.column_of(side), *journal))
            _enter(ledger, part + Entry.START, state.history.base_of(side))
        _enter(ledger, online.SHARED, (*state.history.columns, self._loss))


def _enter(ledger: np.ndarray, first: int, entries: tuple[Any, ...]) -> None:
    """Write numbers, and the addresses of arrays, from place `first` on."""
    for place, one in enumerate(entries, first):
        ledger[place] = one.ctypes.data if isinstance(one, np.ndarray) else int(one)


def _refuse(objective: Objective) -> Callable[..., int]:
    """What learns no event, of a loss that compares it with negatives."""

    def learn(*_: Any) -> int:
        name = type(objective.loss).__name__
        raise ValueError(f"learn_one takes no step of {name}, which needs negatives; update a batch of one event")

    return learn


def _solving(
    state: State, objective: Objective, start: tuple[np.ndarray, np.float32], half: bool
) -> Callable[..., int]:
    """What learns one event by solving its rows, with the arguments of :func:`fastmf.kernels.train.online.learn`."""
    loss, solver, regularizer = objective.values
    shape, most = state.factors.shape, int(solver.max_history)
    grams = state.gram_matrices(loss)
    form = form_of(shape, solver, not grams)
    arrays = room_of(form, most)
    alpha, unobserved = float(getattr(loss, "alpha", 1.0)), float(getattr(loss, "unobserved", 0.0))
    how = (float(regularizer.weight), float(solver.nu), int(solver.steps), most)

    def given() -> tuple[Any, ...]:
        kept = state.grams.kept if grams else dict.fromkeys(SIDES, NO_GRAM)
        missing = unobserved * len(state.ids["items"])
        matrices = (kept["users"].matrix, kept["items"].matrix, kept["users"].numbers, kept["items"].numbers)
        return (alpha, missing, *how), matrices, arrays

    call = entry_point(relearn.learn(form, half), start[0], 0, 0, 0.0, start[1], True, *given())

    def learn(ledger: np.ndarray, user: int, item: int, value: float, mean: np.float32, *_: Any) -> int:
        answer = call(ledger, user, item, value, mean, True, *given())
        if answer == online.UNTIDY:
            for side, one in (("users", user), ("items", item)):
                row = one if state.ids[side].kind == "str" else state.ids[side].rows(np.array([one]))[0]
                state.history.tidy(side, np.array([row], np.int32), most)
            answer = call(ledger, user, item, value, mean, False, *given())
        return int(answer)

    return learn
