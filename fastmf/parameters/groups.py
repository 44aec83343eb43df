"""Groups: named parameters of a model.

A state, its Deltas, copies and files use a group only through its name and the protocol :class:`Group`. There are two
kinds: :class:`RowGroup` has one row per id, :class:`DenseGroup` has a few arrays.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastmf.parameters.ids import IdMap, Staged
from fastmf.parameters.moves import DenseMove, Image, Move
from fastmf.parameters.table import Table

__all__ = ["DenseGroup", "Group", "RowGroup", "named"]

_NO_IDS = np.empty(0, np.int64)
_TAKEN = {"users", "items", "history", "gram", "views"}  # names of other arrays in files


def named(groups: dict[str, Group]) -> dict[str, Group]:
    """Check the names of a learner's groups, which must be unambiguous in files and in `trainable`; return the groups.

    Raises
    ------
    ValueError
        If a name is not an identifier, or is one that every model uses.
    """
    for name in groups:
        if not name.isidentifier() or name in _TAKEN:
            raise ValueError(f"groups: {name!r} must be an identifier other than {sorted(_TAKEN)}")
    return groups


class Group(Protocol):
    """Named parameters of a state.

    The methods that a commit calls after ``require`` and ``prepare`` (``grow``, ``shrink``, ``write``) must not fail,
    and must be idempotent: after an interrupt they are called again with the same arguments.
    """

    @property
    def count(self) -> int:
        """Number of rows; 0 for a group without rows."""

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether the ids are distinct and all unknown."""

    def require(self, move: Any, count: int) -> None:
        """Raise ValueError unless a move fits this group once it has `count` rows."""

    def prepare(self, fresh: np.ndarray) -> None:
        """Do everything about adding ids that can fail; CapacityError if there is no room."""

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Add ids as rows `first`, `first` + 1, ..., with their initial values."""

    def shrink(self, count: int) -> None:
        """Remove the rows from `count` on."""

    def write(self, move: Any) -> None:
        """Write the new values of a move."""

    def ids_from(self, first: int) -> np.ndarray:
        """Return the ids of the rows from `first` on."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as named arrays, for a file."""

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the group from what :meth:`arrays` returned; ValueError or KeyError if that is inconsistent."""

    def copy(self) -> Group:
        """Return an independent copy."""

    def join(self, groups: dict[str, Any]) -> None:
        """Called once, when the group becomes part of a state, with all groups of that state."""


class RowGroup:
    """Group with one row per id: users, items.

    Parameters
    ----------
    table : Table
        The rows.
    ids : IdMap, optional
        The ids of the rows; an empty map by default.

    Attributes
    ----------
    derives : bool
        Whether rows without events follow from another group: Gram matrices leave them out.
    """

    def __init__(self, table: Table, ids: IdMap | None = None) -> None:
        self.table, self.derives = table, False
        self.ids = IdMap(table.budget, table.capacity) if ids is None else ids

    @property
    def count(self) -> int:
        """Number of known ids."""
        return len(self.ids)

    def stage(self, ids: np.ndarray, column: str, rows: np.ndarray | None = None) -> Staged:
        """Stage ids as :meth:`IdMap.stage` does; CapacityError if there may be no room for the new ones."""
        staged = self.ids.stage(ids, column, rows)
        self.table.require_room(self.count + len(staged.fresh))
        return staged

    def start(self, fresh: np.ndarray) -> None:
        """Add the first ids to an empty group."""
        self.ids.extend(fresh, checked=True)
        self.table.fill(len(fresh))

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether the ids are distinct and all unknown."""
        return not len(fresh) or len(self.ids.stage(fresh).fresh) == len(fresh)

    def require(self, move: Move, count: int) -> None:
        """Raise ValueError unless a move fits."""
        if not isinstance(move, Move):
            raise ValueError(f"{type(move).__name__} moves no rows")
        self.table.require_rows(move.rows, move.after, count)

    def prepare(self, fresh: np.ndarray) -> None:
        """Do everything about adding ids that can fail."""
        self.table.make_room(self.count + len(fresh))
        self.ids.prepare(fresh)

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Add ids with their initial rows."""
        self.ids.insert(first, fresh)
        self.table.grow(first, first + len(fresh))

    def shrink(self, count: int) -> None:
        """Remove the newest rows."""
        self.ids.truncate(count)
        self.table.count = count

    def write(self, move: Move) -> None:
        """Write moved rows, except those that a shrinking group has dropped."""
        kept = move.rows < self.table.count
        if kept.all():
            self.table.scatter(move.rows, move.after)
        else:
            self.table.scatter(move.rows[kept], move.after.take(kept))

    def ids_from(self, first: int) -> np.ndarray:
        """Return the ids of the rows from `first` on."""
        return self.ids.take(np.arange(first, self.count))

    def gather(self, rows: np.ndarray) -> Image:
        """Copy some rows; rows beyond the table have their initial values."""
        return self.table.gather(rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows and the ids as arrays, for a file."""
        return self.table.arrays() | self.ids.arrays()

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Fill an empty group from a file."""
        self.ids = IdMap.from_arrays(arrays, self.table.budget, self.table.capacity)
        self.table.load(arrays, len(self.ids))

    def copy(self) -> RowGroup:
        """Return an independent copy."""
        return RowGroup(self.table.copy(), self.ids.copy())

    def join(self, groups: dict[str, Any]) -> None:
        """Do nothing: the rows depend on no other group."""


class DenseGroup:
    """Group of a few named arrays without ids: a linear map, layers of a network, hyper-parameters.

    Parameters
    ----------
    values : dict of str to ndarray
        The arrays. Their names, shapes and dtypes never change.
    """

    count = 0

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.values = {name: np.array(value) for name, value in values.items()}

    def move(self, after: dict[str, np.ndarray]) -> DenseMove:
        """Make the move that sets some of the arrays."""
        return DenseMove({name: self.values[name].copy() for name in after}, after)

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether there are no ids to add: the group has none."""
        return not len(fresh)

    def require(self, move: DenseMove, count: int) -> None:
        """Raise ValueError unless a move sets arrays of this group to finite values of the right shape and dtype."""
        if not isinstance(move, DenseMove):
            raise ValueError(f"{type(move).__name__} moves rows, of which there are none")
        for name, value in move.after.items():
            known = self.values.get(name)
            fits = known is not None and (value.shape, value.dtype) == (known.shape, known.dtype)
            if not fits or not np.isfinite(value).all():
                raise ValueError(f"{name}, {value.dtype}{list(value.shape)}, does not fit {self!r}")

    def prepare(self, fresh: np.ndarray) -> None:
        """Raise ValueError where ids are to be added: the group has none."""
        if len(fresh):
            raise ValueError(f"{self!r} has no ids")

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Do nothing: the group has no rows."""

    def shrink(self, count: int) -> None:
        """Do nothing: the group has no rows."""

    def write(self, move: DenseMove) -> None:
        """Write the new values of a move."""
        for name, value in move.after.items():
            self.values[name][...] = value

    def ids_from(self, first: int) -> np.ndarray:
        """Return an empty array: the group has no ids."""
        return _NO_IDS

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays themselves."""
        return self.values

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all arrays from a file."""
        move = DenseMove({}, {name: arrays[name] for name in self.values})
        self.require(move, 0)
        self.write(move)

    def copy(self) -> DenseGroup:
        """Return an independent copy."""
        return DenseGroup(self.values)

    def join(self, groups: dict[str, Any]) -> None:
        """Do nothing: no other group depends on this one."""

    def __repr__(self) -> str:
        return f"DenseGroup({', '.join(f'{name}{list(value.shape)}' for name, value in self.values.items())})"
