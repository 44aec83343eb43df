"""Incremental renewal of top-k lists after some rows have changed, without reading the rows that have not.

Every unchanged row outside a full list ranks behind the list's last entry, the border. Renewal therefore removes
changed rows from the lists, scores the changed rows against every query, and inserts those that rank at or before the
border. If the list is full again, it is exact. If not, it lacks a row from behind the border and must be recomputed. A
list that was not full contained all admissible rows, and stays exact.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rank.tiles import TILE, at_least, lowest, strip
from fastmf.kernels.rank.topk import PANEL, aligned_rows

KEPT, RENEWED, LOST = 0, 1, 2  # outcome for a list


@njit
def _has(past, one, row):
    """Whether row `one` of a log has an event with `row`; `past` as in topk.bar_past."""
    start, based, base, head, previous, column = past
    for place in range(start[one], min(start[one] + based[one], base.size)):
        if base[place] < column.size and column[base[place]] == row:
            return True
    event, events = head[one], min(previous.size, column.size)
    while 0 < event <= events:
        if column[event - 1] == row:
            return True
        event = previous[event - 1]
    return False


@njit
def _take_out(lists, scores, line, changed):
    """Remove the changed rows from a list and close the gaps; returns the number of rows left."""
    left = 0
    for n in range(lists.shape[1]):
        row = lists[line, n]
        if row >= 0 and not changed[row]:
            lists[line, left], scores[line, left] = row, scores[line, n]
            left += 1
    lists[line, left:], scores[line, left:] = -1, -np.inf
    return left


@njit
def _let_in(lists, scores, line, row, score):
    """Insert a row at its rank; the last entry of a full list is dropped."""
    place = lists.shape[1] - 1
    last = scores[line, place]
    if last > score or (last == score and 0 <= lists[line, place] < row):
        return
    while place > 0:
        before = scores[line, place - 1]
        if before > score or (before == score and 0 <= lists[line, place - 1] < row):
            break
        scores[line, place], lists[line, place] = before, lists[line, place - 1]
        place -= 1
    scores[line, place], lists[line, place] = score, row


@functools.cache
def renew(shape: Shape, parallel: bool) -> Any:
    """The kernel that renews lists, see `_renew`."""
    return _renew(shape.size, shape.width, parallel, stamp(parallel=parallel))


def _renew(size, width, parallel, stamp):
    @jit(stamp, parallel)
    def renew(queries, query_rows, rows, added, moved, changed, past, owners, lists, scores, fates):
        """Remove the rows marked in `changed` from the lists, and insert the `moved` rows (ascending) where they rank.

        Queries, `owners` and `past` are as in topk.rank: lists[n] and scores[n] are the best rows of query n. `moved`
        are the changed rows that still exist. fates[n] is written: KEPT (unchanged), RENEWED, or LOST (to be
        recomputed); lists whose fate on entry is not KEPT are not updated.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        k = lists.shape[1]
        for panel in prange((query_rows.size + PANEL - 1) // PANEL):
            points, limits = aligned_rows(PANEL, width), aligned_rows(PANEL // TILE, TILE)
            found, borders = aligned_rows(1, TILE), np.empty(PANEL, np.int32)
            full = np.empty(PANEL, np.bool_)
            first = panel * PANEL
            count = min(PANEL, query_rows.size - first)
            limits[:] = np.inf
            for q in range(count):
                line, row = first + q, np.int64(query_rows[first + q])
                if row >= 0:
                    store(points, q, 0, load(queries, row, 0, width, size))
                else:
                    points[q, :] = 0
                if fates[line] != KEPT:
                    continue
                limits[q // TILE, q % TILE], borders[q] = scores[line, k - 1], lists[line, k - 1]
                full[q] = borders[q] >= 0
                held = k if full[q] else np.sum(lists[line] >= 0)
                if _take_out(lists, scores, line, changed) < held:
                    fates[line] = RENEWED
            for n in range(moved.size):
                row = np.int64(moved[n])
                point, extra = load(rows, row, 0, width, size), added[row, 0]
                for strip_of in range((count + TILE - 1) // TILE):
                    tile = strip(point, np.int64(points.ctypes.data) + strip_of * TILE * width * 4) + extra
                    hits = at_least(tile, load(limits, strip_of, 0, TILE, TILE))
                    if hits:
                        store(found, 0, 0, tile)
                    while hits:
                        lane = lowest(hits)
                        hits &= hits - 1
                        q, score = strip_of * TILE + lane, found[0, lane]
                        line, limit = first + q, limits[strip_of, lane]
                        if q >= count or not (score > limit or (score == limit and row <= borders[q])):
                            continue
                        if owners[line] < 0 or not _has(past, owners[line], row):
                            _let_in(lists, scores, line, row, score)
                            fates[line] = RENEWED
            for q in range(count):
                if fates[first + q] == RENEWED and full[q] and lists[first + q, k - 1] < 0:
                    fates[first + q] = LOST

    return renew
