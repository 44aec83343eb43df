"""Scratch: a pool of zeroed arrays as long as a table, borrowed by a call.

They are returned all zero. A call that fails or is interrupted does not return its array, so that no other call sees
its content; the next call gets a new array, which takes memory only where it is written.
"""

from __future__ import annotations

import numpy as np

from fastmf.memory import reserve

__all__ = ["Scratch"]


class Scratch:
    """Pool of marks: int32 arrays of zeros with an element for every row that a table may have."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def take(self, rows: int) -> np.ndarray:
        """Borrow marks for so many rows."""
        free = self._free.setdefault(rows, [])
        try:
            return free.pop()
        except IndexError:
            return reserve(rows, np.int32)

    def give(self, marks: np.ndarray) -> None:
        """Return marks to the pool; they must be zero again."""
        self._free[marks.size].append(marks)
