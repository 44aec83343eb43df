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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions.cells import Cells, fail, first, gather, refuse_first

__all__ = ["FIELDS", "checked", "ids", "numbers", "times"]

FIELDS = ("users", "items", "values", "times", "weights")

_INT64 = np.iinfo(np.int64)
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
    if isinstance(cells, np.ndarray):
        if cells.dtype.kind not in "iu":
            fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_IDS}")
        return _owned(_int64(name, cells))
    if isinstance(cells[0], str):
        return _owned(_strings(name, cells))
    if not all(map(_is_integer, set(map(type, cells)))):
        refuse_first(name, cells, lambda cell: _is_integer(type(cell)), _WANTED_IDS)
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


def _int64(name: str, cells: Cells) -> NDArray[np.int64]:
    if isinstance(cells, np.ndarray):
        if cells.dtype.kind == "u" and (beyond := cells > _INT64.max).any():
            fail(name, first(beyond), cells[first(beyond)], "does not fit int64")
        return np.array(cells, np.int64)
    try:
        return np.fromiter(cells, np.int64, len(cells))
    except OverflowError:
        row = next(row for row, cell in enumerate(cells) if not _INT64.min <= int(cell) <= _INT64.max)
        fail(name, row, cells[row], "does not fit int64")


def _strings(name: str, cells: list[Any]) -> NDArray[np.object_]:
    kinds = set(map(type, cells))
    if not all(issubclass(kind, str) for kind in kinds):
        refuse_first(name, cells, lambda cell: isinstance(cell, str), _WANTED_IDS)
    if kinds != {str}:
        cells = [str.__str__(cell) for cell in cells]  # the contents: a subclass may print as something else
    if not all(map(str.isascii, cells)):
        _refuse_surrogates(name, cells)
    return np.fromiter(cells, object, len(cells))


def _refuse_surrogates(name: str, cells: list[str]) -> None:
    for row, cell in enumerate(cells):
        try:
            cell.encode()
        except UnicodeEncodeError:
            fail(name, row, cell, "cannot be encoded as UTF-8")


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
    cells = gather(name, data)
    if isinstance(cells, np.ndarray):
        if len(cells) and cells.dtype.kind not in "biuf":
            fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_NUMBERS}")
        wide = cells
    else:
        if not all(map(_is_real, set(map(type, cells)))):
            refuse_first(name, cells, lambda cell: _is_real(type(cell)), _WANTED_NUMBERS)
        wide = _float64(cells)
    with np.errstate(over="ignore"):
        single = wide.astype(np.float32)
    if not (finite := np.isfinite(single)).all():
        value = cells[first(~finite)]
        fail(name, first(~finite), value, "is beyond float32" if _is_finite(value) else "is not finite")
    if not signed and (negative := wide < 0).any():
        fail(name, first(negative), cells[first(negative)], "is below 0")
    return _owned(single)


def _is_real(kind: type) -> bool:
    reals = int | float | np.integer | np.floating | np.bool_ | Decimal | Fraction
    return issubclass(kind, reals) and not issubclass(kind, np.timedelta64)


def _is_finite(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, float | np.floating) or bool(np.isfinite(value))


def _float64(cells: list[Any]) -> NDArray[np.float64]:
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except (OverflowError, ValueError):
        return np.fromiter(map(_nearest_float, cells), np.float64, len(cells))


def _nearest_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:
        return math.inf
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
    cells = gather(name, data)
    if len(cells) == 0:
        return _owned(np.empty(0, np.int64))
    if isinstance(cells, list):
        return _owned(_listed_times(name, cells))
    if cells.dtype.kind == "M":
        return _owned(_microseconds(name, cells))
    if cells.dtype.kind == "f":
        return _owned(_whole(name, cells.tolist()))
    if cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_TIMES}")
    return _owned(_int64(name, cells))


def _listed_times(name: str, cells: list[Any]) -> NDArray[np.int64]:
    families = {kind: _family(kind) for kind in set(map(type, cells))}
    family = families[type(cells[0])]
    if family is None or len(set(families.values())) > 1:
        refuse_first(name, cells, lambda cell: family is families[type(cell)] is not None, _WANTED_TIMES)
    if family is int:
        return _whole(name, cells)
    if family is np.datetime64:  # NumPy would let a wide unit overflow in a narrow one
        if len({cell.dtype for cell in cells}) > 1:
            refuse_first(name, cells, lambda cell: cell.dtype == cells[0].dtype, "all are in one unit")
        return _microseconds(name, np.array(cells))
    utc = [_without_zone(name, row, cell) for row, cell in enumerate(cells)]
    return _microseconds(name, np.array(utc, "datetime64[us]"))


def _family(kind: type) -> type | None:
    """The kind of time that a type is: int, numpy.datetime64, date, or none."""
    if _is_integer(kind) or issubclass(kind, float | np.floating):
        return int
    if issubclass(kind, np.datetime64):
        return np.datetime64
    return date if issubclass(kind, date) and kind.__name__ != "NaTType" else None


def _whole(name: str, cells: list[Any]) -> NDArray[np.int64]:
    for row, cell in enumerate(cells):
        if isinstance(cell, float | np.floating) and not cell.is_integer():
            fail(name, row, cell, f"is no whole number; {_WANTED_TIMES}")
    return _int64(name, list(map(int, cells)))


def _without_zone(name: str, row: int, cell: Any) -> Any:
    if getattr(cell, "tzinfo", None) is None:
        return cell
    try:
        return cell.astimezone(UTC).replace(tzinfo=None)
    except (OverflowError, ValueError):
        fail(name, row, cell, "lies outside the years 1 to 9999 in UTC")


def _microseconds(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if (absent := np.isnat(array)).any():
        fail(name, first(absent), array[first(absent)], "is missing")
    unit = np.datetime_data(array.dtype)[0]
    if unit == "generic":
        fail(name, 0, array[0], "has no unit")
    micro = array.astype("datetime64[us]")
    # NumPy wraps around silently. From a finer unit nothing can wrap, and the way back would lose digits.
    if unit not in {"ns", "ps", "fs", "as"} and (wrapped := micro.astype(array.dtype) != array).any():
        fail(name, first(wrapped), array[first(wrapped)], "is beyond int64 in microseconds")
    return micro.view(np.int64)


# -------------------------------------------------------------------------------------------- all together


def checked(labels: Sequence[str], data: Sequence[Any]) -> list[NDArray[Any] | None]:
    """Check the five columns, in the order of `FIELDS`, and that they are of one length."""
    users, items = ids(labels[0], data[0]), ids(labels[1], data[1])
    arrays = [
        users,
        items,
        np.ones(len(users), np.float32) if data[2] is None else numbers(labels[2], data[2]),
        None if data[3] is None else times(labels[3], data[3]),
        None if data[4] is None else numbers(labels[4], data[4], signed=False),
    ]
    for label, array in zip(labels, arrays, strict=True):
        if array is not None and len(array) != len(users):
            raise DataError(f"column {label!r} has {len(array)} rows, column {labels[0]!r} has {len(users)}")
    return arrays
