"""One event at a time: look up, check, step, log, journal, in a single call.

A call with many arrays costs more than the work, so the kernels get one array of addresses, the ledger. That is safe
because rows never move; whoever makes a table move (an id table that a larger one took over) renews its entries.

The journal keeps each row as it was before its first step since the last flush; `marks` tells which rows it has.
"""

from __future__ import annotations

import functools
from enum import IntEnum, auto
from typing import Any

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from fastmf.kernels import bridge
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.hashing import find
from fastmf.kernels.lanes import fma, load, single, store
from fastmf.kernels.pointwise import Shape, record_width

LEARNED, UNKNOWN, FULL, NOT_FINITE = 0, 1, 2, 3  # what `learn` answers


class Entry(IntEnum):
    """Places in one side's part of the ledger."""

    BY_ROW = 0  # 1 where the caller passes rows instead of int ids
    SLOTS = auto()
    SLOTS_SIZE = auto()
    OLDER = auto()
    OLDER_SIZE = auto()
    FACTORS = auto()
    RECORDS = auto()
    ROWS = auto()
    MARKS = auto()
    LOG = auto()
    HEAD = auto()
    TAILED = auto()
    PREVIOUS = auto()
    JOURNAL_ROWS = auto()
    JOURNAL_FACTORS = auto()
    JOURNAL_RECORDS = auto()
    JOURNAL_SIZE = auto()
    JOURNAL_COUNT = auto()


# The ledger: the users' part, the items' part, then what both share.
USERS, ITEMS, SHARED = 0, len(Entry), 2 * len(Entry)
VALUES, WEIGHTS, TIMES, TIMED, EVENTS, EVENTS_SIZE, LOSS, LEDGER_SIZE = (SHARED + n for n in range(8))

_BY_ROW, _SLOTS, _SLOTS_SIZE, _OLDER, _OLDER_SIZE = (int(e) for e in list(Entry)[:5])
_FACTORS, _RECORDS, _ROWS, _MARKS, _LOG, _HEAD, _TAILED, _PREVIOUS = (int(e) for e in list(Entry)[5:13])
_JOURNAL_ROWS, _JOURNAL_FACTORS, _JOURNAL_RECORDS, _JOURNAL_SIZE, _JOURNAL_COUNT = (int(e) for e in list(Entry)[13:])


def _array(context, builder, kind, address, shape):
    """An array over memory that somebody else owns; numba.carray does the same, and takes far longer to compile."""
    array = context.make_array(kind)(context, builder)
    item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [item] if len(shape) == 1 else [builder.mul(shape[1], item), item]
    data = builder.inttoptr(address, array.data.type)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=item, meminfo=None)
    return array._getvalue()


