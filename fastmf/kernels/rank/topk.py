"""Exact top-k search (maximum inner product), with scoring and selection fused in one pass over tiles of rows.

    score(q, r) = scale[r] * (p_q . q_r) + added[r]

A block of queries is scored against 64 rows at a time (a panel) while these are in the L1 cache. A score is examined
only if it beats the query's k-th best so far, which is rare, and only then is the query's mask of excluded rows
consulted. The best so far are kept in a binary heap with the worst at the root, ordered by score and, among equal
scores, by row index, so that the result does not depend on block sizes or the number of threads. Memory does not grow
with the number of queries: each worker holds one block.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rank.tiles import TILE, above, column, lowest, strip
from fastmf.kernels.rows.sharing import fetch_add

BLOCK = 64  # queries processed together by a worker
PANEL = 64  # rows scored at a time, one word of the mask


@njit
def aligned_rows(rows, width):
    """An uninitialised float32[rows, width] array aligned to 64 bytes, allocated inside a kernel."""
    raw = np.empty(rows * width + 16, np.float32)
    start = -(np.int64(raw.ctypes.data) >> 2) & 15
    return raw[start : start + rows * width].reshape((rows, width))


# --- masks of excluded rows ---------------------------------------------------------------------------------------


@njit
def _bar(mask, row, candidates):
    """Set the mask bit of a row: at its index among the candidates, if it is one."""
    place = row
    if candidates.size:
        place = np.int64(np.searchsorted(candidates, row))
        if place == candidates.size or candidates[place] != row:
            return
    if place < mask.size << 6:  # with no candidates the mask is empty
        mask[place >> 6] |= np.int64(1) << (place & 63)


@njit
def bar_past(mask, one, past, candidates):
    """Exclude the rows that row `one` of the log has events with; past = (start, based, base, head, previous, column).

    `column` has the rows of the other side. See kernels/rows/log.py, also for events beyond the arrays.
    """
    start, based, base, head, previous, column = past
    for place in range(start[one], min(start[one] + based[one], base.size)):
        if base[place] < column.size:
            _bar(mask, np.int64(column[base[place]]), candidates)
    event, events = head[one], min(previous.size, column.size)
    while 0 < event <= events:
        _bar(mask, np.int64(column[event - 1]), candidates)
        event = previous[event - 1]


@njit
def barred(mask, place):
    """Whether the mask bit of an index is set."""
    return mask[place >> 6] >> (place & 63) & 1


@njit
def new_mask(mask, shared, n_candidates):
    """Initialise a mask with the bits excluded for all queries, and those beyond the last candidate."""
    for word in range(mask.size):
        mask[word] = shared[word] if shared.size else 0
    for place in range(n_candidates, mask.size << 6):
        mask[place >> 6] |= np.int64(1) << (place & 63)


# --- heaps of the best so far --------------------------------------------------------------------------------------


@njit
def sink(heap, scores, line, size, place, score):
    """Replace the root of a heap (its worst entry) by (place, score), and sift down."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size:
            left, right = scores[line, child], scores[line, child + 1]
            if right < left or (right == left and heap[line, child + 1] > heap[line, child]):
                child += 1
        lower = scores[line, child]
        if not (lower < score or (lower == score and heap[line, child] > place)):
            break
        scores[line, hole], heap[line, hole] = lower, heap[line, child]
        hole = child
    scores[line, hole], heap[line, hole] = score, place


@njit
def _sort(heap, scores, line, size):
    """Sort a heap from best to worst, in place."""
    for last in range(size - 1, 0, -1):
        place, score = heap[line, last], scores[line, last]
        heap[line, last], scores[line, last] = heap[line, 0], scores[line, 0]
        sink(heap, scores, line, last, place, score)


