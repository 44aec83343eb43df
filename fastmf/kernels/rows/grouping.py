"""Grouping events by row: local numbering, counting sort, and the block layout of a fit. All O(number of events)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow
from fastmf.kernels.core.bridge import jit, stamp


def _localize(stamp):
    @jit(stamp)
    def localize(rows, marks, unique, local):
        """Number the distinct `rows` in order of first appearance.

        Writes ``unique[l]``, the row with local number l, and `local`, such that ``unique[local[e]] == rows[e]``.
        `marks` has an entry for every row of the model; it must be zero, and is zero again on return. Returns the
        number of distinct rows.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        count = 0
        for event in range(rows.size):
            row = rows[event]
            if marks[row] == 0:
                unique[count] = row
                count += 1
                marks[row] = count
            local[event] = marks[row] - 1
        for number in range(count):
            marks[unique[number]] = 0
        return count

    return localize


def _sum_up(stamp):
    @jit(stamp)
    def sum_up(values, bounds, tails, sums, tail_sums):
        """Segment sums: sums[n] is that of values[bounds[n]:bounds[n + 1]], tail_sums[n] that of its last tails[n]."""
        stamp  # noqa: B018
        for n in range(sums.size):
            total, middle = 0.0, bounds[n + 1] - max(tails[n], 0)
            for k in range(bounds[n], middle):
                total += np.float64(values[k])
            tail = 0.0
            for k in range(middle, bounds[n + 1]):
                tail += np.float64(values[k])
            sums[n], tail_sums[n] = total + tail, tail

    return sum_up


def _order_by(stamp):
    @jit(stamp)
    def order_by(keys, count, order, starts):
        """Stable counting sort: ``keys[order]`` is ascending, and key k is at ``order[starts[k]:starts[k + 1]]``."""
        stamp  # noqa: B018
        starts[:] = 0
        for event in range(keys.size):
            starts[keys[event] + 1] += 1
        for key in range(count):
            starts[key + 1] += starts[key]
        for event in range(keys.size):
            key = keys[event]
            order[starts[key]] = event
            starts[key] += 1
        for key in range(count, 0, -1):
            starts[key] = starts[key - 1]
        starts[0] = 0

    return order_by


@njit
def _block(user_band, item_band, bands):
    """The number of a block, ``(item_band - user_band) % bands * bands + user_band``: strata follow one another."""
    apart = np.int64(item_band) - np.int64(user_band)
    return (apart if apart >= 0 else apart + bands) * bands + user_band


def _count_rows(stamp):
    @jit(stamp)
    def count_rows(rows, counts):
        """Add the number of events of each row r to counts[r]."""
        stamp  # noqa: B018
        for event in range(rows.size):
            counts[rows[event]] += 1

    return count_rows


def _to_bands(stamp):
    @jit(stamp)
    def to_bands(events, band, places, sorted_events):
        """Copy events to the bands of their users, in order: the next event of band b goes to places[b].

        Both tables are (users, items, values, weights); the weights of both may be empty.
        """
        stamp  # noqa: B018
        users, items, values, weights = events
        new_users, new_items = borrow(sorted_events[0]), borrow(sorted_events[1])
        new_values, new_weights = borrow(sorted_events[2]), borrow(sorted_events[3])
        for event in range(users.size):
            at = places[band[users[event]]]
            places[band[users[event]]] = at + 1
            new_users[at], new_items[at], new_values[at] = users[event], items[event], values[event]
            if weights.size > 0:
                new_weights[at] = weights[event]

    return to_bands


def _to_rows(stamp):
    @jit(stamp)
    def to_rows(first, last, events, places, sorted_events):
        """Copy events `first` to `last` to the places of their users: the next event of user u goes to places[u].

        events = (users, items, values, weights), sorted_events the same without users; the weights may be empty.
        """
        stamp  # noqa: B018
        users, items, values, weights = events
        new_items, new_values, new_weights = (
            borrow(sorted_events[0]),
            borrow(sorted_events[1]),
            borrow(sorted_events[2]),
        )
        next_of = borrow(places)
        for event in range(first, last):
            user = np.int64(users[event])
            at = next_of[user]
            next_of[user] = at + 1
            new_items[at], new_values[at] = items[event], values[event]
            if weights.size > 0:
                new_weights[at] = weights[event]

    return to_rows


