"""Access to the learned attributes of a model object of another library, with a clear error."""

from __future__ import annotations

from typing import Any

from fastmf.errors import NotFittedError, warn


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


def warn_without_history(settings: dict[str, Any]) -> None:
    """Say in one line what is missing where a model solves rows from a history that it has not got."""
    kind = getattr(settings.get("loss"), "kind", None)
    if kind == "all-pairs" and settings.get("history") is None:
        warn(
            "the model has no history: an update would solve rows from its new events alone; pass history=, the events "
            "that the model was fitted to"
        )
