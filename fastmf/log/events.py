"""Events: the columns of a log, with row numbers in place of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["SIDES", "Events"]

SIDES = ("users", "items")  # the groups whose rows an event names

_ONE = np.ones(1, np.float32)
_ONE.flags.writeable = False


class Events(NamedTuple):
    """Events with row numbers in place of ids; the columns of the log. Without weights, each event weighs 1."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None
    times: np.ndarray | None = None

    def take(self, positions: np.ndarray | slice) -> Events:
        """Select events by positions or a slice."""
        return Events(*(None if column is None else column[positions] for column in self))  # type: ignore[arg-type]

    def pieces(self, size: int) -> list[Events]:
        """Split the events into consecutive parts of `size`, as views."""
        count = self.users.size
        return [self] if 0 < count <= size else [self.take(slice(n, n + size)) for n in range(0, count, size)]

    def copy(self) -> Events:
        """Copy the events."""
        return Events(*(None if column is None else column.copy() for column in self))  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, parts: Sequence[Events]) -> Events:
        """Concatenate events; if only some have times, the time of the others is 0, as in the log."""
        users, items, values = (np.concatenate(c) for c in zip(*(part[:3] for part in parts), strict=True))
        weights = times = None
        if any(part.weights is not None for part in parts):
            weights = np.concatenate([part.weighed().weights for part in parts])
        if any(part.times is not None for part in parts):
            given = [np.zeros(part.users.size, np.int64) if part.times is None else part.times for part in parts]
            times = np.concatenate(given)
        return cls(users, items, values, weights, times)

    def weighed(self) -> Events:
        """Return the events with weights; if they have none, with a read-only view of a single 1."""
        if self.weights is not None:
            return self
        return self._replace(weights=np.ndarray(self.items.size, np.float32, _ONE, strides=(0,)))

    def contiguous(self) -> Events:
        """Return the events with contiguous columns."""
        return Events(*(None if column is None else np.ascontiguousarray(column) for column in self))  # type: ignore[arg-type]

    def require(self, users: int, items: int) -> None:
        """Raise ValueError unless these are valid columns of a log with so many user and item rows."""
        kinds = (np.int32, np.int32, np.float32, np.float32, np.int64)
        for name, column, kind in zip(self._fields, self, kinds, strict=True):
            if column is None and name in ("weights", "times"):
                continue
            if column is None or column.dtype != kind or column.shape != self.users.shape or column.ndim != 1:
                raise ValueError(f"the history's {name} are not a column of {np.dtype(kind).name}")
        weights = np.float32(1) if self.weights is None else self.weights
        if not np.isfinite(self.values).all() or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("the history's values and weights are not all finite, or a weight is negative")
        for name, count in (("users", users), ("items", items)):
            rows = getattr(self, name)
            if rows.size and not 0 <= rows.min() <= rows.max() < count:
                raise ValueError(f"the history names {name} beyond the {count} that are known")
