"""Selecting and gathering the rows that an update reads and those that it may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError
from fastmf.interactions import columns
from fastmf.kernels.rows.grouping import localize
from fastmf.learners.job import UpdateJob
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.parameters.groups import RowGroup
from fastmf.state import State

__all__ = ["Named", "gather", "named_rows", "require_groups", "require_labels"]


class Named(NamedTuple):
    """The distinct rows of a group that an update uses.

    Attributes
    ----------
    rows : int32 array
        Distinct rows, movable ones first.
    local : int32[events]
        The index in `rows` of each event's row.
    movable : int
        The number of rows that may be changed.
    """

    rows: np.ndarray
    local: np.ndarray
    movable: int


def named_rows(job: UpdateJob, name: str, rows: np.ndarray, count: int) -> Named:
    """The distinct rows of a group, movable ones first.

    `rows` are those of the events; only rows that occur among the first `count`, those of the batch, may be movable,
    and only those that the recipe's `trainable` selects.
    """
    group = job.state.side(name)
    marks = job.state.scratch.take(group.count, rows)
    distinct, local = localize(rows, marks)
    job.state.scratch.give(marks)
    named = int(local[:count].max()) + 1 if count else 0
    if job.recipe.trainable == "both":
        return Named(distinct, local, named)
    may = np.zeros(distinct.size, bool)
    may[:named] = _chosen(distinct[:named], name, job)
    order = np.argsort(~may, kind="stable")
    place = np.empty(distinct.size, np.int32)
    place[order] = np.arange(distinct.size, dtype=np.int32)
    return Named(distinct[order], place[local], int(may.sum()))


def _chosen(rows: np.ndarray, name: str, job: UpdateJob) -> np.ndarray | bool:
    """Which rows the recipe's `trainable` allows to change: a mask, or one bool for all."""
    group, trainable = job.state.side(name), job.recipe.trainable
    if trainable == "new":
        return rows >= group.count
    if not isinstance(trainable, Mapping):
        return bool(trainable == name)
    chosen = trainable.get(name, False)
    if isinstance(chosen, bool):
        return chosen
    ids = columns.ids(f"trainable {name}", chosen)
    group.ids.require_kind(ids, f"trainable {name}")
    fresh = group.count + np.flatnonzero(np.isin(job.staged[name].fresh, ids))
    return np.isin(rows, np.concatenate([group.ids.find(ids), fresh]))


def require_groups(trainable: Any, state: State) -> None:
    """Raise ValueError if `trainable` names groups that the state does not have, or ids of a group without ids."""
    if not isinstance(trainable, Mapping):
        return
    groups = [name for name, group in state.groups.items() if getattr(group, "trains", True)]
    unknown = sorted(set(trainable) - set(groups))
    if unknown:
        raise ValueError(f"Update.trainable names {unknown}; the groups are {groups}")
    for name, chosen in trainable.items():
        if not isinstance(chosen, bool) and not isinstance(state.groups[name], RowGroup):
            raise ValueError(f"Update.trainable[{name!r}] must be True or False, got {chosen!r}: the group has no ids")


def gather(job: UpdateJob, arrived: Events) -> tuple[WorkingSet, Events, Events | None]:
    """The working set of a batch; the new events, and the history of movable users, in its row numbers.

    Parameters
    ----------
    job : UpdateJob
    arrived : Events
        The batch, in row numbers of the model.

    Returns
    -------
    working : WorkingSet
    new : Events
    past : Events or None
        None if the recipe makes no passes over the history.
    """
    state, recipe, count = job.state, job.recipe, arrived.users.size
    users = named_rows(job, "users", arrived.users, count)
    item_rows, past = arrived.items, None
    if recipe.history_epochs and users.movable:
        newest = None if recipe.max_history == "all" else recipe.max_history
        past, _ = state.history.of("users", users.rows[: users.movable], newest)
        if recipe.loss is not None:
            require_labels(past.values, recipe.loss)
        item_rows = np.concatenate([arrived.items, past.items])
    items = named_rows(job, "items", item_rows, count)
    working = WorkingSet(
        state, {"users": users.rows, "items": items.rows}, {"users": users.movable, "items": items.movable}
    )
    new = arrived._replace(users=users.local, items=items.local[:count])
    return working, new, None if past is None else past._replace(items=items.local[count:])


def require_labels(values: np.ndarray, loss: Any, advice: str = "; try history_epochs=0") -> None:
    """Raise DataError if values of the history are outside the domain of a loss other than the model's own."""
    try:
        loss.check(values)
    except DataError as error:
        raise DataError(f"the history of the users does not suit this loss{advice} ({error})") from error
