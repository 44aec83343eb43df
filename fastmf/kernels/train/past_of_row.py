"""ALS for one row of a live model: reads its history through the ledger, and solves it with one new event."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow, borrow_at, prefetch
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.rows.log import limit_of, older
from fastmf.kernels.train import als
from fastmf.kernels.train.als import ANEW, FAR
from fastmf.kernels.train.ledger import (
    UNWEIGHTED,
    VALUES,
    WEIGHTS,
    Entry,
    column,
)

_LOG, _HEAD, _TAILED, _PREVIOUS = int(Entry.LOG), int(Entry.HEAD), int(Entry.TAILED), int(Entry.PREVIOUS)
_START, _BASED, _BASE = int(Entry.START), int(Entry.BASED), int(Entry.BASE)
_FACTORS, _RECORDS, _UNKNOWN = int(Entry.FACTORS), int(Entry.RECORDS), int(Entry.UNKNOWN)
_COUNT, _SIZE = int(Entry.JOURNAL_COUNT), int(Entry.JOURNAL_SIZE)
_AHEAD = 16  # events between a prefetch and its use


class Numbers(NamedTuple):
    """Scalars that solves of single events depend on.

    Attributes
    ----------
    weight, nu : float
        The L2 penalty of a row is ``weight * evidence**nu``, with 1 added to the evidence where there is a prior.
    strengths : (float, float)
        Of the priors of users and items; 0 for none.
    steps, most, few : int
        Iterations of the solver; the maximum number of past events read per row, and of a row to which an event adds
        little, see kernels/rows/log.py.
    users, items : int
        Rows from these on that have no events are new: the Gram matrices did not include them before the event.
    """

    weight: float
    nu: float
    strengths: tuple[float, float]
    steps: int
    most: int
    few: int
    users: int
    items: int


class Room(NamedTuple):
    """Work arrays shared by solves of single events; few, since each array argument adds to the time of a call.

    Attributes
    ----------
    lanes : float32[ROOM + 3 * width + 2, width]
        Work rows of the solver and its matrix, then a Gram matrix, its change, and a row and its record before the
        event.
    matrix : float64[size + 2, size + 1]
        Work matrix of the solver; the last row is its right-hand side.
    turned : float32 array
        Transposed rows for eALS.
    columns : float32[4, most + 1]
        For each event of a row: its scale (how many events it represents), value, weight and target.
    positions : int64[2, most + 1]
        Positions of the events in the log, and their rows of the other side.
    """

    lanes: np.ndarray
    matrix: np.ndarray
    turned: np.ndarray
    columns: np.ndarray
    positions: np.ndarray


@njit
def events_of_row(ledger, side, row):
    return np.int64(column(ledger, side + _BASED, np.int32)[row] + column(ledger, side + _TAILED, np.int32)[row])


@njit
def scattered(ledger, side, row, most):
    count = events_of_row(ledger, side, row)
    return count > most and column(ledger, side + _BASED, np.int32)[row] < count // 2


@njit
def _events_of(ledger, side, row, limit, positions, scales):
    """Write positions and scales of a row's past events, oldest first, as chosen by log.sample; returns their number.

    If the base lacks events of the older half, only the newest events are used.
    """
    previous, base = column(ledger, side + _PREVIOUS, np.int32), column(ledger, side + _BASE, np.int32)
    start = column(ledger, side + _START, np.int64)[row]
    based, count = np.int64(column(ledger, side + _BASED, np.int32)[row]), events_of_row(ledger, side, row)
    drawn = limit // 2 if count > limit and based >= count // 2 else 0
    event, taken = np.int64(column(ledger, side + _HEAD, np.int32)[row]), min(count, limit)
    place = taken
    while place > drawn and event > 0:
        place -= 1
        positions[place], scales[place] = event - 1, 1.0
        event = np.int64(previous[event - 1])
    while place > drawn:
        place, based = place - 1, based - 1
        positions[place], scales[place] = base[start + based], 1.0
    for k in range(drawn):
        positions[k] = base[start + older(row, count, k)]
        scales[k] = (count - limit + drawn) / drawn
    return taken


# --- confidences and targets -----------------------------------------------------------------------------------------


def weigh(explicit, loss, values, weights, targets):
    """Multiply `weights` by the confidences of the loss for these values, and write its targets. For kernels only."""


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
    """Target n of a loss; 1 where targets is None."""


@overload(_aim)
def _one_aim(aims, n):
    if isinstance(aims, types.NoneType):
        return lambda aims, n: np.float32(1)
    return (lambda aims, n: np.float32(aims[n])) if isinstance(aims, types.Array) else None


# --- one row --------------------------------------------------------------------------------------------------------


@njit
def _gather(ledger, sides, rows, value, most, room):
    """Write the past events of rows[0] and then the new event, with rows[1] and `value`; returns their number."""
    positions, others = room.positions[0], room.positions[1]
    scales, values, weights = room.columns[0], room.columns[1], room.columns[2]
    count = _events_of(ledger, sides[0], rows[0], most, positions, scales)
    met, logged = column(ledger, sides[1] + _LOG, np.int32), column(ledger, VALUES, np.float32)
    kept, unweighted = column(ledger, WEIGHTS, np.float32), ledger[UNWEIGHTED]
    for n in range(count):
        prefetch(met, positions[min(n + _AHEAD, count - 1)])
        prefetch(logged, positions[min(n + _AHEAD, count - 1)])
        place = positions[n]
        others[n], values[n] = met[place], logged[place]
        weights[n] = scales[n] * (kept[place] if place >= unweighted else np.float32(1))
    others[count], values[count], weights[count] = rows[1], value, np.float32(1)
    return count + 1


@njit
def _penalty(numbers, evidence, strength):
    return numbers.weight * (max(evidence, 0.0) + (1.0 if strength > 0 else 0.0)) ** numbers.nu


_scale_of = njit(error_model="numpy")(als.scale_of)


def solve_row(
    size, width, biased, explicit, method, ledger, sides, rows, value, far, loss, tables, terms, seen, numbers, room
):
    """Solve a row from its history and one new event; returns the event's confidence and target. For kernels only.

    sides = (its own, the other); rows = (the row, the event's row of the other side); terms = (gram, its change,
    missing, mean, the strength of the prior); `seen` as in als.shift. A row whose whole history is read is solved, from
    FAR or ANEW; a row with more past events than are read takes a step on the new event.
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
        gram, gram_change, missing, mean, strength = terms
        prior = borrow_at(ledger[sides[0] + _UNKNOWN], np.float32, width)
        past = events_of_row(ledger, sides[0], rows[0])
        limit = limit_of(past, 1, numbers.most, numbers.few)
        count = _gather(ledger, sides, rows, value, limit, room)
        weights, targets, evidence = room.columns[2], room.columns[3], 0.0
        weigh(explicit, loss, room.columns[1][:count], weights, targets)
        for n in range(count):
            evidence += weights[n]
        newest = weights[count - 1], targets[count - 1]
        penalty = _penalty(numbers, evidence, strength)
        before = _penalty(numbers, evidence - newest[0], strength)
        grown = np.float32(max(penalty, als.LEAST)) - np.float32(max(before, als.LEAST))
        fresh = 1 if past > limit else FAR if far or past == 0 else ANEW
        share = np.float32(strength / (strength + evidence) if strength > 0 else 0.0)
        negligible = evidence < als.NEGLIGIBLE * max(missing, penalty)
        if evidence < als.SMALL or negligible:  # as in equations_of
            if evidence == 0 or negligible:
                fresh = FAR
                store(tables[0], rows[0], 0, load(prior, 0, 0, width, size))
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
            (borrow(room.positions[1]), borrow(weights), borrow(targets)),
            (0, count),
            fresh,
            (gram, missing, np.float32(max(penalty, als.LEAST)), mean, (prior, np.int64(0)), share),
            (gram_change, grown, seen),
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
