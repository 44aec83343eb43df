"""Distinct rows in order of appearance, and the stable counting sort, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf.kernels.grouping import localize, order_by

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
