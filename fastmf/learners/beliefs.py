"""Learner of beliefs: variational Bayes over all rows in a fit, one pass of a Kalman filter over a batch's events."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastmf.devices import runner
from fastmf.errors import DivergenceError
from fastmf.kernels.core.bridge import entry_point
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.grouping import order_by
from fastmf.kernels.train import belief_steps
from fastmf.learners.decay import fade_of
from fastmf.learners.gathering import gather
from fastmf.learners.hyper import Hyper
from fastmf.learners.job import FitJob, Fitting, Single, Training, UpdateJob
from fastmf.learners.solve import sorted_columns
from fastmf.learners.steps import measure_single
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES, Events
from fastmf.parameters.groups import Group
from fastmf.parameters.priors import Priors
from fastmf.plan import Plan
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Beliefs"]

_DRIFT = (3e-4, 1e-4)  # of users and items: how far variances go back to those of the prior before each event
_FEWEST, _ENOUGH = 6, 0.0025  # sweeps of a fit; the relative fall of the noise below which it ends


class Beliefs:
    """Every row is a normal distribution: means, and a variance per factor."""

    defaults = Update(trainable="both", order="arrival")
    further = ("half_life",)
    draws = False
    why = "it learns each new event once, as far as rows are unsure; for rates and passes, solver=optimizers.AdaGrad()"

    def suits(self, objective: Any) -> bool:
        """Whether the solver is Variational."""
        return bool(objective.variational)

    def weighed(self, events: Events) -> Events:
        """The events, unchanged."""
        return events

    def reads_history(self, recipe: Update) -> bool:
        """Always False."""
        return False

    def groups(self, factors: int, seed: int, budget: int) -> dict[str, Group]:
        """The hyper-parameters."""
        return {"priors": Priors(factors, seed)}

    def further_widths(self, shape: Shape) -> tuple[int, ...]:
        """A variance per factor."""
        return (shape.width,)

    def begin(self, state: State, values: np.ndarray) -> None:
        """Set the priors of a model that has not been fitted, by the spread of the first values."""
        Hyper.initial(state, values).store(priors_of(state))

    # --- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, job: FitJob) -> Fitting:
        """Sweeps over users, then items; each learns the hyper-parameters anew, but for the first two."""
        if job.batch_size not in (None, 1):
            raise ValueError(
                "Variational solves whole rows: it has no batch_size; use solver=optimizers.AdaGrad() for one"
            )
        priors, fit = priors_of(job.state), _Fit(job)
        return Fitting(
            fit.sweep,
            lambda: float(runner("measure")(job.working, job.held, job.objective)),
            fit.settled,
            tuple(priors.values.values()),
        )

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Bring the rows of new ids in line with the hyper-parameters."""
        priors_of(state).refresh()

    # --- update -------------------------------------------------------------------------------------------------------

    def update(self, job: UpdateJob) -> Training:
        """One pass over the batch; for visitors, solves of their rows."""
        working, new, _ = gather(job, job.arrived)
        new = fade_of(job)(new)
        weighed = new.weighed().contiguous()
        return Training(
            working,
            new,
            lambda: float(runner("measure")(working, weighed, job.objective)),
            lambda: (_learn if job.counted else _solve_users)(working, weighed, job),
        )

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """Their rows alone are solved."""
        return objective, Update(trainable="users")

    # --- one event ----------------------------------------------------------------------------------------------------

    def single(self, state: State, objective: Any, ledger: np.ndarray) -> Single:
        """The step of an update."""
        table, loss, noise = state.users.table, objective.loss, priors_of(state).noise
        kind: Any = type(loss)
        kernel = belief_steps.learn_single(table.shape, table.layout.storage == "float16", kind)
        known = ledger, state.global_mean, noise, *map(np.float32, _DRIFT), loss
        step = entry_point(kernel, *known, 0, 0, 0.0)
        return Single(functools.partial(step, *known), measure_single(state, objective))


def priors_of(state: State) -> Priors:
    """The hyper-parameters of a state."""
    return state.groups["priors"]  # type: ignore[return-value]


def _learn(working: WorkingSet, new: Events, job: UpdateJob) -> None:
    priors, recipe = priors_of(job.state), job.recipe
    events = Plan.single(new, len(working.rows["users"]), recipe.order).events
    runner("learn beliefs")(
        working.shape,
        tuple(working.now[side] for side in SIDES),
        tuple(priors.rows[side] for side in SIDES),
        events.weighed().contiguous(),
        tuple(working.movable[side] for side in SIDES),
        _DRIFT,
        (working.mean, priors.noise),
    )


def _solve_users(working: WorkingSet, new: Events, job: UpdateJob) -> None:
    """Solve the rows of users from these events alone, against the prior."""
    hyper, users = Hyper.of(job.state), working.movable["users"]
    order, starts = order_by(new.users, users)
    columns = starts, *(getattr(new, name)[order] for name in ("items", "values", "weights"))
    tables = working.now["users"], working.now["items"]
    runner("solve beliefs")(working.shape, tables, columns, hyper.prior("users"), working.mean, hyper.noise, 1)


class _Fit:
    """The sweeps of a fit."""

    def __init__(self, job: FitJob) -> None:
        self._job, self._swept, self._fell = job, 0, np.inf
        self._columns = {side: sorted_columns(side, job.state, job.kept) for side in SIDES}
        self._bare = {side: _of_no_weight(starts, weights) for side, (starts, _, _, weights) in self._columns.items()}
        priors = priors_of(job.state)
        self._held = 2 if priors.values["spread"][0] else 0  # sweeps before hyper-parameters are learned
        self._hyper = Hyper.of(job.state)

    def sweep(self, _: int) -> float:
        """Solve all rows; returns the summed loss of the means after it."""
        job, hyper, sums = self._job, self._hyper, {}
        tables = {side: job.working.now[side] for side in SIDES}
        for side, other in (SIDES, SIDES[::-1]):
            sums[side] = runner("solve beliefs")(
                job.working.shape,
                (tables[side], tables[other]),
                self._columns[side],
                hyper.prior(side),
                job.working.mean,
                hyper.noise,
                job.threads,
            )
        found = sums["items"]
        if not np.isfinite([found.expected, *(one for side in SIDES for one in sums[side].means)]).all():
            raise DivergenceError("rows are not finite; smaller values or weights may help")
        if found.weight:
            self._learn(hyper, sums, tables)
        for side, bare in self._bare.items():
            for part, start in zip(tables[side], hyper.row(side, job.working.shape), strict=True):
                part[bare] = start
        hyper.store(priors_of(job.state))
        self._swept += 1
        return max(float(found.plain), 0.0)

    def _learn(self, hyper: Hyper, sums: dict[str, Any], tables: dict[str, Any]) -> None:
        """Learn the noise from the second sweep on, and then the priors, whose coordinates the rows are brought to."""
        if self._swept >= self._held - 1:
            before = hyper.noise
            hyper.learn_noise(sums["items"])
            self._fell = 1 - hyper.noise / before
        if self._swept >= self._held:
            shape = self._job.working.shape
            for side, form in hyper.learn_priors(sums).items():
                runner("turn beliefs")(shape, tables[side], *form)

    def settled(self) -> bool:
        """Whether another sweep would change little."""
        return self._swept >= _FEWEST and self._fell < _ENOUGH


def _of_no_weight(starts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rows without events, or whose events all have weight 0."""
    if weights.size and weights.min() > 0:
        return np.flatnonzero(np.diff(starts) == 0)
    summed = np.concatenate([[0.0], np.cumsum(weights > 0)])
    return np.flatnonzero(np.diff(summed[starts]) == 0)
