"""Errors and warnings of fastmf, and checks of parameters, which raise built-in errors.

Each error also derives from the built-in error that a caller would expect.
"""

from __future__ import annotations

import math
import operator
import sys
import warnings
from collections.abc import Sequence
from typing import Any

_LARGEST_COUNT = 2**31 - 1
_LARGEST_ROOM = 2**20  # elements that kernels hold at once for one event
_LARGEST_FLOAT32 = 3.4028234663852886e38

__all__ = [
    "CapacityError",
    "DataError",
    "DataWarning",
    "DatasetError",
    "DeviceError",
    "DivergenceError",
    "FastMFError",
    "FileFormatError",
    "MissingExtraError",
    "NotFittedError",
    "StaleDelta",
    "brief",
    "names_in",
    "require_choice",
    "require_count",
    "require_finite",
    "require_flag",
    "require_integer",
    "require_number",
    "warn",
]


class FastMFError(Exception):
    """Base of all errors raised by fastmf."""


class DataError(FastMFError, ValueError):
    """Raised for invalid input data; the message names the column, the row and the value."""


class NotFittedError(FastMFError, ValueError, AttributeError):
    """Raised when a model is queried before it has learned anything."""


class StaleDelta(FastMFError, ValueError):
    """Raised for a Delta that does not start from the present state of the model."""


class DivergenceError(FastMFError, ArithmeticError):
    """Raised when training produces infinite or NaN values; the model is left unchanged."""


class CapacityError(FastMFError, MemoryError):
    """Raised when a table would grow beyond the memory budget of the model."""


class FileFormatError(FastMFError, ValueError):
    """Raised for a file that is not a complete, consistent fastmf file."""


class DeviceError(FastMFError, RuntimeError):
    """Raised when the requested device is not available."""


class DatasetError(FastMFError, OSError):
    """Raised when a data set cannot be obtained or does not match its checksum."""


class MissingExtraError(FastMFError, ImportError):
    """Raised when an optional package is missing; the message says how to install it."""


class DataWarning(UserWarning):
    """Issued for data that are valid but from which a model learns little or nothing; the message says what to do.

    ``warnings.simplefilter("error", fastmf.errors.DataWarning)`` turns it into an error, which leaves the model
    unchanged.
    """


def warn(message: str) -> None:
    """Issue a DataWarning that points at the line that called fastmf."""
    depth, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "fastmf":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, DataWarning, stacklevel=depth)


def brief(value: Any) -> str:
    """Return the repr of a value in one line of at most 60 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # whatever its class raises, as that of an integer of 5000 digits does
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def names_in(kind: str, text: str, known: Sequence[str]) -> list[str]:
    """Read names separated by commas; DataError if one is not known, or occurs twice."""
    found: list[str] = []
    for one in (part.strip() for part in text.split(",")):
        if one not in known:
            raise DataError(f"{kind}: {brief(one)} is none of {', '.join(known)}")
        if one in found:
            raise DataError(f"{kind}: {one} occurs twice")
        found.append(one)
    return found


def require_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return the value; ValueError unless it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {brief(value)}")
    return value


def require_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return the value as an int; ValueError unless it is an integer from `least` to `most`."""
    span = f">= {least}" if most is None else f"from {least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least or (most is not None and number > most):
        raise ValueError(f"{name} must be an integer {span}, got {brief(value)}")
    return number


def require_count(name: str, value: Any, least: int) -> int:
    """Return the value as an int; ValueError unless it is an integer from `least` to the largest int32."""
    return require_integer(name, value, least, _LARGEST_COUNT)


def require_number(name: str, value: Any, positive: bool = False) -> None:
    """Raise ValueError unless the value is a finite float32 number >= 0, or > 0 where it must be `positive`."""
    span = "> 0" if positive else ">= 0"
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not (0.0 <= number <= _LARGEST_FLOAT32) or (positive and number == 0.0):
        raise ValueError(f"{name} must be a finite float32 number {span}, got {brief(value)}")


def require_finite(name: str, value: Any) -> float:
    """Return the value as a float; ValueError unless it is a finite number."""
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {brief(value)}")
    return number


def require_whole(name: str, value: Any, least: int, most: int = _LARGEST_ROOM) -> None:
    """Raise ValueError unless the value is integral, of any numeric type, and from `least` to `most`."""
    require_number(name, value)
    if not float(value).is_integer() or not least <= float(value) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {brief(value)}")


def require_flag(name: str, value: Any) -> bool:
    """Return the value as a bool; ValueError unless it is True or False."""
    if value is not True and value is not False and type(value).__name__ not in ("bool_", "bool"):
        raise ValueError(f"{name} must be True or False, got {brief(value)}")
    return bool(value)
