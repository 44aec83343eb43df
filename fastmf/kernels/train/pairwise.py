"""Stochastic gradient descent for ranking losses: events compared with sampled negatives.

An event and its negatives form a list, whose entry 0 is the event's own item:

    s_m = mean + b_u + c_m + p_u . q_m                     scores, all taken before the first step
    g_m = w * derivative of the loss with respect to s_m
    q_m <- step(q_m, g_m p_u + r(q_m)),   c_m likewise     entry by entry; the negatives share one penalty
    p_u <- step(p_u, sum_m g_m q_m + r(p_u))               each q_m as it was just before its own step

where w is the weight of the event and r the gradient of the regularizer. User biases are not trained, since they do not
change the order of a user's items. The optimizer memory of a user is updated with the gradient ``|g_0| + |g_1| + ...``.

A pairwise loss searches for one negative with a nonzero slope, a listwise loss draws a fixed number of negatives;
everything else is shared.

Instruction-level parallelism: consecutive events of one user depend on each other through p_u. For a pairwise loss, up
to FLIGHT consecutive events of a run are processed as a group: first negatives and scores of all, then all slopes, then
the steps one by one. The first candidate negatives are drawn one group ahead, and their rows prefetched. A list is
enough work by itself: for a listwise loss each event is a group.

How negatives are drawn is described in negatives.py. Those outside the working set are read from the model's table and
never written.

Reference for lock-free updates of item rows: Niu, Recht, Ré, Wright (2011), Hogwild!: A Lock-Free Approach to
Parallelizing Stochastic Gradient Descent.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import overload

from fastmf.kernels.core.borrowed import borrow, narrow, row_of
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.sharing import fetch_add, finish_block, start_blocks, take_block
from fastmf.kernels.train.candidates import look_ahead, loss_and_gradient, move_list, search, weigh_ranks
from fastmf.kernels.train.negatives import BLOCK, LITERAL, forget, recall
from fastmf.kernels.train.pool import lent
from fastmf.kernels.train.row import move_row

CHUNK = 32  # runs taken by a worker at a time
FLIGHT = 4  # events in flight: pairwise slopes computed before the first step
_ONE = np.float32(1)

# --- one run of events, and all of them -----------------------------------------------------------------------------


def train_group(
    listwise, scope, size, width, memory, biases, span, user, p, events, tables, forms, movable, values, room
):
    """Train on events span[0] to span[1] of a run that ends at span[2]; returns the user's factors p and the loss.

    user = (row, score terms common to all items, number of candidates, known items), and p are the current factors of
    that row. room = (entries, scores, slopes, expected, found, ahead), see `room_for`. For kernels only.
    """


@overload(train_group, **LITERAL)
def _train_group(
    listwise, scope, size, width, memory, biases, span, user, p, events, tables, forms, movable, values, room
):
    if not hasattr(size, "literal_value"):
        return None
    flight = 1 if listwise.literal_value else FLIGHT

    def group(
        listwise, scope, size, width, memory, biases, span, user, p, events, tables, forms, movable, values, room
    ):
        items, weights = events
        u, base, candidates, known = user
        pool, rules = forms
        _, solver, penalty, _ = values
        entries, scores, slopes, expected, found, ahead = room
        first, last, end = span
        for event in range(first, last):
            slot, later = event - first, event + flight
            candidate = ahead[0][slot], ahead[1][slot], ahead[2][slot]
            if later < end:
                look_ahead(scope, width, later, slot, items, known, tables[1], pool, rules[0], values, ahead)
            own = row_of(entries, slot), row_of(scores, slot), expected
            own[0][0] = np.int64(items[event])
            place = base, event, candidate, known
            found[slot] = search(listwise, scope, size, width, p, place, tables[1], pool, rules, values, own)
        lost = 0.0
        for slot in range(last - first):
            scored = row_of(scores, slot), expected, row_of(slopes, slot)
            found[slot], loss_of_list = loss_and_gradient(
                listwise, found[slot], candidates, pool.items, rules, values, scored
            )
            lost += weights[first + slot] * loss_of_list
        for slot in range(last - first):
            if found[slot] == 0:
                continue
            graded = found[slot] if listwise else 1, row_of(entries, slot), row_of(slopes, slot), weights[first + slot]
            direction, evidence = move_list(
                scope, size, width, memory, biases, p, graded, tables[1], movable[1], values
            )
            if u < movable[0]:
                p = move_row(
                    size, width, memory, False, tables[0], u, p, direction, _ONE, evidence, _ONE, solver, penalty
                )[0]
        return p, lost

    return group


def train_run(listwise, scope, size, width, memory, biases, span, events, seen, tables, forms, movable, values, room):
    """Train on the events from span[0] to span[1], which are of one user; returns their loss. For kernels only."""


@overload(train_run, prefer_literal=True, jit_options={"error_model": "numpy"})
def _train_run(listwise, scope, size, width, memory, biases, span, events, seen, tables, forms, movable, values, room):
    if not hasattr(size, "literal_value"):
        return None
    flight = 1 if listwise.literal_value else FLIGHT

    def run(listwise, scope, size, width, memory, biases, span, events, seen, tables, forms, movable, values, room):
        users, items, weights = borrow(events[0]), borrow(events[1]), borrow(events[2])
        user_table = (
            borrow(tables.users),
            borrow(tables.user_records),
            borrow(tables.user_anchors),
            borrow(tables.user_anchor_records),
        )
        floats = record_width(memory)
        item_table = (  # rows at constant distances: the processor adds them to an address by itself
            narrow(borrow(tables.items), width),
            narrow(borrow(tables.item_records), floats),
            narrow(borrow(tables.item_anchors), width),
            narrow(borrow(tables.item_anchor_records), floats),
        )
        item_tables = item_table, borrow(tables.outside), borrow(tables.outside_records)
        pool, rules, mean = forms
        words, lists, firsts = room
        longest = lists[0].shape[1] if listwise else 2
        entries = narrow(borrow(lists[0]), longest)
        scores, slopes = narrow(borrow(lists[1]), longest), narrow(borrow(lists[2]), longest)
        expected, found = borrow(lists[3]), borrow(lists[4])
        ahead = borrow(firsts[0]), borrow(firsts[1]), borrow(firsts[2])
        first, last = span
        u = np.int64(users[first])
        known, distinct = recall(scope, seen, u, (items, first, last), words)
        candidates = pool.items - (1 if seen.allowed else distinct)
        if scope == BLOCK:  # a rank among all items: as in the band, at its scale
            candidates = (pool.size - (1 if seen.allowed else distinct)) * pool.items // pool.size
        weigh_ranks(listwise, values[0], rules[1], max(candidates, 1), expected)
        base, p = mean + user_table[1][u, 0], load(user_table[0], u, 0, width, size)
        lost = 0.0
        for event in range(first, min(first + flight, last)):
            slot = event - first
            look_ahead(scope, width, event, slot, items, known, item_tables, pool, rules[0], values, ahead)
        for start in range(first, last, flight):
            p, loss_of_group = train_group(
                listwise,
                scope,
                size,
                width,
                memory,
                biases,
                (start, min(start + flight, last), last),
                (u, base, candidates, known),
                p,
                (items, weights),
                (user_table, item_tables),
                (pool, rules),
                movable,
                values,
                (entries, scores, slopes, expected, found, ahead),
            )
            lost += loss_of_group
        forget(scope, seen, u, (items, first, last), words)
        return lost

    return run


@njit
def room_for(listwise, sizes):
    """Work arrays of a worker: bits that mark known items, the lists of a group, and the first candidates of the next.

    sizes = (number of 64-bit words, maximum length of a list).
    """
    words, expected = np.zeros(sizes[0], np.int64), np.empty(sizes[1], np.float32)
    form = (1 if listwise else FLIGHT), sizes[1]
    scores, slopes = np.empty(form, np.float32), np.empty(form, np.float32)
    lists = np.empty(form, np.int64), scores, slopes, expected, np.empty(FLIGHT, np.int64)
    return words, lists, (np.empty(FLIGHT, np.int64), np.empty(FLIGHT, np.int64), np.empty(FLIGHT, np.int64))


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], listwise: bool, scope: int, parallel: bool) -> Any:
    """The kernel of one pass over runs of events; workers update item rows without locks (Hogwild)."""
    key = stamp(*classes, parallel=parallel)
    return _epoch(*shape, int(listwise), scope, parallel, key and f"{key}|{listwise}")


def _epoch(size, width, memory, biases, listwise, scope, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        runs, events, seen, tables, pool, rules, mean, movable, loss, solver, penalty, sampler, sizes, workers, sums
    ):
        """Train on some runs of events; writes to sums[c] the loss of chunk c, each event measured before its own step.

        runs = (order, bounds, first, last): run order[n], for n from first to last, is events bounds[r] to
        bounds[r + 1], all of one user. events = (users, items, weights); tables is a Tables,
        `seen` a Seen, `pool` a Pool; rules are as above, sizes how many words mark all items and how long the longest
        list is.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        order, bounds, first, last = runs
        taken = np.zeros(1, np.int64)
        chunks = (last - first + CHUNK - 1) // CHUNK
        for _ in prange(workers):
            words, lists, firsts = room_for(listwise, sizes)
            own = lent(pool, 0, 0)
            while True:
                chunk = fetch_add(taken)
                if chunk >= chunks:
                    break
                lost = 0.0
                for n in range(first + chunk * CHUNK, min(first + (chunk + 1) * CHUNK, last)):
                    run = order[n]
                    if bounds[run] < bounds[run + 1]:
                        lost += train_run(
                            listwise,
                            scope,
                            size,
                            width,
                            memory,
                            biases,
                            (bounds[run], bounds[run + 1]),
                            events,
                            seen,
                            tables,
                            (own, rules, mean),
                            movable,
                            (loss, solver, penalty, sampler),
                            (words, lists, firsts),
                        )
                sums[chunk] = lost

    return epoch


