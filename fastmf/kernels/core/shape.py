"""The row layout that kernels are compiled for."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.extending import register_jitable


class Shape(NamedTuple):
    """Compile-time parameters of a kernel.

    Attributes
    ----------
    size : int
        Number of factors.
    width : int
        Factors per stored row: `size` rounded up to a multiple of 16.
    memory : int
        Optimizer memory per row, in float32 numbers; at least 1.
    biases : bool
        Whether biases are trained.
    """

    size: int
    width: int
    memory: int
    biases: bool


@register_jitable
def record_width(memory: int) -> int:
    """The number of float32 values in a record (the bias and the optimizer memory of a row), padded to 8 bytes."""
    return -(-(1 + memory) // 2) * 2


def shape_of(factors: int, solver: Any, biases: bool) -> Shape:
    """The shape of rows with `factors` factors under a solver."""
    return Shape(factors, -(-factors // 16) * 16, max(1, solver.state(factors)), biases)
