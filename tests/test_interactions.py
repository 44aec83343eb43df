"""Interactions: what is accepted and as what, what is refused and how, and that nothing is lost."""

from __future__ import annotations

import copy
import dataclasses
import enum
import pickle
import re
import subprocess
import sys
import time
from collections import deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmf.errors import DataError, MissingExtraError
from fastmf.interactions import Interactions, readers

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
sparse = pytest.importorskip("scipy.sparse")

INT64 = np.iinfo(np.int64)
MIDNIGHT = 1_577_836_800_000_000  # 2020-01-01 UTC in microseconds


class Colour(str, enum.Enum):  # noqa: UP042  # the older spelling prints as 'Colour.RED'
    RED = "red"


class Rank(enum.IntEnum):
    LOW = 4


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def columns_of(events: Interactions) -> list[list[Any] | None]:
    arrays = (events.users, events.items, events.values, events.times, events.weights)
    return [None if array is None else array.tolist() for array in arrays]


def assert_canonical(events: Interactions) -> None:
    assert events.users.dtype in (np.int64, object)
    assert events.items.dtype in (np.int64, object)
    assert events.values.dtype == np.float32
    for array in (events.users, events.items, events.values, events.times, events.weights):
        if array is not None:
            assert array.shape == (len(events),)
            assert array.flags.c_contiguous
            assert not array.flags.writeable
            if array.dtype == object:
                assert {type(cell) for cell in array} <= {str}


# --------------------------------------------------------------------------------------------------- accepted

INTEGER_IDS = {
    "list": [3, -1, 2],
    "tuple": (3, -1, 2),
    "numpy scalars": [np.int8(3), np.int64(-1), 2],
    "int8": np.array([3, -1, 2], np.int8),
    "other byte order": np.array([3, -1, 2], ">i4"),
    "every second": np.array([3, 0, -1, 0, 2])[::2],
    "reversed": np.array([2, -1, 3])[::-1],
    "read-only": read_only(np.array([3, -1, 2])),
    "object": np.array([3, -1, 2], object),
    "masked without a mask": np.ma.array([3, -1, 2]),
    "IntEnum": [Rank.LOW - 1, -1, 2],
    "deque": deque([3, -1, 2]),
    "pandas": pd.Series([3, -1, 2], index=[7, 8, 9]),
    "pandas nullable": pd.Series([3, -1, 2], dtype="Int64"),
    "pandas Arrow": pd.Series([3, -1, 2], dtype=pd.ArrowDtype(pa.int32())),
    "pandas category": pd.Series([3, -1, 2], dtype="category"),
    "pandas object": pd.Series([3, -1, 2], dtype=object),
    "pandas index": pd.Index([3, -1, 2]),
    "pandas array": pd.array([3, -1, 2], dtype="Int16"),
    "polars": pl.Series([3, -1, 2]),
    "polars Int128": pl.Series([3, -1, 2], dtype=pl.Int128),
    "Arrow": pa.array([3, -1, 2]),
    "Arrow chunks": pa.chunked_array([[3], [-1, 2]]),
    "Arrow dictionary": pa.array([3, -1, 2]).dictionary_encode(),
    "narwhals": nw.from_native(pl.Series([3, -1, 2]), series_only=True),
}

STRING_IDS = {
    "list": ["b", "é", "a"],
    "object": np.array(["b", "é", "a"], object),
    "U": np.array(["b", "é", "a"]),
    "StringDType": np.array(["b", "é", "a"], np.dtypes.StringDType()),
    "numpy scalars": [np.str_("b"), "é", np.str_("a")],
    "every second": np.array(["b", "x", "é", "x", "a"], object)[::2],
    "pandas": pd.Series(["b", "é", "a"]),
    "pandas object": pd.Series(["b", "é", "a"], dtype=object),
    "pandas Arrow": pd.Series(["b", "é", "a"], dtype="string[pyarrow]"),
    "pandas category": pd.Series(["b", "é", "a"], dtype="category"),
    "polars": pl.Series(["b", "é", "a"]),
    "polars Categorical": pl.Series(["b", "é", "a"], dtype=pl.Categorical),
    "polars Enum": pl.Series(["b", "é", "a"], dtype=pl.Enum(["a", "b", "é"])),
    "Arrow": pa.array(["b", "é", "a"]),
    "Arrow large": pa.array(["b", "é", "a"], pa.large_string()),
    "Arrow view": pa.chunked_array([pa.array(["b", "é", "a"], pa.string_view())]),
    "Arrow dictionary": pa.array(["b", "é", "a"]).dictionary_encode(),
}


@pytest.mark.parametrize("ids", INTEGER_IDS.values(), ids=INTEGER_IDS)
@pytest.mark.parametrize("side", ["users", "items"])
def test_integer_ids(side: str, ids: Any) -> None:
    events = Interactions(**({"users": [1, 2, 3], "items": [1, 2, 3]} | {side: ids}))
    assert_canonical(events)
    assert getattr(events, side).dtype == np.int64
    assert getattr(events, side).tolist() == [3, -1, 2]


@pytest.mark.parametrize("ids", STRING_IDS.values(), ids=STRING_IDS)
@pytest.mark.parametrize("side", ["users", "items"])
def test_string_ids(side: str, ids: Any) -> None:
    events = Interactions(**({"users": [1, 2, 3], "items": [1, 2, 3]} | {side: ids}))
    assert_canonical(events)
    assert getattr(events, side).tolist() == ["b", "é", "a"]


