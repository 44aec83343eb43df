"""Table: rows of parameters, in arrays of which views are handed out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.tables import gather, gather_part, scatter, scatter_part
from fastmf.memory import aligned, grown, row_capacity, use_huge_pages, zeros
from fastmf.parameters.moves import Image
from fastmf.parameters.start import Start

__all__ = ["Layout", "Table"]

_PIECE = 1 << 16  # rows initialised at once


class Layout(NamedTuple):
    """Layout of a row, whose parts a table stores as separate arrays: factors, a small record, and further parts.

    Attributes
    ----------
    shape : Shape
        Shape of the factors, padded to a multiple of 16, and of the record ``[bias, memory...]``.
    storage : {"float32", "float16"}
        Dtype of the stored factors.
    further : tuple of int
        Number of floats of each further part.
    """

    shape: Shape
    storage: str = "float32"
    further: tuple[int, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of floats of each part, including padding."""
        return (self.shape.width, record_width(self.shape.memory), *self.further)

    @property
    def kinds(self) -> tuple[type, ...]:
        """Dtype of each part."""
        return (np.uint16 if self.storage == "float16" else np.float32, *(np.float32 for _ in self.widths[1:]))

    @property
    def row_bytes(self) -> int:
        """Size of a row in bytes."""
        factors, *others = self.widths
        return factors * (2 if self.storage == "float16" else 4) + 4 * sum(others)

    @property
    def largest(self) -> float:
        """The largest factor that can be stored."""
        return float(np.finfo(np.float16).max) if self.storage == "float16" else np.inf


