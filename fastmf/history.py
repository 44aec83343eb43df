"""History: the model's own event log; who has seen what; a row's past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels import log
from fastmf.kernels.grouping import order_by
from fastmf.kernels.launch import at_once
from fastmf.memory import reserve, row_capacity, use_huge_pages

__all__ = ["Events", "History"]

_NO_LIMIT = np.iinfo(np.int64).max
_LARGEST = np.iinfo(np.int32).max
_BYTES_PER_EVENT = 40  # two rows, value, weight, time, two links


class Events(NamedTuple):
    """Events with row numbers in place of ids; the columns of the log."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    times: np.ndarray | None = None

    def take(self, positions: np.ndarray | slice) -> Events:
        """Some of the events."""
        return Events(*(None if column is None else column[positions] for column in self))  # type: ignore[arg-type]

    def copy(self) -> Events:
        """The same events in memory of their own."""
        return Events(*(None if column is None else column.copy() for column in self))  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, parts: Sequence[Events]) -> Events:
        """Events that follow each other; where some have times, the time of the others is 0, as it is in the log."""
        users, items, values, weights = (np.concatenate(c) for c in zip(*(part[:4] for part in parts), strict=True))
        if all(part.times is None for part in parts):
            return cls(users, items, values, weights)
        times = [np.zeros(part.users.size, np.int64) if part.times is None else part.times for part in parts]
        return cls(users, items, values, weights, np.concatenate(times))

    def require(self, users: int, items: int) -> None:
        """ValueError unless these are columns of a log over so many user and item rows."""
        kinds = (np.int32, np.int32, np.float32, np.float32, np.int64)
        for name, column, kind in zip(self._fields, self, kinds, strict=True):
            if column is None and name == "times":
                continue
            if column is None or column.dtype != kind or column.shape != self.users.shape or column.ndim != 1:
                raise ValueError(f"the history's {name} are not a column of {np.dtype(kind).name}")
        if not np.isfinite(self.values).all() or not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("the history's values and weights are not all finite, or a weight is negative")
        for name, count in (("users", users), ("items", items)):
            rows = getattr(self, name)
            if rows.size and not 0 <= rows.min() <= rows.max() < count:
                raise ValueError(f"the history names {name} beyond the {count} that are known")