def test_string_ids_keep_every_character() -> None:
    ids = ["", "a\0", "\0a", "x" * 10_000, "🎬", "1", " 1"]
    for data in (ids, np.array(ids, object), pl.Series(ids), pa.array(ids), pd.Series(ids)):
        assert Interactions(data, data).users.tolist() == ids


def test_an_enum_of_strings_stands_for_its_contents() -> None:
    assert Interactions([Colour.RED], [1]).users.tolist() == ["red"]


@pytest.mark.parametrize("edge", [INT64.min, INT64.max])
def test_the_whole_of_int64_is_legal(edge: int) -> None:
    assert Interactions([edge], [edge], times=[edge]).users.tolist() == [edge]
    assert Interactions(np.array([INT64.max], np.uint64), [1]).users.tolist() == [INT64.max]


NUMBERS = {
    "float64": np.array([0.5, 1, 0]),
    "float16": np.array([0.5, 1, 0], np.float16),
    "longdouble": np.array([0.5, 1, 0], np.longdouble),
    "list": [0.5, True, 0],
    "decimals": [Decimal("0.5"), 1, Decimal(0)],
    "fractions": [Fraction(1, 2), np.float32(1), np.bool_(False)],
    "object": np.array([0.5, 1, False], object),
    "every second": np.array([0.5, 9, 1, 9, 0])[::2],
    "pandas nullable": pd.Series([0.5, 1, 0], dtype="Float64"),
    "polars decimal": pl.Series(["0.5", "1", "0"]).cast(pl.Decimal(10, 2)),
    "polars float32": pl.Series([0.5, 1, 0], dtype=pl.Float32),
    "Arrow half": pa.array(np.array([0.5, 1, 0], np.float16)),
    "duckdb": duckdb.sql("select * from (values (0.5), (1), (0)) t(a)").fetchnumpy()["a"],
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("column", ["values", "weights"])
def test_numbers(column: str, numbers: Any) -> None:
    events = Interactions([1, 2, 3], [1, 2, 3], **{column: numbers})
    assert_canonical(events)
    assert getattr(events, column).dtype == np.float32
    assert getattr(events, column).tolist() == [0.5, 1, 0]


def test_bools_count_as_numbers() -> None:
    for data in (np.array([True, False]), [True, False], pd.Series([True, False], dtype="boolean")):
        assert Interactions([1, 2], [1, 2], data).values.tolist() == [1, 0]


def test_values_are_one_and_the_rest_absent_by_default() -> None:
    events = Interactions([1, 2], [1, 2])
    assert_canonical(events)
    assert columns_of(events) == [[1, 2], [1, 2], [1, 1], None, None]


PARIS = timezone(timedelta(hours=1))
TIMES = {
    "seconds": np.array(["2020-01-01", "1969-12-31T23:59:59"], "datetime64[s]"),
    "nanoseconds": np.array(["2020-01-01T00:00:00.000000999", "1969-12-31T23:59:59"], "datetime64[ns]"),
    "scalars": list(np.array(["2020-01-01", "1969-12-31T23:59:59"], "datetime64[s]")),
    "datetimes": [datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)],
    "aware": [datetime(2020, 1, 1, 1, tzinfo=PARIS), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)],
    "timestamps": [pd.Timestamp("2020-01-01 01:00", tz=PARIS), pd.Timestamp("1969-12-31 23:59:59")],
    "pandas": pd.Series(pd.to_datetime(["2020-01-01 00:00:00", "1969-12-31 23:59:59"])),
    "pandas aware": pd.Series(
        pd.to_datetime(["2020-01-01 00:00:00", "1969-12-31 23:59:59"], utc=True)
    ).dt.tz_convert("Asia/Tokyo"),
    "polars": pl.Series([datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)]),
    "polars aware": pl.Series([datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)])
    .dt.replace_time_zone("UTC")
    .dt.convert_time_zone("Asia/Tokyo"),
    "Arrow": pa.array([datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)], pa.timestamp("s")),
    "Arrow aware": pa.array(
        [datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)], pa.timestamp("ms", "Asia/Tokyo")
    ),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_datetimes_become_microseconds(times: Any) -> None:
    events = Interactions([1, 2], [1, 2], times=times)
    assert_canonical(events)
    assert events.times is not None
    assert events.times.dtype == np.int64
    assert events.times.tolist() == [MIDNIGHT, -1_000_000]


def test_dates_are_midnights() -> None:
    days = [date(2020, 1, 1), date(1970, 1, 2)]
    for data in (
        days,
        pl.Series(days),
        pa.array(days),
        np.array(days, "datetime64[D]"),
        [days[0], datetime(1970, 1, 2)],
    ):
        events = Interactions([1, 2], [1, 2], times=data)
        assert columns_of(events)[3] == [MIDNIGHT, 86_400_000_000]


@pytest.mark.parametrize(
    "times", [[3, -4], [3.0, -4], np.array([3.0, -4.0]), np.array([3, -4], np.float16), pd.Series([3, -4])]
)
def test_whole_times_are_kept(times: Any) -> None:
    assert columns_of(Interactions([1, 2], [1, 2], times=times))[3] == [3, -4]


def test_integers_of_a_mixed_list_of_times_are_exact() -> None:
    assert columns_of(Interactions([1, 2], [1, 2], times=[2**60 + 1, 1.0]))[3] == [2**60 + 1, 1]


