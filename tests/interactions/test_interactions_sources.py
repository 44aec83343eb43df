"""Interactions from data frames, files and sparse matrices."""

from __future__ import annotations

import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pytest
from event_checks import MIDNIGHT, assert_canonical, columns_of
from hypothesis import given
from hypothesis import strategies as st

from fastmf.errors import DataError, MissingExtraError
from fastmf.interactions import Interactions, readers

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
sparse = pytest.importorskip("scipy.sparse")

# ----------------------------------------------------------------------------------------------------- frames

TABLE = {
    "who": [3, -1, 3],
    "film": ["Alien", "Brazil", "Alien"],
    "stars": [4.5, 3.0, 5.0],
    "at": [datetime(2020, 1, 1), datetime(2020, 1, 1, 1), datetime(2020, 1, 1, 2)],
    "much": [1, 0, 2],
    "junk": [object(), object(), object()],
}
HOUR = 3_600_000_000
EXPECTED = [
    TABLE["who"],
    TABLE["film"],
    TABLE["stars"],
    [MIDNIGHT + hour * HOUR for hour in range(3)],
    TABLE["much"],
]
NAMES = {"user": "who", "item": "film", "value": "stars", "time": "at", "weight": "much"}


class Stream:
    """A table that can do nothing but hand out an Arrow stream."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(schema)


def arrow_table() -> Any:
    return pa.table({name: column for name, column in TABLE.items() if name != "junk"})


FRAMES = {
    "dict": lambda: dict(TABLE),
    "dict of series": lambda: {name: pd.Series(column) for name, column in TABLE.items()},
    "pandas": lambda: pd.DataFrame(TABLE, index=[9, 9, 9]),
    "polars": lambda: pl.DataFrame(TABLE),
    "polars lazy": lambda: pl.DataFrame(TABLE).lazy(),
    "Arrow": arrow_table,
    "Arrow batch": lambda: arrow_table().to_batches()[0],
    "Arrow stream": lambda: Stream(arrow_table()),
    "duckdb": lambda: duckdb.from_arrow(arrow_table()),
    "narwhals": lambda: nw.from_native(pl.DataFrame(TABLE)),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames(frame: Any) -> None:
    events = Interactions.from_frame(frame(), **NAMES)
    assert_canonical(events)
    assert columns_of(events) == EXPECTED
    bare = Interactions.from_frame(frame(), user="film", item="who")
    assert columns_of(bare) == [TABLE["film"], TABLE["who"], [1, 1, 1], None, None]


def test_a_frame_has_columns_user_and_item_by_default() -> None:
    assert columns_of(Interactions.from_frame({"user": [1], "item": [2], "value": [3]}))[:3] == [
        [1],
        [2],
        [1],
    ]


def test_one_column_may_serve_twice() -> None:
    for frame in (pl.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 2]}), {"a": [1, 2]}):
        events = Interactions.from_frame(frame, user="a", item="a")
        assert events.users.tolist() == events.items.tolist() == [1, 2]


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("role", ["user", "item", "value", "time", "weight"])
def test_a_missing_column_is_refused_with_those_there_are(frame: Any, role: str) -> None:
    with pytest.raises(DataError, match=r"'price'.*'who', 'film', 'stars'"):
        Interactions.from_frame(frame(), **(NAMES | {role: "price"}))


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table, lambda d: pl.DataFrame(d).lazy()])
def test_a_bad_cell_of_a_frame_is_named_by_the_frames_column(make: Any) -> None:
    good: dict[str, list[Any]] = {"who": [1, 2], "film": ["a", "b"], "stars": [1.0, 2.0]}
    for column, cells in {"who": [1, None], "film": ["a", None], "stars": [1.0, float("inf")]}.items():
        with pytest.raises(DataError, match=f"^column '{column}'"):
            Interactions.from_frame(make(good | {column: cells}), user="who", item="film", value="stars")


@pytest.mark.parametrize("frame", [None, 3, "a.csv", [[1, 2]], np.ones((2, 2)), pd.Series([1]), pl.Series([1])])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    with pytest.raises(DataError, match="data frame"):
        Interactions.from_frame(frame)


MAKERS = {
    "dict": dict,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "Arrow": pa.table,
    "duckdb": lambda columns: duckdb.from_arrow(pa.table(columns)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("name", ["a.b", 'a"b', "a b", "Ä", "'; select 1"])
def test_a_column_of_any_name_is_found(make: Any, name: str) -> None:
    assert Interactions.from_frame(make({name: [1]}), user=name, item=name).users.tolist() == [1]


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])
    with pytest.raises(DataError, match="item"):
        Interactions.from_frame(frame)


def test_duckdb_needs_no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    relation = duckdb.sql("""select * from (values (1, 'a'), (2, 'b')) t("user", item)""")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert columns_of(Interactions.from_frame(relation))[:2] == [[1, 2], ["a", "b"]]


def test_missing_cells_of_duckdb_are_named() -> None:
    relation = duckdb.sql("""select * from (values (1, 'a'), (2, null)) t("user", item)""")
    with pytest.raises(DataError, match=r"^column 'item', row 1: None is missing"):
        Interactions.from_frame(relation)


# ------------------------------------------------------------------------------------------------------ files

BACKENDS = ["polars", "pyarrow", "duckdb", "pandas"]
CSV = """who,film,stars,at,much,junk
3,Alien,4.5,2020-01-01 00:00:00,1,x
-1,Brazil,3,2020-01-01 01:00:00,0,
3,Alien,5,2020-01-01 02:00:00,2,x
"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(readers, "_BACKENDS", (request.param,))
    return str(request.param)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    pl.from_arrow(arrow_table()).write_parquet(path)
    return path


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "events.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files(kind: str, backend: str, parquet: Path, tmp_path: Path) -> None:
    read, path = getattr(Interactions, f"from_{kind}"), parquet if kind == "parquet" else csv_file(tmp_path, CSV)
    for place in (path, str(path)):
        events = read(place, **NAMES)
        assert_canonical(events)
        assert columns_of(events) == EXPECTED
    with pytest.raises(DataError, match=r"'price'.*'who'"):
        read(path, user="price")


