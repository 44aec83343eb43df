"""Factors: the learned tables. Rows never move in memory."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastmf.errors import CapacityError
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.tables import gather, scatter
from fastmf.memory import ALIGNMENT, aligned, reserve, row_capacity, use_huge_pages

__all__ = ["Factors", "Move", "Rows", "Table"]

SIDES = ("users", "items")
_PIECE = 1 << 16  # rows that are started at once
SPREAD = 0.2  # of a start vector, relative to a row of unit length


class Rows(NamedTuple):
    """Rows on their way between a table and a working set: float32 factors and records, one line per row.

    Factors are padded, and aligned as kernels demand: make them with :func:`fastmf.memory.aligned` or :meth:`copy`.
    """

    factors: np.ndarray
    records: np.ndarray

    def copy(self) -> Rows:
        """The same rows in memory of their own."""
        factors = aligned(*self.factors.shape)
        factors[:] = self.factors
        return Rows(factors, self.records.copy())

    def placed(self) -> Rows:
        """These rows, or a copy of them where they are not aligned: they came through a pickle."""
        return self if self.factors.__array_interface__["data"][0] % ALIGNMENT == 0 else self.copy()

    def take(self, places: np.ndarray) -> Rows:
        """Some of the rows, in memory of their own."""
        return Rows(self.factors[places], self.records[places]).copy()

    def head(self, count: int) -> Rows:
        """The first `count` rows, as views."""
        return Rows(self.factors[:count], self.records[:count])

    def within(self, largest: float) -> bool:
        """Whether every number is finite, and no factor beyond `largest`."""
        parts = (part.ravel() for part in self)  # a sum of squares is finite only where every term is
        with np.errstate(over="ignore"):
            finite = all(np.isfinite(np.dot(part, part)) for part in parts)
        return finite and (largest == np.inf or bool((np.abs(self.factors) <= largest).all()))


class Move(NamedTuple):
    """The rows of one group that moved (int32, ascending order not implied), before and after."""

    rows: np.ndarray
    before: Rows
    after: Rows


class Table:
    """The rows of one named group: factors, padded to a multiple of 16, and a record ``[bias, memory...]`` a row.

    Parameters
    ----------
    shape : Shape
        Of the rows.
    side : int
        The stream of the group's start vectors.
    storage : {"float32", "float16"}
        How factors are kept.
    capacity : int
        Rows that the table may grow to.
    """

    def __init__(self, shape: Shape, side: int, storage: str, capacity: int) -> None:
        self.shape, self.side, self.storage = shape, side, storage
        self.factors = reserve(capacity, np.uint16 if storage == "float16" else np.float32, shape.width)
        self.records = reserve(capacity, np.float32, record_width(shape.memory))
        self.marks = reserve(capacity, np.int32)  # zero between calls; see kernels/rows/grouping.py
        self.count = 0

    def require_room(self, count: int) -> None:
        """Raise CapacityError unless the table can hold `count` rows."""
        if count > len(self.factors):
            raise CapacityError(f"{count} rows of {self.shape.size} factors exceed the memory budget of the model")

    def require_rows(self, rows: np.ndarray, values: Rows, count: int) -> None:
        """Raise ValueError unless `values` are rows of this table's form, numbered below `count`."""
        shapes = ((rows.size, self.shape.width), (rows.size, self.records.shape[1]))
        if (values.factors.shape, values.records.shape) != shapes or values.factors.dtype != np.float32:
            raise ValueError(f"rows of shape {values.factors.shape} do not fit a table of {self.shape.size} factors")
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise ValueError(f"rows {rows.min()} to {rows.max()} are not all among the {count} rows of the table")

    def gather(self, rows: np.ndarray, start: tuple[int, float, float]) -> Rows:
        """Copies of some rows; one that the table does not have is its start vector, from (seed, centre, spread)."""
        found = Rows(aligned(rows.size, self.shape.width), np.empty((rows.size, self.records.shape[1]), np.float32))
        seed, centre, spread = start
        form = (np.uint64(seed), self.side, np.float32(centre), np.float32(spread))
        gather(self.shape.width, self.shape.size)(self.factors, self.records, rows, self.count, form, *found)
        return found

    def scatter(self, rows: np.ndarray, values: Rows) -> None:
        """Write rows; those from `count` on are new and must leave no gap."""
        scatter(self.shape.width, self.shape.size)(self.factors, self.records, rows, *values.placed())

    def fill(self, count: int, start: tuple[int, float, float]) -> None:
        """Start `count` rows in an empty table."""
        self.require_room(count)
        use_huge_pages(self.factors, count)
        self.grow(count, start)

    def grow(self, count: int, start: tuple[int, float, float]) -> None:
        """Start new rows, until there are `count`; there must be room."""
        for first in range(self.count, count, _PIECE):
            rows = np.arange(first, min(first + _PIECE, count), dtype=np.int32)
            self.scatter(rows, self.gather(rows, start))
        self.count = count

    def whole(self, start: tuple[int, float, float]) -> Rows:
        """All rows as float32: the table itself, or a copy of a half-precision one."""
        if self.storage == "float16":
            return self.gather(np.arange(self.count, dtype=np.int32), start)
        return Rows(self.factors[: self.count], self.records[: self.count])

    def values(self) -> np.ndarray:
        """The factors, [count, size], float32 or float16; a read-only view."""
        stored = self.factors[: self.count, : self.shape.size]
        view = stored.view(np.float16) if self.storage == "float16" else stored.view()
        view.flags.writeable = False
        return view

    def biases(self) -> np.ndarray:
        """The biases, float32[count]; a read-only view."""
        view = self.records[: self.count, 0]
        view.flags.writeable = False
        return view

    def load(self, factors: np.ndarray, records: np.ndarray, count: int) -> None:
        """Fill an empty table with rows from a file; ValueError where they do not fit."""
        kind = np.float16 if self.storage == "float16" else np.float32
        for name, array, width in (
            ("factors", factors, self.shape.size),
            ("records", records, self.records.shape[1]),
        ):
            wanted = np.float32 if name == "records" else kind
            if array.dtype != wanted or array.shape != (count, width):
                raise ValueError(
                    f"{name} are {array.dtype}{list(array.shape)}, not {np.dtype(wanted)}[{count}, {width}]"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} are not all finite")
        if (records[:, 1:] < 0).any():
            raise ValueError("the memory of a row is negative")
        self.require_room(count)
        self.factors[:count, : self.shape.size] = factors.view(self.factors.dtype)
        self.records[:count] = records
        self.count = count

    def copy_from(self, other: Table) -> None:
        """Become equal to another table of the same shape."""
        self.require_room(other.count)
        self.factors[: other.count] = other.factors[: other.count]
        self.records[: other.count] = other.records[: other.count]
        self.count = other.count


