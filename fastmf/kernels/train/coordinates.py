"""Coordinates in which two covariances are diagonal, in float64 and in one thread.

LAPACK would do, but its threads wait for more work in a loop, for some 100 ms after each call: as long as a sweep of a
fit takes, in which they hold a core that the fit needs. So results don't depend on the library at hand either.

Eigenvectors are found by Jacobi's method: for each pair (p, q), a rotation that makes element (p, q) zero, until all of
those beside the diagonal are negligible.

Reference: Golub, Van Loan (2013), Matrix Computations, 4.2.5 and 8.5.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.train.direct import back_substitute, solve_positive

_SWEEPS = 60  # Jacobi's method needs some 10
_NEGLIGIBLE = 1e-30  # sum of squares beside the diagonal, in units of all


@njit(error_model="numpy")
def _rotate(matrix, vectors, p, q):
    """Make element (p, q) of a symmetric matrix zero; vectors are rows."""
    size, mixed = len(matrix), matrix[p, q]
    ratio = (matrix[q, q] - matrix[p, p]) / (2 * mixed)
    tangent = math.copysign(1.0, ratio) / (abs(ratio) + math.sqrt(ratio * ratio + 1))
    cosine = 1 / math.sqrt(tangent * tangent + 1)
    sine = tangent * cosine
    first, second = matrix[p, p] - tangent * mixed, matrix[q, q] + tangent * mixed
    for i in range(size):
        one, other = matrix[p, i], matrix[q, i]
        matrix[p, i], matrix[q, i] = cosine * one - sine * other, sine * one + cosine * other
        one, other = vectors[p, i], vectors[q, i]
        vectors[p, i], vectors[q, i] = cosine * one - sine * other, sine * one + cosine * other
    for i in range(size):
        matrix[i, p], matrix[i, q] = matrix[p, i], matrix[q, i]
    matrix[p, p], matrix[q, q], matrix[p, q], matrix[q, p] = first, second, 0.0, 0.0


@functools.cache
def diagonal_together() -> Any:
    """The kernel that finds coordinates in which two covariances are diagonal."""
    return _diagonal_together(stamp())


def _diagonal_together(stamp):
    @jit(stamp)
    def diagonal_together(one, other, values, turns):
        """With F F' = one and F' other F = U D U', write values = D and turns = (U' F^-1, U' F'); False if it fails.

        `one` and `other`, symmetric, are overwritten.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        size = len(one)
        if not solve_positive(one, np.zeros(size), size, 0.0):  # its upper triangle is F' now
            return False
        product = np.zeros((size, size))
        for i in range(size):
            for k in range(i, size):
                product[i] += one[i, k] * other[k]
        other[:] = 0
        for i in range(size):
            for j in range(size):
                for k in range(j, size):
                    other[i, j] += product[i, k] * one[j, k]
        inverse, vectors = turns[0], turns[1]
        vectors[:] = 0
        for i in range(size):
            vectors[i, i] = 1
        for _ in range(_SWEEPS):
            beside, everything = 0.0, 0.0
            for i in range(size):
                for j in range(size):
                    everything += other[i, j] ** 2
                    beside += other[i, j] ** 2 if i != j else 0.0
            if not beside > _NEGLIGIBLE * everything:  # NaN ends it too
                break
            for p in range(size - 1):
                for q in range(p + 1, size):
                    if other[p, q] != 0:
                        _rotate(other, vectors, p, q)
        product[:] = 0
        for i in range(size):
            values[i], inverse[i] = other[i, i], vectors[i]
            back_substitute(one, inverse[i], size)
            for k in range(size):
                product[i, k:] += vectors[i, k] * one[k, k:]
        vectors[:] = product
        return True

    return diagonal_together


@functools.cache
def solve() -> Any:
    """The kernel that solves the equations of a positive definite matrix."""
    return _solve(stamp())


def _solve(stamp):
    @jit(stamp)
    def solve(matrix, right):
        """Overwrite `right` by the solution x of ``matrix x = right``, and the matrix; False if it fails."""
        stamp  # noqa: B018
        return solve_positive(matrix, right, len(right), 0.0)

    return solve
