"""Fitting a model from scratch: the training loop, validation, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmf.console import progress_bar
from fastmf.errors import DivergenceError, brief, require_count, require_flag, require_number
from fastmf.learners.decay import clock, decayed, half_life_in, mean_loss, total_weight
from fastmf.learners.job import FitJob, Fitting, Learner
from fastmf.learners.nonsense import judge_fit
from fastmf.learners.stopping import EVERY, LONGEST, Best, Patience, Watch, watched
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.recipes import HalfLife, require_half_life
from fastmf.state import State

__all__ = ["Schedule", "train"]


class Schedule(NamedTuple):
    """How long a fit trains, and how it reports.

    Parameters
    ----------
    epochs : int or None
        Maximum number of passes. None for a fit that ends by itself.
    validation : float
        Share of the events, in [0, 1), held out at random. Training stops once their loss has not improved for two
        epochs (gradient steps that end by themselves are more patient), and the rows of the best epoch are kept.
    batch_size : int
        As in Update.
    progress : bool, optional
        Show a progress bar; by default if standard error is a terminal.
    callbacks : sequence of callables
        Each is called after every epoch with that epoch's record.
    half_life : float or timedelta, optional
        As in Update.
    warm : bool
        Whether the rows have learned the events already, so that no loss tells when they have learned enough.
    """

    epochs: int | None
    validation: float = 0.0
    batch_size: int = 1
    progress: bool | None = None
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = ()
    half_life: HalfLife | None = None
    warm: bool = False

    def checked(self) -> Schedule:
        """The schedule in plain numbers; ValueError for one that makes no sense."""
        epochs = None if self.epochs is None else require_count("epochs", self.epochs, 0)
        batch_size = require_count("batch_size", self.batch_size, 1)
        require_number("validation", self.validation)
        validation = float(self.validation)
        if validation >= 1.0:
            raise ValueError(f"validation must be a share in [0, 1), got {brief(self.validation)}")
        if self.half_life is not None:
            require_half_life("half_life", self.half_life)
        if not isinstance(self.callbacks, Sequence) or not all(callable(one) for one in self.callbacks):
            raise ValueError(f"callbacks must be a list of callables, got {brief(self.callbacks)}")
        progress = self.progress if self.progress is None else require_flag("progress", self.progress)
        return self._replace(epochs=epochs, batch_size=batch_size, validation=validation, progress=progress)


def train(
    state: State, learner: Learner, objective: Any, schedule: Schedule, threads: int, deterministic: bool
) -> list[dict[str, Any]]:
    """Train all rows of a state on its whole history; no other thread may use the state meanwhile.

    Parameters
    ----------
    state : State
        Its tables are trained in place.
    learner : Learner
    objective : Objective
    schedule : Schedule
    threads : int
    deterministic : bool
        Whether results must not depend on `threads`.

    Returns
    -------
    list of dict
        One record per epoch: "epoch", "loss", "validation" (losses per unit of weight) and "seconds". Where events were
        held out to tell when to end, the last epoch is the pass over all events.

    Raises
    ------
    DivergenceError
        If the loss or a trained row is not finite.
    """
    working = WorkingSet.over(state)
    events = state.history.events
    half_life = half_life_in(schedule.half_life, state.dated)
    judge_fit(events, objective, state, half_life)
    if half_life is not None:
        events = decayed(events, clock(state.history, half_life), half_life)
    objective = objective.at_size(len(state.history), state.users.count, state.items.count)
    parts = _Parts.of(learner.weighed(events), schedule, learner, state)
    job = FitJob(
        state, working, parts.kept, parts.held, objective, schedule.batch_size, threads, deterministic, parts.free
    )
    run = learner.fit(job)
    watch = parts.watch(run, working, learner)
    most, weight = parts.most(schedule, learner), total_weight(parts.kept)
    log = _Log(schedule, [])
    with progress_bar(schedule.progress, total=most + parts.last, desc="fit", unit="epoch") as bar:
        for epoch in range(most):
            looked = log.note(bar, epoch, run, weight, watch)
            if (watch is not None and watch.over(epoch + 1, looked)) or run.settled():
                break
        if watch is not None:
            watch.best.restore()
        if parts.last:
            run = learner.fit(job._replace(kept=parts.whole, held=parts.whole.take(slice(0, 0))))
            log.note(bar, len(log.records), run, total_weight(parts.whole), None)
    _store(state, working)
    learner.finish(state, objective, threads)
    return log.records


class _Log(NamedTuple):
    """The records of the epochs of a fit, and who is told about them."""

    schedule: Schedule
    records: list[dict[str, Any]]

    def note(self, bar: Any, epoch: int, run: Fitting, weight: float, watch: Watch | None) -> float | None:
        """Train one epoch and record it; returns its loss on held-out events, if it was measured."""
        began = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # told by a DivergenceError
            loss = mean_loss(run.learn(epoch), weight)
        record: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, "validation": None}
        if watch is not None:
            record["validation"] = watch.look(epoch + 1)
        record["seconds"] = time.perf_counter() - began
        self.records.append(record)
        _require_finite(record)
        bar.set_postfix(loss=record["validation"] or record["loss"])
        bar.update()
        for callback in self.schedule.callbacks:
            callback(record)
        return record["validation"]  # type: ignore[no-any-return]


class _Parts(NamedTuple):
    """The events of a fit, those that are trained on, and those that are held out.

    Attributes
    ----------
    whole, kept, held : Events
    free : bool
        Whether the fit ends by itself.
    last : bool
        Whether the held-out events are to be learned in the end.
    """

    whole: Events
    kept: Events
    held: Events
    free: bool
    last: bool

    @classmethod
    def of(cls, events: Events, schedule: Schedule, learner: Learner, state: State) -> _Parts:
        """Hold out what the schedule says or, where that tells when to end, what :func:`watched` chooses."""
        free = schedule.epochs is None and not schedule.warm
        if not free or learner.settles or schedule.validation:
            return cls(events, *_hold_out(events, schedule.validation, state.seed), free, False)
        rows = watched(events, state.users.count, state.items.count, state.seed, learner.draws)
        if not rows.size:
            return cls(events, events, events.take(slice(0, 0)), False, False)
        others = np.ones(events.users.size, np.bool_)
        others[rows] = False
        held = events.take(rows).weighed().contiguous()
        return cls(events, events.take(np.flatnonzero(others)), held, True, True)

    def most(self, schedule: Schedule, learner: Learner) -> int:
        """The greatest number of epochs, but for the last."""
        if schedule.epochs is not None:
            return schedule.epochs
        return LONGEST if self.free and not learner.settles else learner.epochs

    def watch(self, run: Fitting, working: WorkingSet, learner: Learner) -> Watch | None:
        """What judges the held-out events; None if there are none."""
        if not self.held.users.size:
            return None
        weight, patience = total_weight(self.held), Patience() if self.free and not learner.settles else None
        best = Best(working, run.further)
        return Watch(best, lambda: mean_loss(run.measure(), weight), EVERY if self.last else 1, patience)


def _hold_out(events: Events, share: float, seed: int) -> tuple[Events, Events]:
    count = round(share * events.users.size)
    if not count:
        return events, events.take(slice(0, 0))
    if count == events.users.size:
        raise ValueError(f"validation={share} of {count} events leaves none to train on")
    order = np.random.default_rng(seed).permutation(events.users.size)
    return events.take(np.sort(order[count:])), events.take(np.sort(order[:count])).weighed().contiguous()


def _require_finite(record: dict[str, Any]) -> None:
    if not np.isfinite(record["loss"]):
        raise DivergenceError(
            f"the loss of epoch {record['epoch']} is {record['loss']}; smaller values, weights or rates may help"
        )


def _store(state: State, working: WorkingSet) -> None:
    """Check the trained rows, and round them if the tables are float16."""
    for name, move in working.moves().items():
        table = state.side(name).table
        if table.layout.storage == "float16":
            table.scatter(move.rows, move.after)
