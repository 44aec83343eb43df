"""Models as files: settings as JSON, everything learned as arrays, in one safetensors file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmf import files, losses, optimizers, regularizers
from fastmf.errors import FileFormatError
from fastmf.model.options import Options
from fastmf.state import State

if TYPE_CHECKING:
    from fastmf.model.mf import MF

__all__ = ["load", "own_classes", "packed", "unpickled"]

_FORMAT = 1
_VALUES: dict[str, Any] = {"loss": losses, "solver": optimizers, "regularizer": regularizers}


def load(path: str | os.PathLike[str], classes: Sequence[type] = ()) -> MF:
    """The model that :meth:`MF.save` wrote to `path`.

    Parameters
    ----------
    path : path-like
    classes : sequence of types
        Your own loss, solver and regularizer classes, where the model uses any: a file cannot name code to run.

    Raises
    ------
    FileFormatError
        Where the file is damaged or not consistent.
    """
    return _restored(*files.read(path), str(path), classes)


def unpickled(content: bytes, classes: Sequence[type]) -> MF:
    """The model in the bytes that a pickle carries: the same safe format, plus the classes of your own by name."""
    return _restored(*files.unpack(content), "the bytes", classes)


def packed(model: MF, state: State | None) -> bytes:
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
    metadata |= {"lineage": state.lineage, "version": state.version, "numbers": state.numbers()}
    return files.pack(state.arrays(), metadata)


def own_classes(model: MF) -> tuple[type, ...]:
    """The classes of a model's values that are not fastmf's."""
    return tuple(type(value) for role, room in _VALUES.items() if not _known(room, value := getattr(model, role)))


def _restored(arrays: dict[str, np.ndarray], metadata: dict[str, Any], name: str, classes: Sequence[type]) -> MF:
    from fastmf.model.mf import MF

    try:
        if metadata["format"] != _FORMAT:
            raise ValueError(f"format {metadata['format']} is not {_FORMAT}, the one that this version reads")
        settings = dict(metadata["settings"])
        for role, room in _VALUES.items():
            settings[role] = _revived(settings[role], room, classes)
        settings["options"] = Options(**settings["options"])
        model = MF(**settings)
        model.history_ = list(metadata["history_"])
        if "lineage" in metadata:
            state = model._empty(0.0, 0.0)
            state.load(arrays, metadata["numbers"])
            state.lineage, state.version = str(metadata["lineage"]), int(metadata["version"])
            model._state = state
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{name}: not a consistent fastmf file ({error})") from error
    return model


def _known(room: Any, value: Any) -> bool:
    return getattr(room, type(value).__name__, None) is type(value)


def _described(value: Any) -> dict[str, Any]:
    return {"class": type(value).__name__, "fields": {name: float(number) for name, number in value._asdict().items()}}


def _revived(described: dict[str, Any], room: Any, classes: Sequence[type]) -> Any:
    known = {name: getattr(room, name) for name in room.__all__} | {kind.__name__: kind for kind in classes}
    if described["class"] not in known:
        raise ValueError(f"it uses {described['class']!r}; pass that class to load(..., classes=[...])")
    return known[described["class"]](**described["fields"])


