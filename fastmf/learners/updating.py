"""Making a Delta: training on a batch without changing the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from fastmf.delta import Delta, new_identity
from fastmf.interactions import Interactions
from fastmf.learners.choice import chosen
from fastmf.learners.decay import half_life_in, mean_loss, numbered, require_times, total_weight
from fastmf.learners.gathering import require_groups
from fastmf.learners.job import Learner, UpdateJob
from fastmf.learners.mapped import staged_with
from fastmf.learners.nonsense import judge_batch, judge_fading, judge_losses
from fastmf.log.events import SIDES, Events
from fastmf.parameters.moves import DenseMove, Move
from fastmf.recipes import Preset, Update
from fastmf.state import Pending, State

__all__ = ["Arrived", "learn_batch", "make_delta", "resolved", "suited"]


_FIELDS = tuple(field.name for field in fields(Update))


class Arrived(NamedTuple):
    """What an update learns from: new events, and what has become known of users and of items, as views by side."""

    events: Interactions
    features: Mapping[str, tuple[Any, ...]] = MappingProxyType({})


class _Learned(NamedTuple):
    """The result of training on a batch: moved rows, the mean loss of its events before and after, and notes."""

    moves: dict[str, Move | DenseMove]
    loss_before: float
    loss_after: float
    notes: tuple[str, ...]


def suited(recipe: Update, learner: Learner) -> Update:
    """A preset without the fields that the learner does not have; any other recipe as it is."""
    return recipe.of(name for name in _FIELDS if _has(learner, name)) if isinstance(recipe, Preset) else recipe


def resolved(recipe: Update, learner: Learner, objective: Any) -> Update:
    """A recipe with the learner's defaults for unset fields; ValueError for a field that does not apply to it."""
    if all(getattr(recipe, name) is None for name in _FIELDS):
        return learner.defaults
    defaults = {}
    for field in fields(recipe):
        given, default = getattr(recipe, field.name), getattr(learner.defaults, field.name)
        if given is None:
            defaults[field.name] = default
        elif not _has(learner, field.name):
            raise ValueError(f"Update.{field.name} means nothing to {type(objective.solver).__name__}: {learner.why}")
    return replace(recipe, **defaults)


def _has(learner: Learner, name: str) -> bool:
    """Whether a field of a recipe means something to a learner."""
    return getattr(learner.defaults, name) is not None or name in learner.further


def make_delta(
    state: State,
    given: Arrived,
    recipe: Update,
    learner: Learner,
    objective: Any,
    threads: int = 1,
    flush: Pending | None = None,
) -> Delta:
    """Train on a batch and return the change as a Delta; the state changes only when the Delta is committed.

    Parameters
    ----------
    state : State
    given : Arrived
    recipe : Update
    learner : Learner
    objective : Objective
    threads : int
    flush : Pending, optional
        Single events that will be flushed before the change.

    Returns
    -------
    Delta

    Raises
    ------
    DataError, ValueError
        If the batch or the recipe does not suit the model.
    DivergenceError
        If a trained row is not finite.
    """
    began, (batch, features) = time.perf_counter(), given
    recipe = resolved(recipe, learner, objective)
    require_groups(recipe.trainable, state)
    if recipe.half_life is not None:
        require_times(batch, state.history if learner.reads_history(recipe) else None)
    if state.live is not None:  # single events, which questions could not count while this goes on
        state.live.catch_up(state, start=False)
    dated = _dated(state, batch)
    both = {side: staged_with(state, side, getattr(batch, side), features.get(side, ())) for side in SIDES}
    staged, known = {side: one for side, (one, _) in both.items()}, {side: move for side, (_, move) in both.items()}
    new = {side: len(staged[side].fresh) for side in SIDES}
    objective = objective.at_size(
        len(state.history) + len(batch), *(state.side(side).count + new[side] for side in SIDES)
    )
    state.make_room(new, len(batch))  # before training, which reads the history of new rows too
    arrived = numbered(batch, staged["users"].rows, staged["items"].rows)
    arrived = arrived._replace(times=state.history.times_of(batch.times, len(batch))).copy()
    judge_batch(state, batch, objective)
    half_life = half_life_in(recipe.half_life, dated) if len(batch) else None
    if half_life is not None:
        recipe = replace(recipe, half_life=half_life)
        judge_fading(state, batch, half_life, dated, learner.reads_history(recipe))
    moved = {side: move for side, move in known.items() if move is not None}
    flushed = {} if flush is None else state.dense_after(flush.delta)
    job = UpdateJob(state, arrived, staged, recipe, objective, threads, features=moved, flushed=flushed)
    learned = learn_batch(job, learner)
    judge_losses(learned.loss_before, learned.loss_after, state, batch, objective)
    image = state.grams.image()
    return Delta(
        lineage=state.lineage,
        parent=state.head if flush is None else flush.delta.head,
        head=new_identity(),
        parent_version=state.next_version - 1,
        version=state.next_version,
        moves=learned.moves,
        new_ids={side: staged[side].fresh for side in staged},
        log=arrived,
        scalars=_seen(state, arrived, dated),
        loss_before=learned.loss_before,
        loss_after=learned.loss_after,
        seconds=time.perf_counter() - began,
        notes=learned.notes,
        images={} if image is None else {"grams": image},
    )


def learn_batch(job: UpdateJob, learner: Learner) -> _Learned:
    """Train on a batch with staged ids, in a working set; the state is not changed."""
    served, told = chosen(job)
    training = learner.update(job)
    before = training.measure()
    training.learn()
    after, weight = training.measure(), total_weight(training.new)
    moves = training.working.moves() | training.further() | served
    return _Learned(moves, mean_loss(before, weight), mean_loss(after, weight), training.notes() + told)


def _dated(state: State, batch: Interactions) -> bool:
    """Whether times are those of dates, including the batch: the first times of a model decide."""
    return state.dated if state.history.untimed is not None else batch.dated and len(batch) > 0


def _seen(state: State, log: Events, dated: bool) -> dict[str, tuple[float, float]]:
    """The (before, after) values of the state's scalars that an update may change."""
    before, values = state.scalars, log.values
    after = before | {"dated": float(dated)}
    if values.size:
        after |= {"low": min(before["low"], float(values.min())), "high": max(before["high"], float(values.max()))}
    return {name: (before[name], after[name]) for name in before}
