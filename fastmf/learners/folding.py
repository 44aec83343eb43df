"""Fold-in: user rows for visitors who are not in the model, computed from their events without changing the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.kernels.rows.grouping import order_by
from fastmf.learners.job import Learner, UpdateJob
from fastmf.learners.updating import resolved
from fastmf.log.events import Events
from fastmf.memory import aligned
from fastmf.parameters.ids import Staged
from fastmf.parameters.moves import Image
from fastmf.state import State

__all__ = ["fold_in"]


def fold_in(state: State, session: Events, visitors: int, learner: Learner, objective: Any) -> Image:
    """The user rows that visitors would have after their events, each independently; the state is not changed.

    Events of visitors do not count towards item popularity.

    Parameters
    ----------
    state : State
    session : Events
        With visitor numbers 0, 1, ... in place of user rows, and item rows of the model.
    visitors : int
        Number of visitors.
    learner : Learner
    objective : Objective

    Returns
    -------
    Image
        One row per visitor; that of an unknown user for a visitor without events.

    References
    ----------
    Sarwar, Karypis, Konstan, Riedl (2002), Incremental Singular Value Decomposition Algorithms for Highly Scalable
    Recommender Systems (folding-in).
    """
    objective = objective.at_size(len(state.history), state.users.count, state.items.count)
    table = state.users.table
    factors = aligned(visitors, table.shape.width)
    factors[:] = table.unknown.factors
    found = Image((factors, *(np.repeat(part, visitors, axis=0) for part in table.unknown[1:])))
    if not session.users.size:
        return found
    if not learner.draws:
        _visit(state, session, visitors, learner, objective, found)
        return found
    order, starts = order_by(session.users, visitors)
    for visitor in np.flatnonzero(np.diff(starts)).tolist():  # random draws must not depend on other visitors
        own = session.take(order[starts[visitor] : starts[visitor + 1]])
        alone = own._replace(users=np.zeros_like(own.users))
        _visit(state, alone, 1, learner, objective, Image(part[visitor : visitor + 1] for part in found))
    return found


def _visit(state: State, session: Events, visitors: int, learner: Learner, objective: Any, found: Image) -> None:
    """Train visitors and write their rows to `found`; all start from the initial row of the next new user."""
    table, known = state.users.table, state.users.count
    table.require_room(known + visitors)
    objective, recipe = learner.for_visitors(objective)
    arrived = session._replace(users=(known + session.users).astype(np.int32))
    staged = {"users": Staged(arrived.users, np.arange(visitors)), "items": Staged(arrived.items, np.arange(0))}
    job = UpdateJob(state, arrived, staged, resolved(recipe, learner, objective), objective, counted=False)
    training = learner.update(job)
    for image in (training.working.now["users"], training.working.before["users"]):
        for part, start in zip(image, table.gather(np.full(1, known, np.int32)), strict=True):
            part[:] = start
    training.learn()
    move = training.working.moves()["users"]
    for part, after in zip(found, move.after, strict=True):
        part[move.rows - known] = after
