"""Exposure: an item can only have been left by those who came after it.

The exposure of the row r of an item is its share of the stream since its first event, plus a floor,

    e_r = min(1, 1 - f_r / T + floor),

where f_r is the position of its first event in the log, of T events. All exposures change with every event. But rows
are in the order of their first events: those up to some row have reached 1, and the sums over the others

    A = sum s_r x_r x_r',    B = sum s_r f_r x_r x_r',    S = the sum of s_r x_r x_r' over all rows

do not depend on T. So the Gram matrix of the present, ``S + floor A - B / T``, costs what is new: rank-one corrections
for rows that have changed, and the removal from A and B of rows that reach 1, each once.
"""

from __future__ import annotations

import numpy as np

from fastmf.log.history import History
from fastmf.memory import grown, zeros

__all__ = ["Arrivals", "Launches", "exposures"]


def exposures(firsts: np.ndarray, events: float, floor: float) -> np.ndarray:
    """The exposures of rows with these first events, once there are so many events; 1 without a floor.

    Parameters
    ----------
    firsts : float64 array
    events, floor : float

    Returns
    -------
    float64 array
    """
    if not floor:
        return np.ones(firsts.size)
    return np.clip(1.0 + floor - firsts / max(events, 1), 0.0, 1.0)  # a row without events may have an infinite one


class Launches:
    """The positions of the first events of rows, in ascending order; found once, and then noted as rows come.

    A row that precedes another cannot have come later: rows without events, and imported ones, take the position of
    the next that has any.
    """

    def __init__(self, firsts: np.ndarray | None = None, count: int = 0) -> None:
        self._firsts, self.count = firsts, count

    @property
    def firsts(self) -> np.ndarray:
        """The positions noted, float64[count]."""
        assert self._firsts is not None
        return self._firsts[: self.count]

    @classmethod
    def checked(cls, firsts: np.ndarray, count: int) -> Launches:
        """Those of a file; ValueError if they cannot be."""
        if firsts.dtype != np.float64 or firsts.shape != (count,) or not (np.diff(firsts, prepend=0.0) >= 0).all():
            raise ValueError(f"first events are {firsts.dtype}{list(firsts.shape)}, not float64[{count}], ascending")
        return cls(firsts.copy(), count)

    def of(self, name: str, history: History, count: int) -> np.ndarray:
        """The first `count` rows' float64 positions, with room for more behind the view."""
        if self._firsts is None:
            self._firsts, self.count = zeros(max(count, 1), np.float64), 0
        if self.count < count:
            self.note(getattr(history.events, name), 0, count)
        return self._firsts[:count]

    def note(self, rows: np.ndarray, start: int, count: int) -> None:
        """Note events of these rows, which begin at position `start`, for rows from the last noted to `count`."""
        if self._firsts is None or count <= self.count:
            return
        self._firsts = grown(self._firsts, count)
        new, found = rows >= self.count, np.full(count - self.count, start + rows.size, np.float64)
        positions = np.flatnonzero(new)[::-1]
        found[rows[positions] - self.count] = start + positions  # the first of several is written last
        self._firsts[self.count : count] = np.minimum.accumulate(found[::-1])[::-1]
        self.count = count

    def reserve(self, count: int) -> None:
        """Make room for `count` rows, or raise CapacityError."""
        if self._firsts is not None:
            self._firsts = grown(self._firsts, count)

    def shrink(self, count: int, events: int) -> None:
        """Forget rows from `count` on, and events from `events` on."""
        self.count = min(self.count, count)

    def until(self, position: float) -> int:
        """The number of rows whose first event is at most at a position."""
        return int(np.searchsorted(self.firsts, position, "right"))

    def reached(self, number: int, position: float) -> bool:
        """Whether the row launched after `number` others was so at most at a position."""
        return number < self.count and bool(self.firsts[number] <= position)

    def between(self, first: int, last: int) -> np.ndarray:
        """The rows, int32, that were launched after `first` and before the one after `last` others."""
        return np.arange(first, last, dtype=np.int32)

    def since(self, position: float) -> np.ndarray:
        """The rows, int32, whose first event is at a position or later."""
        return np.arange(int(np.searchsorted(self.firsts, position)), self.count, dtype=np.int32)

    def after(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Which rows are not among the first `number` launched."""
        return np.asarray(rows >= number)

    def copy(self) -> Launches:
        """An independent copy."""
        return Launches(None if self._firsts is None else self._firsts[: self.count].copy(), self.count)


class Arrivals(Launches):
    """The positions of the first events of rows some of which had none when they were added, in any order of rows.

    The first event of a row without any is at infinity.
    """

    def __init__(self) -> None:
        super().__init__()
        self._order, self._positions = zeros(0, np.int32), zeros(0, np.float64)  # in order of first events
        self._launched = 0  # how many of these there are

    @property
    def _launches(self) -> np.ndarray:
        """The positions of first events, ascending."""
        return self._positions[: self._launched]

    def of(self, name: str, history: History, count: int) -> np.ndarray:
        """The first `count` rows' float64 positions."""
        if self._firsts is None:
            self._firsts, self.count = zeros(max(count, 1), np.float64), 0
            self.note(getattr(history.events, name), 0, count)
        return self._firsts[:count]

    def note(self, rows: np.ndarray, start: int, count: int) -> None:
        """Note events of these rows, which begin at position `start`; noting them twice is harmless."""
        if self._firsts is None:
            return
        self.reserve(count)
        self._firsts[self.count : count] = np.inf
        self.count = max(self.count, count)
        earlier, positions = int(np.searchsorted(self._launches, start)), np.flatnonzero(self._firsts[rows] >= start)
        _, first = np.unique(rows[positions], return_index=True)
        positions = positions[np.sort(first)]
        self._order[earlier : earlier + positions.size] = rows[positions]
        self._positions[earlier : earlier + positions.size] = start + positions
        self._firsts[rows[positions]] = start + positions
        self._launched = earlier + positions.size

    def reserve(self, count: int) -> None:
        """Make room for `count` rows, or raise CapacityError."""
        if self._firsts is not None:
            self._firsts, self._order = grown(self._firsts, count), grown(self._order, count)
            self._positions = grown(self._positions, count)

    def shrink(self, count: int, events: int) -> None:
        """Forget rows from `count` on, and events from `events` on."""
        if self._firsts is None:
            return
        kept = int(np.searchsorted(self._launches, events))
        self._firsts[self._order[kept : self._launched]] = np.inf
        self._launched = kept
        super().shrink(count, events)

    def until(self, position: float) -> int:
        """The number of rows whose first event is at most at a position."""
        return int(np.searchsorted(self._launches, position, "right"))

    def reached(self, number: int, position: float) -> bool:
        """Whether the row launched after `number` others was so at most at a position."""
        return number < self._launched and bool(self._positions[number] <= position)

    def between(self, first: int, last: int) -> np.ndarray:
        """The rows, int32, that were launched after `first` and before the one after `last` others."""
        return self._order[first:last].copy()

    def after(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Which rows are not among the first `number` launched."""
        return np.asarray(self.firsts[rows] > (self._positions[number - 1] if number else -1.0))

    def since(self, position: float) -> np.ndarray:
        """The rows, int32, whose first event is at a position or later."""
        return self._order[int(np.searchsorted(self._launches, position)) : self._launched].copy()

    def copy(self) -> Arrivals:
        """An independent copy, which finds first events anew."""
        return Arrivals()
