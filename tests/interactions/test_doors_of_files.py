"""Paths that look like patterns, blank lines, names of columns that are no strings, columns that are there twice."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmf.errors import DataError
from fastmf.interactions import Interactions, lines, readers

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")


@pytest.fixture(params=["polars", "pyarrow", "duckdb", "pandas"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(readers, "_BACKENDS", (request.param,))
    return str(request.param)


def pairs(events: Interactions) -> list[tuple[Any, Any]]:
    return list(zip(events.users.tolist(), events.items.tolist(), strict=True))


# ------------------------------------------------------------------------------------------------------ paths

NAMES = ["r[1]", "[!a]", "[]]", "a*", "**", "q?", "{a,b}", "it's", "a b", "a%20b", "#1", "$X", "~", "ü", "user=5"]


@pytest.mark.skipif(sys.platform == "win32", reason="these are no names there")
@pytest.mark.parametrize("name", [*NAMES, "back\\slash", "http:x"])
def test_a_path_is_no_pattern(backend: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoy = name.translate(str.maketrans("", "", "[]!*{}")).replace("?", "q") or "x"
    for folder in (tmp_path, tmp_path / name):
        folder.mkdir(exist_ok=True)
        for stem, user in ((decoy, 9), (f"{name}more", 8), (name, 1)):
            (folder / f"{stem}.csv").write_text(f"user,item\n{user},{user}\n")
            pl.DataFrame({"user": [user], "item": [user]}).write_parquet(folder / f"{stem}.parquet")
        monkeypatch.chdir(folder)
        for path in (folder / name, Path(name)):
            assert pairs(Interactions.from_csv(f"{path}.csv")) == [(1, 1)]
            assert pairs(Interactions.from_parquet(f"{path}.parquet")) == [(1, 1)]


@pytest.mark.parametrize("path", [3, None, ["a.csv"], 1.5], ids=str)
def test_what_is_no_path(path: Any) -> None:
    for read in (Interactions.from_csv, Interactions.from_parquet):
        with pytest.raises(TypeError, match="PathLike"):
            read(path)


def test_a_path_of_bytes(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item\n1,2\n")
    assert pairs(Interactions.from_csv(bytes(path))) == [(1, 2)]  # type: ignore[arg-type]


def test_a_folder_is_no_file(backend: str, tmp_path: Path) -> None:
    for read in (Interactions.from_csv, Interactions.from_parquet):
        with pytest.raises((OSError, DataError)):
            read(tmp_path)


# ------------------------------------------------------------------------------------------------ blank lines

BLANK = {
    "none": "user,item\n1,2\n3,4\n",
    "no end": "user,item\n1,2\n3,4",
    "at the end": "user,item\n1,2\n3,4\n\n",
    "several at the end": "user,item\n1,2\n3,4\n\n\n\n",
    "between": "user,item\n1,2\n\n3,4\n",
    "after the header": "user,item\n\n1,2\n3,4\n",
    "before the header": "\n\nuser,item\n1,2\n3,4\n",
    "spaces": "user,item\n1,2\n   \n3,4\n \t \n",
    "spaces without an end": "user,item\n1,2\n3,4\n  ",
    "spaces first": "  \n\nuser,item\n1,2\n3,4\n",
    "carriage returns": "user,item\r\n1,2\r\n\r\n3,4\r\n\r\n",
    "carriage returns and spaces": "user,item\r\n1,2\r\n  \r\n3,4\r\n\t\r\n",
    "everywhere": "\nuser,item\n\n1,2\n\n\n3,4\n\n",
}


@pytest.mark.parametrize("text", BLANK.values(), ids=BLANK)
def test_blank_lines_are_no_rows(backend: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(text.encode())
    assert pairs(Interactions.from_csv(path)) == [(1, 2), (3, 4)]
    assert path.read_bytes() == text.encode()


def test_blank_lines_within_a_cell_are_kept(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text('user,item\n"a\n\nb",1\n\n"c ""\n\n"" d",2\n\n', newline="")
    assert pairs(Interactions.from_csv(path)) == [("a\n\nb", 1), ('c "\n\n" d', 2)]


def test_a_row_of_empty_cells_is_no_blank_line(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,more\n\n1,2,3\n,,\n")
    with pytest.raises(DataError, match=r"^column 'user', row 1: \w+ is missing"):
        Interactions.from_csv(path)


@pytest.mark.parametrize("text", ["\n", " \n\n", "", "  "])
def test_a_file_of_nothing_is_refused(backend: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text)
    with pytest.raises(DataError):
        Interactions.from_csv(path)


def test_a_header_alone(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item\n\n")
    assert len(Interactions.from_csv(path)) == 0


def test_pieces_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_PIECE", 7)
    path = tmp_path / "events.csv"
    rows = [f'"{"x" * (row % 11)}\n\n{row}",{row}\n{" " * (row % 3)}\n' for row in range(50)]
    path.write_text("user,item\n\n" + "".join(rows))
    wanted = [("x" * (row % 11) + f"\n\n{row}", row) for row in range(50)]
    assert pairs(Interactions.from_csv(path)) == wanted


def test_what_is_compressed_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    for seed in range(40):  # until its bytes have blank lines
        rng = np.random.default_rng(seed)
        users = rng.integers(0, 2**40, 3000)
        path.write_bytes(gzip.compress(("user,item\n" + "".join(f"{user},1\n" for user in users)).encode()))
        if b"\n\n" in path.read_bytes():
            break
    else:
        pytest.fail("no file with blank lines")
    assert Interactions.from_csv(path).users.tolist() == users.tolist()


# -------------------------------------------------------------------------------------------- names of columns

U_DATA = [[196, 242, 3, 881250949], [186, 302, 5, 891717742]]


def test_columns_that_are_numbered() -> None:
    for frame in (pd.DataFrame(U_DATA), dict(enumerate(zip(*U_DATA, strict=True)))):
        events = Interactions.from_frame(frame, user=0, item=1, value=2, time=3)
        assert pairs(events) == [(196, 242), (186, 302)]
        assert events.values.tolist() == [3, 5]
        assert events.times is not None
        assert events.times.tolist() == [881250949, 891717742]
    kinds = Interactions.from_frame(pd.DataFrame(U_DATA), user=0, item=1, event=2, weights={3: 1, 5: 2})
    assert kinds.weights is not None
    assert kinds.weights.tolist() == [1, 2]
    weighed = Interactions.from_frame(pd.DataFrame(U_DATA), 0, 1, weight=2)
    assert weighed.weights is not None
    assert weighed.weights.tolist() == [3, 5]


def test_faults_in_columns_that_are_numbered_are_named_so() -> None:
    with pytest.raises(DataError, match=r"^column 0, row 1: nan is missing"):
        Interactions.from_frame(pd.DataFrame([[1, 2], [None, 3]]), user=0, item=1)
    with pytest.raises(DataError, match=r"there is no column 7; the columns are \[0, 1\]"):
        Interactions.from_frame(pd.DataFrame([[1, 2]]), user=0, item=7)


@pytest.mark.parametrize(
    "make", [pl.DataFrame, lambda d: pl.DataFrame(d).lazy(), pa.table, lambda d: duckdb.from_arrow(pa.table(d))]
)
@pytest.mark.parametrize("name", [0, ("user", 0), None, 1.5])
def test_names_that_a_frame_cannot_have(make: Any, name: Any) -> None:
    with pytest.raises(DataError, match=r"there is no column|'users' must be"):
        Interactions.from_frame(make({"user": [1], "item": [2]}), user=name)


@pytest.mark.parametrize(
    "name", [["user"], {"user": 1}, np.array([0]), pd.Series([0])], ids=lambda one: type(one).__name__
)
def test_what_can_name_no_column(name: Any) -> None:
    for frame in (pd.DataFrame({"user": [1], "item": [2]}), {"user": [1], "item": [2]}, pl.DataFrame({"user": [1]})):
        with pytest.raises(DataError, match="is no name of a column"):
            Interactions.from_frame(frame, user=name)


def test_columns_of_two_levels() -> None:
    frame = pd.DataFrame({("log", "user"): [1], ("log", "item"): [2], ("old", "item"): [3]})
    events = Interactions.from_frame(frame, user=("log", "user"), item=("log", "item"))
    assert pairs(events) == [(1, 2)]
    with pytest.raises(DataError, match="there is no column 'log'"):
        Interactions.from_frame(frame, user="log", item=("log", "item"))


def twice_in_duckdb() -> Any:
    return duckdb.sql("select 1 as user, 2 as item, 7 as x, 8 as x")


TWICE = {
    "pandas": lambda: pd.DataFrame([[1, 2, 7, 8]], columns=["user", "item", "x", "x"]),
    "Arrow": lambda: pa.Table.from_arrays([pa.array([n]) for n in (1, 2, 7, 8)], names=["user", "item", "x", "x"]),
    "Arrow batch": lambda: pa.RecordBatch.from_arrays(
        [pa.array([n]) for n in (1, 2, 7, 8)], names=["user", "item", "x", "x"]
    ),
    "duckdb": twice_in_duckdb,
}


@pytest.mark.parametrize("make", TWICE.values(), ids=TWICE)
def test_a_column_twice(make: Any) -> None:
    assert pairs(Interactions.from_frame(make())) == [(1, 2)]
    if list(getattr(make(), "columns", [])).count("x") == 1:
        return  # duckdb has given one of them another name
    with pytest.raises(DataError, match="there are two columns 'x'"):
        Interactions.from_frame(make(), value="x")


def test_a_column_twice_in_a_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user,item,x,x\n1,2,7,8\n")
    assert pairs(Interactions.from_csv(path)) == [(1, 2)]
    with pytest.raises(DataError, match=r"there are two columns 'x'; the columns are \['user', 'item', 'x', 'x'\]"):
        Interactions.from_csv(path, value="x")
    with pytest.raises(DataError, match="there is no column 0"):
        Interactions.from_csv(path, user=0)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- foreign errors


def test_errors_of_other_libraries_name_the_columns() -> None:
    failing = pl.DataFrame({"user": ["1", "x"], "item": [1, 2]}).lazy().with_columns(pl.col("user").cast(pl.Int64))
    with pytest.raises(DataError, match=r"\['user', 'item'\] of the data frame cannot be read"):
        Interactions.from_frame(failing)
    relation = duckdb.sql("select cast(a as int) as user, 1 as item from (values ('x')) t(a)")
    with pytest.raises(DataError, match=r"\['user', 'item'\] of the data frame cannot be read"):
        Interactions.from_frame(relation)


ODD: dict[str, Any] = {
    "struct": pa.array([{"a": 1}]),
    "list": pa.array([[1, 2]]),
    "null": pa.nulls(1),
    "time": pa.array([1], pa.time64("us")),
    "duration": pa.array([1], pa.duration("us")),
    "binary": pa.array([b"a"]),
    "decimal": pa.array([1], pa.decimal128(5, 2)),
    "far date": pa.array([2**62], pa.timestamp("s")),
    "half": pa.array([np.float16(1)], pa.float16()),
    "polars object": pl.Series([object()]),
    "polars struct": pl.Series([{"a": 1}]),
    "polars list": pl.Series([[1]]),
    "pandas interval": pd.Series(pd.interval_range(0, 1)),
    "pandas period": pd.Series(pd.period_range("2020", periods=1)),
    "pandas complex": pd.Series([1j]),
    "a list of arrays": [np.ones(2)],
    "a list of frames": [pd.DataFrame()],
    "lone surrogate": ["\ud800"],
}


@pytest.mark.parametrize("column", ODD.values(), ids=ODD)
def test_odd_columns_are_refused_by_name(column: Any) -> None:
    with pytest.raises(DataError, match="'users'"):
        Interactions(column, [1])
    with pytest.raises(DataError, match="column 'user'"):
        Interactions.from_frame({"user": column, "item": [1]})
