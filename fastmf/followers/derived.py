"""Rows without events of sides with a map: they follow from their features, and are made anew as the map moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.delta import Delta
from fastmf.parameters.features import features_name
from fastmf.parameters.maps import Maps
from fastmf.parameters.moves import DenseMove, Image, Move

__all__ = ["DerivedRows", "derived_rows", "moved_by"]

_PIECE = 1 << 14  # rows made at a time
_NO_ROWS = np.empty(0, np.int32)


class DerivedRows:
    """The rows without events, ascending, of the sides with a map; no Delta holds them, except as new ids.

    They are found at first use, and then follow the log: a change costs what is new and what is derived.

    Parameters
    ----------
    sides : iterable of str
    """

    def __init__(self, sides: Any) -> None:
        self._rows: dict[str, np.ndarray | None] = dict.fromkeys(sides)

    # --- as a follower ------------------------------------------------------------------------------------------------

    def prepare(self, state: Any, delta: Delta) -> None:
        """Nothing can fail."""

    def abort(self) -> None:
        """Nothing to undo."""

    def follow(self, state: Any, delta: Delta) -> None:
        """Make rows anew that a Delta has changed; doing so twice is harmless."""
        for side, before in self._rows.items():
            now = self._found(state, side) if before is None else self._after(before, state, delta, side)
            if before is None or side in _remapped(state, delta):
                changed = now
            else:
                fresh = np.setdiff1d(now, before, assume_unique=True)
                changed = np.union1d(fresh, np.intersect1d(now, _replaced(delta, side)))
            self.write(state, side, changed)
            self._rows[side] = now  # last, so that an interrupt before it leaves the work to do

    def copy(self) -> DerivedRows:
        """Those of a copy of the state."""
        return DerivedRows(self._rows)

    # --- for others ---------------------------------------------------------------------------------------------------

    def of(self, state: Any, side: str) -> np.ndarray:
        """The rows of a side, int32; none if the side has no map."""
        if side not in self._rows:
            return _NO_ROWS
        found = self._rows[side]
        if found is None:
            found = self._rows[side] = self._found(state, side)
        return found

    def touched(self, state: Any, delta: Delta, side: str) -> np.ndarray:
        """The present rows of a side that a Delta changed although its moves do not name them."""
        now = self.of(state, side)
        return now if side in _remapped(state, delta) else np.intersect1d(now, _replaced(delta, side))

    def write(self, state: Any, side: str, rows: np.ndarray) -> None:
        """Write what the map makes of the features of rows."""
        maps, table = state.groups["maps"], state.side(side).table
        for first in range(0, rows.size, _PIECE):
            part = rows[first : first + _PIECE].astype(np.int32)
            records = np.zeros((part.size, table.records.shape[1]), np.float32)
            table.scatter(part, Image((maps.of_rows(side, part), records)))

    def _found(self, state: Any, side: str) -> np.ndarray:
        count = state.side(side).count
        return np.flatnonzero(state.history.counts(side, slice(count)) == 0).astype(np.int32)

    def _after(self, before: np.ndarray, state: Any, delta: Delta, side: str) -> np.ndarray:
        """The rows without events after a Delta, or after its inverse."""
        count = state.side(side).count
        if delta.restores is None:
            fresh = np.arange(count - len(delta.new_ids.get(side, ())), count, dtype=np.int32)
            fresh = fresh[state.history.counts(side, fresh) == 0]
            kept = before[before < count - len(delta.new_ids.get(side, ()))]
            return np.concatenate([kept[state.history.counts(side, kept) == 0], fresh])
        named = getattr(delta.log, side)
        again = np.unique(named[named < count])
        again = again[state.history.counts(side, again) == 0]
        return np.union1d(before[before < count], again).astype(np.int32)


def derived_rows(state: Any, side: str) -> np.ndarray:
    """The rows of a side, int32, that have no events and follow from a map."""
    found = state.followers.get("derived")
    return _NO_ROWS if found is None else np.asarray(found.of(state, side))


def moved_by(state: Any, delta: Delta, side: str) -> np.ndarray:
    """The rows of a side that a Delta, which has been applied, changed: those that it moves, and derived ones."""
    rows, found = delta.moves[side].rows if side in delta.moves else _NO_ROWS, state.followers.get("derived")
    return rows if found is None else np.concatenate([rows, found.touched(state, delta, side)])


def _remapped(state: Any, delta: Delta) -> set[str]:
    """The sides whose maps a Delta changes."""
    move, maps = delta.moves.get("maps"), state.groups["maps"]
    assert isinstance(maps, Maps)
    return maps.changes(move) if isinstance(move, DenseMove) else set()


def _replaced(delta: Delta, side: str) -> np.ndarray:
    """The rows whose features a Delta changes."""
    move = delta.moves.get(features_name(side))
    return move.rows if isinstance(move, Move) else _NO_ROWS
