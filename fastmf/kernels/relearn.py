"""One event at a time for models that solve rows: its user and its item are solved from all that they met, then logged.

The ledger and the journal are those of online.py, the equations those of als.py, and what an event is to them the loss
says by its own ``quadratic``. The Gram matrices are corrected by the two rows. Nothing is written before both rows are
known to be finite but the rows themselves, which the second needs of the first: they are put back otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.core.errors import NumbaError
from numba.extending import overload

from fastmf.kernels import als, bridge
from fastmf.kernels.als import ANEW, FAR, Form
from fastmf.kernels.borrowed import borrow, borrow_at, prefetch
from fastmf.kernels.bridge import entry_point, jit, stamp
from fastmf.kernels.direct import ROOM
from fastmf.kernels.gram import fill, fill_change, replace
from fastmf.kernels.lanes import load, store
from fastmf.kernels.log import older
from fastmf.kernels.online import (
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
from fastmf.kernels.pointwise import record_width

_LOG, _HEAD, _TAILED, _PREVIOUS = int(Entry.LOG), int(Entry.HEAD), int(Entry.TAILED), int(Entry.PREVIOUS)
_START, _BASED, _BASE = int(Entry.START), int(Entry.BASED), int(Entry.BASE)
_FACTORS, _RECORDS = int(Entry.FACTORS), int(Entry.RECORDS)
_COUNT, _SIZE = int(Entry.JOURNAL_COUNT), int(Entry.JOURNAL_SIZE)
_AHEAD = 16  # events between a prefetch and its use


class Numbers(NamedTuple):
    """What a solve of single events depends on besides the event.

    Attributes
    ----------
    weight, nu : float
        What the penalty of a row grows from and with.
    steps, most : int
        Of the solver; how many events of the past of a row are read.
    users, items : int
        Rows from these on without events are new: no Gram matrix had them before the event.
    """

    weight: float
    nu: float
    steps: int
    most: int
    users: int
    items: int


class Room(NamedTuple):
    """Arrays that the solves of single events share; few, since each costs a call some time.

    Attributes
    ----------
    lanes : float32[ROOM + 3 * width + 2, width]
        What the solver wants, then a Gram matrix, its change, and a row and its record as they were before the event.
    matrix : float64[size + 2, size + 1]
        As the solver wants it; the last row is a column.
    turned : float32 array
        As the solver wants it.
    columns : float32[4, most + 1]
        Of the events of a row: how many each stands for, values, weights and targets.
    places : int64[2, most + 1]
        Their positions in the log, and the rows that they met.
    """

    lanes: np.ndarray
    matrix: np.ndarray
    turned: np.ndarray
    columns: np.ndarray
    places: np.ndarray


@njit
def _count(ledger, side, row):
    return np.int64(column(ledger, side + _BASED, np.int32)[row] + column(ledger, side + _TAILED, np.int32)[row])


@njit
def _untidy(ledger, side, row, most):
    count = _count(ledger, side, row)
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


# --- what an event is to the equations ------------------------------------------------------------------------------


def weigh(explicit, loss, values, weights, targets):
    """Weights *= the confidences of a loss in events of these values; targets become its targets. For kernels only."""


@overload(weigh, prefer_literal=True)
def _weigh(explicit, loss, values, weights, targets):
    if not hasattr(explicit, "literal_value"):
        return None

    def asked(explicit, loss, values, weights, targets):
        confidences, aims = bridge.quadratic(loss, values)
        for n in range(values.size):
            weights[n] *= np.float32(confidences[n])
            targets[n] = _aim(aims, n)

    return asked


def _aim(aims, n):
    """Target n of a loss; 1 where it has none."""


@overload(_aim)
def _one_aim(aims, n):
    if isinstance(aims, types.NoneType):
        return lambda aims, n: np.float32(1)
    return (lambda aims, n: np.float32(aims[n])) if isinstance(aims, types.Array) else None


# --- one row --------------------------------------------------------------------------------------------------------


@njit
def _gather(ledger, sides, rows, value, most, room):
    """The past of row rows[0] of the first of two sides, then the event of a value with row rows[1]; how many."""
    places, others = room.places[0], room.places[1]
    scales, values, weights = room.columns[0], room.columns[1], room.columns[2]
    count = _events_of(ledger, sides[0], rows[0], most, places, scales)
    met, logged = column(ledger, sides[1] + _LOG, np.int32), column(ledger, VALUES, np.float32)
    kept, unweighted = column(ledger, WEIGHTS, np.float32), ledger[UNWEIGHTED]
    for n in range(count):
        prefetch(met, places[min(n + _AHEAD, count - 1)])
        prefetch(logged, places[min(n + _AHEAD, count - 1)])
        place = places[n]
        others[n], values[n] = met[place], logged[place]
        weights[n] = scales[n] * (kept[place] if place >= unweighted else np.float32(1))
    others[count], values[count], weights[count] = rows[1], value, np.float32(1)
    return count + 1


@njit
def _penalty(numbers, evidence):
    return numbers.weight * max(evidence, 0.0) ** numbers.nu


_scale_of = njit(error_model="numpy")(als.scale_of)


def solve_row(
    size, width, biased, explicit, method, ledger, sides, rows, value, far, loss, tables, terms, seen, numbers, room
):
    """Solve a row from all that it met and a new event; the confidence in that, and its target. For kernels only.

    sides = (its own, the other); rows = (the row, that of the other side); terms = (gram, its drift, missing, mean);
    seen as in als.shift. A row of which all is read is FAR off, or solved ANEW; one with more in its past takes a step
    on the event.
    """


@overload(solve_row, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_row(
    size, width, biased, explicit, method, ledger, sides, rows, value, far, loss, tables, terms, seen, numbers, room
):
    if not hasattr(size, "literal_value"):
        return None

    def solve(
        size, width, biased, explicit, method, ledger, sides, rows, value, far, loss, tables, terms, seen, numbers, room
    ):
        gram, drift, missing, mean = terms
        count = _gather(ledger, sides, rows, value, numbers.most, room)
        weights, targets, evidence = room.columns[2], room.columns[3], 0.0
        weigh(explicit, loss, room.columns[1][:count], weights, targets)
        for n in range(count):
            evidence += weights[n]
        newest = weights[count - 1], targets[count - 1]
        past, penalty = _count(ledger, sides[0], rows[0]), _penalty(numbers, evidence)
        before = _penalty(numbers, evidence - newest[0])
        grown = np.float32(max(penalty, als.LEAST)) - np.float32(max(before, als.LEAST))
        fresh = 1 if past > numbers.most else FAR if far or past == 0 else ANEW
        negligible = evidence < als.NEGLIGIBLE * max(missing, penalty)
        if evidence < als.SMALL or negligible:  # as in equations_of
            if evidence == 0 or negligible:
                fresh = FAR
                store(tables[0], rows[0], 0, load(tables[0], rows[0], 0, width, size) * np.float32(0))
                tables[1][rows[0], 0] = np.float32(0)
            if evidence == 0:
                return newest
            scale = _scale_of(evidence, missing, penalty)
            missing, penalty = np.float32(missing * scale), penalty * scale
            for n in range(count):
                weights[n] = np.float32(weights[n] * scale)
        als.solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            rows[0],
            tables,
            (borrow(room.places[1]), borrow(weights), borrow(targets)),
            (0, count),
            fresh,
            (gram, missing, np.float32(max(penalty, als.LEAST)), mean),
            (drift, grown, seen),
            numbers.steps,
            (
                borrow(room.lanes),
                borrow(room.lanes.reshape((-1, 16))),
                room.matrix,
                room.matrix[size + 1],
                borrow(room.turned),
            ),
        )
        return newest

    return solve


# --- one event ------------------------------------------------------------------------------------------------------


@functools.cache
def learn(form: Form, half: bool, loss: type) -> Any:
    """The kernel that learns one event."""
    return _learn(*form.shape, form.method, form.explicit, half, stamp(loss))


def compiled(form: Form, half: bool, loss: Any, *examples: Any) -> Callable[..., int]:
    """The code of that kernel for arguments of these types, in which `loss` comes behind the fifth.

    Raises
    ------
    TypeError
        Where ``quadratic`` of the loss cannot be compiled.
    """
    try:
        return entry_point(learn(form, half, type(loss)), *examples[:5], loss, *examples[5:])
    except NumbaError as error:
        reason = str(error).strip().splitlines()[-1]
        raise TypeError(
            f"learn_one compiles {type(loss).__name__}.quadratic, which Numba cannot ({reason}); "
            "update with a batch of one event"
        ) from error


def _learn(size, width, memory, biases, method, explicit, half, stamp):
    record, biased = record_width(memory), biases and explicit
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # of a squared length that the tables hold

    @jit(stamp)
    def learn(ledger_array, user, item, value, mean, loss, tidy, missing_pairs, numbers, grams, room):
        """Learn one event; answers LEARNED, or why nothing was done.

        UNTIDY is the answer, if `tidy` is asked for, where a row that is sampled must be laid out first.
        `missing_pairs` is the confidence in all pairs of a user together, 0 where pairs unmet do not count; numbers =
        Numbers; grams = (those of users and items, the numbers of that of the items); room = Room.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        ledger, (gram_users, gram_items, item_numbers) = borrow(ledger_array), grams
        u, i = row_of(ledger, USERS, user), row_of(ledger, ITEMS, item)
        if u < 0 or i < 0:
            return UNKNOWN
        if column(ledger, EVENTS, np.int64)[0] >= ledger[EVENTS_SIZE]:
            return FULL
        most = numbers.most
        if tidy and (_untidy(ledger, USERS, u, most) or _untidy(ledger, ITEMS, i, most)):
            return UNTIDY
        if ledger[USERS + _COUNT] >= ledger[USERS + _SIZE] or ledger[ITEMS + _COUNT] >= ledger[ITEMS + _SIZE]:
            return FULL
        user_rows = borrow_at(ledger[USERS + _FACTORS], stored, width)
        item_rows = borrow_at(ledger[ITEMS + _FACTORS], stored, width)
        user_records = borrow_at(ledger[USERS + _RECORDS], np.float32, record)
        item_records = borrow_at(ledger[ITEMS + _RECORDS], np.float32, record)
        old_p, old_q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        old_b, old_c = user_records[u, 0], item_records[i, 0]
        users, items = _count(ledger, USERS, u), _count(ledger, ITEMS, i)
        power, one = item_numbers[2], np.float32(value)
        shares = max(np.float64(items), 1.0) ** power, (items + 1.0) ** power
        lanes, first = room.lanes, ROOM + width
        square, drift = lanes[first : first + width], lanes[first + width : first + 2 * width]
        before, old_record = lanes[first + 2 * width :], lanes[first + 2 * width + 1 :]
        both = (user_rows, user_records, item_rows, item_records), (item_rows, item_records, user_rows, user_records)
        missing = np.float32(missing_pairs / (item_numbers[0] + shares[1] - shares[0]))
        if not explicit:  # the item counts as often as it does with the event
            store(lanes, 0, 0, old_q)
            store(lanes, 1, 0, old_q)
            fill(square, gram_items, lanes, shares, shares[0] != shares[1], size)
            if users > most:
                known = 0.0 if items == 0 and i >= numbers.items else shares[0]
                fill_change(drift, lanes, (known, shares[1]), size)
        store(before, 0, 0, old_p)
        old_record[0, 0] = old_b
        kept = borrow(before), borrow(old_record)
        newest = solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (USERS, ITEMS),
            (u, i),
            one,
            True,
            loss,
            both[0],
            (borrow(square), borrow(drift), missing, mean),
            (*kept, np.int64(0), np.int64(0)),
            numbers,
            room,
        )
        p, b = load(user_rows, u, 0, width, size), user_records[u, 0]
        if not explicit:  # the user has moved
            store(lanes, 0, 0, old_p)
            store(lanes, 1, 0, p)
            fill(square, gram_users, lanes, (1.0, 1.0), True, size)
            if items > most:
                known = 0.0 if users == 0 and u >= numbers.users else 1.0
                fill_change(drift, lanes, (known, 1.0), size)
        solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (ITEMS, USERS),
            (i, u),
            one,
            False,
            loss,
            both[1],
            (borrow(square), borrow(drift), np.float32(missing * shares[1]), mean),
            (*kept, u, u + 1),
            numbers,
            room,
        )
        q, c = load(item_rows, i, 0, width, size), item_records[i, 0]
        store(user_rows, u, 0, old_p)
        store(item_rows, i, 0, old_q)
        user_records[u, 0], item_records[i, 0] = old_b, old_c
        if not (max((p * p).total(), (q * q).total()) <= limit and np.isfinite(b + c)):
            return NOT_FINITE
        remember(ledger, USERS, u, user_rows, user_records, width, record, stored)
        remember(ledger, ITEMS, i, item_rows, item_records, width, record, stored)
        store(user_rows, u, 0, p)
        store(item_rows, i, 0, q)
        user_records[u, 0], item_records[i, 0] = b, c
        event = note(ledger, one)
        link(ledger, USERS, u, event)
        link(ledger, ITEMS, i, event)
        if not explicit and missing_pairs > 0:
            store(lanes, 0, 0, old_p)
            store(lanes, 1, 0, p)
            replace(gram_users, lanes, (1.0, 1.0), size)
            store(lanes, 0, 0, old_q)
            store(lanes, 1, 0, q)
            replace(gram_items, lanes, shares, size)
            item_numbers[0] += shares[1] - shares[0]
        error = np.float64(newest[1]) - (mean + old_b + old_c + (old_p * old_q).total())
        lost = column(ledger, LOSS, np.float64)
        lost[0] += np.float64(newest[0]) * error * error
        return LEARNED

    return learn