def test_types_of_a_csv_come_from_all_of_it(backend: str, tmp_path: Path) -> None:
    count = 300_000  # beyond the sample of every backend
    late = "".join(f"{row},{row},1,{row}\n" for row in range(count)) + "x,7,2.5,9\n"
    events = Interactions.from_csv(csv_file(tmp_path, f"user,item,value,time\n{late}"), value="value", time="time")
    assert events.users[0] == "0"
    assert events.users[-1] == "x"
    assert events.items.dtype == np.int64
    assert events.values[-1] == 2.5
    assert events.times is not None
    assert events.times[-1] == 9


def test_only_an_empty_cell_of_a_csv_is_missing(backend: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "user,item\nNA,1\nnull,2\nnan,3\n")
    assert Interactions.from_csv(path).users.tolist() == ["NA", "null", "nan"]
    for text in ("user,item\n1,a\n,b\n", "user,item\na,a\n,b\n"):
        with pytest.raises(DataError, match=r"^column 'user', row 1: \w+ is missing"):
            Interactions.from_csv(csv_file(tmp_path, text))


def test_times_of_a_csv_in_iso_8601(backend: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "user,item,time\n1,1,2020-01-01T01:00:00+01:00\n2,2,2020-01-01T00:00:00Z\n")
    assert columns_of(Interactions.from_csv(path, time="time"))[3] == [MIDNIGHT, MIDNIGHT]
    path = csv_file(tmp_path, "user,item,time\n1,1,2020-01-01T01:00:00\n2,2,soon\n")
    with pytest.raises(DataError, match=r"^column 'time', row 1: 'soon'"):
        Interactions.from_csv(path, time="time")


def test_a_missing_time_of_a_csv_is_named(backend: str, tmp_path: Path) -> None:
    for first in ("2020-01-01T00:00:00", "7"):
        path = csv_file(tmp_path, f"user,item,time\n1,1,{first}\n2,2,\n")
        with pytest.raises(DataError, match=r"^column 'time', row 1: \w+ is missing"):
            Interactions.from_csv(path, time="time")


