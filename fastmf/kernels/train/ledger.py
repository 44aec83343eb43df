"""The ledger: one array of addresses and numbers in place of the many arrays that learning one event needs.

A call with many arrays costs more than the work. This is safe because rows never move; whoever makes a table move (an
id table that a larger one took over) writes its entries anew. The NamedTuples are the layout: their fields are written
in their order, and kernels know the place of each.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow_at
from fastmf.kernels.rows.hashing import find


class SideEntries(NamedTuple):
    """Of the users, or of the items: ids, rows, log, journal, index."""

    by_row: Any  # 1 where the caller passes rows instead of int ids
    slots: Any
    slots_size: Any
    older: Any
    older_size: Any
    factors: Any
    records: Any
    marks: Any
    log: Any
    head: Any
    tailed: Any
    previous: Any
    start: Any
    based: Any
    base: Any
    journal_rows: Any
    journal_factors: Any
    journal_records: Any
    journal_size: Any
    journal_count: Any


class SharedEntries(NamedTuple):
    """Of the log as a whole, and of what single events add up to."""

    values: Any
    weights: Any
    times: Any
    weighted: Any
    timed: Any
    events: Any
    events_size: Any
    unweighted: Any
    loss: Any
    changes: Any


Entry = IntEnum("Entry", [name.upper() for name in SideEntries._fields], start=0)
USERS, ITEMS, SHARED = 0, len(Entry), 2 * len(Entry)
_Shared = IntEnum("_Shared", [name.upper() for name in SharedEntries._fields], start=SHARED)
LEDGER_SIZE = SHARED + len(_Shared)
VALUES, WEIGHTS, TIMES, WEIGHTED, TIMED, EVENTS, EVENTS_SIZE, UNWEIGHTED, LOSS, CHANGES = (int(one) for one in _Shared)

_BY_ROW, _SLOTS, _SLOTS_SIZE = int(Entry.BY_ROW), int(Entry.SLOTS), int(Entry.SLOTS_SIZE)
_OLDER, _OLDER_SIZE = int(Entry.OLDER), int(Entry.OLDER_SIZE)
JOURNAL_COUNT = int(Entry.JOURNAL_COUNT)


def write(ledger: np.ndarray, first: int, entries: SideEntries | SharedEntries) -> None:
    """Write numbers, and the addresses of arrays, from place `first` on."""
    for place, one in enumerate(entries, first):
        ledger[place] = one.ctypes.data if isinstance(one, np.ndarray) else int(one)


@njit
def column(ledger, entry, dtype):
    """The array whose address is at an entry of the ledger."""
    return borrow_at(ledger[entry], dtype, 1)


@njit
def row_of(ledger, side, one):
    """The row of an id of a side, or -1."""
    if ledger[side + _BY_ROW]:
        return one
    slots, older = column(ledger, side + _SLOTS, np.int64), column(ledger, side + _OLDER, np.int64)
    return find(slots, ledger[side + _SLOTS_SIZE] // 2 - 1, older, ledger[side + _OLDER_SIZE] // 2 - 1, one)
