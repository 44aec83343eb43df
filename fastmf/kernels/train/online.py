"""Single events for gradient models: look-up, step, log and journal in one call, on the arrays of a ledger.

The journal keeps a copy of each row from before its first step since the last flush; `marks` says which rows it has.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow, borrow_at
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, single, store
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.sharing import begin, end, read
from fastmf.kernels.train.ledger import (
    CHANGES,
    EVENTS,
    EVENTS_SIZE,
    ITEMS,
    LOSS,
    RANGE,
    TIMED,
    TIMES,
    USERS,
    VALUES,
    WEIGHTED,
    WEIGHTS,
    Entry,
    column,
    moved,
    row_of,
)
from fastmf.kernels.train.row import score, score_variance, stepped

LEARNED, UNKNOWN, FULL, NOT_FINITE, SCATTERED, MOVED = 0, 1, 2, 3, 4, 5  # what `learn` answers

_FACTORS, _RECORDS, _MARKS = int(Entry.FACTORS), int(Entry.RECORDS), int(Entry.MARKS)
_LOG, _HEAD, _TAILED, _PREVIOUS = int(Entry.LOG), int(Entry.HEAD), int(Entry.TAILED), int(Entry.PREVIOUS)
_JOURNAL_ROWS, _JOURNAL_FACTORS = int(Entry.JOURNAL_ROWS), int(Entry.JOURNAL_FACTORS)
_JOURNAL_RECORDS, _JOURNAL_SIZE = int(Entry.JOURNAL_RECORDS), int(Entry.JOURNAL_SIZE)
_JOURNAL_COUNT = int(Entry.JOURNAL_COUNT)
_FURTHER, _UNKNOWN, _UNKNOWN_RECORD = int(Entry.FURTHER), int(Entry.UNKNOWN), int(Entry.UNKNOWN_RECORD)
_UNKNOWN_FURTHER = int(Entry.UNKNOWN_FURTHER)


@njit
def located(ledger, user, item):
    """(LEARNED, user row, item row) if the event can be learned, else (status, -1, -1)."""
    if moved(ledger):
        return MOVED, -1, -1
    u, i = row_of(ledger, USERS, user), row_of(ledger, ITEMS, item)
    if u < 0 or i < 0:
        return UNKNOWN, -1, -1
    if column(ledger, EVENTS, np.int64)[0] >= ledger[EVENTS_SIZE]:
        return FULL, -1, -1
    return LEARNED, u, i


@njit
def rows_of(ledger, side, stored, width, record):
    """The factors and records of a side."""
    factors = borrow_at(ledger[side + _FACTORS], stored, width)
    return factors, borrow_at(ledger[side + _RECORDS], np.float32, record)


@njit
def remember(ledger, side, row, factors, records, width, record, stored):
    """Copy a row to the journal, unless it is there already."""
    marks = column(ledger, side + _MARKS, np.int32)
    if marks[row] != 0:
        return
    marks[row] = 1
    count = ledger[side + _JOURNAL_COUNT]
    column(ledger, side + _JOURNAL_ROWS, np.int32)[count] = row
    kept = borrow_at(ledger[side + _JOURNAL_FACTORS], stored, width)
    kept_records = borrow_at(ledger[side + _JOURNAL_RECORDS], np.float32, record)
    for factor in range(width):
        kept[count, factor] = factors[row, factor]
    for field in range(record):
        kept_records[count, field] = records[row, field]
    ledger[side + _JOURNAL_COUNT] = count + 1


@njit
def link(ledger, side, row, event):
    """Append an event to the tail of a row, as kernels/rows/log.py does."""
    head = column(ledger, side + _HEAD, np.int32)
    column(ledger, side + _LOG, np.int32)[event] = row
    column(ledger, side + _PREVIOUS, np.int32)[event] = head[row]
    head[row] = event + 1
    tailed = column(ledger, side + _TAILED, np.int32)
    tailed[row] += 1


@njit
def note(ledger, value):
    """Append an event to the columns of the log that belong to no side; returns its position.

    Its weight is 1, and its time that of the previous event. Also extends the range of values seen.
    """
    event = column(ledger, EVENTS, np.int64)
    position = event[0]
    column(ledger, VALUES, np.float32)[position] = value
    if ledger[WEIGHTED]:
        column(ledger, WEIGHTS, np.float32)[position] = np.float32(1)
    if ledger[TIMED] and position:
        times = column(ledger, TIMES, np.int64)
        times[position] = times[position - 1]
    event[0] = position + 1
    limits = column(ledger, RANGE, np.float64)
    limits[0], limits[1] = min(limits[0], np.float64(value)), max(limits[1], np.float64(value))
    return position


@njit
def append(ledger, user, item, value):
    """Append an event of two rows to the log."""
    event = note(ledger, value)
    link(ledger, USERS, user, event)
    link(ledger, ITEMS, item, event)


@njit
def full(ledger):
    """Whether the journal has no room for another user and item row."""
    users, items = ledger[USERS + _JOURNAL_COUNT], ledger[ITEMS + _JOURNAL_COUNT]
    return users >= ledger[USERS + _JOURNAL_SIZE] or items >= ledger[ITEMS + _JOURNAL_SIZE]


@functools.cache
def learn(shape: Shape, half: bool, classes: tuple[type, ...]) -> Any:
    """The kernel that learns one event."""
    return _learn(*shape, half, stamp(*classes))


def _learn(size, width, memory, biases, half, stamp):
    record = record_width(memory)
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # on squared norms that the tables can store

    @jit(stamp)
    def learn(ledger_array, mean, loss, solver, penalty, user, item, value):
        """Step the two rows of one event; returns LEARNED, or a status that says why nothing was done."""
        stamp  # noqa: B018 - the cache key, see bridge
        ledger = borrow(ledger_array)
        answer, u, i = located(ledger, user, item)
        if answer != LEARNED:
            return answer
        user_rows, user_records = rows_of(ledger, USERS, stored, width, record)
        item_rows, item_records = rows_of(ledger, ITEMS, stored, width, record)
        p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
        target = np.float32(value)
        scored = score(mean, b.total(), c.total(), p, q)
        slope = np.float32(bridge.slope(loss, scored, target))
        kept_p, kept_q = load(user_records, u, 1, memory, memory), load(item_records, i, 1, memory, memory)
        slope_b, slope_c = (
            single(slope) + bridge.gradient(penalty, b, b),
            single(slope) + bridge.gradient(penalty, c, c),
        )
        gradient_p = fma(q, slope, bridge.gradient(penalty, p, p))
        gradient_q = fma(p, slope, bridge.gradient(penalty, q, q))
        new_p, new_b, next_p = stepped(p, b, kept_p, gradient_p, slope_b, solver)
        new_q, new_c, next_q = stepped(q, c, kept_q, gradient_q, slope_c, solver)
        sizes = max((new_p * new_p).total(), (new_q * new_q).total())
        others = next_p.total() + next_q.total() + new_b.total() + new_c.total()
        if not (sizes <= limit and np.isfinite(others)):
            return NOT_FINITE
        if full(ledger):  # checked last, so that a refused event does not flush the journal
            return FULL
        remember(ledger, USERS, u, user_rows, user_records, width, record, stored)
        remember(ledger, ITEMS, i, item_rows, item_records, width, record, stored)
        changes = column(ledger, CHANGES, np.int64)
        begun = begin(changes)
        store(user_rows, u, 0, new_p)
        store(item_rows, i, 0, new_q)
        store(user_records, u, 1, next_p)
        store(item_records, i, 1, next_q)
        if biases:
            store(user_records, u, 0, new_b)
            store(item_records, i, 0, new_c)
        append(ledger, u, i, target)
        end(changes, begun)
        lost = column(ledger, LOSS, np.float64)
        lost[0] += bridge.value(loss, scored, target)
        return LEARNED

    return learn


def side_of(size, width, record, stored, ledger, side, row):
    """The factors and the bias of a row of a side, or of an unknown one if it is -1; for kernels only."""


@overload(side_of, prefer_literal=True, jit_options={"error_model": "numpy"})
def _side_of(size, width, record, stored, ledger, side, row):
    if not hasattr(size, "literal_value"):
        return None

    def found(size, width, record, stored, ledger, side, row):
        if row >= 0:
            bias = borrow_at(ledger[side + _RECORDS], np.float32, record)[row, 0]
            return load(borrow_at(ledger[side + _FACTORS], stored, width), row, 0, width, size), bias
        bias = borrow_at(ledger[side + _UNKNOWN_RECORD], np.float32, record)[0, 0]
        return load(borrow_at(ledger[side + _UNKNOWN], np.float32, width), 0, 0, width, size), bias

    return found


def variances_of(size, width, record, ledger, side, row):
    """The variances of the factors and of the bias of a row, or of an unknown one if it is -1; for kernels only."""


@overload(variances_of, prefer_literal=True, jit_options={"error_model": "numpy"})
def _variances_of(size, width, record, ledger, side, row):
    if not hasattr(size, "literal_value"):
        return None

    def found(size, width, record, ledger, side, row):
        if row >= 0:
            bias = borrow_at(ledger[side + _RECORDS], np.float32, record)[row, 1]
            return load(borrow_at(ledger[side + _FURTHER], np.float32, width), row, 0, width, size), bias
        bias = borrow_at(ledger[side + _UNKNOWN_RECORD], np.float32, record)[0, 1]
        return load(borrow_at(ledger[side + _UNKNOWN_FURTHER], np.float32, width), 0, 0, width, size), bias

    return found


def prediction(moderated, size, width, record, ledger, pair, scored, factors, loss):
    """The prediction for a score of a pair of rows, whose variances count if `moderated`; for kernels only."""


@overload(prediction, prefer_literal=True, jit_options={"error_model": "numpy"})
def _prediction(moderated, size, width, record, ledger, pair, scored, factors, loss):
    if not hasattr(size, "literal_value"):
        return None

    def linked(moderated, size, width, record, ledger, pair, scored, factors, loss):
        return bridge.inverse_link(loss, scored)

    def averaged(moderated, size, width, record, ledger, pair, scored, factors, loss):
        s, s_b = variances_of(size, width, record, ledger, USERS, pair[0])
        t, t_c = variances_of(size, width, record, ledger, ITEMS, pair[1])
        return bridge.expected(loss, scored, score_variance(factors[0], s, s_b, factors[1], t, t_c))

    return averaged if moderated.literal_value else linked


@functools.cache
def predict(shape: Shape, half: bool, loss: type, moderated: bool) -> Any:
    """The kernel that predicts one pair."""
    return _predict(shape.size, shape.width, record_width(shape.memory), half, moderated, stamp(loss))


def _predict(size, width, record, half, moderated, stamp):
    stored = np.uint16 if half else np.float32

    @jit(stamp)
    def predict(ledger_array, user, item, mean, loss, clip):
        """The prediction for a pair, clipped to the range of values seen if `clip`.

        An unknown user or item is the row of the ledger that stands for it. NaN if the state was changed during the
        call (see gate.py), or an id table has been replaced.
        """
        stamp  # noqa: B018
        ledger = borrow(ledger_array)
        changes = column(ledger, CHANGES, np.int64)
        before = read(changes, 0)
        if before % 2 or moved(ledger):
            return np.float32(np.nan)
        u, i = row_of(ledger, USERS, user), row_of(ledger, ITEMS, item)
        p, b = side_of(size, width, record, stored, ledger, USERS, u)
        q, c = side_of(size, width, record, stored, ledger, ITEMS, i)
        scored = score(mean, b, c, p, q)
        predicted = np.float32(prediction(moderated, size, width, record, ledger, (u, i), scored, (p, q), loss))
        limits = column(ledger, RANGE, np.float64)
        if clip and limits[0] <= limits[1]:
            predicted = np.float32(min(max(np.float64(predicted), limits[0]), limits[1]))
        return predicted if read(changes, 0) == before else np.float32(np.nan)

    return predict
