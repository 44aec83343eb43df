"""FeatureTable: the features of the rows of a side, centred and scaled, as a group of a state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError, DataError
from fastmf.memory import grown, row_capacity, zeros
from fastmf.parameters.moves import Image, Move
from fastmf.parameters.start import SINGULAR

__all__ = ["FeatureTable", "View", "features_name", "scaled", "scales_of"]

_NO_IDS = np.empty(0, np.int64)
_PIECE = 1 << 14  # rows that are converted at a time
_FAR = 1e6  # scaled: no row of those that the scale was made of is as large


def features_name(side: str) -> str:
    """The name of the group of the features of a side."""
    return f"{SINGULAR[side]}_features"


def scales_of(view: Any) -> tuple[np.ndarray, np.ndarray]:
    """The centre and the scale of each column of Features, float64[d], which give rows of a mean square of 1.

    Rows that are missing do not count. Columns of numbers of a table, which may have any unit, are first given the same
    variance.
    """
    vectors = view.vectors
    count, centre = np.zeros(vectors.shape[1]), np.zeros(vectors.shape[1])
    for piece in _pieces(vectors):
        count += (~np.isnan(piece)).sum(axis=0)
        centre += np.nansum(piece, axis=0)
    centre /= np.maximum(count, 1)
    squares, there = np.zeros(centre.size), 0
    for piece in _pieces(vectors):
        squares += np.nansum((piece - centre) ** 2, axis=0)
        there += int((~np.isnan(piece)).any(axis=1).sum())
    scale, spread = np.ones(centre.size), np.sqrt(squares / np.maximum(count, 1))[: view.numbers]
    scale[: view.numbers] = 1 / np.where(spread > 0, spread, 1)
    total = float((squares * scale**2).sum()) / max(there, 1)
    return centre, scale / (np.sqrt(total) if total > 0 else 1.0)


def scaled(vectors: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Vectors, float32[n, d], centred and scaled, and 0 where something is missing."""
    found = np.empty(vectors.shape, np.float32)
    for first, piece in zip(range(0, len(found), _PIECE), _pieces(vectors), strict=True):
        moved = (piece - centre) * scale
        moved[np.isnan(moved)] = 0
        found[first : first + _PIECE] = moved
    return found


def _pieces(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[n : n + _PIECE].astype(np.float64) for n in range(0, len(vectors), _PIECE))


class View(NamedTuple):
    """A view: its name, its columns in the table, and the names of these, if they have any."""

    name: str
    place: slice
    columns: tuple[str, ...] | None

    def aligned(self, side: str, given: Any) -> np.ndarray:
        """The vectors of Features that arrive, float32[n, width], in the columns of this view.

        Columns of a table are found by their names: those that the view has not are left out, and indicators that the
        Features have not are 0.

        Raises
        ------
        DataError
            If their number differs, or only the one or the other has names.
        """
        width, vectors = self.place.stop - self.place.start, given.vectors
        if (self.columns is None) != (given.columns is None):
            has, lacks = ("those of the model", "these") if given.columns is None else ("these", "those of the model")
            raise DataError(f"features of {side}, {self.name!r}: {has} are columns of a table, {lacks} are not")
        if self.columns is None:
            if vectors.shape[1] != width:
                raise DataError(
                    f"features of {side}, {self.name!r}: there are {vectors.shape[1]} columns, the model has {width}"
                )
            return np.asarray(vectors)
        known = {name: column for column, name in enumerate(given.columns)}
        lacking = [name for name in given.columns[: given.numbers] if name not in self.columns]
        lacking += [name for name in self.columns if "=" not in name and name not in known]
        if lacking:
            raise DataError(f"features of {side}, {self.name!r}: column {lacking[0]!r} is not in both")
        found = np.zeros((len(vectors), width), np.float32)
        for column, name in enumerate(self.columns):
            if name in known:
                found[:, column] = vectors[:, known[name]]
        return found


