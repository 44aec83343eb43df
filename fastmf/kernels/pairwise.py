"""Stochastic gradient descent on events that are compared with sampled negatives.

An event and its negatives are a list, entry 0 of which is the event's own item:

    s_m = mean + b_u + c_m + p_u . q_m                        the scores, all taken before the first step
    g_m = w * slope of the loss at s_m
    q_m <- step(q_m, g_m p_u + pull(q_m)),   c_m likewise     entry after entry; negatives share one pull
    p_u <- step(p_u, sum_m g_m q_m + pull(p_u))               each q_m as it was just before its own step

User biases stay, since they cancel. A user's memory takes in ``|g_0| + |g_1| + ...`` in place of their slope.

A pairwise loss looks for one negative that has a slope, a listwise loss takes a fixed number of them; all else is one
body. Negatives are a hash of (key of the pass, place of the event, number of the draw), see rng.py. Those that the
user knows are recognised by an exact hash set, filled once for each run of events of one user.

Rows are those of the model where they are drawn and known, and those of the working set where they are trained. Where
the two differ, ``marks[row] - 1`` is the place of a row in the working set, and a row that has none is read from the
model's own table, never written: it is entry ``~row`` of a list.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, prange
from numba.extending import overload

from fastmf.kernels import bridge
from fastmf.kernels.borrowed import borrow, prefetch, prefetch_row
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.lanes import fma, load
from fastmf.kernels.pointwise import Shape, move_row
from fastmf.kernels.rng import draw, uniform
from fastmf.kernels.sharing import draw_number

ATTEMPTS = 64  # draws for one negative, until a list goes without it
CHUNK = 32  # runs that a worker takes at once
_AHEAD = 4  # events between a prefetch and its use
_NONE = -(1 << 62)
_ONE = np.float32(1)
_LITERAL = {"prefer_literal": True, "jit_options": {"error_model": "numpy", "forceinline": True}}

# --- what a user knows ----------------------------------------------------------------------------------------------


@njit
def _home(row, bits):
    return np.int64(((np.uint64(row) * np.uint64(2654435769)) & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - bits))


@njit
def _learn_known(slots, rows, first, last):
    """Fill the set with rows[first:last]; returns the binary logarithm of its size, and how many rows are distinct."""
    bits, distinct = 1, 0
    while (1 << bits) < 8 * (last - first):
        bits += 1
    for place in range(1 << bits):
        slots[place] = -1
    for n in range(first, last):
        place = _home(rows[n], bits)
        while slots[place] != -1 and slots[place] != rows[n]:
            place = (place + 1) & ((1 << bits) - 1)
        distinct += slots[place] == -1
        slots[place] = rows[n]
    return bits, distinct


@njit
def _knows(slots, bits, row):
    place = _home(row, bits)
    while slots[place] != -1:
        if slots[place] == row:
            return True
        place = (place + 1) & ((1 << bits) - 1)
    return False


# --- one draw -------------------------------------------------------------------------------------------------------


@njit
def _below(bits, count):
    """A number below `count` from the upper half of 64 random bits."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@njit
def _kept(sampler, bits, count):
    """Whether a sampler keeps what was drawn, by the lower half of the bits."""
    return uniform(bits << np.uint64(32)) < bridge.keep(sampler, max(count, 1))


@njit
def _place(outside, marks, row):
    """The entry of a row in a list."""
    if not outside:
        return row
    return np.int64(marks[row]) - 1 if marks[row] else ~row


def pick(sampler, outside, bits, slot, pool):
    """What 64 random bits stand for: a row, its entry in a list, and its events. For kernels only.

    The row is -1 where the sampler does not keep it. pool = (known rows, events to draw from, their rows, further such
    events, their rows, how many events name a row, in two parts, marks, size of the alias table, and the table): where
    there is a table, it is drawn from in place of the events.
    """


