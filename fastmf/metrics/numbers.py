"""Checks of the arguments of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmf.errors import DataError, brief

__all__ = ["require_ids", "require_no_nan", "require_numbers", "require_one_kind", "require_positions", "shown_ids"]

_WANTED = "ids are all integers that fit int64, or all strings"


def require_numbers(name: str, given: Any) -> NDArray[Any]:
    """Return real numbers as an array of their own dtype; DataError for anything else."""
    found = _array(name, given)
    if found.dtype.kind == "O":
        found = _array(name, found, np.float64)
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name}: {brief(given)} is no array of numbers")
    return found


def _array(name: str, given: Any, kind: Any = None) -> NDArray[Any]:
    try:
        return np.asarray(given, kind)
    except MemoryError:
        raise
    except Exception as error:  # arrays of other libraries raise what they like
        raise DataError(f"{name}: {brief(given)} is no array of numbers ({error})") from error


def require_no_nan(name: str, values: NDArray[np.floating]) -> None:
    """Raise DataError for the first of `values` that is NaN.

    Infinities are allowed: an item that is not a candidate has the score -inf.
    """
    bad = np.isnan(values)
    if bad.any():
        place = np.unravel_index(np.argmax(bad), bad.shape)
        where = "".join(f", {axis} {index}" for axis, index in zip(("row", "column"), place, strict=False))
        raise DataError(f"{name}{where}: {values[place]} is no number")


def require_positions(name: str, given: ArrayLike) -> NDArray[np.int64]:
    """Return integers as int64; DataError for anything else, which a conversion would truncate or overflow."""
    found = _array(name, given)
    if found.size and found.dtype.kind not in "iu":
        raise DataError(f"{name}, row 0: {brief(found.flat[0])} is no integer that fits int64")
    return found.astype(np.int64)


def require_ids(name: str, given: Any) -> NDArray[Any]:
    """Flatten ids of any shape to int64, or to an object array of str; None, which may be padding, is dropped.

    Raises
    ------
    DataError
        If a value is neither an integer that fits int64 nor a string, or both kinds occur.
    """
    try:
        found = np.asarray(given)
        if found.dtype.kind in "iu":
            return found.ravel().astype(np.int64)
        cells = [one for one in np.asarray(given, object).ravel() if one is not None]
    except MemoryError:
        raise
    except Exception as error:  # arrays of other libraries raise what they like
        raise DataError(f"{name}: ids must be an array, or lists of one length: {error}") from error
    kinds = [_kind(one) for one in cells]
    for row, kind in enumerate(kinds):
        if kind is None or kind != kinds[0]:
            raise DataError(f"{name}, row {row}: {brief(cells[row])} is of type {type(cells[row]).__name__}; {_WANTED}")
    return np.array(cells, object if kinds and kinds[0] == "str" else np.int64)


def _kind(one: object) -> str | None:
    if isinstance(one, str):
        return "str"
    whole = isinstance(one, int | np.integer) and not isinstance(one, bool | np.timedelta64)
    return "int" if whole and -(1 << 63) <= int(one) < 1 << 63 else None  # type: ignore[call-overload]


def shown_ids(recommended: Any) -> NDArray[Any]:
    """Return the recommended ids, given an array of them or a ``Ranking``, whose scores tell the padding."""
    if hasattr(recommended, "ids") and hasattr(recommended, "scores"):
        return require_ids("recommended", np.asarray(recommended.ids)[np.asarray(recommended.scores) > -np.inf])
    return require_ids("recommended", recommended)


def require_one_kind(**ids: NDArray[Any]) -> None:
    """Raise DataError if int ids and str ids are compared."""
    told = [f"{name} holds {'str' if found.dtype == object else 'int'}" for name, found in ids.items() if found.size]
    if len({text.rsplit(" ", 1)[1] for text in told}) > 1:
        raise DataError(f"ids of two kinds cannot be the same: {', '.join(told)}")
