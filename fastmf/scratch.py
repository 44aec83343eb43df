"""Scratch: a pool of zeroed arrays as long as a table, borrowed by a call.

They are returned all zero. A call that fails or is interrupted does not return its array, so that no other call sees
its content; the next call gets a new array.
"""

from __future__ import annotations

import numpy as np

from fastmf.memory import grown, zeros

__all__ = ["Scratch"]


class Scratch:
    """Pool of marks: int32 arrays of zeros with an element for every row of a table."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def take(self, count: int, rows: np.ndarray) -> np.ndarray:
        """Borrow marks for the `count` rows of a table, and for these rows, which may be new; there may be more."""
        most = max(count, int(rows.max(initial=-1)) + 1)
        try:
            return grown(self._free.pop(), most)
        except IndexError:
            return zeros(most, np.int32)

    def give(self, marks: np.ndarray) -> None:
        """Return marks to the pool; they must be zero again."""
        self._free.append(marks)
