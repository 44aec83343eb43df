"""A working set and its naive twin: the same rows and objective, trained side by side and compared bit for bit."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np

from fastmf import losses, optimizers, regularizers
from fastmf.devices import runner
from fastmf.gate import Gate
from fastmf.kernels.core.shape import Shape, shape_of
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.log.history import History
from fastmf.objective import Objective
from fastmf.parameters.groups import RowGroup
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table
from fastmf.plan import Plan
from fastmf.protocols import freeze
from fastmf.state import State

COUNTS = {"users": 13, "items": 11}
SIDES = tuple(COUNTS)
BUDGET = 1 << 20


class Twins:
    """Rows of `size` factors; `values` are the loss, solver and regularizer, `likes` their naive counterparts."""

    def __init__(
        self,
        size: int,
        *values: Any,
        biases: bool = True,
        movable: dict[str, int] = COUNTS,
        likes: tuple[Any, ...] | None = None,
    ) -> None:
        values = values or (losses.Squared(), optimizers.AdaGrad(), regularizers.L2())
        self.objective = Objective(*map(freeze, values, ("loss", "solver", "regularizer")))
        self.shape, self.movable = shape_of(size, values[1], biases), movable
        state = random_state(self.shape)
        self.working = WorkingSet(state, {side: np.arange(COUNTS[side], dtype=np.int32) for side in SIDES}, movable)
        users, items = (
            naive.Side.of(*self.working.now[side], size, self.shape.memory, movable[side]) for side in SIDES
        )
        likes = likes or tuple(map(naive.like, values))
        self.naive = naive.Model(users, items, state.global_mean, naive.Objective(*likes, biases))

    def events(self, count: int) -> Events:
        """Random events with labels that the loss accepts, and weights; some are repeated pairs."""
        rng = np.random.default_rng(count)
        low, high = np.clip(self.objective.loss.domain, -4, 4)
        return Events(
            *(rng.integers(0, COUNTS[side], count).astype(np.int32) for side in SIDES),
            rng.uniform(low, high, count).astype(np.float32),
            rng.choice(np.array([0, 0.5, 1, 1.7], np.float32), count),
        )

    def run(self, plan: Plan, epoch: int = 0, threads: int = 1) -> tuple[float, float]:
        """One pass of both; returns their losses."""
        order = plan.block_order(0, epoch)
        blocks = [range(plan.bounds[block], plan.bounds[block + 1]) for block in order]
        lost = runner("steps")(self.working, plan, self.objective, self.movable, order, threads)
        return lost, self.naive.epoch(naive.Events(*plan.events[:4]), blocks, plan.in_flight)

    def run_batches(self, events: Events, size: int) -> tuple[float, float]:
        lost = runner("minibatches")(self.working, events, self.objective, self.movable, size)
        return lost, self.naive.batches(naive.Events(*events[:4]), size)

    def assert_equal(self, rtol: float = 0) -> None:
        """Every array of the working set, padding included."""
        for side, twin in (("users", self.naive.users), ("items", self.naive.items)):
            now = self.working.now[side]
            for name, found, expected in (
                ("factors", now.factors, twin.table()),
                ("records", now.records, twin.records()),
            ):
                assert np.isfinite(found).all()
                np.testing.assert_allclose(found, expected, rtol, atol=rtol, err_msg=f"{side}, {name}")


def random_state(shape: Shape, storage: str = "float32") -> State:
    """A state that looks trained: vectors, biases and optimizer memory are not what new rows start from."""
    rng, gate, groups = np.random.default_rng(shape.size), Gate(), {}
    for stream, (side, count) in enumerate(COUNTS.items()):
        table = Table(Layout(shape, storage), HashedStart.of(7, stream, shape.size), BUDGET)
        groups[side] = RowGroup(table)
        groups[side].start(np.arange(count))
        table.records[:count, 0] = rng.normal(0, 0.3, count) if shape.biases else 0
        table.records[:count, 1 : 1 + shape.memory] = rng.uniform(0, 2, (count, shape.memory))
    return State(groups, History(max(COUNTS.values()), BUDGET, gate), gate, seed=7, global_mean=1.5)
