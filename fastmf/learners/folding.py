"""Folding in: rows of visitors who are not known, and whom nobody will know afterwards."""

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
    """The rows that visitors 0, 1, ... would have after their events, each as if alone; the state stays as it is.

    `session` has visitors in place of user rows. A visitor without events has a row of zeros. What visitors do makes no
    item more popular, not even for themselves.
    """
    table = state.users.table
    factors = aligned(visitors, table.shape.width)
    factors[:] = 0
    found = Image((factors, *(np.zeros((visitors, width), np.float32) for width in table.layout.widths[1:])))
    if not session.users.size:
        return found
    if not learner.draws:
        _visit(state, session, visitors, learner, objective, found)
        return found
    order, starts = order_by(session.users, visitors)
    for visitor in np.flatnonzero(np.diff(starts)).tolist():  # what is drawn must not depend on who else is there
        own = session.take(order[starts[visitor] : starts[visitor + 1]])
        alone = own._replace(users=np.zeros_like(own.users))
        _visit(state, alone, 1, learner, objective, Image(part[visitor : visitor + 1] for part in found))
    return found


def _visit(state: State, session: Events, visitors: int, learner: Learner, objective: Any, found: Image) -> None:
    """Write the rows of visitors; all start alike, as the next new user would."""
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
