"""Open addressing: from an id to its row number.

A table is an int64 array of pairs ``(key, row + 1)``, a power of two of them; ``row + 1 == 0`` marks a free pair and
-1 one whose id was taken back. Probing is linear. Int ids are their own keys. A text id has the hash of its UTF-8
bytes as key, and equal keys are settled by comparing the bytes, which are kept end to end in `blob`, row `r` at
``blob[offsets[r]:offsets[r + 1]]``.

A table that fills up is never rebuilt at once: a table of twice the size takes over, and each later insertion carries
`MIGRATION` pairs of the old table across. Meanwhile an id that the new table lacks is looked up in the old one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.rng import mix

MIGRATION = 8  # pairs carried per insertion: at a load of 1/2 or less, more than the 2 that would just do
_AHEAD = 12  # keys between a prefetch and its use


@njit
def home(mask, key):
    """The first slot to try for a key: a multiplicative hash, folded before and after so that all bits count."""
    bits = np.uint64(key)
    bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((bits ^ (bits >> np.uint64(32))) & np.uint64(mask))


@njit
def last_slot(slots):
    """The number of the last slot of a table, which is the mask of slot numbers; -1 where there is no table."""
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


# Tables, texts and bounds are borrowed from here on; a table comes with its mask.


@njit
def seek(slots, mask, slot, key):
    """From `slot` on, the first slot that holds `key` or is free."""
    while True:
        row = slots[2 * slot + 1]
        if row == 0 or (slots[2 * slot] == key and row > 0):
            return slot
        slot = (slot + 1) & mask


@njit
def find(slots, mask, older, older_mask, key):
    """The row of an int key in the table, or in the one that it is taking over from; -1 where there is none."""
    row = slots[2 * seek(slots, mask, home(mask, key), key) + 1] - 1
    if row < 0 and older_mask >= 0:
        row = older[2 * seek(older, older_mask, home(older_mask, key), key) + 1] - 1
    return row


@njit
def _find_text(slots, mask, key, blob, offsets, text, bounds, position):
    slot = seek(slots, mask, home(mask, key), key)
    while slots[2 * slot + 1] > 0:
        row = slots[2 * slot + 1] - 1
        if _same_text(blob, offsets, row, text, bounds, position):
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
    """Take a row out of a table, if it is there; the slot stays taken so that later probes pass over it."""
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
        """rows[p] = the row of the int id keys[p], or -1; returns how many are unknown.

        The home slots of all keys are read first, without a branch that would often be guessed wrong.
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
    def lookup_text(slots, older, keys, text, bounds, blob, offsets, rows):
        """The same for text ids with hashes `keys` and bytes ``text[bounds[p]:bounds[p + 1]]``."""
        stamp  # noqa: B018
        table, mask, old, old_mask = borrow(slots), last_slot(slots), borrow(older), last_slot(older)
        known, starts, given, cuts = borrow(blob), borrow(offsets), borrow(text), borrow(bounds)
        unknown = 0
        for position in range(keys.size):
            row = _find_text(table, mask, keys[position], known, starts, given, cuts, position)
            if row < 0 and old_mask >= 0:
                row = _find_text(old, old_mask, keys[position], known, starts, given, cuts, position)
            rows[position] = row
            unknown += row < 0
        return unknown

    return lookup_text


def _number(stamp):
    @jit(stamp)
    def number(keys, text, bounds, rows, known, scratch, first, position, new):
        """Give the unknown ids of a batch (rows -1) numbers from `known` on, in order of first appearance.

        `scratch` is a table of the `new` ids so far, and ``first[n]`` the position where new id n appears. Goes on from
        `position` until all are done or `first` is full; returns the position reached and the new ids so far.
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


def _insert(stamp):
    @jit(stamp)
    def insert(slots, older, progress, keys, row):
        """Add new keys as rows `row`, `row` + 1, ..., those that are not in yet; carries old pairs across.

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
        """Take back the keys of rows `row`, `row` + 1, ..., from both tables; see insert."""
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
        """keys[p] = a 64-bit hash of the bytes ``text[bounds[p]:bounds[p + 1]]``."""
        stamp  # noqa: B018
        for position in range(keys.size):
            state = np.uint64(bounds[position + 1] - bounds[position])
            for i in range(bounds[position], bounds[position + 1]):
                state = (state ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
            keys[position] = np.int64(mix(state))

    return hash_text


lookup, lookup_text, hash_text = _lookup(stamp()), _lookup_text(stamp()), _hash_text(stamp())
number, insert, remove = _number(stamp()), _insert(stamp()), _remove(stamp())
