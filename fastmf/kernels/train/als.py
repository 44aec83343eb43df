"""Alternating least squares: one side's rows are solved, each on its own, with the other side fixed.

A row p (with its bias b, where biases move) is the minimum of

    sum_n w_n (t_n - b - x_n . p)^2  +  missing * p' G p  +  penalty * (|p|^2 + b^2)

over its events n, which met the rows x_n of the other side; G is the Gram matrix of the other side, in which all of its
rows are, met or not. Ratings have no such term. t_n is the target less what the row cannot change (mean, bias of x_n).

========== ==============================================================================================
CHOLESKY   the minimum itself, by the normal equations; sums in float32, factors in float64. Where the rounding of the
           sums leaves nothing of a pivot (fewer rows met than factors, and hardly a penalty), by CG from zero
CG         `steps` of conjugate gradients from where the row is; never forms a matrix
EALS       `steps` passes over the coordinates of the row, each set to its minimum with the others fixed
========== ==============================================================================================

A row with a long past need not read all of it. Assumed to be at its minimum before its `fresh` newest events came, it
moves by ``A^-1 g``, by CG. g is the change of the gradient since: by these events, by what they add to the penalty
(`grown`), by the change of the Gram matrix, and by the rows met that have moved. A is the matrix of a sample of its
events, which stands for all of them in the last part of g too.

References: Hu, Koren, Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets. Takács, Pilászy, Tikk
(2011), Applications of the conjugate gradient method for implicit feedback collaborative filtering. He, Zhang, Kan,
Chua (2016), Fast Matrix Factorization for Online Recommendation with Implicit Feedback.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numba.extending import overload

from fastmf.kernels.core.borrowed import borrow, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.sharing import fetch_add
from fastmf.kernels.train.direct import solve_cholesky, solve_eals

METHODS = CHOLESKY, CG, EALS = 0, 1, 2
ANEW, FAR = -1, -2  # in place of a number of fresh events: solved from where the row is, which may be far off
STEPS_ON_FRESH = 6  # of conjugate gradients, from no guess; at least as many from FAR
LEAST = 1e-30  # a penalty
SMALL = 2.0**-30  # evidence that float32 should not see as it is
NEGLIGIBLE = 2.0**-20  # evidence beside what is missing, or the penalty: float32 leaves more of what the row was
_LARGE, _TINY = 2.0**80, 2.0**-200
_AHEAD = 8  # events between a prefetch and its use


class Form(NamedTuple):
    """What a kernel is compiled for: the shape of rows, the method, and whether events have targets of their own.

    Without targets of their own all events have target 1, and no row has a bias.
    """

    shape: Shape
    method: int
    explicit: bool


def scale_of(evidence: Any, missing: Any, penalty: Any) -> Any:
    """What the equations of rows with little evidence are multiplied with, so that float32 holds all of them."""
    return np.minimum(1 / np.maximum(evidence, _TINY), _LARGE / np.maximum(np.maximum(missing, penalty), _TINY))


# --- what all methods share -----------------------------------------------------------------------------------------


def residual(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
    """-1/2 of the gradient at a row, its part for the bias, and the summed loss of its events. For kernels only.

    Without `known`, the targets are taken to be 0, and the answer is minus the product of a direction and the matrix of
    the normal equations. tables = (own rows, own records, other rows, other records); terms = (gram, missing, penalty,
    mean); all arrays are borrowed.
    """


@overload(residual, prefer_literal=True, jit_options={"error_model": "numpy"})
def _residual(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
    if not hasattr(size, "literal_value"):
        return None

    def sums(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
        _, _, other, other_records = tables
        others, weights, targets = events
        gram, missing, penalty, mean = terms
        first, last = span
        total, total_bias, lost = row * (-penalty), bias * (-penalty), 0.0
        if not explicit:
            store(room, 0, 0, row)
            one, two = row * np.float32(0), row * np.float32(0)
            for factor in range(0, width, 2):
                one = fma(load(gram, factor, 0, width, size), room[0, factor], one)
                two = fma(load(gram, factor + 1, 0, width, size), room[0, factor + 1], two)
            total = fma(one + two, -missing, total)
        for n in range(first, last):
            if known:
                prefetch(other, np.int64(others[min(n + _AHEAD, last - 1)]))
            met = np.int64(others[n])
            x = load(other, met, 0, width, size)
            error = -(x * row).total() - bias
            if known:
                error += targets[n] - mean - other_records[met, 0] if explicit else np.float32(1)
            pulled = weights[n] * error
            lost += pulled * error
            total = fma(x, pulled, total)
            total_bias += pulled
        return total, total_bias if biased else np.float32(0), lost

    return sums


def shift(size, width, biased, explicit, row, bias, tables, seen, events, span, mean):
    """How -1/2 of the gradient of some events has changed as the rows they met moved, and its part for the bias.

    seen = (rows of the other side as they were, their records, the first of them, the one behind the last: no other has
    moved). For kernels only.
    """


@overload(shift, prefer_literal=True, jit_options={"error_model": "numpy"})
def _shift(size, width, biased, explicit, row, bias, tables, seen, events, span, mean):
    if not hasattr(size, "literal_value"):
        return None

    def sums(size, width, biased, explicit, row, bias, tables, seen, events, span, mean):
        _, _, other, other_records = tables
        others, weights, targets = events
        old, old_records, first_moved, last_moved = seen
        total, total_bias = row * np.float32(0), np.float32(0)
        for n in range(span[0], span[1]):
            met = np.int64(others[n])
            if first_moved <= met < last_moved:
                then = met - first_moved
                x, y = load(other, met, 0, width, size), load(old, then, 0, width, size)
                error, error_then = -(x * row).total() - bias, -(y * row).total() - bias
                if explicit:
                    target = targets[n] - mean
                    error, error_then = (
                        error + target - other_records[met, 0],
                        error_then + target - old_records[then, 0],
                    )
                else:
                    error, error_then = error + np.float32(1), error_then + np.float32(1)
                total = fma(x, weights[n] * error, fma(y, -weights[n] * error_then, total))
                total_bias += weights[n] * (error - error_then)
        return total, total_bias if biased else np.float32(0)

    return sums


# --- conjugate gradients --------------------------------------------------------------------------------------------


def solve_cg(size, width, biased, explicit, number, tables, events, span, fresh, terms, since, steps, room):
    """Some steps of conjugate gradients on one row; returns the loss of its (fresh) events before. For kernels only.

    since = (gram_change, grown, seen), where some are fresh, see `shift`.
    """


@overload(solve_cg, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_cg(size, width, biased, explicit, number, tables, events, span, fresh, terms, since, steps, room):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, number, tables, events, span, fresh, terms, since, steps, room):
        own, own_records, _, _ = tables
        row = load(own, number, 0, width, size)
        bias = own_records[number, 0] if biased else np.float32(0)
        asked = span if fresh < 0 else (span[1] - fresh, span[1])
        pulls = terms if fresh < 0 else (since[0], terms[1], since[1], terms[3])
        left, left_bias, lost = residual(
            size, width, biased, explicit, True, row, bias, tables, events, asked, pulls, room
        )
        if fresh >= 0:
            past = (span[0], span[1] - fresh)
            more, more_bias = shift(size, width, biased, explicit, row, bias, tables, since[2], events, past, terms[3])
            left, left_bias = left + more, left_bias + more_bias
        direction, direction_bias = left, left_bias
        norm = (left * left).total() + left_bias * left_bias
        least = norm * np.float32(1e-13)  # where float32 has nothing left to say
        for _ in range(steps):
            if not norm > least:
                break
            product, product_bias, _ = residual(
                size, width, biased, explicit, False, direction, direction_bias, tables, events, span, terms, room
            )
            bend = (direction * product).total() + direction_bias * product_bias
            if not bend < 0:  # too near 0 for float32
                norm += bend * 0  # unless it is no number
                break
            length = -norm / bend
            row, bias = fma(direction, length, row), bias + direction_bias * length
            left, left_bias = fma(product, length, left), left_bias + product_bias * length
            following = (left * left).total() + left_bias * left_bias
            share = following / norm
            direction, direction_bias = fma(direction, share, left), left_bias + direction_bias * share
            norm = following
        if not norm < np.inf:  # too large for float32: whoever looks refuses it
            row, bias = row * np.float32(np.nan), np.float32(np.nan)
        store(own, number, 0, row)
        if biased:
            own_records[number, 0] = bias
        return lost

    return solve


# --- one row, by any method -----------------------------------------------------------------------------------------


def solve_row(size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch):
    """Solve one row, or let it take a step; returns the loss of its (fresh) events before. For kernels only.

    `fresh` is the number of its fresh events, ANEW or FAR; scratch = (rows of lanes, the same 16 wide, a matrix, a
    column, turned rows).
    """


@overload(solve_row, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_row(
    size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch
):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch):
        room, squares, matrix, right, turned = scratch
        lost, done, times = 0.0, False, steps
        if fresh >= 0:
            times = STEPS_ON_FRESH
        elif method == CHOLESKY:
            buffers = room, squares, matrix, right
            lost, done = solve_cholesky(size, width, biased, explicit, number, tables, events, span, terms, buffers)
            times, fresh = 2 * size, np.int64(ANEW)
        elif method == EALS:
            for step in range(steps):
                before = solve_eals(size, width, biased, explicit, number, tables, events, span, terms, (room, turned))
                lost, done = before if step == 0 else lost, True
        elif fresh == FAR:
            times = max(steps, STEPS_ON_FRESH)
        if not done:
            before = solve_cg(
                size, width, biased, explicit, number, tables, events, span, fresh, terms, since, times, room
            )
            lost = lost if method == CHOLESKY and fresh < 0 else before
        return lost

    return solve


# --- all rows -------------------------------------------------------------------------------------------------------


@functools.cache
def solve(form: Form, parallel: bool) -> Any:
    """The kernel that solves rows of one side."""
    size, width, _, biases = form.shape
    return _solve(size, width, biases and form.explicit, form.explicit, form.method, parallel, stamp(parallel=parallel))


def _solve(size, width, biased, explicit, method, parallel, stamp):
    @jit(stamp, parallel)
    def solve(rows, span, events, own, own_records, other, other_records, since, mean, steps, scratch, workers, sums):
        """Solve rows[span[0]:span[1]]; sums[n] becomes the loss of the events of row n before.

        rows = (numbers, bounds, fresh, missing, penalties, grown): the events of row n, (others, weights, targets), are
        those from bounds[n] to bounds[n + 1], and fresh[n] of them are fresh, or it is solved ANEW or from FAR.
        since = (the Gram matrix, its change, then as `shift` has them: rows seen, their records, how many). A worker
        has scratch[:][worker] = (rows of lanes, matrix, columns).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        taken = np.full(1, span[0])
        for worker in prange(workers):
            numbers, bounds, fresh, missing, penalties, grown = rows
            columns = borrow(events[0]), borrow(events[1]), borrow(events[2])
            tables = borrow(own), borrow(own_records), borrow(other), borrow(other_records)
            lanes, matrix, turned = scratch[0][worker], scratch[1][worker], borrow(scratch[2][worker])
            room, squares, right = borrow(lanes), borrow(lanes.reshape((-1, 16))), np.empty(size + 1)
            while True:
                n = fetch_add(taken)
                if n >= span[1]:
                    break
                part, number = (bounds[n], bounds[n + 1]), np.int64(numbers[n])
                if part[0] == part[1] or penalties[n] == 0:
                    continue
                terms = borrow(since[0]), missing[n], penalties[n], mean
                seen = borrow(since[2]), borrow(since[3]), np.int64(0), np.int64(since[4])
                buffers = room, squares, matrix, right, turned
                sums[n] = solve_row(
                    size,
                    width,
                    biased,
                    explicit,
                    method,
                    number,
                    tables,
                    columns,
                    part,
                    fresh[n],
                    terms,
                    (borrow(since[1]), grown[n], seen),
                    steps,
                    buffers,
                )

    return solve
