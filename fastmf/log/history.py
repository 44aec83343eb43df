"""History: the event log of a model, indexed by user and by item."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.gate import Gate
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import Numbering
from fastmf.log.events import SIDES, Events
from fastmf.log.side import Side
from fastmf.memory import grown, row_capacity, use_huge_pages, zeros

__all__ = ["Batch", "History", "Wanted", "newest_of"]

_NO_LIMIT = np.iinfo(np.int64).max
_PIECE = 1 << 14  # events per piece; finding the newest times reads at most one piece again
_FEW = 16  # newest times that are kept
_NO_ROWS = np.empty(0, np.int32)
_NO_TIMES = np.empty(0, np.int64)
_BYTES_PER_EVENT = 40  # two rows, value, weight, time, and in each side's index a link and a position


class Batch(NamedTuple):
    """New events: (numbers of the other side, values, weights, times or none), the order that sorts them, starts."""

    columns: tuple[Any, ...]
    order: np.ndarray
    starts: np.ndarray


class Wanted(NamedTuple):
    """Columns to read: whether times, and the value that all events share, or None to read the values."""

    timed: bool
    value: float | None


class _High(NamedTuple):
    """The newest times of the first `events` events, in ascending order."""

    events: int
    times: np.ndarray


class History:
    """Log of events in order of arrival, indexed by user row and by item row.

    Appending n events costs O(n), reading the events of a row costs O(its length). A rollback removes events from the
    end.

    Parameters
    ----------
    rows : int
        Maximum number of rows of a side.
    budget : int
        Maximum size of the log in bytes.
    gate : Gate
        Gate that is notified of changes of the index.
    """

    def __init__(self, rows: int, budget: int, gate: Gate) -> None:
        self.rows, self.budget = rows, budget
        self._capacity = row_capacity(budget, _BYTES_PER_EVENT)
        self._log = Events(*(zeros(0, kind) for kind in (np.int32, np.int32, np.float32, np.float32, np.int64)))
        self._sides = {side: Side(gate) for side in SIDES}
        self._room = 0  # number of events that there is room for
        self._size = np.zeros(1, np.int64)  # an array, so that a kernel can append
        self.untimed: int | None = None  # number of events before the first with a time
        self._highs: list[_High] = []  # at the end of each piece, and of all events, as far as they were needed
        self.unweighted: int | None = None  # number of events before the first with a weight, whose weights are unset

    def __len__(self) -> int:
        return int(self._size[0])

    @property
    def _timed(self) -> bool:
        return self.untimed is not None

    @property
    def _weighted(self) -> bool:
        return self.unweighted is not None

    @property
    def events(self) -> Events:
        """All events, as views; see :meth:`between`."""
        return self.between(0, len(self))

    def between(self, first: int, last: int) -> Events:
        """Return events `first` to `last` as views; the weights are a copy if only the later events have any."""
        found = self._log.take(slice(first, last))
        if not self._timed:
            found = found._replace(times=None)
        if self.unweighted is None or self.unweighted >= last:
            return found._replace(weights=None)
        if self.unweighted > first:
            found = found._replace(weights=found.weights.copy())  # type: ignore[union-attr]
            found.weights[: self.unweighted - first] = 1  # type: ignore[index]
        return found

    def shared_arrays(self) -> dict[str, Any]:
        """For kernels that append: columns, whether weights and times are in use, the length as an array, the capacity.

        The first `unweighted` events have weight 1, whatever the column of weights holds.
        """
        kept, unweighted = self._log, _NO_LIMIT if self.unweighted is None else self.unweighted
        columns = {"values": kept.values, "weights": kept.weights, "times": kept.times}
        counting = {"weighted": self._weighted, "timed": self._timed, "unweighted": unweighted}
        return columns | counting | {"events": self._size, "events_size": self._room}

    def side_arrays(self, side: str) -> dict[str, np.ndarray]:
        """For kernels that append, or read one row: the column of a side and its index; see kernels/rows/log.py."""
        index = self._sides[side].built()
        links = {"head": index.head, "tailed": index.tailed, "previous": index.previous}
        return links | {"log": getattr(self._log, side), "start": index.start, "based": index.based, "base": index.base}

    def items_since(self, first: int) -> np.ndarray:
        """Return the item rows of the events from number `first` on, as a view."""
        return self._log.items[first : len(self)]

    def popularity(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the item rows of all events as a view, and the number of events per item row as two terms."""
        index = self._sides["items"].built()
        return self._log.items[: len(self)], index.based, index.tailed

    def past(self, side: str) -> tuple[np.ndarray, ...]:
        """For kernels that read the events of a row: the index of a side and the column of the other side."""
        index = self._sides[side].built()
        other = self._log.items if side == "users" else self._log.users
        return index.start, index.based, index.base, index.head, index.previous, other

    def has_room(self, users: int, items: int, events: int) -> bool:
        """Whether there is room for so many user rows, item rows, and events more."""
        rows = self._sides["users"].rows, self._sides["items"].rows
        return users <= rows[0] and items <= rows[1] and len(self) + events <= self._room

    def require_room(self, events: int) -> None:
        """Raise CapacityError unless so many events may be appended."""
        if len(self) + events > self._capacity:
            raise CapacityError(f"{len(self) + events} events exceed the memory budget of {self.budget} bytes")

    def make_room(self, users: int, items: int, events: int) -> None:
        """Make room for so many user rows, item rows, and events more, or raise CapacityError."""
        self.require_room(events)
        total = len(self) + events
        self._log = Events(*(grown(column, total) for column in self._log if column is not None))
        for side, rows in (("users", users), ("items", items)):
            self._sides[side].make_room(rows, total)
        columns = (len(column) for column in self._log if column is not None)
        self._room = min(*columns, *(index.room for index in self._sides.values()))

    def room(self, side: str, count: int) -> np.ndarray:
        """Return the column of a side in an empty log with room, to write `count` rows in place, without a copy."""
        rows: np.ndarray = getattr(self._log, side)
        use_huge_pages(rows, count)
        return rows[:count]

    def build(self, events: Events, users: int, items: int, untimed: int = 0, unweighted: int = 0) -> None:
        """Fill an empty history with events of `users` user rows and `items` item rows.

        If the events have times or weights, the first `untimed` have no time, and the first `unweighted` no weight.
        """
        self.make_room(users, items, events.users.size)
        for given, column in zip(events, self._log, strict=True):
            if given is not None and column is not None:
                use_huge_pages(column, given.size)
        self._write(0, events)
        self._size[0] = events.users.size
        if events.times is not None:
            self.untimed = untimed
        if events.weights is not None:
            self.unweighted = unweighted
        for side, count in (("users", users), ("items", items)):
            self._sides[side].put_off(getattr(self._log, side)[: len(self)], count)

    def sorted_by(self, side: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order that sorts a log just built by the rows of a side, and the start of each row in it."""
        index = self._sides[side].built()
        return index.base[: len(self)], np.append(index.start[:count], len(self))

    def append_at(self, first: int, events: Events) -> None:
        """Add events from number `first` on, the end; there must be room.

        It is idempotent: after an interrupt it is called again.
        """
        last = first + events.users.size
        if len(self) == last:
            return
        self._write(first, events)
        sides = []
        for side, index in self._sides.items():
            sides.append((getattr(self._log, side)[first:last], index.head, index.tailed, index.previous))
        log.append(tuple(sides), first, self._size)

    def truncate(self, count: int) -> None:
        """Remove the newest events until `count` are left."""
        gone, sides = self._log.take(slice(count, len(self))), []
        if self.untimed is not None:
            gone.times[:] = 0  # type: ignore[index]
        for side, index in self._sides.items():
            index.built()
            sides.append((getattr(gone, side), index.based, index.head, index.tailed, index.previous))
        log.retract(tuple(sides), count, self._size)
        while self._highs and self._highs[-1].events > count:
            self._highs.pop()
        if self.untimed is not None:
            self.untimed = self.untimed if count > self.untimed else None
        if self.unweighted is not None:
            self.unweighted = self.unweighted if count > self.unweighted else None

    def counts(self, side: str, rows: np.ndarray | slice) -> np.ndarray:
        """Count the events of some rows of a side."""
        index = self._sides[side].built()
        return np.asarray(index.based[rows] + index.tailed[rows])

    def of(self, side: str, rows: np.ndarray, limit: int | None = None) -> tuple[Events, np.ndarray]:
        """Return the events of some rows of a side, row by row, oldest first.

        Parameters
        ----------
        side : {"users", "items"}
            Side of the rows.
        rows : ndarray of int32
            The rows.
        limit : int, optional
            Maximum number of events per row, the newest ones; all by default.

        Returns
        -------
        events : Events
            With weights, and with times if the log has any. The column of the side itself holds positions in `rows`.
        bounds : ndarray of int64, shape (len(rows) + 1,)
            Row n has ``events[bounds[n]:bounds[n + 1]]``.
        """
        positions, bounds = self._sides[side].built().collect(rows, _NO_LIMIT if limit is None else limit)
        return self._fetch(positions, side, bounds), bounds

    def _fetch(self, positions: np.ndarray, side: str, bounds: np.ndarray) -> Events:
        """Return the events at some positions of the log; the side itself holds the index of a row in `bounds`."""
        other = "items" if side == "users" else "users"
        found = np.empty(positions.size, np.int32)
        values, weights = np.empty(positions.size, np.float32), np.empty(positions.size, np.float32)
        times = np.empty(positions.size if self._timed else 0, np.int64)
        unweighted = len(self) if self.unweighted is None else self.unweighted
        columns = (getattr(self._log, other), self._log.values, self._log.weights, unweighted, self._log.times)
        log.fetch(positions, *columns, found, values, weights, times)
        positions = np.repeat(np.arange(bounds.size - 1, dtype=np.int32), bounds[1:] - bounds[:-1])
        known = times if self._timed else None
        return Events(**{side: positions, other: found}, values=values, weights=weights, times=known)

    def compact(self, side: str, rows: np.ndarray, limit: int) -> None:
        """Make the events of rows contiguous, which :meth:`recall` would do otherwise."""
        log.compact_all(rows, limit, self._sides[side].built().links)

    def recall(
        self,
        side: str,
        rows: np.ndarray,
        bounds: np.ndarray,
        limits: np.ndarray,
        numbering: Numbering,
        new: Batch,
        wanted: Wanted,
    ) -> Events:
        """Return all events of some rows including those of a batch: as many past ones as asked for, then the new ones.

        For rows with a longer past: the newest ``limit / 2`` events, and a sample of the older ones whose weights add
        up to those of all older ones.

        Parameters
        ----------
        side : {"users", "items"}
            Side of the rows.
        rows : ndarray of int32
            The rows.
        bounds : ndarray of int64, shape (len(rows) + 1,)
            Row n gets events ``bounds[n] - bounds[0]`` to ``bounds[n + 1] - bounds[0]`` of the result.
        limits : ndarray of int64
            For each row, the maximum number of past events; 0 for rows that are not there.
        numbering : Numbering
            Numbering of the rows of the other side; rows without a number get one.
        new : Batch
            The new events.
        wanted : Wanted
            Columns to read.

        Returns
        -------
        Events
            The other side as numbers; the column of the side itself is empty.
        """
        other, size, index = (
            "items" if side == "users" else "users",
            int(bounds[-1] - bounds[0]),
            self._sides[side].built(),
        )
        rows = np.where(limits > 0, rows, 0)
        unweighted = len(self) if self.unweighted is None else self.unweighted
        timed, value = wanted
        values = self._log.values if value is None else np.array([value], np.float32)
        columns = (getattr(self._log, other), values, self._log.weights, self._log.times, unweighted)
        kinds = ((size, np.int32), (size, np.float32), (size, np.float32), (size * timed, np.int64))
        out = tuple(np.empty(count, kind) for count, kind in kinds)
        log.recall(rows, bounds, limits, index.links, columns, numbering, new, out)
        return Events(**{side: _NO_ROWS, other: out[0]}, values=out[1], weights=out[2], times=out[3] if timed else None)

    @property
    def newest(self) -> int | None:
        """The newest time of all events, if any has one."""
        latest = self.latest
        return int(latest[-1]) if latest.size else None

    @property
    def latest(self) -> np.ndarray:
        """The few newest times, in ascending order; reads only what was added since the last call."""
        highs = self._highs
        if self.untimed is None:
            return _NO_TIMES
        while not highs or highs[-1].events < len(self):
            events, times = highs[-1] if highs else (0, _NO_TIMES)
            if events % _PIECE:
                highs.pop()
            last = min((events // _PIECE + 1) * _PIECE, len(self))
            arrived = self._log.times[max(events, self.untimed) : last]  # type: ignore[index]
            highs.append(_High(last, newest_of(np.concatenate([times, arrived]), _FEW)))
        return highs[-1].times

    def recent(self, count: int) -> Events:
        """The newest events; of those with a time, where any has one."""
        return self.between(max(len(self) - count, self.untimed or 0), len(self))

    @property
    def last_time(self) -> int | None:
        """The time of the last event."""
        return None if self.untimed is None else int(self._log.times[len(self) - 1])  # type: ignore[index]

    @property
    def oldest(self) -> int | None:
        """The time of the first event that has one: about the oldest, where events arrived in order."""
        return None if self.untimed is None else int(self._log.times[self.untimed])  # type: ignore[index]

    def items_of(self, users: np.ndarray, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the item rows of the newest events of some user rows, user by user, and the bounds of each user."""
        positions, bounds = self._sides["users"].built().collect(users, _NO_LIMIT if limit is None else limit)
        return self._log.items[positions], bounds

    def times_of(self, times: np.ndarray | None, count: int) -> np.ndarray | None:
        """Return the times of `count` events to append: their own, or else that of the last event, if it has one."""
        if times is not None or not self._timed:
            return times
        assert self._log.times is not None
        return np.full(count, self._log.times[len(self) - 1] if len(self) else 0, np.int64)

    def _write(self, first: int, events: Events) -> None:
        """Write the columns of events, without counting them yet."""
        last = first + events.users.size
        for name, column in zip(Events._fields[:3], events[:3], strict=True):
            getattr(self._log, name)[first:last] = column
        if self.unweighted is None and events.weights is not None and last > first:
            self.unweighted = first
        if self._weighted:
            assert self._log.weights is not None
            self._log.weights[first:last] = 1 if events.weights is None else events.weights
        if self.untimed is None and events.times is not None and last > first:
            self.untimed = first
        if self._timed:
            assert self._log.times is not None
            self._log.times[first:last] = self.times_of(events.times, last - first)


def newest_of(times: np.ndarray, count: int) -> np.ndarray:
    """Return the newest `count` times, or all if there are fewer, in ascending order."""
    return np.sort(times if times.size <= count else np.partition(times, times.size - count)[-count:])
