"""Least-squares solvers of one row: Cholesky on the normal equations, and coordinate descent (eALS). See als.py."""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload

from fastmf.kernels.core.borrowed import narrow, prefetch
from fastmf.kernels.core.lanes import fma, load, store

ROOM = 8  # rows of lanes that a worker needs in addition to a matrix
_AHEAD = 8  # events between a prefetch and its use
_GROUP = 4  # events whose outer products are accumulated together
_ROUNDING = 1e-7  # relative rounding error of float32


# --- the normal equations -------------------------------------------------------------------------------------------


@njit(error_model="numpy")
def back_substitute(upper, right, size):
    """Overwrite `right` by the solution of ``upper @ solution = right``; reads the upper triangle alone."""
    for j in range(size - 1, -1, -1):
        value = right[j]
        for column in range(j + 1, size):
            value -= upper[j, column] * right[column]
        right[j] = value / upper[j, j]


@njit(error_model="numpy")
def solve_positive(matrix, right, size, rounding):
    """Solve ``matrix @ solution = right`` in place by Cholesky factorisation of a symmetric positive definite matrix.

    Reads the upper triangle of `matrix` and overwrites it with the factor R, R'R = matrix; `right` becomes the
    solution. Returns False if a pivot is at most its element of the diagonal times `rounding`. Left-looking and row by
    row, four earlier rows at a time, so that the current row stays in the cache.
    """
    for i in range(size):
        target, value, least = matrix[i], right[i], rounding * matrix[i, i]
        for j in range(0, i - 3, 4):
            a, b, c, d = matrix[j], matrix[j + 1], matrix[j + 2], matrix[j + 3]
            s, t, u, v = a[i], b[i], c[i], d[i]
            value = (((value - s * right[j]) - t * right[j + 1]) - u * right[j + 2]) - v * right[j + 3]
            for column in range(i, size):
                target[column] = (((target[column] - s * a[column]) - t * b[column]) - u * c[column]) - v * d[column]
        for j in range(i // 4 * 4, i):
            source, share = matrix[j], matrix[j, i]
            value -= share * right[j]
            for column in range(i, size):
                target[column] -= share * source[column]
        if target[i] <= least:
            return False
        scale = 1.0 / np.sqrt(target[i])
        for column in range(i, size):
            target[column] *= scale
        right[i] = value * scale
    back_substitute(matrix, right, size)
    return True


def add_products(size, width, room, squares, blocks, met):
    """Add the outer products of four rows with their scaled copies to a lower triangle. For kernels only.

    The rows are `met`, and `blocks` is their table as rows of 16; their scaled copies are rows 1 to 4 of `room`, and
    the triangle is in its rows from ROOM on; `squares` is the same memory as rows of 16.
    """


@overload(add_products, prefer_literal=True, jit_options={"error_model": "numpy"})
def _add_products(size, width, room, squares, blocks, met):
    if not hasattr(size, "literal_value"):
        return None
    parts = width.literal_value // 16

    def add(size, width, room, squares, blocks, met):
        a, b, c, d = met
        for part in range(parts):
            x_a, x_b = load(blocks, a * parts + part, 0, 16, 16), load(blocks, b * parts + part, 0, 16, 16)
            x_c, x_d = load(blocks, c * parts + part, 0, 16, 16), load(blocks, d * parts + part, 0, 16, 16)
            for factor in range(16 * part, size):
                place = (ROOM + factor) * parts + part
                total = fma(x_a, room[1, factor], load(squares, place, 0, 16, 16))
                total = fma(x_b, room[2, factor], total)
                total = fma(x_c, room[3, factor], total)
                store(squares, place, 0, fma(x_d, room[4, factor], total))

    return add


def solve_cholesky(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    """Solve one row by the normal equations; returns the loss of its events before, and whether it succeeded.

    A row whose matrix is not numerically positive definite is set to zero. scratch = (lanes, the same memory as rows of
    16, float64 matrix, float64 right-hand side); other arguments as in als.residual. For kernels only.
    """


@overload(solve_cholesky, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_cholesky(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, number, tables, events, span, terms, scratch):
        own, own_records, other, other_records = tables
        others, weights, targets = events
        gram, missing, penalty, mean, prior, share = terms
        room, squares, matrix, right = scratch
        blocks = narrow(other, 16)
        first, last = span
        old = load(own, number, 0, width, size)
        old_bias = own_records[number, 0] if biased else np.float32(0)
        zero = old * np.float32(0)
        for factor in range(width):
            store(room, ROOM + factor, 0, zero)
        along, column, count, along_bias, lost = zero, zero, np.float32(0), np.float32(0), 0.0
        for start in range(first, last, _GROUP):
            for member in range(_GROUP):
                n = min(start + member, last - 1)
                prefetch(other, np.int64(others[min(n + _AHEAD, last - 1)]))
                met = np.int64(others[n])
                weight = weights[n] if start + member < last else np.float32(0)
                x = load(other, met, 0, width, size)
                scaled = x * weight
                store(room, 1 + member, 0, scaled)
                target = targets[n] - mean - other_records[met, 0] if explicit else np.float32(1)
                error = target - (x * old).total() - old_bias
                lost += weight * error * error
                along = fma(scaled, target, along)
                if biased:
                    column, count, along_bias = column + scaled, count + weight, along_bias + weight * target
            a, b = np.int64(others[start]), np.int64(others[min(start + 1, last - 1)])
            c, d = np.int64(others[min(start + 2, last - 1)]), np.int64(others[min(start + 3, last - 1)])
            add_products(size, width, room, squares, blocks, (a, b, c, d))
        store(room, 0, 0, along)
        store(room, 1, 0, column)
        store(room, 2, 0, load(prior[0], prior[1], 0, width, size))
        for i in range(size):
            right[i] = room[0, i] + np.float64(penalty) * room[2, i]
            if not explicit and share > 0:
                pulled = 0.0
                for j in range(size):
                    pulled += np.float64(gram[i, j]) * room[2, j]
                right[i] += np.float64(missing) * share * pulled
            for j in range(i, size):  # the lower triangle was summed
                met_both = np.float64(room[ROOM + j, i])
                matrix[i, j] = met_both if explicit else met_both + missing * np.float64(gram[i, j])
            matrix[i, i] += penalty
            if biased:
                matrix[i, size] = room[1, i]
        if biased:
            right[size], matrix[size, size] = along_bias, count + penalty
        found = solve_positive(matrix, right, size + 1 if biased else size, _ROUNDING)
        for factor in range(size):
            room[0, factor] = np.float32(right[factor] if found else 0)
        store(own, number, 0, load(room, 0, 0, width, size))
        if biased:
            own_records[number, 0] = np.float32(right[size] if found else 0)
        return lost, found

    return solve


# --- coordinates ----------------------------------------------------------------------------------------------------


def solve_eals(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    """One pass of coordinate descent over one row; returns the loss of its events before. For kernels only.

    scratch = (lanes, transposed rows); other arguments as in als.residual.
    """


@overload(solve_eals, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_eals(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, number, tables, events, span, terms, scratch):
        own, own_records, other, other_records = tables
        others, weights, targets = events
        gram, missing, penalty, mean, prior, share = terms
        room, turned = scratch  # turned: one factor of all events per block, then weights, then residuals
        first, last = span
        old = load(own, number, 0, width, size)
        bias = own_records[number, 0] if biased else np.float32(0)
        strips = (last - first + 15) // 16
        weighted, missed, lost = size, size + 1, 0.0
        for n in range(16 * strips):
            strip, lane = n // 16, n % 16
            event = min(first + n, last - 1)
            met = np.int64(others[event])
            x = load(other, met, 0, width, size)
            store(room, 0, 0, x)
            for factor in range(size):
                turned[factor * strips + strip, lane] = room[0, factor]
            weight = weights[event] if first + n < last else np.float32(0)
            target = targets[event] - mean - other_records[met, 0] if explicit else np.float32(1)
            error = target - (x * old).total() - bias
            turned[weighted * strips + strip, lane], turned[missed * strips + strip, lane] = weight, error
            lost += weight * error * error
        store(room, 0, 0, old)
        for factor in range(size):
            pulled, curved = load(turned, 0, 0, 16, 16) * np.float32(0), load(turned, 0, 0, 16, 16) * np.float32(0)
            for strip in range(strips):
                x = load(turned, factor * strips + strip, 0, 16, 16)
                scaled = x * load(turned, weighted * strips + strip, 0, 16, 16)
                pulled = pulled + scaled * load(turned, missed * strips + strip, 0, 16, 16)
                curved = curved + scaled * x
            value = room[0, factor]
            slope, curve = pulled.total() - penalty * (value - prior[0][prior[1], factor]), curved.total() + penalty
            if not explicit:
                missed_by = load(room, 0, 0, width, size) - load(prior[0], prior[1], 0, width, size) * share
                slope -= missing * (load(gram, factor, 0, width, size) * missed_by).total()
                curve += missing * gram[factor, factor]
            change = slope / curve
            room[0, factor] = value + change
            for strip in range(strips):
                x, place = load(turned, factor * strips + strip, 0, 16, 16), missed * strips + strip
                store(turned, place, 0, fma(x, -change, load(turned, place, 0, 16, 16)))
        store(own, number, 0, load(room, 0, 0, width, size))
        if biased:
            pulled, curve = -penalty * bias, penalty
            for strip in range(strips):
                weight = load(turned, weighted * strips + strip, 0, 16, 16)
                pulled += (weight * load(turned, missed * strips + strip, 0, 16, 16)).total()
                curve += weight.total()
            own_records[number, 0] = bias + pulled / curve
        return lost

    return solve
