"""The shape of rows: what kernels are compiled for."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.extending import register_jitable


class Shape(NamedTuple):
    """What a kernel is compiled for: factors, padded width, floats of memory a row, and whether biases move."""

    size: int
    width: int
    memory: int
    biases: bool


@register_jitable
def record_width(memory: int) -> int:
    """Floats in a record: the bias and the memory of its row, padded to 8 bytes."""
    return -(-(1 + memory) // 2) * 2


def shape_of(factors: int, solver: Any, biases: bool) -> Shape:
    """The shape of rows of so many factors under a solver."""
    return Shape(factors, -(-factors // 16) * 16, max(1, solver.state(factors)), biases)
