"""Stochastic gradient descent on events that have a value each.

    s   = mean + b_u + c_i + p_u . q_i                the score
    g   = w * loss.slope(s, y)                         its slope, times the weight of the event
    p_u <- step(p_u, g q_i + pull(p_u)),   b_u <- step(b_u, g + pull(b_u))
    q_i <- step(q_i, g p_u + pull(q_i)),   c_i <- step(c_i, g + pull(c_i))        all at the values before the step

Tables hold factors (padded rows), records hold ``[bias, memory of the row]``. A row and its bias share one memory: a
step of the bias says what it becomes, and with that the bias and the factors step.

Events in flight: the slopes of a whole group are taken before its first step, so that none waits for the dot product of
the one before it. The steps follow one by one, the last event's first.

Rows below `movable` are written, others are only read. One body serves every loss, optimizer and regularizer: Numba
specialises it on their classes; `prange` is a plain range in the serial compilation.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numba.extending import overload

from fastmf.kernels import bridge
from fastmf.kernels.borrowed import borrow
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.lanes import fma, load, single, store
from fastmf.kernels.sharing import draw_number, read, write, yield_core


class Shape(NamedTuple):
    """What a kernel is compiled for: factors, padded width, floats of memory a row, and whether biases move."""

    size: int
    width: int
    memory: int
    biases: bool


def record_width(memory: int) -> int:
    """Floats in a record: the bias and the memory of its row, padded to 8 bytes."""
    return -(-(1 + memory) // 2) * 2


# --- one group of events --------------------------------------------------------------------------------------------


def train_group(flight, size, width, memory, biases, first, events, tables, movable, mean, values):
    """Train on `flight` events from `first` on; returns their loss. For kernels only.

    `flight` and the fields of the shape are compile-time constants; events and tables are borrowed.
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
        (user_rows, user_records, item_rows, item_records), origins = tables
        user_origins, user_origin_records, item_origins, item_origin_records = origins
        loss, solver, penalty = values
        u, i, weight, target = np.int64(users[first]), np.int64(items[first]), weights[first], targets[first]
        product = load(user_rows, u, 0, width, size) * load(item_rows, i, 0, width, size)
        biased = mean + load(user_records, u, 0, 1, 1).total() + load(item_records, i, 0, 1, 1).total()
        score = biased + product.total()
        slope = np.float32(weight * bridge.slope(loss, score, target))
        lost = train_group(others, size, width, memory, biases, first + 1, events, tables, movable, mean, values)
        p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
        if u < movable[0]:
            pull = bridge.pull(penalty, b, load(user_origin_records, u, 0, 1, 1))
            held = bridge.step(solver, b, single(slope) + pull, load(user_records, u, 1, memory, memory))[1]
            store(user_records, u, 1, held)
            if biases:
                store(user_records, u, 0, bridge.step(solver, b, single(slope) + pull, held)[0])
            pull = bridge.pull(penalty, p, load(user_origins, u, 0, width, size))
            store(user_rows, u, 0, bridge.step(solver, p, fma(q, slope, pull), held)[0])
        if i < movable[1]:
            pull = bridge.pull(penalty, c, load(item_origin_records, i, 0, 1, 1))
            held = bridge.step(solver, c, single(slope) + pull, load(item_records, i, 1, memory, memory))[1]
            store(item_records, i, 1, held)
            if biases:
                store(item_records, i, 0, bridge.step(solver, c, single(slope) + pull, held)[0])
            pull = bridge.pull(penalty, q, load(item_origins, i, 0, width, size))
            store(item_rows, i, 0, bridge.step(solver, q, fma(p, slope, pull), held)[0])
        return lost + weight * bridge.value(loss, score, target)

    return group if others >= 0 else nothing


# --- one block, and all of them -------------------------------------------------------------------------------------


def train_block(flight, size, width, memory, biases, bounds, events, tables, origins, movable, mean, values):
    """Train on the events from bounds[0] to bounds[1]; returns their loss. For kernels only."""


@overload(train_block, prefer_literal=True, jit_options={"error_model": "numpy"})
def _train_block(flight, size, width, memory, biases, bounds, events, tables, origins, movable, mean, values):
    if not hasattr(flight, "literal_value"):
        return None

    def block(flight, size, width, memory, biases, bounds, events, tables, origins, movable, mean, values):
        users, items, targets, weights = events
        columns = borrow(users), borrow(items), borrow(targets), borrow(weights)
        now = borrow(tables[0]), borrow(tables[1]), borrow(tables[2]), borrow(tables[3])
        before = borrow(origins[0]), borrow(origins[1]), borrow(origins[2]), borrow(origins[3])
        rows = now, before
        first, last = bounds
        whole = last - (last - first) % flight
        lost = 0.0
        for event in range(first, whole, flight):
            lost += train_group(flight, size, width, memory, biases, event, columns, rows, movable, mean, values)
        for event in range(whole, last):
            lost += train_group(1, size, width, memory, biases, event, columns, rows, movable, mean, values)
        return lost

    return block


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], flight: int, parallel: bool) -> Any:
    """The kernel of one pass over a plan, one step per event, `flight` events at a time."""
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
        origins,
        movable,
        mean,
        loss,
        solver,
        penalty,
        workers,
        sums,
    ):
        """Train on some blocks; sums[b] becomes the loss of block b, each event measured before its own step.

        blocks = (bounds, order, bands, first, last): block b is events bounds[b] to bounds[b + 1]; those to train on
        are order[first:last], `bands` to a stratum, no two of which share a movable row. A worker takes the next block
        and waits until those of the stratum before that share its users or its items are done, so that rows see their
        events in one order whatever the number of workers, and nobody waits for a whole stratum.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        bounds, order, bands, first, last = blocks
        taken = np.full(1, first)
        done_users, done_items = np.zeros(bands, np.int64), np.zeros(bands, np.int64)  # strata, for each band
        for _ in prange(workers):
            while True:
                place = draw_number(taken)
                if place >= last:
                    break
                block, stratum = order[place], (place - first) // bands
                user_band = block % bands
                item_band = (user_band + block // bands) % bands
                while read(done_users, user_band) < stratum or read(done_items, item_band) < stratum:
                    yield_core()
                sums[block] = train_block(
                    flight,
                    size,
                    width,
                    memory,
                    biases,
                    (bounds[block], bounds[block + 1]),
                    events,
                    (user_rows, user_records, item_rows, item_records),
                    origins,
                    movable,
                    mean,
                    (loss, solver, penalty),
                )
                write(done_users, user_band, stratum + 1)
                write(done_items, item_band, stratum + 1)

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
