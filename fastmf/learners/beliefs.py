"""Learner of beliefs: variational Bayes over all rows in a fit, one pass of a Kalman filter over a batch's events."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastmf.devices import runner
from fastmf.equations import Pass
from fastmf.errors import DivergenceError
from fastmf.kernels.core.bridge import entry_point
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.grouping import order_by
from fastmf.kernels.train import belief_steps
from fastmf.learners.decay import fade_of
from fastmf.learners.drift import forgotten, watched, watched_by
from fastmf.learners.gathering import gather
from fastmf.learners.hyper import Hyper
from fastmf.learners.job import FitJob, Fitting, Single, Training, UpdateJob
from fastmf.learners.resolve import Histories
from fastmf.learners.solve import sorted_columns
from fastmf.learners.steps import measure_single
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES, Events
from fastmf.parameters.groups import Group
from fastmf.parameters.priors import NOISE_EVENTS, Priors
from fastmf.plan import Plan
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Beliefs"]

_FEWEST, _STEADY = 6, 0.01  # sweeps of a fit; the relative change of the signal below which it ends,
_SLIGHT = 1e-4  # and what is added to that for a signal that is lost in noise, in units of the variance of the noise
_SOLVES = 3  # of a visitor's row, whose surrogates depend on it unless the loss is quadratic
_NOISE_DIFFERS = (1.0, 0.0)  # 1 for sides whose rows have factors of the noise: on items they cost accuracy


class Beliefs:
    """Every row is a normal distribution: means, and a variance per factor."""

    epochs = 60  # at most: a fit ends by itself
    settles = True
    defaults = Update(trainable="both", order="arrival", resolve=0)
    further = ("half_life", "max_history")
    draws = False
    why = "it learns each new event once, as far as rows are unsure; for rates and passes, solver=optimizers.AdaGrad()"

    def suits(self, objective: Any) -> bool:
        """Whether the solver is Variational."""
        return bool(objective.variational)

    def weighed(self, events: Events) -> Events:
        """The events, unchanged."""
        return events

    def reads_history(self, recipe: Update) -> bool:
        """Whether rows are solved anew."""
        return bool(recipe.resolve)

    def groups(self, objective: Any, shape: Shape, seed: int, budget: int) -> dict[str, Group]:
        """The hyper-parameters."""
        return {"priors": Priors(shape.size, seed)}

    def settle(self, state: State) -> None:
        """Nothing to do."""

    def further_widths(self, shape: Shape) -> tuple[int, ...]:
        """A variance per factor."""
        return (shape.width,)

    def begin(self, state: State, values: np.ndarray, objective: Any, fits: bool) -> None:
        """Set the priors of a model that has not been fitted, by the spread of the first values."""
        Hyper.initial(state, values, objective.loss, fits).store(priors_of(state))

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
        """Bring the rows of new ids in line with the hyper-parameters, and watch for changes from now on."""
        priors = priors_of(state)
        priors.set(drift=forgotten(priors))

    # --- update -------------------------------------------------------------------------------------------------------

    def update(self, job: UpdateJob) -> Training:
        """One pass over the batch, and solves of its rows if the recipe asks; for visitors, solves of theirs."""
        if job.recipe.max_history is not None and not job.recipe.resolve:
            raise ValueError(
                "Update.max_history means nothing to Variational without resolve: only solves read the past"
            )
        histories = Histories.of(job) if job.recipe.resolve and job.counted else None
        working, new = gather(job, job.arrived)[:2] if histories is None else histories[:2]
        new = fade_of(job)(new)
        weighed = new.weighed().contiguous()

        def measure() -> float:
            return float(runner("measure")(working, weighed, job.objective))

        if not job.counted:
            return Training(working, new, measure, lambda: _solve_users(working, weighed, job))
        passed = _OnePass(working, weighed, job)

        def learn() -> None:
            passed.learn()
            if histories is not None:
                histories.solve(job, _evidence(job.objective.loss))

        return Training(working, new, measure, learn, passed.moves, lambda: passed.notes)

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """Their rows alone are solved."""
        return objective, Update(trainable="users")

    # --- one event ----------------------------------------------------------------------------------------------------

    def single(self, state: State, objective: Any, ledger: np.ndarray) -> Single:
        """The step of an update."""
        table, loss, priors = state.users.table, objective.loss, priors_of(state)
        kind: Any = type(loss)
        kernel = belief_steps.learn_single(table.shape, table.layout.storage == "float16", kind)
        noted = tuple(map(np.float32, _noted(loss)))
        told = _Told(priors)
        known = ledger, (state.global_mean, priors.noise), priors.rates, noted, told.sums, loss
        step = entry_point(kernel, *known, 0, 0, 0.0)
        return Single(functools.partial(step, *known), measure_single(state, objective), told.further, told.restart)


def priors_of(state: State) -> Priors:
    """The hyper-parameters of a state."""
    return state.groups["priors"]  # type: ignore[return-value]


class _Told:
    """What single events tell about drift."""

    def __init__(self, priors: Priors) -> None:
        self._priors, self.sums = priors, np.zeros(belief_steps.SUMS)

    def further(self, *_: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The move of what is known about drift, and the changes detected."""
        if not self.sums.any():
            return {}, ()
        drift, notes = watched(self._priors, self.sums)
        return {"priors": self._priors.move({"drift": drift})}, notes

    def restart(self) -> None:
        """Begin anew: all that has been told is known."""
        self.sums[:] = 0


