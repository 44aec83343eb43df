"""History: the model's own event log; who has seen what; a row's past."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.gate import Gate
from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import Numbering, order_by
from fastmf.log.events import SIDES, Events
from fastmf.memory import reserve, row_capacity, use_huge_pages

__all__ = ["Batch", "History", "Wanted", "newest_of"]

_NO_LIMIT = np.iinfo(np.int64).max
_PIECE = 1 << 14  # events, the most that asking for the newest times looks at again
_FEW = 16  # of them
_NO_ROWS = np.empty(0, np.int32)
_NO_TIMES = np.empty(0, np.int64)
_BYTES_PER_EVENT = 40  # two rows, value, weight, time, and in each side's index a link and two positions


class Batch(NamedTuple):
    """New events: (numbers of the other side, values, weights, times or none), the order that sorts them, starts."""

    columns: tuple[Any, ...]
    order: np.ndarray
    starts: np.ndarray


class Wanted(NamedTuple):
    """Which columns are asked for: whether times, and the value of all events where they are known to share one."""

    timed: bool
    value: float | None


class _High(NamedTuple):
    """The newest times of the first so many events, in ascending order."""

    events: int
    times: np.ndarray


class _Side:
    """Where the events of each row of one side are: see kernels/rows/log.py."""

    def __init__(self, rows: int, events: int, gate: Gate) -> None:
        self.start = reserve(rows, np.int64)
        self.based = reserve(rows, np.int32)
        self.tailed = reserve(rows, np.int32)
        self.head = reserve(rows, np.int32)  # row_capacity leaves events that int32 can number
        self.previous = reserve(events, np.int32)
        self.base = reserve(2 * events, np.int32)
        self.used = np.zeros(1, np.int64)  # an array, so that kernels can count on
        self.gate = gate

    def build(self, rows: np.ndarray, count: int) -> None:
        """Lay out all events at once."""
        use_huge_pages(self.base, rows.size)
        order, starts = order_by(rows, count, self.base[: rows.size])
        self.used[0] = order.size
        self.start[:count] = starts[:-1]
        self.based[:count] = np.diff(starts)

    def collect(self, rows: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the newest events of some rows, oldest first, and the bounds of each row in them."""
        bounds = np.empty(rows.size + 1, np.int64)
        events = np.empty(log.count(rows, limit, self.based, self.tailed, bounds), np.int64)
        log.collect(rows, bounds, self.links, events)
        return events, bounds

    @property
    def links(self) -> tuple[Any, ...]:
        """Start, based, head, tailed and previous, the base, how many of its positions are used, the gate's count."""
        changes = self.gate.changes
        return self.start, self.based, self.head, self.tailed, self.previous, self.base, self.used, changes