EMPTY = {
    "list": ([], np.int64),
    "float": (np.array([]), np.int64),
    "int32": (np.empty(0, np.int32), np.int64),
    "object": (np.empty(0, object), object),
    "U": (np.empty(0, "U3"), object),
    "pandas int": (pd.Series([], dtype="Int64"), np.int64),
    "pandas str": (pd.Series([], dtype="str"), object),
    "polars int": (pl.Series([], dtype=pl.Int32), np.int64),
    "polars str": (pl.Series([], dtype=pl.String), object),
    "Arrow str": (pa.array([], pa.string()), object),
}


@pytest.mark.parametrize(("ids", "dtype"), EMPTY.values(), ids=EMPTY)
def test_an_empty_batch(ids: Any, dtype: type) -> None:
    events = Interactions(ids, ids, values=[], times=[], weights=[])
    assert_canonical(events)
    assert len(events) == 0
    assert events.users.dtype == dtype
    assert list(events.batches(3)) == []
    assert [len(part) for part in (*events.split_by_time(0.5), *events.split_random(0.5))] == [0, 0, 0, 0]


# ---------------------------------------------------------------------------------------------------- refused

NEVER_A_COLUMN = {
    "None": None,
    "number": 3,
    "NumPy scalar": np.int64(3),
    "0-d": np.array(3),
    "2-d": np.zeros((3, 2), int),
    "one column of 2-d": np.zeros((3, 1), int),
    "string": "abc",
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "set": {1, 2, 3},
    "dict": {1: 1, 2: 2, 3: 3},
    "generator": (number for number in range(3)),
    "function": len,
    "pandas frame": pd.DataFrame({"a": [1, 2, 3]}),
    "pandas scalar": pd.Timestamp("2020-01-01"),
    "polars frame": pl.DataFrame({"a": [1, 2, 3]}),
    "Arrow table": pa.table({"a": [1, 2, 3]}),
    "Arrow scalar": pa.scalar(3),
    "duckdb relation": duckdb.sql("select 1 as a"),
    "sparse": sparse.csr_array((3, 3)),
    "narwhals frame": nw.from_native(pl.DataFrame({"a": [1, 2, 3]})),
}

# name: (column, row at fault, how its value is shown)
BAD_IDS: dict[str, tuple[Any, int, str]] = {
    "bools": (np.array([True, False]), 0, "True"),
    "a bool": ([1, True], 1, "True"),
    "a NumPy bool": ([1, np.True_], 1, "True"),
    "bools of pandas": (pd.Series([True, False]), 0, "True"),
    "bools of polars": (pl.Series([True, False]), 0, "True"),
    "floats": (np.array([1.0, 2.0]), 0, "1.0"),
    "floats of pandas": (pd.Series([1.0, 2.0]), 0, "1.0"),
    "a float": ([1, 2.0], 1, "2.0"),
    "a float first": ([2.0, 1], 0, "2.0"),
    "half floats": (np.array([1, 2], np.float16), 0, "1.0"),
    "complex": (np.array([1j, 2]), 0, "1j"),
    "bytes": ([b"a", b"b"], 0, "b'a'"),
    "bytes of NumPy": (np.array([b"a", b"b"]), 0, "b'a'"),
    "bytes of polars": (pl.Series([b"a", b"b"]), 0, "b'a'"),
    "bytes of Arrow": (pa.array([b"a", b"b"]), 0, "b'a'"),
    "bytes among strings": (["a", b"b"], 1, "b'b'"),
    "None among integers": ([1, None], 1, "None is missing"),
    "None among strings": (["a", None], 1, "None is missing"),
    "only None": ([None, None], 0, "None is missing"),
    "NaN among integers": ([1, float("nan")], 1, "nan is missing"),
    "NaN among strings": (np.array(["a", np.nan], object), 1, "nan is missing"),
    "NA": ([1, pd.NA], 1, "<NA> is missing"),
    "NaT": (["a", pd.NaT], 1, "NaT is missing"),
    "missing of pandas": (pd.Series([1, None], dtype="Int64"), 1, "is missing"),
    "missing of pandas str": (pd.Series(["a", None]), 1, "is missing"),
    "missing of pandas category": (pd.Series(["a", None], dtype="category"), 1, "is missing"),
    "missing of polars": (pl.Series([1, None]), 1, "is missing"),
    "missing of polars str": (pl.Series(["a", None]), 1, "is missing"),
    "missing of Arrow": (pa.array([1, None]), 1, "is missing"),
    "nulls of Arrow": (pa.nulls(2), 0, "is missing"),
    "masked": (np.ma.array([1, 2], mask=[False, True]), 1, "is missing"),
    "missing of StringDType": (
        np.array(["a", np.nan], np.dtypes.StringDType(na_object=np.nan)),
        1,
        "nan is missing",
    ),
    "integer then string": ([1, "1"], 1, "'1'"),
    "string then integer": (["1", 1], 1, "1 is of type int"),
    "mixed object": (np.array([1, "1"], object), 1, "'1'"),
    "mixed object of pandas": (pd.Series([1, "1"], dtype=object), 1, "'1'"),
    "beyond int64": ([1, 2**63], 1, str(2**63)),
    "below int64": ([1, -(2**63) - 1], 1, str(-(2**63) - 1)),
    "far beyond int64": ([1, 10**5000], 1, "<int>"),
    "uint64 beyond int64": (np.array([1, 2**63], np.uint64), 1, str(2**63)),
    "uint64 of polars": (pl.Series([1, 2**63], dtype=pl.UInt64), 1, str(2**63)),
    "uint64 scalar": ([1, np.uint64(2**63)], 1, str(2**63)),
    "lone surrogate": (["a", "\ud800"], 1, r"'\ud800'"),
    "lone surrogate of NumPy": (np.array(["a", "\udfff"]), 1, r"'\udfff'"),
    "long string": (["a", "\ud800" + "x" * 500], 1, "..."),
    "datetimes": (np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), 0, "2020-01-01"),
    "timedeltas": (np.array([1, 2], "timedelta64[s]"), 0, "1"),
    "a timedelta": ([1, np.timedelta64(1, "s")], 1, "timedelta64"),
    "lists": ([[1, 2], [3, 4]], 0, "[1, 2]"),
    "lists of polars": (pl.Series([[1], [2]]), 0, "[1]"),
    "structs": (np.zeros(2, [("a", int)]), 0, "(0,)"),
    "objects": ([1, object()], 1, "<object object"),
    "decimals": ([Decimal(1), Decimal(2)], 0, "Decimal('1')"),
}

