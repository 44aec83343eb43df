"""Sorting by user against a stable argsort, for any number of threads and bands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf.log import sorting
from fastmf.log.events import Events
from fastmf.log.sorting import room_for, sort_by_user


def random_events(count: int, users: int, seed: int, weighted: bool) -> Events:
    rng = np.random.default_rng(seed)
    popular = (users * rng.beta(0.3, 1, count)).astype(np.int32)
    items, values = rng.integers(0, 50, count).astype(np.int32), rng.random(count, np.float32)
    return Events(popular, items, values, rng.random(count, np.float32) if weighted else None)


@given(
    count=st.integers(0, 400),
    users=st.integers(1, 60),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    threads=st.integers(1, 4),
    at_once=st.sampled_from([1, 7, 50, 1_000]),
    lent=st.booleans(),
)
def test_sorted_by_user(
    count: int, users: int, seed: int, weighted: bool, threads: int, at_once: int, lent: bool
) -> None:
    events = random_events(count, users, seed, weighted)
    kept = events.take(slice(None)).copy()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorting, "_AT_ONCE", at_once)
        found, starts = sort_by_user(events, users, threads, room_for(count) if lent else None)
    order = np.argsort(events.users, kind="stable")
    assert starts.tolist() == [0, *np.cumsum(np.bincount(events.users, minlength=users))]
    for name in ("items", "values", "weights"):
        column, expected = getattr(found, name), getattr(events, name)
        assert (column is None) == (expected is None)
        if column is not None:
            np.testing.assert_array_equal(column, expected[order])
    for before, after in zip(kept, events, strict=True):
        np.testing.assert_array_equal(before, after)
