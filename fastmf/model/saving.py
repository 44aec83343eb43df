"""Models as files: settings as JSON, everything learned as arrays, in one safetensors file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from fastmf import files, losses, optimizers, regularizers, samplers
from fastmf.delta import Identity
from fastmf.errors import FileFormatError
from fastmf.model.options import Options
from fastmf.state import State

__all__ = ["consistent", "filled", "own_classes", "packed", "records", "settings"]

_FORMAT = 1
_VERSIONS_KEPT = 100  # of the trail: whoever kept the newest Deltas can still undo them
_VALUES: dict[str, Any] = {"loss": losses, "solver": optimizers, "regularizer": regularizers}


def packed(model: Any, state: State | None) -> bytes:
    """A model as the bytes of its file."""
    metadata: dict[str, Any] = {
        "format": _FORMAT,
        "settings": {
            "factors": model.factors,
            "biases": model.biases,
            "seed": model.seed,
            "options": model.options._asdict(),
            **{role: _described(getattr(model, role)) for role in _VALUES},
        },
        "history_": model.history_,
    }
    if state is None:
        return files.pack({}, metadata)
    metadata |= {"lineage": state.lineage, "numbers": state.metadata()}
    metadata |= state.identity_of_copy()._asdict()
    metadata["trail"] = [list(one) for one in state.states_of_copy()[-_VERSIONS_KEPT:]]
    return files.pack(state.arrays(), metadata)


def own_classes(model: Any) -> tuple[type, ...]:
    """The classes of a model's values, and of values within them, that are not fastmf's."""
    pairs = [(room, getattr(model, role)) for role, room in _VALUES.items()]
    pairs += [(samplers, field) for _, value in pairs for field in value if _is_value(field)]
    return tuple(type(value) for room, value in pairs if not _known(room, value))


def settings(metadata: dict[str, Any], classes: Sequence[type]) -> dict[str, Any]:
    """The arguments of the model that was packed; KeyError, TypeError or ValueError where there are none."""
    if metadata["format"] != _FORMAT:
        raise ValueError(f"format {metadata['format']} is not {_FORMAT}, the one that this version reads")
    found = dict(metadata["settings"])
    for role, room in _VALUES.items():
        found[role] = _revived(found[role], room, classes)
    found["options"] = Options(**found["options"])
    return found


@contextmanager
def consistent(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with what a file says into FileFormatError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{name}: not a consistent fastmf file ({error})") from error


def filled(state: State, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> State:
    """An empty state, with what was packed in it."""
    states, version = [Identity(head, number) for head, number in metadata["trail"]], metadata["version"]
    versions = [state.version for state in states]
    if not versions or not all(type(one) is int and one >= 0 for one in [*versions, version]):
        raise ValueError(f"versions {[*versions, version]} are not all numbers")
    if any(earlier >= later for earlier, later in pairwise(versions)) or versions[-1] > version:
        raise ValueError(f"versions {[*versions, version]} do not ascend")
    state.load(arrays, metadata["numbers"])
    state.lineage, state.identity = str(metadata["lineage"]), Identity(str(metadata["head"]), version)
    state.restart_trail(states)
    return state


def records(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """The epochs of the last fit; ValueError where they are no records."""
    if not isinstance(metadata["history_"], list) or not all(isinstance(one, dict) for one in metadata["history_"]):
        raise ValueError("history_ is no list of records")
    return list(metadata["history_"])


def _known(room: Any, value: Any) -> bool:
    return getattr(room, type(value).__name__, None) is type(value)


def _is_value(field: Any) -> bool:
    return isinstance(field, tuple) and hasattr(field, "_fields")


def _described(value: Any) -> dict[str, Any]:
    return {
        "class": type(value).__name__,
        "fields": {name: _described(f) if _is_value(f) else _plain(f) for name, f in value._asdict().items()},
    }


def _plain(field: Any) -> str | float:
    """Text, whole numbers and flags stay what they are."""
    if isinstance(field, (str, bool, np.bool_)):
        return field if isinstance(field, str) else bool(field)
    return int(field) if isinstance(field, (int, np.integer)) else float(field)


def _revived(described: dict[str, Any], room: Any, classes: Sequence[type]) -> Any:
    known = {name: getattr(room, name) for name in room.__all__} | {kind.__name__: kind for kind in classes}
    if described["class"] not in known:
        raise ValueError(f"it uses {described['class']!r}; pass that class to load(..., classes=[...])")
    fields = described["fields"].items()
    values = {name: _revived(f, samplers, classes) if isinstance(f, dict) else f for name, f in fields}
    return known[described["class"]](**values)
