"""Folding in: rows of visitors who are not known, and whom nobody will know afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.learners.job import Learner, UpdateJob
from fastmf.learners.updating import learn_batch, resolved
from fastmf.log.events import Events
from fastmf.memory import aligned
from fastmf.parameters.ids import Staged
from fastmf.parameters.moves import Image
from fastmf.state import State

__all__ = ["visit"]


def visit(state: State, session: Events, visitors: int, learner: Learner, objective: Any) -> Image:
    """The rows that visitors 0, 1, ... would have after their events; the state stays as it is.

    `session` has visitors in place of user rows. A visitor without events has a row of zeros.
    """
    table, known = state.users.table, state.users.count
    factors = aligned(visitors, table.shape.width)
    factors[:] = 0
    found = Image((factors, *(np.zeros((visitors, width), np.float32) for width in table.layout.widths[1:])))
    if not session.users.size:
        return found
    table.require_room(known + visitors)
    objective, recipe = learner.visit(objective)
    arrived = session._replace(users=(known + session.users).astype(np.int32))
    staged = {"users": Staged(arrived.users, np.arange(visitors)), "items": Staged(arrived.items, np.arange(0))}
    job = UpdateJob(state, arrived, staged, resolved(recipe, learner, objective), objective)
    move = learn_batch(job, learner).moves["users"]
    for part, after in zip(found, move.after, strict=True):
        part[move.rows - known] = after
    return found