class Factors:
    """What a model has learned: a table per side, and the numbers that belong to none.

    Parameters
    ----------
    shape : Shape
        Of the rows, the same on both sides.
    global_mean : float
        Added to every score; it never moves in an update.
    storage, budget
        As in Options.
    seed : int
        Of the start vectors.
    centre : float
        The score that two new rows start from; 0 where biases and mean carry it.
    """

    def __init__(
        self, shape: Shape, global_mean: float, storage: str, budget: int, seed: int = 0, centre: float = 0.0
    ) -> None:
        self.shape, self.global_mean, self.storage, self.budget = (
            shape,
            float(np.float32(global_mean)),
            storage,
            budget,
        )
        self.seed, self.centre = seed, centre
        self.low, self.high = np.inf, -np.inf  # the values seen
        row_bytes = shape.width * (2 if storage == "float16" else 4) + 4 * record_width(shape.memory)
        self.capacity = row_capacity(budget, row_bytes)
        self.tables = {side: Table(shape, stream, storage, self.capacity) for stream, side in enumerate(SIDES)}

    @property
    def users(self) -> Table:
        """The users' rows."""
        return self.tables["users"]

    @property
    def items(self) -> Table:
        """The items' rows."""
        return self.tables["items"]

    @property
    def largest(self) -> float:
        """The largest factor that the tables can hold."""
        return float(np.finfo(np.float16).max) if self.storage == "float16" else np.inf

    def start(self, side: str) -> tuple[int, float, float]:
        """Seed, centre and spread of a side's start vectors.

        Factors start uniformly within ``SPREAD / sqrt(k)`` of the centre: any two new rows differ and can learn.
        """
        k = self.shape.size
        centre = math.sqrt(abs(self.centre) / k)
        if side == "items":
            centre = math.copysign(centre, self.centre)
        return self.seed, centre, 2 * SPREAD / math.sqrt(k)

    def like(self) -> Factors:
        """An independent copy."""
        other = Factors(self.shape, self.global_mean, self.storage, self.budget, self.seed, self.centre)
        other.low, other.high = self.low, self.high
        for side, table in self.tables.items():
            other.tables[side].copy_from(table)
        return other

    def see(self, values: np.ndarray) -> None:
        """Widen the range of values seen."""
        if values.size:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
