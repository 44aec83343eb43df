"""The making of one update: a Delta, and nothing else changes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Delta, Move
from fastmf.engine import WorkingSet
from fastmf.errors import DataError
from fastmf.interactions import Interactions, columns
from fastmf.kernels.rows.grouping import localize, order_by
from fastmf.learners import sampled
from fastmf.learners.alternating import System
from fastmf.learners.batch import decayed, mean_loss, newest, numbered, require_steps, require_times, total_weight
from fastmf.learners.past import Named, Reading, touch
from fastmf.log.history import Events
from fastmf.parameters.ids import Staged
from fastmf.parameters.table import SIDES
from fastmf.plan import PARALLEL_FROM, Plan, most_in_flight
from fastmf.protocols import Objective
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["learn_batch", "make_delta"]


_SEVERAL_FROM = 1 << 12  # events: below, having several in flight saves less time than a call takes


class Learned(NamedTuple):
    """What training on a batch came to: the rows that moved, and the mean loss of its events before and after."""

    moves: dict[str, Move]
    loss_before: float
    loss_after: float


def make_delta(state: State, batch: Interactions, recipe: Update, objective: Objective, threads: int = 1) -> Delta:
    """Train on a batch as the recipe says; the state stays as it is until the Delta is committed."""
    began = time.perf_counter()
    if recipe.half_life is not None:
        require_times(batch, state.history if recipe.history_epochs or objective.closed_form else None)
    staged = {side: state.ids[side].stage(getattr(batch, side), side) for side in SIDES}
    for side in SIDES:
        state.factors.tables[side].require_room(len(state.ids[side]) + len(staged[side].fresh))
    arrived = numbered(batch, staged["users"].rows, staged["items"].rows)
    times = state.history.times_of(batch.times, len(batch))
    arrived = arrived._replace(times=times)
    learned = learn_batch(state, arrived, staged, recipe, objective, threads)
    return Delta(
        lineage=state.lineage,
        parent=state.version,
        version=state.version + 1,
        moves=learned.moves,
        new_ids={side: staged[side].fresh for side in SIDES},
        log=arrived,
        scalars=_seen(state, batch.values),
        loss_before=learned.loss_before,
        loss_after=learned.loss_after,
        seconds=time.perf_counter() - began,
        grams=state.grams.images(),
    )


def learn_batch(
    state: State, arrived: Events, staged: dict[str, Staged], recipe: Update, objective: Objective, threads: int = 1
) -> Learned:
    """Train on a batch whose ids are staged, in a working set: the state stays as it is."""
    learn = _solve if objective.closed_form else _descend
    return learn(state, arrived, staged, recipe, objective, threads)


def _descend(
    state: State, arrived: Events, staged: dict[str, Staged], recipe: Update, objective: Objective, threads: int
) -> Learned:
    """Gradient descent on a working set of the rows that the batch concerns."""
    if objective.ranks:
        return _descend_ranked(state, arrived, staged, recipe, objective)
    working, new, past = _gather(state, arrived, staged, recipe)
    fade = _fade(state, arrived, recipe)
    new, past = fade(new), None if past is None else fade(past)
    weighed = new.weighed().contiguous()
    before = working.measure(weighed, objective)
    _train_update(working, weighed, past, recipe, objective, threads)
    return _learned(working, new, before, working.measure(weighed, objective))


def _learned(working: WorkingSet, new: Events, before: float, after: float) -> Learned:
    """The moves of a working set, and the summed losses of the batch per unit of its weight."""
    weight = total_weight(new)
    return Learned(working.moves(), mean_loss(before, weight), mean_loss(after, weight))


def _fade(state: State, arrived: Events, recipe: Update) -> Callable[[Events], Events]:
    """What makes old events count less, if the recipe has them do so."""
    if recipe.half_life is None or not arrived.users.size:
        return lambda events: events
    return functools.partial(decayed, now=newest(state.history, arrived.times), half_life=recipe.half_life)


def _solve(
    state: State, arrived: Events, staged: dict[str, Staged], recipe: Update, objective: Objective, threads: int
) -> Learned:
    """Alternating least squares: each row that the batch concerns is solved from its own history."""
    require_steps(objective, recipe.rate, recipe.batch_size)
    arrived, fade, named = arrived.weighed().contiguous(), _fade(state, arrived, recipe), {}
    for side in SIDES:
        rows, local = localize(getattr(arrived, side), state.factors.tables[side].marks)
        named[side] = Named(*_movable_first(rows, local, len(rows), side, state, staged, recipe))
    check = functools.partial(_require_labels, loss=recipe.loss, advice="") if recipe.loss is not None else None
    touched = touch(state, arrived, named, Reading(objective, fade, recipe.half_life is not None, check), threads)
    system = System.of(state, touched, objective, threads)
    new = fade(arrived)._replace(users=named["users"].local, items=named["items"].local)
    before = system.working.measure(new, objective)
    system.solve(recipe.epochs, objective, threads)
    after = system.working.measure(new, objective)
    return _learned(system.working, new, before, after)


def _descend_ranked(
    state: State, arrived: Events, staged: dict[str, Staged], recipe: Update, objective: Objective
) -> Learned:
    """The same for a loss that compares events with negatives, and takes their values as weights."""
    sampled.require_single_steps(recipe.batch_size, objective.loss)
    working, new, past = _gather(state, sampled.as_positives(arrived), staged, recipe)
    rows = arrived.items, len(state.ids["items"]) + len(staged["items"].fresh)
    fade = _fade(state, arrived, recipe)
    new, past = fade(new), None if past is None else sampled.as_positives(fade(past))
    if recipe.rate is not None:
        objective = objective.at_rate(recipe.rate)
    before, after = sampled.train_update(state, working, rows, new, past, recipe, objective)
    return _learned(working, new, before, after)


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
            _require_labels(past.values, recipe.loss)
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


def _require_labels(values: np.ndarray, loss: Any, advice: str = "; try history_epochs=0") -> None:
    """The labels of the history are in the domain of the model's loss, and need not be in that of another."""
    try:
        loss.check(values)
    except DataError as error:
        raise DataError(f"the history of the users does not suit this loss{advice} ({error})") from error


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
        objective = objective.at_rate(recipe.rate)
    users, items = (len(working.rows[side]) for side in SIDES)
    by_event = recipe.order == "user" and recipe.batch_size == 1
    if by_event and new.users.size >= PARALLEL_FROM:  # as large as a fit: in blocks, as a fit is
        plan = Plan.whole(new, order_by(new.users, users), items, working.shape, 0, threads)
    else:
        several = by_event and new.users.size >= _SEVERAL_FROM
        plan = Plan.single(new, users, recipe.order, most_in_flight(working.shape, users, items) if several else 1)
    _passes(working, plan, recipe.epochs, objective, working.movable, recipe.batch_size, threads)
    if past is not None:
        plan = plan.after(past)
        objective = objective.at_rate(float(objective.solver.rate) * recipe.history_rate)
        frozen_items = {**working.movable, "items": 0}
        _passes(working, plan, recipe.history_epochs, objective, frozen_items, recipe.batch_size)


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
