"""The beginning of a fit: the ids and the history of a new state, and the features of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmf.errors import DataError, brief
from fastmf.gate import Gate
from fastmf.interactions import Interactions
from fastmf.interactions.features import Features
from fastmf.kernels.core.launch import parallel_map
from fastmf.learners.decay import numbered, require_history_times
from fastmf.learners.mapped import add_features
from fastmf.log.events import SIDES
from fastmf.state import State

__all__ = ["again", "arriving", "begun"]


def arriving(given: Any, mapped: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Check what has become known of users and items, and return it as tuples of views, by side.

    Raises
    ------
    DataError
        If these are no Features.
    ValueError
        If the rows of a side have no map that reads them.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(f'features must be a dict such as {{"items": fastmf.Features(...)}}, got {brief(given)}')
    found = {}
    for side, views in given.items():
        if side not in mapped:
            raise ValueError(f"features of {brief(side)} are given, but this model has no priors.Map for them")
        found[side] = views if isinstance(views, tuple) else (views,)
        for view in found[side]:
            if not isinstance(view, Features):
                raise DataError(f"features of {side} must be fastmf.Features or a tuple of them, got {brief(view)}")
    return found


def begun(state: State, events: Interactions, mapped: Mapping[str, Any], threads: int) -> State:
    """Fill an empty state with the ids of events, those that have features, and the events as its history."""
    state.history.make_room(0, 0, len(events))
    rows = parallel_map(lambda side: _start_rows(state, side, getattr(events, side)), SIDES, threads)
    for side, prior in mapped.items():
        add_features(state, side, prior.views)
    state.history.build(numbered(events, *rows), state.users.count, state.items.count)
    state.see(events.values)
    state.range[2] = float(events.dated)
    return state


def _start_rows(state: State, side: str, ids: np.ndarray) -> np.ndarray:
    """Add the first ids of a side to an empty group; the rows of the events are written to the history's own column."""
    group = state.side(side)
    staged = group.ids.stage(ids, side, state.history.room(side, len(ids)))
    group.start(staged.fresh)
    return staged.rows


def again(model: Any, old: State, warm: bool, timed: bool) -> State:
    """Make a new state with the history of the present one, and with its rows if `warm`."""
    log, known = old.history.events, old.history
    if not log.users.size:
        raise DataError("events: the model has no history to learn from; fit with events")
    if timed:
        require_history_times(known)
    if warm:
        present = old.copy(Gate(model._lock))
        present.rename()
        return present
    state: State = model._begin(log.values, fits=True)
    for side in SIDES:
        state.side(side).start(old.side(side).ids.values)
    for name, group in old.groups.items():
        if not getattr(group, "trains", True):  # what is known of users and items, and no fit learns
            state.groups[name].load(group.arrays())
    state.history.require_room(log.users.size)
    state.history.build(log, old.users.count, old.items.count, known.untimed or 0, known.unweighted or 0)
    state.see(log.values)
    state.range[2] = old.range[2]
    if state.live is not None:  # what users take lately is known as before
        state.groups["popularity"] = old.groups["popularity"].copy()
    return state
