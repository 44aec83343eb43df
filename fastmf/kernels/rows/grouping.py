"""Grouping: which rows a batch names, and its events row by row. Everything is O(events)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow, prefetch
from fastmf.kernels.core.bridge import jit, stamp

_AHEAD = 16  # events between a prefetch and its use


def _localize(stamp):
    @jit(stamp)
    def localize(rows, marks, unique, local):
        """Number the distinct `rows` in order of first appearance.

        ``unique[l]`` is the row with local number l and ``unique[local[e]] == rows[e]``. `marks` has a zero for every
        row of the model, before and after. Returns how many are distinct.
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
        """sums[n] = that of values[bounds[n]:bounds[n + 1]], tail_sums[n] that of the last tails[n] of them."""
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
        """A stable counting sort: ``keys[order]`` ascends, key k at ``order[starts[k]:starts[k + 1]]``."""
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
    """The block of two bands, ``(item_band - user_band) % bands * bands + user_band``; a stratum is `bands` of them."""
    apart = np.int64(item_band) - np.int64(user_band)
    return (apart if apart >= 0 else apart + bands) * bands + user_band


def _count_blocks(stamp):
    @jit(stamp)
    def count_blocks(users, items, user_band, item_band, bands, counts):
        """counts[b] += how many of these events are in block b."""
        stamp  # noqa: B018
        for event in range(users.size):
            counts[_block(user_band[users[event]], item_band[items[event]], bands)] += 1

    return count_blocks


def _arrange(stamp):
    @jit(stamp)
    def arrange(order, starts, users, events, user_band, item_band, bands, in_flight, bounds, arranged):
        """Lay out the events of users[0] to users[1], which are whole bands: block by block, user by user within one.

        Events ``order[starts[u]:starts[u + 1]]`` are those of user u, and ``bounds[b]`` is the start of block b. A
        block is cut into `in_flight` parts of equal length, and its layout is the first of every part, the second of
        every part, and so on; what the parts leave over comes last.
        """
        stamp  # noqa: B018
        _, items, values, weights = events
        new_users, new_items = borrow(arranged[0]), borrow(arranged[1])
        new_values, new_weights = borrow(arranged[2]), borrow(arranged[3])
        user_bands, item_bands, positions = borrow(user_band), borrow(item_band), borrow(order)
        part, stride = np.zeros(bands * bands, np.int64), np.full(bands * bands, in_flight)
        place, left = bounds[:-1].copy(), (bounds[1:] - bounds[:-1]) // in_flight  # where the next event of a part goes
        for user in range(users[0], users[1]):
            for n in range(starts[user], starts[user + 1]):
                if n + _AHEAD < order.size:
                    ahead = np.int64(positions[n + _AHEAD])
                    prefetch(items, ahead)
                    prefetch(values, ahead)
                    prefetch(weights, ahead)
                event = np.int64(positions[n])
                item = items[event]
                block = _block(user_bands[user], item_bands[item], bands)
                if left[block] == 0:  # the part is full: on to the next, or to what the parts leave over
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
count_blocks, arrange = _count_blocks(stamp()), _arrange(stamp())
sum_up = _sum_up(stamp())


class Numbering(NamedTuple):
    """Numbers for rows in order of first appearance, which :func:`localize` may have begun.

    Attributes
    ----------
    marks : int32 array
        The number of each row of the model plus 1, zero where it has none, and everywhere before and after.
    rows : int32 array
        ``rows[n]`` has number n.
    count : int64[1]
        How many there are.
    """

    marks: np.ndarray
    rows: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, marks: np.ndarray, room: int) -> Numbering:
        """Rows that have their numbers, and room for some that have none yet."""
        known = np.empty(rows.size + room, np.int32)
        known[: rows.size] = rows
        marks[rows] = np.arange(1, rows.size + 1, dtype=np.int32)
        return cls(marks, known, np.array([rows.size]))

    def end(self) -> np.ndarray:
        """All rows that have a number; there are no more to come."""
        rows = self.rows[: self.count[0]]
        self.marks[rows] = 0
        return rows


def localize(rows: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows in order of first appearance (int32), and the place of every event's row among them (int32)."""
    unique, local = np.empty(rows.size, np.int32), np.empty(rows.size, np.int32)
    count = _localize_kernel(rows, marks, unique, local)
    return unique[:count], local


def order_by(keys: np.ndarray, count: int, order: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The stable order that sorts `keys`, integers below `count`, and the start of each key in it (int64).

    The order is int64, or written to the array given.
    """
    order, starts = np.empty(keys.size, np.int64) if order is None else order, np.empty(count + 1, np.int64)
    _order_kernel(keys, count, order, starts)
    return order, starts
