"""Scratch: arrays of zeros as long as a table, leased by a call.

They are given back as they were taken, all zero. A call that fails or is interrupted gives nothing back, so that what
it has left in an array is seen by nobody; the next call gets another one, which costs memory only where it is written.
"""

from __future__ import annotations

import numpy as np

from fastmf.memory import reserve

__all__ = ["Scratch"]


class Scratch:
    """Leases marks: int32 arrays of zeros with a place for every row that a table may have."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def take(self, rows: int) -> np.ndarray:
        """Marks for so many rows, of which nobody else knows."""
        free = self._free.setdefault(rows, [])
        try:
            return free.pop()
        except IndexError:
            return reserve(rows, np.int32)

    def give(self, marks: np.ndarray) -> None:
        """Take marks back, which are zero again."""
        self._free[marks.size].append(marks)
