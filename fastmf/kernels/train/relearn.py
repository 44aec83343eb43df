"""One event at a time for models that solve rows: log it, then solve its user and its item from all that they met.

The ledger and the journal are those of online.py, the equations those of als.py. The Gram matrices are corrected by the
two rows; where a row would not be finite, the event is taken back and nothing has changed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from fastmf.kernels.core.borrowed import borrow, borrow_at, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import record_width
from fastmf.kernels.rows.log import older
from fastmf.kernels.train.als import ANEW, CG, CHOLESKY, STEPS_ON_FRESH, Form, solve_cg, solve_cholesky, solve_eals
from fastmf.kernels.train.online import (
    EVENTS,
    EVENTS_SIZE,
    FULL,
    ITEMS,
    LEARNED,
    LOSS,
    NOT_FINITE,
    UNKNOWN,
    UNTIDY,
    UNWEIGHTED,
    USERS,
    VALUES,
    WEIGHTS,
    Entry,
    column,
    link,
    note,
    remember,
    row_of,
)

_LOG, _HEAD, _TAILED, _PREVIOUS = int(Entry.LOG), int(Entry.HEAD), int(Entry.TAILED), int(Entry.PREVIOUS)
_START, _BASED, _BASE = int(Entry.START), int(Entry.BASED), int(Entry.BASE)
_FACTORS, _RECORDS = int(Entry.FACTORS), int(Entry.RECORDS)
_COUNT, _SIZE = int(Entry.JOURNAL_COUNT), int(Entry.JOURNAL_SIZE)
_LEAST = np.float32(1e-30)
_AHEAD = 16  # events between a prefetch and its use


@njit
def _count(ledger, side, row):
    return np.int64(column(ledger, side + _BASED, np.int32)[row] + column(ledger, side + _TAILED, np.int32)[row])


@njit
def _untidy(ledger, side, row, most):
    count = _count(ledger, side, row) + 1
    return count > most and column(ledger, side + _BASED, np.int32)[row] < count // 2


@njit
def _events_of(ledger, side, row, limit, places, scales):
    """Positions of a row's events, oldest first, and what each stands for, as log.sample chooses them; how many.

    Of a row whose base lacks events that the sample may name, the newest ones alone.
    """
    previous, base = column(ledger, side + _PREVIOUS, np.int32), column(ledger, side + _BASE, np.int32)
    start = column(ledger, side + _START, np.int64)[row]
    based, count = np.int64(column(ledger, side + _BASED, np.int32)[row]), _count(ledger, side, row)
    drawn = limit // 2 if count > limit and based >= count // 2 else 0
    event, taken = np.int64(column(ledger, side + _HEAD, np.int32)[row]), min(count, limit)
    place = taken
    while place > drawn and event > 0:
        place -= 1
        places[place], scales[place] = event - 1, 1.0
        event = np.int64(previous[event - 1])
    while place > drawn:
        place, based = place - 1, based - 1
        places[place], scales[place] = base[start + based], 1.0
    for k in range(drawn):
        places[k] = base[start + older(row, count, k)]
        scales[k] = (count - limit + drawn) / drawn
    return taken


# --- one row --------------------------------------------------------------------------------------------------------


def solve_row(size, width, biased, explicit, method, ledger, sides, row, tables, terms, numbers, room):
    """Solve a row from all that it met. For kernels only.

    sides = (its own, the other); terms = (gram, its drift, missing, mean); numbers and room as in `learn`. Where a row
    has more events than are read, it takes a step on the newest.
    """


@overload(solve_row, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_row(size, width, biased, explicit, method, ledger, sides, row, tables, terms, numbers, room):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, method, ledger, sides, row, tables, terms, numbers, room):
        lanes, squares, matrix, turned, _, _, places, scales, others, weights, targets = room
        alpha, _, weight, nu, steps, most = numbers
        gram, drift, missing, mean = terms
        count, evidence = _events_of(ledger, sides[0], row, most, places, scales), 0.0
        met, values = column(ledger, sides[1] + _LOG, np.int32), column(ledger, VALUES, np.float32)
        logged = column(ledger, WEIGHTS, np.float32)
        for n in range(count):
            prefetch(met, places[min(n + _AHEAD, count - 1)])
            prefetch(values, places[min(n + _AHEAD, count - 1)])
            place = places[n]
            others[n], targets[n] = met[place], values[place]
            kept = logged[place] if place >= ledger[UNWEIGHTED] else np.float32(1)
            weights[n] = kept * scales[n] * (np.float32(1) if explicit else alpha * values[place])
            evidence += weights[n]
        penalty = max(np.float32(weight * evidence**nu), _LEAST)
        columns, span = (borrow(others), borrow(weights), borrow(targets)), (0, count)
        seen = tables[2], tables[3], 0  # the one row that may have moved is that of the event
        form = gram, missing, penalty, mean
        if _count(ledger, sides[0], row) > most:
            before = np.float32(weight * max(evidence - weights[count - 1], 0.0) ** nu)
            since = drift, penalty - before, seen
            solve_cg(size, width, biased, explicit, row, tables, columns, span, 1, form, since, STEPS_ON_FRESH, lanes)
        elif method == CG:
            since = drift, np.float32(0), seen
            solve_cg(size, width, biased, explicit, row, tables, columns, span, ANEW, form, since, steps, lanes)
        elif method == CHOLESKY:
            solve_cholesky(
                size,
                width,
                biased,
                explicit,
                row,
                tables,
                columns,
                span,
                form,
                (lanes, squares, matrix, matrix[size + 1]),
            )
        else:
            for _ in range(steps):
                solve_eals(size, width, biased, explicit, row, tables, columns, span, form, (lanes, turned))

    return solve


@njit
def _fill(square, drift, gram, room, moved, size):
    """Square = gram, mirrored, with row 1 of the room in place of its row 0 if it has `moved`; drift = the change."""
    for a in range(size):
        for b in range(a, size):
            change = 0.0
            if moved:
                change = np.float64(room[1, a]) * room[1, b] - np.float64(room[0, a]) * room[0, b]
            square[a, b] = square[b, a] = np.float32(gram[a, b] + change)
            drift[a, b] = drift[b, a] = np.float32(change)


@njit
def _replace(gram, room, shares, size):
    """Gram += shares[1] * row 1 of the room, squared, - shares[0] * row 0, squared; the upper triangle."""
    for a in range(size):
        gone, come = shares[0] * room[0, a], shares[1] * room[1, a]
        for b in range(a, size):
            gram[a, b] += come * room[1, b] - gone * room[0, b]


# --- one event ------------------------------------------------------------------------------------------------------


@functools.cache
def learn(form: Form, half: bool) -> Any:
    """The kernel that learns one event."""
    return _learn(*form.shape, form.method, form.explicit, half, stamp())


def _learn(size, width, memory, biases, method, explicit, half, stamp):
    record, biased = record_width(memory), biases and explicit
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # of a squared length that the tables hold

    @jit(stamp)
    def learn(ledger_array, user, item, value, mean, tidy, numbers, grams, arrays):
        """Learn one event; answers LEARNED, or why nothing was done.

        UNTIDY is the answer, if `tidy` is asked for, where a row that is sampled must be laid out first.
        numbers = (alpha, missing, penalty, nu, steps, most): the confidence in an event of value 1, that in all pairs
        of a user together, what the penalty grows from and with, steps, and how many events of a row are read. grams =
        (those of users and items, the numbers of each). arrays = (rows of lanes, a matrix, columns, two squares,
        then columns of `most`: positions, scales, others, weights, targets).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        ledger, (gram_users, gram_items, _, item_numbers) = borrow(ledger_array), grams
        u, i = row_of(ledger, USERS, user), row_of(ledger, ITEMS, item)
        if u < 0 or i < 0:
            return UNKNOWN
        if column(ledger, EVENTS, np.int64)[0] >= ledger[EVENTS_SIZE]:
            return FULL
        if tidy and (_untidy(ledger, USERS, u, numbers[5]) or _untidy(ledger, ITEMS, i, numbers[5])):
            return UNTIDY
        if ledger[USERS + _COUNT] >= ledger[USERS + _SIZE] or ledger[ITEMS + _COUNT] >= ledger[ITEMS + _SIZE]:
            return FULL
        user_rows = borrow_at(ledger[USERS + _FACTORS], stored, width)
        item_rows = borrow_at(ledger[ITEMS + _FACTORS], stored, width)
        user_records = borrow_at(ledger[USERS + _RECORDS], np.float32, record)
        item_records = borrow_at(ledger[ITEMS + _RECORDS], np.float32, record)
        old_p, old_q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        old_b, old_c = user_records[u, 0], item_records[i, 0]
        event = note(ledger, np.float32(value))
        link(ledger, USERS, u, event)
        link(ledger, ITEMS, i, event)
        power, popularity = item_numbers[2], np.float64(_count(ledger, ITEMS, i))
        shares = max(popularity - 1.0, 1.0) ** power, popularity**power
        lanes, matrix, turned, square, drift = arrays[:5]
        room = borrow(lanes), borrow(lanes.reshape((-1, 16))), matrix, borrow(turned), *arrays[3:]
        remember(ledger, USERS, u, user_rows, user_records, width, record, stored)
        remember(ledger, ITEMS, i, item_rows, item_records, width, record, stored)
        both = (user_rows, user_records, item_rows, item_records), (item_rows, item_records, user_rows, user_records)
        missing = np.float32(numbers[1] / (item_numbers[0] + shares[1] - shares[0]))
        if not explicit:
            _fill(square, drift, gram_items, lanes, False, size)
        solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (USERS, ITEMS),
            u,
            both[0],
            (borrow(square), borrow(drift), missing, mean),
            numbers,
            room,
        )
        if not explicit:  # the user has moved
            store(room[0], 0, 0, old_p)
            store(room[0], 1, 0, load(user_rows, u, 0, width, size))
            _fill(square, drift, gram_users, lanes, True, size)
        solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (ITEMS, USERS),
            i,
            both[1],
            (borrow(square), borrow(drift), np.float32(missing * shares[1]), mean),
            numbers,
            room,
        )
        p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        sizes = max((p * p).total(), (q * q).total())
        if not (sizes <= limit and np.isfinite(user_records[u, 0] + item_records[i, 0])):
            store(user_rows, u, 0, old_p)
            store(item_rows, i, 0, old_q)
            user_records[u, 0], item_records[i, 0] = old_b, old_c
            _take_back(ledger, u, i, event)
            return NOT_FINITE
        if not explicit:
            store(room[0], 0, 0, old_p)
            store(room[0], 1, 0, p)
            _replace(gram_users, lanes, (1.0, 1.0), size)
            store(room[0], 0, 0, old_q)
            store(room[0], 1, 0, q)
            _replace(gram_items, lanes, shares, size)
            item_numbers[0] += shares[1] - shares[0]
        error = (value if explicit else 1.0) - (mean + old_b + old_c + (old_p * old_q).total())
        lost = column(ledger, LOSS, np.float64)
        lost[0] += (1.0 if explicit else numbers[0] * value) * error * error
        return LEARNED

    return learn


@njit
def _take_back(ledger, user, item, event):
    """Take the newest event off the log."""
    for side, row in ((USERS, user), (ITEMS, item)):
        column(ledger, side + _HEAD, np.int32)[row] = column(ledger, side + _PREVIOUS, np.int32)[event]
        tailed = column(ledger, side + _TAILED, np.int32)
        tailed[row] -= 1
    events = column(ledger, EVENTS, np.int64)
    events[0] = event
