"""Index of the events of each row of one side."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import Any

import numpy as np

from fastmf.gate import Gate, mine
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import order_by
from fastmf.memory import grown, use_huge_pages, zeros

__all__ = ["Side"]

_LAID_OUT = 3  # positions in the base for each event: rows that are read are laid out anew as they grow


class Side:
    """Index of the events of each row of one side; see kernels/rows/log.py."""

    def __init__(self, gate: Gate) -> None:
        self.start = zeros(0, np.int64)
        self.based = zeros(0, np.int32)
        self.tailed = zeros(0, np.int32)
        self.head = zeros(0, np.int32)  # row_capacity leaves events that int32 can number
        self.previous = zeros(0, np.int32)
        self.base = zeros(0, np.int32)
        self.rows = self.start.size  # that there is room for
        self.used = np.zeros(1, np.int64)  # an array, so that kernels can count on
        self.gate = gate
        self._first: tuple[np.ndarray, int] | None = None  # rows of the first events, to be indexed; their number
        self._writing = RLock()  # held while arrays are filled or replaced

    def make_room(self, rows: int, events: int) -> None:
        """Make room for so many rows and events, or raise CapacityError."""

        def grow() -> None:
            self.start, self.based = grown(self.start, rows), grown(self.based, rows)
            self.tailed, self.head = grown(self.tailed, rows), grown(self.head, rows)
            self.previous, self.base = grown(self.previous, events), grown(self.base, _LAID_OUT * events)
            self.rows = min(map(len, (self.start, self.based, self.tailed, self.head)))

        self._alone(grow)

    @property
    def room(self) -> int:
        """Number of events that there is room for."""
        return min(len(self.previous), len(self.base) // _LAID_OUT)

    def put_off(self, rows: np.ndarray, count: int) -> None:
        """Index these events, the first of the log, when the index is first asked; rows are below `count`."""
        self._first = rows, count

    def built(self) -> Side:
        """Return this index with all events."""
        if self._first is not None:
            self._alone(self._build)
        return self

    def _build(self) -> None:
        if self._first is None:  # another thread was faster
            return
        rows, count = self._first
        use_huge_pages(self.base, rows.size)
        order, starts = order_by(rows, count, self.base[: rows.size])
        self.used[0] = order.size
        self.start[:count] = starts[:-1]
        self.based[:count] = np.diff(starts)
        self._first = None

    def _alone(self, work: Callable[[], None]) -> None:
        """Do what must not overlap with itself; unlike `with`, an interrupt at any point leaves the lock free."""
        try:
            self._writing.acquire()
            work()
        finally:
            if mine(self._writing):  # an interrupt may come first
                self._writing.release()

    def collect(self, rows: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the positions of the newest events of some rows, oldest first, and the bounds of each row in them."""
        if not limit:  # rows may be those of visitors, which are not there
            return np.empty(0, np.int64), np.zeros(rows.size + 1, np.int64)
        bounds = np.empty(rows.size + 1, np.int64)
        events = np.empty(log.count(rows, limit, self.based, self.tailed, bounds), np.int64)
        log.collect(rows, bounds, self.links, events)
        return events, bounds

    @property
    def links(self) -> tuple[Any, ...]:
        """For kernels: start, based, head, tailed, previous, base, its used positions, and the count of the gate."""
        changes = self.gate.changes
        return self.start, self.based, self.head, self.tailed, self.previous, self.base, self.used, changes
