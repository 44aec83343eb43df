"""Delta: one change of a model as a value, to report it, to undo it, and to repeat it on a copy of the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from fastmf.log.events import Events
from fastmf.parameters.moves import DenseMove, Move, require_move

__all__ = ["Delta", "Identity", "new_identity"]

_PER_ARRAY = 160  # bytes of overhead of an array, in Python and NumPy
_PER_TEXT = 50  # bytes of overhead of a str
_PER_DELTA = 2300  # bytes of everything else in a Delta: its parts, names and numbers


class Identity(NamedTuple):
    """Identity of a state: its unique name, and its version number within the lineage."""

    head: str
    version: int


def new_identity() -> str:
    """Return a unique name: 128 random bits in hexadecimal."""
    return os.urandom(16).hex()


@dataclass(frozen=True, eq=False)
class Delta:
    """One change of a model, as returned by ``update``, ``flush`` and ``rollback``.

    Applied to a copy of the model that is in the state `parent`, it gives a bit-identical result.

    Attributes
    ----------
    lineage : str
        Identity of the model, shared by its copies.
    parent, head : str
        Names of the states before and after the change. Copies that have diverged are in states of different names,
        even if their versions are equal.
    parent_version, version : int
        Versions of the model before and after the change, counted from the fit.
    moves : dict of str to Move or DenseMove
        Changed parameters before and after, by group: ``"users"``, ``"items"``. A row includes its bias and its
        optimizer state.
    new_ids : dict of str to ndarray
        New ids of each group, in row order.
    log : Events
        The events appended to the history, with row numbers in place of ids.
    scalars : dict of str to (float, float)
        Numbers that belong to no group (range of the values, whether times are dates), before and after.
    loss_before, loss_after : float
        Mean loss on the events of the batch, before and after the change.
    seconds : float
        Wall time of the change, in seconds.
    rejected : int
        Events that were skipped; always 0 in this version, which accepts or refuses a batch as a whole.
    notes : tuple of str
        What the learner has to say, such as why a change of tastes was detected, and what follows from it.
    images : dict of str to object
        Data from before the change that followers need to undo it, by follower.
    restores : int or None
        For the inverse of a Delta: the version whose state it restores. Its new ids and events are then removed rather
        than added.

    Examples
    --------
    >>> import fastmf
    >>> model = fastmf.MF(factors=4).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
    >>> delta = model.update(fastmf.Interactions([1, 3], [20, 20], values=[4, 2]))
    >>> delta.events, delta.new_users, (delta.parent_version, delta.version)
    (2, array([3]), (0, 1))
    """

    lineage: str
    parent: str
    head: str
    parent_version: int
    version: int
    moves: dict[str, Move | DenseMove]
    new_ids: dict[str, np.ndarray]
    log: Events
    scalars: dict[str, tuple[float, float]]
    loss_before: float
    loss_after: float
    seconds: float
    rejected: int = 0
    notes: tuple[str, ...] = ()
    restores: int | None = None
    images: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Number of events of the change."""
        return int(self.log.users.size)

    @property
    def new_users(self) -> np.ndarray:
        """Ids of the new users, in row order: int64, or object holding str."""
        return self.new_ids["users"]

    @property
    def new_items(self) -> np.ndarray:
        """Ids of the new items, in row order: int64, or object holding str."""
        return self.new_ids["items"]

    @property
    def reached(self) -> Identity:
        """Identity of the state after the change."""
        return Identity(self.head, self.version)

    @property
    def rows_moved(self) -> int:
        """Number of rows that changed, over all groups."""
        return sum(move.rows.size for move in self.moves.values())

    @property
    def nbytes(self) -> int:
        """Size in bytes; the overhead of Python objects is estimated."""
        arrays = [array for move in self.moves.values() for array in move.arrays]
        arrays += [array for image in self.images.values() for array in image.arrays]
        arrays += [column for column in self.log if column is not None]
        text = [len(one) + _PER_TEXT for ids in self.new_ids.values() if ids.dtype == object for one in ids]
        text += [len(note) + _PER_TEXT for note in self.notes]
        arrays += self.new_ids.values()
        return sum(array.nbytes + _PER_ARRAY for array in arrays) + sum(text) + _PER_DELTA

    def require_form(self) -> None:
        """Check the types and the consistency of all fields, for a Delta that was received from elsewhere.

        Raises
        ------
        ValueError
            If a field is malformed.
        """
        names, numbers = (self.lineage, self.parent, self.head), (self.parent_version, self.version)
        if not all(isinstance(name, str) for name in names) or self.head == self.parent:
            raise ValueError(f"a Delta from state {self.parent!r} to state {self.head!r} leads nowhere")
        if not all(isinstance(one, int) for one in numbers) or not self.parent_version < self.version:
            raise ValueError(f"a Delta does not lead from version {self.parent_version!r} to {self.version!r}")
        back = self.restores
        if back is not None and not (isinstance(back, int) and back <= self.parent_version):
            raise ValueError(f"a Delta of version {self.version} does not bring version {back!r} back")
        for name, ids in self.new_ids.items():
            if not (isinstance(ids, np.ndarray) and ids.ndim == 1 and ids.dtype in (np.int64, np.object_)):
                raise ValueError(f"new {name} of the Delta are no column of ids")
            if ids.dtype == object and not all(isinstance(one, str) for one in ids):
                raise ValueError(f"new {name} of the Delta are not all str")
        for name, move in self.moves.items():
            require_move(name, move)
        if not isinstance(self.log, Events):
            raise ValueError(f"the log of a Delta is {type(self.log).__name__}, not Events")
        for name, pair in self.scalars.items():
            if len(pair) != 2 or not all(isinstance(one, float) and one == one for one in pair):
                raise ValueError(f"{name} of the Delta is {pair!r}, not a number before and one after")
        if not (isinstance(self.notes, tuple) and all(isinstance(one, str) for one in self.notes)):
            raise ValueError(f"notes of the Delta are {self.notes!r}, not a tuple of str")

    def inverse(self, parent: str, version: int) -> Delta:
        """Return the Delta that undoes this one.

        Parameters
        ----------
        parent : str
            Name of the state that the model is in (``model.head``).
        version : int
            Version of the model after the inverse has been applied.

        Returns
        -------
        Delta
            The inverse; its ``restores`` is the version that this Delta started from.
        """
        return replace(
            self,
            parent=parent,
            head=new_identity(),
            version=version,
            moves={name: move.inverse() for name, move in self.moves.items()},
            scalars={name: (after, before) for name, (before, after) in self.scalars.items()},
            loss_before=self.loss_after,
            loss_after=self.loss_before,
            seconds=0.0,
            parent_version=version - 1,
            notes=(),
            restores=self.parent_version,
        )

    @classmethod
    def merge(cls, deltas: Sequence[Delta]) -> Delta:
        """Merge Deltas that follow each other into one.

        Parameters
        ----------
        deltas : sequence of Delta
            Oldest first; each starts from the state that the one before it leads to.

        Returns
        -------
        Delta
            The change from the first parent to the last head, equal to applying all of them.
        """
        first, last = deltas[0], deltas[-1]
        groups, fresh = _by_name(delta.moves for delta in deltas), _by_name(delta.new_ids for delta in deltas)
        return replace(
            last,
            parent=first.parent,
            parent_version=first.parent_version,
            moves={name: type(moves[0]).merge(moves) for name, moves in groups.items()},
            new_ids={name: np.concatenate(ids) for name, ids in fresh.items()},
            log=Events.concatenate([delta.log for delta in deltas]),
            scalars={name: (first.scalars[name][0], last.scalars[name][1]) for name in last.scalars},
            loss_before=first.loss_before,
            seconds=sum(delta.seconds for delta in deltas),
            rejected=sum(delta.rejected for delta in deltas),
            notes=tuple(note for delta in deltas for note in delta.notes),
            images=first.images,
        )

    def __str__(self) -> str:
        parts = [] if self.restores is None else [f"back to version {self.restores}"]
        parts.append(_counted(self.events, "event"))
        for name, move in self.moves.items():
            if isinstance(move, DenseMove):
                continue
            if name not in self.new_ids:
                parts.append(f"features of {_counted(move.rows.size, name.removesuffix('_features'))}")
                continue
            fresh = len(self.new_ids.get(name, ()))
            parts.append(_counted(move.rows.size, name.removesuffix("s")) + (f" ({fresh} new)" if fresh else ""))
        parts.append(f"loss {self.loss_before:.3g} -> {self.loss_after:.3g}")
        return ", ".join([*parts, f"{1e3 * self.seconds:.1f} ms", *self.notes])

    def __repr__(self) -> str:
        return f"<Delta {self.parent_version} -> {self.version}: {self}>"


def _by_name(parts: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Collect the values of several dicts by key, in their order."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        for name, one in part.items():
            found.setdefault(name, []).append(one)
    return found


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
