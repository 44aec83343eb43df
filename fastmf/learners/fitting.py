"""Fitting a model from scratch: the training loop, validation, early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmf.console import progress_bar
from fastmf.errors import DivergenceError, brief, require_count, require_flag, require_number
from fastmf.learners.decay import clock, decayed, half_life_in, mean_loss, total_weight
from fastmf.learners.job import FitJob, Learner
from fastmf.learners.nonsense import judge_fit
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.parameters.moves import Image
from fastmf.recipes import HalfLife, require_half_life
from fastmf.state import State

__all__ = ["Schedule", "train"]

_PATIENCE = 2  # epochs without improvement on the held-out events before training stops


class Schedule(NamedTuple):
    """How long a fit trains, and how it reports.

    Parameters
    ----------
    epochs : int
        Maximum number of passes.
    validation : float
        Share of the events, in [0, 1), held out at random. Training stops once their loss has not improved for two
        epochs, and the rows of the best epoch are kept. 0 disables early stopping.
    batch_size : int
        As in Update.
    progress : bool, optional
        Show a progress bar; by default if standard error is a terminal.
    callbacks : sequence of callables
        Each is called after every epoch with that epoch's record.
    half_life : float or timedelta, optional
        As in Update.
    """

    epochs: int
    validation: float = 0.0
    batch_size: int = 1
    progress: bool | None = None
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = ()
    half_life: HalfLife | None = None

    def checked(self) -> Schedule:
        """The schedule in plain numbers; ValueError for one that makes no sense."""
        epochs, batch_size = require_count("epochs", self.epochs, 0), require_count("batch_size", self.batch_size, 1)
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
        One record per epoch: "epoch", "loss", "validation" (losses per unit of weight) and "seconds".

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
    kept, held = _hold_out(learner.weighed(events), schedule.validation, state.seed)
    job = FitJob(state, working, kept, held, objective, schedule.batch_size, threads, deterministic)
    run = learner.fit(job)
    best = _Best(working, run.further) if held.users.size else None
    weight, held_weight = total_weight(kept), total_weight(held)
    records: list[dict[str, Any]] = []
    with _bar(schedule) as bar:
        for epoch in range(schedule.epochs):
            began = time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore"):  # told by a DivergenceError
                loss = mean_loss(run.learn(epoch), weight)
            record: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, "validation": None}
            if best is not None:
                record["validation"] = mean_loss(run.measure(), held_weight)
            record["seconds"] = time.perf_counter() - began
            records.append(record)
            _require_finite(record)
            bar.set_postfix(loss=record["validation"] or record["loss"])
            bar.update()
            for callback in schedule.callbacks:
                callback(record)
            if (best is not None and best.settled(record["validation"])) or run.settled():
                break
    if best is not None:
        best.restore()
    _store(state, working)
    learner.finish(state, objective, threads)
    return records


class _Best:
    """Early stopping: keeps a copy of the rows, and of `further`, of the epoch with the smallest held-out loss."""

    def __init__(self, working: WorkingSet, further: tuple[np.ndarray, ...]) -> None:
        self._working, self._further = working, further
        self._loss, self._waited = np.inf, 0
        self._rows: dict[str, Image] = {}
        self._kept: list[np.ndarray] = []

    def settled(self, loss: float) -> bool:
        """Record the held-out loss of an epoch; returns whether to stop."""
        if loss < self._loss:
            self._loss, self._waited = loss, 0
            self._rows = {side: rows.copy() for side, rows in self._working.now.items()}
            self._kept = [array.copy() for array in self._further]
        else:
            self._waited += 1
        return self._waited >= _PATIENCE

    def restore(self) -> None:
        for side, rows in self._rows.items():
            for now, best in zip(self._working.now[side], rows, strict=True):
                now[:] = best
        for array, kept in zip(self._further, self._kept, strict=False):  # nothing is kept where no loss is a number
            array[:] = kept


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


def _bar(schedule: Schedule) -> Any:
    return progress_bar(schedule.progress, total=schedule.epochs, desc="fit", unit="epoch")
