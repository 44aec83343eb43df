"""Engine: gather a working set, run a Plan on it.

Training never touches the tables of a model. It works on copies of the rows it needs; what moved goes back in one step
that nothing interrupts (see state.py). A failure before that step leaves the model as it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.delta import Move
from fastmf.errors import DivergenceError
from fastmf.kernels.core.launch import launch
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import minibatch, pointwise
from fastmf.log.history import Events
from fastmf.memory import aligned
from fastmf.parameters.table import SIDES, Factors, Rows
from fastmf.plan import Plan
from fastmf.protocols import Objective

__all__ = ["WorkingSet", "shape_of"]

_AT_ONCE = 1 << 26  # factors, events times width, between two chances for Ctrl-C: kernels hear none


def shape_of(factors: int, solver: Any, biases: bool) -> Shape:
    """The shape of rows of so many factors under a solver."""
    return Shape(factors, -(-factors // 16) * 16, max(1, solver.state(factors)), biases)


# --- the working set ------------------------------------------------------------------------------------------------


class WorkingSet:
    """Copies of the rows that an update concerns; of each side, the first `movable` rows may be written.

    Parameters
    ----------
    factors : Factors
        Where the rows come from.
    rows : dict of str to int32 array
        Distinct rows of each side, movable ones first.
    movable : dict of str to int
        How many of them may move.
    """

    def __init__(self, factors: Factors, rows: dict[str, np.ndarray], movable: dict[str, int]) -> None:
        self.shape, self.mean, self.largest = factors.shape, np.float32(factors.global_mean), factors.largest
        self.rows, self.movable = rows, movable
        self.now = {side: factors.tables[side].gather(rows[side], factors.start(side)) for side in SIDES}
        self.before = {side: self.now[side].head(movable[side]).copy() for side in SIDES}

    @classmethod
    def over(cls, factors: Factors) -> WorkingSet:
        """Every row, movable: for training a model that nobody else sees yet, in its float32 tables themselves."""
        whole = cls.__new__(cls)
        whole.shape, whole.mean, whole.largest = factors.shape, np.float32(factors.global_mean), factors.largest
        whole.movable = {side: factors.tables[side].count for side in SIDES}
        whole.rows = {side: np.arange(whole.movable[side], dtype=np.int32) for side in SIDES}
        whole.now = {side: factors.tables[side].whole(factors.start(side)) for side in SIDES}
        whole.before = whole.now
        return whole

    def moves(self) -> dict[str, Move]:
        """What changed, once training is over.

        Raises
        ------
        DivergenceError
            Where a number is not finite, or too large for the tables.
        """
        after = {side: self._moved(side) for side in SIDES}
        for side, rows in after.items():
            if not rows.within(self.largest):
                raise DivergenceError(
                    f"training made {side[:-1]} rows that are not finite; smaller values, weights or rates may help"
                )
        return {side: Move(self.rows[side][: self.movable[side]], self.before[side], after[side]) for side in SIDES}

    def _moved(self, side: str) -> Rows:
        """The rows that may have moved, without holding on to those that were only read."""
        rows, movable = self.now[side], self.movable[side]
        return rows if movable == len(rows.factors) else rows.head(movable).copy()

    def run(
        self,
        plan: Plan,
        objective: Objective,
        movable: dict[str, int],
        order: np.ndarray | None = None,
        threads: int = 1,
    ) -> float:
        """One pass over a plan, a step per event; returns the summed loss, each event measured before its step.

        `order` is that of the blocks; stratum after stratum, as they are listed, by default.
        """
        shape, classes, flight = self.shape, objective.classes, plan.in_flight
        sums = np.zeros(len(plan.bounds) - 1)
        order = np.arange(sums.size) if order is None else order
        workers = min(threads, int(plan.strata[1]))
        for first, last in plan.pieces(self.shape.width):
            launch(
                lambda: pointwise.epoch(shape, classes, flight, False),
                lambda: pointwise.epoch(shape, classes, flight, True),
                workers,
                (plan.bounds, order, int(plan.strata[1]), first, last),
                plan.events[:4],
                *self.now["users"],
                *self.now["items"],
                (*self.before["users"], *self.before["items"]),
                (movable["users"], movable["items"]),
                self.mean,
                *objective.values,
                workers,
                sums,
            )
        return float(sums.sum())

    def run_batches(self, events: Events, objective: Objective, movable: dict[str, int], batch_size: int) -> float:
        """One pass over events in their order, a step per batch; returns the summed loss."""
        sides = []
        for side in SIDES:
            count = len(self.now[side].factors)
            sums, bias_sums = aligned(count, self.shape.width), aligned(count, 1)
            sums[:], bias_sums[:] = 0, 0
            room = (np.zeros(count, np.int32), np.empty(count, np.int64))
            sides.append((*self.now[side], *self.before[side], sums, bias_sums, *room))
        kernel = minibatch.epoch(self.shape, objective.classes)
        limits = (movable["users"], movable["items"])
        piece = -(-_AT_ONCE // (batch_size * self.shape.width)) * batch_size  # whole batches
        return sum(
            float(kernel(events.take(some)[:4], batch_size, *sides, limits, self.mean, *objective.values))
            for some in _slices(events.users.size, piece)
        )

    def measure(self, events: Events, objective: Objective) -> float:
        """The summed loss of events, moving nothing."""
        kernel = pointwise.measure(self.shape, objective.classes[:1])
        now = *self.now["users"], *self.now["items"]
        return sum(
            float(kernel(events.take(some)[:4], *now, self.mean, objective.loss))
            for some in _slices(events.users.size, _AT_ONCE // self.shape.width)
        )


def _slices(count: int, piece: int) -> list[slice]:
    return [slice(first, first + piece) for first in range(0, count, piece)]