BAD_NUMBERS: dict[str, tuple[Any, int, str]] = {
    "NaN": (np.array([1, np.nan]), 1, "nan is not finite"),
    "inf": ([1, float("inf")], 1, "inf is not finite"),
    "-inf": (np.array([1, -np.inf], np.float32), 1, "-inf is not finite"),
    "half inf": (np.array([1, np.inf], np.float16), 1, "inf is not finite"),
    "beyond float32": (np.array([1, 1e39]), 1, "1e+39 is beyond float32"),
    "beyond float32 in a list": ([1, -1e39], 1, "-1e+39 is beyond float32"),
    "beyond float64": ([1, 10**400], 1, "is beyond float32"),
    "longdouble": (np.array([1, 1e300], np.longdouble) * 1e200, 0, "is beyond float32"),
    "decimal NaN": ([1, Decimal("NaN")], 1, "Decimal('NaN') is not finite"),
    "decimal signalling NaN": ([1, Decimal("sNaN")], 1, "Decimal('sNaN') is not finite"),
    "decimal beyond": ([1, Decimal("1e400")], 1, "is beyond float32"),
    "fraction beyond": ([1, Fraction(10**400)], 1, "is beyond float32"),
    "None": ([1, None], 1, "None is missing"),
    "NA": ([1, pd.NA], 1, "<NA> is missing"),
    "missing of pandas": (pd.Series([1.5, None]), 1, "is missing"),
    "missing of polars": (pl.Series([1.5, None]), 1, "is missing"),
    "NaN of polars": (pl.Series([1.5, float("nan")]), 1, "nan is not finite"),
    "masked": (np.ma.array([1.0, 2.0], mask=[True, False]), 0, "is missing"),
    "strings": (["1", "2"], 0, "'1'"),
    "strings of NumPy": (np.array(["1", "2"]), 0, "'1'"),
    "a string": ([1.0, "2"], 1, "'2'"),
    "strings of pandas": (pd.Series(["1", "2"]), 0, "'1'"),
    "complex": (np.array([1, 2j]), 0, "(1+0j)"),
    "a complex": ([1, 2j], 1, "2j"),
    "datetimes": (np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), 0, "2020-01-01"),
    "timedeltas": (np.array([1, 2], "timedelta64[s]"), 0, "1"),
    "a timedelta": ([1, np.timedelta64(1, "s")], 1, "timedelta64"),
    "bytes": (np.array([b"1", b"2"]), 0, "b'1'"),
    "lists": ([[1.0], [2.0]], 0, "[1.0]"),
}

BAD_WEIGHTS: dict[str, tuple[Any, int, str]] = BAD_NUMBERS | {
    "negative": (np.array([0, -1]), 1, "-1 is below 0"),
    "negative in a list": ([0, -0.5], 1, "-0.5 is below 0"),
    "negative beyond the smallest float32": ([0, -1e-300], 1, "-1e-300 is below 0"),
}

