"""Integer columns: values of any integer type that fit int64; bools and integral floats are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.interactions.cells import fail, first, misfit, refuse_any

__all__ = ["INT64", "WANTED_IDS", "int64", "integers", "is_integer", "owned"]

INT64 = np.iinfo(np.int64)
WANTED_IDS = "ids of one side are all integers or all strings"


def owned(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only and return it."""
    array.flags.writeable = False
    return array


def is_integer(kind: type) -> bool:
    """Whether a type is an integer type."""
    # bool is an int to Python, and a timedelta a signed integer to NumPy
    return issubclass(kind, int | np.integer) and not issubclass(kind, bool | np.timedelta64)


def int64(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    """Copy an integer array as int64; DataError if a value does not fit."""
    if array.dtype.kind == "u" and (beyond := array > INT64.max).any():
        fail(name, first(beyond), array[first(beyond)], "does not fit int64")
    return np.array(array, np.int64)


def integers(name: str, cells: list[Any]) -> NDArray[np.int64]:
    """Convert a list of integers to an array; DataError if a cell is not an integer, or does not fit."""
    if not all(map(is_integer, set(map(type, cells)))):
        refuse_any(name, cells, _integer_fault)
    try:
        return np.fromiter(cells, np.int64, len(cells))
    except OverflowError:
        refuse_any(name, cells, _integer_fault)
        raise


def _integer_fault(cell: Any) -> str:
    if not is_integer(type(cell)):
        return misfit(cell, WANTED_IDS)
    return "" if INT64.min <= int(cell) <= INT64.max else "does not fit int64"
