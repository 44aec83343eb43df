"""The rows of a pass with negatives, what negatives are drawn from, and what users know, as kernels take them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow


class Tables(NamedTuple):
    """The rows of both sides in the working set, with their anchors, and the model's items, which are only read."""

    users: np.ndarray
    user_records: np.ndarray
    user_anchors: np.ndarray
    user_anchor_records: np.ndarray
    items: np.ndarray
    item_records: np.ndarray
    item_anchors: np.ndarray
    item_anchor_records: np.ndarray
    outside: np.ndarray
    outside_records: np.ndarray


class Seen(NamedTuple):
    """What users know: user u has chosen the rows[starts[u]:starts[u + 1]].

    Attributes
    ----------
    starts, rows : int64[users + 1], int32
    allowed : bool
        Whether negatives may be among them all the same.
    slots, bases, bits, distinct : ndarray
        What `prepare` made of them, for draws of scope EXTERNAL; of no meaning for others.
    """

    starts: np.ndarray
    rows: np.ndarray
    allowed: bool
    slots: np.ndarray
    bases: np.ndarray
    bits: np.ndarray
    distinct: np.ndarray


class Pool(NamedTuple):
    """What negatives are drawn from.

    Attributes
    ----------
    items : int
        Rows that can be drawn.
    events, rows : int, int32[events]
        The rows of the events to draw from.
    arrived, arrived_rows : int, int32[arrived]
        Further such events.
    counts, further : int32
        How many events name each row, in two parts.
    marks : int32
        The position of each row in the working set, plus 1; 0 where it has none.
    tabled, shares, others : int, float32[tabled], int32[tabled]
        An alias table (see `tabulate`), from which draws are made in place of the events where there is one.
    members, starts : int32, int64
        The rows of all blocks, side by side, and where those of each begin. A block has its part of the alias table.
    first, size : int
        Where the rows of the present block begin, and how many it has.
    """

    items: int
    events: int
    rows: np.ndarray
    arrived: int
    arrived_rows: np.ndarray
    counts: np.ndarray
    further: np.ndarray
    marks: np.ndarray
    tabled: int
    shares: np.ndarray
    others: np.ndarray
    members: np.ndarray
    starts: np.ndarray
    first: int = 0
    size: int = 0


@njit
def lent(pool, first, size):
    """A pool whose arrays are borrowed, for the block with so many rows from `first` on."""
    return Pool(
        pool.items,
        pool.events,
        borrow(pool.rows),
        pool.arrived,
        borrow(pool.arrived_rows),
        borrow(pool.counts),
        borrow(pool.further),
        borrow(pool.marks),
        pool.tabled,
        borrow(pool.shares),
        borrow(pool.others),
        borrow(pool.members),
        borrow(pool.starts),
        first,
        size,
    )
