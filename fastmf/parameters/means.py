"""Means: the mean rows of both sides, a dense group, which new and unknown ids stand for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.core.shape import Shape, record_width
from fastmf.memory import aligned
from fastmf.parameters.groups import DenseGroup
from fastmf.parameters.moves import DenseMove, Image
from fastmf.parameters.start import SINGULAR, DrawnStart
from fastmf.parameters.table import Table

__all__ = ["Means", "Moved"]

_ENOUGH = 4  # rows per factor of each side, from which new rows need no noise to be told apart


class Moved(NamedTuple):
    """Rows of a side that have moved, factors before and after, and the numbers of rows of the side before and after.

    All new rows are among them.
    """

    rows: np.ndarray
    before: np.ndarray
    after: np.ndarray
    known: int
    total: int


class Means(DenseGroup):
    """The mean rows of users and items, which rows are drawn to.

    Parameters
    ----------
    shape : Shape
        That of the rows.
    priors : dict of str to NamedTuple
        By side; the mean of a side whose prior has no strength stays zero.
    values : dict of str to ndarray, optional
        ``user_mean``, ``item_mean`` and the sums over all rows, ``user_sum``, ``item_sum`` (float64[factors]), and
        ``noise`` (float64[1]): 1 while new rows start around the mean, so that they can be told apart, 0 once they
        start from it. By default zeros, and a noise of 1.

    Attributes
    ----------
    rows : dict of str to Image
        The mean of each side as one row in the layout of the tables. The arrays are never replaced.
    """

    def __init__(self, shape: Shape, priors: dict[str, Any], values: dict[str, np.ndarray] | None = None) -> None:
        usual = {f"{one}_{what}": np.zeros(shape.size) for one in SINGULAR.values() for what in ("mean", "sum")}
        super().__init__(usual | {"noise": np.ones(1)} if values is None else values)
        self.shape, self.priors = shape, priors
        fields = record_width(shape.memory)
        self.rows = {side: Image((aligned(1, shape.width), np.zeros((1, fields), np.float32))) for side in SINGULAR}
        for row in self.rows.values():
            row[0][:] = 0
        self.refresh()

    def refresh(self) -> None:
        """Bring :attr:`rows` up to date."""
        for side, one in SINGULAR.items():
            self.rows[side].factors[0, : self.shape.size] = self.values[f"{one}_mean"]

    def learn(self, side: str, rows: np.ndarray) -> None:
        """Set the mean of a side to that of all its rows, float32[count, width]."""
        one = SINGULAR[side]
        self.values[f"{one}_sum"][:] = rows[:, : self.shape.size].sum(axis=0, dtype=np.float64)
        if self.priors[side].strength and len(rows):
            self.values[f"{one}_mean"][:] = self.values[f"{one}_sum"] / len(rows)
        self.refresh()

    def settle(self, tables: dict[str, Table]) -> None:
        """Learn both means from whole tables."""
        for side in SINGULAR:
            self.learn(side, tables[side].whole().factors)
        self.values["noise"][:] = self._noise({side: tables[side].count for side in SINGULAR})

    def after(self, moved: dict[str, Moved], held: set[str], storage: str) -> DenseMove:
        """The move that follows moves of rows, in time proportional to these; the means of `held` sides stay."""
        found, size = {}, self.shape.size
        for side, (rows, before, after, known, total) in moved.items():
            one, new = SINGULAR[side], rows >= known
            stored = after.astype(np.float16) if storage == "float16" else after
            change = stored[:, :size].sum(axis=0, dtype=np.float64)
            change -= before[~new, :size].sum(axis=0, dtype=np.float64)
            found[f"{one}_sum"] = self.values[f"{one}_sum"] + change
            if side not in held and self.priors[side].strength and rows.size and total:
                found[f"{one}_mean"] = found[f"{one}_sum"] / total
        noise = self._noise({side: one.total for side, one in moved.items()})
        if not held and noise != self.values["noise"]:
            found["noise"] = np.full(1, noise)
        return self.move(found)

    def _noise(self, counts: dict[str, int]) -> float:
        return float(min(counts.values()) < _ENOUGH * self.shape.size)

    def join(self, groups: dict[str, Any]) -> None:
        """Let the new rows of sides with a prior start from here."""
        for side in SINGULAR:
            table = groups[side].table
            if self.priors[side].strength:
                table.start = DrawnStart.around(self, side, table.start)

    def write(self, move: DenseMove) -> None:
        """Write the new values of a move."""
        super().write(move)
        self.refresh()

    def copy(self) -> Means:
        """Return an independent copy."""
        return Means(self.shape, self.priors, self.values)
