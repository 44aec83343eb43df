"""Distinct rows in order of appearance, and the stable counting sort, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf.kernels.rows.grouping import Numbering, localize, order_by, sum_up

ROWS = 50
rows = st.lists(st.integers(0, ROWS - 1), max_size=200).map(lambda one: np.array(one, np.int32))


@given(rows)
def test_localize(batch: np.ndarray) -> None:
    marks = np.zeros(ROWS, np.int32)
    unique, local = localize(batch, marks)
    assert unique.tolist() == list(dict.fromkeys(batch.tolist()))
    assert (unique[local] == batch).all()
    assert unique.dtype == local.dtype == np.int32
    assert not marks.any()


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@given(batch=rows)
def test_order_by(kind: type, batch: np.ndarray) -> None:
    keys = batch.astype(kind)
    order, starts = order_by(keys, ROWS)
    assert order.tolist() == np.argsort(keys, kind="stable").tolist()
    assert starts.tolist() == np.searchsorted(np.sort(keys), np.arange(ROWS + 1)).tolist()


def test_no_keys_at_all() -> None:
    order, starts = order_by(np.empty(0, np.int32), 0)
    assert order.tolist() == []
    assert starts.tolist() == [0]


@given(rows, rows)
def test_numbering_begins_where_localize_ended(batch: np.ndarray, later: np.ndarray) -> None:
    marks = np.zeros(ROWS, np.int32)
    unique, _ = localize(batch, marks)
    numbering = Numbering.of(unique, marks, later.size)
    assert [marks[row] - 1 for row in unique] == list(range(unique.size))
    assert numbering.end().tolist() == unique.tolist()
    assert not marks.any()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 3)), max_size=8))
def test_sum_up(sizes: list[tuple[int, int]]) -> None:
    counts, tails = (np.array(column, np.int32) for column in (zip(*sizes, strict=True) if sizes else ([], [])))
    tails = np.minimum(tails, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    values = np.random.default_rng(0).random(bounds[-1]).astype(np.float32)
    sums, tail_sums = np.empty(counts.size), np.empty(counts.size)
    sum_up(values, bounds, tails, sums, tail_sums)
    for n, tail in enumerate(tails):
        mine = values[bounds[n] : bounds[n + 1]].astype(np.float64)
        assert sums[n] == pytest.approx(mine.sum())
        assert tail_sums[n] == pytest.approx(mine[mine.size - max(tail, 0) :].sum())
