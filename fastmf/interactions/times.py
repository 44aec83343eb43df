"""Columns of times: integers of any unit, or dates and datetimes, which become microseconds."""

from __future__ import annotations

from datetime import UTC, date
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.interactions.cells import Cells, fail, first, gather, is_missing, misfit, refuse_any
from fastmf.interactions.integers import INT64, int64, integers, is_integer, owned

__all__ = ["are_dates", "gathered_times", "times"]

_WANTED_TIMES = "times are all integers or all datetimes"


def times(name: str, data: Any) -> NDArray[np.int64]:
    """
    Check a column of times.

    Parameters
    ----------
    name : str
        Name of the column in errors.
    data : array_like, shape (n,)
        Integers in any unit; integral floats; or dates and datetimes, which are taken as UTC if they have no time zone,
        and truncated to microseconds.

    Returns
    -------
    ndarray of int64, shape (n,)
        The integers; for dates and datetimes, microseconds since 1970-01-01 UTC.

    Raises
    ------
    DataError
        If a time is missing, a fraction, a bool or a string, or does not fit int64.

    Examples
    --------
    >>> times("times", np.array(["1970-01-01T00:00:02"], "datetime64[s]"))
    array([2000000])
    """
    return gathered_times(name, gather(name, data))


def are_dates(cells: Cells) -> bool:
    """Whether a column of times holds dates or datetimes, which become microseconds."""
    if isinstance(cells, list):
        return bool(cells) and isinstance(cells[0], date | np.datetime64)
    return cells.dtype.kind == "M"


def gathered_times(name: str, cells: Cells) -> NDArray[np.int64]:
    """Check a column of times as :func:`times` does, after :func:`gather`."""
    if len(cells) == 0:
        return owned(np.empty(0, np.int64))
    if isinstance(cells, list):
        return owned(_listed_times(name, cells))
    if cells.dtype.kind == "M":
        return owned(_microseconds(name, cells))
    if cells.dtype.kind == "f":
        return owned(_whole(name, cells))
    if cells.dtype.kind not in "iu":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; {_WANTED_TIMES}")
    return owned(int64(name, cells))


def _listed_times(name: str, cells: list[Any]) -> NDArray[np.int64]:
    """Convert a list of times, all of the kind of the first one."""
    if isinstance(cells[0], np.datetime64):
        refuse_any(name, cells, partial(_datetime64_fault, unit=cells[0].dtype))
        return _microseconds(name, np.array(cells))
    if isinstance(cells[0], date):
        refuse_any(name, cells, _date_fault)
        return _microseconds(name, np.array(list(map(_without_zone, cells)), "datetime64[us]"))
    if not all(map(is_integer, set(map(type, cells)))):
        refuse_any(name, cells, _whole_fault)
    return integers(name, list(map(int, cells)))


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
    elif not is_integer(type(cell)):
        return misfit(cell, _WANTED_TIMES)
    return "" if INT64.min <= int(cell) <= INT64.max else "does not fit int64"


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