def test_a_broken_file_is_refused(backend: str, parquet: Path, tmp_path: Path) -> None:
    parquet.write_bytes(parquet.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"events\.parquet cannot be read as Parquet"):
        Interactions.from_parquet(parquet)
    with pytest.raises(DataError):
        Interactions.from_csv(csv_file(tmp_path, ""))


@pytest.mark.parametrize("read", [Interactions.from_parquet, Interactions.from_csv])
def test_a_file_that_is_not_there(backend: str, tmp_path: Path, read: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")


def test_pandas_without_a_parquet_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch, parquet: Path) -> None:
    monkeypatch.setattr(readers, "_BACKENDS", ("pandas",))
    for engine in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(MissingExtraError, match=r"pip install fastmf-rec\[frames\]"):
        Interactions.from_parquet(parquet)


def test_without_a_backend_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, parquet: Path) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    for read in (Interactions.from_parquet, Interactions.from_csv):
        with pytest.raises(MissingExtraError, match=r"pip install fastmf-rec\[frames\]"):
            read(parquet)
    with pytest.raises(MissingExtraError, match=r"pip install fastmf-rec\[frames\]"):
        Interactions.from_frame(Stream(arrow_table()))


# ----------------------------------------------------------------------------------------------------- sparse

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]
DENSE = np.array([[0, 5, 0], [3, 0, 1]], float)


def triples(events: Interactions) -> list[tuple[Any, Any, float]]:
    return sorted(zip(events.users.tolist(), events.items.tolist(), events.values.tolist(), strict=True))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.bool_])
def test_sparse(format_: str, kind: str, dtype: type) -> None:
    matrix = getattr(sparse, f"{format_}_{kind}")(DENSE.astype(dtype))
    events = Interactions.from_sparse(matrix, users=["ann", "bob"], items=[10, 20, 30])
    assert_canonical(events)
    expected = [("ann", 20, DENSE[0, 1]), ("bob", 10, DENSE[1, 0]), ("bob", 30, DENSE[1, 2])]
    found = triples(events)
    if format_ == "bsr":  # stores its blocks in full
        found = [event for event in found if event[2]]
    assert found == [(user, item, float(dtype(value))) for user, item, value in expected]
    assert set(Interactions.from_sparse(matrix).users) == {0, 1}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (3, 4)])
def test_an_empty_matrix(format_: str, shape: tuple[int, int]) -> None:
    if format_ == "bsr" and 0 in shape:
        return
    events = Interactions.from_sparse(sparse.coo_array(shape).asformat(format_))
    assert_canonical(events)
    assert len(events) == 0


@pytest.mark.parametrize("format_", ["coo", "csr", "csc"])
def test_zeros_and_repeated_positions_are_events(format_: str) -> None:
    matrix = sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 2])), shape=(2, 3))
    if format_ != "coo":
        lines = {
            "csr": ([1.0, 2.0, 0.0], [1, 1, 2], [0, 2, 3]),
            "csc": ([1.0, 2.0, 0.0], [0, 0, 1], [0, 0, 2, 3]),
        }
        matrix = getattr(sparse, f"{format_}_array")(lines[format_], shape=(2, 3))
    assert triples(Interactions.from_sparse(matrix)) == [(0, 1, 1), (0, 1, 2), (1, 2, 0)]


def test_spare_room_of_a_matrix_is_no_event() -> None:
    for make, shape in ((sparse.csr_array, (2, 3)), (sparse.csc_array, (3, 2))):
        matrix = make(([1.0, 2.0], [1, 2], [0, 1, 2]), shape=shape)
        matrix.data, matrix.indices = np.append(matrix.data, 9), np.append(matrix.indices, 99)
        assert Interactions.from_sparse(matrix).values.tolist() == [1, 2]


