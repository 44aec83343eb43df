"""Stochastic gradient descent on events that have a value each.

    s   = mean + b_u + c_i + p_u . q_i                the score
    g   = w * loss.slope(s, y)                         its slope, times the weight of the event
    p_u <- step(p_u, g q_i + pull(p_u)),   b_u <- step(b_u, g + pull(b_u))
    q_i <- step(q_i, g p_u + pull(q_i)),   c_i <- step(c_i, g + pull(c_i))        all at the values before the event

Tables hold factors (padded rows), records hold ``[bias, memory of the row]``. A bias moves at the pace of its row: its
step sees the row's memory, as it was before the event, and leaves none of its own. (A memory of its own grows with the
raw error and makes biases lag behind the factors.)

Rows below `movable` are written, others are only read. One body serves every loss, optimizer and regularizer: Numba
specialises it on their classes; `prange` is a plain range in the serial compilation.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import prange

from fastmf.kernels import bridge
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.lanes import load, single, store


class Shape(NamedTuple):
    """What a kernel is compiled for: factors, padded width, floats of memory a row, and whether biases move."""

    size: int
    width: int
    memory: int
    biases: bool


def record_width(memory: int) -> int:
    """Floats in a record: the bias and the memory of its row, padded to 16 bytes."""
    return -(-(1 + memory) // 4) * 4


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], parallel: bool) -> Any:
    """The kernel of one pass over a plan, one step per event."""
    return _epoch(*shape, parallel, stamp(*classes, parallel=parallel))


def _epoch(size, width, memory, biases, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        blocks,
        events,
        user_rows,
        user_records,
        item_rows,
        item_records,
        origins,
        movable,
        mean,
        loss,
        solver,
        penalty,
        sums,
    ):
        """Train on all blocks; sums[b] becomes the loss of block b, each event measured before its own step.

        blocks = (bounds, order, strata): events bounds[b] to bounds[b + 1] are block b; the blocks order[strata[s]] to
        order[strata[s + 1]] share no movable row and may run at once.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        bounds, order, strata = blocks
        users, items, values, weights = events
        user_origins, user_origin_records, item_origins, item_origin_records = origins
        movable_users, movable_items = movable
        for stratum in range(strata.size - 1):
            for place in prange(strata[stratum], strata[stratum + 1]):
                block = order[place]
                lost = 0.0
                for event in range(bounds[block], bounds[block + 1]):
                    u, i = np.int64(users[event]), np.int64(items[event])
                    p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
                    b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
                    score = mean + b.total() + c.total() + (p * q).total()
                    weight = weights[event]
                    lost += weight * bridge.value(loss, score, values[event])
                    slope = np.float32(weight * bridge.slope(loss, score, values[event]))
                    if u < movable_users:
                        pull = bridge.pull(penalty, p, load(user_origins, u, 0, width, size))
                        held = load(user_records, u, 1, memory, memory)
                        row, kept = bridge.step(solver, p, q * slope + pull, held)
                        store(user_rows, u, 0, row)
                        store(user_records, u, 1, kept)
                        if biases:
                            pull = bridge.pull(penalty, b, load(user_origin_records, u, 0, 1, 1))
                            store(user_records, u, 0, bridge.step(solver, b, single(slope) + pull, held)[0])
                    if i < movable_items:
                        pull = bridge.pull(penalty, q, load(item_origins, i, 0, width, size))
                        held = load(item_records, i, 1, memory, memory)
                        row, kept = bridge.step(solver, q, p * slope + pull, held)
                        store(item_rows, i, 0, row)
                        store(item_records, i, 1, kept)
                        if biases:
                            pull = bridge.pull(penalty, c, load(item_origin_records, i, 0, 1, 1))
                            store(item_records, i, 0, bridge.step(solver, c, single(slope) + pull, held)[0])
                sums[block] = lost

    return epoch


@functools.cache
def measure(shape: Shape, classes: tuple[type, ...]) -> Any:
    """The kernel that sums the loss of events without moving anything."""
    return _measure(shape.size, shape.width, stamp(*classes))


def _measure(size, width, stamp):
    @jit(stamp)
    def measure(events, user_rows, user_records, item_rows, item_records, mean, loss):
        stamp  # noqa: B018
        users, items, values, weights = events
        lost = 0.0
        for event in range(users.size):
            u, i = np.int64(users[event]), np.int64(items[event])
            product = load(user_rows, u, 0, width, size) * load(item_rows, i, 0, width, size)
            score = mean + user_records[u, 0] + item_records[i, 0] + product.total()
            lost += weights[event] * bridge.value(loss, score, values[event])
        return lost

    return measure
