"""Grams: the Gram matrices of both tables, kept up by corrections of rank one as rows move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.equations import correct, gram_of
from fastmf.log.history import History
from fastmf.parameters.table import Move, Table

__all__ = ["NO_GRAM", "Gram", "Grams", "shares_of"]


class _Shares(NamedTuple):
    before: np.ndarray
    after: np.ndarray


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


NO_GRAM = Gram(np.zeros((1, 1)), np.array([1.0, 0.0, 0.0]))  # where no pair unmet counts


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
        other.restore(self.kept)
        return other

    def images(self) -> dict[str, Gram]:
        """Copies of what is kept."""
        return {side: kept.copy() for side, kept in self.kept.items()}

    def restore(self, images: dict[str, Gram]) -> None:
        """Become what was once copied."""
        self.kept = {side: image.copy() for side, image in images.items()}

    def of(self, side: str, table: Table, history: History, power: float = 0.0, threads: int = 1) -> Gram:
        """The Gram matrix of a table as it is; one that is asked for with another power than before is not kept."""
        kept = self.kept.get(side)
        if kept is None or kept.power != power:
            shares = None if not power else shares_of(history.counts(side, slice(table.count)), power)
            matrix = gram_of(table.shape, table.factors[: table.count], shares, threads)
            whole = float(table.count if shares is None else shares.sum())
            found = Gram(matrix, np.array([whole, 0.0, power]))
            if kept is not None:
                return found
            kept = self.kept[side] = found
        return kept

    def take_in(self, side: str, table: Table, rows: np.ndarray) -> None:
        """Add rows that are new, and have no events yet."""
        kept = self.kept.get(side)
        if kept is not None:
            correct(table.shape, table.factors, rows, np.ones(rows.size), 1.0, kept.matrix)
            kept.numbers[0] += rows.size

    def follow(self, side: str, table: Table, history: History, move: Move, named: np.ndarray, known: int) -> None:
        """Take in what a Delta did: the rows that moved, of which there were `known`, and those that have new events.

        The table and the history are those after it.
        """
        kept = self.kept.get(side)
        if kept is None:
            return
        rows, before = move.rows, move.before.placed().factors
        old = np.flatnonzero(rows < known).astype(np.int32)
        shares = self._shares(side, history, rows, named)
        correct(table.shape, before, old, shares.before[old], -1.0, kept.matrix)
        correct(table.shape, table.factors, rows, shares.after, 1.0, kept.matrix)
        kept.numbers[0] += float(shares.after.sum() - shares.before[old].sum())
        still = np.setdiff1d(np.arange(known, table.count, dtype=np.int32), rows)  # new, and not moved
        if kept.power:
            still = np.union1d(still, np.setdiff1d(named, rows))
        if still.size:
            shares = self._shares(side, history, still, named)
            more = shares.after - np.where(still < known, shares.before, 0.0)
            correct(table.shape, table.factors, still, more, 1.0, kept.matrix)
            kept.numbers[0] += float(more.sum())
        kept.numbers[1] += rows.size
        if kept.numbers[1] > table.count:
            del self.kept[side]
            self.of(side, table, history, kept.power)

    def _shares(self, side: str, history: History, rows: np.ndarray, named: np.ndarray) -> _Shares:
        """The shares of rows before the newest events, which are those of the rows `named`, and after them."""
        power = self.kept[side].power
        if not power:
            return _Shares(np.ones(rows.size), np.ones(rows.size))
        after, (ordered, places) = history.counts(side, rows), np.unique(rows, return_inverse=True)
        hits = np.searchsorted(ordered, named[np.isin(named, ordered)])
        return _Shares(
            shares_of(after - np.bincount(hits, minlength=ordered.size)[places], power), shares_of(after, power)
        )
