"""Readers of columns: data frames, sparse matrices, Parquet and CSV files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from itertools import chain
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, FastMFError, MissingExtraError
from fastmf.interactions.cells import Cells, fail, gather
from fastmf.interactions.lines import refuse_twice, without_blank_lines

__all__ = ["Entries", "csv_columns", "entries", "frame_columns", "parquet_columns"]

Entries: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Kind: TypeAlias = Literal["Parquet", "CSV"]

_BACKENDS = ("polars", "pyarrow", "duckdb", "pandas")  # the fastest first


# ----------------------------------------------------------------------------------------------------- frames


def frame_columns(frame: Any, names: Sequence[Any]) -> dict[Any, Any]:
    """Read columns of a data frame by name, unchecked."""
    with _readable("this data frame needs", f"the columns {list(names)} of the data frame cannot be read"):
        return _columns(frame, names)


@contextmanager
def _readable(needs: str, failed: str) -> Iterator[None]:
    """Convert the errors of other libraries into errors of fastmf."""
    try:
        yield
    except (FastMFError, MemoryError):
        raise
    except ImportError as error:
        raise MissingExtraError(f"{needs} pip install fastmf-rec[frames]: {error}") from error
    except Exception as error:  # each library has errors of its own
        raise DataError(f"{failed}: {error}") from error


def _columns(frame: Any, names: Sequence[Any]) -> dict[Any, Any]:
    for name in names:
        _require_name(name)
    if isinstance(frame, Mapping):
        _refuse_absent(names, list(frame))
        return {name: frame[name] for name in names}
    duckdb = sys.modules.get("duckdb")
    if duckdb and isinstance(frame, duckdb.DuckDBPyRelation):
        return _relation_columns(frame, names)
    import narwhals as nw

    frame = nw.to_native(frame, pass_through=True)  # narwhals has several versions of its own frames
    # These frames may have labels of any type, and duplicates; narwhals refuses both, even in columns not asked for.
    if nw.dependencies.is_pandas_like_dataframe(frame):
        _refuse_absent(names, available := list(frame.columns))
        return {name: frame.iloc[:, available.index(name)] for name in names}
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow and isinstance(frame, pyarrow.RecordBatch):
        frame = pyarrow.Table.from_batches([frame])
    if nw.dependencies.is_pyarrow_table(frame):
        _refuse_absent(names, available := frame.column_names)
        return {name: frame.column(available.index(name)) for name in names}
    table = _as_narwhals(frame)
    _refuse_absent(names, table.collect_schema().names())
    table = table.select(*dict.fromkeys(names))
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    return {name: table[name] for name in names}


def _require_name(name: Any) -> None:
    try:
        hash(name)
    except TypeError:
        raise DataError(f"{name!r} is no name of a column") from None


def _relation_columns(relation: Any, names: Sequence[Any]) -> dict[Any, Any]:
    """Read columns of a duckdb relation as NumPy arrays; unlike narwhals, this does not need pyarrow."""
    _refuse_absent(names, relation.columns)
    quoted = ['"' + name.replace('"', '""') + '"' for name in dict.fromkeys(names)]
    return dict(relation.project(", ".join(quoted)).fetchnumpy())


def _as_narwhals(frame: Any) -> Any:
    import narwhals as nw

    try:
        return nw.from_native(frame)
    except TypeError:
        if nw.dependencies.is_into_series(frame) or not hasattr(frame, "__arrow_c_stream__"):
            raise DataError(
                "a data frame of pandas, polars, pyarrow or duckdb, or a dict of arrays is needed, "
                f"not {type(frame).__name__}"
            ) from None
        return nw.from_arrow(frame, backend=_installed(("pyarrow", "polars", "pandas"), "Arrow streams"))


def _refuse_absent(names: Sequence[Any], available: list[Any]) -> None:
    """Raise DataError unless each name is that of exactly one column."""
    for name in names:
        if (count := available.count(name)) != 1:
            told = "is no column" if count == 0 else "are two columns"
            raise DataError(f"there {told} {name!r}; the columns are {available}")


def _installed(backends: Sequence[str], what: str) -> Any:
    for backend in backends:
        if find_spec(backend):
            return backend
    raise MissingExtraError(f"{what} need one of {', '.join(backends)}: pip install fastmf-rec[frames]")


# ------------------------------------------------------------------------------------------------------ files


def parquet_columns(path: str | PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """Read columns of a Parquet file."""
    return _file_columns(path, names, "Parquet")


def csv_columns(path: str | PathLike[str], names: Sequence[str], time: str | None) -> dict[str, Any]:
    """Read columns of a CSV file; times that are text are parsed as ISO 8601."""
    columns = _file_columns(path, names, "CSV")
    if time is not None:
        columns[time] = _parsed_times(time, columns[time])
    return columns


def _file_columns(path: str | PathLike[str], names: Sequence[str], kind: Kind) -> dict[str, Any]:
    backend, path = _installed(_BACKENDS, f"{kind} files"), fsdecode(path)
    with open(path, "rb"):  # a missing file raises the system's error, the same for every backend
        pass
    absolute = Path(path).absolute()  # some backends take a relative path for a URL, or expand "~"
    with _readable(f"{kind} files need", f"{path} cannot be read as {kind}"):
        if kind == "Parquet":
            return _columns(_scan(absolute, backend, kind), names)
        refuse_twice(absolute, names)
        with without_blank_lines(absolute) as plain:
            return _columns(_scan(plain, backend, kind), names)


def _scan(path: Path, backend: Any, kind: Kind) -> Any:
    """Scan the file at exactly this path, even if it looks like a glob pattern or a hive partition."""
    import narwhals as nw

    name, options = str(path), dict[str, Any]()
    if backend == "pyarrow":
        return _arrow_table(path, kind)
    if backend == "polars":
        options = {"glob": False, "hive_partitioning": False} if kind == "Parquet" else {"glob": False}
    if backend == "duckdb":
        name, options = "".join(f"[{one}]" if one in "*?[" else one for one in name), {"hive_partitioning": False}
    if kind == "Parquet":
        return nw.scan_parquet(name, backend=backend, **options).to_native()
    return nw.scan_csv(name, backend=backend, **options, **_CSV_OPTIONS[backend]).to_native()


# The options make all backends agree: types are inferred from the whole file, and only empty cells are missing.
_CSV_OPTIONS: dict[str, dict[str, Any]] = {
    "polars": {"infer_schema_length": None},
    "duckdb": {"sample_size": -1},
    "pandas": {"low_memory": False, "keep_default_na": False, "na_values": [""]},
}


def _arrow_table(path: Path, kind: Kind) -> Any:
    """Read a file with pyarrow itself: narwhals refuses duplicated columns, even if they are not asked for."""
    if kind == "Parquet":
        from pyarrow import parquet

        return parquet.read_table(path, partitioning=None)
    from pyarrow import csv

    return csv.read_csv(
        path,
        csv.ReadOptions(block_size=min(max(path.stat().st_size, 1), 2**31 - 1)),
        convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True),
    )


def _parsed_times(name: str, data: Any) -> Cells:
    cells = gather(name, data)
    if isinstance(cells, np.ndarray):
        return cells
    return [_parsed(name, row, cell) if isinstance(cell, str) else cell for row, cell in enumerate(cells)]


def _parsed(name: str, row: int, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        fail(name, row, text, "is neither an integer nor a time in ISO 8601")


# -------------------------------------------------------------------------------------------- sparse matrices


def entries(matrix: Any) -> Entries:
    """
    Return the rows, columns and values of the stored entries of a sparse matrix.

    The index arrays are checked first: SciPy's own conversions trust them, and a malformed matrix would make them read
    and write out of bounds.
    """
    from scipy.sparse import issparse

    if not issparse(matrix):
        raise DataError(f"a matrix or array of scipy.sparse is needed, not {type(matrix).__name__}")
    if matrix.ndim != 2:
        raise DataError(f"the matrix must be 2-d, its shape is {matrix.shape}")
    rows, columns, values = _READERS[matrix.format](matrix)
    _refuse_lengths(rows=rows, columns=columns, data=values)
    _refuse_outside("matrix rows", rows, matrix.shape[0])
    _refuse_outside("matrix columns", columns, matrix.shape[1])
    return rows, columns, values


def _from_coo(matrix: Any) -> Entries:
    return matrix.row, matrix.col, matrix.data


def _from_csr(matrix: Any) -> Entries:
    rows, columns = _expand(matrix, matrix.shape[0])
    return rows, columns, matrix.data[: len(columns)]


def _from_csc(matrix: Any) -> Entries:
    columns, rows = _expand(matrix, matrix.shape[1])
    return rows, columns, matrix.data[: len(rows)]


def _from_bsr(matrix: Any) -> Entries:
    high, wide = matrix.blocksize
    rows, columns = _expand(matrix, matrix.shape[0] // high)
    rows = rows[:, None, None] * high + np.arange(high)[:, None]
    columns = columns.astype(np.int64)[:, None, None] * wide + np.arange(wide)
    rows, columns = np.broadcast_arrays(rows, columns)
    return rows.ravel(), columns.ravel(), matrix.data[: len(rows)].ravel()


def _from_dok(matrix: Any) -> Entries:
    keys = np.array(list(matrix.keys()), np.int64).reshape(-1, 2)
    return keys[:, 0], keys[:, 1], np.fromiter(matrix.values(), matrix.dtype, len(keys))


def _from_lil(matrix: Any) -> Entries:
    for row, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
        if len(columns) != len(values):
            fail("matrix.rows", row, columns, f"is not as long as its {len(values)} values")
    counts = np.fromiter(map(len, matrix.rows), np.int64, len(matrix.rows))
    rows = np.repeat(np.arange(len(counts)), counts)
    columns = np.fromiter(chain.from_iterable(matrix.rows), np.int64, len(rows))
    return rows, columns, np.array(list(chain.from_iterable(matrix.data)), matrix.dtype)


def _from_dia(matrix: Any) -> Entries:
    offsets, band = matrix.offsets, matrix.data
    _refuse_kind("matrix.offsets", offsets)
    _refuse_lengths(offsets=offsets, data=band)
    columns = np.broadcast_to(np.arange(band.shape[1]), band.shape)
    rows = columns - offsets[:, None]
    # Diagonals are stored in full: a zero is a filler, not an event.
    stored = (band != 0) & (rows >= 0) & (rows < matrix.shape[0]) & (columns < matrix.shape[1])
    return rows[stored], columns[stored], band[stored]


_READERS: dict[str, Callable[[Any], Entries]] = {
    "bsr": _from_bsr,
    "coo": _from_coo,
    "csc": _from_csc,
    "csr": _from_csr,
    "dia": _from_dia,
    "dok": _from_dok,
    "lil": _from_lil,
}


def _expand(matrix: Any, lines: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the major and the minor index of every entry of a compressed matrix."""
    starts, indices = matrix.indptr, matrix.indices
    _refuse_kind("matrix.indptr", starts)
    if len(starts) != lines + 1:
        raise DataError(f"the matrix's indptr must have {lines + 1} entries, it has {len(starts)}")
    if starts[0] != 0:
        fail("matrix.indptr", 0, starts[0], "is not 0")
    if (falling := starts[1:] < starts[:-1]).any():
        row = int(falling.argmax()) + 1
        fail("matrix.indptr", row, starts[row], "is below the entry before it")
    _refuse_lengths(indices=indices, data=matrix.data)
    if starts[-1] > len(indices):
        fail("matrix.indptr", lines, starts[-1], f"is beyond the {len(indices)} entries of the matrix")
    return np.repeat(np.arange(lines), np.diff(starts)), indices[: starts[-1]]  # the rest is spare capacity


def _refuse_lengths(**arrays: NDArray[Any]) -> None:
    if len({len(array) for array in arrays.values()}) > 1:
        told = ", ".join(f"{name} has {len(array)}" for name, array in arrays.items())
        raise DataError(f"the matrix's arrays differ in length: {told}")


def _refuse_kind(name: str, array: NDArray[Any]) -> None:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"the matrix: {name} must be 1-d integers, not {array.dtype} of shape {array.shape}")


def _refuse_outside(name: str, array: NDArray[Any], bound: int) -> None:
    _refuse_kind(name, array)
    if (outside := (array < 0) | (array >= bound)).any():
        row = int(outside.argmax())
        fail(name, row, array[row], f"is outside 0 to {bound - 1}")
