"""Gram matrices of a model's tables for implicit ALS, kept current by rank-one corrections as rows change."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta
from fastmf.devices import runner
from fastmf.log.history import History
from fastmf.parameters.moves import Image, Move
from fastmf.parameters.table import Table

__all__ = ["NO_GRAM", "Gram", "GramImage", "Grams", "shares_of"]


class _Shares(NamedTuple):
    before: np.ndarray
    after: np.ndarray


class Gram(NamedTuple):
    """The Gram matrix of a table.

    Attributes
    ----------
    matrix : float64[width, width]
        ``sum_r s_r x_r x_r'``, upper triangle.
    numbers : float64[3]
        The sum of all shares s_r; the number of corrections since it was computed from all rows; the power.

    Notes
    -----
    The share of a row is its number of events (at least 1) to the power; all shares are 1 if the power is 0.
    """

    matrix: np.ndarray
    numbers: np.ndarray

    def copy(self) -> Gram:
        """A deep copy."""
        return Gram(self.matrix.copy(), self.numbers.copy())

    @property
    def shares(self) -> float:
        """The sum of all shares."""
        return float(self.numbers[0])

    @property
    def power(self) -> float:
        """The exponent of the number of events in shares; 0 if all rows have share 1."""
        return float(self.numbers[2])

    def checked(self, width: int) -> Gram:
        """Return self; ValueError if it cannot be the Gram matrix of rows of this width."""
        for array, shape in ((self.matrix, (width, width)), (self.numbers, (3,))):
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"a Gram matrix is {array.dtype}{list(array.shape)}, not float64{list(shape)}, finite")
        return self


_NO_ROWS = np.empty(0, np.int32)
NO_GRAM = Gram(np.zeros((1, 1)), np.array([1.0, 0.0, 0.0]))  # for losses without unobserved pairs


class GramImage(dict[str, Gram]):
    """Copies of Gram matrices by group, as part of a Delta."""

    @property
    def arrays(self) -> list[np.ndarray]:
        """All arrays."""
        return [array for gram in self.values() for array in gram]


NO_IMAGE = GramImage()


def shares_of(counts: np.ndarray, power: float) -> np.ndarray:
    """The shares (float64) of rows with these numbers of events; a row without events counts as one with one.

    Parameters
    ----------
    counts : int array
        Events of each row.
    power : float

    Returns
    -------
    float64 array
        ``max(counts, 1) ** power``.
    """
    return np.asarray(np.maximum(counts, 1).astype(np.float64) ** power)


class Grams:
    """The Gram matrices of a state: computed on first use, and recomputed after as many corrections as rows."""

    def __init__(self) -> None:
        self.kept: dict[str, Gram] = {}
        self._at: str | None = None  # the head of the state that they are known to match
        self._found: dict[str, tuple[int, Gram]] = {}  # cached by queries, with the gate's count at that time

    # --- as a follower ------------------------------------------------------------------------------------------------

    def prepare(self, state: Any, delta: Delta) -> None:
        """Raise ValueError if the Gram matrices that come with the Delta do not fit this state's tables."""
        image = delta.images.get("grams", NO_IMAGE)
        if not isinstance(image, GramImage) or not all(isinstance(gram, Gram) for gram in image.values()):
            raise ValueError("the Gram matrices of the Delta are none")
        for name, gram in image.items():
            if name not in state.groups:
                raise ValueError(f"the Delta has a Gram matrix of {name!r}, which this model has not")
            gram.checked(state.side(name).table.shape.width)

    def abort(self) -> None:
        """Nothing to undo."""

    def follow(self, state: Any, delta: Delta) -> None:
        """Apply a Delta, once. Starts from the matrices in the Delta, if any, so that replicas are bitwise equal."""
        if self._at == delta.head:
            return
        kept = delta.images.get("grams", self.kept)
        if delta.restores is None:
            kept = {name: self._taken_in(name, gram.copy(), state, delta) for name, gram in kept.items()}
        else:
            kept = {name: gram.copy() for name, gram in kept.items()}
        self.kept, self._at = kept, delta.head

    def image(self) -> GramImage | None:
        """Copies of the matrices for a Delta; None if there are none."""
        return GramImage({name: kept.copy() for name, kept in self.kept.items()}) if self.kept else None

    def copy(self) -> Grams:
        """A deep copy."""
        other = Grams()
        other.kept = {name: kept.copy() for name, kept in self.kept.items()}
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """The matrices as named arrays, for a file."""
        return {f"{name}.{part}": array for name, kept in self.kept.items() for part, array in kept._asdict().items()}

    def load(self, arrays: dict[str, np.ndarray], state: Any) -> None:
        """Restore what :meth:`arrays` returned; ValueError if it does not fit the groups."""
        for name in {key.split(".")[0] for key in arrays}:
            gram = Gram(*(arrays[f"{name}.{part}"] for part in Gram._fields))
            self.kept[name] = gram.checked(state.side(name).table.shape.width)

    # --- for solvers --------------------------------------------------------------------------------------------------

    def of(self, name: str, state: Any, power: float = 0.0, threads: int = 1, asked: bool = False) -> Gram:
        """The Gram matrix of a table as it is now.

        A matrix with another power than the one kept is computed but does not replace it.

        Parameters
        ----------
        name : str
            The group.
        state : State
        power : float
            Exponent of the number of events in shares.
        threads : int
        asked : bool
            Whether it is for a query only: a new matrix is then cached but does not become part of the state.

        Returns
        -------
        Gram
        """
        kept, changes = self.kept.get(name), int(state.gate.changes[0])
        if kept is not None and kept.power == power:
            return kept
        at, found = self._found.get(name, (None, kept))
        if at != changes or found is None or found.power != power:
            found = _made(name, state.side(name).table, state.history, power, threads)
            if changes % 2 == 0 and int(state.gate.changes[0]) == changes:
                self._found[name] = changes, found
        if kept is None and not asked:
            self.kept[name] = found
        return found

    def admit(self, name: str, table: Table, rows: np.ndarray) -> None:
        """Add new rows, which have no events yet."""
        kept = self.kept.get(name)
        if kept is not None:
            matrix, numbers = kept.copy()
            runner("correct gram")(table.shape, table.factors, rows, np.ones(rows.size), 1.0, matrix)
            numbers[0] += rows.size
            self.kept[name] = Gram(matrix, numbers)

    def _taken_in(self, name: str, kept: Gram, state: Any, delta: Delta) -> Gram:
        """A matrix after a Delta: corrected for the rows that it changed and those with new events."""
        table, history = state.side(name).table, state.history
        move, named = delta.moves.get(name), getattr(delta.log, name)
        known = table.count - len(delta.new_ids.get(name, ()))
        if move is None:
            move = Move(_NO_ROWS, *2 * (table.gather(_NO_ROWS),))
        assert isinstance(move, Move)
        rows, before = move.rows, Image(move.before).placed().factors
        old = np.flatnonzero(rows < known).astype(np.int32)
        shares = _shares(name, kept.power, history, rows, named)
        runner("correct gram")(table.shape, before, old, shares.before[old], -1.0, kept.matrix)
        runner("correct gram")(table.shape, table.factors, rows, shares.after, 1.0, kept.matrix)
        kept.numbers[0] += float(shares.after.sum() - shares.before[old].sum())
        still = np.setdiff1d(np.arange(known, table.count, dtype=np.int32), rows)  # new rows that were not trained
        if kept.power:
            still = np.union1d(still, np.setdiff1d(named, rows))
        if still.size:
            shares = _shares(name, kept.power, history, still, named)
            more = shares.after - np.where(still < known, shares.before, 0.0)
            runner("correct gram")(table.shape, table.factors, still, more, 1.0, kept.matrix)
            kept.numbers[0] += float(more.sum())
        kept.numbers[1] += rows.size
        return _made(name, table, history, kept.power, 1) if kept.numbers[1] > table.count else kept


def _made(name: str, table: Table, history: History, power: float, threads: int) -> Gram:
    """A Gram matrix computed from all rows."""
    shares = None if not power else shares_of(history.counts(name, slice(table.count)), power)
    matrix = runner("gram")(table.shape, table.factors[: table.count], shares, threads)
    whole = float(table.count if shares is None else shares.sum())
    return Gram(matrix, np.array([whole, 0.0, power]))


def _shares(name: str, power: float, history: History, rows: np.ndarray, named: np.ndarray) -> _Shares:
    """The shares of rows before and after the newest events, which are those of the rows `named`."""
    if not power:
        return _Shares(np.ones(rows.size), np.ones(rows.size))
    after, (ordered, positions) = history.counts(name, rows), np.unique(rows, return_inverse=True)
    hits = np.searchsorted(ordered, named[np.isin(named, ordered)])
    return _Shares(
        shares_of(after - np.bincount(hits, minlength=ordered.size)[positions], power), shares_of(after, power)
    )