@overload(pick, **_LITERAL)
def _pick(sampler, outside, bits, slot, pool):
    def of_items(sampler, outside, bits, slot, pool):
        row = _below(bits, pool[0])
        return row, _place(outside, pool[7], row), 1

    def of_events(sampler, outside, bits, slot, pool):
        _, size, rows, further_size, further_rows, counts, further, marks, tabled, shares, others = pool
        if tabled:
            row = _below(bits, tabled)
            if uniform(bits << np.uint64(32)) >= shares[row]:
                row = np.int64(others[row])
            return row, _place(outside, marks, row), np.int64(counts[row]) + np.int64(further[row])
        event = _below(bits, size + further_size)
        row = np.int64(rows[event]) if event < size else np.int64(further_rows[event - size])
        count = max(np.int64(counts[row]) + np.int64(further[row]), 1)
        return row if _kept(sampler, bits, count) else -1, _place(outside, marks, row), count

    def of_batch(sampler, outside, bits, slot, pool):
        row = np.int64(pool[2][_below(bits, pool[1])])
        place = _place(outside, pool[7], row)
        count = np.int64(pool[5][place])
        return row if _kept(sampler, bits, count) else -1, place, count

    def of_all(sampler, outside, bits, slot, pool):
        return slot, _place(outside, pool[7], slot), 1

    sources = {"items": of_items, "events": of_events, "batch": of_batch, "every": of_all}
    return sources[sampler.instance_class.source]


def pick_unseen(sampler, outside, key, slot, drawn, own, known, pool):
    """Draw on until there is a negative: its entry, its events, and the number of draws so far. For kernels only.

    The entry is _NONE where there is none. `own` is the entry of the positive, known = (set, its size), see above.
    """


@overload(pick_unseen, **_LITERAL)
def _pick_unseen(sampler, outside, key, slot, drawn, own, known, pool):
    attempts = 1 if sampler.instance_class.source == "every" else ATTEMPTS

    def unseen(sampler, outside, key, slot, drawn, own, known, pool):
        slots, bits = known
        for _ in range(attempts):
            row, entry, events = pick(sampler, outside, draw(key[0], key[1], drawn), slot, pool)
            drawn += 1
            if row >= 0 and entry != own and not _knows(slots, bits, row):
                return entry, events, drawn
        return _NONE, 1, drawn

    return unseen


def chance(sampler, events, count, candidates, mass):
    """How often a row with so many events was to be expected among `count` negatives. For kernels only."""


@overload(chance, **_LITERAL)
def _chance(sampler, events, count, candidates, mass):
    def of_items(sampler, events, count, candidates, mass):
        return count / candidates

    def of_events(sampler, events, count, candidates, mass):
        return count * events * bridge.keep(sampler, events) / mass

    def of_all(sampler, events, count, candidates, mass):
        return 1

    return {"items": of_items, "every": of_all}.get(sampler.instance_class.source, of_events)


# --- one list -------------------------------------------------------------------------------------------------------


def factors_of(outside, size, width, tables, entry):
    """The factors of an entry. For kernels only; tables = (item table, rows of the model, their records)."""


@overload(factors_of, **_LITERAL)
def _factors_of(outside, size, width, tables, entry):
    if not hasattr(size, "literal_value"):
        return None

    def factors_of(outside, size, width, tables, entry):
        if outside and entry < 0:
            return load(tables[1], ~entry, 0, width, size)
        return load(tables[0][0], entry, 0, width, size)

    return factors_of


def bias_of(outside, tables, entry):
    """The bias of an entry. For kernels only."""


@overload(bias_of, **_LITERAL)
def _bias_of(outside, tables, entry):
    def bias_of(outside, tables, entry):
        if outside and entry < 0:
            return tables[2][~entry, 0]
        return tables[0][1][entry, 0]

    return bias_of


def compare(listwise, outside, size, width, p, base, event, known, tables, pool, rules, values, room):
    """Find the negatives of an event and grade the list: how many there are, and the loss. For kernels only.

    room = (entries, scores, chances, slopes); entries[0] is the positive, and of a pairwise loss chances[t] is what its
    t-th candidate counts. rules = (key, negatives or trials, mass).
    """