@njit
def _offer(hits, found, start, line, top, best, best_scores):
    """Insert the scores of a panel named by `hits` as far as they beat the k-th best; returns the new k-th best."""
    limit = best_scores[line, 0]
    while hits:
        lane = lowest(hits)
        hits &= hits - 1
        score = found[lane // TILE, lane % TILE]
        if score > limit:
            sink(best, best_scores, line, top, start + lane, score)
            limit = best_scores[line, 0]
    return limit


@njit
def finish(best, best_scores, line, top, candidates):
    """Sort a query's heap, and map candidate indices to rows."""
    _sort(best, best_scores, line, top)
    if candidates.size:
        for n in range(top):
            if best[line, n] >= 0:
                best[line, n] = candidates[best[line, n]]


# --- the kernel ----------------------------------------------------------------------------------------------------


@functools.cache
def rank(shape: Shape, half: bool, parallel: bool) -> Any:
    """The kernel that finds the best candidates of each query, for float32 or (`half`) float16 tables."""
    return _rank(shape.size, shape.width, record_width(shape.memory), half, parallel, stamp(parallel=parallel))


def _rank(size, width, fields, half, parallel, stamp):
    @jit(stamp, parallel)
    def rank(
        queries, query_rows, rows, scale, added, candidates, n_candidates, shared, past, owners, workers, best, scores
    ):
        """Write to `best` and `scores` the rows of highest score of each query, best first, ties in order of row.

        Lists that are not full are padded with row -1 and score -inf. Query n is row query_rows[n] of `queries`, or the
        zero vector if that is -1. Candidates are rows 0 to `n_candidates` - 1 or, if `candidates` is not empty, these
        rows in ascending order. `scale` (also applied to queries) and `added` (its column 0) may be None. Excluded for
        query n are the candidate indices whose bits are set in `shared`, 64 per word, and the rows that row owners[n]
        (unless -1) has in the log `past`, see `bar_past`.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        block = min(BLOCK, -(-query_rows.size // workers))
        top = min(best.shape[1], n_candidates)
        taken = np.zeros(1, np.int64)  # next block; dynamic scheduling, since cores may differ in speed
        for _ in prange(workers):
            points, panel = aligned_rows(block, width), aligned_rows(PANEL, width)
            found, scales, addends = (
                aligned_rows(PANEL // TILE, TILE),
                aligned_rows(PANEL // TILE, TILE),
                aligned_rows(PANEL // TILE, TILE),
            )
            limits, masks = (
                np.empty(block, np.float32),
                np.empty((block, (n_candidates + PANEL - 1) // PANEL), np.int64),
            )
            while True:
                first = fetch_add(taken) * block
                if first >= query_rows.size:
                    break
                count = min(block, query_rows.size - first)
                for q in range(count):
                    row = np.int64(query_rows[first + q])
                    if row < 0:
                        points[q, :] = 0
                    elif scale is None:
                        store(points, q, 0, load(queries, row, 0, width, size))
                    else:
                        store(points, q, 0, load(queries, row, 0, width, size) * scale[row])
                    new_mask(masks[q], shared, n_candidates)
                    if owners[first + q] >= 0:
                        bar_past(masks[q], owners[first + q], past, candidates)
                    best[first + q, :], scores[first + q, :] = -1, -np.inf
                    limits[q] = -np.inf
                for start in range(0, n_candidates, PANEL):
                    filled = min(PANEL, n_candidates - start)
                    in_place = not (candidates.size or half) and filled == PANEL
                    for r in range(0 if in_place else filled):
                        row = np.int64(candidates[start + r]) if candidates.size else start + r
                        store(panel, r, 0, load(rows, row, 0, width, size))
                        if scale is not None:
                            scales[r // TILE, r % TILE] = scale[row]
                        if added is not None:
                            addends[r // TILE, r % TILE] = added[row, 0]
                    address = np.int64(panel.ctypes.data)
                    if in_place:
                        address = np.int64(rows.ctypes.data) + start * width * 4
                        for n in range(PANEL // TILE):
                            if scale is not None:
                                store(scales, n, 0, column(scale, start + n * TILE, 1))
                            if added is not None:
                                store(addends, n, 0, column(added, start + n * TILE, fields))
                    for q in range(count):
                        point, limit, hits = load(points, q, 0, width, size), limits[q], np.int64(0)
                        for n in range(PANEL // TILE):
                            tile = strip(point, address + n * TILE * width * 4)
                            if scale is not None:
                                tile = tile * load(scales, n, 0, TILE, TILE)
                            if added is not None:
                                tile = tile + load(addends, n, 0, TILE, TILE)
                            store(found, n, 0, tile)
                            hits |= above(tile, limit) << n * TILE
                        hits &= ~masks[q, start // PANEL]  # excluded last: seen items often have high scores
                        if hits:
                            limits[q] = _offer(hits, found, start, first + q, top, best, scores)
                for q in range(first, first + count):
                    finish(best, scores, q, top, candidates)

    return rank
