"""Update: how to update. A recipe is a frozen value; the presets are instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

import numpy as np

from fastmf.errors import brief, require_choice, require_count, require_number
from fastmf.hints import hinted_methods
from fastmf.protocols import Loss, Regularizer

__all__ = ["Update", "presets"]

TIMEDELTAS = (timedelta, np.timedelta64)
HalfLife = float | timedelta | np.timedelta64
_STRATEGIES = ("both", "users", "items", "new")


@hinted_methods("__init__")
@dataclass(frozen=True)
class Update:
    """How a batch of new events changes a model.

    A field that is None means what suits the model's loss and solver.

    Models that take steps: first `epochs` passes over the new events move the user and item rows that they name. Then
    `history_epochs` passes over the touched users' recent history, new events included, move those users once more,
    with all items frozen and a smaller rate: new taste is fitted without forgetting the old.

    Models whose solver is ALS take no steps: `epochs` times they solve the users and then the items that new events
    name, from all that these have met. `trainable`, `half_life`, `loss` and `regularizer` hold for them too; whatever
    else is set is refused by name.

    Parameters
    ----------
    epochs : int, optional
        Passes over the new events, 2 by default; or solves, 1 by default.
    rate : float, optional
        Learning rate in place of the solver's.
    batch_size : int, optional
        1, the default: a step per event. b: a step per b events, along their mean gradient at the values before it.
    trainable : {"both", "users", "items", "new"} or dict, optional
        What may move: rows that the batch names on both sides (the default), on one, only rows that are new with this
        batch, or by group of parameters, ``{"users": ids, "items": True}``; a group left out of the dict is frozen.
    history_epochs : int, optional
        Passes over the touched users' history, 1 by default. 0 learns from the new events alone.
    max_history : int or "all", optional
        Of each user, only the newest so many past events, 20 by default. With ``"all"`` an update costs as much as the
        past of its most active users.
    history_rate : float, optional
        The rate of those passes, as a multiple of the rate of the others; 0.5 by default.
    order : {"user", "arrival"}, optional
        Whether new events are taken user by user (the default; arrival order kept within each) or as they arrived. In
        place of the first, 4,096 or more are taken several in flight, and half a million or more in blocks, as in a
        fit.
    loss, regularizer : optional
        In place of the model's, for this update.
    half_life : float or timedelta, optional
        The age at which an event counts half: its weight times ``2 ** (-age / half_life)``, its age being its distance
        from the newest time that the model or the batch knows, both in the unit of the times (microseconds for
        datetimes, of which it may be a timedelta). Late arrivals and the history pass decay alike; the weights in the
        history keep their original weights. A few times far ahead of all others do not count as the newest.

    References
    ----------
    Ding, Li (2005), Time Weight Collaborative Filtering: `half_life`.

    Examples
    --------
    >>> Update(epochs=5, trainable="users").epochs
    5
    """

    epochs: int | None = None
    rate: float | None = None
    batch_size: int | None = None
    trainable: str | Mapping[str, Any] | None = None
    history_epochs: int | None = None
    max_history: int | str | None = None
    history_rate: float | None = None
    order: str | None = None
    loss: Loss | None = None
    regularizer: Regularizer | None = None
    half_life: HalfLife | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("batch_size", 1), ("history_epochs", 0), ("max_history", 1)):
            given = getattr(self, name)
            if given is not None and not (name == "max_history" and isinstance(given, str) and given == "all"):
                object.__setattr__(self, name, require_count(f"Update.{name}", given, least))  # of any integer type
        for name in ("rate", "history_rate"):
            if getattr(self, name) is not None:
                require_number(f"Update.{name}", getattr(self, name))
        if self.half_life is not None:
            require_half_life("Update.half_life", self.half_life)
        if self.order is not None:
            require_choice("Update.order", self.order, ("user", "arrival"))
        if not (self.trainable is None or isinstance(self.trainable, Mapping)):
            require_choice("Update.trainable", self.trainable, _STRATEGIES)


def microseconds(length: timedelta | np.timedelta64) -> float:
    """How long a timedelta is; not a number where it has no fixed length."""
    if isinstance(length, timedelta):
        return length / timedelta(microseconds=1)
    if np.datetime_data(length.dtype)[0] in ("Y", "M", "generic"):
        return float("nan")
    return float(length / np.timedelta64(1, "us"))


def require_half_life(name: str, value: Any) -> None:
    """Raise ValueError unless the value is a number > 0 or a timedelta > 0."""
    given = microseconds(value) if isinstance(value, TIMEDELTAS) else value
    try:
        require_number(name, given, positive=True)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a finite float32 number > 0, or a timedelta > 0, got {brief(value)}"
        ) from error


class Overrides(TypedDict, total=False):
    """The fields of an Update, for type checkers."""

    epochs: int | None
    rate: float | None
    batch_size: int | None
    trainable: str | Mapping[str, Any] | None
    history_epochs: int | None
    history_rate: float | None
    max_history: int | str | None
    order: str | None
    loss: Loss | None
    regularizer: Regularizer | None
    half_life: HalfLife | None


presets: dict[str, Update] = {
    "default": Update(),
    "whole-history": Update(history_epochs=3, max_history="all"),
    "new-events": Update(epochs=3, history_epochs=0),
    "users": Update(trainable="users"),
    "new-rows": Update(trainable="new"),
}
"""Recipes by name, for the command line."""
