"""Hash tables from ids to row numbers: open addressing with linear probing, grown incrementally.

A table is an int64 array of a power of two of slots ``(key, row + 1)``; ``row + 1`` is 0 in a free slot and -1 in a
tombstone, the slot of a removed id. An int id is its own key. The key of a text id is a hash of its UTF-8 bytes; equal
keys are resolved by comparing the bytes, which are concatenated in `blob`: those of row r are
``blob[offsets[r]:offsets[r + 1]]``.

A full table is not rehashed at once: insertions go to a new table of twice the size, and each insertion also migrates
`MIGRATION` slots of the old table. Until that is complete, ids not found in the new table are looked up in the old one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.rng import mix

MIGRATION = 8  # slots migrated per insertion; at a load of at most 1/2, 2 would just suffice
_AHEAD = 12  # keys between a prefetch and its use


@njit
def home(mask, key):
    """The first slot to probe for a key: a multiplicative hash, with high and low halves folded before and after."""
    bits = np.uint64(key)
    bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((bits ^ (bits >> np.uint64(32))) & np.uint64(mask))


@njit
def last_slot(slots):
    """The index of the last slot of a table, which is the mask of slot indices; -1 for an empty array (no table)."""
    return np.int64(slots.size // 2 - 1)


@njit
def _same_text(blob, offsets, row, text, bounds, position):
    start, begin = offsets[row], bounds[position]
    length = bounds[position + 1] - begin
    if offsets[row + 1] - start != length:
        return False
    for i in range(length):
        if blob[start + i] != text[begin + i]:
            return False
    return True


# From here on tables, texts and bounds are borrowed arrays, and each table is passed with its mask.


@njit
def seek(slots, mask, slot, key):
    """The first slot at or after `slot` that holds `key` or is free."""
    while True:
        row = slots[2 * slot + 1]
        if row == 0 or (slots[2 * slot] == key and row > 0):
            return slot
        slot = (slot + 1) & mask


@njit
def find(slots, mask, older, older_mask, key):
    """The row of an int key in the table or, during migration, in the older one; -1 if absent."""
    row = slots[2 * seek(slots, mask, home(mask, key), key) + 1] - 1
    if row < 0 and older_mask >= 0:
        row = older[2 * seek(older, older_mask, home(older_mask, key), key) + 1] - 1
    return row


@njit
def _find_text(slots, mask, key, blob, offsets, known, text, bounds, position):
    slot = seek(slots, mask, home(mask, key), key)
    while slots[2 * slot + 1] > 0:
        row = slots[2 * slot + 1] - 1
        # Another thread may have added ids, beyond the text that this call was given, see log.read.
        if row < known and _same_text(blob, offsets, row, text, bounds, position):
            return row
        slot = seek(slots, mask, (slot + 1) & mask, key)
    return np.int64(-1)


@njit
def _put(slots, mask, key, row):
    slot = home(mask, key)
    while slots[2 * slot + 1] != 0:
        slot = (slot + 1) & mask
    slots[2 * slot] = key
    slots[2 * slot + 1] = row + 1


@njit
def _bury(slots, mask, key, row):
    """Replace the slot of a row by a tombstone, if the row is in the table, so that later probes continue past it."""
    if mask < 0:
        return
    slot = home(mask, key)
    while slots[2 * slot + 1] != 0:
        if slots[2 * slot + 1] == row + 1:
            slots[2 * slot + 1] = -1
            return
        slot = (slot + 1) & mask


def _lookup(stamp):
    @jit(stamp)
    def lookup(slots, older, keys, rows):
        """Write rows[p], the row of the int id keys[p] or -1 if unknown; returns the number of unknown ids.

        A first branch-free pass probes the home slot of every key, since branches would often be mispredicted.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        table, mask, old, old_mask = borrow(slots), last_slot(slots), borrow(older), last_slot(older)
        given, found = borrow(keys), borrow(rows)
        for position in range(keys.size):
            slot = home(mask, given[position])
            row = table[2 * slot + 1]
            found[position] = row - 1 if (table[2 * slot] == given[position]) & (row > 0) else -1
        unknown = 0
        for position in range(keys.size):
            if found[position] < 0:
                row = find(table, mask, old, old_mask, given[position])
                found[position] = row
                unknown += row < 0
        return unknown

    return lookup


def _lookup_text(stamp):
    @jit(stamp)
    def lookup_text(slots, older, keys, text, bounds, blob, offsets, known, rows):
        """As `lookup`, for text ids with hashes `keys` and bytes ``text[bounds[p]:bounds[p + 1]]``.

        Rows from `known` on are ignored.
        """
        stamp  # noqa: B018
        table, mask, old, old_mask = borrow(slots), last_slot(slots), borrow(older), last_slot(older)
        texts, starts, given, cuts = borrow(blob), borrow(offsets), borrow(text), borrow(bounds)
        unknown = 0
        for position in range(keys.size):
            row = _find_text(table, mask, keys[position], texts, starts, known, given, cuts, position)
            if row < 0 and old_mask >= 0:
                row = _find_text(old, old_mask, keys[position], texts, starts, known, given, cuts, position)
            rows[position] = row
            unknown += row < 0
        return unknown

    return lookup_text


