"""Rows that are drawn to the mean of their side: the means of a state, and how they follow the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastmf.equations import Drawn
from fastmf.learners.job import UpdateJob
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES
from fastmf.parameters.means import Means, Moved
from fastmf.parameters.moves import DenseMove, Move
from fastmf.state import State

__all__ = ["drawn_of", "means_followed", "means_moved", "means_of"]


def means_of(state: State) -> Means | None:
    """The means of a state, if rows are drawn to them."""
    found = state.groups.get("priors")
    return found if isinstance(found, Means) else None


def drawn_of(state: State, side: str) -> Drawn | None:
    """What the rows of a side are drawn to; None for zero."""
    means = means_of(state)
    strength = 0.0 if means is None else float(means.priors[side].strength)
    return Drawn(means.rows[side].factors, strength) if means is not None and strength else None


def means_moved(job: UpdateJob, working: WorkingSet) -> dict[str, DenseMove]:
    """How the means follow an update.

    The mean of a side moves unless ``trainable`` is a dict without ``"priors": True``, or new rows of the side may not
    move.
    """
    state, trainable = job.state, job.recipe.trainable
    means, moved, held = job.group("priors"), {}, set()
    if not isinstance(means, Means):
        return {}
    for side in SIDES:
        group, movable = state.side(side), working.movable[side]
        rows, count = working.rows[side][:movable], group.count + len(job.staged[side].fresh)
        before, after = working.before[side].factors, working.now[side].factors[:movable]
        new = np.setdiff1d(np.arange(group.count, count, dtype=np.int32), rows)
        if new.size:
            start = group.gather(new).factors
            rows, before, after = (np.concatenate(pair) for pair in ((rows, new), (before, start), (after, start)))
        if new.size or (isinstance(trainable, Mapping) and not trainable.get("priors", False)):
            held.add(side)
        moved[side] = Moved(rows, before, after, group.count, count)
    return {"priors": means.after(moved, held, state.users.table.layout.storage)}


def means_followed(
    state: State, moves: dict[str, Move], counts: dict[str, int]
) -> tuple[dict[str, DenseMove], tuple[str, ...]]:
    """How the means follow single events, which have moved rows since there were `counts`; nothing is said of it."""
    means = means_of(state)
    if means is None:
        return {}, ()
    moved = {
        side: Moved(move.rows, move.before.factors, move.after.factors, counts[side], state.side(side).count)
        for side, move in moves.items()
    }
    return {"priors": means.after(moved, set(), state.users.table.layout.storage)}, ()
