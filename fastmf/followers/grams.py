"""Gram matrices of a model's tables for implicit ALS, kept current by rank-one corrections as rows change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta
from fastmf.devices import runner
from fastmf.followers.exposure import Arrivals, Launches
from fastmf.log.history import History
from fastmf.parameters.moves import Image, Move

__all__ = ["NO_GRAM", "Gram", "GramImage", "Grams", "shares_of"]


class _Shares(NamedTuple):
    before: np.ndarray
    after: np.ndarray


class Gram(NamedTuple):
    """The Gram matrix of a table.

    Attributes
    ----------
    matrix : float64[width, width], or float64[3, width, width] with exposure
        ``sum_r s_r x_r x_r'``, upper triangle; with exposure S, A and B of followers/exposure.py.
    numbers : float64[3], or float64[6] with exposure
        The sum of all shares s_r; the number of corrections since it was computed from all rows; the power. With
        exposure its floor, the number of events, and the number of rows that A and B do not hold.

    Notes
    -----
    The share of a row is its number of events (at least 1) to the power; all shares are 1 if the power is 0. Rows that
    are derived from a map have none.
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

    @property
    def form(self) -> tuple[float, float]:
        """The exponent of the number of events, and the floor of exposures."""
        return self.power, self.floor

    @property
    def floor(self) -> float:
        """The floor of exposures; 0 if rows have none."""
        return float(self.numbers[3]) if self.numbers.size > _PLAIN else 0.0

    @property
    def full(self) -> int:
        """The number of rows that A and B do not hold."""
        return int(self.numbers[5])

    def checked(self, width: int) -> Gram:
        """Return self; ValueError if it cannot be the Gram matrix of rows of this width."""
        shapes = ((width, width), (_PLAIN,)) if self.numbers.size == _PLAIN else ((3, width, width), (6,))
        for array, shape in zip(self, shapes, strict=True):
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"a Gram matrix is {array.dtype}{list(array.shape)}, not float64{list(shape)}, finite")
        return self


_PLAIN = 3  # numbers of a matrix without exposure
_NO_ROWS = np.empty(0, np.int32)
_NONE_FILLED = _NO_ROWS, np.empty(0), np.empty(0)
NO_GRAM = Gram(np.zeros((1, 1)), np.array([1.0, 0.0, 0.0]))  # for losses without unobserved pairs


class GramImage(dict[str, Gram]):
    """Copies of Gram matrices by group, as part of a Delta."""

    @property
    def arrays(self) -> list[np.ndarray]:
        """All arrays."""
        return [array for gram in self.values() for array in gram]


NO_IMAGE = GramImage()


def shares_of(counts: np.ndarray, power: float, derives: bool = False) -> np.ndarray:
    """The shares (float64) of rows with these numbers of events; a row without events counts as one with one.

    Where rows without events follow from a map (`derives`), they have no share: nobody could have taken them.

    Parameters
    ----------
    counts : int array
        Events of each row.
    power : float
    derives : bool

    Returns
    -------
    float64 array
        ``max(counts, 1) ** power``.
    """
    found = np.asarray(np.maximum(counts, 1).astype(np.float64) ** power)
    return found * (np.asarray(counts) > 0) if derives else found