class _Side:
    """Where the events of each row of one side are: see kernels/log.py."""

    def __init__(self, rows: int, events: int) -> None:
        self.start = reserve(rows, np.int64)
        self.based = reserve(rows, np.int32)
        self.tailed = reserve(rows, np.int32)
        self.head = reserve(rows, np.int64)
        self.previous = reserve(events, np.int64)
        self.base = reserve(2 * events, np.int32 if events <= _LARGEST else np.int64)
        self.used = 0

    def build(self, rows: np.ndarray, count: int) -> None:
        """Lay out all events at once."""
        use_huge_pages(self.base, rows.size)
        order, starts = order_by(rows, count, self.base[: rows.size])
        self.used = order.size
        self.start[:count] = starts[:-1]
        self.based[:count] = np.diff(starts)

    def collect(self, rows: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the newest events of some rows, oldest first, and the bounds of each row in them."""
        bounds = np.empty(rows.size + 1, np.int64)
        events = np.empty(log.count(rows, limit, self.based, self.tailed, bounds), np.int64)
        links = (self.start, self.based, self.head, self.tailed, self.previous)
        self.used = log.collect(rows, bounds, *links, self.base, self.used, events)
        return events, bounds


class History:
    """One log of events in order of arrival, indexed by user row and by item row.

    Appending n events costs O(n); reading a row costs its length. Rolling back takes events off the end.

    Parameters
    ----------
    rows : int
        Rows that a side may grow to.
    budget : int
        The bytes that the log may grow to.
    """

    def __init__(self, rows: int, budget: int) -> None:
        self._budget = budget
        capacity = row_capacity(budget, _BYTES_PER_EVENT)
        self._log = Events(
            reserve(capacity, np.int32),
            reserve(capacity, np.int32),
            reserve(capacity, np.float32),
            reserve(capacity, np.float32),
            reserve(capacity, np.int64),
        )
        self._sides = {"users": _Side(rows, capacity), "items": _Side(rows, capacity)}
        self._size = np.zeros(1, np.int64)  # an array, so that a kernel can append
        self.untimed: int | None = None  # how many events came before the first with a time

    def __len__(self) -> int:
        return int(self._size[0])

    @property
    def _timed(self) -> bool:
        return self.untimed is not None

    @property
    def events(self) -> Events:
        """The whole log, as views."""
        return self.between(0, len(self))

    def between(self, first: int, last: int) -> Events:
        """Events `first` to `last` of the log, as views."""
        log_view = self._log.take(slice(first, last))
        return log_view if self._timed else log_view._replace(times=None)

    @property
    def columns(self) -> tuple[Any, ...]:
        """For kernels that append: values, weights, times, whether times count, the length as an array, capacity."""
        log_view = self._log
        return log_view.values, log_view.weights, log_view.times, self._timed, self._size, log_view.users.size

    def column_of(self, side: str) -> tuple[np.ndarray, ...]:
        """For kernels that append: the rows of a side and their links, head, tailed and previous."""
        index = self._sides[side]
        return getattr(self._log, side), index.head, index.tailed, index.previous

    def items_since(self, first: int) -> np.ndarray:
        """The item rows of the events from number `first` on; a view."""
        return self._log.items[first : len(self)]

    def popularity(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The item rows of all events, a view, and the events of every item row, in two parts."""
        index = self._sides["items"]
        return self._log.items[: len(self)], index.based, index.tailed

    def past(self, side: str) -> tuple[np.ndarray, ...]:
        """For kernels that read the rows of the other side: the links of a side and that column, see kernels/log.py."""
        index = self._sides[side]
        other = self._log.items if side == "users" else self._log.users
        return index.start, index.based, index.base, index.head, index.previous, other

    def require_room(self, events: int) -> None:
        """Raise CapacityError unless so many events can be appended."""
        if len(self) + events > self._log.users.size:
            raise CapacityError(f"{len(self) + events} events exceed the memory budget of {self._budget} bytes")

    def build(self, events: Events, users: int, items: int, untimed: int = 0, threads: int = 1) -> None:
        """Fill an empty history with the events of so many user and item rows; the first `untimed` have no time."""
        for given, column in zip(events, self._log, strict=True):
            if given is not None and column is not None:
                use_huge_pages(column, given.size)
        self._write(events)
        if events.times is not None:
            self.untimed = untimed
        counts = {"users": users, "items": items}
        at_once(lambda side: self._sides[side].build(getattr(events, side), counts[side]), list(counts), threads)

    def sorted_by(self, side: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The order that sorts a log just built by the `count` rows of a side, and the start of each row in it."""
        index = self._sides[side]
        return index.base[: len(self)], np.append(index.start[:count], len(self))

    def append(self, events: Events) -> None:
        """Add events at the end; there must be room."""
        first = len(self)
        self._write(events)
        for side, rows in (("users", events.users), ("items", events.items)):
            index = self._sides[side]
            log.append(rows, first, index.head, index.tailed, index.previous)

    def truncate(self, count: int) -> None:
        """Take the newest events off, until `count` are left."""
        gone = self._log.take(slice(count, len(self)))
        for side, rows in (("users", gone.users), ("items", gone.items)):
            index = self._sides[side]
            log.retract(rows, count, index.based, index.head, index.tailed, index.previous)
        if self.untimed is not None:
            gone.times[:] = 0  # type: ignore[index]
            self.untimed = self.untimed if count > self.untimed else None
        self._size[0] = count

    def of(self, side: str, rows: np.ndarray, limit: int | None = None) -> tuple[Events, np.ndarray]:
        """The events of some rows of a side, row after row, oldest first.

        Parameters
        ----------
        side : str
        rows : int32 array
        limit : int, optional
            Only the newest so many of each row.

        Returns
        -------
        events : Events
            Without times; of the side itself, the place in `rows` instead of the row.
        bounds : int64[len(rows) + 1]
            Row n has ``events[bounds[n]:bounds[n + 1]]``.
        """
        positions, bounds = self._sides[side].collect(rows, _NO_LIMIT if limit is None else limit)
        other = "items" if side == "users" else "users"
        found = np.empty(positions.size, np.int32)
        values, weights = np.empty(positions.size, np.float32), np.empty(positions.size, np.float32)
        columns = (getattr(self._log, other), self._log.values, self._log.weights)
        log.fetch(positions, *columns, found, values, weights)
        places = np.repeat(np.arange(rows.size, dtype=np.int32), np.diff(bounds))
        return Events(**{side: places, other: found}, values=values, weights=weights), bounds

    def items_of(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The item rows of all events of some user rows, user after user, and the bounds of each."""
        positions, bounds = self._sides["users"].collect(users, _NO_LIMIT)
        return self._log.items[positions], bounds

    def times_of(self, times: np.ndarray | None, count: int) -> np.ndarray | None:
        """The times that `count` events to be appended have: their own, else that of the newest, if any has one."""
        if times is not None or not self._timed:
            return times
        assert self._log.times is not None
        return np.full(count, self._log.times[len(self) - 1] if len(self) else 0, np.int64)

    def _write(self, events: Events) -> None:
        first, last = len(self), len(self) + events.users.size
        for name, column in zip(Events._fields[:4], events[:4], strict=True):
            getattr(self._log, name)[first:last] = column
        if self.untimed is None and events.times is not None and last > first:
            self.untimed = first
        if self._timed:
            assert self._log.times is not None
            self._log.times[first:last] = self.times_of(events.times, last - first)
        self._size[0] = last
