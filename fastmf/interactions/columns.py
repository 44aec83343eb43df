"""Columns of events, checked once: ids, numbers and times.

`ids`, `numbers` and `times` take what a caller has (an array, a list, a pandas or polars Series, an Arrow
array) and return a new, read-only, C-contiguous array. What cannot be used is refused by a DataError with the
column, the first row at fault (counted from 0) and its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions.cells import Cells, fail, first, gather, is_missing, misfit, refuse_any

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

_INT64 = np.iinfo(np.int64)
_FLOAT32_END = 2.0**128 - 2.0**103  # halfway from the largest float32 to what would be the next: rounds to infinity
_WANTED_IDS = "ids of one side are all integers or all strings"
_WANTED_NUMBERS = "this column holds real numbers"
_WANTED_TIMES = "times are all integers or all datetimes"


# -------------------------------------------------------------------------------------------------------- ids


def ids(name: str, data: Any) -> NDArray[Any]:
    """
    Check a column of ids.

    Parameters
    ----------
    name : str
        What errors call the column.
    data : array_like, shape (n,)
        Integers that fit int64, or strings; not both.

    Returns
    -------
    ndarray, shape (n,)
        int64, or object whose every element is a `str`. An empty column is int64, unless its dtype says text.

    Raises
    ------
    DataError
        For a bool, float, bytes, missing or mixed id, an integer beyond int64, or a string that UTF-8 cannot
        encode.

    Examples
    --------
    >>> ids("users", [3, -1]), ids("items", ["a", "b"])
    (array([ 3, -1]), array(['a', 'b'], dtype=object))
    """
    if len(cells := gather(name, data)) == 0:
        return _owned(np.empty(0, object if _holds_text(data) else np.int64))
    if isinstance(cells, list):
        return _owned(_strings(name, cells) if isinstance(cells[0], str) else _integers(name, cells))
    if cells.dtype.kind == "f" and (absent := np.isnan(cells)).any():
        # Integers of which some are missing are floats to NumPy and pandas: what is missing is the fault.
        fail(name, first(absent), cells[first(absent)], f"is missing; {_WANTED_IDS}")
    if cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_IDS}")
    return _owned(_int64(name, cells))


def _holds_text(data: Any) -> bool:
    kind = getattr(data, "dtype", None)
    if isinstance(kind, np.dtype):
        return kind.kind in "OUT"
    return "str" in str(getattr(data, "type", kind)).lower()


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _is_integer(kind: type) -> bool:
    # bool is an int to Python, and a timedelta a signed integer to NumPy
    return issubclass(kind, int | np.integer) and not issubclass(kind, bool | np.timedelta64)


def _int64(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.kind == "u" and (beyond := array > _INT64.max).any():
        fail(name, first(beyond), array[first(beyond)], "does not fit int64")
    return np.array(array, np.int64)


def _integers(name: str, cells: list[Any]) -> NDArray[np.int64]:
    if not all(map(_is_integer, set(map(type, cells)))):
        refuse_any(name, cells, _integer_fault)
    try:
        return np.fromiter(cells, np.int64, len(cells))
    except OverflowError:
        refuse_any(name, cells, _integer_fault)
        raise


def _integer_fault(cell: Any) -> str:
    if not _is_integer(type(cell)):
        return misfit(cell, _WANTED_IDS)
    return "" if _INT64.min <= int(cell) <= _INT64.max else "does not fit int64"


def _strings(name: str, cells: list[Any]) -> NDArray[np.object_]:
    if not all(issubclass(kind, str) for kind in set(map(type, cells))) or not _can_be_encoded(cells):
        refuse_any(name, cells, _string_fault)
    # The contents, and nothing else: a subclass of str may print and compare as it likes.
    return np.fromiter(map(str.__str__, cells), object, len(cells))


def _string_fault(cell: Any) -> str:
    if not isinstance(cell, str):
        return misfit(cell, _WANTED_IDS)
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
        What errors call the column.
    data : array_like, shape (n,)
        Integers, floats, decimals, fractions, or bools (which count as 0 and 1).
    signed : bool
        Whether numbers below zero are legal.

    Returns
    -------
    ndarray, shape (n,), float32

    Raises
    ------
    DataError
        For anything else than a real number, a missing number, NaN, an infinity, or a number beyond float32.

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
    return _owned(single)


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


# ------------------------------------------------------------------------------------------------------ times


def times(name: str, data: Any) -> NDArray[np.int64]:
    """
    Check a column of times.

    Parameters
    ----------
    name : str
        What errors call the column.
    data : array_like, shape (n,)
        Integers of any unit; floats that are whole numbers; or dates and datetimes, of which those without a
        time zone are read as UTC. What is finer than a microsecond is cut off.

    Returns
    -------
    ndarray, shape (n,), int64
        The integers; for dates and datetimes, microseconds since 1970-01-01 UTC.

    Raises
    ------
    DataError
        For a missing time, a fraction, a bool, a string, or a time beyond int64.

    Examples
    --------
    >>> times("times", np.array(["1970-01-01T00:00:02"], "datetime64[s]"))
    array([2000000])
    """
    return _times(name, gather(name, data))


def are_dates(cells: Cells) -> bool:
    """Whether a column of times holds dates or datetimes, which become microseconds."""
    if isinstance(cells, list):
        return bool(cells) and isinstance(cells[0], date | np.datetime64)
    return cells.dtype.kind == "M"


def _times(name: str, cells: Cells) -> NDArray[np.int64]:
    if len(cells) == 0:
        return _owned(np.empty(0, np.int64))
    if isinstance(cells, list):
        return _owned(_listed_times(name, cells))
    if cells.dtype.kind == "M":
        return _owned(_microseconds(name, cells))
    if cells.dtype.kind == "f":
        return _owned(_whole(name, cells))
    if cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_TIMES}")
    return _owned(_int64(name, cells))


def _listed_times(name: str, cells: list[Any]) -> NDArray[np.int64]:
    """Times of the one kind that the first of them has."""
    if isinstance(cells[0], np.datetime64):
        refuse_any(name, cells, partial(_datetime64_fault, unit=cells[0].dtype))
        return _microseconds(name, np.array(cells))
    if isinstance(cells[0], date):
        refuse_any(name, cells, _date_fault)
        return _microseconds(name, np.array(list(map(_without_zone, cells)), "datetime64[us]"))
    if not all(map(_is_integer, set(map(type, cells)))):
        refuse_any(name, cells, _whole_fault)
    return _integers(name, list(map(int, cells)))


def _whole(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    wide = array.astype(np.promote_types(array.dtype, np.float64))
    bad = ~((wide == np.floor(wide)) & (wide >= -(2.0**63)) & (wide < 2.0**63))
    if bad.any():
        fail(name, first(bad), array[first(bad)], _whole_fault(array[first(bad)]))
    return wide.astype(np.int64)


def _whole_fault(cell: Any) -> str:
    if isinstance(cell, float | np.floating) and not is_missing(cell):
        if not cell.is_integer():
            return "is no whole number"
    elif not _is_integer(type(cell)):
        return misfit(cell, _WANTED_TIMES)
    return "" if _INT64.min <= int(cell) <= _INT64.max else "does not fit int64"


def _datetime64_fault(cell: Any, unit: np.dtype[Any]) -> str:
    if not isinstance(cell, np.datetime64) or is_missing(cell):
        return misfit(cell, _WANTED_TIMES)
    # NumPy would convert to the narrowest unit, and let the others overflow.
    return "" if cell.dtype == unit else "is of another unit than the first"


def _date_fault(cell: Any) -> str:
    if not isinstance(cell, date) or is_missing(cell):
        return misfit(cell, _WANTED_TIMES)
    try:
        _without_zone(cell)
    except (OverflowError, ValueError):
        return "lies outside the years 1 to 9999 in UTC"
    return ""


def _without_zone(cell: Any) -> Any:
    return cell if getattr(cell, "tzinfo", None) is None else cell.astimezone(UTC).replace(tzinfo=None)


def _microseconds(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    unit = np.datetime_data(array.dtype)[0]
    if unit == "generic":
        fail(name, 0, array[0], "has no unit")
    micro, bad = array.astype("datetime64[us]"), np.isnat(array)
    if unit not in {
        "ns",
        "ps",
        "fs",
        "as",
    }:  # NumPy wraps around silently; from a finer unit nothing can wrap
        bad |= micro.astype(array.dtype) != array
    if bad.any():
        cell = array[first(bad)]
        fail(name, first(bad), cell, "is missing" if is_missing(cell) else "is beyond int64 in microseconds")
    return micro.view(np.int64)


# -------------------------------------------------------------------------------------------- all together


def checked(labels: Sequence[Any], data: Sequence[Any]) -> tuple[list[NDArray[Any] | None], bool]:
    """Check the five columns, in the order of `FIELDS`, and are of one length; say whether times are dates."""
    times = None if data[3] is None else gather(labels[3], data[3])
    users, items = ids(labels[0], data[0]), ids(labels[1], data[1])
    arrays = [
        users,
        items,
        np.ones(len(users), np.float32) if data[2] is None else numbers(labels[2], data[2]),
        None if times is None else _times(labels[3], times),
        None if data[4] is None else numbers(labels[4], data[4], signed=False),
    ]
    require_lengths(labels, arrays)
    return arrays, times is not None and are_dates(times)


def require_lengths(labels: Sequence[Any], arrays: Sequence[NDArray[Any] | None]) -> None:
    """Raise DataError unless all columns there are have as many rows as the first."""
    rows = len(arrays[0])  # type: ignore[arg-type]
    for label, array in zip(labels, arrays, strict=True):
        if array is not None and len(array) != rows:
            raise DataError(f"column {label!r} has {len(array)} rows, column {labels[0]!r} has {rows}")


# ---------------------------------------------------------------------------------------------------- helpers


def named(names: Sequence[Any]) -> list[Any]:
    """The names of the columns that there are."""
    return [name for name in names if name is not None]


def ids_of_axis(name: str, data: Any, count: int) -> NDArray[Any]:
    """Ids of the rows or the columns of a matrix; by default 0, 1, 2, ..."""
    if data is None:
        return np.arange(count, dtype=np.int64)
    if len(found := ids(name, data)) != count:
        raise DataError(f"column {name!r} has {len(found)} ids, the matrix has {count} {name}")
    return found


def kind(column: NDArray[Any]) -> str:
    """What a column of ids holds."""
    return "str" if column.dtype == object else "int"


def positions(rows: Any) -> NDArray[Any]:
    """What picks events, as an array of positions or of bools."""
    array = np.asarray(rows)
    array = array.astype(np.intp) if array.size == 0 else array  # an empty list is of floats to NumPy
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeError(f"events are picked by a slice, or an array of positions or bools, not {rows!r}")
    return array


def rows(name: str, data: Any, count: int) -> NDArray[Any]:
    """
    Check a column of row numbers, of which there are `count`.

    Raises
    ------
    DataError
        For what is no integer, or outside 0 to ``count - 1``: the position and the value are named.
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
    if not _is_integer(type(cell)):
        return misfit(cell, "rows are integers")
    return "" if 0 <= cell < count else f"is none of the {count} rows"


def joined(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """Parts of one column, one after the other; None where there is no such column."""
    present = [array for array in arrays if array is not None]
    return np.concatenate(present) if present else None
