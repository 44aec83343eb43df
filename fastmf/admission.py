"""Admission: checks of a Delta from outside, before it is applied or rolled back."""

from __future__ import annotations

import numpy as np

from fastmf.delta import Delta
from fastmf.errors import StaleDelta
from fastmf.log.events import SIDES
from fastmf.state import CHANGING, State

__all__ = ["check", "inverse_of"]


def check(state: State, delta: Delta) -> None:
    """Raise StaleDelta unless a Delta from outside starts from this state, ValueError if it does not fit its tables."""
    if not isinstance(delta, Delta):
        raise TypeError(f"expected a Delta, got {type(delta).__name__}")
    if delta.lineage != state.lineage:
        raise StaleDelta(f"the Delta belongs to model {str(delta.lineage)[:8]}, this is {state.lineage[:8]}")
    if delta.parent != state.head or delta.parent_version != state.version:
        raise StaleDelta(
            f"the Delta starts from version {delta.parent_version} ({str(delta.parent)[:8]}), "
            f"the model is at version {state.version} ({state.head[:8]})"
        )
    if state.unflushed:
        raise StaleDelta(f"the model has learned single events since version {state.version}: flush or roll back")
    _require(state, delta)


def _require(state: State, delta: Delta) -> None:
    """Raise StaleDelta or ValueError unless all parts of a Delta from outside fit this state."""
    delta.require_form()
    for name in sorted({*delta.moves, *delta.new_ids} - set(state.groups)):
        raise StaleDelta(f"the Delta names the group {name!r}, which this model has not")
    for name in SIDES:
        if name not in delta.moves or name not in delta.new_ids:
            raise StaleDelta(f"the Delta says nothing of {name}")
    if set(delta.scalars) != set(CHANGING):
        raise StaleDelta(f"the Delta changes {sorted(delta.scalars)}, which are not this model's {list(CHANGING)}")
    for name, ids in delta.new_ids.items():
        if delta.restores is None and not state.groups[name].lacks(ids):
            raise StaleDelta(f"new {name} of the Delta are known to this model")
    if delta.restores is not None:
        _require_newest(state, delta)
    counts = state.counts_after(delta)
    delta.log.require(*(counts[name] for name in SIDES))
    for name, move in delta.moves.items():
        state.groups[name].require(move.inverse(), counts[name])
        state.groups[name].require(move, counts[name])


def _require_newest(state: State, delta: Delta) -> None:
    """Raise StaleDelta unless the ids and events that a Delta removes are the newest."""
    for name, ids in delta.new_ids.items():
        first = state.counts[name] - len(ids)
        if first < 0 or not np.array_equal(state.groups[name].ids_from(first), ids):
            raise StaleDelta(f"the {name} that the Delta takes back are not the newest of this model")
    count = len(state.history)
    newest = state.history.between(max(count - delta.events, 0), count)
    if not all(np.array_equal(getattr(newest, name), getattr(delta.log, name)) for name in (*SIDES, "values")):
        raise StaleDelta("the events that the Delta takes back are not the newest of this model")


def inverse_of(state: State, delta: Delta) -> Delta:
    """Make the inverse of a Delta from outside; StaleDelta unless it is the newest, ValueError as for :func:`check`.

    If the trail still holds that Delta, its own copy is inverted.
    """
    if not isinstance(delta, Delta):
        raise TypeError(f"expected a Delta, got {type(delta).__name__}")
    newest = state.trail.newest
    if delta.lineage != state.lineage or delta.restores is not None or delta.reached != newest:
        told = "there is none" if newest is None else f"which is version {newest.version}"
        raise StaleDelta(f"version {delta.version} is not the newest update, {told}")
    if state.unflushed:
        raise StaleDelta(f"version {delta.version} is not the newest change: single events came after it")
    delta.require_form()
    inverse = delta.inverse(state.head, state.next_version)
    _require(state, inverse)
    kept = state.trail.last
    return inverse if kept is None else kept.inverse(state.head, state.next_version)