@intrinsic
def _line(typing, address, size, dtype):
    kind = types.Array(dtype.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        return _array(context, builder, kind, arguments[0], [arguments[1]])

    return kind(types.int64, types.int64, dtype), generate


@intrinsic
def _grid(typing, address, rows, width, dtype):
    kind = types.Array(dtype.dtype, 2, "C")

    def generate(context, builder, signature, arguments):
        return _array(context, builder, kind, arguments[0], [arguments[1], arguments[2]])

    return kind(types.int64, types.int64, types.int64, dtype), generate


@njit
def _column(ledger, entry, size, dtype):
    return _line(ledger[entry], size, dtype)


@njit
def _row_of(ledger, side, one):
    if ledger[side + _BY_ROW]:
        return one
    slots = _column(ledger, side + _SLOTS, ledger[side + _SLOTS_SIZE], np.int64)
    older = _column(ledger, side + _OLDER, ledger[side + _OLDER_SIZE], np.int64)
    return find(slots, older, one)


@njit
def _table(ledger, side, entry, width, dtype):
    return _grid(ledger[side + entry], ledger[side + _ROWS], width, dtype)


@njit
def _remember(ledger, side, row, factors, records):
    """Journal a row as it is, unless it is there already."""
    marks = _column(ledger, side + _MARKS, ledger[side + _ROWS], np.int32)
    if marks[row] != 0:
        return
    marks[row] = 1
    count, size = ledger[side + _JOURNAL_COUNT], ledger[side + _JOURNAL_SIZE]
    _column(ledger, side + _JOURNAL_ROWS, size, np.int32)[count] = row
    kept = _grid(ledger[side + _JOURNAL_FACTORS], size, factors.shape[1], factors.dtype)
    kept_records = _grid(ledger[side + _JOURNAL_RECORDS], size, records.shape[1], np.float32)
    for factor in range(factors.shape[1]):
        kept[count, factor] = factors[row, factor]
    for field in range(records.shape[1]):
        kept_records[count, field] = records[row, field]
    ledger[side + _JOURNAL_COUNT] = count + 1


@njit
def _link(ledger, side, row, event):
    """Append the event to the row's tail, as kernels/log.py does."""
    size = ledger[EVENTS_SIZE]
    head = _column(ledger, side + _HEAD, ledger[side + _ROWS], np.int64)
    _column(ledger, side + _LOG, size, np.int32)[event] = row
    _column(ledger, side + _PREVIOUS, size, np.int64)[event] = head[row]
    head[row] = event + 1
    _column(ledger, side + _TAILED, ledger[side + _ROWS], np.int32)[row] += 1


@njit
def _log(ledger, value):
    """Write the columns that belong to no side; without a time of its own the event has that of the one before."""
    size, event = ledger[EVENTS_SIZE], _column(ledger, EVENTS, 1, np.int64)
    position = event[0]
    _column(ledger, VALUES, size, np.float32)[position] = value
    _column(ledger, WEIGHTS, size, np.float32)[position] = 1.0
    if ledger[TIMED] and position:
        times = _column(ledger, TIMES, size, np.int64)
        times[position] = times[position - 1]
    event[0] = position + 1
    return position


@functools.cache
def learn(shape: Shape, half: bool, classes: tuple[type, ...]) -> Any:
    """The kernel that learns one event."""
    return _learn(*shape, half, stamp(*classes))


def _learn(size, width, memory, biases, half, stamp):
    record = record_width(memory)
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # of a squared length that the tables hold

    @jit(stamp)
    def learn(ledger, user, item, value, mean, loss, solver, penalty):
        """Step the rows of one event; answers LEARNED, or why nothing was done."""
        stamp  # noqa: B018 - the cache key, see bridge
        u, i = _row_of(ledger, USERS, user), _row_of(ledger, ITEMS, item)
        if u < 0 or i < 0:
            return UNKNOWN
        if _column(ledger, EVENTS, 1, np.int64)[0] >= ledger[EVENTS_SIZE]:
            return FULL
        full = ledger[USERS + _JOURNAL_COUNT] >= ledger[USERS + _JOURNAL_SIZE]
        if full or ledger[ITEMS + _JOURNAL_COUNT] >= ledger[ITEMS + _JOURNAL_SIZE]:
            return FULL
        user_rows = _table(ledger, USERS, _FACTORS, width, stored)
        item_rows = _table(ledger, ITEMS, _FACTORS, width, stored)
        user_records = _table(ledger, USERS, _RECORDS, record, np.float32)
        item_records = _table(ledger, ITEMS, _RECORDS, record, np.float32)
        p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
        target = np.float32(value)
        score = mean + b.total() + c.total() + (p * q).total()
        slope = np.float32(bridge.slope(loss, score, target))
        kept_p, kept_q = load(user_records, u, 1, memory, memory), load(item_records, i, 1, memory, memory)
        new_p, _ = bridge.step(solver, p, fma(q, slope, bridge.pull(penalty, p, p)), kept_p)
        new_q, _ = bridge.step(solver, q, fma(p, slope, bridge.pull(penalty, q, q)), kept_q)
        new_b, next_p = bridge.step(solver, b, single(slope) + bridge.pull(penalty, b, b), kept_p)
        new_c, next_q = bridge.step(solver, c, single(slope) + bridge.pull(penalty, c, c), kept_q)
        sizes = max((new_p * new_p).total(), (new_q * new_q).total())
        others = next_p.total() + next_q.total() + new_b.total() + new_c.total()
        if not (sizes <= limit and np.isfinite(others)):
            return NOT_FINITE
        _remember(ledger, USERS, u, user_rows, user_records)
        _remember(ledger, ITEMS, i, item_rows, item_records)
        store(user_rows, u, 0, new_p)
        store(item_rows, i, 0, new_q)
        store(user_records, u, 1, next_p)
        store(item_records, i, 1, next_q)
        if biases:
            store(user_records, u, 0, new_b)
            store(item_records, i, 0, new_c)
        event = _log(ledger, target)
        _link(ledger, USERS, u, event)
        _link(ledger, ITEMS, i, event)
        _column(ledger, LOSS, 1, np.float64)[0] += bridge.value(loss, score, target)
        return LEARNED

    return learn


@functools.cache
def predict(shape: Shape, half: bool, loss: type) -> Any:
    """The kernel that predicts one pair."""
    return _predict(shape.size, shape.width, record_width(shape.memory), half, stamp(loss))


def _predict(size, width, record, half, stamp):
    stored = np.uint16 if half else np.float32

    @jit(stamp)
    def predict(ledger, user, item, mean, loss):
        """The prediction for a pair; an unknown side adds nothing."""
        stamp  # noqa: B018
        u, i = _row_of(ledger, USERS, user), _row_of(ledger, ITEMS, item)
        score = mean
        if u >= 0:
            score += _table(ledger, USERS, _RECORDS, record, np.float32)[u, 0]
        if i >= 0:
            score += _table(ledger, ITEMS, _RECORDS, record, np.float32)[i, 0]
        if u >= 0 and i >= 0:
            p = load(_table(ledger, USERS, _FACTORS, width, stored), u, 0, width, size)
            score += (p * load(_table(ledger, ITEMS, _FACTORS, width, stored), i, 0, width, size)).total()
        return np.float32(bridge.link(loss, score))

    return predict
