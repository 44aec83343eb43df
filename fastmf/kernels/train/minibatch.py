"""Mini-batch stochastic gradient descent: one step per batch, along the mean gradient at the values before the step.

    G_u = (1 / n) sum of  g q_i + r(p_u)  over those of the batch's n events whose user is u
    p_u <- step(p_u, G_u)

and likewise for items and biases, where g is the weighted slope of the loss and r the gradient of the regularizer. A
row and its bias share one optimizer memory, as in pointwise.py. Gradients are accumulated in tables shaped like the
working set, which are all zero between batches; only rows that the batch contains are visited.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, single, store
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train.row import score, stepped


def sum_up(size, width, side, count, row, factors, other, bias, slope, penalty):
    """Add the gradient of one event to the sums of a row; returns the number of distinct rows in the batch so far.

    side = (rows, records, anchors, anchor records, sums, bias sums, marks, named): `marks` is 1 for rows already in the
    batch, and the first `count` entries of `named` are these rows. For kernels only.
    """


@overload(sum_up, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _sum_up(size, width, side, count, row, factors, other, bias, slope, penalty):
    if not hasattr(size, "literal_value"):
        return None

    def add(size, width, side, count, row, factors, other, bias, slope, penalty):
        _, _, anchors, anchor_records, sums, bias_sums, marks, named = side
        shrinking = bridge.gradient(penalty, factors, load(anchors, row, 0, width, size))
        store(sums, row, 0, load(sums, row, 0, width, size) + fma(other, slope, shrinking))
        shrinking = bridge.gradient(penalty, bias, load(anchor_records, row, 0, 1, 1))
        store(bias_sums, row, 0, load(bias_sums, row, 0, 1, 1) + (single(slope) + shrinking))
        if marks[row] != 0:
            return count
        marks[row] = 1
        named[count] = row
        return count + 1

    return add


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...]) -> Any:
    """The kernel of one pass over events with one step per batch."""
    return _epoch(*shape, stamp(*classes))


def _epoch(size, width, memory, biases, stamp):
    @jit(stamp)
    def epoch(events, batch_size, user_side, item_side, movable, mean, loss, solver, penalty):
        """Train on `events` in order; returns the summed loss, each batch measured before its own step.

        events = (users, items, values, weights); a side is as in `sum_up`. Rows below movable = (users, items) are
        written.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        users, items, values, weights = events
        user_rows, user_records = user_side[:2]
        item_rows, item_records = item_side[:2]
        lost = 0.0
        for first in range(0, users.size, batch_size):
            last = min(first + batch_size, users.size)
            count_users = count_items = 0
            for event in range(first, last):
                u, i = np.int64(users[event]), np.int64(items[event])
                p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
                b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
                scored = score(mean, b.total(), c.total(), p, q)
                lost += weights[event] * bridge.value(loss, scored, values[event])
                slope = np.float32(weights[event] * bridge.slope(loss, scored, values[event]))
                if u < movable[0]:
                    count_users = sum_up(size, width, user_side, count_users, u, p, q, b, slope, penalty)
                if i < movable[1]:
                    count_items = sum_up(size, width, item_side, count_items, i, q, p, c, slope, penalty)
            share = np.float32(1.0 / (last - first))
            for side, count in ((user_side, count_users), (item_side, count_items)):
                rows, records, _, _, sums, bias_sums, marks, named = side
                for n in range(count):
                    row = named[n]
                    moved, bias, held = stepped(
                        load(rows, row, 0, width, size),
                        load(records, row, 0, 1, 1),
                        load(records, row, 1, memory, memory),
                        load(sums, row, 0, width, size) * share,
                        load(bias_sums, row, 0, 1, 1) * share,
                        solver,
                    )
                    store(records, row, 1, held)
                    if biases:
                        store(records, row, 0, bias)
                    store(rows, row, 0, moved)
                    sums[row, :] = 0.0
                    bias_sums[row, 0] = 0.0
                    marks[row] = 0
        return lost

    return epoch
