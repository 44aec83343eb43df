"""Stand-ins: which steps and penalties may be computed part by part."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmf import optimizers, regularizers
from fastmf.kernels.core.standins import acts_by_lane


class Step(NamedTuple):
    rate: float = 0.1


class Penalty(NamedTuple):
    weight: float = 0.1


def answer(**methods: Any) -> bool:
    """The answer for plain gradient descent with L2, but for the methods that are given."""
    methods = {"step": optimizers.SGD.step, "gradient": regularizers.L2.gradient} | methods
    return acts_by_lane(
        type("Solver", (Step,), {"step": methods["step"]}),
        type("Regularizer", (Penalty,), {"gradient": methods["gradient"]}),
    )


@pytest.mark.parametrize("solver", [optimizers.SGD, optimizers.AdaGrad])
def test_the_optimizers_act_by_lane(solver: type) -> None:
    assert acts_by_lane(solver, regularizers.L2)


BY_LANE = {
    "a number of NumPy": lambda self, row, gradient, memory: (row - np.float32(0.1) * gradient, memory),
    "arithmetic with fields": lambda self, row, gradient, memory: (row - (1 - self.rate**2) * gradient / 2, memory),
    "of its memory": lambda self, row, gradient, memory: (row - memory.rsqrt().spread(row) * gradient, memory),
    "only the memory sums": lambda self, row, gradient, memory: (row - gradient, (row * row).mean(memory)),
    "its memory as a number": lambda self, row, gradient, memory: (row - memory.total() * gradient, memory),
}
AS_A_WHOLE = {
    "a mean": lambda self, row, gradient, memory: (row - (gradient * row).mean(memory).spread(row), memory),
    "a sum": lambda self, row, gradient, memory: (row - row.total() * gradient, memory),
    "the first lane": lambda self, row, gradient, memory: (row - gradient.spread(row), memory),
    "a branch": lambda self, row, gradient, memory: (row - gradient if self.rate > 0 else row, memory),
    "truth": lambda self, row, gradient, memory: (row - gradient if self.rate else row, memory),
    "equality": lambda self, row, gradient, memory: (row - gradient if self.rate == 1 else row, memory),
    "a function of a number": lambda self, row, gradient, memory: (row - math.sqrt(self.rate) * gradient, memory),
    "an array": lambda self, row, gradient, memory: (row - np.ones(3) * gradient, memory),
    "no row": lambda self, row, gradient, memory: (memory, memory),
    "no lanes": lambda self, row, gradient, memory: (0.0, memory),
}


@pytest.mark.parametrize("name", BY_LANE)
def test_steps_that_act_by_lane(name: str) -> None:
    assert answer(step=BY_LANE[name])


@pytest.mark.parametrize("name", AS_A_WHOLE)
def test_steps_that_need_the_whole_row(name: str) -> None:
    assert not answer(step=AS_A_WHOLE[name])


def test_a_penalty_that_sums_needs_the_whole_row() -> None:
    assert answer(gradient=lambda self, row, anchor: self.weight * (row - anchor))
    assert answer(gradient=lambda self, row, anchor: row * 0)
    assert not answer(gradient=lambda self, row, anchor: (row * row).total() * row)
