"""Stochastic gradient descent for pointwise losses: one step per event.

    s   = mean + b_u + c_i + p_u . q_i                score
    g   = w * loss.slope(s, y)                        slope times the weight of the event
    p_u <- step(p_u, g q_i + r(p_u)),   b_u <- step(b_u, g + r(b_u))
    q_i <- step(q_i, g p_u + r(q_i)),   c_i <- step(c_i, g + r(c_i))        all at the values before the step

where r is the gradient of the regularizer. Tables hold factors (padded rows), records hold ``[bias, optimizer memory]``
of each row. A row and its bias share one memory, see row.py.

Events in flight: the slopes of a group of `flight` events are computed before the first step, so that their dot
products do not wait for each other. The steps follow one by one, in reverse order of the events.

Rows below `movable` are written, others are only read. One function serves every loss, optimizer and regularizer: Numba
specialises it on their classes; `prange` is a plain range in the serial compilation.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow, prefetch_row
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.sharing import finish_block, start_blocks, take_block
from fastmf.kernels.train.row import move_rows, score

_FETCHED = 64  # factors from which on the items of a block are more than the cache next to a core holds


# --- one group of events --------------------------------------------------------------------------------------------


def train_group(flight, size, width, memory, biases, first, events, tables, movable, mean, values):
    """Train on `flight` events from `first` on; returns their loss. For kernels only.

    `flight` and the fields of the shape are compile-time constants; events = (users, items, values, weights) and the
    two tables, (rows, records, anchors, anchor records) each, are borrowed.
    """


@overload(train_group, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _train_group(flight, size, width, memory, biases, first, events, tables, movable, mean, values):
    if not hasattr(flight, "literal_value"):
        return None
    others = flight.literal_value - 1

    def nothing(flight, size, width, memory, biases, first, events, tables, movable, mean, values):
        return 0.0

    def group(flight, size, width, memory, biases, first, events, tables, movable, mean, values):
        users, items, targets, weights = events
        (user_rows, user_records, _, _), (item_rows, item_records, _, _) = tables
        loss, solver, penalty = values
        u, i, weight, target = np.int64(users[first]), np.int64(items[first]), weights[first], targets[first]
        bias, other_bias = load(user_records, u, 0, 1, 1).total(), load(item_records, i, 0, 1, 1).total()
        scored = score(mean, bias, other_bias, load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size))
        slope = np.float32(weight * bridge.slope(loss, scored, target))
        lost = train_group(others, size, width, memory, biases, first + 1, events, tables, movable, mean, values)
        move_rows(size, width, memory, biases, tables, (u, i), movable, slope, solver, penalty)
        return lost + weight * bridge.value(loss, scored, target)

    return group if others >= 0 else nothing


# --- one block, and all of them -------------------------------------------------------------------------------------


def train_block(flight, size, width, memory, biases, bounds, events, tables, anchors, movable, mean, values):
    """Train on events bounds[0] to bounds[1]; returns their loss. For kernels only."""


@overload(train_block, prefer_literal=True, jit_options={"error_model": "numpy"})
def _train_block(flight, size, width, memory, biases, bounds, events, tables, anchors, movable, mean, values):
    if not hasattr(flight, "literal_value"):
        return None
    fetch = width.literal_value >= _FETCHED

    def block(flight, size, width, memory, biases, bounds, events, tables, anchors, movable, mean, values):
        users, items, targets, weights = events
        columns = borrow(users), borrow(items), borrow(targets), borrow(weights)
        user_table = borrow(tables[0]), borrow(tables[1]), borrow(anchors[0]), borrow(anchors[1])
        item_table = borrow(tables[2]), borrow(tables[3]), borrow(anchors[2]), borrow(anchors[3])
        rows = user_table, item_table
        first, last = bounds
        whole = last - (last - first) % flight
        lost = 0.0
        for event in range(first, whole, flight):
            if fetch:  # the next group's: users come in order, which the processor foresees, but items do not
                for later in range(event + flight, min(event + 2 * flight, last)):
                    prefetch_row(item_table[0], np.int64(columns[1][later]), width)
            lost += train_group(flight, size, width, memory, biases, event, columns, rows, movable, mean, values)
        for event in range(whole, last):
            lost += train_group(1, size, width, memory, biases, event, columns, rows, movable, mean, values)
        return lost

    return block


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], flight: int, parallel: bool) -> Any:
    """The kernel of one pass over a plan, one step per event, with `flight` events in flight."""
    return _epoch(*shape, flight, parallel, stamp(*classes, parallel=parallel))


def _epoch(size, width, memory, biases, flight, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        blocks,
        events,
        user_rows,
        user_records,
        item_rows,
        item_records,
        anchors,
        movable,
        mean,
        loss,
        solver,
        penalty,
        workers,
        sums,
    ):
        """Train on blocks of events; writes to sums[b] the loss of block b, each event measured before its own step.

        blocks = (bounds, order, bands, first, last), see sharing.start_blocks.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        bounds, progress = blocks[0], start_blocks(blocks)
        for worker in prange(workers):
            while True:
                block, item_band = take_block(blocks, progress, worker, workers)
                if block < 0:
                    break
                sums[block] = train_block(
                    flight,
                    size,
                    width,
                    memory,
                    biases,
                    (bounds[block], bounds[block + 1]),
                    events,
                    (user_rows, user_records, item_rows, item_records),
                    anchors,
                    movable,
                    mean,
                    (loss, solver, penalty),
                )
                finish_block(blocks, progress, block, item_band)

    return epoch


@functools.cache
def measure(shape: Shape, classes: tuple[type, ...]) -> Any:
    """The kernel that sums the loss of events without changing any row."""
    return _measure(shape.size, shape.width, stamp(*classes))


def _measure(size, width, stamp):
    @jit(stamp)
    def measure(events, user_rows, user_records, item_rows, item_records, mean, loss):
        stamp  # noqa: B018
        users, items, values, weights = events
        lost = 0.0
        for event in range(users.size):
            u, i = np.int64(users[event]), np.int64(items[event])
            p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
            scored = score(mean, user_records[u, 0], item_records[i, 0], p, q)
            lost += weights[event] * bridge.value(loss, scored, values[event])
        return lost

    return measure
