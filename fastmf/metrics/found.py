"""Relevant items of rankings, by row and by position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Codes", "Floats", "Found"]

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


class Found(NamedTuple):
    """Relevant items of rankings, by row, and by position within a row.

    Attributes
    ----------
    names : ndarray of int64, shape (m,)
        The rows that have a relevant item, ascending.
    line, positions, gains : ndarray, shape (n,)
        For each item the index of its row in `names`, its position (see `ranks`), and its gain.
    order : ndarray of int64, shape (n,)
        Index of each item among the items given to :meth:`of`.
    """

    names: Codes
    line: Codes
    positions: Codes
    gains: Floats
    order: Codes

    @classmethod
    def of(cls, positions: ArrayLike, rows: ArrayLike, gains: ArrayLike | None = None) -> Found:
        """Make it from positions and rows in any order; items whose gain is not positive are not relevant."""
        positions, rows = np.asarray(positions, np.int64), np.asarray(rows, np.int64)
        worth = np.ones(rows.size) if gains is None else np.asarray(gains, np.float64)
        order = np.lexsort((positions, rows))
        order = order[worth[order] > 0]
        return cls(*_numbered(rows[order]), positions[order], worth[order], order)

    def part(self, given: NDArray[np.bool_]) -> Found:
        """Select items by a mask over the items given; the others count as not relevant."""
        mask = given[self.order]
        rows = self.names[self.line[mask]]
        return Found(*_numbered(rows), self.positions[mask], self.gains[mask], self.order[mask])

    @property
    def sizes(self) -> Codes:
        """Number of relevant items of each row."""
        return np.bincount(self.line, minlength=self.names.size)

    @property
    def nth(self) -> Codes:
        """1 for the first item of a row, 2 for the second, ..."""
        return np.arange(1, self.line.size + 1) - np.searchsorted(self.line, self.line)

    def total(self, amounts: NDArray[np.generic]) -> Floats:
        """Sum an amount per item over the items of each row."""
        return np.bincount(self.line, amounts, minlength=self.names.size).astype(np.float64)


def _numbered(rows: Codes) -> tuple[Codes, Codes]:
    """Return the distinct values of ascending rows, and the index of each row among them."""
    new = np.diff(rows, prepend=rows[:1] - 1) != 0
    return rows[new], np.cumsum(new) - 1