BAD_TIMES: dict[str, tuple[Any, int, str]] = {
    "fraction": (np.array([1.0, 2.5]), 1, "2.5"),
    "fraction in a list": ([1, 2.5], 1, "2.5"),
    "NaN": (np.array([1.0, np.nan]), 1, "nan"),
    "inf": ([1.0, float("inf")], 1, "inf"),
    "float beyond int64": (np.array([1.0, 2.0**63]), 1, str(2**63)),
    "integer beyond int64": ([1, 2**63], 1, str(2**63)),
    "uint64 beyond int64": (np.array([1, 2**63], np.uint64), 1, str(2**63)),
    "bools": (np.array([True, False]), 0, "True"),
    "a bool": ([1, True], 1, "True"),
    "None": ([1, None], 1, "None is missing"),
    "only None": ([None, None], 0, "None is missing"),
    "NaT": (np.array(["2020-01-01", "NaT"], "datetime64[s]"), 1, "NaT"),
    "NaT of pandas": ([datetime(2020, 1, 1), pd.NaT], 1, "NaT is missing"),
    "NaT scalar": ([np.datetime64("2020-01-01"), np.datetime64("NaT")], 1, "is missing"),
    "missing of pandas": (pd.Series(pd.to_datetime(["2020-01-01", None])), 1, "is missing"),
    "missing of polars": (pl.Series([datetime(2020, 1, 1), None]), 1, "is missing"),
    "strings": (["2020-01-01", "2020-01-02"], 0, "'2020-01-01'"),
    "strings of NumPy": (np.array(["1", "2"]), 0, "'1'"),
    "datetime among integers": ([1, datetime(2020, 1, 1)], 1, "datetime.datetime"),
    "integer among datetimes": ([datetime(2020, 1, 1), 1], 1, "1 is of type int"),
    "two units": ([np.datetime64(1, "ns"), np.datetime64(10**15, "D")], 1, "datetime64"),
    "no unit": (np.array([1, 2]).view("datetime64"), 0, "has no unit"),
    "days beyond": (np.array([1, 10**17], "datetime64[D]"), 1, "beyond int64"),
    "seconds beyond": (np.array([1, -(2**62)], "datetime64[s]"), 1, "beyond int64"),
    "years beyond": (np.array([1, 10**7], "datetime64[Y]"), 1, "beyond int64"),
    "below the year 1": ([datetime.max, datetime.min.replace(tzinfo=PARIS)], 1, "lies outside"),
    "timedeltas": (np.array([1, 2], "timedelta64[s]"), 0, "1"),
    "durations": (pl.Series([timedelta(1), timedelta(2)]), 0, "timedelta"),
    "complex": (np.array([1j, 2]), 0, "1j"),
}


def refusal(**columns: Any) -> str:
    """Text of the DataError that the columns give."""
    with pytest.raises(DataError) as caught:
        Interactions(**({"users": [1, 2], "items": [1, 2]} | columns))
    return str(caught.value)


@pytest.mark.parametrize("data", NEVER_A_COLUMN.values(), ids=NEVER_A_COLUMN)
@pytest.mark.parametrize("column", ["users", "items", "values", "times", "weights"])
def test_what_is_no_column_is_refused(column: str, data: Any) -> None:
    if data is None and column not in ("users", "items"):
        return
    assert f"column {column!r}" in refusal(**{column: data})


@pytest.mark.parametrize(("data", "row", "shown"), BAD_IDS.values(), ids=BAD_IDS)
@pytest.mark.parametrize("column", ["users", "items"])
def test_bad_ids_are_refused(column: str, data: Any, row: int, shown: str) -> None:
    message = refusal(**{column: data})
    assert message.startswith(f"column {column!r}, row {row}: ")
    assert shown in message
    assert len(message) < 200