class FeatureTable:
    """Features of the rows of a side; rows that have none are zero, as are those that are not there.

    It has no ids of its own: its rows are those of the side.

    Parameters
    ----------
    side : str
    views : tuple of Features
        They tell the names and the widths of views, and how these are centred and scaled.
    budget : int
        Maximum size in bytes.

    Attributes
    ----------
    views : tuple of View
    width : int
        Number of columns of all views.
    """

    trains = False  # no update learns features

    def __init__(self, side: str, views: tuple[Any, ...], budget: int) -> None:
        self.side, self._budget = side, budget
        self._owner: Any = None
        ends = np.cumsum([view.vectors.shape[1] for view in views]).tolist()
        places = [slice(end - view.vectors.shape[1], end) for end, view in zip(ends, views, strict=True)]
        self.views = tuple(View(view.name, place, view.columns) for view, place in zip(views, places, strict=True))
        self.width = ends[-1]
        scales = [scales_of(view) for view in views]
        self._centre, self._scale = (np.concatenate(parts) for parts in zip(*scales, strict=True))
        self._rows, self._used = zeros(0, np.float32, self.width), 0  # rows from `_used` on are zero

    @property
    def count(self) -> int:
        """The number of rows of the side."""
        return int(self._owner.count)

    # --- reading and making -------------------------------------------------------------------------------------------

    def reaching(self, rows: np.ndarray) -> np.ndarray | None:
        """The table itself, if these rows are in it."""
        return self._rows if rows.size and rows.max() < len(self._rows) else None

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The features of some rows, float32[n, width]."""
        if (table := self.reaching(rows)) is not None:
            return np.asarray(table[rows])
        found, there = np.zeros((rows.size, self.width), np.float32), rows < self._used
        found[there] = self._rows[rows[there]]
        return found

    def named(self, given: tuple[Any, ...]) -> dict[str, Any]:
        """Features by the names of views; DataError for a name that is not one, or is there twice."""
        found: dict[str, Any] = {}
        known = [view.name for view in self.views]
        for one in given:
            if one.name not in known:
                raise DataError(f"features of {self.side}: there is no view {one.name!r}; the views are {known}")
            if one.name in found:
                raise DataError(f"features of {self.side}: there are two views {one.name!r}")
            found[one.name] = one
        return found

    def changed(self, given: dict[str, tuple[np.ndarray, Any]]) -> Move:
        """The move that writes views: for each name, the rows and the Features that they get."""
        rows = np.unique(np.concatenate([rows for rows, _ in given.values()])).astype(np.int32)
        before = self.gather(rows)
        after = before.copy()
        for view in self.views:
            if view.name in given:
                own, features = given[view.name]
                vectors, how = view.aligned(self.side, features), (self._centre[view.place], self._scale[view.place])
                with np.errstate(over="ignore"):
                    rescaled = scaled(vectors, *how)
                if (far := (np.abs(rescaled) > _FAR).any(axis=1)).any():
                    where = f"features of {self.side}, {view.name!r}, row {far.argmax()}"
                    raise DataError(f"{where}: a million times farther from the centre than those of the model")
                after[np.searchsorted(rows, own), view.place] = rescaled
        return Move(rows, Image((before,)).copy(), Image((after,)).copy())

    # --- as a group ---------------------------------------------------------------------------------------------------

    def lacks(self, fresh: np.ndarray) -> bool:
        """Whether there are no ids to add: the group has none."""
        return not len(fresh)

    def require(self, move: Move, count: int) -> None:
        """Raise ValueError unless a move fits; CapacityError if there is no room for its rows, which is made."""
        if not isinstance(move, Move) or len(move.after) != 1:
            raise ValueError(f"{type(move).__name__} moves no features")
        if move.after[0].shape != (move.rows.size, self.width) or move.after[0].dtype != np.float32:
            raise ValueError(f"features of shape {move.after[0].shape} do not fit a table of {self.width} columns")
        if not np.isfinite(move.after[0]).all():
            raise ValueError("features are not all finite")
        if move.rows.size:
            if not 0 <= move.rows.min() <= move.rows.max() < count:
                raise ValueError(f"rows {move.rows.min()} to {move.rows.max()} are not all among {count} rows")
            self._make_room(int(move.rows.max()) + 1)

    def _make_room(self, count: int) -> None:
        if count > row_capacity(self._budget, 4 * self.width):
            raise CapacityError(f"{count} rows of {self.width} features exceed the memory budget of the model")
        self._rows = grown(self._rows, count)

    def prepare(self, fresh: np.ndarray) -> None:
        """Raise ValueError where ids are to be added: the group has none."""
        if len(fresh):
            raise ValueError("features have no ids of their own")

    def grow(self, first: int, fresh: np.ndarray) -> None:
        """Do nothing: rows are there as soon as they are written."""

    def shrink(self, count: int) -> None:
        """Do nothing: a move back writes zeros."""

    def write(self, move: Move) -> None:
        """Write the new values of a move."""
        self._rows[move.rows] = move.after[0]
        if move.rows.size:
            self._used = max(self._used, int(move.rows.max()) + 1)

    def ids_from(self, first: int) -> np.ndarray:
        """Return an empty array: the group has no ids."""
        return _NO_IDS

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows, up to the last that is not zero, and how views are centred and scaled."""
        used = self._used
        while used and not self._rows[used - 1].any():
            used -= 1
        return {"rows": self._rows[:used], "centre": self._centre, "scale": self._scale}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore what :meth:`arrays` returned; ValueError if that is inconsistent."""
        rows = arrays["rows"]
        wanted = {"rows": (np.float32, (len(rows), self.width)), "centre": (np.float64, (self.width,))}
        for name, (kind, shape) in (wanted | {"scale": wanted["centre"]}).items():
            array = arrays[name]
            if array.dtype != kind or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} of features are {array.dtype}{list(array.shape)}, or not all finite")
        self._make_room(len(rows))
        self._rows[: len(rows)], self._used = rows, len(rows)
        self._centre, self._scale = arrays["centre"].copy(), arrays["scale"].copy()

    def copy(self) -> FeatureTable:
        """Return an independent copy."""
        other = object.__new__(FeatureTable)
        other.__dict__.update(self.__dict__)
        other._rows = zeros(self._used, np.float32, self.width)
        other._rows[: self._used] = self._rows[: self._used]
        return other

    def join(self, groups: dict[str, Any]) -> None:
        """Know the rows of the side."""
        self._owner = groups[self.side]
