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
from fastmf.kernels.rows.sharing import read


class SideEntries(NamedTuple):
    """Of the users, or of the items: ids, rows, log, journal, index."""

    by_row: Any = 0  # 1 where the caller passes rows instead of int ids
    slots: Any = 0
    slots_size: Any = 0
    older: Any = 0
    older_size: Any = 0
    moved: Any = 0  # how often the id table has been replaced, and had been when this was written
    moved_at: Any = 0
    factors: Any = 0
    records: Any = 0
    marks: Any = 0
    log: Any = 0
    head: Any = 0
    tailed: Any = 0
    previous: Any = 0
    start: Any = 0
    based: Any = 0
    base: Any = 0
    journal_rows: Any = 0
    journal_factors: Any = 0
    journal_records: Any = 0
    journal_size: Any = 0
    journal_count: Any = 0


class SharedEntries(NamedTuple):
    """Of the log as a whole, and of what single events add up to."""

    values: Any = 0
    weights: Any = 0
    times: Any = 0
    weighted: Any = 0
    timed: Any = 0
    events: Any = 0
    events_size: Any = 0
    unweighted: Any = 0
    loss: Any = 0
    changes: Any = 0
    range: Any = 0


Entry = IntEnum("Entry", [name.upper() for name in SideEntries._fields], start=0)
USERS, ITEMS, SHARED = 0, len(Entry), 2 * len(Entry)
_Shared = IntEnum("_Shared", [name.upper() for name in SharedEntries._fields], start=SHARED)
LEDGER_SIZE = SHARED + len(_Shared)
VALUES, WEIGHTS, TIMES, WEIGHTED, TIMED, EVENTS, EVENTS_SIZE, UNWEIGHTED, LOSS, CHANGES, RANGE = (
    int(one) for one in _Shared
)

_BY_ROW, _SLOTS, _SLOTS_SIZE = int(Entry.BY_ROW), int(Entry.SLOTS), int(Entry.SLOTS_SIZE)
_OLDER, _OLDER_SIZE = int(Entry.OLDER), int(Entry.OLDER_SIZE)
_MOVED, _MOVED_AT = int(Entry.MOVED), int(Entry.MOVED_AT)
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
def moved(ledger):
    """Whether an id table has been replaced since its address was noted: then it may be gone."""
    users, items = column(ledger, USERS + _MOVED, np.int64), column(ledger, ITEMS + _MOVED, np.int64)
    return (read(users, 0) != ledger[USERS + _MOVED_AT]) | (read(items, 0) != ledger[ITEMS + _MOVED_AT])


@njit
def row_of(ledger, side, one):
    """The row of an id of a side, or -1."""
    if ledger[side + _BY_ROW]:
        return one
    slots, older = column(ledger, side + _SLOTS, np.int64), column(ledger, side + _OLDER, np.int64)
    return find(slots, ledger[side + _SLOTS_SIZE] // 2 - 1, older, ledger[side + _OLDER_SIZE] // 2 - 1, one)
