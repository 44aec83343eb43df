"""Model files: settings as JSON and everything learned as arrays, in one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from fastmf import files, losses, optimizers, priors, regularizers, samplers
from fastmf.delta import Identity, new_identity
from fastmf.errors import DataError, FileFormatError
from fastmf.log.events import SIDES
from fastmf.model.options import Options
from fastmf.model.views import described_map, revived_map, views_in
from fastmf.objective import Objective
from fastmf.popularity import Popularity
from fastmf.state import State

__all__ = ["consistent", "converted", "filled", "own_classes", "packed", "records", "settings"]

_FORMAT = 1
_VERSIONS_KEPT = 100  # newest states of the trail that are saved, so that their Deltas can be undone after loading
_NUMBER = "__float__"  # key of a number that is not finite, which JSON cannot represent
_VALUES: dict[str, Any] = {"loss": losses, "solver": optimizers, "regularizer": regularizers}


def packed(model: Any, state: State | None) -> bytes:
    """Serialise a model to the bytes of its file.

    Raises
    ------
    FileFormatError
        If the file could not be loaded again; the message names the value that cannot be saved.
    """
    try:
        metadata, arrays = _metadata(model, state), {} if state is None else state.arrays()
        arrays = arrays | views_in(model.priors)
        _require_loadable(metadata, arrays, own_classes(model))
        return files.pack(arrays, metadata)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise FileFormatError(f"the model cannot be kept in a file that could be loaded again: {error}") from error


def _metadata(model: Any, state: State | None) -> dict[str, Any]:
    """The metadata of a file: everything that is not an array."""
    values = {role: _described(getattr(model, role), room) for role, room in _VALUES.items()}
    numbers = {name: getattr(model, name) for name in ("factors", "biases", "seed")}
    found = {
        "format": _FORMAT,
        "settings": {
            **values,
            "priors": {side: _described_prior(prior) for side, prior in model.priors.items()},
            "popularity": _plain(model.popularity._asdict(), "popularity"),
            **numbers,
            "options": _plain(model.options._asdict(), "options"),
        },
        "history_": _plain(model.history_, "history_"),
    }
    if state is not None:
        found |= {"lineage": state.lineage, "numbers": state.metadata(), **state.identity_of_copy()._asdict()}
        states = state.states_of_copy()[-_VERSIONS_KEPT:]
        found["trail"] = [[list(one) for one in names[:1] + names[1:][-_VERSIONS_KEPT:]] for names in states]
    return found


def _require_loadable(metadata: dict[str, Any], arrays: dict[str, np.ndarray], own: Sequence[type]) -> None:
    """Raise one of the errors that :func:`consistent` converts, if loading would fail."""
    found = settings(metadata, own, arrays=arrays)
    Objective.of(*(found[role] for role in (*_VALUES, "priors")))
    found["options"].check()
    records(metadata)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = int(np.argmin(np.isfinite(array.reshape(len(array), -1)).all(axis=1)))
            raise ValueError(f"{name}, row {row}: a number is not finite")


def own_classes(model: Any) -> tuple[type, ...]:
    """The classes of a model's loss, solver, regularizer and their samplers that are not part of fastmf."""
    pairs = [(room, getattr(model, role)) for role, room in _VALUES.items()]
    pairs += [(samplers, field) for _, value in pairs for field in value if _is_value(field)]
    return tuple(dict.fromkeys(type(value) for room, value in pairs if not _is_built_in(room, type(value))))


