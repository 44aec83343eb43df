"""Scores of pairs, and the best items of a user."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange

from fastmf.kernels import bridge
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.lanes import load
from fastmf.kernels.pointwise import Shape


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
            out[n] = min(max(bridge.link(loss, score), low), high)

    return predict


@functools.cache
def rank(shape: Shape, parallel: bool) -> Any:
    """The kernel that finds the best candidates of each query."""
    return _rank(shape.size, shape.width, parallel, stamp(parallel=parallel))


def _rank(size, width, parallel, stamp):
    @jit(stamp, parallel)
    def rank(queries, rows, scale, added, candidates, barred, bar_bounds, best, best_scores):
        """For each query q, the candidates of highest ``scale[r] * queries[q] . rows[r] + added[r]``, best first.

        Rows in ``barred[bar_bounds[q]:bar_bounds[q + 1]]`` (ascending) are left out; candidates ascend; equal scores go
        by row. Lists shorter than best.shape[1] end in row -1 and score -inf.
        """
        stamp  # noqa: B018
        k = best.shape[1]
        for q in prange(queries.shape[0]):
            query = load(queries, q, 0, width, size)
            heap, scores = best[q], best_scores[q]
            heap[:], scores[:] = -1, -np.inf
            bar, last = bar_bounds[q], bar_bounds[q + 1]
            for n in range(candidates.size):
                row = np.int64(candidates[n])
                while bar < last and barred[bar] < row:
                    bar += 1
                if bar < last and barred[bar] == row:
                    continue
                score = scale[row] * (query * load(rows, row, 0, width, size)).total() + added[row]
                if not score > scores[k - 1]:
                    continue
                place = k - 1
                while place > 0 and score > scores[place - 1]:
                    scores[place], heap[place] = scores[place - 1], heap[place - 1]
                    place -= 1
                scores[place], heap[place] = score, row

    return rank


@functools.cache
def lengths(shape: Shape) -> Any:
    """The kernel that measures rows."""
    return _lengths(shape.size, shape.width, stamp())


def _lengths(size, width, stamp):
    @jit(stamp)
    def lengths(rows, out):
        """out[r] = the Euclidean length of rows[r]."""
        stamp  # noqa: B018
        for row in range(out.size):
            factors = load(rows, row, 0, width, size)
            out[row] = np.sqrt((factors * factors).total())

    return lengths


@functools.cache
def link(loss: type) -> Any:
    """The kernel that turns scores into predictions."""
    return _link(stamp(loss))


def _link(stamp):
    @jit(stamp)
    def link(scores, loss):
        """scores[n] = loss.link(scores[n])."""
        stamp  # noqa: B018
        for n in range(scores.size):
            scores[n] = bridge.link(loss, scores[n])

    return link