class _OnePass:
    """The pass over the events of an update, and what it tells about drift."""

    def __init__(self, working: WorkingSet, new: Events, job: UpdateJob) -> None:
        self._working, self._new, self._job, self._priors = working, new, job, job.group("priors")
        self._drift: np.ndarray | None = None
        self.notes: tuple[str, ...] = ()  # what was detected, if anything

    def learn(self) -> None:
        """Learn the events."""
        working, priors, loss = self._working, self._priors, self._job.objective.loss
        events = Plan.single(self._new, len(working.rows["users"]), self._job.recipe.order).events
        sums = runner("learn beliefs")(
            working.shape,
            tuple(working.now[side] for side in SIDES),
            tuple(priors.rows[side] for side in SIDES),
            events.weighed().contiguous(),
            tuple(working.movable[side] for side in SIDES),
            Pass(float(working.mean), float(priors.noise), priors.rates, _noted(loss), loss),
        )
        if loss.learns_noise and watched_by(self._job.recipe) and np.isfinite(sums).all():
            self._drift, self.notes = watched(priors, sums)

    def moves(self) -> dict[str, Any]:
        """The move of the rates, and of what is known about them."""
        return {} if self._drift is None else {"priors": self._priors.move({"drift": self._drift})}


def _noted(loss: Any) -> tuple[float, float]:
    """1 for users and for items if their rows learn factors of the noise, else 0."""
    return _NOISE_DIFFERS if loss.learns_noise else (0.0, 0.0)


def _evidence(loss: Any) -> tuple[float, float]:
    """The events that the priors of factors of the noise of users and items are worth, 0 for those that are held."""
    users, items = _noted(loss)
    return users * NOISE_EVENTS, items * NOISE_EVENTS


def _solve_users(working: WorkingSet, new: Events, job: UpdateJob) -> None:
    """Solve the rows of users from these events alone, against the prior."""
    hyper, users = Hyper.of(job.state), working.movable["users"]
    order, starts = order_by(new.users, users)
    columns = starts, *(getattr(new, name)[order] for name in ("items", "values", "weights"))
    tables = working.now["users"], working.now["items"]
    numbers, loss = (working.mean, hyper.noise, 0.0), job.objective.loss
    for _ in range(1 if hasattr(loss, "quadratic") else _SOLVES):
        runner("solve beliefs")(working.shape, tables, columns, hyper.prior("users"), numbers, loss, 1)


class _Fit:
    """The sweeps of a fit."""

    def __init__(self, job: FitJob) -> None:
        self._job, self._swept, self._steady = job, 0, False
        ones = np.empty(job.kept.users.size, np.float32)  # the same for both sides
        self._columns = {side: sorted_columns(side, job.state, job.kept, ones) for side in SIDES}
        self._bare = {side: _of_no_weight(starts, weights) for side, (starts, _, _, weights) in self._columns.items()}
        priors = priors_of(job.state)
        self._held = 2 if priors.values["spread"][0] else 0  # sweeps before hyper-parameters are learned
        if self._held:
            self._hyper = Hyper.initial(job.state, job.kept.values, job.objective.loss, fits=True)
            self._hyper.widen()
        else:
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
                (job.working.mean, hyper.noise, self._evidence(side)),
                job.objective.loss,
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
        return float(found.loss)

    def _evidence(self, side: str) -> float:
        """The events that the prior of factors of the noise is worth; 0 while they are held."""
        return _evidence(self._job.objective.loss)[SIDES.index(side)] if self._swept >= self._held else 0.0

    def _learn(self, hyper: Hyper, sums: dict[str, Any], tables: dict[str, Any]) -> None:
        """Learn the noise from the second sweep on, and then the priors, whose coordinates the rows are brought to."""
        if self._swept >= self._held - 1 and self._job.objective.loss.learns_noise:
            hyper.learn_noise(sums["items"])
        if self._swept >= self._held:
            before, shape = hyper.signal, self._job.working.shape
            for side, form in hyper.learn_priors(sums).items():
                runner("turn beliefs")(shape, tables[side], *form)
            self._steady = abs(hyper.signal - before) <= _STEADY * before + _SLIGHT * hyper.noise

    def settled(self) -> bool:
        """Whether another sweep would change little."""
        return self._swept >= _FEWEST and self._steady


def _of_no_weight(starts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rows without events, or whose events all have weight 0."""
    if weights.size and weights.min() > 0:
        return np.flatnonzero(np.diff(starts) == 0)
    summed = np.concatenate([[0.0], np.cumsum(weights > 0)])
    return np.flatnonzero(np.diff(summed[starts]) == 0)