class Table:
    """Rows of one layout, in arrays that grow in place (see fastmf/memory.py).

    Parameters
    ----------
    layout : Layout
        Layout of the rows.
    start : Start
        Initial values of new rows.
    budget : int
        Maximum size in bytes.
    capacity : int, optional
        Maximum number of rows, if that is less than the budget allows.
    room : int, optional
        If given, the table has room for so many rows from the start, and never grows: no view of it is handed out.

    Attributes
    ----------
    parts : tuple of ndarray
        The parts of the rows, each of shape (at least `room`, width).
    shape : Shape
        Shape of factors and record.
    room, count : int
        Number of rows that there is room for, and of rows.
    """

    def __init__(
        self,
        layout: Layout,
        start: Start,
        budget: int,
        capacity: int | None = None,
        room: int | None = None,
    ) -> None:
        self.layout, self.start, self.budget, self.shape = layout, start, budget, layout.shape
        allowed = row_capacity(budget, layout.row_bytes)
        self.capacity = allowed if capacity is None else min(capacity, allowed)
        self.parts = tuple(
            zeros(room or 1, kind, width, viewed=room is None)
            for kind, width in zip(layout.kinds, layout.widths, strict=True)
        )
        self.room, self.count = min(map(len, self.parts)), 0
        self._zeros = Image(aligned(1, width) for width in layout.widths)
        for part in self._zeros:
            part[:] = 0

    @property
    def factors(self) -> np.ndarray:
        """The factors, as float32 or as the bits of float16."""
        return self.parts[0]

    @property
    def records(self) -> np.ndarray:
        """The records, float32."""
        return self.parts[1]

    @property
    def unknown(self) -> Image:
        """The row, float32, that stands for an unknown id: that of the prior, or zeros."""
        return self._zeros if self.start.row is None else self.start.row

    def require_room(self, count: int) -> None:
        """Raise CapacityError unless the table may have `count` rows."""
        if count > self.capacity:
            raise CapacityError(f"{count} rows of {self.shape.size} factors exceed the memory budget of the model")

    def make_room(self, count: int) -> None:
        """Make room for `count` rows, or raise CapacityError."""
        self.require_room(count)
        if count > self.room:
            self.parts = tuple(grown(part, count) for part in self.parts)
            self.room = min(map(len, self.parts))

    def require_rows(self, rows: np.ndarray, values: Image, count: int) -> None:
        """Raise ValueError unless `values` are rows of this layout, and `rows` are below `count`."""
        shapes = [(rows.size, part.shape[1]) for part in self.parts]
        if [part.shape for part in values] != shapes or any(part.dtype != np.float32 for part in values):
            raise ValueError(f"rows of shape {values[0].shape} do not fit a table of {self.shape.size} factors")
        if self.layout.largest < np.inf and not (np.abs(values[0]) <= self.layout.largest).all():
            raise ValueError(f"rows hold factors that are too large for {self.layout.storage}")
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise ValueError(f"rows {rows.min()} to {rows.max()} are not all among the {count} rows of the table")

    def gather(self, rows: np.ndarray) -> Image:
        """Copy some rows; rows from `count` on have their initial values."""
        found = aligned(rows.size, self.shape.width), np.empty((rows.size, self.records.shape[1]), np.float32)
        gather(self.shape.width, self.shape.size)(*self.parts[:2], rows, self.count, self.start.form, *found)
        if not self.layout.further:
            return Image(found)
        further = [aligned(rows.size, width) for width in self.layout.further]
        for part, copy, begin in zip(self.parts[2:], further, self.unknown[2:], strict=True):
            if part.shape[1] == self.shape.width:
                gather_part(self.shape.width)(part, rows, self.count, begin, copy)
            else:
                copy[:] = np.where((rows < self.count)[:, None], part[np.minimum(rows, len(part) - 1)], begin)
        fresh = np.flatnonzero(rows >= self.count)
        if fresh.size and self.start.row is not None:
            for copy, begin in zip(found, self.start.row, strict=False):
                copy[fresh] += begin
        return Image((*found, *further))

    def gather_or_unknown(self, rows: np.ndarray) -> Image:
        """Copy some rows; for -1 the row that stands for an unknown id."""
        found, nobody = self.gather(np.maximum(rows, 0)), rows < 0
        for part, unknown in zip(found, self.unknown, strict=True):
            part[nobody] = unknown
        return found

    def scatter(self, rows: np.ndarray, values: Image) -> None:
        """Write rows; new ones, from `count` on, must leave no gap."""
        values = values.placed()
        scatter(self.shape.width, self.shape.size)(*self.parts[:2], rows, *values[:2])
        for part, value in zip(self.parts[2:], values[2:], strict=True):
            if part.shape[1] == self.shape.width:
                scatter_part(self.shape.width)(part, rows, value)
            else:
                part[rows] = value

    def fill(self, count: int) -> None:
        """Initialise `count` rows of an empty table."""
        self.make_room(count)
        use_huge_pages(self.factors, count)
        self.grow(0, count)

    def grow(self, first: int, count: int) -> None:
        """Initialise the rows from `first` on, until there are `count`; there must be room."""
        self.count = first
        for begin in range(first, count, _PIECE):
            rows = np.arange(begin, min(begin + _PIECE, count), dtype=np.int32)
            self.scatter(rows, self.gather(rows))
        self.count = count

    def whole(self) -> Image:
        """Return all rows as float32: views, or a copy if they are stored in half precision."""
        if self.layout.storage == "float16":
            return self.gather(np.arange(self.count, dtype=np.int32))
        return Image(part[: self.count] for part in self.parts)

    def values(self) -> np.ndarray:
        """Return the factors, float32 or float16, shape (count, size), as a read-only view."""
        stored = self.factors[: self.count, : self.shape.size]
        view = stored.view(np.float16) if self.layout.storage == "float16" else stored.view()
        view.flags.writeable = False
        return view

    def biases(self) -> np.ndarray:
        """Return the biases, float32, shape (count,), as a read-only view."""
        view = self.records[: self.count, 0]
        view.flags.writeable = False
        return view

    # --- files --------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows as named arrays for a file, factors without padding."""
        further = {f"part{number}": part[: self.count] for number, part in enumerate(self.parts[2:], 2)}
        return {"factors": self.values(), "records": self.records[: self.count]} | further

    def load(self, arrays: dict[str, np.ndarray], count: int) -> None:
        """Fill an empty table with the rows of a file; ValueError if they do not fit."""
        kind, widths = np.float16 if self.layout.storage == "float16" else np.float32, list(self.layout.widths)
        widths[0] = self.shape.size
        self.make_room(count)
        for number, (part, width) in enumerate(zip(self.parts, widths, strict=True)):
            name = ("factors", "records")[number] if number < 2 else f"part{number}"
            array, wanted = arrays[name], np.float32 if number else kind
            if array.dtype != wanted or array.shape != (count, width):
                raise ValueError(
                    f"{name} are {array.dtype}{list(array.shape)}, not {np.dtype(wanted)}[{count}, {width}]"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} are not all finite")
            part[:count, :width] = array.view(part.dtype)
        self.count = count

    def copy(self) -> Table:
        """Return an independent copy."""
        other = Table(self.layout, self.start, self.budget, self.capacity)
        other.make_room(self.count)
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            theirs[: self.count] = mine[: self.count]
        other.count = self.count
        return other
