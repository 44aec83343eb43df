"""Predictions for pairs, norms and normalisation of rows, and conversion of top-k lists to ids and predictions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastmf.kernels.core import bridge
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train.row import score, score_variance

SHORTEST, LONGEST = 2.0**-40, 2.0**40  # norms whose squares and products neither overflow nor underflow in float32


@functools.cache
def predict(shape: Shape, loss: type) -> Any:
    """The kernel that predicts pairs."""
    return _predict(shape.size, shape.width, stamp(loss))


def _predict(size, width, stamp):
    @jit(stamp)
    def predict(users, items, user_rows, user_records, item_rows, item_records, unknown, mean, limits, loss, out):
        """Write out[n], the prediction for (users[n], items[n]), clipped to limits = (low, high).

        A row of -1 is unknown, and stands for the row of that side in unknown = (user factors, records, item factors,
        records).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        low, high = limits
        for n in range(users.size):
            u, i = np.int64(users[n]), np.int64(items[n])
            p = load(user_rows, u, 0, width, size) if u >= 0 else load(unknown[0], 0, 0, width, size)
            q = load(item_rows, i, 0, width, size) if i >= 0 else load(unknown[2], 0, 0, width, size)
            b = user_records[u, 0] if u >= 0 else unknown[1][0, 0]
            c = item_records[i, 0] if i >= 0 else unknown[3][0, 0]
            out[n] = min(max(bridge.inverse_link(loss, score(mean, b, c, p, q)), low), high)

    return predict


@functools.cache
def distributions(shape: Shape) -> Any:
    """The kernel that computes how scores of pairs are distributed, where rows are normal distributions."""
    return _distributions(shape.size, shape.width, stamp())


def _distributions(size, width, stamp):
    @jit(stamp)
    def distributions(users, items, user_parts, item_parts, nobody, nothing, mean, out):
        """Write out[:, n]: mean and variance of the score of (users[n], items[n]), and the factor of its value's noise.

        Parts are (factors, records, variances); a row of -1 is that of nobody, or nothing.
        """
        stamp  # noqa: B018
        for n in range(users.size):
            u, i = np.int64(users[n]), np.int64(items[n])
            p = load(user_parts[0], u, 0, width, size) if u >= 0 else load(nobody[0], 0, 0, width, size)
            s = load(user_parts[2], u, 0, width, size) if u >= 0 else load(nobody[2], 0, 0, width, size)
            q = load(item_parts[0], i, 0, width, size) if i >= 0 else load(nothing[0], 0, 0, width, size)
            t = load(item_parts[2], i, 0, width, size) if i >= 0 else load(nothing[2], 0, 0, width, size)
            user, item = user_parts[1][u] if u >= 0 else nobody[1][0], item_parts[1][i] if i >= 0 else nothing[1][0]
            out[0, n] = score(mean, user[0], item[0], p, q)
            out[1, n] = score_variance(p, s, user[1], q, t, item[1])
            out[2, n] = user[2] * item[2]

    return distributions


@functools.cache
def expected(loss: type) -> Any:
    """The kernel that converts distributions of scores to predictions."""
    return _expected(stamp(loss))


def _expected(stamp):
    @jit(stamp)
    def expected(means, variances, loss, out):
        """Write out[n], the mean prediction for scores of this mean and variance."""
        stamp  # noqa: B018
        for n in range(out.size):
            out[n] = bridge.expected(loss, means[n], variances[n])

    return expected


@functools.cache
def lengths(shape: Shape) -> Any:
    """The kernel that computes the norms of rows."""
    return _lengths(shape.size, shape.width, stamp())


def _lengths(size, width, stamp):
    @jit(stamp)
    def lengths(rows, out):
        """Write out[r], the Euclidean norm of rows[r]; inaccurate for norms outside SHORTEST to LONGEST."""
        stamp  # noqa: B018
        for row in range(out.size):
            factors = load(rows, row, 0, width, size)
            out[row] = np.sqrt((factors * factors).total())

    return lengths


@functools.cache
def directions(shape: Shape) -> Any:
    """The kernel that normalises float32 rows."""
    return _directions(shape.size, shape.width, stamp())


def _directions(size, width, stamp):
    @jit(stamp)
    def directions(rows, out):
        """Write out[r], rows[r] divided by its Euclidean norm, or zeros if that is 0."""
        stamp  # noqa: B018
        for row in range(len(out)):
            square = 0.0
            for f in range(size):
                square += np.float64(rows[row, f]) ** 2
            out[row] = 0
            if square > 0:
                for f in range(size):
                    out[row, f] = rows[row, f] / math.sqrt(square)

    return directions


@functools.cache
def answer(loss: type) -> Any:
    """The kernel that converts lists of rows and scores to ids and predictions."""
    return _answer(stamp(loss))


def _answer(stamp):
    @jit(stamp)
    def answer(users, records, mean, loss, rows, values, keys, ids):
        """Replace scores values[n, m] by predictions for user users[n], and write ids[n, m] = keys[rows[n, m]].

        Row -1 is padding and has id -1. If `keys` is empty, `ids` is not written. Returns whether any row was -1.
        """
        stamp  # noqa: B018
        short = False
        for n in range(users.size):
            offset = mean
            if users[n] >= 0:
                offset += records[users[n], 0]
            for m in range(rows.shape[1]):
                row = rows[n, m]
                if row >= 0:
                    values[n, m] = bridge.inverse_link(loss, values[n, m] + offset)
                else:
                    short = True
                if keys.size:
                    ids[n, m] = keys[row] if row >= 0 else -1
        return short

    return answer
