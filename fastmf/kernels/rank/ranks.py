"""Ranks of given items: the number of items of a row whose score is at least that of the item.

    rank(n) = |{j : s[r_n, j] >= s[r_n, c_n]}|

Counting is cheaper than sorting each row, since only few items per row are asked for; ties count against the item.
Scores are given, or computed on the fly as ``p_r . q_j + b_j``: a block of rows is scored against a panel of items that
is in the L1 cache, and a row is abandoned as soon as none of its ranks can be within the limit of interest.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.rank.tiles import TILE, ones, reaches, strip

BLOCK = 32  # rows processed together by a worker
PANEL = 64  # items scored at a time


@functools.cache
def count(parallel: bool) -> Any:
    """The kernel that counts ranks in given scores, float32 or float64."""
    return _count(stamp(parallel=parallel), parallel)


def _count(stamp, parallel):
    @jit(stamp, parallel)
    def count(scores, rows, columns, out):
        """Write out[n], the number of scores in row rows[n] that are at least that in columns[n], itself included.

        NaN scores are not counted.
        """
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
    """The kernel that scores and counts, for rows of `width` factors."""
    return _score_and_count(width, stamp(parallel=parallel), parallel)


def _score_and_count(width, stamp, parallel):
    @jit(stamp, parallel)
    def score_and_count(points, items, biases, pairs, barred, most, own, out):
        """Write own[n], the score of pair n, and out[n], its rank among the items that are not excluded.

        pairs, barred = (starts, items): those of row q are items[starts[q]:starts[q + 1]]; `barred` are the excluded
        items. The number of items is padded to whole tiles, with bias biases[j // TILE, j % TILE] = -inf for padding.
        Ranks greater than `most` plus the number of pairs of the row may be too low, but not as low as that.
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
                for b in range(bars[q], bars[q + 1]):  # subtracted here, since the main loop counts all items
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
