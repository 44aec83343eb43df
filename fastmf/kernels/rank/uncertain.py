"""Exact top-k search where rows are normal distributions: by how unsure a score is, or by draws of it.

The score of a query (p with the variances s, bias aside) and a row (q, c with the variances t, t_c) has

    mean = c + p.q,    variance = s_b + t_c + sum (s q^2 + (p^2 + s) t),    value = mean + m sqrt(variance)

by which rows are ranked. m is one number for all, or a standard normal number of the query and the row. With the latter
and a query that is a draw from its distribution (s = s_b = 0), the values have the distribution that they have if all
rows are drawn too: given the query, scores of different rows are independent, and normal.

Candidates, masks and heaps are those of topk.py. A value does not depend on what else is ranked.

References: Thompson (1933), On the likelihood that one unknown probability exceeds another. Auer (2002), Using
confidence bounds for exploitation-exploration trade-offs.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.core.rng import draw, normal
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rank.tiles import TILE, strip
from fastmf.kernels.rank.topk import BLOCK, PANEL, aligned_rows, bar_past, barred, finish, new_mask, sink
from fastmf.kernels.rows.sharing import fetch_add

_LARGEST = 2.0**127  # of values: room to add the bias and the mean in float32
_MIDDLE = np.uint64(1 << 63)  # of random bits: below it, normal numbers are negative
_OF_FACTORS, _OF_SCORES = 1, 2  # streams of random numbers


@njit
def _of_query(moment, key):
    """The seed of a query; moment = (seed, version, events)."""
    return draw(draw(moment[0], moment[1], moment[2]), 0, key)


@functools.cache
def draw_rows(size: int) -> Any:
    """The kernel that draws rows from their distributions."""
    return _draw_rows(size, stamp())


def _draw_rows(size, stamp):
    @jit(stamp)
    def draw_rows(moment, keys, factors, records, variances):
        """Replace rows, float32, by draws, which are certain; row n is drawn by keys[n] and moment."""
        stamp  # noqa: B018 - the cache key, see bridge
        for n in range(keys.size):
            own = _of_query(moment, keys[n])
            for f in range(size):
                factors[n, f] += np.sqrt(variances[n, f]) * normal(draw(own, _OF_FACTORS, f))
                variances[n, f] = 0
            records[n, 0] += np.sqrt(records[n, 1]) * normal(draw(own, _OF_FACTORS, size))
            records[n, 1] = 0

    return draw_rows


@functools.cache
def rank(shape: Shape, parallel: bool) -> Any:
    """The kernel that finds the best candidates of each query."""
    return _rank(shape.size, shape.width, parallel, stamp(parallel=parallel))


def _rank(size, width, parallel, stamp):
    @jit(stamp, parallel)
    def rank(
        queries, rows, multiplier, moment, keys, candidates, n_candidates, shared, past, owners, workers, best, scores
    ):
        """Write to `best` and `scores` the rows of highest value of each query, best first, ties in order of row.

        Queries and rows are (factors, records, variances); records begin with the bias and its variance. m is the
        `multiplier` where `keys` is None; else query n is certain, and m is drawn by keys[n], the row and `moment`. The
        other arguments are those of topk.rank.
        """
        stamp  # noqa: B018
        factors, records, variances = rows
        block = min(BLOCK, -(-owners.size // workers))
        top = min(best.shape[1], n_candidates)
        taken = np.zeros(1, np.int64)  # next block; dynamic scheduling, since cores may differ in speed
        for _ in prange(workers):
            panel, doubts, squares = aligned_rows(PANEL, width), aligned_rows(PANEL, width), aligned_rows(PANEL, width)
            means, unsure = aligned_rows(PANEL // TILE, TILE), aligned_rows(PANEL // TILE, TILE)
            biases, bias_doubts = np.empty(PANEL, np.float32), np.empty(PANEL, np.float32)
            numbers, masks = np.empty(PANEL, np.int64), np.empty((block, (n_candidates + PANEL - 1) // PANEL), np.int64)
            seeds = np.zeros(block, np.uint64)
            while True:
                first = fetch_add(taken) * block
                if first >= owners.size:
                    break
                count = min(block, owners.size - first)
                for q in range(count):
                    new_mask(masks[q], shared, n_candidates)
                    if owners[first + q] >= 0:
                        bar_past(masks[q], owners[first + q], past, candidates)
                    if keys is not None:
                        seeds[q] = _of_query(moment, keys[first + q])
                    best[first + q, :], scores[first + q, :] = -1, -np.inf
                for start in range(0, n_candidates, PANEL):
                    filled = min(PANEL, n_candidates - start)
                    for r in range(filled):
                        row = np.int64(candidates[start + r]) if candidates.size else start + r
                        point = load(factors, row, 0, width, size)
                        store(panel, r, 0, point)
                        store(squares, r, 0, point * point)
                        store(doubts, r, 0, load(variances, row, 0, width, size))
                        numbers[r], biases[r], bias_doubts[r] = row, records[row, 0], records[row, 1]
                    at_rows, at_doubts = np.int64(panel.ctypes.data), np.int64(doubts.ctypes.data)
                    at_squares = np.int64(squares.ctypes.data)
                    for q in range(count):
                        line = first + q
                        p, s = load(queries[0], line, 0, width, size), load(queries[2], line, 0, width, size)
                        scale = fma(p, p, s)
                        for n in range((filled + TILE - 1) // TILE):
                            ahead = n * TILE * width * 4
                            store(means, n, 0, strip(p, at_rows + ahead))
                            if keys is None:
                                store(unsure, n, 0, strip(s, at_squares + ahead) + strip(scale, at_doubts + ahead))
                            else:
                                store(unsure, n, 0, strip(scale, at_doubts + ahead))
                        limit, own = scores[line, 0], queries[1][line, 1]
                        for r in range(filled):
                            if barred(masks[q], start + r):
                                continue
                            m, mean = multiplier, means[r // TILE, r % TILE] + biases[r]
                            if keys is not None:
                                bits = draw(seeds[q], _OF_SCORES, numbers[r])
                                if bits < _MIDDLE and mean <= limit:  # m < 0
                                    continue
                                m = normal(bits)
                            variance = unsure[r // TILE, r % TILE] + own + bias_doubts[r]
                            value = np.float64(mean) + m * np.sqrt(np.float64(variance))
                            value = np.float32(min(max(value, -_LARGEST), _LARGEST))
                            if value > limit:
                                sink(best, scores, line, top, start + r, value)
                                limit = scores[line, 0]
                for q in range(first, first + count):
                    finish(best, scores, q, top, candidates)

    return rank
