"""Training: a fit from zero, epoch by epoch, and the making of one update."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta
from fastmf.engine import Objective, WorkingSet
from fastmf.errors import DataError, DivergenceError, require_integer, require_number
from fastmf.factors import SIDES, Rows
from fastmf.history import Events
from fastmf.ids import Staged
from fastmf.interactions import Interactions, columns
from fastmf.kernels.grouping import localize, order_by
from fastmf.plan import PARALLEL_FROM, Plan
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Schedule", "make_delta", "numbered", "train"]

_PATIENCE = 2  # epochs without improvement on the held-out events before training stops


def numbered(batch: Interactions, users: np.ndarray, items: np.ndarray) -> Events:
    """A batch with row numbers in place of ids, and a weight of 1 where it has none."""
    weights = np.broadcast_to(np.float32(1), len(batch)) if batch.weights is None else batch.weights
    return Events(users, items, batch.values, weights, batch.times)


# --- fit ------------------------------------------------------------------------------------------------------------


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
    """

    epochs: int
    validation: float = 0.0
    batch_size: int = 1
    progress: bool | None = None
    callbacks: Sequence[Callable[[dict[str, Any]], None]] = ()

    def check(self) -> None:
        """Raise ValueError for a schedule that makes no sense."""
        require_integer("epochs", self.epochs, 0)
        require_integer("batch_size", self.batch_size, 1)
        require_number("validation", self.validation)
        if self.validation >= 1.0:
            raise ValueError(f"validation must be a share in [0, 1), got {self.validation!r}")
        if not isinstance(self.callbacks, Sequence) or not all(callable(one) for one in self.callbacks):
            raise ValueError(f"callbacks must be a list of callables, got {self.callbacks!r}")


def train(state: State, objective: Objective, schedule: Schedule, threads: int) -> list[dict[str, Any]]:
    """Train all rows of a state that nobody else sees on its whole history; returns a record per epoch."""
    working = WorkingSet.over(state.factors)
    kept, held = _hold_out(state.history.events, schedule.validation, state.factors.seed)
    plan = _plan(state, kept, threads)
    best = _Best(working) if held.users.size else None
    records: list[dict[str, Any]] = []
    with _bar(schedule) as bar:
        for epoch in range(schedule.epochs):
            began = time.perf_counter()
            order = plan.block_order(state.factors.seed, epoch)
            if schedule.batch_size == 1:
                lost = working.run(plan, objective, working.movable, order, threads)
            else:
                lost = working.run_batches(plan.events, objective, working.movable, schedule.batch_size)
            record: dict[str, Any] = {"epoch": epoch + 1, "loss": _mean(lost, kept), "validation": None}
            if best is not None:
                record["validation"] = _mean(working.measure(held, objective), held)
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
    return records


def _plan(state: State, events: Events, threads: int) -> Plan:
    users, items = state.counts
    whole = events.users.size == len(state.history)
    by_user = state.history.sorted_by("users", users) if whole else order_by(events.users, users)
    return Plan.whole(events, by_user, items, state.factors.shape, state.factors.seed, threads)


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
    return events.take(np.sort(order[count:])), events.take(np.sort(order[:count]))


def _require_finite(record: dict[str, Any]) -> None:
    if not np.isfinite(record["loss"]):
        raise DivergenceError(f"the loss of epoch {record['epoch']} is {record['loss']}; try a smaller rate")


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


def _mean(lost: float, events: Events) -> float:
    total = float(events.weights.sum(dtype=np.float64))
    return lost / total if total else 0.0


# --- update ---------------------------------------------------------------------------------------------------------


def make_delta(state: State, batch: Interactions, recipe: Update, objective: Objective, threads: int = 1) -> Delta:
    """Train on a batch as the recipe says; the state stays as it is until the Delta is committed."""
    began = time.perf_counter()
    staged = {side: state.ids[side].stage(getattr(batch, side), side) for side in SIDES}
    for side in SIDES:
        state.factors.tables[side].require_room(len(state.ids[side]) + len(staged[side].fresh))
    arrived = numbered(batch, staged["users"].rows, staged["items"].rows)
    times = state.history.times_of(batch.times, len(batch))
    arrived = arrived._replace(weights=np.ascontiguousarray(arrived.weights), times=times)
    working, new, past = _gather(state, arrived, staged, recipe)
    before = working.measure(new, objective)
    _train_update(working, new, past, recipe, objective, threads)
    return Delta(
        lineage=state.lineage,
        parent=state.version,
        version=state.version + 1,
        moves=working.moves(),
        new_ids={side: staged[side].fresh for side in SIDES},
        log=arrived,
        scalars=_seen(state, batch.values),
        loss_before=_mean(before, new),
        loss_after=_mean(working.measure(new, objective), new),
        seconds=time.perf_counter() - began,
    )


