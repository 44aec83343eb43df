"""Variational Bayes for ratings: solve each row of one side as a normal distribution, with the other side fixed.

A row x = [p, b] (its factors and its bias) has the prior N(m, C), and a factor f of the noise of its events, 1 until
it is learned. An event of the weight given with a row [q, c] of the other side, of factor g, has the weight w = given /
(f g) and the target t = value - mean - c. (A loss other than the squared error is replaced by its normal surrogate,
whose weight is another factor of w, and whose target takes the place of the value.) With z = [q, 1], the variances u of
q and v of c, and s2, the variance of the noise of an event of weight 1,

    L = C^-1 + sum w (z z' + diag(u, 0)) / s2                     precision
    x = L^-1 (C^-1 m + sum w t z / s2)                            mean
    variances = 1 / diag(L)

The variances are those of the normal distribution with independent factors that is closest to the posterior; together
with the mean they maximise the evidence lower bound for the row. The sums over rows that the hyper-parameters are
learned from use the whole of P = L^-1:

    sum (d d'),   sum P,   sum d,   and   sum w E[(t - z.x)^2 + v] = sum w (t^2 + v) - x.l
                                                     + s2 (D - d.C^-1 m - tr(C^-1 (P + d d'))),   l = sum w t z

with d = x - m, whose squares can be far smaller than those of x, and D the length of x. The last sum over the events of
the row alone, E, gives its factor of the noise, under a prior worth a events of noise s2 (C is diagonal there):

    f <- (a + f E / s2) / (a + sum given)

Matrices are summed and inverted in float32; a row whose pivots come close to its rounding
errors is solved again in float64.

References: Lim, Teh (2007), Variational Bayesian Approach to Movie Rating Prediction. Nakajima, Sugiyama (2011),
Theoretical Analysis of Bayesian Matrix Factorization. Lakshminarayanan, Bouchard, Archambeau (2011), Robust Bayesian
Matrix Factorisation (noise that differs by row).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow, narrow, prefetch_row
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.sharing import fetch_add
from fastmf.kernels.train.direct import ROOM, add_products
from fastmf.kernels.train.inverse import add_double, clear_double, invert, solve_in_double
from fastmf.kernels.train.row import score, score_variance

SUMS = 3  # rows of sums besides the two matrices: of d e, of the covariances of p and b, of d (e is the d of the bias)
ROWS, BIASES, BIAS_SQUARES, BIAS_VARIANCES, EXPECTED, LOSS, WEIGHT = range(7)  # the sums that are numbers
NUMBERS = 7
_AHEAD = 8  # events between a prefetch and its use
_GROUP = 4  # events whose outer products are summed together
_RIGHT, _CROSS, _DOUBT, _DIAGONAL = 0, 5, 6, 7  # rows of the work array; 1 to 4 are the group's


# --- the sums over the events of a row ------------------------------------------------------------------------------


def normal(size, width, number, tables, events, n, mean, noise, loss):
    """The weight w and the value of event n of a row that the squared error is to have, and its loss; for kernels only.

    The loss, of the weight given, is that before the row is solved.
    """


@overload(normal, prefer_literal=True, jit_options={"error_model": "numpy"})
def _normal(size, width, number, tables, events, n, mean, noise, loss):
    if not hasattr(size, "literal_value"):
        return None

    def weighed(size, width, number, tables, events, n, mean, noise, loss):
        own, own_records, own_variances, other, other_records, other_variances = tables
        met = np.int64(events[0][n])
        weight = events[2][n] / (own_records[number, 2] * other_records[met, 2])
        p, s = load(own, number, 0, width, size), load(own_variances, number, 0, width, size)
        q, t = load(other, met, 0, width, size), load(other_variances, met, 0, width, size)
        scored = score(mean, own_records[number, 0], other_records[met, 0], p, q)
        spread = score_variance(p, s, own_records[number, 1], q, t, other_records[met, 1])
        factor, value = bridge.surrogate(loss, scored, spread, events[1][n], noise / weight)
        lost = events[2][n] * bridge.value(loss, scored, events[1][n])
        return weight * np.float32(factor), np.float32(value), np.float64(lost)

    return weighed


def gathered(size, width, number, tables, events, span, numbers, loss, buffers):
    """The sums over the events of a row; for kernels only.

    Writes the lower triangle of sum w q q' to `room`, and returns the sums of w t q, w q and w u, of w, w t, w t^2 and
    w v, of the weights given, and of the losses.
    """


@overload(gathered, prefer_literal=True, jit_options={"error_model": "numpy"})
def _gathered(size, width, number, tables, events, span, numbers, loss, buffers):
    if not hasattr(size, "literal_value"):
        return None

    def sums(size, width, number, tables, events, span, numbers, loss, buffers):
        own, _, _, other, other_records, other_variances = tables
        mean, noise = numbers[:2]
        others, _, weights = events
        room, squares = buffers[:2]
        blocks, (first, last) = narrow(other, 16), span
        zero = load(own, number, 0, width, size) * np.float32(0)
        for factor in range(width):
            store(room, ROOM + factor, 0, zero)
        along, column, doubt = zero, zero, zero
        weight_sum, along_bias, squared, unsure, given, lost = np.float32(0), np.float32(0), 0.0, 0.0, 0.0, 0.0
        for start in range(first, last, _GROUP):
            for member in range(_GROUP):
                n = min(start + member, last - 1)
                soon = np.int64(others[min(n + _AHEAD, last - 1)])
                prefetch_row(other, soon, width)
                prefetch_row(other_variances, soon, width)
                met = np.int64(others[n])
                weight, value, loss_of_event = normal(size, width, number, tables, events, n, mean, noise, loss)
                if start + member < last:
                    given, lost = given + weights[n], lost + loss_of_event
                else:
                    weight = np.float32(0)
                x = load(other, met, 0, width, size)
                scaled = x * weight
                store(room, 1 + member, 0, scaled)
                target = value - mean - other_records[met, 0]
                along, column = fma(scaled, target, along), column + scaled
                doubt = fma(load(other_variances, met, 0, width, size), weight, doubt)
                pulled = weight * target
                weight_sum, along_bias = weight_sum + weight, along_bias + pulled
                squared, unsure = squared + pulled * target, unsure + weight * other_records[met, 1]
            met = (
                np.int64(others[start]),
                np.int64(others[min(start + 1, last - 1)]),
                np.int64(others[min(start + 2, last - 1)]),
                np.int64(others[min(start + 3, last - 1)]),
            )
            add_products(size, width, room, squares, blocks, met)
        return (along, column, doubt), (weight_sum, along_bias, squared, unsure, given, lost)

    return sums


# --- one row --------------------------------------------------------------------------------------------------------


def solve_row(size, width, biased, number, tables, events, span, prior, numbers, loss, buffers):
    """Solve one row and add it to the sums; for kernels only.

    tables = (own factors, records, variances, and those of the other side); prior = (lanes[size + 3, width]: C^-1 of
    the factors, of them with the bias, and C^-1 m and m of the factors; lanes[size, width]: the unit matrix); numbers =
    (mean, s2, C^-1, C^-1 m and m of the bias, a, which is 0 for factors of the noise that are held); buffers = (work
    array, the same as rows of 16, float64 matrix, sums that are lanes, sums that are numbers). All arrays are borrowed.
    A row of no weight is left as it is.
    """


@overload(solve_row, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_row(size, width, biased, number, tables, events, span, prior, numbers, loss, buffers):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, number, tables, events, span, prior, numbers, loss, buffers):
        own, own_records, own_variances = tables[:3]
        (precision, unit), (mean, noise, precision_bias, pull_bias, mean_bias, evidence) = prior, numbers
        room, _, double, sums, totals = buffers
        vectors, (weight, along_bias, squared, unsure, given, lost) = gathered(
            size, width, number, tables, events, span, numbers, loss, buffers
        )
        if not weight > 0:
            return
        along, column, doubt = vectors
        inverse_noise, pull = np.float32(1) / noise, load(precision, size + 1, 0, width, size)
        cross = fma(column, inverse_noise, load(precision, size, 0, width, size))
        right, right_bias = fma(along, inverse_noise, pull), along_bias * inverse_noise + pull_bias
        pivot = weight * inverse_noise + precision_bias
        share = np.float32(1) / pivot if biased else np.float32(0)
        store(room, _CROSS, 0, cross)
        store(room, _DOUBT, 0, doubt)
        for i in range(size):
            for j in range(i // 16 * 16 + 16, size):
                room[ROOM + i, j] = room[ROOM + j, i]
        for i in range(size):
            row = fma(load(room, ROOM + i, 0, width, size), inverse_noise, load(precision, i, 0, width, size))
            row = fma(load(unit, i, 0, width, size), room[_DOUBT, i] * inverse_noise, row)
            store(room, ROOM + i, 0, row)
            room[_DIAGONAL, i] = room[ROOM + i, i]
            store(room, ROOM + i, 0, fma(cross, -share * room[_CROSS, i], row))  # the bias is eliminated
        done = invert(size, width, room, unit)
        if done:
            store(room, _RIGHT, 0, fma(cross, -share * right_bias, right))
            x, shared = right * np.float32(0), right * np.float32(0)
            for i in range(size):
                row = load(room, ROOM + i, 0, width, size)
                x, shared = fma(row, room[_RIGHT, i], x), fma(row, room[_CROSS, i], shared)
            b = share * (right_bias - (cross * x).total())
            shared, variance = shared * -share, share + share * share * (cross * shared).total()
        else:
            clear_double(size, prior, numbers, double)
            for n in range(span[0], span[1]):
                counted, value, _ = normal(size, width, number, tables, events, n, mean, noise, loss)
                met = np.int64(events[0][n])
                add_double(size, tables, met, np.float64(counted) / noise, np.float64(value) - mean, double)
            store(room, _RIGHT, 0, right * np.float32(0))  # its padding too
            b, variance = solve_in_double(size, biased, room, double)
            x, shared = load(room, _RIGHT, 0, width, size), load(room, _CROSS, 0, width, size)
        for i in range(size):
            own_variances[number, i] = np.float32(1) / room[_DIAGONAL, i]
        store(own, number, 0, x)
        if biased:
            own_records[number, 0], own_records[number, 1] = b, share
        d, e = x - load(precision, size + 2, 0, width, size), b - mean_bias
        store(room, _RIGHT, 0, d)
        usual = (variance + np.float64(e) * e) * precision_bias if biased else 0.0
        for i in range(size):
            usual += precision[i, i] * (np.float64(room[ROOM + i, i]) + np.float64(room[_RIGHT, i]) ** 2)
            store(sums, i, 0, fma(d, room[_RIGHT, i], load(sums, i, 0, width, size)))
            store(sums, size + i, 0, load(sums, size + i, 0, width, size) + load(room, ROOM + i, 0, width, size))
        store(sums, 2 * size, 0, fma(d, e, load(sums, 2 * size, 0, width, size)))
        store(sums, 2 * size + 1, 0, load(sums, 2 * size + 1, 0, width, size) + shared)
        store(sums, 2 * size + 2, 0, load(sums, 2 * size + 2, 0, width, size) + d)
        totals[ROWS] += 1
        totals[BIASES], totals[BIAS_SQUARES] = totals[BIASES] + e, totals[BIAS_SQUARES] + np.float64(e) * e
        totals[BIAS_VARIANCES] += variance
        pulled = np.float64((x * along).total()) + b * along_bias
        usual += np.float64((d * pull).total()) + e * pull_bias
        expected = (squared + unsure - pulled) / noise + np.float64(size + 1 if biased else size)
        error = max(expected - usual, 0.0)
        totals[EXPECTED] += error * noise
        totals[LOSS], totals[WEIGHT] = totals[LOSS] + lost, totals[WEIGHT] + given
        if evidence > 0:
            own_records[number, 2] = np.float32((evidence + error * own_records[number, 2]) / (evidence + given))
            own_records[number, 3] = np.float32(evidence + given)

    return solve


# --- all rows -------------------------------------------------------------------------------------------------------


@functools.cache
def solve(shape: Shape, parallel: bool, loss: type) -> Any:
    """The kernel that solves the rows of one side in place, see `_solve`."""
    return _solve(shape.size, shape.width, shape.biases, parallel, stamp(loss, parallel=parallel))


def _solve(size, width, biased, parallel, stamp):
    @jit(stamp, parallel)
    def solve(parts, span, bounds, events, own, other, prior, numbers, loss, scratch, workers, lanes, totals):
        """Solve the rows of parts[span[0]:span[1]] in place; part n is rows parts[n, 0] to parts[n, 1].

        The events of row r, (others, values, weights), are bounds[r] to bounds[r + 1]. Sums of part n are written to
        lanes[n - span[0]], float32[2 size + SUMS, width], and totals[n - span[0]], float64[NUMBERS], and so do not
        depend on the number of workers. Worker w uses scratch[i][w] of scratch = (lanes, matrices).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        taken = np.full(1, span[0])
        for worker in prange(workers):
            tables = (
                borrow(own[0]),
                borrow(own[1]),
                borrow(own[2]),
                borrow(other[0]),
                borrow(other[1]),
                borrow(other[2]),
            )
            columns = borrow(events[0]), borrow(events[1]), borrow(events[2])
            rows, known = scratch[0][worker], (borrow(prior[0]), borrow(prior[1]))
            room, squares, double = borrow(rows), borrow(rows.reshape((-1, 16))), scratch[1][worker]
            while True:
                part = fetch_add(taken)
                if part >= span[1]:
                    break
                sums, total = lanes[part - span[0]], totals[part - span[0]]
                sums[:, :], total[:] = np.float32(0), 0.0
                buffers = room, squares, double, borrow(sums), borrow(total)
                for row in range(parts[part, 0], parts[part, 1]):
                    some = bounds[row], bounds[row + 1]
                    if some[0] < some[1]:
                        solve_row(size, width, biased, row, tables, columns, some, known, numbers, loss, buffers)

    return solve


# --- new coordinates ------------------------------------------------------------------------------------------------


@functools.cache
def turn(shape: Shape) -> Any:
    """The kernel that brings rows to new coordinates, see `_turn`."""
    return _turn(shape.size, shape.width, stamp())


def _turn(size, width, stamp):
    @jit(stamp)
    def turn(factors, records, variances, form, constant, span):
        """Replace p by T p + shift, its variances by T^2 of them, and b by b - shear.p - constant, in rows of `span`.

        form = lanes[2 size + 2, width]: the columns of T, those of T with its elements squared, shift and shear.
        """
        stamp  # noqa: B018
        for row in range(span[0], span[1]):
            p = load(factors, row, 0, width, size)
            records[row, 0] -= (p * load(form, 2 * size + 1, 0, width, size)).total() + constant
            moved = load(form, 2 * size, 0, width, size)
            unsure = moved * np.float32(0)
            for factor in range(size):
                moved = fma(load(form, factor, 0, width, size), factors[row, factor], moved)
                unsure = fma(load(form, size + factor, 0, width, size), variances[row, factor], unsure)
            store(factors, row, 0, moved)
            store(variances, row, 0, unsure)

    return turn
