"""Cells of a column from any array library, and the error for the first invalid one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, brief

__all__ = ["Cells", "fail", "first", "gather", "is_missing", "misfit", "refuse_any"]

Cells: TypeAlias = "NDArray[Any] | list[Any]"


# --------------------------------------------------------------------------------------------------- refusals


def fail(name: str, row: int, value: object, why: str) -> NoReturn:
    """Raise the DataError that names a column, a row and a value."""
    raise DataError(f"column {name!r}, row {row}: {_show(value)} {why}")


def _show(value: Any) -> str:
    return brief(value.item() if isinstance(value, np.number | np.bool_) else value)


def first(bad: NDArray[np.bool_]) -> int:
    """Return the row of the first True."""
    return int(bad.argmax())


def refuse_any(name: str, cells: list[Any], fault: Callable[[Any], str]) -> None:
    """Raise DataError for the first invalid cell: `fault` returns what is wrong with a cell, or an empty str."""
    for row, cell in enumerate(cells):
        if why := fault(cell):
            fail(name, row, cell, why)


def misfit(cell: object, wanted: str) -> str:
    """Describe what is wrong with a cell of the wrong type."""
    return f"is {'missing' if is_missing(cell) else f'of type {type(cell).__name__}'}; {wanted}"


def is_missing(cell: object) -> bool:
    """Whether a cell is None, NaN, NaT, or the NA of any library."""
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(cell, float | np.floating | np.datetime64) and bool(cell != cell)


# --------------------------------------------------------------------------------------- whatever holds cells


def gather(name: str, data: Any) -> Cells:
    """Return a column as a 1-d array of a plain dtype if no cell is missing, otherwise as a list of Python objects."""
    if type(data).__module__.partition(".")[0] in {"narwhals", "pandas", "polars", "pyarrow"}:
        try:
            return _from_series(name, data)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # each library has errors of its own
            raise DataError(f"column {name!r} cannot be read: {error}") from error
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray | memoryview):
        return list(data)
    if not hasattr(data, "__array__") or isinstance(data, np.generic):
        raise DataError(f"column {name!r} must be a 1-d array, list or series, not {type(data).__name__}")
    try:
        array = np.asanyarray(data)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor that lives on a GPU, for one
        raise DataError(f"column {name!r} cannot become a NumPy array: {error}") from error
    if array.ndim != 1:
        raise DataError(f"column {name!r} must be 1-d, its shape is {array.shape}")
    if array.dtype.kind in "OUT" or np.ma.is_masked(array):  # what is masked is None in a list
        return list(array.tolist())
    return np.asarray(array)


def _from_series(name: str, data: Any) -> Cells:
    import narwhals as nw

    native = _as_series(nw.to_native(data, pass_through=True))
    try:
        series: Any = nw.from_native(native, series_only=True)
    except TypeError as error:
        raise DataError(f"column {name!r} must be a single column, not {type(data).__name__}") from error
    kind = series.dtype
    if isinstance(kind, nw.Datetime) and kind.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if kind.is_float():  # what is missing is NaN in the array
        return np.asarray(series.to_numpy())
    plain = kind.is_integer() or kind == nw.Boolean or isinstance(kind, nw.Datetime)
    if not plain or kind in (nw.Int128, nw.UInt128) or series.is_null().any():
        return list(series.to_list())
    return np.asarray(series.to_numpy())


def _as_series(data: Any) -> Any:
    """Wrap the one-column types that narwhals does not read: indexes and arrays of pandas, Arrow arrays."""
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pandas and isinstance(data, pandas.Index | pandas.api.extensions.ExtensionArray):
        return pandas.Series(data)
    if pyarrow and isinstance(data, pyarrow.Array):
        return pyarrow.chunked_array([data])
    return data
