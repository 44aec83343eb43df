"""Gathering rows, starting new ones and writing them back, in float32 and float16."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from twins import COUNTS, SIDES, random_state

from fastmf import optimizers
from fastmf.kernels.core.shape import Shape, shape_of
from fastmf.parameters.moves import Image
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table

SHAPES = [shape_of(8, optimizers.SGD(), True), shape_of(17, optimizers.AdaGrad(), True)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.size))
storages = pytest.mark.parametrize("storage", ["float32", "float16"])


@shapes
@storages
def test_gather_copies_known_rows_and_starts_new_ones(shape: Shape, storage: str) -> None:
    state = random_state(shape, storage)
    for stream, side in enumerate(SIDES):
        table, known = state.side(side).table, COUNTS[side]
        table.start = HashedStart(7, stream, 0.25, 0.5)
        rows = np.array([known + 5, 3, 0, known, known - 1], np.int32)
        found = table.gather(rows)
        expected = np.zeros((len(rows), shape.width), np.float32)
        expected[:, : shape.size] = naive.start_vectors(rows, shape.size, 7, stream, 0.25, 0.5)
        old = rows < known
        expected[old, : shape.size] = table.values()[rows[old]]
        np.testing.assert_array_equal(found.factors, expected)
        np.testing.assert_array_equal(found.records, np.where(old[:, None], table.records[rows], 0))
        assert found.factors.ctypes.data % 64 == 0


@shapes
@storages
def test_scatter_writes_just_these_rows_and_rounds_once(shape: Shape, storage: str) -> None:
    table = random_state(shape, storage).users.table
    before, records = table.factors.copy(), table.records.copy()
    rows, rng = np.array([4, 1, 12], np.int32), np.random.default_rng(0)
    values = Image((np.zeros((3, shape.width), np.float32), rng.random((3, records.shape[1]), np.float32))).copy()
    values.factors[:, : shape.size] = rng.normal(0, 1, (3, shape.size))
    table.scatter(rows, values)
    kind = np.dtype(storage)
    before[rows] = values.factors.astype(kind).view(before.dtype)
    records[rows] = values.records
    np.testing.assert_array_equal(table.factors, before)
    np.testing.assert_array_equal(table.records, records)
    np.testing.assert_array_equal(table.values()[rows], values.factors[:, : shape.size].astype(kind))
    back = table.gather(rows)
    np.testing.assert_array_equal(back.factors, values.factors.astype(kind).astype(np.float32))


def test_start_vectors_depend_on_seed_side_and_row_alone() -> None:
    def vectors(seed: int, stream: int, rows: list[int]) -> np.ndarray:
        table = Table(Layout(SHAPES[0]), HashedStart(seed, stream, 0.0, 0.5), 1 << 20)
        return table.gather(np.array(rows, np.int32)).factors[:, :8]

    first = vectors(1, 0, [0, 1, 2])
    np.testing.assert_array_equal(vectors(1, 0, [2, 0]), first[[2, 0]])
    other = np.concatenate([first, vectors(2, 0, [0, 1, 2]), vectors(1, 1, [0, 1, 2])])
    assert len(np.unique(other)) == other.size
    assert np.abs(other).max() <= 0.25


def test_many_start_vectors_are_uniform_around_the_centre() -> None:
    table = Table(Layout(SHAPES[0]), HashedStart(3, 0, 1.0, 0.5), 1 << 24)
    numbers = table.gather(np.arange(20_000, dtype=np.int32)).factors[:, :8]
    assert 0.75 <= numbers.min() < 0.751
    assert 1.249 < numbers.max() <= 1.25
    assert numbers.mean(axis=0) == pytest.approx(np.ones(8), abs=0.005)
    assert numbers.var() == pytest.approx(0.5**2 / 12, rel=0.02)
    correlation = np.corrcoef(np.concatenate([numbers[:-1].T, numbers[1:].T])) - np.eye(16)
    assert np.abs(correlation).max() < 0.04


@storages
def test_fill_starts_every_row(storage: str) -> None:
    start = HashedStart.of(5, 1, 17)
    table = Table(Layout(SHAPES[1], storage), start, 1 << 24)
    table.fill(70_000)  # more than one piece
    rows = np.array([0, 65_535, 65_536, 69_999])
    expected = naive.start_vectors(rows, 17, 5, 1, start.centre, start.spread)
    np.testing.assert_array_equal(table.values()[rows], expected.astype(storage))
    assert not table.factors[:70_001, 17:].any()
    assert not table.records[:70_000].any()
