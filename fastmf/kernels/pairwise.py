"""Stochastic gradient descent on events that are compared with sampled negatives.

An event and its negatives are a list, entry 0 of which is the event's own item:

    s_m = mean + b_u + c_m + p_u . q_m                        the scores, all taken before the first step
    g_m = w * slope of the loss at s_m
    q_m <- step(q_m, g_m p_u + pull(q_m)),   c_m likewise     entry after entry; negatives share one pull
    p_u <- step(p_u, sum_m g_m q_m + pull(p_u))               each q_m as it was just before its own step

User biases stay, since they cancel. A user's memory takes in ``|g_0| + |g_1| + ...`` in place of their slope.

A pairwise loss looks for one negative that has a slope, a listwise loss takes a fixed number of them; all else is one
body. How negatives are found is in negatives.py. Those that are no rows of the working set are read from the model's
own table, and never written.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange
from numba.extending import overload

from fastmf.kernels import bridge
from fastmf.kernels.borrowed import borrow, prefetch, prefetch_row
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.lanes import fma, load
from fastmf.kernels.negatives import BAND, BEYOND, LITERAL, NONE, ROOM, bits_for, chance, fill, pick, pick_unseen
from fastmf.kernels.pointwise import Shape, move_row
from fastmf.kernels.rng import draw
from fastmf.kernels.sharing import draw_number, read, write, yield_core

CHUNK = 32  # runs that a worker takes at once
_AHEAD = 4  # events between a prefetch and its use
_ONE = np.float32(1)

# --- one list -------------------------------------------------------------------------------------------------------


def factors_of(reach, size, width, tables, entry):
    """The factors of an entry. For kernels only; tables = (item table, rows of the model, their records)."""


@overload(factors_of, **LITERAL)
def _factors_of(reach, size, width, tables, entry):
    if not hasattr(size, "literal_value"):
        return None

    def factors_of(reach, size, width, tables, entry):
        if reach == BEYOND and entry < 0:
            return load(tables[1], ~entry, 0, width, size)
        return load(tables[0][0], entry, 0, width, size)

    return factors_of


def bias_of(reach, tables, entry):
    """The bias of an entry. For kernels only."""


@overload(bias_of, **LITERAL)
def _bias_of(reach, tables, entry):
    def bias_of(reach, tables, entry):
        if reach == BEYOND and entry < 0:
            return tables[2][~entry, 0]
        return tables[0][1][entry, 0]

    return bias_of


def compare(listwise, reach, size, width, p, base, event, known, tables, pool, rules, values, room):
    """Find the negatives of an event and grade the list: how many there are, and the loss. For kernels only.

    room = (entries, scores, chances, slopes); entries[0] is the positive, and of a pairwise loss chances[t] is what its
    t-th candidate counts. rules = (key, negatives or trials, mass).
    """


@overload(compare, **LITERAL)
def _compare(listwise, reach, size, width, p, base, event, known, tables, pool, rules, values, room):
    if not hasattr(size, "literal_value"):
        return None

    def pair(listwise, reach, size, width, p, base, event, known, tables, pool, rules, values, room):
        loss, sampler = values[0], values[3]
        entries, slopes = room[0], room[3]
        own, drawn = entries[0], np.int64(0)
        positive = base + bias_of(reach, tables, own)
        positive += (p * factors_of(reach, size, width, tables, own)).total()
        for tries in range(1, rules[1] + 1):
            key = (rules[0], event)
            entry, _, drawn = pick_unseen(sampler, reach, key, 0, drawn, own, known[:3], pool)
            if entry == NONE:
                break
            score = base + bias_of(reach, tables, entry)
            score += (p * factors_of(reach, size, width, tables, entry)).total()
            lead = positive - score
            slope = bridge.slope(loss, lead, _ONE)
            if slope != 0:
                counts = room[2][tries]
                entries[1] = entry
                slopes[0] = np.float32(counts * slope)
                slopes[1] = np.float32(-(counts * slope))
                return 1, counts * bridge.value(loss, lead, _ONE)
        return 0, 0.0

    def several(listwise, reach, size, width, p, base, event, known, tables, pool, rules, values, room):
        loss, sampler = values[0], values[3]
        entries, scores, chances, slopes = room
        candidates = known[3]
        own, drawn, count = entries[0], np.int64(0), 0
        scores[0] = base + bias_of(reach, tables, own)
        scores[0] += (p * factors_of(reach, size, width, tables, own)).total()
        for slot in range(rules[1]):
            key = (rules[0], event)
            entry, events, drawn = pick_unseen(sampler, reach, key, slot, drawn, own, known[:3], pool)
            if entry == NONE:
                continue
            count += 1
            score = base + bias_of(reach, tables, entry)
            score += (p * factors_of(reach, size, width, tables, entry)).total()
            entries[count], scores[count], chances[count] = entry, score, np.float32(events)
        if count == 0:
            return 0, 0.0
        for m in range(1, count + 1):
            chances[m] = np.float32(chance(sampler, np.int64(chances[m]), count, candidates, rules[2]))
        return count, bridge.grade(loss, scores, chances, slopes, count, pool[0])

    return several if listwise.literal_value else pair


def weigh_ranks(listwise, loss, trials, candidates, chances):
    """chances[t] = what a negative counts that is the candidate number t of a pairwise loss. For kernels only."""


@overload(weigh_ranks, **LITERAL)
def _weigh_ranks(listwise, loss, trials, candidates, chances):
    if not hasattr(listwise, "literal_value"):
        return None

    def weigh(listwise, loss, trials, candidates, chances):
        for tries in range(1, trials + 1):
            chances[tries] = np.float32(bridge.weight(loss, tries, candidates))

    def nothing(listwise, loss, trials, candidates, chances):
        return None

    return nothing if listwise.literal_value else weigh


# --- one run of events, and all of them -----------------------------------------------------------------------------


def train_run(listwise, reach, size, width, memory, biases, span, events, given, tables, forms, movable, values, room):
    """Train on the events from span[0] to span[1], which are of one user; returns their loss. For kernels only."""


@overload(train_run, prefer_literal=True, jit_options={"error_model": "numpy"})
def _train_run(listwise, reach, size, width, memory, biases, span, events, given, tables, forms, movable, values, room):
    if not hasattr(size, "literal_value"):
        return None
    foresee = values.types[3].instance_class.source != "every"

    def run(listwise, reach, size, width, memory, biases, span, events, given, tables, forms, movable, values, room):
        users, items, weights = borrow(events[0]), borrow(events[1]), borrow(events[2])
        known_starts, known_rows, allow_seen, sets, bases, all_bits, all_distinct = given
        chosen = items if reach == BAND else borrow(known_rows)
        user_table = borrow(tables[0]), borrow(tables[1]), borrow(tables[2]), borrow(tables[3])
        item_table = borrow(tables[4]), borrow(tables[5]), borrow(tables[6]), borrow(tables[7])
        item_tables = item_table, borrow(tables[8]), borrow(tables[9])
        pool_form, rules, mean = forms
        known_items, drawn_rows, more_rows, counts, further, marks, shares, others, members, band_first, band_size = (
            pool_form
        )
        pool = (
            known_items,
            drawn_rows.size,
            borrow(drawn_rows),
            more_rows.size,
            borrow(more_rows),
            borrow(counts),
            borrow(further),
            borrow(marks),
            shares.size,
            borrow(shares),
            borrow(others),
            borrow(members),
            band_first,
            band_size,
        )
        loss, solver, penalty, sampler = values
        entries, scores, chances, slopes = borrow(room[1]), borrow(room[2]), borrow(room[3]), borrow(room[4])
        first, last = span
        u = np.int64(users[first])
        base, first_known, last_known = 0, np.int64(0), np.int64(0)
        if not allow_seen:  # of a band, a user knows what the run says: all that the user chose of it
            first_known, last_known = span if reach == BAND else (known_starts[u], known_starts[u + 1])
        if bases.size and not allow_seen:
            slots, base, bits, distinct = borrow(sets), bases[u], np.int64(all_bits[u]), np.int64(all_distinct[u])
        else:
            slots, bits = borrow(room[0]), bits_for(last_known - first_known, ROOM)
            distinct = fill(slots, base, bits, chosen, first_known, last_known)
        candidates = known_items - (1 if allow_seen else distinct)
        if reach == BAND:  # a rank among all items: as in the band, at its scale
            candidates = (band_size - (1 if allow_seen else distinct)) * known_items // band_size
        weigh_ranks(listwise, loss, rules[1], max(candidates, 1), chances)
        offset = mean + user_table[1][u, 0]
        lost = 0.0
        for event in range(first, last):
            if foresee and reach != BEYOND:
                entry = pick(sampler, reach, draw(rules[0], event + _AHEAD, 0), 0, pool)[1]
                prefetch_row(item_table[0], entry, width)
                prefetch(item_table[1], entry)
                if event + _AHEAD < last:
                    prefetch_row(item_table[0], np.int64(items[event + _AHEAD]), width)
                    prefetch(item_table[1], np.int64(items[event + _AHEAD]))
            p = load(user_table[0], u, 0, width, size)
            entries[0] = np.int64(items[event])
            count, loss_of_list = compare(
                listwise,
                reach,
                size,
                width,
                p,
                offset,
                event,
                (slots, base, bits, candidates),
                item_tables,
                pool,
                rules,
                values,
                (entries, scores, chances, slopes),
            )
            if count == 0:
                continue
            weight = weights[event]
            lost += weight * loss_of_list
            rest, share = np.float32(_ONE / np.float32(count)), _ONE
            direction = p - p
            evidence = np.float32(0)
            for m in range(count + 1):
                entry, slope = entries[m], weight * slopes[m]
                q = factors_of(reach, size, width, item_tables, entry)
                direction = fma(q, slope, direction)
                evidence += abs(slope)
                if 0 <= entry < movable[1]:
                    move_row(size, width, memory, biases, item_table, entry, q, p, slope, slope, share, solver, penalty)
                share = rest
            if u < movable[0]:
                move_row(size, width, memory, False, user_table, u, p, direction, _ONE, evidence, _ONE, solver, penalty)
        return lost

    return run


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], listwise: bool, reach: int, parallel: bool) -> Any:
    """The kernel of one pass over runs of events; workers race for the rows of items."""
    key = stamp(*classes, parallel=parallel)
    return _epoch(*shape, int(listwise), reach, parallel, key and f"{key}|{listwise}")


def _epoch(size, width, memory, biases, listwise, reach, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        runs, events, given, tables, pool, rules, mean, movable, loss, solver, penalty, sampler, sizes, workers, sums
    ):
        """Train on some runs of events; sums[c] becomes the loss of a chunk of them, each before its own step.

        runs = (order, bounds, first, last): run order[n], for n from first to last, is events bounds[r] to
        bounds[r + 1], all of one user. events = (users, items, weights). given = (starts, rows, allow_seen, and the
        sets that `prepare` made, if it did): user u knows rows[starts[u]:starts[u + 1]]. tables are the users' and the
        items', each with its origins, and the model's items; pool and rules are as above, sizes those of the set and of
        the longest list.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        order, bounds, first, last = runs
        taken = np.zeros(1, np.int64)
        chunks = (last - first + CHUNK - 1) // CHUNK
        for _ in prange(workers):
            slots, entries = np.empty(sizes[0], np.int32), np.empty(sizes[1], np.int64)
            scores, chances = np.empty(sizes[1], np.float32), np.empty(sizes[1], np.float32)
            slopes = np.empty(sizes[1], np.float32)
            while True:
                chunk = draw_number(taken)
                if chunk >= chunks:
                    break
                lost = 0.0
                for n in range(first + chunk * CHUNK, min(first + (chunk + 1) * CHUNK, last)):
                    run = order[n]
                    if bounds[run] < bounds[run + 1]:
                        lost += train_run(
                            listwise,
                            reach,
                            size,
                            width,
                            memory,
                            biases,
                            (bounds[run], bounds[run + 1]),
                            events,
                            given,
                            tables,
                            (pool, rules, mean),
                            movable,
                            (loss, solver, penalty, sampler),
                            (slots, entries, scores, chances, slopes),
                        )
                sums[chunk] = lost

    return epoch