def _count_blocks(stamp):
    @jit(stamp)
    def count_blocks(starts, users, items, user_band, item_band, bands, counts):
        """Add the number of events of users[0] to users[1] in each block b to counts[b]; see `arrange`."""
        stamp  # noqa: B018
        for user in range(users[0], users[1]):
            for event in range(starts[user], starts[user + 1]):
                counts[_block(user_band[user], item_band[items[event]], bands)] += 1

    return count_blocks


def _arrange(stamp):
    @jit(stamp)
    def arrange(starts, users, events, user_band, item_band, bands, in_flight, bounds, arranged):
        """Write the events of users[0] to users[1] (whole user bands) block by block, sorted by user within a block.

        events = (items, values, weights) are sorted by user: those of user u begin at starts[u]. The output
        `arranged`, (users, items, values, weights), has block b from ``bounds[b]`` on. With ``in_flight > 1`` a block
        is cut into `in_flight` parts of equal length, which are interleaved: the first event of each part, then the
        second of each, and so on; the remainder follows at the end.
        """
        stamp  # noqa: B018
        items, values, weights = events
        new_users, new_items = borrow(arranged[0]), borrow(arranged[1])
        new_values, new_weights = borrow(arranged[2]), borrow(arranged[3])
        user_bands, item_bands = borrow(user_band), borrow(item_band)
        part, stride = np.zeros(bands * bands, np.int64), np.full(bands * bands, in_flight)
        place, left = bounds[:-1].copy(), (bounds[1:] - bounds[:-1]) // in_flight  # of the current part
        for user in range(users[0], users[1]):
            for event in range(starts[user], starts[user + 1]):
                item = items[event]
                block = _block(user_bands[user], item_bands[item], bands)
                if left[block] == 0:  # the part is full: continue with the next part, or with the remainder
                    part[block] += 1
                    place[block], left[block] = (
                        bounds[block] + part[block],
                        (bounds[block + 1] - bounds[block]) // in_flight,
                    )
                    if part[block] == in_flight or left[block] == 0:
                        place[block] = bounds[block] + left[block] * in_flight
                        left[block], stride[block] = in_flight, 1
                at = place[block]
                new_users[at], new_items[at] = user, item
                new_values[at], new_weights[at] = values[event], weights[event]
                place[block] = at + stride[block]
                left[block] -= 1

    return arrange


_localize_kernel, _order_kernel = _localize(stamp()), _order_by(stamp())
count_rows, to_bands, to_rows = _count_rows(stamp()), _to_bands(stamp()), _to_rows(stamp())
count_blocks, arrange = _count_blocks(stamp()), _arrange(stamp())
sum_up = _sum_up(stamp())


class Numbering(NamedTuple):
    """A numbering of rows in order of first appearance, possibly started by :func:`localize`.

    Attributes
    ----------
    marks : int32 array
        The number of each row of the model plus 1; 0 for rows without a number, and for all rows before and after use.
    rows : int32 array
        ``rows[n]`` is the row with number n.
    count : int64[1]
        The number of rows numbered so far.
    """

    marks: np.ndarray
    rows: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, marks: np.ndarray, room: int) -> Numbering:
        """A numbering that begins with `rows`, with capacity for `room` more; writes `marks`."""
        known = np.empty(rows.size + room, np.int32)
        known[: rows.size] = rows
        marks[rows] = np.arange(1, rows.size + 1, dtype=np.int32)
        return cls(marks, known, np.array([rows.size]))

    def end(self) -> np.ndarray:
        """The numbered rows; resets `marks` to zero."""
        rows = self.rows[: self.count[0]]
        self.marks[rows] = 0
        return rows


def localize(rows: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows in order of first appearance, and the index among them of each event's row (both int32)."""
    unique, local = np.empty(rows.size, np.int32), np.empty(rows.size, np.int32)
    count = _localize_kernel(rows, marks, unique, local)
    return unique[:count], local


def order_by(keys: np.ndarray, count: int, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The stable order that sorts `keys`, integers in [0, count), and the start of each key in it (int64[count + 1]).

    The order is int64, or written to the array given.
    """
    order, starts = np.empty(keys.size, np.int64) if order is None else order, np.empty(count + 1, np.int64)
    _order_kernel(keys, count, order, starts)
    return order, starts
