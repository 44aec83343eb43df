"""Gram matrices of tables, ``sum_r s_r x_r x_r'`` in float64, and their rank-one corrections.

In implicit ALS the Gram matrix of one side stands for the loss term over all its rows, observed or not, in the
equations of a row of the other side. s_r is the share of row r: 1, or its number of events to some power.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import Shape

PARTS = 16  # of a table, summed separately and added in order: independent of the number of threads


@functools.cache
def gram(shape: Shape, parallel: bool) -> Any:
    """The kernel that computes the Gram matrix of a table."""
    return _gram(shape.size, shape.width, parallel, stamp(parallel=parallel))


def _gram(size, width, parallel, stamp):
    @jit(stamp, parallel)
    def gram(rows, count, shares, span, room, sums):
        """Add rows span[0] to span[1] of each part p of the first `count` rows to sums[p], float64[width, width].

        Row r is weighted by shares[r], or by 1 if `shares` is empty. Only upper triangles are computed; they are zeroed
        if span[0] is 0. span[0] must be a multiple of 4; room is a float32[PARTS, 4, width] work array.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        for part in prange(PARTS):
            first, last = count * part // PARTS, count * (part + 1) // PARTS
            total, four = sums[part], room[part]
            scaled = np.empty((4, width))
            if span[0] == 0:
                total[:, :] = 0.0
            for start in range(first + span[0], min(first + span[1], last), 4):
                for member in range(4):
                    row = min(start + member, last - 1)
                    store(four, member, 0, load(rows, row, 0, width, size))
                    share = 0.0 if start + member >= last else shares[row] if shares.size else 1.0
                    for factor in range(width):
                        scaled[member, factor] = share * four[member, factor]
                for i in range(size):
                    for j in range(i, size):
                        total[i, j] += (scaled[0, i] * four[0, j] + scaled[1, i] * four[1, j]) + (
                            scaled[2, i] * four[2, j] + scaled[3, i] * four[3, j]
                        )

    return gram


@functools.cache
def correct(shape: Shape) -> Any:
    """The kernel that adds rows to a Gram matrix, or subtracts them."""
    return _correct(shape.size, shape.width, stamp())


def _correct(size, width, stamp):
    @jit(stamp)
    def correct(rows, numbers, shares, sign, room, total):
        """Add sign * shares[n] * x x' to `total` for each row x = rows[numbers[n]].

        Only the upper triangle is computed; room is a float32[1, width] work array.
        """
        stamp  # noqa: B018
        for n in range(numbers.size):
            store(room, 0, 0, load(rows, np.int64(numbers[n]), 0, width, size))
            for i in range(size):
                scaled = sign * shares[n] * room[0, i]
                for j in range(i, size):
                    total[i, j] += scaled * room[0, j]

    return correct


# --- corrections for a single event ----------------------------------------------------------------------------------


@njit
def fill(square, gram, room, shares, moved, size):
    """Write `gram`, symmetrised, to `square`.

    With `moved`, row 1 of `room` replaces row 0 in it; row n of `room` is weighted by shares[n].
    """
    for a in range(size):
        for b in range(a, size):
            change = 0.0
            if moved:
                change = shares[1] * room[1, a] * room[1, b] - shares[0] * room[0, a] * room[0, b]
            square[a, b] = square[b, a] = np.float32(gram[a, b] + change)


@njit
def fill_change(gram_change, room, shares, size):
    """Write the change that `fill` makes if `moved`, symmetrised, to `gram_change`."""
    for a in range(size):
        for b in range(a, size):
            change = shares[1] * room[1, a] * room[1, b] - shares[0] * room[0, a] * room[0, b]
            gram_change[a, b] = gram_change[b, a] = np.float32(change)


@njit
def replace(gram, room, shares, size):
    """Replace row 0 of `room` by row 1 in `gram`, weighted by shares[0] and shares[1]; upper triangle, in place."""
    for a in range(size):
        gone, come = shares[0] * room[0, a], shares[1] * room[1, a]
        for b in range(a, size):
            gram[a, b] += come * room[1, b] - gone * room[0, b]


@njit
def first_event(numbers, firsts, row):
    """The position of the first event of a row whose exposure grows; -1 if it does not, see followers/grams.py."""
    return firsts[row] if firsts.size and row >= numbers[5] else -1.0


@njit
def exposure(numbers, firsts, row, events):
    """The exposure of a row once there are so many events."""
    first = first_event(numbers, firsts, row)
    return 1.0 if first < 0 else min(1.0, 1.0 + numbers[3] - first / events)


@njit
def replace_all(grams, room, shares, first, size):
    """As `replace`, in the first of three matrices, and in those of growing rows, where the row has a first event."""
    replace(grams[0], room, shares, size)
    if first >= 0:
        replace(grams[1], room, shares, size)
        replace(grams[2], room, (shares[0] * first, shares[1] * first), size)