@overload(compare, **_LITERAL)
def _compare(listwise, outside, size, width, p, base, event, known, tables, pool, rules, values, room):
    if not hasattr(size, "literal_value"):
        return None

    def pair(listwise, outside, size, width, p, base, event, known, tables, pool, rules, values, room):
        loss, sampler = values[0], values[3]
        entries, slopes = room[0], room[3]
        slots, bits = known[:2]
        own, drawn = entries[0], np.int64(0)
        positive = base + bias_of(outside, tables, own)
        positive += (p * factors_of(outside, size, width, tables, own)).total()
        for tries in range(1, rules[1] + 1):
            key = (rules[0], event)
            entry, _, drawn = pick_unseen(sampler, outside, key, 0, drawn, own, (slots, bits), pool)
            if entry == _NONE:
                break
            score = base + bias_of(outside, tables, entry)
            score += (p * factors_of(outside, size, width, tables, entry)).total()
            lead = positive - score
            slope = bridge.slope(loss, lead, _ONE)
            if slope != 0:
                counts = room[2][tries]
                entries[1] = entry
                slopes[0] = np.float32(counts * slope)
                slopes[1] = np.float32(-(counts * slope))
                return 1, counts * bridge.value(loss, lead, _ONE)
        return 0, 0.0

    def several(listwise, outside, size, width, p, base, event, known, tables, pool, rules, values, room):
        loss, sampler = values[0], values[3]
        entries, scores, chances, slopes = room
        slots, bits, candidates = known
        own, drawn, count = entries[0], np.int64(0), 0
        scores[0] = base + bias_of(outside, tables, own)
        scores[0] += (p * factors_of(outside, size, width, tables, own)).total()
        for slot in range(rules[1]):
            key = (rules[0], event)
            entry, events, drawn = pick_unseen(sampler, outside, key, slot, drawn, own, (slots, bits), pool)
            if entry == _NONE:
                continue
            count += 1
            score = base + bias_of(outside, tables, entry)
            score += (p * factors_of(outside, size, width, tables, entry)).total()
            entries[count], scores[count], chances[count] = entry, score, np.float32(events)
        if count == 0:
            return 0, 0.0
        for m in range(1, count + 1):
            chances[m] = np.float32(chance(sampler, np.int64(chances[m]), count, candidates, rules[2]))
        return count, bridge.grade(loss, scores, chances, slopes, count, pool[0])

    return several if listwise.literal_value else pair


def weigh_ranks(listwise, loss, trials, candidates, chances):
    """chances[t] = what a negative counts that is the candidate number t of a pairwise loss. For kernels only."""


@overload(weigh_ranks, **_LITERAL)
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


def train_run(
    listwise, outside, size, width, memory, biases, span, events, given, tables, forms, movable, values, room
):
    """Train on the events from span[0] to span[1], which are of one user; returns their loss. For kernels only."""