@pytest.mark.parametrize(("data", "row", "shown"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_bad_values_are_refused(data: Any, row: int, shown: str) -> None:
    message = refusal(values=data)
    assert message.startswith(f"column 'values', row {row}: ")
    assert shown in message


@pytest.mark.parametrize(("data", "row", "shown"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_refused(data: Any, row: int, shown: str) -> None:
    message = refusal(weights=data)
    assert message.startswith(f"column 'weights', row {row}: ")
    assert shown in message


@pytest.mark.parametrize(("data", "row", "shown"), BAD_TIMES.values(), ids=BAD_TIMES)
def test_bad_times_are_refused(data: Any, row: int, shown: str) -> None:
    message = refusal(times=data)
    assert message.startswith(f"column 'times', row {row}: ")
    assert shown in message


@pytest.mark.parametrize("column", ["users", "items", "values", "times", "weights"])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_column_of_another_length_is_refused(column: str, length: int) -> None:
    columns = {name: [1, 2] for name in ("users", "items", "values", "times", "weights")}
    message = refusal(**(columns | {column: [1] * length}))
    assert repr(column) in message
    assert re.findall(r"\d+", message) == (["2", str(length)] if column == "users" else [str(length), "2"])


# ------------------------------------------------------------------------------------------------- properties

INTEGERS = st.integers(INT64.min, INT64.max)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
BAD_CELLS = st.sampled_from([None, 1.5, True, b"a", float("nan"), 2**63, "\ud800", pd.NA, np.True_, (1,)])


@given(
    st.one_of(st.lists(INTEGERS, min_size=1), st.lists(TEXTS, min_size=1)),
    st.sampled_from([list, tuple, pl.Series]),
)
def test_ids_come_back_as_they_were(ids: list[Any], container: Any) -> None:
    events = Interactions(container(ids), container(ids))
    assert_canonical(events)
    assert events.users.tolist() == events.items.tolist() == ids


@given(st.one_of(st.lists(INTEGERS, min_size=1), st.lists(TEXTS, min_size=1)), st.data())
def test_the_first_bad_id_is_named(ids: list[Any], data: st.DataObject) -> None:
    row = data.draw(st.integers(1, len(ids)))
    ids = [*ids[:row], data.draw(BAD_CELLS), *ids[row:], data.draw(BAD_CELLS)]
    if (
        isinstance(ids[row], str) or type(ids[row]) is int
    ):  # bad in its own kind: what is of another kind comes first
        ids = ids[: row + 1]
    for column in (ids, np.fromiter(ids, object, len(ids))):
        with pytest.raises(DataError, match=f"^column 'users', row {row}: "):
            Interactions(column, range(len(ids)))


@given(hnp.arrays(st.sampled_from(["f2", "f4", "f8", ">f8", "i1", "u8"]), st.integers(1, 20)))
def test_values_are_rounded_to_float32_or_refused(values: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        expected = values.astype(np.float32)
    if np.isfinite(expected).all():
        events = Interactions(range(len(values)), range(len(values)), values)
        np.testing.assert_array_equal(events.values, expected)
    else:
        row = int((~np.isfinite(expected)).argmax())
        with pytest.raises(DataError, match=f"^column 'values', row {row}: "):
            Interactions(range(len(values)), range(len(values)), values)


@given(st.lists(st.datetimes(datetime(1, 1, 2), timezones=st.sampled_from([None, UTC, PARIS])), min_size=1))
def test_datetimes_count_microseconds(times: list[datetime]) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    aware = [moment.replace(tzinfo=moment.tzinfo or UTC) for moment in times]
    events = Interactions(range(len(times)), range(len(times)), times=times)
    assert columns_of(events)[3] == [(moment - epoch) // timedelta(microseconds=1) for moment in aware]


@st.composite
def some_events(draw: st.DrawFn) -> Interactions:
    size = draw(st.integers(0, 30))
    return Interactions(
        np.arange(size),
        draw(st.sampled_from([np.arange(size), np.arange(size).astype(str)])),
        np.arange(size) / 4,
        times=draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)),
        weights=draw(st.sampled_from([None, np.arange(size)])),
    )


FRACTIONS = st.floats(0, 1)


@given(some_events(), FRACTIONS)
def test_split_by_time_is_the_stable_order_cut_in_two(events: Interactions, fraction: float) -> None:
    past, later = events.split_by_time(fraction)
    times = columns_of(events)[3]
    assert times is not None
    order = sorted(range(len(events)), key=times.__getitem__)
    assert len(past) == round(fraction * len(events))
    assert [*past.users, *later.users] == order
    for part, rows in ((past, order[: len(past)]), (later, order[len(past) :])):
        assert_canonical(part)
        assert columns_of(part) == columns_of(events[rows])


@given(some_events(), FRACTIONS, st.integers(0, 2**32))
def test_split_random_parts_in_order(events: Interactions, fraction: float, seed: int) -> None:
    first, rest = events.split_random(fraction, seed)
    assert len(first) == round(fraction * len(events))
    assert sorted([*first.users, *rest.users]) == list(range(len(events)))
    for part in (first, rest):
        assert_canonical(part)
        assert (np.diff(part.users) > 0).all()
        assert columns_of(part) == columns_of(events[part.users])
    assert columns_of(events.split_random(fraction, seed)[0]) == columns_of(first)


@given(some_events(), st.integers(1, 40))
def test_batches_are_the_events_again(events: Interactions, size: int) -> None:
    batches = list(events.batches(size))
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)
    if batches:
        assert columns_of(Interactions.concatenate(batches)) == columns_of(events)


@given(some_events(), st.slices(30))
def test_a_slice_is_that_of_every_column(events: Interactions, rows: slice) -> None:
    part = events[rows]
    assert_canonical(part)
    assert columns_of(part) == [None if column is None else column[rows] for column in columns_of(events)]


# ------------------------------------------------------------------------------------------ ownership, access


def test_the_callers_arrays_are_neither_kept_nor_changed() -> None:
    columns = {
        "users": np.array([1, 2]),
        "items": np.array(["a", "b"], object),
        "values": np.array([1, 2], np.float32),
        "times": np.array([1, 2]),
        "weights": np.array([1, 2], np.float32),
    }
    events = Interactions(**columns)
    before = columns_of(events)
    for array in columns.values():
        assert array.flags.writeable
        array[:] = array[::-1].copy()
    assert columns_of(events) == before


def test_a_read_only_view_of_a_writable_array_is_copied() -> None:
    own = np.array([1, 2])
    events = Interactions(read_only(own[:]), [1, 2])
    own[0] = 9
    assert events.users.tolist() == [1, 2]


def test_columns_cannot_be_changed() -> None:
    events = Interactions([1, 2], ["a", "b"], times=[1, 2], weights=[1, 2])
    for name in ("users", "items", "values", "times", "weights"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(events, name)[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(events, name, None)


def test_slices_share_memory() -> None:
    events = Interactions(range(9), range(9), times=range(9))
    part = events[2:5]
    assert np.shares_memory(part.users, events.users)
    assert np.shares_memory(part.values, events.values)
    assert part.users.tolist() == [2, 3, 4]
    past, _ = events.split_by_time(0.5)
    assert np.shares_memory(past.users, events.users), "events in order need no copy"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([2, 0, 2], [2, 0, 2]),
        (np.array([-1]), [3]),
        (np.array([True, False, False, True]), [0, 3]),
        ([False, True, False, False], [1]),
        ([], []),
        (np.array([]), []),
        (slice(None, None, -2), [3, 1]),
    ],
)
def test_picking_rows(rows: Any, expected: list[int]) -> None:
    events = Interactions(range(4), range(4), times=range(4))
    part = events[rows]
    assert_canonical(part)
    assert columns_of(part) == [expected, expected, [1] * len(expected), expected, None]


@pytest.mark.parametrize("rows", [0, (0, 1, slice(2)), 1.5, [1.5], "a", None, [[0, 1]], np.array(0)])
def test_rows_of_a_wrong_kind_are_refused(rows: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Interactions(range(4), range(4))[rows]


@pytest.mark.parametrize("rows", [[4], [-5], [True], [True] * 5])
def test_rows_outside_are_refused(rows: Any) -> None:
    with pytest.raises(IndexError):
        Interactions(range(4), range(4))[rows]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "Interactions(2 events, int users, str items)"),
        ({"times": [1, 2]}, "Interactions(2 events, int users, str items, with times)"),
        ({"weights": [1, 2]}, "Interactions(2 events, int users, str items, with weights)"),
        (
            {"times": [1, 2], "weights": [1, 2]},
            "Interactions(2 events, int users, str items, with times and weights)",
        ),
    ],
)
def test_repr(columns: dict[str, Any], expected: str) -> None:
    assert repr(Interactions([1, 2], ["a", "b"], **columns)) == expected


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda events: pickle.loads(pickle.dumps(events))]
)
def test_a_copy_is_as_good(again: Any) -> None:
    events = Interactions([1, 2], ["a", "b"], [1.5, 2], [1, 2], [0, 1])
    assert_canonical(again(events))
    assert columns_of(again(events)) == columns_of(events)


