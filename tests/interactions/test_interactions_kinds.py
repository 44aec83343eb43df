"""Events of several kinds, each with a weight."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_checks import assert_canonical
from hypothesis import given
from hypothesis import strategies as st

from fastmf.errors import DataError
from fastmf.interactions import Interactions, readers

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

WEIGHTS = {"view": 0.1, "cart": 0.5, "buy": 1}
KINDS = ["view", "buy", "cart", "view"]
EXPECTED = np.array([0.1, 1, 0.5, 0.1], np.float32)
TABLE: dict[str, Any] = {
    "user": [1, 2, 1, 3],
    "item": ["a", "a", "b", "c"],
    "event": KINDS,
    "much": [1.0, 3.0, 0.0, 2.0],
}

FRAMES = {
    "dict": lambda: dict(TABLE),
    "dict of arrays": lambda: {name: np.array(column) for name, column in TABLE.items()},
    "pandas object": lambda: pd.DataFrame(TABLE).astype({"event": object}),
    "pandas category": lambda: pd.DataFrame(TABLE).astype({"event": "category"}),
    "pandas string": lambda: pd.DataFrame(TABLE).astype({"event": "string"}),
    "pandas Arrow": lambda: pd.DataFrame(TABLE).astype({"event": pd.ArrowDtype(pa.string())}),
    "polars": lambda: pl.DataFrame(TABLE),
    "polars categorical": lambda: pl.DataFrame(TABLE).with_columns(pl.col("event").cast(pl.Categorical)),
    "polars enum": lambda: pl.DataFrame(TABLE).with_columns(pl.col("event").cast(pl.Enum([*WEIGHTS]))),
    "polars lazy": lambda: pl.DataFrame(TABLE).lazy(),
    "Arrow": lambda: pa.table(TABLE),
    "Arrow dictionary": lambda: pa.table(TABLE | {"event": pa.array(KINDS).dictionary_encode()}),
    "duckdb": lambda: duckdb.from_arrow(pa.table(TABLE)),
    "duckdb enum": lambda: duckdb.from_arrow(pa.table(TABLE)).project(
        """"user", item, much, event::enum('view', 'cart', 'buy') as event"""
    ),
}

each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


@each_frame
def test_kinds_become_weights(frame: Any) -> None:
    events = Interactions.from_frame(frame(), event="event", weights=WEIGHTS)
    assert_canonical(events)
    assert events.weights.dtype == np.float32
    np.testing.assert_array_equal(events.weights, EXPECTED)
    assert events.values.tolist() == [1, 1, 1, 1]


@each_frame
def test_kinds_multiply_the_weights_there_are(frame: Any) -> None:
    events = Interactions.from_frame(frame(), weight="much", event="event", weights=WEIGHTS)
    np.testing.assert_array_equal(events.weights, (np.array(TABLE["much"]) * [0.1, 1, 0.5, 0.1]).astype(np.float32))
    assert_canonical(events)


@each_frame
def test_an_unknown_kind_is_named(frame: Any) -> None:
    known = {"view": 0.1, "cart": 0.5}
    with pytest.raises(DataError, match=r"^column 'event', row 1: 'buy' is of no known kind; .*\['view', 'cart'\]$"):
        Interactions.from_frame(frame(), event="event", weights=known)


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_a_missing_kind_is_named(make: Any) -> None:
    for kinds in (["view", None], [None, "buy"]):
        row = kinds.index(None)
        with pytest.raises(DataError, match=f"^column 'what', row {row}: .* is missing; weights has"):
            Interactions.from_frame(
                make({"user": [1, 2], "item": [1, 2], "what": kinds}), event="what", weights=WEIGHTS
            )


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_kinds_may_be_integers(make: Any) -> None:
    frame = make({"user": [1, 2, 3], "item": [1, 2, 3], "code": [10, 30, 10]})
    events = Interactions.from_frame(frame, event="code", weights={10: 2, np.int64(30): 0.25})
    assert events.weights.tolist() == [2, 0.25, 2]
    with pytest.raises(DataError, match=r"^column 'code', row 1: 30 is of no known kind; weights has \[10\]$"):
        Interactions.from_frame(frame, event="code", weights={10: 2})


@pytest.mark.parametrize("cell", [[1], {"a": 1}, (1, [2]), b"view", 1.5, True], ids=repr)
def test_a_cell_that_is_no_kind_is_named(cell: Any) -> None:
    frame = {"user": [1, 2], "item": [1, 2], "event": ["view", cell]}
    with pytest.raises(DataError, match=re.escape(f"column 'event', row 1: {cell!r} is of no known kind")):
        Interactions.from_frame(frame, event="event", weights=WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"view": -0.1}, "'view' weighs -0.1"),
        ({"view": float("nan")}, "'view' weighs nan"),
        ({"view": float("inf")}, "'view' weighs inf"),
        ({"view": 1e39}, r"'view' weighs 1e\+39"),
        ({"view": 10**400}, "'view' weighs 1000"),
        ({"view": "1"}, "'view' weighs '1'"),
        ({"view": None}, "'view' weighs None"),
        ({"view": [1]}, r"'view' weighs \[1\]"),
        ({None: 1}, "the kind None is neither"),
        ({0.5: 1}, "the kind 0.5 is neither"),
        ({}, "weights must be a dict"),
        ([1, 2], "weights must be a dict"),
    ],
)
def test_bad_weights_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(dict(TABLE), event="event", weights=weights)


def test_one_without_the_other_is_refused(tmp_path: Path) -> None:
    for read in (Interactions.from_frame, Interactions.from_parquet, Interactions.from_csv):
        for given_one, lacking in (({"event": "event"}, "weights"), ({"weights": WEIGHTS}, "event")):
            with pytest.raises(DataError, match=f"is given without {lacking}"):
                read(tmp_path / "not looked at", **given_one)


def test_a_column_of_kinds_that_is_not_there_or_too_short() -> None:
    with pytest.raises(DataError, match=r"no column 'kind'.*'user', 'item'"):
        Interactions.from_frame(dict(TABLE), event="kind", weights=WEIGHTS)
    with pytest.raises(DataError, match="column 'event' has 2 rows, column 'user' has 4"):
        Interactions.from_frame(TABLE | {"event": KINDS[:2]}, event="event", weights=WEIGHTS)


def test_a_product_beyond_float32_is_named() -> None:
    frame = TABLE | {"much": [1.0, 3e38, 1.0, 1.0]}
    with pytest.raises(DataError, match=r"^column 'much', row 1: 3\S+e\+38 times 2.0, the weight of the kind"):
        Interactions.from_frame(frame, weight="much", event="event", weights=WEIGHTS | {"buy": 2})


def test_no_rows() -> None:
    frame = {"user": [], "item": [], "event": []}
    assert Interactions.from_frame(frame, event="event", weights=WEIGHTS).weights.tolist() == []


@pytest.mark.parametrize("backend", ["polars", "pyarrow", "duckdb", "pandas"])
def test_files(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_BACKENDS", (backend,))
    pl.DataFrame(TABLE).write_parquet(tmp_path / "events.parquet")
    pl.DataFrame(TABLE).write_csv(tmp_path / "events.csv")
    for read, name in ((Interactions.from_parquet, "events.parquet"), (Interactions.from_csv, "events.csv")):
        events = read(tmp_path / name, event="event", weights=WEIGHTS)
        np.testing.assert_array_equal(events.weights, EXPECTED)
        with pytest.raises(DataError, match=r"^column 'event', row 2: 'cart' is of no known kind"):
            read(tmp_path / name, event="event", weights={"view": 1, "buy": 2})
    (tmp_path / "events.csv").write_text("user,item,event\n1,1,view\n2,2,\n")
    with pytest.raises(DataError, match=r"^column 'event', row 1: \w+ is missing"):
        Interactions.from_csv(tmp_path / "events.csv", event="event", weights=WEIGHTS)


@given(
    kinds=st.lists(st.sampled_from(["a", "b", "c", "ä"]), max_size=20),
    weights=st.lists(st.floats(0, 1e6, width=32), min_size=4, max_size=4),
    much=st.none() | st.floats(0, 100, width=32),
)
def test_every_row_weighs_what_its_kind_does(kinds: list[str], weights: list[float], much: float | None) -> None:
    """Or is refused, at the first row of a kind that has no weight."""
    table = dict(zip(["a", "b", "c"], weights, strict=False))
    frame: dict[str, Any] = {"user": range(len(kinds)), "item": range(len(kinds)), "event": kinds}
    frame["much"] = [much] * len(kinds)
    weight = None if much is None else "much"
    if "ä" in kinds:
        with pytest.raises(DataError, match=f"column 'event', row {kinds.index('ä')}: 'ä'"):
            Interactions.from_frame(frame, weight=weight, event="event", weights=table)
        return
    events = Interactions.from_frame(frame, weight=weight, event="event", weights=table)
    expected = [np.float32(table[kind] * (1.0 if much is None else much)) for kind in kinds]
    assert events.weights.tolist() == expected
    assert_canonical(events)