@pytest.mark.parametrize("format_", FORMATS)
def test_ids_of_a_wrong_length_are_refused(format_: str) -> None:
    matrix = getattr(sparse, f"{format_}_array")(DENSE)
    with pytest.raises(DataError, match="'users' has 3 ids, the matrix has 2"):
        Interactions.from_sparse(matrix, users=[1, 2, 3])
    with pytest.raises(DataError, match="'items' has 2 ids, the matrix has 3"):
        Interactions.from_sparse(matrix, items=["a", "b"])
    with pytest.raises(DataError, match="column 'users', row 1: nan"):
        Interactions.from_sparse(matrix, users=[1, float("nan")])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_a_bad_value_of_a_matrix_is_refused(bad: float) -> None:
    matrix = sparse.csr_array(DENSE)
    matrix.data[1] = bad
    with pytest.raises(DataError, match=r"column 'matrix\.data', row 1"):
        Interactions.from_sparse(matrix)


@pytest.mark.parametrize("blocksize", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_blocks_are_read_in_their_places(blocksize: tuple[int, int]) -> None:
    dense = np.arange(36.0).reshape(4, 9)
    dense[:2, 3:] = 0
    events = Interactions.from_sparse(sparse.bsr_array(dense, blocksize=blocksize))
    found = np.zeros_like(dense)
    found[events.users, events.items] = events.values
    np.testing.assert_array_equal(found, dense)
    assert len(events) == len(set(zip(events.users.tolist(), events.items.tolist(), strict=True)))


@given(st.data())
def test_bands_are_read_in_their_places(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    offsets = data.draw(st.lists(st.integers(-5, 5), unique=True, min_size=1))
    width = data.draw(st.integers(1, 6))  # what lies outside the matrix is stored, and counts for nothing
    band = np.arange(1.0, 1 + len(offsets) * width).reshape(len(offsets), width)
    matrix = sparse.dia_array((band, offsets), shape=shape)
    expected = [(int(row), int(column), matrix.toarray()[row, column]) for row, column in np.argwhere(matrix.toarray())]
    assert triples(Interactions.from_sparse(matrix)) == expected


MALFORMED: dict[str, tuple[str, str, Any, str]] = {
    "column beyond": ("csr", "indices", [1, 0, 3], "row 2: 3 is outside 0 to 2"),
    "column far beyond": ("csr", "indices", [1, 0, 2**31 - 1], "row 2: 2147483647 is outside 0 to 2"),
    "column below": ("csr", "indices", [1, -1, 0], "row 1: -1 is outside 0 to 2"),
    "row beyond": ("csc", "indices", [1, 0, 2], "row 2: 2 is outside 0 to 1"),
    "block beyond": ("bsr", "indices", [1, 0, 3], "row 2: 3 is outside 0 to 2"),
    "falling": ("csr", "indptr", [0, 4, 3], "row 2: 3 is below the entry before it"),
    "falling below": ("csr", "indptr", [0, -5, 3], "row 1: -5 is below"),
    "falling and unsigned": ("csr", "indptr", np.array([0, 4, 3], np.uint64), "row 2: 3 is below"),
    "falling columns": ("csc", "indptr", [0, 2, 1, 3], "row 2: 1 is below"),
    "falling blocks": ("bsr", "indptr", [0, 4, 3], "row 2: 3 is below"),
    "not from 0": ("csr", "indptr", [1, 1, 3], "row 0: 1 is not 0"),
    "beyond the entries": ("csr", "indptr", [0, 1, 4], "row 2: 4 is beyond the 3 entries"),
    "far beyond the entries": ("csr", "indptr", [0, 1, 2**45], "is beyond the 3 entries"),
    "too few rows": ("csr", "indptr", [0, 3], "must have 3 entries, it has 2"),
    "too many rows": ("csr", "indptr", [0, 1, 3, 3], "must have 3 entries, it has 4"),
    "no rows": ("csr", "indptr", np.array([], int), "must have 3 entries, it has 0"),
    "floats for rows": ("csr", "indptr", [0.0, 1.0, 3.0], "matrix.indptr must be 1-d integers"),
    "2-d rows": ("csr", "indptr", [[0, 1, 3]], "matrix.indptr must be 1-d integers"),
    "floats for columns": ("csr", "indices", [1.0, 0.0, 2.0], "matrix columns must be 1-d integers"),
    "2-d columns": ("csr", "indices", [[1], [0], [2]], "matrix columns must be 1-d integers"),
    "too few values": ("csr", "data", [5.0, 3.0], "indices has 3, data has 2"),
    "too many values": ("csc", "data", [5.0, 3.0, 1.0, 1.0], "indices has 3, data has 4"),
    "too few blocks": ("bsr", "data", np.ones((2, 1, 1)), "indices has 3, data has 2"),
    "too few columns": ("csr", "indices", [1, 0], "indices has 2, data has 3"),
    "coo row beyond": ("coo", "row", [0, 1, 2], "row 2: 2 is outside 0 to 1"),
    "coo column below": ("coo", "col", [1, 0, -1], "row 2: -1 is outside 0 to 2"),
    "coo lengths": ("coo", "data", [1.0], "rows has 3, columns has 3, data has 1"),
    "coo floats": ("coo", "coords", [[0.0, 1.0, 1.0], [1, 0, 2]], "matrix rows must be 1-d integers"),
    "dia lengths": ("dia", "offsets", [0], "offsets has 1, data has 2"),
    "dia floats": ("dia", "offsets", [-1.0, 1.0], "matrix.offsets must be 1-d integers"),
    "dia 2-d": ("dia", "offsets", [[-1], [1]], "matrix.offsets must be 1-d integers"),
}


@pytest.mark.parametrize(("format_", "attribute", "content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_matrix_is_refused(format_: str, attribute: str, content: Any, message: str) -> None:
    matrix = (
        sparse.bsr_array(DENSE, blocksize=(1, 1)) if format_ == "bsr" else sparse.coo_array(DENSE).asformat(format_)
    )
    setattr(matrix, attribute, np.asarray(content))
    with pytest.raises(DataError, match=re.escape(message)):
        Interactions.from_sparse(matrix)


def test_malformed_lists_and_keys_are_refused() -> None:
    for rows, data in (([1], [1.0, 2.0]), ([1, 2], [1.0]), ([3], [1.0]), ([-1], [1.0])):
        matrix = sparse.lil_array((1, 3))
        matrix.rows[0], matrix.data[0] = rows, data
        with pytest.raises(DataError, match="matrix"):
            Interactions.from_sparse(matrix)
    matrix = sparse.lil_array((2, 3))
    matrix.rows[:], matrix.data[:] = [[1], [0, 2]], [[1.0, 2.0], [3.0]]  # as many in all, and not in every row
    with pytest.raises(DataError, match=r"matrix\.rows', row 0"):
        Interactions.from_sparse(matrix)
    keys = sparse.dok_array((2, 2))
    keys._dict[5, 5] = 1.0
    with pytest.raises(DataError, match="matrix"):
        Interactions.from_sparse(keys)


@pytest.mark.parametrize("matrix", [DENSE, None, [[1]], pd.DataFrame(DENSE), sparse.coo_array(np.ones(3))])
def test_what_is_no_sparse_matrix_is_refused(matrix: Any) -> None:
    with pytest.raises(DataError, match=r"2-d|scipy"):
        Interactions.from_sparse(matrix)


@given(st.data())
def test_a_csr_is_read_as_it_says_or_refused(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    matrix = sparse.csr_array((rows, columns))
    matrix.indptr = np.array(data.draw(st.lists(st.integers(-1, 5), min_size=rows, max_size=rows + 2)), np.int32)
    matrix.indices = np.array(data.draw(st.lists(st.integers(-1, 4), max_size=5)), np.int32)
    matrix.data = np.arange(float(data.draw(st.integers(0, 5))))
    starts, indices = matrix.indptr.tolist(), matrix.indices.tolist()
    stored = indices[: starts[-1]] if starts[-1] >= 0 else []
    well_formed = (
        len(starts) == rows + 1
        and starts[0] == 0
        and starts == sorted(starts)
        and starts[-1] <= len(indices) == len(matrix.data)
        and all(0 <= index < columns for index in stored)
    )
    if not well_formed:
        with pytest.raises(DataError):
            Interactions.from_sparse(matrix)
        return
    events = Interactions.from_sparse(matrix)
    assert_canonical(events)
    assert events.items.tolist() == stored
    assert events.users.tolist() == [row for row in range(rows) for _ in range(starts[row], starts[row + 1])]
    assert events.values.tolist() == list(range(len(stored)))