class Grams:
    """The Gram matrices of a state: computed on first use, and recomputed after as many corrections as rows."""

    def __init__(self) -> None:
        self.kept: dict[str, Gram] = {}
        self.launches: dict[str, Launches] = {}  # of groups with exposure
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
        for name, launches in self.launches.items():
            launches.reserve(state.counts_after(delta)[name])

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
            self._forget(state.counts, len(state.history))
        self.kept, self._at = kept, delta.head

    def image(self) -> GramImage | None:
        """Copies of the matrices for a Delta; None if there are none."""
        return GramImage({name: kept.copy() for name, kept in self.kept.items()}) if self.kept else None

    def copy(self) -> Grams:
        """A deep copy."""
        other = Grams()
        other.kept = {name: kept.copy() for name, kept in self.kept.items()}
        other.launches = {name: launches.copy() for name, launches in self.launches.items()}
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """The matrices as named arrays, for a file."""
        found = {f"{name}.{part}": array for name, kept in self.kept.items() for part, array in kept._asdict().items()}
        noted = {
            name: one for name, one in self.launches.items() if name in self.kept and not isinstance(one, Arrivals)
        }
        return found | {f"{name}.firsts": one.firsts for name, one in noted.items()}

    def load(self, arrays: dict[str, np.ndarray], state: Any) -> None:
        """Restore what :meth:`arrays` returned; ValueError if it does not fit the groups."""
        for name in {key.split(".")[0] for key in arrays}:
            gram = Gram(*(arrays[f"{name}.{part}"] for part in Gram._fields))
            self.kept[name] = gram.checked(state.side(name).table.shape.width)
            if gram.floor and not state.side(name).derives:
                self.launches[name] = Launches.checked(arrays[f"{name}.firsts"], state.side(name).count)

    # --- for solvers --------------------------------------------------------------------------------------------------

    def of(
        self, name: str, state: Any, form: tuple[float, float] = (0.0, 0.0), threads: int = 1, asked: bool = False
    ) -> Gram:
        """The Gram matrix of a table as it is now.

        A matrix of another form than the one kept is computed but does not replace it.

        Parameters
        ----------
        name : str
            The group.
        state : State
        form : (float, float)
            Exponent of the number of events in shares, and the floor of exposures, 0 for none.
        threads : int
        asked : bool
            Whether it is for a query only: a new matrix is then cached but does not become part of the state.

        Returns
        -------
        Gram
        """
        kept, changes = self.kept.get(name), int(state.gate.changes[0])
        if kept is not None and kept.form == form:
            return kept
        at, found = self._found.get(name, (None, kept))
        if at != changes or found is None or found.form != form:
            found = self._made(name, state, form, threads)
            if changes % 2 == 0 and int(state.gate.changes[0]) == changes:
                self._found[name] = changes, found
        if kept is None and not asked:
            self.kept[name] = found
        return found

    def at(self, name: str, kept: Gram, state: Any, events: int) -> np.ndarray:
        """A matrix as it is once there are so many events, float64[width, width]; without exposure, itself."""
        if not kept.floor:
            return kept.matrix
        whole, growing, begun = kept.matrix
        found = whole + kept.floor * growing - begun / max(events, 1)
        rows, firsts, shares = self._filled(name, kept, state, events)
        if rows.size:
            table = state.side(name).table
            less = shares * (kept.floor - firsts / max(events, 1))
            runner("correct gram")(table.shape, table.factors, rows, less, -1.0, found)
        return np.asarray(found)

    def firsts(self, name: str, state: Any) -> np.ndarray:
        """The positions of the first events of all rows of a group with exposure, float64[rows]."""
        return self._launches(name, state).of(name, state.history, state.side(name).count)

    def _launches(self, name: str, state: Any) -> Launches:
        found = self.launches.get(name)
        if found is None:
            found = self.launches[name] = Arrivals() if state.side(name).derives else Launches()
        return found

    def settled(self, name: str, kept: Gram, state: Any) -> Gram:
        """A matrix with the number of events noted, and without rows of full exposure in A and B."""
        events, table = len(state.history), state.side(name).table
        kept.numbers[4] = events
        rows, firsts, shares = self._filled(name, kept, state, events)
        if not rows.size:
            return kept
        kept = kept.copy()
        for matrix, weights in zip(kept.matrix[1:], (shares, shares * firsts), strict=True):
            runner("correct gram")(table.shape, table.factors, rows, weights, -1.0, matrix)
        kept.numbers[5] += rows.size
        return kept

    @contextmanager
    def expecting(self, name: str, state: Any) -> Iterator[None]:
        """Around a single event, whose number its kernel notes: what it leads to, if it has been learned."""
        events = len(state.history)
        try:
            yield
        finally:
            if len(state.history) > events:
                self.kept[name] = self.settled(name, self.kept[name], state)

    def _filled(self, name: str, kept: Gram, state: Any, events: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows in A and B with full exposure once there are so many events, their first events and shares."""
        firsts, begun, launches = self.firsts(name, state), kept.full, self.launches[name]
        if not launches.reached(begun, kept.floor * events):  # as after nearly every event
            return _NONE_FILLED
        rows = launches.between(begun, launches.until(kept.floor * events))
        return rows, firsts[rows], shares_of(state.history.counts(name, rows), kept.power)

    def admit(self, name: str, state: Any, rows: np.ndarray) -> None:
        """Add new rows, which have no events yet."""
        kept, table = self.kept.get(name), state.side(name).table
        if kept is not None:
            if kept.floor:
                self.launches[name].note(rows, len(state.history), table.count)
            kept = kept.copy()
            self._add(name, kept, table.shape, (table.factors, rows), rows, np.ones(rows.size))
            kept.numbers[0] += rows.size
            self.kept[name] = kept

    def restore(self, kept: dict[str, Gram], counts: dict[str, int], events: int) -> None:
        """Bring matrices back, of tables with so many rows and a log of so many events."""
        self.kept = kept
        self._forget(counts, events)

    def _forget(self, counts: dict[str, int], events: int) -> None:
        for name, launches in self.launches.items():
            launches.shrink(counts[name], events)

    def _add(
        self,
        name: str,
        kept: Gram,
        shape: Any,
        images: tuple[np.ndarray, np.ndarray],
        rows: np.ndarray,
        shares: np.ndarray,
        sign: float = 1.0,
    ) -> None:
        """Add rows to a matrix in place, given as an array and the lines in it, or subtract them."""
        table, lines = images
        correct = runner("correct gram")
        if not shares.all():  # derived rows
            lines, rows, shares = lines[shares != 0], rows[shares != 0], shares[shares != 0]
        if not kept.floor:
            correct(shape, table, lines, shares, sign, kept.matrix)
            return
        correct(shape, table, lines, shares, sign, kept.matrix[0])
        launches = self.launches[name]
        growing = launches.after(rows, kept.full)
        weights, firsts = shares[growing], launches.firsts[rows[growing]]
        correct(shape, table, lines[growing], weights, sign, kept.matrix[1])
        correct(shape, table, lines[growing], weights * firsts, sign, kept.matrix[2])

    def _taken_in(self, name: str, kept: Gram, state: Any, delta: Delta) -> Gram:
        """A matrix after a Delta: corrected for the rows that it changed and those with new events."""
        table, history, derives = state.side(name).table, state.history, state.side(name).derives
        move, named = delta.moves.get(name), getattr(delta.log, name)
        known = table.count - len(delta.new_ids.get(name, ()))
        if kept.floor:
            launches = self._launches(name, state)
            if launches.count == known or derives:
                launches.note(named, len(history) - named.size, table.count)
            self.firsts(name, state)
        if move is None:
            move = Move(_NO_ROWS, *2 * (table.gather(_NO_ROWS),))
        assert isinstance(move, Move)
        rows, before = move.rows, Image(move.before).placed().factors
        old = np.flatnonzero(rows < known).astype(np.int32)
        shares = self._shares_at(name, kept, state, named, rows)
        self._add(name, kept, table.shape, (before, old), rows[old], shares.before[old], -1.0)
        self._add(name, kept, table.shape, (table.factors, rows), rows, shares.after)
        kept.numbers[0] += float(shares.after.sum() - shares.before[old].sum())
        still = np.setdiff1d(np.arange(known, table.count, dtype=np.int32), rows)  # new rows that were not trained
        if derives and kept.floor and not kept.power:
            still = np.setdiff1d(self.launches[name].since(len(history) - named.size), rows)
        elif kept.power or derives:
            still = np.union1d(still, np.setdiff1d(named, rows))
        if still.size:
            shares = self._shares_at(name, kept, state, named, still)
            more = shares.after - np.where(still < known, shares.before, 0.0)
            self._add(name, kept, table.shape, (table.factors, still), still, more)
            kept.numbers[0] += float(more.sum())
        kept.numbers[1] += rows.size
        if kept.numbers[1] > table.count:
            return self._made(name, state, kept.form, 1)
        return self.settled(name, kept, state) if kept.floor else kept

    def _shares_at(self, name: str, kept: Gram, state: Any, named: np.ndarray, rows: np.ndarray) -> _Shares:
        """The shares of rows before and after the newest events, which are those of the rows `named`."""
        arrivals = self.launches.get(name)
        if kept.power or not kept.floor or not isinstance(arrivals, Arrivals):
            return _shares(name, kept.power, state.history, rows, named, state.side(name).derives)
        firsts = arrivals.firsts[rows]  # a row has the share 1 from its first event on
        before = firsts < len(state.history) - named.size
        return _Shares(before.astype(np.float64), np.isfinite(firsts).astype(np.float64))

    def _made(self, name: str, state: Any, form: tuple[float, float], threads: int) -> Gram:
        """A Gram matrix computed from all rows."""
        table, history, (power, floor), derives = state.side(name).table, state.history, form, state.side(name).derives
        counts = history.counts(name, slice(table.count)) if power or floor or derives else None
        shares = None if counts is None else shares_of(counts, power, derives)
        matrix = runner("gram")(table.shape, table.factors[: table.count], shares, threads)
        whole = float(table.count if shares is None else shares.sum())
        if shares is None or not floor:
            return Gram(matrix, np.array([whole, 0.0, power]))
        firsts, events = self.firsts(name, state), len(history)
        full = self.launches[name].until(floor * events)
        start = 0 if derives else full  # rows before it are at full exposure; with a map, they may be anywhere
        rows, growing, firsts = table.factors[start : table.count], shares[start:], firsts[start:]
        if derives:
            growing = growing * self.launches[name].after(np.arange(table.count), full)
            firsts = np.where(growing > 0, firsts, 0.0)
        parts = [runner("gram")(table.shape, rows, some, threads) for some in (growing, growing * firsts)]
        return Gram(np.stack([matrix, *parts]), np.array([whole, 0.0, power, floor, events, full]))


def _shares(name: str, power: float, history: History, rows: np.ndarray, named: np.ndarray, derives: bool) -> _Shares:
    """The shares of rows before and after the newest events, which are those of the rows `named`."""
    if not power and not derives:
        return _Shares(np.ones(rows.size), np.ones(rows.size))
    after, (ordered, positions) = history.counts(name, rows), np.unique(rows, return_inverse=True)
    hits = np.searchsorted(ordered, named[np.isin(named, ordered)])
    before = after - np.bincount(hits, minlength=ordered.size)[positions]
    return _Shares(shares_of(before, power, derives), shares_of(after, power, derives))
