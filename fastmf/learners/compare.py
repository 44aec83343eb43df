"""Learner of ranking losses: stochastic gradient descent on events and sampled negatives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastmf.kernels.core.rng import draw
from fastmf.kernels.rows.grouping import order_by
from fastmf.learners.decay import fade_of, sorted_by
from fastmf.learners.descent import Descent
from fastmf.learners.gathering import gather
from fastmf.learners.job import FitJob, Fitting, Single, Training, UpdateJob
from fastmf.learners.negatives import FEWEST, Known, Negatives, Runs, as_positives, require_single_steps
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.plan import bands_for
from fastmf.state import State

__all__ = ["Compare", "descent"]


class Compare(Descent):
    """Gradient steps on events and the negatives they are compared with; the values of events are weights."""

    draws = True

    def suits(self, objective: Any) -> bool:
        """Whether the loss compares events with negatives."""
        return bool(objective.ranks)

    def weighed(self, events: Events) -> Events:
        """The events with value times weight as weight."""
        return as_positives(events)

    def fit(self, job: FitJob) -> Fitting:
        """Passes over all events, user by user; see `descent`."""
        require_single_steps(job.batch_size, job.objective.loss)
        return descent(job)

    def update(self, job: UpdateJob) -> Training:
        """Passes over the batch, then over the history of its users."""
        objective, recipe, state = job.objective, job.recipe, job.state
        require_single_steps(recipe.batch_size, objective.loss)
        working, new, past = gather(job, as_positives(job.arrived))
        fade = fade_of(job)
        new, past = fade(new), None if past is None else as_positives(fade(past))
        if recipe.rate is not None:
            objective = objective.at_rate(recipe.rate)
        order = slice(None) if recipe.order == "arrival" else order_by(new.users, working.rows["users"].size)[0]
        runs = Runs.of(new.take(order))
        drawn = _negatives_of_batch(job, working, new)

        def measure() -> float:
            with _positions_marked(drawn, state, working.rows["items"]):
                return drawn.measure(runs, objective)

        def learn() -> None:
            if not objective.solver.rate:
                return
            with _positions_marked(drawn, state, working.rows["items"]):
                _passes(drawn, runs, past, objective, job)

        return Training(working, new, measure, learn)

    def single(self, state: State, objective: Any, ledger: np.ndarray) -> Single:
        """Functions of which `learn` raises ValueError: a single event has no negatives to be compared with."""
        name = type(objective.loss).__name__

        def learn(user: int, item: int, value: float) -> int:
            raise ValueError(f"learn_one takes no step of {name}, which needs negatives; update a batch of one event")

        return Single(learn, lambda events: 0.0)


def _negatives_of_batch(job: UpdateJob, working: WorkingSet, new: Events) -> Negatives:
    """The source of a batch's negatives, which excludes the items of its users' history and of the batch."""
    state, users = job.state, working.rows["users"]
    items, bounds = state.history.items_of(users, None if job.counted else 0)  # visitors have no history
    owners = np.repeat(np.arange(users.size, dtype=np.int32), np.diff(bounds))
    arrived, count = job.arrived.items, state.items.count + len(job.staged["items"].fresh)
    known = Known.of(np.concatenate([owners, new.users]), np.concatenate([items, arrived]), users.size)
    seed = int(draw(np.uint64(state.seed), np.uint64(state.next_version), 1))  # different draws in every update
    return Negatives(working, state.history, known, count, seed, state.items.table, arrived)


def _passes(drawn: Negatives, runs: Runs, past: Events | None, objective: Any, job: UpdateJob) -> None:
    recipe, movable = job.recipe, drawn.working.movable
    for epoch in range(recipe.epochs):
        drawn.run(runs, objective, movable, epoch)
    if past is not None:
        objective_of_past = objective.at_rate(float(objective.solver.rate) * recipe.history_rate)
        longer = Runs.of(Events.concatenate([past._replace(times=None), runs.events._replace(times=None)]))
        for epoch in range(recipe.epochs, recipe.epochs + recipe.history_epochs):
            drawn.run(longer, objective_of_past, {**movable, "items": 0}, epoch)


@contextmanager
def _positions_marked(drawn: Negatives, state: State, rows: np.ndarray) -> Iterator[None]:
    """While it lasts, ``marks[row] - 1`` is the place of an item row among `rows`."""
    marks = state.scratch.take(state.items.count, rows)
    marks[rows] = np.arange(1, rows.size + 1, dtype=np.int32)
    drawn.marks = marks
    yield
    marks[rows] = 0
    state.scratch.give(marks)


def descent(job: FitJob) -> Fitting:
    """Prepare a fit.

    In each epoch users are visited in a new random order, each with all its events; threads update item rows without
    locks (Hogwild). A deterministic fit trains block by block instead, with items assigned to bands at random in every
    epoch.
    """
    state, working, kept, held = job.state, job.working, job.kept, job.held
    objective, threads, deterministic = job.objective, job.threads, job.deterministic
    users, items, seed, history = state.users.count, state.items.count, state.seed, state.history
    by_user, starts = sorted_by("users", state, kept)
    rows = kept.users[by_user], kept.items[by_user]
    runs = Runs(Events(*rows, kept.values[:0], kept.weighed().contiguous().take(by_user).weights), starts)
    known = Known(starts, runs.events.items)
    drawn = Negatives(working, history, known, items, seed)

    def race(epoch: int) -> float:
        order = np.random.default_rng([seed, epoch]).permutation(users)
        return drawn.run(runs, objective, working.movable, epoch, order, 1 if deterministic else threads)

    bands = 1
    if deterministic and objective.sampler.source != "every":  # Softmax steps the rows of all bands
        bands = min(bands_for(kept.users.size, items, working.shape), items // FEWEST)
    learn = race if bands <= 1 else drawn.in_bands(runs.events, starts, bands, objective, threads)

    if not held.users.size:
        return Fitting(learn, lambda: 0.0)
    all_known = Known.of(history.events.users, history.events.items, users)
    judged = Runs.of(held.take(order_by(held.users, users)[0]))
    judge = Negatives(working, history, all_known, items, seed)
    return Fitting(learn, lambda: judge.measure(judged, objective))
