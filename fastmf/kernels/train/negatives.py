"""Sampling of negatives, and membership tests for items that a user already knows.

A draw is a hash of (key of the pass, index of the event, number of the draw), see rng.py, which the sampler maps to an
item row. Known items are recognised exactly, by a hash set or a bitmap.

Rows are those of the model. The *entry* of a row is its index in the working set, ``marks[row] - 1``, or ``~row`` if it
is outside; where the working set is the whole table, the entry is the row itself.

The `scope`, a compile-time constant, says which rows are drawn from:

=========  ==============================================================================
ALL        all of the model's, which are the working set
EXTERNAL   all of the model's, some of which are outside the working set and only read
BLOCK      those of one band of items: what no other worker touches meanwhile
=========  ==============================================================================
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.rng import draw, uniform

ATTEMPTS = 64  # maximum number of draws for one negative; then the list is one shorter
NONE = -(1 << 62)  # the entry of a negative that was not found
ROOM = 4  # slots per row of a hash set: a load of at most 1/4, so that collisions are rare
ALL, EXTERNAL, BLOCK = 0, 1, 2
LITERAL = {"prefer_literal": True, "jit_options": {"error_model": "numpy", "forceinline": True}}

# --- known items of a user -------------------------------------------------------------------------------------------


@njit
def _home(row, bits):
    return np.int64(((np.uint64(row) * np.uint64(2654435769)) & np.uint64(0xFFFFFFFF)) >> np.uint64(32 - bits))


@njit
def bits_for(count):
    """The base-2 logarithm of the capacity of a hash set for `count` rows."""
    bits = 1
    while (1 << bits) < ROOM * count:
        bits += 1
    return bits


@njit
def fill(slots, base, bits, rows, first, last):
    """Insert rows[first:last] into the hash set slots[base:]; returns the number of distinct rows."""
    distinct = 0
    for n in range(first, last):
        place = _home(rows[n], bits)
        while slots[base + place] != -1 and slots[base + place] != rows[n]:
            place = (place + 1) & ((1 << bits) - 1)
        distinct += slots[base + place] == -1
        slots[base + place] = rows[n]
    return distinct


@njit
def _in_set(slots, base, bits, row):
    place = _home(row, bits)
    while slots[base + place] != -1:
        if slots[base + place] == row:
            return True
        place = (place + 1) & ((1 << bits) - 1)
    return False


def _prepare(stamp):
    @jit(stamp)
    def prepare(starts, rows, bases, bits, distinct):
        """Build one hash set of known items per user; returns the slots of all sets, concatenated.

        The known rows of user u are rows[starts[u]:starts[u + 1]]. Writes the offset (`bases`), log2 capacity (`bits`)
        and size (`distinct`) of each set. An empty set is appended at the end.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        total = 0
        for user in range(bits.size):
            bits[user] = bits_for(starts[user + 1] - starts[user])
            bases[user] = total
            total += 1 << bits[user]
        slots = np.full(total + 2, -1, np.int32)
        for user in range(bits.size):
            distinct[user] = fill(slots, bases[user], bits[user], rows, starts[user], starts[user + 1])
        return slots

    return prepare


prepare = _prepare(stamp())


def recall(scope, seen, user, run, words):
    """What a user knows, for `pick_unseen`, and how many rows that is. For kernels only.

    `seen` is a Seen; run = (items, first, last), the user's choices of a block; words are zero.
    """


@overload(recall, **LITERAL)
def _recall(scope, seen, user, run, words):
    def from_sets(scope, seen, user, run, words):
        slots = borrow(seen.slots)
        if seen.allowed:
            return (slots, seen.slots.size - 2, np.int64(1)), np.int64(0)
        return (slots, seen.bases[user], np.int64(seen.bits[user])), np.int64(seen.distinct[user])

    def marked(scope, seen, user, run, words):
        rows, first, last = _chosen(scope, seen, user, run)
        marks, distinct = borrow(words), np.int64(0)
        for n in range(first, last):
            word, bit = rows[n] >> 6, np.int64(1) << (rows[n] & 63)
            distinct += (marks[word] & bit) == 0
            marks[word] = marks[word] | bit
        return (marks,), distinct

    return from_sets if scope.literal_value == EXTERNAL else marked


def _chosen(scope, seen, user, run):
    """Where the rows are that a user knows: (rows, first, last)."""


@overload(_chosen, **LITERAL)
def _chosen_of(scope, seen, user, run):
    def by_user(scope, seen, user, run):
        first = seen.starts[user]
        return borrow(seen.rows), first, first if seen.allowed else seen.starts[user + 1]

    def by_run(scope, seen, user, run):
        return run[0], run[1], run[1] if seen.allowed else run[2]

    return by_run if scope.literal_value == BLOCK else by_user


def forget(scope, seen, user, run, words):
    """Make the words zero again. For kernels only."""


@overload(forget, **LITERAL)
def _forget(scope, seen, user, run, words):
    def nothing(scope, seen, user, run, words):
        return None

    def clear(scope, seen, user, run, words):
        rows, first, last = _chosen(scope, seen, user, run)
        marks = borrow(words)
        for n in range(first, last):
            marks[rows[n] >> 6] = 0

    return nothing if scope.literal_value == EXTERNAL else clear


def knows(scope, known, row):
    """Whether the user knows the item row. For kernels only."""


@overload(knows, **LITERAL)
def _knows(scope, known, row):
    def in_set(scope, known, row):
        return _in_set(known[0], known[1], known[2], row)

    def is_marked(scope, known, row):
        return (known[0][row >> 6] >> (row & 63)) & 1

    return in_set if scope.literal_value == EXTERNAL else is_marked


