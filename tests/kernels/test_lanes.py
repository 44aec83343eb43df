"""Lanes against NumPy, bit for bit: arithmetic, the fixed order of sums, memory, and what the compiler must refuse."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastmf.kernels.core.borrowed import borrow
from fastmf.kernels.core.lanes import Row, fma, load, single, store
from fastmf.memory import aligned

# Kernels of a test are compiled every time.
SIZES = [1, 16, 17, 100, *(pytest.param(size, marks=pytest.mark.slow) for size in (8, 9, 48, 128, 200, 300))]
ODD = [3, 5, 6, 12]


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


@pytest.mark.parametrize("width", [*ODD, 20])
def test_sums_of_any_width(width: int) -> None:
    @njit
    def kernel(table):
        return load(table, 0, 0, width, width).total()

    assert kernel(np.arange(1, width + 1, dtype=np.float32)[None, :]) == width * (width + 1) / 2


def test_a_number_of_any_type_becomes_float32() -> None:
    @njit
    def kernel(table, number, out):
        store(out, 0, 0, load(table, 0, 0, 16, 16) * number)

    table, out = table_of(16), aligned(1, 16)
    for number in (np.float64(0.1), np.int64(3), np.float32(0.1)):
        kernel(table, number, out)
        np.testing.assert_array_equal(out[0], table[0] * np.float32(number))


def average(size, width, parts):
    @njit
    def kernel(table, memory, out, out_memory):
        row, held = load(table, 0, 0, width, size), load(memory, 0, 0, parts, parts)
        store(out_memory, 0, 0, row.mean(held))
        store(out, 0, 0, held.spread(row))

    return kernel


@pytest.mark.parametrize(("size", "parts"), [(1, 1), (8, 1), (17, 1), (5, 2), (48, 2)])
def test_mean_and_spread(size: int, parts: int) -> None:
    width = naive.padded(size)
    table, memory = table_of(size), np.array([[3.0, 5.0]], np.float32)[:, :parts].copy()
    out, means = aligned(1, width), np.empty((1, parts), np.float32)
    average(size, width, parts)(table, memory, out, means)
    np.testing.assert_array_equal(means[0], [naive.total(table[0, :size]) * np.float32(1 / size)] * parts)
    np.testing.assert_array_equal(out[0], np.full(width, 3))
    row, held = Row.of(table[0, :size]), Row.of(memory[0])
    np.testing.assert_allclose(row.mean(held), means[0], rtol=1e-5)
    np.testing.assert_array_equal(held.spread(row), np.full(size, 3))


def multiply_and_add(size, width):
    @njit
    def kernel(table, borrowed_from, out):
        borrowed = borrow(borrowed_from)
        p, q = load(borrowed, 0, 0, width, size), load(borrowed, 1, 0, width, size)
        store(out, 0, 0, fma(p, q, p))
        store(out, 1, 0, fma(p, np.float32(0.7), q))
        store(out, 2, 0, fma(p, 0.3, 1.0))
        return borrow(table)[1]

    return kernel


@pytest.mark.parametrize("size", SIZES)
def test_fma_rounds_once_and_a_borrowed_table_is_the_table(size: int) -> None:
    table, width = table_of(size), naive.padded(size)
    out = aligned(3, width)
    assert multiply_and_add(size, width)(np.arange(3.0)[::2].copy(), table, out) == 2.0
    p, q = table[0], table[1]
    expected = [naive.fma(p, q, p), naive.fma(p, np.float32(0.7), q), naive.fma(p, np.float32(0.3), np.float32(1))]
    np.testing.assert_array_equal(out, expected)


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


def test_parts_at_any_column() -> None:
    """Where a part begins need not be a constant, nor a multiple of anything."""

    @njit
    def kernel(table, half, start):
        part = load(table, 1, start, 20, 20)
        store(half, 0, start, part)
        store(table, 2, start + 1, part)

    table, half = table_of(100), aligned(1, 112, np.uint16)
    before = table.copy()
    for start in (16, 3):
        table[:], half[:] = before, 0
        kernel(table, half, start)
        part = before[1, start : start + 20]
        before[2, start + 1 : start + 21] = part
        np.testing.assert_array_equal(table, before)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(half[0, start : start + 20], part.astype(np.float16).view(np.uint16))
        assert np.count_nonzero(half) <= 20


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

    table = aligned(1, 32)
    for function, arguments, message in (
        (mixed, (table,), "different shapes"),
        (mixed, (table.astype(np.float64),), "float32 or uint16"),
        (variable_width, (table, 16), "load"),
    ):
        with pytest.raises(TypingError, match=message):
            njit(function)(*arguments)


@pytest.mark.parametrize("size", [1, 8, 17])
def test_row_is_lanes_in_plain_python(size: int) -> None:
    row = Row.of(table_of(size)[0, :size])
    numbers = np.asarray(row, np.float64)
    assert row.total() == pytest.approx(numbers.sum(), rel=1e-5)
    np.testing.assert_allclose((row * row).rsqrt(), 1 / np.abs(numbers), rtol=1e-6)
