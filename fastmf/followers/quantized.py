"""Screen: an 8-bit copy of a table, which rules most rows out when a single query looks for the best."""

from __future__ import annotations

import threading

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels.rank import quantized as coarse
from fastmf.log.history import History
from fastmf.memory import reserve
from fastmf.parameters.table import Table

__all__ = ["Screen"]

_FROM = 1 << 12  # rows: fewer are read faster than they are ruled out
_EARNED = 8  # scans that a table is read by before a copy is worth making
_PIECE = 1 << 16  # rows copied at once: Ctrl-C waits for it


class Screen:
    """The copy is made when it is worth it, and kept up by copying the rows that have moved.

    Moved rows are those of the Deltas that the state went through, and those of events that were learned singly, which
    are in the history. Nothing is kept, and nothing costs anything, until there is a copy.
    """

    def __init__(self) -> None:
        self._copy: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        self._scans = 0
        self._known = 0  # rows in the copy
        self._events = 0  # of the history, that have been looked at
        self._moved: list[np.ndarray] = []
        self._lock = threading.Lock()

    def before(self, history: History, moved: np.ndarray) -> None:
        """Remember rows that a Delta moves, and those of the events that it follows."""
        if self._copy is not None:
            self._moved += [history.items_since(self._events).copy(), moved]

    def after(self, history: History, count: int) -> None:
        """Take the history and the number of rows as the Delta has left them."""
        self._events, self._known = len(history), min(self._known, count)

    def copy(self, table: Table, history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Codes, steps and slack of all rows as they are now (kernels/rank/quantized.py); None where not worth it."""
        self._scans += 1
        if table.count < _FROM or self._scans <= _EARNED or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._copy is None:
                self._copy, self._events, self._known = self._reserve(table), len(history), 0
            if not self._moved and self._events == len(history) and self._known == table.count:
                return self._copy
            fresh = np.arange(self._known, table.count, dtype=np.int32)
            rows = np.concatenate([*self._moved, history.items_since(self._events), fresh])
            rows = rows[rows < table.count]
            for first in range(0, rows.size, _PIECE):
                coarse.encode(table.shape)(rows[first : first + _PIECE], table.factors, *self._copy)
            self._known, self._events, self._moved = table.count, len(history), []
        except CapacityError:
            self._scans = -(1 << 62)
            return None
        finally:
            self._lock.release()
        return self._copy

    @staticmethod
    def _reserve(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        capacity, width = len(table.factors), coarse.code_width(table.shape.width)
        return reserve(capacity, np.int8, width), reserve(capacity, np.float32), reserve(capacity, np.float32)