def test_replace_checks_what_is_new() -> None:
    events = Interactions([1, 2], [1, 2])
    assert dataclasses.replace(events, values=[3, 4]).values.tolist() == [3, 4]
    with pytest.raises(DataError, match="'values', row 1"):
        dataclasses.replace(events, values=[3, np.nan])


# -------------------------------------------------------------------------------------- splits, concatenation


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None, [0.5]])
def test_a_fraction_outside_0_to_1_is_refused(fraction: Any) -> None:
    events = Interactions([1, 2], [1, 2], times=[1, 2])
    for split in (events.split_by_time, events.split_random):
        with pytest.raises(DataError, match="fraction"):
            split(fraction)


@pytest.mark.parametrize("size", [0, -1, 1.5, 2.0, "2", None, True])
def test_a_size_that_is_no_positive_integer_is_refused_at_once(size: Any) -> None:
    with pytest.raises(DataError, match="size"):
        Interactions([1, 2], [1, 2]).batches(size)


def test_time_order_needs_times() -> None:
    events = Interactions([1, 2], [1, 2])
    for ask in (events.sort_by_time, lambda: events.split_by_time(0.5)):
        with pytest.raises(DataError, match="no times"):
            ask()


def test_another_seed_splits_otherwise() -> None:
    events = Interactions(range(100), range(100))
    assert columns_of(events.split_random(0.5, 0)[0]) != columns_of(events.split_random(0.5, 1)[0])


def test_concatenate_fills_weights_with_one() -> None:
    joined = Interactions.concatenate([Interactions([1], [1]), Interactions([2], [2], weights=[5])])
    assert_canonical(joined)
    assert columns_of(joined)[4] == [1, 5]


