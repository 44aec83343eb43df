"""A map from features to rows: its normal equations, kept current, their solution, and the rows that follow from it.

For rows q_i with features c_i (the last of which, 1, is that of the intercept) and weights d_i, a map W minimises

    sum_i d_i |q_i - W'c_i|^2  +  penalty * |W without the intercept|^2,

by the sums of ``d_i c_i c_i'`` (upper triangle) and of ``d_i c_i q_i'``, in float64, to which rows are added as they
move. The row of the prior is ``W'c_i``, in float32 lanes and in a fixed order: it has the same bits
wherever and with whichever other rows it is computed.

Reference: Hoerl, Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.train.direct import solve_positive


@functools.cache
def derive(width: int) -> Any:
    """The kernel that computes rows from features."""
    return _derive(width, stamp())


def _derive(width, stamp):
    @jit(stamp)
    def derive(features, lines, weights, rows):
        """Write rows[n] = weights[-1] + sum_f features[lines[n], f] * weights[f]; weights are float32[f + 1, width]."""
        stamp  # noqa: B018 - the cache key, see bridge
        count = features.shape[1]
        for n in range(lines.size):
            own, row = features[np.int64(lines[n])], load(weights, count, 0, width, width)
            for f in range(count):
                row = fma(load(weights, f, 0, width, width), own[f], row)
            store(rows, n, 0, row)

    return derive


@functools.cache
def add() -> Any:
    """The kernel that adds rows to normal equations."""
    return _add(stamp())


def _add(stamp):
    @jit(stamp)
    def add(features, shares, targets, first, sums):
        """Add c [shares[n] * c, targets[n]]' to `sums` for each row n, where c = [features[n], 1].

        Columns before `first`, and those before the diagonal, need not be right. features are float32[n, f], shares
        float64[n], targets float64[n, k] and sums float64[f + 1, f + 1 + k].
        """
        stamp  # noqa: B018
        rows, count, width = features.shape[0], features.shape[1] + 1, sums.shape[1]
        left, right, last = np.zeros((4, count + 1)), np.zeros((4, width)), np.empty(width)
        for start in range(0, rows, 4):
            left[:] = 0
            right[:] = 0
            for member in range(min(4, rows - start)):
                n = start + member
                for f in range(count - 1):
                    left[member, f] = features[n, f]
                left[member, count - 1] = 1.0
                for f in range(count):
                    right[member, f] = shares[n] * left[member, f]
                for k in range(width - count):
                    right[member, count + k] = targets[n, k]
            for i in range(0, count, 2):  # four rows, two lines of the sums: what is loaded is used twice
                begin = max(i, first)
                one, other = sums[i, begin:], sums[i + 1, begin:] if i + 1 < count else last[begin:]
                a, b, c, d = right[0, begin:], right[1, begin:], right[2, begin:], right[3, begin:]
                p, q, r, s = left[0, i], left[1, i], left[2, i], left[3, i]
                t, u, v, w = left[0, i + 1], left[1, i + 1], left[2, i + 1], left[3, i + 1]
                for j in range(one.size):
                    one[j] += (p * a[j] + q * b[j]) + (r * c[j] + s * d[j])
                    other[j] += (t * a[j] + u * b[j]) + (v * c[j] + w * d[j])

    return add


@functools.cache
def factorise() -> Any:
    """The kernel that factorises a matrix."""
    return _factorise(stamp())


def _factorise(stamp):
    @jit(stamp)
    def factorise(matrix):
        """Overwrite the upper triangle of a positive definite matrix by R, R'R = matrix; False if it is not one."""
        stamp  # noqa: B018
        return solve_positive(matrix, np.zeros(len(matrix)), len(matrix), 0.0)

    return factorise


@functools.cache
def solve() -> Any:
    """The kernel that solves equations of a factorised matrix."""
    return _solve(stamp())


def _solve(stamp):
    @jit(stamp)
    def solve(factor, right):
        """Overwrite right, float64[n, k], by X of ``R'R X = right``, where R is the upper triangle of `factor`."""
        stamp  # noqa: B018
        size, columns = right.shape
        for i in range(size):
            target = right[i]
            for j in range(i):
                share, source = factor[j, i], right[j]
                for column in range(columns):
                    target[column] -= share * source[column]
            for column in range(columns):
                target[column] /= factor[i, i]
        for i in range(size - 1, -1, -1):
            target = right[i]
            for j in range(i + 1, size):
                share, source = factor[i, j], right[j]
                for column in range(columns):
                    target[column] -= share * source[column]
            for column in range(columns):
                target[column] /= factor[i, i]

    return solve
