"""Rows of beliefs that are solved anew from their whole history, once an update has learned its new events."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.devices import runner
from fastmf.kernels.train import als
from fastmf.learners.decay import fade_of
from fastmf.learners.gathering import named_rows
from fastmf.learners.hyper import Hyper
from fastmf.learners.job import UpdateJob
from fastmf.learners.past import OTHER, Reading, touch
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES, Events

__all__ = ["Histories"]

_ALL, _MOST = np.iinfo(np.int32).max, 1_000  # past events of a row that is solved anew, at most: any, and by default


class Histories(NamedTuple):
    """The rows that a batch names, with all their events.

    Attributes
    ----------
    working : WorkingSet
        The movable rows, and all that these have events with.
    new : Events
        The batch, in row numbers of the working set.
    columns : dict of str to (int64[movable + 1], int32[events], float32[events], float32[events])
        By side: the start of the events of each movable row, and rows of the other side, values and weights. Rows with
        too many past events have weights of 0, and so are not solved.
    """

    working: WorkingSet
    new: Events
    columns: dict[str, tuple[np.ndarray, ...]]

    @classmethod
    def of(cls, job: UpdateJob) -> Histories:
        """Read them, and gather the rows."""
        state, recipe, arrived = job.state, job.recipe, job.arrived.weighed().contiguous()
        named = {side: named_rows(job, side, getattr(arrived, side), arrived.users.size) for side in SIDES}
        most = _ALL if recipe.max_history == "all" else int(recipe.max_history or _MOST)
        reading = Reading(
            lambda values: (np.ones_like(values), values), fade_of(job), recipe.half_life is not None, most
        )
        touched = touch(state, arrived, named, reading, job.threads)
        rows = {side: touched[OTHER[side]].met for side in SIDES}
        working = WorkingSet(state, rows, {side: named[side].movable for side in SIDES})
        columns: dict[str, tuple[np.ndarray, ...]] = {}
        for side, (_, bounds, _, others, weights, targets, fresh) in touched.items():
            whole = np.repeat((fresh == als.FAR) | (fresh == als.ANEW), np.diff(bounds))
            values = np.empty(0, np.float32) if targets is None else targets
            columns[side] = bounds, others, values, np.where(whole, weights, np.float32(0))
        return cls(working, arrived._replace(users=named["users"].local, items=named["items"].local), columns)

    def solve(self, job: UpdateJob, evidence: tuple[float, float]) -> None:
        """Solve the movable users, then the movable items, `resolve` times."""
        hyper, working, loss = Hyper.of(job.state), self.working, job.objective.loss
        for _ in range(job.recipe.resolve):
            for side, worth in zip(SIDES, evidence, strict=True):
                tables, numbers = (working.now[side], working.now[OTHER[side]]), (working.mean, hyper.noise, worth)
                prior = hyper.prior(side)
                runner("solve beliefs")(working.shape, tables, self.columns[side], prior, numbers, loss, job.threads)
