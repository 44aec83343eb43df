"""The trail: the Deltas that led to the present state, for rollback and replication."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastmf.delta import Delta, Identity
from fastmf.errors import StaleDelta

__all__ = ["Trail"]

_BYTES = 64 << 20  # default budget for kept Deltas
_STATES = 1 << 12  # maximum number of remembered states


class _Kept(NamedTuple):
    """A Delta, its size in bytes, and the cumulative size of all up to it."""

    delta: Delta
    size: int
    total: int


class Trail:
    """The Deltas that led to the present state, newest last; the oldest are dropped beyond a budget of bytes.

    Parameters
    ----------
    states : sequence of sequences of Identity
        The identities of the state where the trail begins and of those reached since; a state that a rollback returned
        to has several.
    budget : int
        Maximum size of the kept Deltas in bytes.
    """

    def __init__(self, states: Sequence[Sequence[Identity]], budget: int = _BYTES) -> None:
        self._budget = budget
        self._states: deque[list[Identity]] = deque((list(names) for names in states), _STATES)
        self._kept: deque[_Kept] = deque()
        self._passed = deque((name.head for names in states for name in names), _STATES)

    @property
    def states(self) -> list[Identity]:
        """The identities of the initial state and of the states reached by Deltas that have not been rolled back."""
        return [state[0] for state in self._states]

    @property
    def names(self) -> list[list[Identity]]:
        """The same states, each with all its identities."""
        return [list(names) for names in self._states]

    @property
    def newest(self) -> Identity | None:
        """The state reached by the newest Delta that has not been rolled back; None if there is none."""
        return self._states[-1][0] if len(self._states) > 1 else None

    @property
    def last(self) -> Delta | None:
        """The Delta that led to the newest state, if it is kept."""
        return self._kept[-1].delta if self._kept and self._kept[-1].delta.reached == self.newest else None

    @property
    def nbytes(self) -> int:
        """The size of the kept Deltas in bytes."""
        if not self._kept:
            return 0
        return self._kept[-1].total - self._kept[0].total + self._kept[0].size

    def passed(self, head: str) -> bool:
        """Whether the model has been in the state `head`, among the newest few thousand states."""
        return head in self._passed

    def copy(self) -> Trail:
        """A trail through the same states without Deltas."""
        return Trail(self.names, self._budget)

    def prepare(self, state: Any, delta: Delta) -> None:
        """Nothing can fail."""

    def abort(self) -> None:
        """Nothing to undo."""

    def follow(self, state: Any, delta: Delta) -> None:
        """Record a committed Delta, once."""
        reached = delta.reached
        if not self._passed or self._passed[-1] != reached.head:
            self._passed.append(reached.head)
        if delta.restores is None:
            if not self._kept or self._kept[-1].delta is not delta:
                size = delta.nbytes
                self._kept.append(_Kept(delta, size, size + (self._kept[-1].total if self._kept else 0)))
            if self._states[-1][-1] != reached:
                self._states.append([reached])
            while self.nbytes > self._budget and len(self._kept) > 1:
                self._kept.popleft()
            return
        while len(self._states) > 1 and self._states[-1][0].version > delta.restores:
            self._states.pop()
        while self._kept and self._kept[-1].delta.version > delta.restores:
            self._kept.pop()
        names = self._states[-1]
        if names[-1] != reached:
            names.append(reached)
            del names[1 : max(1, len(names) - _STATES + 1)]  # the first is what the state is called

    def since(self, version: int) -> list[Delta]:
        """The Deltas after a version, oldest first.

        Parameters
        ----------
        version : int

        Returns
        -------
        list of Delta

        Raises
        ------
        StaleDelta
            If the version is not on the trail, or one of the Deltas is no longer kept.
        """
        states, kept = list(self._states), [kept.delta for kept in self._kept]
        place = bisect.bisect_right(states, version, key=lambda state: state[0].version) - 1
        if place < 0 or version not in [state.version for state in states[place]]:
            raise StaleDelta(f"version {version} is not one that the present state came from")
        wanted = len(states) - 1 - place
        if wanted > len(kept):
            oldest = kept[0].parent_version if kept else states[-1][0].version
            raise StaleDelta(f"Deltas are kept back to version {oldest}, not to {version}")
        return kept[len(kept) - wanted :]
