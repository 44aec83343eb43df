"""Vectors that were trained elsewhere, checked and put into tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.errors import DataError
from fastmf.factors import Rows, Table
from fastmf.ids import IdMap
from fastmf.interactions import columns

__all__ = ["distinct_ids", "fill", "matrix", "vector"]


def matrix(name: str, given: Any) -> np.ndarray:
    """float32 factors, [rows, k]."""
    found = np.asarray(given)
    if found.ndim != 2 or found.shape[1] == 0:
        raise DataError(f"{name} must be a matrix with a column per factor, got shape {found.shape}")
    if not (np.issubdtype(found.dtype, np.number) and np.isrealobj(found)):
        raise DataError(f"{name} must hold real numbers, got dtype {found.dtype}")
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float32)
    if not np.isfinite(numbers).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(numbers))[0])
        raise DataError(f"{name}, row {row}, column {column}: {found[row, column]} is not a finite float32")
    return numbers


def vector(name: str, given: Any, count: int) -> np.ndarray:
    """float32[count], zero where not given."""
    if given is None:
        return np.zeros(count, np.float32)
    numbers = columns.numbers(name, given)
    if numbers.size != count:
        raise DataError(f"{name} has {numbers.size} rows, its factors have {count}")
    return numbers


def distinct_ids(side: str, given: Any, count: int) -> np.ndarray:
    """Ids of a side, 0, 1, 2, ... where not given."""
    if given is None:
        return np.arange(count)
    ids = columns.ids(side, given)
    if ids.size != count:
        raise DataError(f"{side} has {ids.size} ids, its factors have {count} rows")
    staged = IdMap().stage(ids, side)
    if staged.fresh.size != count:
        row = int(np.argmax(staged.rows != np.arange(count)))
        raise DataError(f"{side}, row {row}: {ids[row]!r} is there twice")
    return ids


def fill(table: Table, factors: np.ndarray, biases: np.ndarray) -> None:
    """Put given vectors and biases into an empty table, piece by piece."""
    count = len(factors)
    table.require_room(count)
    for first in range(0, count, 1 << 16):
        last = min(first + (1 << 16), count)
        rows = Rows(
            np.zeros((last - first, table.shape.width), np.float32),
            np.zeros((last - first, table.records.shape[1]), np.float32),
        ).copy()
        rows.factors[:, : table.shape.size] = factors[first:last]
        rows.records[:, 0] = biases[first:last]
        table.scatter(np.arange(first, last, dtype=np.int32), rows)
    table.count = count
