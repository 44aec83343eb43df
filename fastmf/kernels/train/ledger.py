"""The ledger: one int64 array of addresses and numbers that replaces the many array arguments of single-event kernels.

Passing many arrays to a compiled function costs more than learning one event. Raw addresses are safe because a counter,
`moved`, tells when an array may have been replaced by a longer one: all entries are written again then. The NamedTuples
define the layout: fields in order of declaration, users first, then items, then the shared entries.
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
    """Entries of one side (users or items): id table, rows, log, journal, index."""

    by_row: Any = 0  # 1 if the caller passes rows instead of int ids
    slots: Any = 0
    slots_size: Any = 0
    older: Any = 0
    older_size: Any = 0
    moved: Any = 0  # the counter of replacements; next, its value when this was written
    moved_at: Any = 0
    factors: Any = 0
    records: Any = 0
    further: Any = 0  # the third part of rows, if they have one
    unknown: Any = 0  # the row that stands for an unknown id
    unknown_record: Any = 0
    unknown_further: Any = 0
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
    journal_further: Any = 0
    journal_size: Any = 0
    journal_count: Any = 0


class SharedEntries(NamedTuple):
    """Entries of the log as a whole, and the running sums of single events."""

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
    """Write numbers, and the data addresses of arrays, to the ledger from index `first` on."""
    for place, one in enumerate(entries, first):
        ledger[place] = one.ctypes.data if isinstance(one, np.ndarray) else int(one)


@njit
def column(ledger, entry, dtype):
    """The borrowed one-dimensional array whose address is a ledger entry."""
    return borrow_at(ledger[entry], dtype, 1)


@njit
def moved(ledger):
    """Whether an array may have been replaced since its address was written, which is then invalid."""
    users, items = column(ledger, USERS + _MOVED, np.int64), column(ledger, ITEMS + _MOVED, np.int64)
    return (read(users, 0) != ledger[USERS + _MOVED_AT]) | (read(items, 0) != ledger[ITEMS + _MOVED_AT])


@njit
def row_of(ledger, side, one):
    """The row of an id of a side; -1 if unknown."""
    if ledger[side + _BY_ROW]:
        return one
    slots, older = column(ledger, side + _SLOTS, np.int64), column(ledger, side + _OLDER, np.int64)
    return find(slots, ledger[side + _SLOTS_SIZE] // 2 - 1, older, ledger[side + _OLDER_SIZE] // 2 - 1, one)
