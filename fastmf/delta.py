"""Delta: the unit of change. It is the receipt of an update, its undo, and the patch for another copy of the model."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fastmf.errors import StaleDelta
from fastmf.followers.grams import Gram
from fastmf.log.history import Events
from fastmf.parameters.table import SIDES, Move, Rows

__all__ = ["Delta", "Move", "Trail"]


@dataclass(frozen=True, eq=False)
class Delta:
    """What one change did to a model; applying it to a copy at `parent` gives the same bits.

    Attributes
    ----------
    lineage : str
        The model's identity, shared by its copies.
    parent, version : int
        The model's version before and after.
    moves : dict of str to Move
        Moved rows by group, ``"users"`` and ``"items"``; a bias and optimizer memory travel with their row.
    new_ids : dict of str to ndarray
        Ids that came in, in row order.
    log : Events
        The events appended to the history, with row numbers.
    scalars : dict of str to (float, float)
        The few numbers that belong to no row, before and after.
    loss_before, loss_after : float
        Mean loss on the events, before and after.
    seconds : float
        Wall time of the change.
    rejected : int
        Events that were left out; 0 in this version, which takes a batch whole or not at all.
    grams : dict of str to Gram
        The Gram matrices before, where the model keeps any: whoever applies the Delta corrects their own.
    restores : int or None
        For the inverse of a Delta: the version whose state it brings back. Its new ids and events are then removed, not
        added.
    """

    lineage: str
    parent: int
    version: int
    moves: dict[str, Move]
    new_ids: dict[str, np.ndarray]
    log: Events
    scalars: dict[str, tuple[float, float]]
    loss_before: float
    loss_after: float
    seconds: float
    rejected: int = 0
    restores: int | None = None
    grams: dict[str, Gram] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self.log.users.size)

    @property
    def new_users(self) -> np.ndarray:
        """Ids of the users that came in."""
        return self.new_ids["users"]

    @property
    def new_items(self) -> np.ndarray:
        """Ids of the items that came in."""
        return self.new_ids["items"]

    @property
    def rows_moved(self) -> int:
        """User rows and item rows that moved."""
        return sum(move.rows.size for move in self.moves.values())

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held."""
        rows = [part for move in self.moves.values() for part in (move.rows, *move.before, *move.after)]
        grams = [array for gram in self.grams.values() for array in gram]
        log = [column for column in self.log if column is not None]
        return sum(array.nbytes for array in (*rows, *grams, *self.new_ids.values(), *log))

    def inverse(self, parent: int) -> Delta:
        """The Delta that takes this one back from a model that is at version `parent`."""
        return replace(
            self,
            parent=parent,
            version=parent + 1,
            moves={side: Move(move.rows, move.after, move.before) for side, move in self.moves.items()},
            scalars={name: (after, before) for name, (before, after) in self.scalars.items()},
            loss_before=self.loss_after,
            loss_after=self.loss_before,
            seconds=0.0,
            restores=self.parent,
        )

    @classmethod
    def merge(cls, deltas: Sequence[Delta]) -> Delta:
        """One Delta in place of several that follow each other."""
        first, last = deltas[0], deltas[-1]
        return replace(
            last,
            parent=first.parent,
            moves={side: _merge_moves([delta.moves[side] for delta in deltas]) for side in SIDES},
            new_ids={side: np.concatenate([delta.new_ids[side] for delta in deltas]) for side in SIDES},
            log=Events.concatenate([delta.log for delta in deltas]),
            scalars={name: (first.scalars[name][0], last.scalars[name][1]) for name in last.scalars},
            loss_before=first.loss_before,
            seconds=sum(delta.seconds for delta in deltas),
            rejected=sum(delta.rejected for delta in deltas),
            grams=first.grams,
        )

    def __str__(self) -> str:
        parts = [] if self.restores is None else [f"back to version {self.restores}"]
        parts.append(_counted(self.events, "event"))
        for side in SIDES:
            new = f" ({len(self.new_ids[side])} new)" if len(self.new_ids[side]) else ""
            parts.append(_counted(self.moves[side].rows.size, side[:-1]) + new)
        parts.append(f"loss {self.loss_before:.3g} → {self.loss_after:.3g}")
        return " · ".join([*parts, f"{1e3 * self.seconds:.1f} ms"])

    def __repr__(self) -> str:
        return f"<Delta {self.parent} → {self.version}: {self}>"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _merge_moves(moves: Sequence[Move]) -> Move:
    """Each row once: as it was before its first move, and after its last."""
    rows = np.concatenate([move.rows for move in moves])
    unique, first = np.unique(rows, return_index=True)
    last = rows.size - 1 - np.unique(rows[::-1], return_index=True)[1]
    return Move(unique, _pick([move.before for move in moves], first), _pick([move.after for move in moves], last))


def _pick(parts: Sequence[Rows], places: np.ndarray) -> Rows:
    factors = np.concatenate([part.factors for part in parts])[places]
    return Rows(factors, np.concatenate([part.records for part in parts])[places]).copy()


class Trail:
    """The Deltas that led to the present state, newest last; old ones are dropped beyond a budget of bytes.

    Parameters
    ----------
    budget : int
        Bytes of Deltas that are kept.
    versions : sequence of int
        The version where the trail begins, and the versions passed since.
    """

    def __init__(self, budget: int, versions: Sequence[int] = (0,)) -> None:
        self._budget = budget
        self._states = [[version] for version in versions]  # versions that are one state: it was come back to
        self._kept: deque[Delta] = deque()
        self._bytes = 0

    @property
    def versions(self) -> list[int]:
        """The version where the trail begins, and those of the Deltas that have not been taken back."""
        return [state[0] for state in self._states]

    @property
    def newest(self) -> int | None:
        """The version of the newest Delta that has not been taken back."""
        return self._states[-1][0] if len(self._states) > 1 else None

    def copy(self) -> Trail:
        """A trail of its own that shares the Deltas."""
        other = Trail(self._budget)
        other._states = [state.copy() for state in self._states]
        other._kept, other._bytes = self._kept.copy(), self._bytes
        return other

    def follow(self, delta: Delta) -> None:
        """Take note of a committed Delta."""
        if delta.restores is None:
            self._states.append([delta.version])
            self._kept.append(delta)
            self._bytes += delta.nbytes
            while self._bytes > self._budget and len(self._kept) > 1:
                self._bytes -= self._kept.popleft().nbytes
            return
        while len(self._states) > 1 and self._states[-1][0] > delta.restores:
            self._states.pop()
        while self._kept and self._kept[-1].version > delta.restores:
            self._bytes -= self._kept.pop().nbytes
        self._states[-1].append(delta.version)

    def since(self, version: int) -> list[Delta]:
        """The Deltas after a version, oldest first.

        Raises
        ------
        StaleDelta
            Where the version is not on the trail, or one of the Deltas is not kept any more.
        """
        place = bisect.bisect_right(self._states, version, key=lambda state: state[0]) - 1
        if place < 0 or version not in self._states[place]:
            raise StaleDelta(f"version {version} is not one that the present state came from")
        wanted = len(self._states) - 1 - place
        if wanted > len(self._kept):
            oldest = self._kept[0].parent if self._kept else self._states[-1][0]
            raise StaleDelta(f"Deltas are kept back to version {oldest}, not to {version}")
        return list(self._kept)[len(self._kept) - wanted :]