@functools.cache
def epoch_in_bands(shape: Shape, classes: tuple[type, ...], listwise: bool, parallel: bool) -> Any:
    """The kernel of one pass over blocks of events; any number of workers gives the same bits."""
    key = stamp(*classes, parallel=parallel)
    return _epoch_in_bands(*shape, int(listwise), parallel, key and f"{key}|{listwise}")


def _epoch_in_bands(size, width, memory, biases, listwise, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        blocks, events, given, tables, pool, rules, mean, movable, loss, solver, penalty, sampler, sizes, workers, sums
    ):
        """Train on some blocks, negatives from the item band of each; sums[b] becomes the loss of block b.

        blocks are those of pointwise.epoch, with the events of a user side by side. pool = (.., members, starts): the
        items of band b are members[starts[b]:starts[b + 1]]. All else is as in `epoch`.
        """
        stamp  # noqa: B018
        bounds, order, bands, first, last = blocks
        users, starts = events[0], pool[-1]
        taken = np.full(1, first)
        done_users, done_items = np.zeros(bands, np.int64), np.zeros(bands, np.int64)  # strata, for each band
        for _ in prange(workers):
            slots, entries = np.empty(sizes[0], np.int32), np.empty(sizes[1], np.int64)
            scores, chances = np.empty(sizes[1], np.float32), np.empty(sizes[1], np.float32)
            slopes = np.empty(sizes[1], np.float32)
            while True:
                place = draw_number(taken)
                if place >= last:
                    break
                block, stratum = order[place], (place - first) // bands
                user_band = block % bands
                item_band = (user_band + block // bands) % bands
                members = starts[item_band], starts[item_band + 1] - starts[item_band]
                while read(done_users, user_band) < stratum or read(done_items, item_band) < stratum:
                    yield_core()
                lost, event, end = 0.0, bounds[block], bounds[block + 1]
                while event < end:
                    after = event + 1
                    while after < end and users[after] == users[event]:
                        after += 1
                    lost += train_run(
                        listwise,
                        BAND,
                        size,
                        width,
                        memory,
                        biases,
                        (event, after),
                        events,
                        given,
                        tables,
                        (pool[:-1] + members, rules, mean),
                        movable,
                        (loss, solver, penalty, sampler),
                        (slots, entries, scores, chances, slopes),
                    )
                    event = after
                sums[block] = lost
                write(done_users, user_band, stratum + 1)
                write(done_items, item_band, stratum + 1)

    return epoch
