"""Access to the learned attributes of a model object of another library, with a clear error."""

from __future__ import annotations

from typing import Any

from fastmf.errors import NotFittedError


def learned(model: object, name: str) -> Any:
    """Return the attribute ``name`` of a fitted ``model``.

    Raises
    ------
    NotFittedError
        If ``model`` has no such attribute, or ``None`` in its place.
    """
    value = getattr(model, name, None)
    if value is None:
        raise NotFittedError(f"{type(model).__name__} has no {name}: is it a fitted model of factors?")
    return value