# --- one draw -------------------------------------------------------------------------------------------------------


@njit
def _below(bits, count):
    """A uniform integer in [0, count) from the upper half of 64 random bits."""
    return np.int64(((bits >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32))


@njit
def _kept(sampler, bits, count):
    """Whether the sampler accepts the draw, decided by the lower half of the bits."""
    return uniform(bits << np.uint64(32)) < bridge.acceptance(sampler, max(count, 1))


@njit
def _tabled(bits, first, size, shares, others):
    """Draw an index in [first, first + size) from an alias table, see `tabulate`."""
    place = first + _below(bits, size)
    return place if uniform(bits << np.uint64(32)) < shares[place] else first + np.int64(others[place])


@njit
def _place(scope, marks, row):
    """The entry of a row."""
    if scope != EXTERNAL:
        return row
    return np.int64(marks[row]) - 1 if marks[row] else ~row


def pick(sampler, scope, bits, slot, pool):
    """Map 64 random bits to a draw: (row, its entry, its number of events). For kernels only.

    The row is -1 where the sampler rejects it. `pool` is a Pool, its arrays borrowed.
    """


@overload(pick, **LITERAL)
def _pick(sampler, scope, bits, slot, pool):
    if not hasattr(scope, "literal_value"):
        return None

    def of_band(sampler, scope, bits, slot, pool):
        first, size = pool.first, pool.size
        place = _tabled(bits, first, size, pool.shares, pool.others) if pool.tabled else first + _below(bits, size)
        row = np.int64(pool.members[place])
        return row, row, np.int64(pool.counts[row]) + np.int64(pool.further[row]) if pool.tabled else 1

    def of_items(sampler, scope, bits, slot, pool):
        row = _below(bits, pool.items)
        return row, _place(scope, pool.marks, row), 1

    def of_events(sampler, scope, bits, slot, pool):
        events = pool.events
        if pool.tabled:
            row = _tabled(bits, 0, pool.tabled, pool.shares, pool.others)
            return row, _place(scope, pool.marks, row), np.int64(pool.counts[row]) + np.int64(pool.further[row])
        event = _below(bits, events + pool.arrived)
        row = np.int64(pool.rows[event]) if event < events else np.int64(pool.arrived_rows[event - events])
        count = max(np.int64(pool.counts[row]) + np.int64(pool.further[row]), 1)
        return row if _kept(sampler, bits, count) else -1, _place(scope, pool.marks, row), count

    def of_batch(sampler, scope, bits, slot, pool):
        row = np.int64(pool.rows[_below(bits, pool.events)])
        place = _place(scope, pool.marks, row)
        count = np.int64(pool.counts[place])
        return row if _kept(sampler, bits, count) else -1, place, count

    def of_all(sampler, scope, bits, slot, pool):
        return slot, _place(scope, pool.marks, slot), 1

    sources = {"items": of_items, "events": of_events, "batch": of_batch, "every": of_all}
    return of_band if scope.literal_value == BLOCK else sources[sampler.instance_class.source]


def pick_unseen(sampler, scope, key, slot, drawn, own, known, pool):
    """Draw until an unknown item is found: (its entry, its number of events, draws so far). For kernels only.

    The entry is NONE after `ATTEMPTS` failed draws. `own` is the entry of the positive, `known` as returned by
    `recall`.
    """


@overload(pick_unseen, **LITERAL)
def _pick_unseen(sampler, scope, key, slot, drawn, own, known, pool):
    attempts = 1 if sampler.instance_class.source == "every" else ATTEMPTS

    def unseen(sampler, scope, key, slot, drawn, own, known, pool):
        for _ in range(attempts):
            row, entry, events = pick(sampler, scope, draw(key[0], key[1], drawn), slot, pool)
            drawn += 1
            if row >= 0 and entry != own and not knows(scope, known, row):
                return entry, events, drawn
        return NONE, 1, drawn

    return unseen


def chance(sampler, events, count, candidates, mass):
    """The expected number of occurrences of a row with `events` events among `count` negatives. For kernels only."""


@overload(chance, **LITERAL)
def _chance(sampler, events, count, candidates, mass):
    def of_items(sampler, events, count, candidates, mass):
        return count / candidates

    def of_events(sampler, events, count, candidates, mass):
        return count * events * bridge.acceptance(sampler, events) / mass

    def of_all(sampler, events, count, candidates, mass):
        return 1

    return {"items": of_items, "every": of_all}.get(sampler.instance_class.source, of_events)


# --- alias tables ----------------------------------------------------------------------------------------------------


@functools.cache
def tabulate(sampler: type) -> Any:
    """The kernel that builds a sampler's alias table."""
    return _tabulate(stamp(sampler))


def _tabulate(stamp):
    @jit(stamp)
    def tabulate(sampler, counts, shares, others):
        """Build an alias table (Walker, Vose): slot r yields row r with probability shares[r], else others[r].

        Returns the sum of ``count * acceptance(count)`` over all rows; if it is 0, the distribution is uniform.

        Reference: Vose (1991), A Linear Algorithm for Generating Random Numbers with a Given Distribution.
        """
        stamp  # noqa: B018
        size, total = shares.size, 0.0
        weights, poor, rich = np.zeros(size), np.empty(size, np.int64), np.empty(size, np.int64)
        for row in range(size):
            count = np.int64(counts[row])
            if count > 0:
                weights[row] = count * bridge.acceptance(sampler, count)
                total += weights[row]
            shares[row], others[row] = 1, row
        if total == 0:
            return total
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
