"""Scores of pairs, and what turns scores into predictions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from fastmf.kernels.core import bridge
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.core.shape import Shape

SHORTEST, LONGEST = 2.0**-40, 2.0**40  # of rows whose squares and products float32 has with all their digits


@functools.cache
def predict(shape: Shape, loss: type) -> Any:
    """The kernel that predicts the values of pairs."""
    return _predict(shape.size, shape.width, stamp(loss))


def _predict(size, width, stamp):
    @jit(stamp)
    def predict(users, items, user_rows, user_records, item_rows, item_records, mean, limits, loss, out):
        """out[n] = the prediction for a pair of rows, within `limits`; a row of -1 is unknown and adds nothing."""
        stamp  # noqa: B018 - the cache key, see bridge
        low, high = limits
        for n in range(users.size):
            u, i = np.int64(users[n]), np.int64(items[n])
            score = mean
            if u >= 0:
                score += user_records[u, 0]
            if i >= 0:
                score += item_records[i, 0]
            if u >= 0 and i >= 0:
                score += (load(user_rows, u, 0, width, size) * load(item_rows, i, 0, width, size)).total()
            out[n] = min(max(bridge.inverse_link(loss, score), low), high)

    return predict


@functools.cache
def lengths(shape: Shape) -> Any:
    """The kernel that measures rows."""
    return _lengths(shape.size, shape.width, stamp())


def _lengths(size, width, stamp):
    @jit(stamp)
    def lengths(rows, out):
        """out[r] = the Euclidean length of rows[r]; wrong for those outside SHORTEST to LONGEST."""
        stamp  # noqa: B018
        for row in range(out.size):
            factors = load(rows, row, 0, width, size)
            out[row] = np.sqrt((factors * factors).total())

    return lengths


@functools.cache
def directions(shape: Shape) -> Any:
    """The kernel that brings rows of single precision to length 1."""
    return _directions(shape.size, shape.width, stamp())


def _directions(size, width, stamp):
    @jit(stamp)
    def directions(rows, out):
        """out[r] = rows[r] by its length, or zeros where that is 0."""
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
    """The kernel that turns lists of rows and scores into ids and predictions."""
    return _answer(stamp(loss))


def _answer(stamp):
    @jit(stamp)
    def answer(users, records, mean, loss, rows, values, keys, ids):
        """values[n, m] = the prediction of score values[n, m] for user users[n], and ids[n, m] = keys[rows[n, m]].

        A row of -1 stands for nothing and has id -1; where there are no keys, ids are left alone. Returns whether any
        row was -1.
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
