"""Lanes against NumPy, bit for bit: arithmetic, the fixed order of sums, memory, and what the compiler must refuse."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastmf.kernels.lanes import Row, load, single, store
from fastmf.memory import aligned

SIZES = [1, 8, 9, 16, 17, 48]


def table_of(size: int, rows: int = 3, seed: int = 0) -> np.ndarray:
    """Rows of `size` numbers of mixed magnitude, padded with zeros."""
    table = aligned(rows, naive.padded(size))
    table[:] = 0
    rng = np.random.default_rng(seed + size)
    table[:, :size] = rng.normal(0, 1, (rows, size)) * 10.0 ** rng.integers(-4, 4, (rows, size))
    return table


def combine(size, width):
    @njit
    def kernel(table, number, out, sums):
        p, q = load(table, 0, 0, width, size), load(table, 1, 0, width, size)
        store(out, 0, 0, p + q)
        store(out, 1, 0, p - q)
        store(out, 2, 0, p * q)
        store(out, 3, 0, p / (q * q + 1.0))
        store(out, 4, 0, p + number)
        store(out, 5, 0, number * p - q * 2)
        store(out, 6, 0, (p * p + number).rsqrt())
        sums[0], sums[1] = p.total(), (p * q).total()

    return kernel


@pytest.mark.parametrize("size", SIZES)
def test_arithmetic_and_sums(size: int) -> None:
    table, width = table_of(size), naive.padded(size)
    out, sums, number = aligned(7, width), np.empty(2, np.float32), np.float32(0.7)
    combine(size, width)(table, number, out, sums)
    p, q = table[0], table[1]
    one, two = np.float32(1), np.float32(2)
    expected = [p + q, p - q, p * q, p / (q * q + one), p + number, number * p - q * two]
    expected.append(one / np.sqrt(p * p + number))
    np.testing.assert_array_equal(out, expected)
    assert sums.tolist() == [naive.total(p), naive.total(p * q)]


def test_a_number_of_any_type_becomes_float32() -> None:
    @njit
    def kernel(table, number, out):
        store(out, 0, 0, load(table, 0, 0, 16, 16) * number)

    table, out = table_of(16), aligned(1, 16)
    for number in (np.float64(0.1), np.int64(3), np.float32(0.1)):
        kernel(table, number, out)
        np.testing.assert_array_equal(out[0], table[0] * np.float32(number))


def split_and_spread(size, width, parts):
    @njit
    def kernel(table, memory, out, out_memory):
        row, held = load(table, 0, 0, width, size), load(memory, 0, 0, parts, parts)
        store(out_memory, 0, 0, row.split(held))
        store(out, 0, 0, held.spread(row))

    return kernel


@pytest.mark.parametrize(("size", "parts"), [(1, 1), (8, 1), (17, 1), (5, 2), (9, 2), (16, 2), (48, 2)])
def test_split_and_spread(size: int, parts: int) -> None:
    width = naive.padded(size)
    table, memory = table_of(size), np.array([[3.0, 5.0]], np.float32)[:, :parts].copy()
    out, means = aligned(1, width), np.empty((1, parts), np.float32)
    split_and_spread(size, width, parts)(table, memory, out, means)
    row = table[0, :size]
    halves = [row, row]
    if parts == 2 and size > 8:
        halves = [row[:8], np.append(row[:8] * 0, row[8:])]
    counts = [np.count_nonzero(half) for half in halves[:parts]]
    expected = [naive.total(half) * np.float32(1 / n) for half, n in zip(halves, counts, strict=False)]
    np.testing.assert_array_equal(means[0], expected)
    np.testing.assert_array_equal(out[0], np.where(np.arange(width) < 8, 3, memory[0, -1]))


def test_single_is_a_row_of_one() -> None:
    @njit
    def kernel(number, out):
        row = single(number) + single(number)
        store(out, 1, 2, row)
        return row.total()

    out = np.zeros((2, 4), np.float32)
    assert kernel(np.float32(1.5), out) == 3
    assert out.tolist() == [[0, 0, 0, 0], [0, 0, 3, 0]]


def test_parts_of_a_row() -> None:
    """What is loaded and stored inside a row leaves the rest of the row, and other rows, alone."""

    @njit
    def kernel(table, row):
        store(table, row, 1, load(table, row, 2, 2, 2) + 1)

    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    kernel(table, 1)
    assert table.tolist() == [[0, 1, 2, 3], [4, 7, 8, 7], [8, 9, 10, 11]]


def test_half_precision_is_rounded_to_nearest_even() -> None:
    @njit
    def kernel(full, half, back):
        for row in range(full.shape[0]):
            store(half, row, 0, load(full, row, 0, 16, 16))
            store(back, row, 0, load(half, row, 0, 16, 16))

    full, half, back = table_of(16, rows=50), aligned(50, 16, np.uint16), aligned(50, 16)
    full[0, :6] = [0, -0.0, 65504, 2.0**-24, 1 + 2.0**-11, 1 + 3 * 2.0**-11]
    full[1, :4] = [np.inf, -np.inf, 1e-9, -1e5]
    kernel(full, half, back)
    with np.errstate(over="ignore"):
        expected = full.astype(np.float16)
    np.testing.assert_array_equal(half, expected.view(np.uint16))
    np.testing.assert_array_equal(back, expected.astype(np.float32))


def test_misuse_does_not_compile() -> None:
    def mixed(table):
        return (load(table, 0, 0, 16, 16) + load(table, 0, 0, 32, 32)).total()

    def variable_width(table, width):
        return load(table, 0, 0, width, 16).total()

    def three_parts(table):
        return load(table, 0, 0, 16, 16).split(load(table, 0, 0, 3, 3)).total()

    table = aligned(1, 32)
    for function, arguments, message in (
        (mixed, (table,), "different shapes"),
        (mixed, (table.astype(np.float64),), "float32 or uint16"),
        (variable_width, (table, 16), "load"),
        (three_parts, (table,), "1 or 2 lanes"),
    ):
        with pytest.raises(TypingError, match=message):
            njit(function)(*arguments)


@pytest.mark.parametrize(("size", "parts"), [(1, 1), (1, 2), (8, 1), (8, 2), (9, 2), (17, 1), (17, 2)])
def test_row_is_lanes_in_plain_python(size: int, parts: int) -> None:
    table = table_of(size)
    row, memory = Row.of(table[0, :size]), Row.of(np.arange(1, parts + 1))
    numbers = np.asarray(row, np.float64)
    assert row.total() == pytest.approx(numbers.sum(), rel=1e-5)
    np.testing.assert_allclose((row * row).rsqrt(), 1 / np.abs(numbers), rtol=1e-6)
    halves = [numbers[:8], numbers[8:]] if parts == 2 and size > 8 else [numbers] * parts
    np.testing.assert_allclose(row.split(memory), [half.mean() for half in halves], rtol=1e-5)
    assert memory.spread(row).tolist() == [1] * min(size, 8) + [parts] * (size - 8)
