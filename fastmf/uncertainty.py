"""Ranking by beliefs: items by their scores less how unsure these are, or by scores that are drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.core.launch import launch
from fastmf.kernels.rank import uncertain
from fastmf.parameters.keys import encode
from fastmf.ranking import Pool, Ranking, answer, width_of
from fastmf.state import State

__all__ = ["COST", "Wanted", "best_by_beliefs"]

COST = 8  # of a score, in those of a mean
_PARALLEL_FROM = 1 << 21  # scores, milliseconds of work


class Wanted(NamedTuple):
    """What is wanted of lists.

    Attributes
    ----------
    k : int
        Their length.
    unseen : bool
        Whether to exclude seen items.
    threads : int
        Maximum number of threads.
    risk : float or None
        Standard deviations that are subtracted from means; None draws the scores.
    """

    k: int
    unseen: bool
    threads: int
    risk: float | None


def best_by_beliefs(state: State, loss: Any, ids: np.ndarray, pool: Pool, wanted: Wanted) -> Ranking:
    """Rank the items for users, of which unknown ones stand at the prior."""
    users = state.rows("users", ids)
    people, items = state.users.table.gather_or_unknown(users), state.items.table
    # Draws are a user's own, and others after each change: every change moves the version, or adds an event.
    moment = np.uint64(state.seed), state.version, len(state.history)
    keys = None
    if wanted.risk is None:
        keys = encode(ids).keys
        uncertain.draw_rows(items.shape.size)(moment, keys, *people)
    owners = users if wanted.unseen else np.full(users.size, -1, np.int32)
    rows = np.empty((users.size, width_of(wanted.k, items)), np.int32)
    values = np.empty(rows.shape, np.float32)
    workers = wanted.threads if users.size * pool.size >= _PARALLEL_FROM else 1
    launch(
        lambda: uncertain.rank(items.shape, False),
        lambda: uncertain.rank(items.shape, True),
        workers,
        tuple(people),
        tuple(items.parts),
        -float(wanted.risk or 0),
        moment,
        keys,
        *pool,
        state.history.past("users"),
        owners,
        workers,
        rows,
        values,
    )
    values += people.records[:, :1]
    return answer(state, loss, np.full(users.size, -1, np.int32), rows, values)
