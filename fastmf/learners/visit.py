"""Rows of visitors who are not known, and whom nobody will know afterwards."""

from __future__ import annotations

import numpy as np

from fastmf.learners.update import learn_batch
from fastmf.log.history import Events
from fastmf.memory import aligned
from fastmf.parameters.ids import Staged
from fastmf.parameters.table import Rows
from fastmf.protocols import Objective
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["visit"]

_STEPS = Update(epochs=10, history_epochs=0, trainable="users")
_SOLVED = Update(epochs=1, trainable="users")


def visit(state: State, session: Events, visitors: int, objective: Objective) -> Rows:
    """The rows that visitors 0, 1, ... would have after their events; the state stays as it is.

    `session` has visitors in place of user rows. A visitor without events has a row of zeros.
    """
    table, known = state.factors.users, len(state.ids["users"])
    found = Rows(aligned(visitors, table.shape.width), np.zeros((visitors, table.records.shape[1]), np.float32))
    found.factors[:] = 0
    if not session.users.size:
        return found
    table.require_room(known + visitors)
    if objective.closed_form:
        objective = objective._replace(solver=objective.solver._replace(method="cholesky"))
    arrived = session._replace(users=(known + session.users).astype(np.int32))
    staged = {"users": Staged(arrived.users, np.arange(visitors)), "items": Staged(arrived.items, np.arange(0))}
    recipe = _SOLVED if objective.closed_form else _STEPS
    move = learn_batch(state, arrived, staged, recipe, objective).moves["users"]
    found.factors[move.rows - known] = move.after.factors
    found.records[move.rows - known] = move.after.records
    return found