class History:
    """One log of events in order of arrival, indexed by user row and by item row.

    Appending n events costs O(n); reading a row costs its length. Rolling back takes events off the end.

    Parameters
    ----------
    rows : int
        Rows that a side may grow to.
    budget : int
        The bytes that the log may grow to.
    gate : Gate
        Is told when the index changes.
    """

    def __init__(self, rows: int, budget: int, gate: Gate) -> None:
        self.rows, self.budget = rows, budget
        capacity = row_capacity(budget, _BYTES_PER_EVENT)
        self._log = Events(
            reserve(capacity, np.int32),
            reserve(capacity, np.int32),
            reserve(capacity, np.float32),
            reserve(capacity, np.float32),
            reserve(capacity, np.int64),
        )
        self._sides = {side: _Side(rows, capacity, gate) for side in SIDES}
        self._size = np.zeros(1, np.int64)  # an array, so that a kernel can append
        self.untimed: int | None = None  # how many events came before the first with a time
        self._highs: list[_High] = []  # up to the end of each whole piece, and of all, as far as it was asked for
        self.unweighted: int | None = None  # how many came before the first with a weight: no weight of theirs is kept

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
        """The whole log, as views; see :meth:`between`."""
        return self.between(0, len(self))

    def between(self, first: int, last: int) -> Events:
        """Events `first` to `last` of the log, as views; weights are a copy where only the later events have any."""
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
        """For kernels that append: columns, whether those of weights and times count, the length as an array, capacity.

        `unweighted` is how many events weigh 1, whatever the column of weights has.
        """
        kept, unweighted = self._log, _NO_LIMIT if self.unweighted is None else self.unweighted
        columns = {"values": kept.values, "weights": kept.weights, "times": kept.times}
        counting = {"weighted": self._weighted, "timed": self._timed, "unweighted": unweighted}
        return columns | counting | {"events": self._size, "events_size": kept.users.size}

    def side_arrays(self, side: str) -> dict[str, np.ndarray]:
        """For kernels that append, or read one row: the rows of a side and its index, see kernels/rows/log.py."""
        index = self._sides[side]
        links = {"head": index.head, "tailed": index.tailed, "previous": index.previous}
        return links | {"log": getattr(self._log, side), "start": index.start, "based": index.based, "base": index.base}

    def items_since(self, first: int) -> np.ndarray:
        """The item rows of the events from number `first` on; a view."""
        return self._log.items[first : len(self)]

    def popularity(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The item rows of all events, a view, and the events of every item row, in two parts."""
        index = self._sides["items"]
        return self._log.items[: len(self)], index.based, index.tailed

    def past(self, side: str) -> tuple[np.ndarray, ...]:
        """For kernels that read rows of the other side: the links of a side and that column (kernels/rows/log.py)."""
        index = self._sides[side]
        other = self._log.items if side == "users" else self._log.users
        return index.start, index.based, index.base, index.head, index.previous, other

    def require_room(self, events: int) -> None:
        """Raise CapacityError unless so many events can be appended."""
        if len(self) + events > self._log.users.size:
            raise CapacityError(f"{len(self) + events} events exceed the memory budget of {self.budget} bytes")

    def room(self, side: str, count: int) -> np.ndarray:
        """Where the rows of a side are in an empty log of `count` events: written there, they need not be copied."""
        rows: np.ndarray = getattr(self._log, side)
        use_huge_pages(rows, count)
        return rows[:count]

    def build(
        self, events: Events, users: int, items: int, untimed: int = 0, unweighted: int = 0, threads: int = 1
    ) -> None:
        """Fill an empty history with the events of so many user and item rows.

        The first `untimed` have no time, and the first `unweighted` no weight, where the events have any.
        """
        for given, column in zip(events, self._log, strict=True):
            if given is not None and column is not None:
                use_huge_pages(column, given.size)
        self._write(0, events)
        self._size[0] = events.users.size
        if events.times is not None:
            self.untimed = untimed
        if events.weights is not None:
            self.unweighted = unweighted
        counts = {"users": users, "items": items}
        parallel_map(lambda side: self._sides[side].build(getattr(events, side), counts[side]), list(counts), threads)

    def sorted_by(self, side: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The order that sorts a log just built by the `count` rows of a side, and the start of each row in it."""
        index = self._sides[side]
        return index.base[: len(self)], np.append(index.start[:count], len(self))

    def append(self, events: Events) -> None:
        """Add events at the end; there must be room."""
        self.append_at(len(self), events)

    def append_at(self, first: int, events: Events) -> None:
        """Add events as number `first` and following, unless they are there: whoever was interrupted calls it again."""
        last = first + events.users.size
        if len(self) == last:
            return
        self._write(first, events)
        sides = []
        for side, index in self._sides.items():
            sides.append((getattr(self._log, side)[first:last], index.head, index.tailed, index.previous))
        log.append(tuple(sides), first, self._size)

    def truncate(self, count: int) -> None:
        """Take the newest events off, until `count` are left."""
        gone, sides = self._log.take(slice(count, len(self))), []
        if self.untimed is not None:
            gone.times[:] = 0  # type: ignore[index]
        for side, index in self._sides.items():
            sides.append((getattr(gone, side), index.based, index.head, index.tailed, index.previous))
        log.retract(tuple(sides), count, self._size)
        while self._highs and self._highs[-1].events > count:
            self._highs.pop()
        if self.untimed is not None:
            self.untimed = self.untimed if count > self.untimed else None
        if self.unweighted is not None:
            self.unweighted = self.unweighted if count > self.unweighted else None

    def counts(self, side: str, rows: np.ndarray | slice) -> np.ndarray:
        """How many events some rows of a side have."""
        index = self._sides[side]
        return np.asarray(index.based[rows] + index.tailed[rows])

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
            With weights, and with times where the log has any; of the side itself, the place in `rows` instead of the
            row.
        bounds : int64[len(rows) + 1]
            Row n has ``events[bounds[n]:bounds[n + 1]]``.
        """
        positions, bounds = self._sides[side].collect(rows, _NO_LIMIT if limit is None else limit)
        return self._fetch(positions, side, bounds), bounds

    def _fetch(self, positions: np.ndarray, side: str, bounds: np.ndarray) -> Events:
        """Events at some positions of the log, with the place in `bounds` in place of rows of the side itself."""
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
        """Lay out what :meth:`recall` would of these rows."""
        log.compact_all(rows, limit, self._sides[side].links)

    def recall(
        self,
        side: str,
        rows: np.ndarray,
        bounds: np.ndarray,
        limit: int,
        numbering: Numbering,
        new: Batch,
        wanted: Wanted,
    ) -> Events:
        """All that some rows have met once a batch is in: at most `limit` events of the past of each, then new ones.

        Of rows with more in their past, the newest half of `limit` and a sample of those before, which weigh as much as
        all that they stand for.

        Parameters
        ----------
        side : str
        rows : int32 array
        bounds : int64[len(rows) + 1]
            Row n is to have events ``bounds[n] - bounds[0]`` to ``bounds[n + 1] - bounds[0]``.
        limit : int
        numbering : Numbering
            Of the rows of the other side; those that are met for the first time get their numbers.
        new : Batch
        wanted : Wanted

        Returns
        -------
        Events
            Of the other side, the numbers; none of the side itself.
        """
        other, size, index = "items" if side == "users" else "users", int(bounds[-1] - bounds[0]), self._sides[side]
        unweighted = len(self) if self.unweighted is None else self.unweighted
        timed, value = wanted
        values = self._log.values if value is None else np.array([value], np.float32)
        columns = (getattr(self._log, other), values, self._log.weights, self._log.times, unweighted)
        kinds = ((size, np.int32), (size, np.float32), (size, np.float32), (size * timed, np.int64))
        out = tuple(np.empty(count, kind) for count, kind in kinds)
        log.recall(rows, bounds, limit, index.links, columns, numbering, new, out)
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
        """The item rows of the newest events of some user rows, user after user, and the bounds of each."""
        positions, bounds = self._sides["users"].collect(users, _NO_LIMIT if limit is None else limit)
        return self._log.items[positions], bounds

    def times_of(self, times: np.ndarray | None, count: int) -> np.ndarray | None:
        """The times that `count` events to be appended have: their own, else that of the newest, if any has one."""
        if times is not None or not self._timed:
            return times
        assert self._log.times is not None
        return np.full(count, self._log.times[len(self) - 1] if len(self) else 0, np.int64)

    def _write(self, first: int, events: Events) -> None:
        """Write the columns of events; they do not count yet."""
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
    """The newest `count` times, or all where there are no more, in ascending order."""
    return np.sort(times if times.size <= count else np.partition(times, times.size - count)[-count:])
