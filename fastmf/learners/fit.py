"""A fit from zero, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fastmf.engine import WorkingSet
from fastmf.errors import DivergenceError, require_integer, require_number
from fastmf.learners import sampled
from fastmf.learners.alternating import alternate
from fastmf.learners.batch import decayed, mean_loss, newest, require_steps, sorted_by, total_weight
from fastmf.log.history import Events
from fastmf.parameters.table import Rows
from fastmf.plan import Plan
from fastmf.protocols import Objective
from fastmf.state import State

__all__ = ["Schedule", "train"]

_PATIENCE = 2  # epochs without improvement on the held-out events before training stops


class Schedule(NamedTuple):
    """How long to train, and who watches.

    Parameters
    ----------
    epochs : int
        Passes at most.
    validation : float
        Share of the events held out at random; training stops when their loss has not improved for two epochs, and the
        best epoch is kept. 0 holds nothing out.
    batch_size : int
        As in Update.
    progress : bool, optional
        Show a progress bar; by default where standard error is a terminal.
    callbacks : sequence of callables
        Each is called after every epoch with that epoch's record.
    half_life : float, optional
        As in Update.
    """

    epochs: int
    validation: float = 0.0
    batch_size: int = 1
    progress: bool | None = None
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = ()
    half_life: float | None = None

    def check(self) -> None:
        """Raise ValueError for a schedule that makes no sense."""
        require_integer("epochs", self.epochs, 0)
        require_integer("batch_size", self.batch_size, 1)
        require_number("validation", self.validation)
        if self.validation >= 1.0:
            raise ValueError(f"validation must be a share in [0, 1), got {self.validation!r}")
        if self.half_life is not None:
            require_number("half_life", self.half_life, positive=True)
        if not isinstance(self.callbacks, Sequence) or not all(callable(one) for one in self.callbacks):
            raise ValueError(f"callbacks must be a list of callables, got {self.callbacks!r}")


def train(
    state: State, objective: Objective, schedule: Schedule, threads: int, deterministic: bool
) -> list[dict[str, Any]]:
    """Train all rows of a state that nobody else sees on its whole history; returns a record per epoch."""
    working = WorkingSet.over(state.factors)
    events = state.history.events
    if schedule.half_life is not None:
        events = decayed(events, newest(state.history), schedule.half_life)
    if objective.ranks:
        events = sampled.as_positives(events)
    kept, held = _hold_out(events, schedule.validation, state.factors.seed)
    learn, measure = _learner(state, working, (kept, held), objective, schedule.batch_size, threads, deterministic)
    best = _Best(working) if held.users.size else None
    weight, held_weight = total_weight(kept), total_weight(held)
    records: list[dict[str, Any]] = []
    with _bar(schedule) as bar:
        for epoch in range(schedule.epochs):
            began = time.perf_counter()
            record: dict[str, Any] = {"epoch": epoch + 1, "loss": mean_loss(learn(epoch), weight), "validation": None}
            if best is not None:
                record["validation"] = mean_loss(measure(), held_weight)
            record["seconds"] = time.perf_counter() - began
            records.append(record)
            _require_finite(record)
            bar.set_postfix(loss=record["validation"] or record["loss"])
            bar.update()
            for callback in schedule.callbacks:
                callback(record)
            if best is not None and best.settled(record["validation"]):
                break
    if best is not None:
        best.restore()
    _store(state, working)
    if objective.closed_form:
        state.gram_matrices(objective.loss, threads)  # for the updates to come
    return records


def _learner(
    state: State,
    working: WorkingSet,
    parts: tuple[Events, Events],
    objective: Objective,
    batch_size: int,
    threads: int,
    deterministic: bool,
) -> tuple[Callable[[int], float], Callable[[], float]]:
    """One epoch on the first of two parts, by its number, and the loss on the second; both return sums."""
    kept, held = parts
    if objective.ranks:
        sampled.require_single_steps(batch_size, objective.loss)
        return sampled.descent(state, working, kept, held, objective, threads, deterministic)
    if objective.closed_form:
        require_steps(objective, None, batch_size)
        learn = alternate(state, working, kept, objective, threads)
    else:
        learn = _descent(state, working, kept, objective, batch_size, threads)
    return learn, partial(working.measure, held, objective)


def _descent(
    state: State, working: WorkingSet, events: Events, objective: Objective, batch_size: int, threads: int
) -> Callable[[int], float]:
    """One epoch of gradient descent, as a function of its number that returns the summed loss."""
    seed, by_user = state.factors.seed, sorted_by("users", state, events)
    plan = Plan.whole(events, by_user, len(state.ids["items"]), state.factors.shape, seed, threads)

    def learn(epoch: int) -> float:
        if batch_size != 1:
            return working.run_batches(plan.events, objective, working.movable, batch_size)
        return working.run(plan, objective, working.movable, plan.block_order(seed, epoch), threads)

    return learn


class _Best:
    """Early stopping: remembers the rows of the epoch with the smallest loss on held-out events."""

    def __init__(self, working: WorkingSet) -> None:
        self._working = working
        self._loss, self._waited = np.inf, 0
        self._rows: dict[str, Rows] = {}

    def settled(self, loss: float) -> bool:
        """Take note of an epoch; whether it is time to stop."""
        if loss < self._loss:
            self._loss, self._waited = loss, 0
            self._rows = {side: rows.copy() for side, rows in self._working.now.items()}
        else:
            self._waited += 1
        return self._waited >= _PATIENCE

    def restore(self) -> None:
        for side, rows in self._rows.items():
            self._working.now[side].factors[:] = rows.factors
            self._working.now[side].records[:] = rows.records


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
    """Check the trained rows, and round them where the tables are half precision."""
    moves = working.moves()
    for side, move in moves.items():
        if state.factors.storage == "float16":
            state.factors.tables[side].scatter(move.rows, move.after)


def _bar(schedule: Schedule) -> Any:
    from tqdm import tqdm

    disable = None if schedule.progress is None else not schedule.progress
    return tqdm(total=schedule.epochs, desc="fit", unit="epoch", disable=disable)
