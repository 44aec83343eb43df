"""Interactions as a value: what it owns, and how it is picked, split, joined and copied."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_checks import assert_canonical, columns_of
from hypothesis import given
from hypothesis import strategies as st

from fastmf.errors import DataError
from fastmf.interactions import Interactions


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
    view = own[:]
    view.flags.writeable = False
    events = Interactions(view, [1, 2])
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


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda events: pickle.loads(pickle.dumps(events))])
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


@pytest.mark.parametrize("fraction", [0, 0.0, 1, 1.0, np.float32(1)])
def test_a_part_may_be_all_or_nothing(fraction: float) -> None:
    events = Interactions([1, 2], [1, 2], times=[1, 2])
    for split in (events.split_by_time, events.split_random):
        assert [len(part) for part in split(fraction)] == [2 * int(fraction), 2 - 2 * int(fraction)]


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


# ---------------------------------------------------------------------------------------------- weight, speed


def test_arrays_and_lists_need_no_other_library() -> None:
    program = (
        "import sys; from fastmf.interactions import Interactions; import numpy as np\n"
        "Interactions(np.arange(3), ['a', 'b', 'c'], [1, 2, 3]).split_random(0.5)\n"
        "heavy = {'narwhals', 'pandas', 'polars', 'pyarrow', 'duckdb', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seconds"), [("int", 0.05), ("str", 0.5)])
def test_a_million_events_are_checked_in_no_time(kind: str, seconds: float) -> None:
    ids = np.arange(1_000_000)
    users = ids if kind == "int" else ids.astype(str).astype(object)
    values, best = np.ones(len(ids)), np.inf
    for _ in range(5):
        start = time.process_time()
        Interactions(users, users, values, ids)
        best = min(best, time.process_time() - start)
    assert best < seconds
