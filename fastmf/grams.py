"""Grams: the Gram matrices of both tables, kept up by corrections of rank one as rows move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.equations import correct, gram_of
from fastmf.factors import Table
from fastmf.history import History

__all__ = ["Gram", "Grams", "shares_of"]


class Gram(NamedTuple):
    """The Gram matrix of a table.

    Attributes
    ----------
    matrix : float64[width, width]
        ``sum_r s_r x_r x_r'``, its upper triangle.
    numbers : float64[3]
        The sum of all shares s_r; how many corrections there have been; the power.

    A share is the number of events of the row to the power, which is 0 where all rows count alike.
    """

    matrix: np.ndarray
    numbers: np.ndarray

    def copy(self) -> Gram:
        """The same in memory of its own."""
        return Gram(self.matrix.copy(), self.numbers.copy())

    @property
    def shares(self) -> float:
        """The sum of all shares."""
        return float(self.numbers[0])

    @property
    def power(self) -> float:
        """0 where all rows count alike."""
        return float(self.numbers[2])

    def checked(self, width: int) -> Gram:
        """The same; ValueError unless it can be the Gram matrix of rows of this width."""
        for array, shape in ((self.matrix, (width, width)), (self.numbers, (3,))):
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"a Gram matrix is {array.dtype}{list(array.shape)}, not float64{list(shape)}, finite")
        return self


def shares_of(counts: np.ndarray, power: float) -> np.ndarray:
    """The shares of rows with so many events, float64; a row without any counts as one with one."""
    return np.asarray(np.maximum(counts, 1).astype(np.float64) ** power)


class Grams:
    """Made when they are first asked for, and made anew after as many corrections as there are rows."""

    def __init__(self) -> None:
        self.kept: dict[str, Gram] = {}

    def copy(self) -> Grams:
        """The same in memory of their own."""
        other = Grams()
        other.kept = self.images()
        return other

    def images(self) -> dict[str, Gram]:
        """Copies of what is kept."""
        return {side: kept.copy() for side, kept in self.kept.items()}

    def restore(self, images: dict[str, Gram]) -> None:
        """Become what was once copied."""
        self.kept = {side: image.copy() for side, image in images.items()}

    def of(self, side: str, table: Table, history: History, power: float = 0.0, threads: int = 1) -> Gram:
        """The Gram matrix of a table as it is."""
        kept = self.kept.get(side)
        if kept is None or kept.power != power:
            shares = None if not power else shares_of(history.counts(side, slice(table.count)), power)
            matrix = gram_of(table.shape, table.factors[: table.count], shares, threads)
            whole = float(table.count if shares is None else shares.sum())
            kept = self.kept[side] = Gram(matrix, np.array([whole, 0.0, power]))
        return kept

    def correct(self, side: str, table: Table, history: History, rows: np.ndarray, sign: float) -> None:
        """Take rows away (-1) that are about to change or to have more events; take them in (1) as they are then."""
        kept = self.kept.get(side)
        if kept is None or not rows.size:
            return
        shares = shares_of(history.counts(side, rows), kept.power) if kept.power else np.ones(rows.size)
        correct(table.shape, table.factors, rows, shares, sign, kept.matrix)
        kept.numbers[0] += sign * float(shares.sum())
        kept.numbers[1] += rows.size / 2
        if sign > 0 and kept.numbers[1] > table.count:
            del self.kept[side]
            self.of(side, table, history, kept.power)
