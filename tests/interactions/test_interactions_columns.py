"""Columns of Interactions: what is accepted and as what, what is refused and how."""

from __future__ import annotations

import enum
import re
from collections import deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import narwhals as nw
import numpy as np
import pytest
from event_checks import MIDNIGHT, assert_canonical, columns_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmf.errors import DataError
from fastmf.interactions import Interactions

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")
sparse = pytest.importorskip("scipy.sparse")

INT64 = np.iinfo(np.int64)
PARIS = timezone(timedelta(hours=1))


class Colour(str, enum.Enum):  # noqa: UP042  # the older spelling prints as 'Colour.RED'
    RED = "red"


class Rank(enum.IntEnum):
    LOW = 4


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


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


def test_float32_ends_where_it_rounds_to_infinity() -> None:
    end = 2.0**128 - 2.0**103
    last = float(np.nextafter(end, 0))
    for sign in (1, -1):
        for make in (list, np.array):
            assert Interactions([1], [1], make([sign * last])).values.tolist() == [
                sign * float(np.finfo(np.float32).max)
            ]
            with pytest.raises(DataError, match="is beyond float32"):
                Interactions([1], [1], make([sign * end]))


def test_bools_count_as_numbers() -> None:
    for data in (np.array([True, False]), [True, False], pd.Series([True, False], dtype="boolean")):
        assert Interactions([1, 2], [1, 2], data).values.tolist() == [1, 0]


def test_values_are_one_and_the_rest_absent_by_default() -> None:
    events = Interactions([1, 2], [1, 2])
    assert_canonical(events)
    assert columns_of(events) == [[1, 2], [1, 2], [1, 1], None, None]


TIMES = {
    "seconds": np.array(["2020-01-01", "1969-12-31T23:59:59"], "datetime64[s]"),
    "nanoseconds": np.array(["2020-01-01T00:00:00.000000999", "1969-12-31T23:59:59"], "datetime64[ns]"),
    "scalars": list(np.array(["2020-01-01", "1969-12-31T23:59:59"], "datetime64[s]")),
    "datetimes": [datetime(2020, 1, 1), datetime(1969, 12, 31, 23, 59, 59)],
    "aware": [datetime(2020, 1, 1, 1, tzinfo=PARIS), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)],
    "timestamps": [pd.Timestamp("2020-01-01 01:00", tz=PARIS), pd.Timestamp("1969-12-31 23:59:59")],
    "pandas": pd.Series(pd.to_datetime(["2020-01-01 00:00:00", "1969-12-31 23:59:59"])),
    "pandas aware": pd.Series(pd.to_datetime(["2020-01-01 00:00:00", "1969-12-31 23:59:59"], utc=True)).dt.tz_convert(
        "Asia/Tokyo"
    ),
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


class Elsewhere:
    """An array that NumPy cannot reach, as a tensor on a GPU."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("copy it to the host first")


NEVER_A_COLUMN = {
    "array elsewhere": Elsewhere(),
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
    "floats for want of one": (np.array([1.0, np.nan]), 1, "nan is missing"),
    "floats of pandas for want of one": (pd.Series([1, None]), 1, "nan is missing"),
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
    "beyond float32 in a list": ([1, 1e39], 1, "1e+39 is beyond float32"),
    "beyond float64": ([1, 10**400], 1, "is beyond float32"),
    "longdouble": (np.array([1, 1e300], np.longdouble) * 1e200, 0, "is beyond float32"),
    "decimal NaN": ([1, Decimal("NaN")], 1, "Decimal('NaN') is not finite"),
    "decimal signalling NaN": ([1, Decimal("sNaN")], 1, "Decimal('sNaN') is not finite"),
    "decimal beyond": ([1, Decimal("1e400")], 1, "is beyond float32"),
    "fraction beyond": ([1, Fraction(10**400)], 1, "is beyond float32"),
    "None": ([1, None], 1, "None is missing"),
    "NA": ([1, pd.NA], 1, "<NA> is missing"),
    "missing of pandas": (pd.Series([1.5, None]), 1, "nan is not finite"),
    "missing of pandas Float64": (pd.Series([1.5, None], dtype="Float64"), 1, "nan is not finite"),
    "missing of pandas Arrow": (
        pd.Series([1.5, None], dtype=pd.ArrowDtype(pa.float64())),
        1,
        "nan is not finite",
    ),
    "missing of polars": (pl.Series([1.5, None]), 1, "nan is not finite"),
    "missing of Arrow": (pa.array([1.5, None]), 1, "nan is not finite"),
    "missing integer of polars": (pl.Series([1, None]), 1, "None is missing"),
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
    "NaN": (np.array([1.0, np.nan]), 1, "nan is missing"),
    "NaN in a list": ([1, float("nan")], 1, "nan is missing"),
    "inf": ([1.0, float("inf")], 1, "inf is no whole number"),
    "inf of NumPy": (np.array([1.0, -np.inf]), 1, "-inf is no whole number"),
    "integer among datetime64": ([np.datetime64("2020-01-01"), 1], 1, "1 is of type int"),
    "float beyond int64": (np.array([1.0, 2.0**63]), 1, "9.2"),
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
    for column in (ids, np.fromiter(ids, object, len(ids))):
        with pytest.raises(DataError, match=f"^column 'users', row {row}: "):
            Interactions(column, range(len(ids)))


@given(
    st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(0, 1e6), st.fractions(0, 9)), min_size=1),
    st.sampled_from([None, "1", float("nan"), float("-inf"), Decimal("sNaN"), 10**400, -1e39, b"1", 1j, pd.NA]),
    st.integers(0, 99),
)
def test_the_first_bad_number_is_named(numbers: list[Any], bad: Any, row: int) -> None:
    row %= len(numbers)
    with pytest.raises(DataError, match=f"^column 'values', row {row}: "):
        Interactions(range(len(numbers) + 2), range(len(numbers) + 2), [*numbers[:row], bad, *numbers[row:], None])


@given(
    st.one_of(st.lists(INTEGERS, min_size=1), st.lists(st.datetimes(datetime(1900, 1, 1)), min_size=1)),
    st.sampled_from([None, "1", float("nan"), 2.5, 2**63, True, pd.NaT, datetime.min.replace(tzinfo=PARIS)]),
    st.integers(1, 99),
)
def test_the_first_bad_time_is_named(times: list[Any], bad: Any, row: int) -> None:
    row = min(row, len(times))
    count = range(len(times) + 2)
    with pytest.raises(DataError, match=f"^column 'times', row {row}: "):
        Interactions(count, count, times=[*times[:row], bad, *times[row:], None])


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
