"""Inverses of the precision matrices of kernels/train/beliefs.py: in float32 lanes, and in float64 where these fail.

Gauss-Jordan elimination in place. For each pivot a = A[k, k], row k becomes [A[k, :] / a with 1 / a in column k], and
every other row i becomes A[i, :] - A[i, k] * row k, with -A[i, k] / a in column k.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.extending import overload

from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.train.direct import ROOM

_WEAK = np.float32(1e-3)  # share of a pivot in its diagonal element below which float32 loses too many digits
_RIGHT, _CROSS, _DIAGONAL = 0, 5, 7  # rows of the work array, as in beliefs.py


def invert(size, width, room, unit):
    """Invert the matrix in rows ROOM to ROOM + size of `room` in place; False if a pivot is weak. For kernels only.

    Row _DIAGONAL has the diagonal that pivots are compared with, `unit` is the unit matrix.
    """


@overload(invert, prefer_literal=True, jit_options={"error_model": "numpy"})
def _invert(size, width, room, unit):
    if not hasattr(size, "literal_value"):
        return None

    def inverted(size, width, room, unit):
        for k in range(size):
            pivot = room[ROOM + k, k]
            if not pivot > _WEAK * room[_DIAGONAL, k]:
                return False
            place, inverse = load(unit, k, 0, width, size), np.float32(1) / pivot
            source = fma(place, -pivot, load(room, ROOM + k, 0, width, size))
            source = fma(place, inverse, source * inverse)
            for i in range(k):
                share = -room[ROOM + i, k]
                row = fma(place, share, load(room, ROOM + i, 0, width, size))
                store(room, ROOM + i, 0, fma(source, share, row))
            for i in range(k + 1, size):
                share = -room[ROOM + i, k]
                row = fma(place, share, load(room, ROOM + i, 0, width, size))
                store(room, ROOM + i, 0, fma(source, share, row))
            store(room, ROOM + k, 0, source)
        return True

    return inverted


@njit(error_model="numpy")
def clear_double(size, prior, numbers, matrix):
    """Begin the float64 equations of a row, matrix = float64[size + 1, size + 2], with its prior, as in beliefs.py."""
    precision = prior[0]
    for i in range(size):
        for j in range(size):
            matrix[i, j] = precision[i, j]
        matrix[i, size], matrix[i, size + 1] = precision[size, i], precision[size + 1, i]
    matrix[size, size], matrix[size, size + 1] = numbers[2], numbers[3]


@njit(error_model="numpy")
def add_double(size, tables, met, pull, value, matrix):
    """Add an event with row `met` of the other side; pull = w / s2, value = value - mean."""
    _, _, _, other, other_records, other_variances = tables
    target = value - other_records[met, 0]
    for i in range(size):
        scaled = pull * other[met, i]
        for j in range(i, size):
            matrix[i, j] += scaled * other[met, j]
        matrix[i, i] += pull * other_variances[met, i]
        matrix[i, size] += scaled
        matrix[i, size + 1] += scaled * target
    matrix[size, size] += pull
    matrix[size, size + 1] += pull * target


@njit(error_model="numpy")
def solve_in_double(size, biased, room, matrix):
    """Solve a row in float64; returns its bias and the variance of that.

    Writes to `room` the diagonal of the precision, the inverse for the factors, the mean of the factors to row _RIGHT,
    and their covariances with the bias to row _CROSS.
    """
    count = size + 1 if biased else size
    for i in range(count):
        for j in range(i):
            matrix[i, j] = matrix[j, i]
    for i in range(size):
        room[_DIAGONAL, i] = np.float32(matrix[i, i])
    right = np.empty(count)
    for i in range(count):
        right[i] = matrix[i, size + 1]
    _invert_double(matrix, count)
    solution = np.zeros(size + 1)
    for i in range(count):
        for j in range(count):
            solution[i] += matrix[i, j] * right[j]
    for i in range(size):
        room[_RIGHT, i] = np.float32(solution[i])
        room[_CROSS, i] = np.float32(matrix[i, size] if biased else 0.0)
        for j in range(size):
            room[ROOM + i, j] = np.float32(matrix[i, j])
    return np.float32(solution[size]), np.float32(matrix[size, size] if biased else 0.0)


@njit(error_model="numpy")
def _invert_double(matrix, count):
    """Invert the first `count` rows and columns of a matrix in place."""
    for k in range(count):
        inverse = 1.0 / matrix[k, k]
        matrix[k, k] = 1.0
        for j in range(count):
            matrix[k, j] *= inverse
        for i in range(count):
            if i != k:
                share = matrix[i, k]
                matrix[i, k] = 0.0
                for j in range(count):
                    matrix[i, j] -= share * matrix[k, j]