def _gather(
    state: State, arrived: Events, staged: dict[str, Staged], recipe: Update
) -> tuple[WorkingSet, Events, Events | None]:
    """The working set of a batch; the new events and the touched users' past events in its row numbers."""
    tables, count = state.factors.tables, arrived.users.size
    users, local_users = localize(arrived.users, tables["users"].marks)
    users, local_users, movable_users = _movable_first(users, local_users, len(users), "users", state, staged, recipe)
    item_rows, past = arrived.items, None
    if recipe.history_epochs and movable_users:
        past, _ = state.history.of("users", users[:movable_users], recipe.max_history)
        if recipe.loss is not None:
            _require_labels(past, recipe.loss)
        item_rows = np.concatenate([arrived.items, past.items])
    items, local_items = localize(item_rows, tables["items"].marks)
    named = int(local_items[:count].max()) + 1 if count else 0
    items, local_items, movable_items = _movable_first(items, local_items, named, "items", state, staged, recipe)
    rows, movable = {"users": users, "items": items}, {"users": movable_users, "items": movable_items}
    working = WorkingSet(state.factors, rows, movable)
    new = arrived._replace(users=local_users, items=local_items[:count])
    if past is not None:
        past = past._replace(items=local_items[count:])
    return working, new, past


def _require_labels(past: Events, loss: Any) -> None:
    """The labels of the history are in the domain of the model's loss, and need not be in that of another."""
    try:
        loss.check(past.values)
    except DataError as error:
        raise DataError(f"the history of the users does not suit this loss; try history_epochs=0 ({error})") from error


def _movable_first(
    rows: np.ndarray,
    local: np.ndarray,
    named: int,
    side: str,
    state: State,
    staged: dict[str, Staged],
    recipe: Update,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Renumber so that the rows that may move come first; only the first `named` rows, those of the batch, may."""
    if recipe.trainable == "both":
        return rows, local, named
    may = np.zeros(rows.size, bool)
    may[:named] = _chosen(rows[:named], side, state, staged[side], recipe.trainable)
    order = np.argsort(~may, kind="stable")
    place = np.empty(rows.size, np.int32)
    place[order] = np.arange(rows.size, dtype=np.int32)
    return rows[order], place[local], int(may.sum())


def _chosen(
    rows: np.ndarray, side: str, state: State, staged: Staged, trainable: str | Mapping[str, Any]
) -> np.ndarray | bool:
    known = len(state.ids[side])
    if trainable == "new":
        return rows >= known
    if not isinstance(trainable, Mapping):
        return trainable == side
    if side not in trainable:
        return False
    ids = columns.ids(f"trainable {side}", trainable[side])
    state.ids[side].require_kind(ids, f"trainable {side}")
    fresh = known + np.flatnonzero(np.isin(staged.fresh, ids))
    return np.isin(rows, np.concatenate([state.ids[side].rows(ids), fresh]))


def _train_update(
    working: WorkingSet, new: Events, past: Events | None, recipe: Update, objective: Objective, threads: int
) -> None:
    if recipe.rate is not None:
        objective = _at_rate(objective, recipe.rate)
    users, items = (len(working.rows[side]) for side in SIDES)
    by_event = recipe.order == "user" and recipe.batch_size == 1
    if by_event and new.users.size >= PARALLEL_FROM:  # as large as a fit: in blocks, as a fit is
        plan = Plan.whole(new, order_by(new.users, users), items, working.shape, 0, threads)
    else:
        plan = Plan.single(new, users, recipe.order)
    _passes(working, plan, recipe.epochs, objective, working.movable, recipe.batch_size, threads)
    if past is not None:
        plan = plan.after(past)
        objective = _at_rate(objective, float(objective.solver.rate) * recipe.history_rate)
        frozen_items = {**working.movable, "items": 0}
        _passes(working, plan, recipe.history_epochs, objective, frozen_items, recipe.batch_size)


def _at_rate(objective: Objective, rate: float) -> Objective:
    return objective._replace(solver=objective.solver._replace(rate=np.float32(rate)))


def _passes(
    working: WorkingSet,
    plan: Plan,
    epochs: int,
    objective: Objective,
    movable: dict[str, int],
    batch_size: int,
    threads: int = 1,
) -> None:
    if not objective.solver.rate:  # nothing moves, and a memory that grew would slow later steps
        return
    for _ in range(epochs):
        if batch_size == 1:
            working.run(plan, objective, movable, threads=threads)
        else:
            working.run_batches(plan.events, objective, movable, batch_size)


def _seen(state: State, values: np.ndarray) -> dict[str, tuple[float, float]]:
    """The range of values seen, before and after."""
    before = state.scalars
    if not values.size:
        return {name: (number, number) for name, number in before.items()}
    after = {"low": min(before["low"], float(values.min())), "high": max(before["high"], float(values.max()))}
    return {name: (before[name], after[name]) for name in before}
