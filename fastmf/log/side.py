"""Index of the events of each row of one side."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from fastmf.gate import Gate
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import order_by
from fastmf.memory import reserve, use_huge_pages

__all__ = ["Side"]


class Side:
    """Index of the events of each row of one side; see kernels/rows/log.py."""

    def __init__(self, rows: int, events: int, gate: Gate) -> None:
        self.start = reserve(rows, np.int64)
        self.based = reserve(rows, np.int32)
        self.tailed = reserve(rows, np.int32)
        self.head = reserve(rows, np.int32)  # row_capacity leaves events that int32 can number
        self.previous = reserve(events, np.int32)
        self.base = reserve(2 * events, np.int32)
        self.used = np.zeros(1, np.int64)  # an array, so that kernels can count on
        self.gate = gate
        self._first: tuple[np.ndarray, int] | None = None  # rows of the first events, to be indexed; their number
        self._building = Lock()

    def put_off(self, rows: np.ndarray, count: int) -> None:
        """Index these events, the first of the log, when the index is first asked; rows are below `count`."""
        self._first = rows, count

    def built(self) -> Side:
        """Return this index with all events."""
        if self._first is not None:
            with self._building:
                if self._first is not None:
                    self._build(*self._first)
                    self._first = None
        return self

    def _build(self, rows: np.ndarray, count: int) -> None:
        use_huge_pages(self.base, rows.size)
        order, starts = order_by(rows, count, self.base[: rows.size])
        self.used[0] = order.size
        self.start[:count] = starts[:-1]
        self.based[:count] = np.diff(starts)

    def collect(self, rows: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the positions of the newest events of some rows, oldest first, and the bounds of each row in them."""
        bounds = np.empty(rows.size + 1, np.int64)
        events = np.empty(log.count(rows, limit, self.based, self.tailed, bounds), np.int64)
        log.collect(rows, bounds, self.links, events)
        return events, bounds

    @property
    def links(self) -> tuple[Any, ...]:
        """For kernels: start, based, head, tailed, previous, base, its used positions, and the count of the gate."""
        changes = self.gate.changes
        return self.start, self.based, self.head, self.tailed, self.previous, self.base, self.used, changes