@overload(train_run, prefer_literal=True, jit_options={"error_model": "numpy"})
def _train_run(
    listwise, outside, size, width, memory, biases, span, events, given, tables, forms, movable, values, room
):
    if not hasattr(size, "literal_value"):
        return None
    foresee = values.types[3].instance_class.source != "every"

    def run(listwise, outside, size, width, memory, biases, span, events, given, tables, forms, movable, values, room):
        users, items, weights = borrow(events[0]), borrow(events[1]), borrow(events[2])
        known_starts, known_rows, allow_seen = given
        user_table = borrow(tables[0]), borrow(tables[1]), borrow(tables[2]), borrow(tables[3])
        item_table = borrow(tables[4]), borrow(tables[5]), borrow(tables[6]), borrow(tables[7])
        item_tables = item_table, borrow(tables[8]), borrow(tables[9])
        pool_form, rules, mean = forms
        known_items, drawn_rows, more_rows, counts, further, marks, shares, others = pool_form
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
        )
        loss, solver, penalty, sampler = values
        slots, entries, scores, chances, slopes = (
            borrow(room[0]),
            borrow(room[1]),
            borrow(room[2]),
            borrow(room[3]),
            borrow(room[4]),
        )
        first, last = span
        u = np.int64(users[first])
        if allow_seen:
            bits, distinct = _learn_known(slots, borrow(known_rows), 0, 0)
            candidates = known_items - 1
        else:
            bits, distinct = _learn_known(slots, borrow(known_rows), known_starts[u], known_starts[u + 1])
            candidates = known_items - distinct
        weigh_ranks(listwise, loss, rules[1], max(candidates, 1), chances)
        base = mean + user_table[1][u, 0]
        lost = 0.0
        for event in range(first, last):
            if foresee and not outside:
                entry = pick(sampler, outside, draw(rules[0], event + _AHEAD, 0), 0, pool)[1]
                prefetch_row(item_table[0], entry, width)
                prefetch(item_table[1], entry)
                if event + _AHEAD < last:
                    prefetch_row(item_table[0], np.int64(items[event + _AHEAD]), width)
                    prefetch(item_table[1], np.int64(items[event + _AHEAD]))
            p = load(user_table[0], u, 0, width, size)
            entries[0] = np.int64(items[event])
            count, loss_of_list = compare(
                listwise,
                outside,
                size,
                width,
                p,
                base,
                event,
                (slots, bits, candidates),
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
                q = factors_of(outside, size, width, item_tables, entry)
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
def tabulate(sampler: type) -> Any:
    """The kernel that makes a sampler's alias table."""
    return _tabulate(stamp(sampler))


def _tabulate(stamp):
    @jit(stamp)
    def tabulate(sampler, counts, further, shares, others):
        """Row r keeps a share of its place and leaves the rest to another: a draw is a place and who it belongs to.

        Returns the sum of ``count * keep(count)``. Reference: Vose (1991), A Linear Algorithm for Generating Random
        Numbers with a Given Distribution.
        """
        stamp  # noqa: B018
        size, total = shares.size, 0.0
        weights, poor, rich = np.zeros(size), np.empty(size, np.int64), np.empty(size, np.int64)
        for row in range(size):
            count = np.int64(counts[row]) + np.int64(further[row])
            if count > 0:
                weights[row] = count * bridge.keep(sampler, count)
                total += weights[row]
            shares[row], others[row] = 1, row
        poor_count = rich_count = 0
        for row in range(size):
            weights[row] *= size / total
            if weights[row] < 1:
                poor[poor_count] = row
                poor_count += 1
            else:
                rich[rich_count] = row
                rich_count += 1
        while poor_count > 0 and rich_count > 0:
            poor_count -= 1
            less, more = poor[poor_count], rich[rich_count - 1]
            shares[less], others[less] = weights[less], more
            weights[more] -= 1 - weights[less]
            if weights[more] < 1:
                rich_count -= 1
                poor[poor_count] = more
                poor_count += 1
        return total

    return tabulate


@functools.cache
def epoch(shape: Shape, classes: tuple[type, ...], listwise: bool, outside: bool, parallel: bool) -> Any:
    """The kernel of one pass over runs of events, `outside` where rows beyond the working set are read."""
    key = stamp(*classes, parallel=parallel)
    return _epoch(*shape, int(listwise), int(outside), parallel, key and f"{key}|{listwise}")


def _epoch(size, width, memory, biases, listwise, outside, parallel, stamp):
    @jit(stamp, parallel)
    def epoch(
        runs, events, given, tables, pool, rules, mean, movable, loss, solver, penalty, sampler, sizes, workers, sums
    ):
        """Train on some runs of events; sums[c] becomes the loss of a chunk of them, each before its own step.

        runs = (order, bounds, first, last): run order[n], for n from first to last, is events bounds[r] to
        bounds[r + 1], all of one user. events = (users, items, weights). given = (starts, rows, allow_seen): user u
        knows rows[starts[u]:starts[u + 1]]. tables are the users' and the items', each with its origins, and the
        model's items; pool and rules are as above, sizes those of the set and of the longest list.
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
                            outside,
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
