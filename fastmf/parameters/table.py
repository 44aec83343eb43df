"""Table: rows of parameters. Rows never move in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.tables import gather, scatter
from fastmf.memory import aligned, reserve, row_capacity, use_huge_pages
from fastmf.parameters.moves import Image
from fastmf.parameters.start import HashedStart

__all__ = ["Layout", "Table"]

_PIECE = 1 << 16  # rows that are started at once


class Layout(NamedTuple):
    """The parts of a row, each of which a table keeps as an array: factors, a small record, and whatever else.

    Attributes
    ----------
    shape : Shape
        Of the factors, padded to a multiple of 16, and of the record ``[bias, memory...]``.
    storage : {"float32", "float16"}
        How factors are kept.
    further : tuple of int
        Floats of each further part.
    """

    shape: Shape
    storage: str = "float32"
    further: tuple[int, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Floats of each part, padding included."""
        return (self.shape.width, record_width(self.shape.memory), *self.further)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        factors, *others = self.widths
        return factors * (2 if self.storage == "float16" else 4) + 4 * sum(others)

    @property
    def largest(self) -> float:
        """The largest factor that can be kept."""
        return float(np.finfo(np.float16).max) if self.storage == "float16" else np.inf


class Table:
    """Rows of one layout, in arrays that grow without moving.

    Parameters
    ----------
    layout : Layout
    start : HashedStart
        Where rows come from that the table does not have yet.
    budget : int
        Bytes that the table may grow to.
    capacity : int, optional
        Rows that it may grow to, where that is less than the budget allows.

    Attributes
    ----------
    parts : tuple of ndarray
        What rows are made of, each [capacity, width].
    shape : Shape
        Of factors and record.
    factors, records : ndarray
        The first two parts: float32, or the bits of float16; float32.
    count : int
        Rows that there are.
    """

    def __init__(self, layout: Layout, start: HashedStart, budget: int, capacity: int | None = None) -> None:
        self.layout, self.start, self.budget = layout, start, budget
        allowed = row_capacity(budget, layout.row_bytes)
        self.capacity = allowed if capacity is None else min(capacity, allowed)
        factors, *others = layout.widths
        kept = reserve(self.capacity, np.uint16 if layout.storage == "float16" else np.float32, factors)
        self.parts = (kept, *(reserve(self.capacity, np.float32, width) for width in others))
        self.shape, (self.factors, self.records) = layout.shape, self.parts[:2]
        self.count = 0

    def require_room(self, count: int) -> None:
        """Raise CapacityError unless the table can hold `count` rows."""
        if count > self.capacity:
            raise CapacityError(f"{count} rows of {self.shape.size} factors exceed the memory budget of the model")

    def require_rows(self, rows: np.ndarray, values: Image, count: int) -> None:
        """Raise ValueError unless `values` are rows of this table's form, numbered below `count`."""
        shapes = [(rows.size, part.shape[1]) for part in self.parts]
        if [part.shape for part in values] != shapes or any(part.dtype != np.float32 for part in values):
            raise ValueError(f"rows of shape {values[0].shape} do not fit a table of {self.shape.size} factors")
        if self.layout.largest < np.inf and not (np.abs(values[0]) <= self.layout.largest).all():
            raise ValueError(f"rows hold factors that are too large for {self.layout.storage}")
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise ValueError(f"rows {rows.min()} to {rows.max()} are not all among the {count} rows of the table")

    def gather(self, rows: np.ndarray) -> Image:
        """Copies of some rows; one that the table does not have is as it starts."""
        found = aligned(rows.size, self.shape.width), np.empty((rows.size, self.records.shape[1]), np.float32)
        gather(self.shape.width, self.shape.size)(*self.parts[:2], rows, self.count, self.start.form, *found)
        if not self.layout.further:
            return Image(found)
        known = np.minimum(rows, max(self.count - 1, 0))
        more = (np.where((rows < self.count)[:, None], part[known], np.float32(0)) for part in self.parts[2:])
        return Image((*found, *more))

    def scatter(self, rows: np.ndarray, values: Image) -> None:
        """Write rows; those from `count` on are new and must leave no gap."""
        values = values.placed()
        scatter(self.shape.width, self.shape.size)(*self.parts[:2], rows, *values[:2])
        for part, value in zip(self.parts[2:], values[2:], strict=True):
            part[rows] = value

    def fill(self, count: int) -> None:
        """Start `count` rows in an empty table."""
        self.require_room(count)
        use_huge_pages(self.factors, count)
        self.grow(0, count)

    def grow(self, first: int, count: int) -> None:
        """Start the rows from `first` on, until there are `count`; there must be room."""
        self.count = first
        for begin in range(first, count, _PIECE):
            rows = np.arange(begin, min(begin + _PIECE, count), dtype=np.int32)
            self.scatter(rows, self.gather(rows))
        self.count = count

    def whole(self) -> Image:
        """All rows as float32: the table itself, or a copy of a half-precision one."""
        if self.layout.storage == "float16":
            return self.gather(np.arange(self.count, dtype=np.int32))
        return Image(part[: self.count] for part in self.parts)

    def values(self) -> np.ndarray:
        """The factors, [count, size], float32 or float16; a read-only view."""
        stored = self.factors[: self.count, : self.shape.size]
        view = stored.view(np.float16) if self.layout.storage == "float16" else stored.view()
        view.flags.writeable = False
        return view

    def biases(self) -> np.ndarray:
        """The biases, float32[count]; a read-only view."""
        view = self.records[: self.count, 0]
        view.flags.writeable = False
        return view

    # --- files --------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """The rows as named arrays for a file: no padding of factors."""
        further = {f"part{number}": part[: self.count] for number, part in enumerate(self.parts[2:], 2)}
        return {"factors": self.values(), "records": self.records[: self.count]} | further

    def load(self, arrays: dict[str, np.ndarray], count: int) -> None:
        """Fill an empty table with the rows of a file; ValueError where they do not fit."""
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
        """An independent table with the same rows."""
        other = Table(self.layout, self.start, self.budget, self.capacity)
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            theirs[: self.count] = mine[: self.count]
        other.count = self.count
        return other
