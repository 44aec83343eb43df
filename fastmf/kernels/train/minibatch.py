"""Gradient descent with one step per batch of events, along the mean gradient at the values before the step.

    G_u = (1 / n) sum over the batch's n events of  g q_i + pull(p_u)  where u is theirs      (likewise items, biases)
    p_u <- step(p_u, G_u)

A row and its bias share one memory, as in pointwise.py. The sums live in tables shaped like the working set, all zero
between batches; only rows that a batch names are visited.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastmf.kernels.core import bridge
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, single, store
from fastmf.kernels.core.shape import Shape


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...]) -> Any:
    """The kernel of one pass over events, one step per batch."""
    return _epoch(*shape, stamp(*classes))


def _epoch(size, width, memory, biases, stamp):
    @jit(stamp)
    def epoch(events, batch_size, user_side, item_side, movable, mean, loss, solver, penalty):
        """Train on `events` in their order; returns the loss, each batch measured before its own step.

        A side is (rows, records, origins, origin records, sums, bias sums, marks, named): the last two are room for the
        rows that a batch names.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        users, items, values, weights = events
        (
            user_rows,
            user_records,
            user_origins,
            user_origin_records,
            user_sums,
            user_bias_sums,
            seen_users,
            named_users,
        ) = user_side
        (
            item_rows,
            item_records,
            item_origins,
            item_origin_records,
            item_sums,
            item_bias_sums,
            seen_items,
            named_items,
        ) = item_side
        movable_users, movable_items = movable
        lost = 0.0
        for first in range(0, users.size, batch_size):
            last = min(first + batch_size, users.size)
            count_users = count_items = 0
            for event in range(first, last):
                u, i = np.int64(users[event]), np.int64(items[event])
                p, q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
                b, c = load(user_records, u, 0, 1, 1), load(item_records, i, 0, 1, 1)
                score = mean + b.total() + c.total() + (p * q).total()
                lost += weights[event] * bridge.value(loss, score, values[event])
                slope = np.float32(weights[event] * bridge.slope(loss, score, values[event]))
                if u < movable_users:
                    pull = bridge.pull(penalty, p, load(user_origins, u, 0, width, size))
                    store(user_sums, u, 0, load(user_sums, u, 0, width, size) + fma(q, slope, pull))
                    pull = bridge.pull(penalty, b, load(user_origin_records, u, 0, 1, 1))
                    store(user_bias_sums, u, 0, load(user_bias_sums, u, 0, 1, 1) + (single(slope) + pull))
                    if seen_users[u] == 0:
                        seen_users[u] = 1
                        named_users[count_users] = u
                        count_users += 1
                if i < movable_items:
                    pull = bridge.pull(penalty, q, load(item_origins, i, 0, width, size))
                    store(item_sums, i, 0, load(item_sums, i, 0, width, size) + fma(p, slope, pull))
                    pull = bridge.pull(penalty, c, load(item_origin_records, i, 0, 1, 1))
                    store(item_bias_sums, i, 0, load(item_bias_sums, i, 0, 1, 1) + (single(slope) + pull))
                    if seen_items[i] == 0:
                        seen_items[i] = 1
                        named_items[count_items] = i
                        count_items += 1
            share = np.float32(1.0 / (last - first))
            for rows, records, sums, bias_sums, seen, named, count in (
                (user_rows, user_records, user_sums, user_bias_sums, seen_users, named_users, count_users),
                (item_rows, item_records, item_sums, item_bias_sums, seen_items, named_items, count_items),
            ):
                for n in range(count):
                    row = named[n]
                    gradient = load(sums, row, 0, width, size) * share
                    held = load(records, row, 1, memory, memory)
                    bias_gradient = load(bias_sums, row, 0, 1, 1) * share
                    bias = load(records, row, 0, 1, 1)
                    kept = bridge.step(solver, bias, bias_gradient, held)[1]
                    store(records, row, 1, kept)
                    if biases:
                        store(records, row, 0, bridge.step(solver, bias, bias_gradient, kept)[0])
                    store(rows, row, 0, bridge.step(solver, load(rows, row, 0, width, size), gradient, kept)[0])
                    sums[row, :] = 0.0
                    bias_sums[row, 0] = 0.0
                    seen[row] = 0
        return lost

    return epoch
