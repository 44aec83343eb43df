"""Learner of pointwise losses: stochastic gradient descent, one step per event or per mini-batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastmf.devices import runner
from fastmf.kernels.core.bridge import entry_point
from fastmf.kernels.train import online, pointwise
from fastmf.learners.decay import fade_of
from fastmf.learners.descent import Descent
from fastmf.learners.gathering import gather
from fastmf.learners.job import FitJob, Fitting, Single, Training, UpdateJob
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.plan import PARALLEL_FROM, Plan, most_in_flight
from fastmf.state import State

__all__ = ["Steps", "measure_single"]

_SEVERAL_FROM = 1 << 12  # events from which processing several in flight pays off


class Steps(Descent):
    """A gradient step per event, or per mini-batch of events, on the rows involved."""

    draws = False
    visitors = replace(Descent.visitors, order="arrival")

    def suits(self, objective: Any) -> bool:
        """Whether the loss is pointwise and the solver takes gradient steps."""
        return not objective.ranks and not objective.alternating

    def weighed(self, events: Events) -> Events:
        """The events, unchanged: values are labels, not weights."""
        return events

    # --- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, job: FitJob) -> Fitting:
        """Passes over all events, block by block."""
        state, working, objective, threads = job.state, job.working, job.objective, job.threads
        counts = state.users.count, state.items.count
        plan = Plan.whole(job.kept, *counts, working.shape, state.seed, threads)

        def learn(epoch: int) -> float:
            if (job.batch_size or 1) != 1:
                return float(runner("minibatches")(working, plan.events, objective, working.movable, job.batch_size))
            return float(
                runner("steps")(working, plan, objective, working.movable, plan.block_order(state.seed, epoch), threads)
            )

        return Fitting(learn, lambda: float(runner("measure")(working, job.held, objective)))

    # --- update -------------------------------------------------------------------------------------------------------

    def update(self, job: UpdateJob) -> Training:
        """Passes over the batch, then over the history of its users."""
        working, new, past = gather(job, job.arrived)
        fade = fade_of(job)
        new, past = fade(new), None if past is None else fade(past)
        weighed = new.weighed().contiguous()
        return Training(
            working,
            new,
            lambda: float(runner("measure")(working, weighed, job.objective)),
            lambda: _learn(working, weighed, past, job),
        )

    # --- one event ----------------------------------------------------------------------------------------------------

    def single(self, state: State, objective: Any, ledger: np.ndarray) -> Single:
        """One step per event: as ``update`` of a one-event batch with ``epochs=1, history_epochs=0``."""
        table = state.users.table
        half, mean, values = table.layout.storage == "float16", state.global_mean, objective.values
        kernel = online.learn(table.shape, half, objective.classes)
        step = entry_point(kernel, ledger, mean, *values, 0, 0, 0.0)
        return Single(functools.partial(step, ledger, mean, *values), measure_single(state, objective))


def _learn(working: WorkingSet, new: Events, past: Events | None, job: UpdateJob) -> None:
    recipe, objective = job.recipe, job.objective
    if recipe.rate is not None:
        objective = objective.at_rate(recipe.rate)
    users, items = (rows.size for rows in working.rows.values())
    by_event = recipe.order == "user" and recipe.batch_size == 1
    if by_event and new.users.size >= PARALLEL_FROM:  # as large as a fit: train in blocks, as a fit does
        plan = Plan.whole(new, users, items, working.shape, 0, job.threads)
    else:
        several = by_event and new.users.size >= _SEVERAL_FROM
        plan = Plan.single(new, users, recipe.order, most_in_flight(working.shape, users, items) if several else 1)
    _passes(working, plan, recipe.epochs, objective, working.movable, recipe.batch_size, job.threads)
    if past is not None:
        plan = plan.after(past)
        objective = objective.at_rate(float(objective.solver.rate) * recipe.history_rate)
        frozen_items = {**working.movable, "items": 0}
        _passes(working, plan, recipe.history_epochs, objective, frozen_items, recipe.batch_size, 1)


def _passes(
    working: WorkingSet,
    plan: Plan,
    epochs: int,
    objective: Any,
    movable: dict[str, int],
    batch_size: int,
    threads: int,
) -> None:
    if not objective.solver.rate:  # no row would move, and growing memory would slow down later steps
        return
    for _ in range(epochs):
        if batch_size == 1:
            runner("steps")(working, plan, objective, movable, None, threads)
        else:
            runner("minibatches")(working, plan.events, objective, movable, batch_size)


def measure_single(state: State, objective: Any) -> Callable[[Events], float]:
    """A function that returns the summed loss of events given in row numbers of the model."""
    sides = state.users, state.items
    kernel = pointwise.measure(state.users.table.shape, objective.classes[:1])
    mean, loss = state.global_mean, objective.loss

    def measure(events: Events) -> float:
        parts = (part for side in sides for part in side.table.parts[:2])  # the present ones: tables grow
        return float(kernel(events.weighed().contiguous()[:4], *parts, mean, loss))

    measure(state.history.between(0, 0))  # compile now rather than in the middle of a stream
    return measure