def _number(stamp):
    @jit(stamp)
    def number(keys, text, bounds, rows, known, scratch, first, position, new):
        """Number the unknown ids of a batch (where ``rows[p] == -1``) from `known` on, in order of first appearance.

        `scratch` is a hash table of the `new` ids found so far, and ``first[n]`` the position of the first appearance
        of new id n. Starts at `position` and stops at the end or when `first` is full; returns the position reached and
        the number of new ids so far. Writes `rows`, `scratch` and `first`.
        """
        stamp  # noqa: B018
        table, mask, given, cuts, seen = (
            borrow(scratch),
            last_slot(scratch),
            borrow(text),
            borrow(bounds),
            borrow(first),
        )
        while position < keys.size:
            if position + _AHEAD < keys.size:
                prefetch(table, 2 * home(mask, keys[position + _AHEAD]))
            if rows[position] < 0:
                slot = home(mask, keys[position])
                while True:
                    n = table[2 * slot + 1] - 1
                    if n < 0:
                        break
                    if table[2 * slot] == keys[position]:
                        if bounds.size == 0 or _same_text(given, cuts, seen[n], given, cuts, position):
                            break
                    slot = (slot + 1) & mask
                if n < 0:
                    if new == first.size:
                        break
                    table[2 * slot] = keys[position]
                    table[2 * slot + 1] = new + 1
                    first[new] = position
                    n = new
                    new += 1
                rows[position] = known + n
            position += 1
        return position, new

    return number


def _number_close(stamp):
    @jit(stamp)
    def number_close(keys, low, rows, known, marks, first):
        """As `number`, for int ids close together: marks[id - low] is 1 + the number of a new id; zero before."""
        stamp  # noqa: B018
        given, found, seen, new = borrow(keys), borrow(rows), borrow(marks), 0
        for position in range(keys.size):
            if found[position] < 0:
                n = seen[given[position] - low]
                if n == 0:
                    first[new] = position
                    new += 1
                    n = np.int32(new)
                    seen[given[position] - low] = n
                found[position] = known + n - 1
        return new

    return number_close


def _insert(stamp):
    @jit(stamp)
    def insert(slots, older, progress, keys, row):
        """Insert new keys as rows `row`, `row` + 1, ..., unless inserted already; migrate slots of the older table.

        progress = (the next row to add, the cursor in the old table, the pairs that are taken).
        """
        stamp  # noqa: B018
        table, mask, cursor = borrow(slots), last_slot(slots), progress[1]
        for position in range(max(progress[0] - row, 0), keys.size):
            _put(table, mask, keys[position], row + position)
            for _ in range(MIGRATION):
                if 2 * cursor < older.size:
                    if older[2 * cursor + 1] > 0:
                        _put(table, mask, older[2 * cursor], older[2 * cursor + 1] - 1)
                    cursor += 1
        end = row + keys.size
        progress[2] += max(end - progress[0], 0)
        progress[0], progress[1] = max(progress[0], end), cursor

    return insert


def _remove(stamp):
    @jit(stamp)
    def remove(slots, older, progress, keys, row):
        """Remove the keys of rows `row`, `row` + 1, ... from both tables; `progress` as in `insert`."""
        stamp  # noqa: B018
        table, mask, old, old_mask = borrow(slots), last_slot(slots), borrow(older), last_slot(older)
        for position in range(keys.size):
            _bury(table, mask, keys[position], row + position)
            _bury(old, old_mask, keys[position], row + position)
        progress[0] = min(progress[0], row)

    return remove


def _hash_text(stamp):
    @jit(stamp)
    def hash_text(text, bounds, keys):
        """Write keys[p], a 64-bit hash of the bytes ``text[bounds[p]:bounds[p + 1]]``.

        In the style of FNV-1a, seeded with the length; finalised as in SplitMix64.
        """
        stamp  # noqa: B018
        for position in range(keys.size):
            state = np.uint64(bounds[position + 1] - bounds[position])
            for i in range(bounds[position], bounds[position + 1]):
                state = (state ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
            keys[position] = np.int64(mix(state))

    return hash_text


lookup, lookup_text, hash_text = _lookup(stamp()), _lookup_text(stamp()), _hash_text(stamp())
number, number_close = _number(stamp()), _number_close(stamp())
insert, remove = _insert(stamp()), _remove(stamp())