def test_concatenate_passes_over_empty_parts() -> None:
    parts = [Interactions([], []), Interactions(["a"], [1], times=[1])]
    assert columns_of(Interactions.concatenate(parts)) == [["a"], [1], [1], [1], None]
    assert len(Interactions.concatenate(parts[:1])) == 0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "nothing"),
        ([Interactions([1], [1]), Interactions(["a"], [1])], "users"),
        ([Interactions([1], [1]), Interactions([1], ["a"])], "items"),
        ([Interactions([1], [1]), Interactions([1], [1], times=[1])], "times"),
    ],
)
def test_concatenate_refuses_what_does_not_fit(parts: list[Interactions], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Interactions.concatenate(parts)


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


def duckdb_relation() -> Any:
    connection = duckdb.connect()
    connection.register("events", arrow_table())
    return connection.sql("select * from events")


FRAMES = {
    "dict": lambda: dict(TABLE),
    "dict of series": lambda: {name: pd.Series(column) for name, column in TABLE.items()},
    "pandas": lambda: pd.DataFrame(TABLE, index=[9, 9, 9]),
    "polars": lambda: pl.DataFrame(TABLE),
    "polars lazy": lambda: pl.DataFrame(TABLE).lazy(),
    "Arrow": arrow_table,
    "Arrow batch": lambda: arrow_table().to_batches()[0],
    "Arrow stream": lambda: Stream(arrow_table()),
    "duckdb": duckdb_relation,
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


@pytest.mark.parametrize(
    "make", [dict, pd.DataFrame, pl.DataFrame, pa.table, lambda d: pl.DataFrame(d).lazy()]
)
def test_a_bad_cell_of_a_frame_is_named_by_the_frames_column(make: Any) -> None:
    good: dict[str, list[Any]] = {"who": [1, 2], "film": ["a", "b"], "stars": [1.0, 2.0]}
    for column, cells in {"who": [1, None], "film": ["a", None], "stars": [1.0, float("inf")]}.items():
        with pytest.raises(DataError, match=f"^column '{column}'"):
            Interactions.from_frame(make(good | {column: cells}), user="who", item="film", value="stars")


@pytest.mark.parametrize(
    "frame", [None, 3, "a.csv", [[1, 2]], np.ones((2, 2)), pd.Series([1]), pl.Series([1])]
)
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


def test_parquet(backend: str, parquet: Path) -> None:
    for path in (parquet, str(parquet)):
        events = Interactions.from_parquet(path, **NAMES)
        assert_canonical(events)
        assert columns_of(events) == EXPECTED
    with pytest.raises(DataError, match=r"'price'.*'who'"):
        Interactions.from_parquet(parquet, user="price")


def test_csv(backend: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, CSV)
    for place in (path, str(path)):
        events = Interactions.from_csv(place, **NAMES)
        assert_canonical(events)
        assert columns_of(events) == EXPECTED
    with pytest.raises(DataError, match=r"'price'.*'who'"):
        Interactions.from_csv(path, user="price")


def test_types_of_a_csv_come_from_all_of_it(backend: str, tmp_path: Path) -> None:
    count = 300_000  # beyond the sample of every backend
    late = "".join(f"{row},{row},1,{row}\n" for row in range(count)) + "x,7,2.5,9\n"
    events = Interactions.from_csv(
        csv_file(tmp_path, f"user,item,value,time\n{late}"), value="value", time="time"
    )
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
        with pytest.raises(DataError, match=r"^column 'user', row 1: None is missing"):
            Interactions.from_csv(csv_file(tmp_path, text))


def test_times_of_a_csv_in_iso_8601(backend: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "user,item,time\n1,1,2020-01-01T01:00:00+01:00\n2,2,2020-01-01T00:00:00Z\n")
    assert columns_of(Interactions.from_csv(path, time="time"))[3] == [MIDNIGHT, MIDNIGHT]
    path = csv_file(tmp_path, "user,item,time\n1,1,2020-01-01T01:00:00\n2,2,soon\n")
    with pytest.raises(DataError, match=r"^column 'time', row 1: 'soon'"):
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


MALFORMED: dict[str, tuple[str, str, Any]] = {
    "column beyond": ("csr", "indices", [1, 0, 3]),
    "column far beyond": ("csr", "indices", [1, 0, 2**31 - 1]),
    "column below": ("csr", "indices", [1, 0, -1]),
    "row beyond": ("csc", "indices", [1, 0, 2]),
    "block beyond": ("bsr", "indices", [1, 0, 3]),
    "falling": ("csr", "indptr", [0, 4, 3]),
    "falling below": ("csr", "indptr", [0, -5, 3]),
    "falling and unsigned": ("csr", "indptr", np.array([0, 4, 3], np.uint64)),
    "falling columns": ("csc", "indptr", [0, 2, 1, 3]),
    "falling blocks": ("bsr", "indptr", [0, 4, 3]),
    "not from 0": ("csr", "indptr", [1, 1, 3]),
    "beyond the entries": ("csr", "indptr", [0, 1, 4]),
    "too few rows": ("csr", "indptr", [0, 3]),
    "too many rows": ("csr", "indptr", [0, 1, 3, 3]),
    "no rows": ("csr", "indptr", []),
    "floats for rows": ("csr", "indptr", [0.0, 1.0, 3.0]),
    "floats for columns": ("csr", "indices", [1.0, 0.0, 2.0]),
    "2-d columns": ("csr", "indices", [[1], [0], [2]]),
    "too few values": ("csr", "data", [5.0, 3.0]),
    "too many values": ("csc", "data", [5.0, 3.0, 1.0, 1.0]),
    "too few blocks": ("bsr", "data", np.ones((2, 1, 1))),
    "too few columns": ("csr", "indices", [1, 0]),
    "coo row beyond": ("coo", "row", np.array([0, 1, 2])),
    "coo column below": ("coo", "col", np.array([1, 0, -1])),
    "coo lengths": ("coo", "data", np.array([1.0])),
    "coo floats": ("coo", "coords", [[0.0, 1.0, 1.0], [1, 0, 2]]),
    "dia lengths": ("dia", "offsets", np.array([0])),
    "dia floats": ("dia", "offsets", np.array([0.0, 1.0, 2.0])),
}


@pytest.mark.parametrize(("format_", "attribute", "content"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_matrix_is_refused(format_: str, attribute: str, content: Any) -> None:
    matrix = (
        sparse.bsr_array(DENSE, blocksize=(1, 1))
        if format_ == "bsr"
        else sparse.coo_array(DENSE).asformat(format_)
    )
    setattr(matrix, attribute, np.asarray(content))
    with pytest.raises(DataError, match="matrix"):
        Interactions.from_sparse(matrix)


def test_malformed_lists_and_keys_are_refused() -> None:
    for rows, data in (([1], [1.0, 2.0]), ([1, 2], [1.0]), ([3], [1.0]), ([-1], [1.0])):
        matrix = sparse.lil_array((1, 3))
        matrix.rows[0], matrix.data[0] = rows, data
        with pytest.raises(DataError, match="matrix"):
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
    matrix.indptr = np.array(
        data.draw(st.lists(st.integers(-1, 5), min_size=rows, max_size=rows + 2)), np.int32
    )
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


# ---------------------------------------------------------------------------------------------- weight, speed


def test_arrays_and_lists_need_no_other_library() -> None:
    program = (
        "import sys; from fastmf.interactions import Interactions; import numpy as np\n"
        "Interactions(np.arange(3), ['a', 'b', 'c'], [1, 2, 3]).split_random(0.5)\n"
        "heavy = {'narwhals', 'pandas', 'polars', 'pyarrow', 'duckdb', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[1])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seconds"), [("int", 0.05), ("str", 0.5)])
def test_a_million_events_are_checked_in_no_time(kind: str, seconds: float) -> None:
    ids = np.arange(1_000_000)
    users = ids if kind == "int" else ids.astype(str).astype(object)
    values, best = np.ones(len(ids)), np.inf
    for _ in range(5):
        start = time.perf_counter()
        Interactions(users, users, values, ids)
        best = min(best, time.perf_counter() - start)
    assert best < seconds
