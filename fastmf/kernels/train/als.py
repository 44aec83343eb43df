"""Alternating least squares (ALS): solve each row of one side independently, with the other side fixed.

A row p (with its bias b, where biases are trained) is the minimiser of

    sum_n w_n (t_n - b - x_n . p)^2  +  missing * (p - s m)' G (p - s m)  +  penalty * (|p - m|^2 + b^2)

over its events n, where x_n is the row of the other side, w_n the confidence and t_n the target less the terms that do
not depend on the row (the global mean and the bias of x_n). G is the Gram matrix of all rows of the other side: the
second term pulls all scores to zero, as if no pair had been observed (implicit feedback; absent for ratings). m is the
row of the prior and s its share: 1 for a row without events, which is then m, and 0 where the prior is zero.

========== =============================================================================================================
CHOLESKY   normal equations, summed in float32 and factorised in float64. Where rounding errors of the sums exceed a
           pivot (fewer events than factors and a tiny penalty), conjugate gradients from zero instead
CG         `steps` iterations of conjugate gradients started from the current row; matrix-free
EALS       `steps` passes of element-wise coordinate descent: each factor is set to its minimiser with the others fixed
========== =============================================================================================================

A row with a long past need not read all of it. Assumed to be at its minimum before its `fresh` newest events came, it
moves by ``A^-1 g``, by CG. g is the change of the gradient since: by these events, by what they add to the penalty
(`grown`), by the change of the Gram matrix, and by the rows met that have moved. A is the matrix of a sample of its
events, which stands for all of them in the last part of g too. That the share of the prior has become a little smaller
is left out.

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
ANEW, FAR = -1, -2  # instead of a number of fresh events: solve from the current row, near or far from the minimum
STEPS_ON_FRESH = 6  # CG iterations of a step on fresh events; also the minimum for rows that are FAR
LEAST = 1e-30  # the smallest penalty
SMALL = 2.0**-30  # rows with a smaller total weight are rescaled for float32
NEGLIGIBLE = 2.0**-20  # relative total weight below which float32 would retain the old row for good
_LARGE, _TINY = 2.0**80, 2.0**-200
_AHEAD = 8  # events between a prefetch and its use


class Form(NamedTuple):
    """Compile-time parameters of an ALS kernel.

    Attributes
    ----------
    shape : Shape
    method : int
        CHOLESKY, CG or EALS.
    explicit : bool
        Whether events have individual targets. If not, all targets are 1 and no row has a bias.
    """

    shape: Shape
    method: int
    explicit: bool


def scale_of(evidence: Any, missing: Any, penalty: Any) -> Any:
    """The factor by which the equations of a row with little total weight are scaled to the range of float32."""
    return np.minimum(1 / np.maximum(evidence, _TINY), _LARGE / np.maximum(np.maximum(missing, penalty), _TINY))


# --- gradients -------------------------------------------------------------------------------------------------------


def residual(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
    """-1/2 of the gradient at a row, its component for the bias, and the row's summed loss. For kernels only.

    With ``known=False`` the targets are taken to be 0 and the result is minus the product of the normal-equation matrix
    and the direction (row, bias). tables = (own rows, own records, other rows, other records), events = (others,
    weights, targets), of which `span` = (first, last) are read; terms = (gram, missing, penalty, mean, prior, share),
    where prior = (rows of the prior, the line of this row's). All arrays are borrowed.
    """


@overload(residual, prefer_literal=True, jit_options={"error_model": "numpy"})
def _residual(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
    if not hasattr(size, "literal_value"):
        return None

    def sums(size, width, biased, explicit, known, row, bias, tables, events, span, terms, room):
        _, _, other, other_records = tables
        others, weights, targets = events
        gram, missing, penalty, mean, prior, share = terms
        first, last = span
        centre = load(prior[0], prior[1], 0, width, size)
        total, total_bias, lost = (row - centre if known else row) * (-penalty), bias * (-penalty), 0.0
        if not explicit:
            store(room, 0, 0, row - centre * share if known else row)
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
    """The change of -1/2 of the gradient of some events since rows of the other side moved, and its bias component.

    seen = (old rows of the other side, their old records, the first of these rows, one past the last): no other rows
    have moved. For kernels only.
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
    """Run conjugate gradients on one row; returns the loss of its (fresh) events before. For kernels only.

    Reads and writes row `number` of the own table. since = (gram_change, grown, seen), used if ``fresh >= 0``; see
    `shift`.
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
        pulls = terms if fresh < 0 else (since[0], terms[1], since[1], *terms[3:])
        left, left_bias, lost = residual(
            size, width, biased, explicit, True, row, bias, tables, events, asked, pulls, room
        )
        if fresh >= 0:
            past = (span[0], span[1] - fresh)
            more, more_bias = shift(size, width, biased, explicit, row, bias, tables, since[2], events, past, terms[3])
            left, left_bias = left + more, left_bias + more_bias
        direction, direction_bias = left, left_bias
        norm = (left * left).total() + left_bias * left_bias
        least = norm * np.float32(1e-13)  # converged to the precision of float32
        for _ in range(steps):
            if not norm > least:
                break
            product, product_bias, _ = residual(
                size, width, biased, explicit, False, direction, direction_bias, tables, events, span, terms, room
            )
            bend = (direction * product).total() + direction_bias * product_bias
            if not bend < 0:  # the curvature underflows
                norm += bend * 0  # propagates NaN
                break
            length = -norm / bend
            row, bias = fma(direction, length, row), bias + direction_bias * length
            left, left_bias = fma(product, length, left), left_bias + product_bias * length
            following = (left * left).total() + left_bias * left_bias
            share = following / norm
            direction, direction_bias = fma(direction, share, left), left_bias + direction_bias * share
            norm = following
        if not norm < np.inf:  # overflow: NaN rows are rejected by the caller
            row, bias = row * np.float32(np.nan), np.float32(np.nan)
        store(own, number, 0, row)
        if biased:
            own_records[number, 0] = bias
        return lost

    return solve


# --- one row, by any method -----------------------------------------------------------------------------------------


def solve_directly(size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch):
    """Solve one row without CG; returns the loss of its events before, and whether it succeeded. For kernels only.

    Chosen by method when kernels are compiled, so that each compiles its own alone: a branch would compile all.
    """


@overload(solve_directly, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_directly(size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch):
    if not hasattr(size, "literal_value"):
        return None

    def neither(size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch):
        return 0.0, False

    def cholesky(size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch):
        return solve_cholesky(size, width, biased, explicit, number, tables, events, span, terms, scratch[:4])

    def eals(size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch):
        lost, buffers = 0.0, (scratch[0], scratch[4])
        for step in range(steps):
            before = solve_eals(size, width, biased, explicit, number, tables, events, span, terms, buffers)
            lost = before if step == 0 else lost
        return lost, True

    return {CHOLESKY: cholesky, EALS: eals}.get(method.literal_value, neither)


def solve_row(size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch):
    """Solve one row, or take one Newton step; returns the loss of its (fresh) events before. For kernels only.

    `fresh` is the number of fresh events of a row that takes a step, else ANEW or FAR. scratch = (lanes[rows, width],
    the same memory as lanes[rows, 16], float64 matrix, float64 right-hand side, transposed rows for eALS).
    """


@overload(solve_row, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_row(
    size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch
):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, method, number, tables, events, span, fresh, terms, since, steps, scratch):
        lost, done, times, room = 0.0, False, steps, scratch[0]
        if fresh >= 0:
            times = STEPS_ON_FRESH
        else:
            lost, done = solve_directly(
                size, width, biased, explicit, method, number, tables, events, span, terms, steps, scratch
            )
            if method == CHOLESKY:
                times, fresh = 2 * size, np.int64(ANEW)
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
    """The kernel that solves the rows of one side in place, see `_solve`."""
    size, width, _, biases = form.shape
    return _solve(size, width, biases and form.explicit, form.explicit, form.method, parallel, stamp(parallel=parallel))


def _solve(size, width, biased, explicit, method, parallel, stamp):
    @jit(stamp, parallel)
    def solve(rows, span, events, own, own_records, other, other_records, since, mean, steps, scratch, workers, sums):
        """Solve rows[span[0]:span[1]] in place; writes to sums[n] the loss of the events of row n before.

        rows = (numbers, bounds, fresh, missing, penalties, grown, shares): row numbers[n] has the events bounds[n] to
        bounds[n + 1] of events = (others, weights, targets), and fresh[n] is its number of fresh events, ANEW or FAR.
        since = (the Gram matrix, its change, and old rows of the other side, their records and their number, see
        `shift`; the rows of the prior, one for all or one each).
        Worker w uses scratch[i][w] of scratch = (lanes, matrices, transposed rows).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        taken = np.full(1, span[0])
        for worker in prange(workers):
            numbers, bounds, fresh, missing, penalties, grown, shares = rows
            columns = borrow(events[0]), borrow(events[1]), borrow(events[2])
            tables = borrow(own), borrow(own_records), borrow(other), borrow(other_records)
            lanes, matrix, turned = scratch[0][worker], scratch[1][worker], borrow(scratch[2][worker])
            room, squares, right = borrow(lanes), borrow(lanes.reshape((-1, 16))), np.empty(size + 1)
            each = np.int64(1) if since[5].shape[0] > 1 else np.int64(0)  # lines of the prior from row to row
            while True:
                n = fetch_add(taken)
                if n >= span[1]:
                    break
                part, number = (bounds[n], bounds[n + 1]), np.int64(numbers[n])
                if part[0] == part[1] or penalties[n] == 0:
                    continue
                prior = borrow(since[5]), n * each
                terms = borrow(since[0]), missing[n], penalties[n], mean, prior, shares[n]
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