def settings(
    metadata: dict[str, Any],
    classes: Sequence[type],
    options: Options | None = None,
    arrays: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> dict[str, Any]:
    """Read the constructor arguments of a packed model; `options`, if given, replace the saved ones.

    Raises KeyError, TypeError or ValueError if the metadata are not consistent.
    """
    if metadata["format"] != _FORMAT:
        raise ValueError(f"format {metadata['format']} is not {_FORMAT}, the one that this version reads")
    found = dict(metadata["settings"])
    if found["loss"]["class"] == "Confidence":
        found["loss"]["fields"].setdefault("exposure", 0.0)  # of files that are older than it
    for role, room in _VALUES.items():
        found[role] = _revived(found[role], room, classes)
    drawn = found.get("priors", {})  # of files that have none, rows are drawn to zero
    found["priors"] = {side: _revived_prior(side, drawn[side], arrays) for side in SIDES if side in drawn}
    live = found.get("popularity", {"weight": 0})  # files that say nothing have none
    found["popularity"] = Popularity(**_from_plain(live))
    found["options"] = Options(**found["options"]) if options is None else options
    return found


def _described_prior(prior: Any) -> dict[str, Any]:
    return described_map(prior) if isinstance(prior, priors.Map) else _described(prior, priors)


def _revived_prior(side: str, told: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    return revived_map(side, told, dict(arrays)) if told["class"] == "Map" else _revived(told, priors, ())


@contextmanager
def consistent(name: str) -> Iterator[None]:
    """Convert the errors that inconsistent file content causes into FileFormatError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileFormatError(f"{name}: not a consistent fastmf file ({error})") from error


def converted(
    content: tuple[dict[str, np.ndarray], dict[str, Any]], storage: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Convert packed factors to the dtype `storage`; if that changes them, the result is a model of a new lineage.

    Raises
    ------
    DataError
        If a factor is too large for the dtype; the message names it.
    """
    arrays, metadata = content
    halves = [np.dtype(np.float16), np.dtype(np.float32)]
    changed = {
        name: _stored(name, array, storage)
        for name, array in arrays.items()
        if name.endswith(".factors") and array.dtype in halves and array.dtype != storage
    }
    if not changed:
        return content
    kept = {name: array for name, array in arrays.items() if not name.startswith("gram.")}  # of the old factors
    return kept | changed, {
        **metadata,
        "lineage": new_identity(),
        "head": new_identity(),
    }  # Deltas of the one would not fit the other


def _stored(name: str, factors: np.ndarray, storage: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        found = factors.astype(storage)
    if not np.isfinite(found).all():
        row, column = (int(place) for place in np.argwhere(~np.isfinite(found))[0])
        raise DataError(f"{name}, row {row}, column {column}: {factors[row, column]} is too large for {storage}")
    return found


def filled(state: State, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> State:
    """Fill an empty state with packed arrays and metadata."""
    version = metadata["version"]
    states = [_names(one) for one in metadata["trail"]]
    versions = [name.version for names in states for name in names]
    if not versions or not all(type(one) is int and one >= 0 for one in [*versions, version]):
        raise ValueError(f"versions {[*versions, version]} are not all numbers")
    if any(earlier >= later for earlier, later in pairwise(versions)) or versions[-1] > version:
        raise ValueError(f"versions {[*versions, version]} do not ascend")
    state.load(arrays, metadata["numbers"])
    state.lineage, state.identity = (
        str(metadata["lineage"]),
        Identity(str(metadata.get("head", new_identity())), version),
    )
    state.restart_trail(states)
    return state


def _names(told: Any) -> list[Identity]:
    """The names of a state: pairs of a head and a version, or a version alone."""
    if not isinstance(told, list):
        return [Identity(new_identity(), told)]
    if not told:
        raise ValueError("a state has no name")
    return [Identity(str(head), version) for head, version in told]


def records(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the records of the epochs of the last fit; ValueError if they are not a list of dicts."""
    found = _from_plain(metadata["history_"])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("history_ is no list of records")
    return found


# --- values that JSON can hold --------------------------------------------------------------------------------------


def _plain(value: Any, name: str) -> Any:
    """Convert a value to what JSON can represent; FileFormatError, naming `name`, if that is not possible.

    NumPy numbers become Python numbers, arrays and tuples become lists, numbers that are not finite become text.
    """
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_NUMBER: repr(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{name}[{place}]") for place, one in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) and key != _NUMBER for key in value):
        return {key: _plain(one, f"{name}[{key!r}]") for key, one in value.items()}
    raise FileFormatError(f"{name} cannot be kept in a file: {value!r} ({type(value).__name__})")


def _from_plain(value: Any) -> Any:
    """Invert :func:`_plain`, except that arrays and tuples stay lists."""
    if isinstance(value, list):
        return [_from_plain(one) for one in value]
    if isinstance(value, dict):
        return float(value[_NUMBER]) if _NUMBER in value else {key: _from_plain(one) for key, one in value.items()}
    return value


def _is_value(field: Any) -> bool:
    return isinstance(field, tuple) and hasattr(field, "_fields")


def _built_in(room: Any, name: str) -> Any:
    """The class of that name in a module of losses, optimizers, regularizers or samplers; None if there is none."""
    found = getattr(room, name, None)
    return found if isinstance(found, type) and found.__module__.startswith("fastmf.") else None


def _is_built_in(room: Any, kind: type) -> bool:
    return _built_in(room, kind.__name__) is kind


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _described(value: Any, room: Any) -> dict[str, Any]:
    """Describe a value by its class and its fields, and by the full name of the class if it is the caller's own."""
    kind = type(value)
    fields = {
        name: _described(field, samplers) if _is_value(field) else _number(field, f"{kind.__name__}.{name}")
        for name, field in value._asdict().items()
    }
    own = {} if _is_built_in(room, kind) else {"own": _full_name(kind)}
    return {"class": kind.__name__, "fields": fields, **own}


def _number(field: Any, name: str) -> Any:
    """Convert a field: text, integers and bools are kept, everything else becomes a float."""
    if isinstance(field, np.generic):
        field = field.item()
    return _plain(field if isinstance(field, (str, int)) else float(field), name)


def _revived(described: dict[str, Any], room: Any, classes: Sequence[type]) -> Any:
    name, own = described["class"], described.get("own")
    kind = (None if own else _built_in(room, name)) or _own_class(name, own, classes)
    fields = described["fields"].items()
    return kind(**{name: _revived(f, samplers, classes) if isinstance(f, dict) else f for name, f in fields})


def _own_class(name: str, own: str | None, classes: Sequence[type]) -> type:
    """Find the class of that name among the caller's own; of several, the one with the same full name."""
    found = [kind for kind in dict.fromkeys(classes) if kind.__name__ == name]
    if not found:
        whose = f", which is {own}, not a class of fastmf" if own else ""
        raise ValueError(f"it uses {name!r}{whose}; pass that class to load(..., classes=[...])")
    if len(found) > 1:
        found = [kind for kind in found if _full_name(kind) == own]
    if len(found) != 1:
        raise ValueError(f"it uses {name!r}, which is {own}: several classes could be that one")
    return found[0]
