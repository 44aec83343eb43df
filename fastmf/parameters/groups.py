"""Groups: named parameters, of which a model may have any number.

A state, its Deltas, copies and files know a group by its name and by what :class:`Group` says, nothing else. There are
two kinds: :class:`RowGroup` has a row per id, :class:`DenseGroup` a few arrays.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fastmf.parameters.ids import IdMap, Staged
from fastmf.parameters.moves import DenseMove, Image, Move
from fastmf.parameters.table import Table

__all__ = ["DenseGroup", "Group", "RowGroup", "named"]

_NO_IDS = np.empty(0, np.int64)
_TAKEN = {"users", "items", "history", "gram"}  # what files have arrays of besides


def named(groups: dict[str, Group]) -> dict[str, Group]:
    """The groups of a learner, whose names files and `trainable` can tell apart.

    Raises
    ------
    ValueError
        Where a name is no identifier, or one that every model uses.
    """
    for name in groups:
        if not name.isidentifier() or name in _TAKEN:
            raise ValueError(f"groups: {name!r} must be an identifier other than {sorted(_TAKEN)}")
    return groups


class Group(Protocol):
    """Named parameters of a state.

    What a commit calls after ``require`` and ``prepare`` (``grow``, ``shrink``, ``write``) may not fail, and may be
    called again with the same arguments: whoever was interrupted starts over.
    """

    @property
    def count(self) -> int:
        """Rows, or 0 where there are none."""

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether all of some ids are distinct and new."""

    def require(self, move: Any, count: int) -> None:
        """Raise ValueError unless a move fits this group once it has `count` rows."""

    def prepare(self, fresh: np.ndarray) -> None:
        """Do all that can fail of letting ids in; CapacityError where there is no room."""

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Let ids in as rows `first`, `first` + 1, ..., each as it starts."""

    def shrink(self, count: int) -> None:
        """Let go of the rows from `count` on."""

    def write(self, move: Any) -> None:
        """Write what a move leads to."""

    def ids_from(self, first: int) -> np.ndarray:
        """The ids of the rows from `first` on."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as named arrays for a file."""

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Become what :meth:`arrays` gave; ValueError or KeyError where they are not consistent."""

    def copy(self) -> Group:
        """An independent group, equal to this one."""


class RowGroup:
    """A row per id: users, items.

    Parameters
    ----------
    table : Table
    ids : IdMap, optional
        An empty one by default.
    """

    def __init__(self, table: Table, ids: IdMap | None = None) -> None:
        self.table = table
        self.ids = IdMap(table.budget, table.capacity) if ids is None else ids

    @property
    def count(self) -> int:
        """How many ids are known."""
        return len(self.ids)

    def stage(self, ids: np.ndarray, column: str, rows: np.ndarray | None = None) -> Staged:
        """See :meth:`IdMap.stage`; CapacityError where there is no room for new ones."""
        staged = self.ids.stage(ids, column, rows)
        self.table.require_room(self.count + len(staged.fresh))
        return staged

    def start(self, fresh: np.ndarray) -> None:
        """Let the first ids in, into an empty group."""
        self.ids.extend(fresh, checked=True)
        self.table.fill(len(fresh))

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether all of some ids are distinct and new."""
        return not len(fresh) or len(self.ids.stage(fresh).fresh) == len(fresh)

    def require(self, move: Move, count: int) -> None:
        """Raise ValueError unless a move fits."""
        if not isinstance(move, Move):
            raise ValueError(f"{type(move).__name__} moves no rows")
        self.table.require_rows(move.rows, move.after, count)

    def prepare(self, fresh: np.ndarray) -> None:
        """Do all that can fail of letting ids in."""
        self.table.require_room(self.count + len(fresh))
        self.ids.prepare(fresh)

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Let ids in."""
        self.ids.insert(first, fresh)
        self.table.grow(first, first + len(fresh))

    def shrink(self, count: int) -> None:
        """Let go of the newest rows."""
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
        """The newest ids."""
        return self.ids.take(np.arange(first, self.count))

    def gather(self, rows: np.ndarray) -> Image:
        """Copies of some rows, or of what they would start as."""
        return self.table.gather(rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """Rows and ids."""
        return self.table.arrays() | self.ids.arrays()

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Fill an empty group from a file."""
        self.ids = IdMap.from_arrays(arrays, self.table.budget, self.table.capacity)
        self.table.load(arrays, len(self.ids))

    def copy(self) -> RowGroup:
        """An independent group, equal to this one."""
        return RowGroup(self.table.copy(), self.ids.copy())


class DenseGroup:
    """A few named arrays that belong to no id: a map, layers of a head, hyper-parameters.

    Parameters
    ----------
    values : dict of str to ndarray
        Names, shapes and dtypes never change.
    """

    count = 0

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.values = {name: np.array(value) for name, value in values.items()}

    def move(self, after: dict[str, np.ndarray]) -> DenseMove:
        """What sets some of the arrays."""
        return DenseMove({name: self.values[name].copy() for name in after}, after)

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether there are none: no id can be added."""
        return not len(fresh)

    def require(self, move: DenseMove, count: int) -> None:
        """Raise ValueError unless a move names arrays of this group, in their form and finite."""
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
        """Nothing grows."""

    def shrink(self, count: int) -> None:
        """Nothing shrinks."""

    def write(self, move: DenseMove) -> None:
        """Set the arrays of a move."""
        for name, value in move.after.items():
            self.values[name][...] = value

    def ids_from(self, first: int) -> np.ndarray:
        """None."""
        return _NO_IDS

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays themselves."""
        return self.values

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all arrays from a file."""
        move = DenseMove({}, {name: arrays[name] for name in self.values})
        self.require(move, 0)
        self.write(move)

    def copy(self) -> DenseGroup:
        """An independent group, equal to this one."""
        return DenseGroup(self.values)

    def __repr__(self) -> str:
        return f"DenseGroup({', '.join(f'{name}{list(value.shape)}' for name, value in self.values.items())})"
