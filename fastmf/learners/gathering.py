"""Gathering: the rows that a batch names or reads, those that may move first."""

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
    """The rows of a group that a batch names, those that may move first; the place of each event's row among them."""

    rows: np.ndarray
    local: np.ndarray
    movable: int


def named_rows(job: UpdateJob, name: str, rows: np.ndarray, count: int) -> Named:
    """The distinct ones of `rows`, of which the first `count` are those that the batch names: only they may move."""
    group = job.state.side(name)
    marks = job.state.scratch.take(group.table.capacity)
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
    """Which rows the recipe lets move."""
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
    """Raise ValueError where `trainable` names groups that the state has not, or ids of one that has none."""
    if not isinstance(trainable, Mapping):
        return
    unknown = sorted(set(trainable) - set(state.groups))
    if unknown:
        raise ValueError(f"Update.trainable names {unknown}; the groups are {list(state.groups)}")
    for name, chosen in trainable.items():
        if not isinstance(chosen, bool) and not isinstance(state.groups[name], RowGroup):
            raise ValueError(f"Update.trainable[{name!r}] must be True or False, got {chosen!r}: the group has no ids")


def gather(job: UpdateJob, arrived: Events) -> tuple[WorkingSet, Events, Events | None]:
    """The working set of a batch; the new events and the touched users' past events in its row numbers."""
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
    """The labels of the history are in the domain of the model's loss, and need not be in that of another."""
    try:
        loss.check(values)
    except DataError as error:
        raise DataError(f"the history of the users does not suit this loss{advice} ({error})") from error
