"""Columns of events, checked once: ids, numbers and times.

`ids`, `numbers` and `times` accept an array, a list, a pandas or polars Series or an Arrow array, and return a new,
read-only, C-contiguous array. An invalid cell raises a DataError that names the column, the first such row (counted
from 0) and its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions.cells import fail, first, gather, misfit, refuse_any
from fastmf.interactions.integers import WANTED_IDS, int64, integers, is_integer, owned
from fastmf.interactions.times import are_dates, gathered_times, times

__all__ = [
    "FIELDS",
    "checked",
    "ids",
    "ids_of_axis",
    "joined",
    "kind",
    "named",
    "numbers",
    "positions",
    "require_lengths",
    "rows",
    "times",
]

FIELDS = ("users", "items", "values", "times", "weights")

_FLOAT32_END = 2.0**128 - 2.0**103  # halfway from the largest float32 to what would be the next: rounds to infinity
_WANTED_NUMBERS = "this column holds real numbers"


# -------------------------------------------------------------------------------------------------------- ids


def ids(name: str, data: Any) -> NDArray[Any]:
    """
    Check a column of ids.

    Parameters
    ----------
    name : str
        Name of the column in errors.
    data : array_like, shape (n,)
        Integers that fit int64, or strings; not both.

    Returns
    -------
    ndarray, shape (n,)
        int64, or object holding `str`. An empty column is int64, unless its dtype is a text type.

    Raises
    ------
    DataError
        If an id is a bool, a float, bytes or missing, ids are mixed, an integer does not fit int64, or a string
        cannot be encoded as UTF-8.

    Examples
    --------
    >>> ids("users", [3, -1]), ids("items", ["a", "b"])
    (array([ 3, -1]), array(['a', 'b'], dtype=object))
    """
    if len(cells := gather(name, data)) == 0:
        return owned(np.empty(0, object if _holds_text(data) else np.int64))
    if isinstance(cells, list):
        return owned(_strings(name, cells) if isinstance(cells[0], str) else integers(name, cells))
    if cells.dtype.kind == "f" and (absent := np.isnan(cells)).any():
        # Integers of which some are missing are floats to NumPy and pandas: what is missing is the fault.
        fail(name, first(absent), cells[first(absent)], f"is missing; {WANTED_IDS}")
    if cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; {WANTED_IDS}")
    return owned(int64(name, cells))


def _holds_text(data: Any) -> bool:
    kind = getattr(data, "dtype", None)
    if isinstance(kind, np.dtype):
        return kind.kind in "OUT"
    return "str" in str(getattr(data, "type", kind)).lower()


def _strings(name: str, cells: list[Any]) -> NDArray[np.object_]:
    if not all(issubclass(kind, str) for kind in set(map(type, cells))) or not _can_be_encoded(cells):
        refuse_any(name, cells, _string_fault)
    # The contents, and nothing else: a subclass of str may print and compare as it likes.
    return np.fromiter(map(str.__str__, cells), object, len(cells))


def _string_fault(cell: Any) -> str:
    if not isinstance(cell, str):
        return misfit(cell, WANTED_IDS)
    return "" if _can_be_encoded([cell]) else "cannot be encoded as UTF-8"


def _can_be_encoded(cells: list[str]) -> bool:
    try:
        for start in range(0, len(cells), 1 << 16):
            "".join(cells[start : start + (1 << 16)]).encode()
    except UnicodeEncodeError:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- numbers


def numbers(name: str, data: Any, *, signed: bool = True) -> NDArray[np.float32]:
    """
    Check a column of real numbers.

    Parameters
    ----------
    name : str
        Name of the column in errors.
    data : array_like, shape (n,)
        Integers, floats, decimals, fractions, or bools (as 0 and 1).
    signed : bool
        Whether negative numbers are allowed.

    Returns
    -------
    ndarray of float32, shape (n,)
        The numbers, rounded to float32.

    Raises
    ------
    DataError
        If a cell is not a real number, is missing or not finite, or does not fit float32.

    Examples
    --------
    >>> numbers("values", [4, 3.5, True])
    array([4. , 3.5, 1. ], dtype=float32)
    """
    cells, fault = gather(name, data), partial(_number_fault, signed=signed)
    if isinstance(cells, list):
        if not all(map(_is_real, set(map(type, cells)))):
            refuse_any(name, cells, fault)
        wide = np.fromiter(map(_nearest_float, cells), np.float64, len(cells))
    else:
        if len(cells) and cells.dtype.kind not in "biuf":
            fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_NUMBERS}")
        wide = cells
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    bad = ~np.isfinite(single)
    if not signed:
        bad |= wide < 0
    if bad.any():
        fail(name, first(bad), cells[first(bad)], fault(cells[first(bad)]))
    return owned(single)


def _is_real(kind: type) -> bool:
    reals = int | float | np.integer | np.floating | np.bool_ | Decimal | Fraction
    return issubclass(kind, reals) and not issubclass(kind, np.timedelta64)


def _number_fault(cell: Any, signed: bool) -> str:
    if not _is_real(type(cell)):
        return misfit(cell, _WANTED_NUMBERS)
    if not _is_finite(cell):
        return "is not finite"
    if not signed and cell < 0:
        return "is below 0"
    return "" if abs(_nearest_float(cell)) < _FLOAT32_END else "is beyond float32"


def _is_finite(cell: Any) -> bool:
    if isinstance(cell, Decimal):
        return cell.is_finite()
    return not isinstance(cell, float | np.floating) or bool(np.isfinite(cell))


def _nearest_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:
        return math.copysign(math.inf, cell > 0 or -1)
    except ValueError:  # a signalling NaN of decimal
        return math.nan


# -------------------------------------------------------------------------------------------- all together


def checked(labels: Sequence[Any], data: Sequence[Any]) -> tuple[list[NDArray[Any] | None], bool]:
    """Check the five columns, in the order of `FIELDS`, and their lengths; also return whether times are dates."""
    times = None if data[3] is None else gather(labels[3], data[3])
    users, items = ids(labels[0], data[0]), ids(labels[1], data[1])
    arrays = [
        users,
        items,
        np.ones(len(users), np.float32) if data[2] is None else numbers(labels[2], data[2]),
        None if times is None else gathered_times(labels[3], times),
        None if data[4] is None else numbers(labels[4], data[4], signed=False),
    ]
    require_lengths(labels, arrays)
    return arrays, times is not None and are_dates(times)


def require_lengths(labels: Sequence[Any], arrays: Sequence[NDArray[Any] | None]) -> None:
    """Raise DataError unless all columns that are given have as many rows as the first."""
    rows = len(arrays[0])  # type: ignore[arg-type]
    for label, array in zip(labels, arrays, strict=True):
        if array is not None and len(array) != rows:
            raise DataError(f"column {label!r} has {len(array)} rows, column {labels[0]!r} has {rows}")


# ---------------------------------------------------------------------------------------------------- helpers


def named(names: Sequence[Any]) -> list[Any]:
    """Return the names that are not None."""
    return [name for name in names if name is not None]


def ids_of_axis(name: str, data: Any, count: int) -> NDArray[Any]:
    """Check the ids of the rows or the columns of a matrix; by default 0, 1, 2, ..."""
    if data is None:
        return np.arange(count, dtype=np.int64)
    if len(found := ids(name, data)) != count:
        raise DataError(f"column {name!r} has {len(found)} ids, the matrix has {count} {name}")
    return found


def kind(column: NDArray[Any]) -> str:
    """Return the kind of a column of ids, "int" or "str"."""
    return "str" if column.dtype == object else "int"


def positions(rows: Any) -> NDArray[Any]:
    """Check an index of events, and return it as an array of positions or of bools."""
    array = np.asarray(rows)
    array = array.astype(np.intp) if array.size == 0 else array  # NumPy makes an empty list a float array
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeError(f"events are picked by a slice, or an array of positions or bools, not {rows!r}")
    return array


def rows(name: str, data: Any, count: int) -> NDArray[Any]:
    """
    Check a column of row numbers, from 0 to ``count - 1``.

    Raises
    ------
    DataError
        If a row is not an integer or is out of range; the message names the position and the value.
    """
    cells, fault = gather(name, data), partial(_row_fault, count=count)
    if isinstance(cells, list):
        refuse_any(name, cells, fault)
        return np.fromiter(cells, np.int64, len(cells))
    if len(cells) and cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; rows are integers")
    if (outside := (cells < 0) | (cells >= count)).any():
        fail(name, first(outside), cells[first(outside)], fault(cells[first(outside)]))
    return cells.astype(np.int64)


def _row_fault(cell: Any, count: int) -> str:
    if not is_integer(type(cell)):
        return misfit(cell, "rows are integers")
    return "" if 0 <= cell < count else f"is none of the {count} rows"


def joined(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """Concatenate the parts of one column; None if the column is not given."""
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None
