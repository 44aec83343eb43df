"""Table: rows of parameters, which never move in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.tables import gather, scatter
from fastmf.memory import aligned, reserve, row_capacity, use_huge_pages
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
    def row_bytes(self) -> int:
        """Size of a row in bytes."""
        factors, *others = self.widths
        return factors * (2 if self.storage == "float16" else 4) + 4 * sum(others)

    @property
    def largest(self) -> float:
        """The largest factor that can be stored."""
        return float(np.finfo(np.float16).max) if self.storage == "float16" else np.inf


class Table:
    """Rows of one layout, in arrays that grow without moving.

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

    Attributes
    ----------
    parts : tuple of ndarray
        The parts of the rows, each of shape (capacity, width).
    shape : Shape
        Shape of factors and record.
    factors, records : ndarray
        The first two parts: factors as float32 or as the bits of float16, records as float32.
    count : int
        Number of rows.
    """

    def __init__(self, layout: Layout, start: Start, budget: int, capacity: int | None = None) -> None:
        self.layout, self.start, self.budget = layout, start, budget
        allowed = row_capacity(budget, layout.row_bytes)
        self.capacity = allowed if capacity is None else min(capacity, allowed)
        factors, *others = layout.widths
        kept = reserve(self.capacity, np.uint16 if layout.storage == "float16" else np.float32, factors)
        self.parts = (kept, *(reserve(self.capacity, np.float32, width) for width in others))
        self.shape, (self.factors, self.records) = layout.shape, self.parts[:2]
        self.count = 0
        self._zeros = Image((aligned(1, factors), *(np.zeros((1, width), np.float32) for width in others)))
        self._zeros.factors[:] = 0

    @property
    def unknown(self) -> Image:
        """The row, float32, that stands for an unknown id: that of the prior, or zeros."""
        return self._zeros if self.start.row is None else self.start.row

    def require_room(self, count: int) -> None:
        """Raise CapacityError unless the table can hold `count` rows."""
        if count > self.capacity:
            raise CapacityError(f"{count} rows of {self.shape.size} factors exceed the memory budget of the model")

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
        known, fresh = np.minimum(rows, max(self.count - 1, 0)), np.flatnonzero(rows >= self.count)
        image = Image((*found, *(part[known] for part in self.parts[2:]))).placed()
        for part in image[2:]:
            part[fresh] = 0
        if fresh.size and self.start.row is not None:
            for part, begin in zip(image, self.start.row, strict=True):
                part[fresh] += begin
        return image

    def scatter(self, rows: np.ndarray, values: Image) -> None:
        """Write rows; new ones, from `count` on, must leave no gap."""
        values = values.placed()
        scatter(self.shape.width, self.shape.size)(*self.parts[:2], rows, *values[:2])
        for part, value in zip(self.parts[2:], values[2:], strict=True):
            part[rows] = value

    def fill(self, count: int) -> None:
        """Initialise `count` rows of an empty table."""
        self.require_room(count)
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
        self.require_room(count)
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
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            theirs[: self.count] = mine[: self.count]
        other.count = self.count
        return other