@functools.cache
def epoch_in_bands(shape: Shape, classes: tuple[type, ...], listwise: bool, parallel: bool) -> Any:
    """The kernel of one pass over blocks of events; results are bitwise equal for any number of workers."""
    key = stamp(*classes, parallel=parallel)
    return _epoch_in_bands(*shape, int(listwise), parallel, key and f"{key}|{listwise}")


def _epoch_in_bands(size, width, memory, biases, listwise, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        blocks, events, seen, tables, pool, rules, mean, movable, loss, solver, penalty, sampler, sizes, workers, sums
    ):
        """Train on blocks of events, with negatives from the item band of each; writes the loss of block b to sums[b].

        blocks are those of sharing.start_blocks, with the events of a user side by side. All else is as in `epoch`.
        """
        stamp  # noqa: B018
        bounds, users, starts, progress = blocks[0], events[0], pool.starts, start_blocks(blocks)
        for worker in prange(workers):
            words, lists, firsts = room_for(listwise, sizes)
            while True:
                block, item_band = take_block(blocks, progress, worker, workers)
                if block < 0:
                    break
                own = lent(pool, starts[item_band], starts[item_band + 1] - starts[item_band])
                lost, event, end = 0.0, bounds[block], bounds[block + 1]
                while event < end:
                    after = event + 1
                    while after < end and users[after] == users[event]:
                        after += 1
                    lost += train_run(
                        listwise,
                        BLOCK,
                        size,
                        width,
                        memory,
                        biases,
                        (event, after),
                        events,
                        seen,
                        tables,
                        (own, rules, mean),
                        movable,
                        (loss, solver, penalty, sampler),
                        (words, lists, firsts),
                    )
                    event = after
                sums[block] = lost
                finish_block(blocks, progress, block, item_band)

    return epoch
