"""The 8-bit quantized copy of a table that prunes top-k searches of single queries, kept current on demand."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta
from fastmf.errors import CapacityError
from fastmf.followers.derived import moved_by
from fastmf.gate import Gate
from fastmf.kernels.rank import quantized
from fastmf.log.history import History
from fastmf.memory import grown, zeros
from fastmf.parameters.table import Table

__all__ = ["QuantizedScan"]

_FROM = 1 << 12  # rows from which pruning is faster than scoring all
_EARNED = 8  # queries after which making a copy pays off
_PIECE = 1 << 16  # rows encoded per kernel call, between which Ctrl-C is handled

Codes = tuple[np.ndarray, np.ndarray, np.ndarray]


class _Change(NamedTuple):
    """The rows that a Delta changed, and the numbers of events and of rows after it."""

    rows: np.ndarray
    events: int
    known: int


class _Copy(NamedTuple):
    """Codes, steps and slack (see kernels/rank/quantized.py) of the first `known` rows, after `events` events."""

    codes: Codes
    events: int
    known: int


class QuantizedScan:
    """An 8-bit copy of a table, made once enough single queries have been asked, and updated by the next query.

    What has moved since is what Deltas say, and the items of events that were learned singly, which are in the history.
    Nothing is kept, and nothing costs anything, until there is a copy; where more has moved than the table has rows,
    the copy is dropped.

    Parameters
    ----------
    group : str
        The group whose table is copied.
    """

    def __init__(self, group: str = "items") -> None:
        self.group = group
        self._copy: _Copy | None = None
        self._scans = 0
        self._changes: list[_Change] = []  # appended to by changes, cut off at the front by questions
        self._moved = 0  # rows in them, and one for each: they take room too
        self._asking: dict[int, object] = {}  # who is: set and removed in one step each, whatever Ctrl-C hits

    # --- as a follower ------------------------------------------------------------------------------------------------

    def prepare(self, state: Any, delta: Delta) -> None:
        """Nothing can fail."""

    def abort(self) -> None:
        """Nothing to undo."""

    def follow(self, state: Any, delta: Delta) -> None:
        """Record the rows that a Delta changed; recording one twice is harmless."""
        if self._copy is None:
            return
        count = state.groups[self.group].count
        rows = moved_by(state, delta, self.group)
        self._changes.append(_Change(rows, len(state.history), count))
        self._moved += rows.size + 1
        if self._moved > count:
            self._let_go()

    def _let_go(self) -> None:
        self._copy, self._changes, self._moved = None, [], 0

    def copy(self) -> QuantizedScan:
        """A new instance for another state, without a quantized copy."""
        return QuantizedScan(self.group)

    # --- for queries --------------------------------------------------------------------------------------------------

    def codes(self, table: Table, history: History, gate: Gate) -> Codes | None:
        """Current codes, steps and slack of all rows.

        Parameters
        ----------
        table : Table
        history : History
        gate : Gate

        Returns
        -------
        (int8[capacity, code width], float32[capacity], float32[capacity]) or None
            None if a copy does not pay off, another thread is updating it, or the table has changed meanwhile.
        """
        self._scans += 1
        if table.count < _FROM or self._scans <= _EARNED:
            return None
        me = object()
        try:
            if self._asking.setdefault(0, me) is not me:
                return None
            return self._up_to_date(table, history, gate)
        except CapacityError:
            self._scans = -(1 << 62)
            return None
        finally:
            if self._asking.get(0) is me:
                del self._asking[0]

    def _up_to_date(self, table: Table, history: History, gate: Gate) -> Codes | None:
        before, changes = int(gate.changes[0]), list(self._changes)
        count, seen = table.count, len(history)
        held = self._copy or _Copy(_empty(table), seen, 0)
        if not changes and held[1:] == (seen, count):
            return None if before & 1 or int(gate.changes[0]) != before else held.codes
        known = min(held.known, *(change.known for change in changes), count)
        events = changes[-1].events if changes else held.events
        fresh = np.arange(known, count, dtype=np.int32)
        rows = np.concatenate([*(change.rows for change in changes), history.items_since(events), fresh])
        rows = rows[rows < count] if rows.size < count else np.arange(count, dtype=np.int32)
        codes = grown(held.codes[0], count), grown(held.codes[1], count), grown(held.codes[2], count)
        for first in range(0, rows.size, _PIECE):
            quantized.encode(table.shape)(rows[first : first + _PIECE], table.factors, *codes)
        if before & 1 or int(gate.changes[0]) != before:  # rows may have changed while they were read
            return None
        self._copy, self._changes, self._moved = _Copy(codes, seen, count), [], 0
        if int(gate.changes[0]) != before:  # the assignment may have discarded a change that `follow` had recorded
            self._let_go()
            return None
        return codes


def _empty(table: Table) -> Codes:
    count, width = table.count, quantized.code_width(table.shape.width)
    return zeros(count, np.int8, width), zeros(count, np.float32), zeros(count, np.float32)
