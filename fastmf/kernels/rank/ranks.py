"""Places: how many scores of a row are not below a given one of them.

    place(n) = |{j : s[r_n, j] >= s[r_n, c_n]}|

Sorting a row would cost more than counting, since few of its items are asked for; and the count puts every tie ahead.
Scores are given, or made on the way as ``p_r . q_j + b_j``: then a block of rows meets a panel of items while this is
in the nearest cache, and is done with as soon as no place can be among the first ones.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.rank.tiles import TILE, ones, reaches, strip

BLOCK = 32  # rows of a worker
PANEL = 64  # items that they meet at a time


@functools.cache
def count(parallel: bool) -> Any:
    """The kernel that counts, for float32 or float64 scores."""
    return _count(stamp(parallel=parallel), parallel)


def _count(stamp, parallel):
    @jit(stamp, parallel)
    def count(scores, rows, columns, out):
        """out[n] = the scores of row rows[n] that are not below the one in columns[n], itself included; no NaN is."""
        stamp  # noqa: B018 - the cache key, see bridge
        for n in prange(rows.size):
            row = scores[rows[n]]
            own, found = row[columns[n]], 0
            for j in range(row.size):
                found += row[j] >= own
            out[n] = found

    return count


@functools.cache
def score_and_count(width: int, parallel: bool) -> Any:
    """The kernel that scores and counts, for rows of so many lanes."""
    return _score_and_count(width, stamp(parallel=parallel), parallel)


def _score_and_count(width, stamp, parallel):
    @jit(stamp, parallel)
    def score_and_count(points, items, biases, pairs, barred, most, own, out):
        """own[n] = the score of pair n, and out[n] = how many that are not barred are not below it, itself included.

        pairs, barred = (starts, items): those of row q begin at starts[q], and starts[q + 1] is behind the last one.
        Items fill whole tiles, biases[j // TILE, j % TILE] is -inf where there is none. A count above `most` and the
        number of pairs of its row, which may tie, may be too low, but is still above that.
        """
        stamp  # noqa: B018
        starts, asked = pairs
        bars, hidden = barred
        address = np.int64(items.ctypes.data)
        for block in prange((points.shape[0] + BLOCK - 1) // BLOCK):
            first, last = block * BLOCK, min((block + 1) * BLOCK, points.shape[0])
            live = np.ones(last - first, np.bool_)
            for q in range(first, last):
                point = load(points, q, 0, width, width)
                for n in range(starts[q], starts[q + 1]):
                    j = asked[n]
                    own[n] = (point * load(items, j, 0, width, width)).total() + biases[j // TILE, j % TILE]
                    out[n] = 0
                for b in range(bars[q], bars[q + 1]):  # they come off at once, and are counted later with all others
                    j = hidden[b]
                    other = (point * load(items, j, 0, width, width)).total() + biases[j // TILE, j % TILE]
                    for n in range(starts[q], starts[q + 1]):
                        out[n] -= other >= own[n]
            for start in range(0, items.shape[0], PANEL):
                left = 0
                for q in range(first, last):
                    if not live[q - first]:
                        continue
                    point, enough = load(points, q, 0, width, width), most + starts[q + 1] - starts[q]
                    for j in range(start, min(start + PANEL, items.shape[0]), TILE):
                        scores = strip(point, address + j * width * 4) + load(biases, j // TILE, 0, TILE, TILE)
                        for n in range(starts[q], starts[q + 1]):
                            if out[n] <= enough:
                                out[n] += ones(reaches(scores, own[n]))
                    live[q - first] = False
                    for n in range(starts[q], starts[q + 1]):
                        live[q - first] |= out[n] <= enough
                    left += live[q - first]
                if not left:
                    break

    return score_and_count
