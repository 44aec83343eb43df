"""Images and moves: copies of rows, and changes of parameters with the values before and after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastmf.memory import ALIGNMENT, aligned

__all__ = ["DenseMove", "Image", "Move", "require_move"]


class Image(tuple[np.ndarray, ...]):
    """Rows as a tuple of float32 arrays with one line per row: factors, records, and further parts of a row, if any.

    Factors, and further parts as wide as these, are padded and aligned for kernels: make them with
    :func:`fastmf.memory.aligned` or :meth:`copy`.
    """

    __slots__ = ()

    @property
    def factors(self) -> np.ndarray:
        """The first part, float32, shape (rows, width)."""
        return self[0]

    @property
    def records(self) -> np.ndarray:
        """The second part, float32, shape (rows, fields): bias and optimizer state."""
        return self[1]

    def copy(self) -> Image:
        """Copy the rows to aligned memory."""
        return Image(_placed(part) if self._padded(part) else part.copy() for part in self)

    def placed(self) -> Image:
        """Return the rows, with copies of parts that are not aligned, as after unpickling."""
        if all(_is_placed(part) for part in self if self._padded(part)):
            return self
        return Image(_placed(part) if self._padded(part) and not _is_placed(part) else part for part in self)

    def _padded(self, part: np.ndarray) -> bool:
        """Whether kernels may load the lines of a part as lanes, which have to be aligned."""
        return bool(part.shape[1] == self[0].shape[1])

    def take(self, positions: np.ndarray) -> Image:
        """Copy some of the rows."""
        return Image(part[positions] for part in self).copy()

    def head(self, count: int) -> Image:
        """Return the first `count` rows as views."""
        return Image(part[:count] for part in self)

    def within(self, largest: float) -> bool:
        """Whether every number has a finite square, and no factor is beyond `largest`."""
        parts = [part.ravel() for part in self]  # a sum of squares is finite only where every term is
        finite = all(math.isfinite(np.vdot(part, part)) for part in parts)
        return finite and (largest == np.inf or bool((np.abs(self[0]) <= largest).all()))

    @classmethod
    def concatenate(cls, images: Sequence[Image]) -> Image:
        """Concatenate images."""
        return cls(np.concatenate(parts) for parts in zip(*images, strict=True)).copy()


def _is_placed(part: np.ndarray) -> bool:
    """Whether an array is aligned for kernels."""
    return bool(part.__array_interface__["data"][0] % ALIGNMENT == 0)


def _placed(part: np.ndarray) -> np.ndarray:
    """Copy an array to aligned memory."""
    copy = aligned(*part.shape)
    copy[:] = part
    return copy


class Move(NamedTuple):
    """Rows of one group that changed (int32, in any order), with their values before and after."""

    rows: np.ndarray
    before: Image
    after: Image

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that is held."""
        return (self.rows, *self.before, *self.after)

    def inverse(self) -> Move:
        """The move back."""
        return Move(self.rows, self.after, self.before)

    @staticmethod
    def merge(moves: Sequence[Move]) -> Move:
        """Merge consecutive moves: each row with its values before its first and after its last change."""
        rows = np.concatenate([move.rows for move in moves])
        unique, first = np.unique(rows, return_index=True)
        last = rows.size - 1 - np.unique(rows[::-1], return_index=True)[1]
        before, after = (Image.concatenate([move[side] for move in moves]) for side in (1, 2))  # type: ignore[misc]
        return Move(unique, before.take(first), after.take(last))


class DenseMove(NamedTuple):
    """Arrays of a dense group that changed, by name, with their values before and after."""

    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        """An empty array: the group has no rows."""
        return np.empty(0, np.int32)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All that is held."""
        return (*self.before.values(), *self.after.values())

    def inverse(self) -> DenseMove:
        """The move back."""
        return DenseMove(self.after, self.before)

    @staticmethod
    def merge(moves: Sequence[DenseMove]) -> DenseMove:
        """Merge consecutive moves."""
        before: dict[str, np.ndarray] = {}
        after: dict[str, np.ndarray] = {}
        for move in moves:
            before = {**move.before, **before}
            after |= move.after
        return DenseMove(before, after)


def require_move(name: str, move: object) -> None:
    """Raise ValueError unless this is a move of distinct rows, or of arrays, with finite values before and after."""
    if isinstance(move, Move):
        rows = move.rows
        if not (isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype == np.int32):
            raise ValueError(f"moved {name} are no column of int32")
        if np.unique(rows).size < rows.size:
            raise ValueError(f"moved {name} are not distinct")
        if not (isinstance(move.before, Image) and isinstance(move.after, Image)):
            raise ValueError(f"moved {name} are no images")
    elif not isinstance(move, DenseMove):
        raise ValueError(f"{name} are moved by {type(move).__name__}, not by a Move")
    for array in move.arrays:
        if not isinstance(array, np.ndarray) or not (array.dtype.kind in "iuf" and np.isfinite(array).all()):
            raise ValueError(f"moved {name} are not all finite numbers")
