"""Cells of a column, whatever holds them, and the refusal of the first that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError

__all__ = ["Cells", "fail", "first", "gather", "refuse_first"]

Cells: TypeAlias = "NDArray[Any] | list[Any]"


# --------------------------------------------------------------------------------------------------- refusals


def fail(name: str, row: int, value: object, why: str) -> NoReturn:
    """Raise the DataError that names a column, a row and a value."""
    raise DataError(f"column {name!r}, row {row}: {_show(value)} {why}")


def _show(value: object) -> str:
    try:
        text = repr(value.item() if isinstance(value, np.number | np.bool_) else value)
    except Exception:  # a value's own repr may fail, as that of an integer of 5000 digits does
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else f"{text[:57]}..."


def first(bad: NDArray[np.bool_]) -> int:
    """Row of the first True."""
    return int(bad.argmax())


def _is_missing(cell: object) -> bool:
    if cell is None or type(cell).__name__ in {"NAType", "NaTType"}:
        return True
    return isinstance(cell, float | np.floating | np.datetime64) and bool(cell != cell)


def refuse_first(name: str, cells: list[Any], fits: Callable[[Any], bool], wanted: str) -> NoReturn:
    """Name the first cell that does not fit."""
    row, cell = next((row, cell) for row, cell in enumerate(cells) if not fits(cell))
    what = "missing" if _is_missing(cell) else f"of type {type(cell).__name__}"
    fail(name, row, cell, f"is {what}; {wanted}")


# --------------------------------------------------------------------------------------- whatever holds cells


def gather(name: str, data: Any) -> Cells:
    """Cells as a 1-d array of one plain dtype, or as a list of Python objects."""
    if type(data).__module__.partition(".")[0] in {"narwhals", "pandas", "polars", "pyarrow"}:
        cells: Cells = _from_series(name, data)
        return cells
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray | memoryview):
        return list(data)
    if not hasattr(data, "__array__") or isinstance(data, np.generic):
        raise DataError(f"column {name!r} must be a 1-d array, list or series, not {type(data).__name__}")
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor that lives on a GPU, for one
        raise DataError(f"column {name!r} cannot become a NumPy array: {error}") from error
    if array.ndim != 1:
        raise DataError(f"column {name!r} must be 1-d, its shape is {array.shape}")
    if isinstance(data, np.ma.MaskedArray):
        _refuse_masked(name, np.ma.getmaskarray(data))
    return array.tolist() if array.dtype.kind in "OUT" else array


def _from_series(name: str, data: Any) -> Any:
    import narwhals as nw

    native = _as_series(nw.to_native(data, pass_through=True))
    try:
        series: Any = nw.from_native(native, series_only=True)
    except TypeError as error:
        raise DataError(f"column {name!r} must be a single column, not {type(data).__name__}") from error
    _refuse_masked(name, series.is_null().to_numpy())
    kind = series.dtype
    if isinstance(kind, nw.Datetime):
        if kind.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.to_numpy()
    if kind.is_float() or kind == nw.Boolean or (kind.is_integer() and kind not in (nw.Int128, nw.UInt128)):
        return series.to_numpy()
    return series.to_list()


def _as_series(data: Any) -> Any:
    """Wrap the one-column types that narwhals does not read: indexes and arrays of pandas, Arrow arrays."""
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if pandas and isinstance(data, pandas.Index | pandas.api.extensions.ExtensionArray):
        return pandas.Series(data)
    if pyarrow and isinstance(data, pyarrow.Array):
        return pyarrow.chunked_array([data])
    return data


def _refuse_masked(name: str, mask: NDArray[np.bool_]) -> None:
    if mask.any():
        fail(name, first(mask), None, "is missing")
