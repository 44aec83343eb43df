"""A map from features to rows: its normal equations, kept current, their solution, and the rows that follow from it.

For rows q_i with features c_i (the last of which, 1, is that of the intercept) and weights d_i, a map W minimises

    sum_i d_i |q_i - W'c_i|^2  +  penalty * |W without the intercept|^2,

by ``gram = sum d_i c_i c_i'`` (upper triangle) and ``cross = sum d_i c_i q_i'``, sums in float64 to which rows are
added as they move. The row of the prior is ``W'c_i``, in float32 lanes and in a fixed order: it has the same bits
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
    def derive(features, weights, rows):
        """Write rows[n] = weights[-1] + sum_f features[n, f] * weights[f]; weights are float32[f + 1, width]."""
        stamp  # noqa: B018 - the cache key, see bridge
        count = features.shape[1]
        for n in range(features.shape[0]):
            row = load(weights, count, 0, width, width)
            for f in range(count):
                row = fma(load(weights, f, 0, width, width), features[n, f], row)
            store(rows, n, 0, row)

    return derive


@functools.cache
def add() -> Any:
    """The kernel that adds rows to normal equations."""
    return _add(stamp())


def _add(stamp):
    @jit(stamp)
    def add(features, shares, targets, gram, cross):
        """Add shares[n] * c c' to `gram`, unless it is empty, and c targets[n]' to `cross`, where c = [features[n], 1].

        features are float32[n, f], shares float64[n], targets float64[n, k]. Four rows at a time.
        """
        stamp  # noqa: B018
        count, size, rows = features.shape[1] + 1, targets.shape[1], features.shape[0]
        four, moved = np.zeros((4, count)), np.zeros((4, size))
        for start in range(0, rows, 4):
            for member in range(4):
                n = start + member
                if n < rows:
                    for f in range(count - 1):
                        four[member, f] = features[n, f]
                    four[member, count - 1] = 1.0
                    moved[member, :] = targets[n]
                else:
                    four[member, :], moved[member, :] = 0.0, 0.0
            a, b, c, d = four[0], four[1], four[2], four[3]
            s, t, u, v = moved[0], moved[1], moved[2], moved[3]
            w = shares[start]
            x, y = shares[min(start + 1, rows - 1)], shares[min(start + 2, rows - 1)]
            z = shares[min(start + 3, rows - 1)]
            for i in range(count):
                p, q, r, o = w * a[i], x * b[i], y * c[i], z * d[i]
                if gram.size:
                    total = gram[i]
                    for j in range(i, count):
                        total[j] += (p * a[j] + q * b[j]) + (r * c[j] + o * d[j])
                p, q, r, o = a[i], b[i], c[i], d[i]
                along = cross[i]
                for j in range(size):
                    along[j] += (p * s[j] + q * t[j]) + (r * u[j] + o * v[j])

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
