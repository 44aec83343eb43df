"""Update: the hyper-parameters of an update, as an immutable recipe, and presets by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

import numpy as np

from fastmf.errors import brief, require_choice, require_count, require_number
from fastmf.hints import hinted_methods
from fastmf.protocols import Loss, Regularizer

__all__ = ["Preset", "Update", "presets"]

TIMEDELTAS = (timedelta, np.timedelta64)
HalfLife = float | timedelta | np.timedelta64
_STRATEGIES = ("both", "users", "items", "new")


@hinted_methods("__init__")
@dataclass(frozen=True)
class Update:
    """Recipe of an update: how a batch of new events changes a model.

    A field that is None takes the default for the model's loss and solver.

    With a gradient solver (SGD, AdaGrad), `epochs` passes over the new events first train the user and item rows that
    they name. Then `history_epochs` passes over the recent history of these users, new events included, train the user
    rows again, with all items frozen and a smaller learning rate, so that the model adapts to the new events without
    forgetting the old ones.

    With ALS, the rows of the users and then those of the items that the new events name are solved `epochs` times, each
    from its whole history. `trainable`, `half_life`, `loss` and `regularizer` apply as well; any other field that is
    set raises ValueError.

    With Variational, the default for ratings and labels, each new event is learned once; with `resolve`, the rows that
    the new events name are then solved anew. `trainable`, `order` (by arrival, by default), `half_life` and, beside
    `resolve`, `max_history` apply; any other field that is set raises ValueError.

    Parameters
    ----------
    epochs : int, optional
        Passes over the new events, 2 by default; with ALS, number of solves, 1 by default.
    rate : float, optional
        Learning rate; by default that of the solver.
    batch_size : int, optional
        Number of events per step, 1 by default. A step over several events follows their mean gradient.
    trainable : {"both", "users", "items", "new"} or dict, optional
        Rows that may change: those of the users and items that the batch names (``"both"``, the default), of only one
        side, or only the rows that are new in this batch. A dict selects rows by group of parameters, as in
        ``{"users": ids, "items": True}``; groups that it lacks are frozen.
    history_epochs : int, optional
        Passes over the history of the users in the batch, 1 by default. 0 trains on the new events only.
    max_history : int or "all", optional
        Maximum number of past events per user, the newest ones, 20 by default. With ``"all"`` the cost of an update
        grows with the history of its most active users.
    history_rate : float, optional
        Learning rate of the history passes, as a multiple of the learning rate of the others; 0.5 by default.
    order : {"user", "arrival"}, optional
        Order of the new events: by user, in order of arrival within a user (the default), or by arrival. With
        ``"user"``, batches of 4,096 events or more are interleaved, and batches of 500,000 or more are trained in
        blocks, as in a fit.
    loss, regularizer : optional
        Used in place of the model's, for this update only.
    half_life : float or timedelta, optional
        Age at which the weight of an event has halved: weights are multiplied by ``2 ** (-age / half_life)``. The age
        is counted from the newest time in the model or the batch, in the unit of the times. If the times are datetimes,
        that unit is microseconds, and a timedelta is accepted. Late events and the history passes decay alike; weights
        stored in the history do not change. A few times far ahead of all others are not taken as the newest.
    resolve : int, optional
        With Variational: how often the rows of the users, and then those of the items, that the new events name are
        solved anew from their whole history, after the new events have been learned. 0 by default, which costs a
        hundredth. Rows with more past events than `max_history` (1,000 by default here) stay as they are.

    Raises
    ------
    ValueError
        If a field is out of range. Whether it suits the model is checked by the update.

    References
    ----------
    Ding, Li (2005), Time Weight Collaborative Filtering: `half_life`.

    Examples
    --------
    >>> recipe = Update(epochs=5, trainable="users")
    >>> recipe.epochs, recipe.rate
    (5, None)
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
    resolve: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 0),
            ("batch_size", 1),
            ("history_epochs", 0),
            ("max_history", 1),
            ("resolve", 0),
        ):
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
    """Return the length of a timedelta in microseconds; NaN for units without a fixed length, such as months."""
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
    resolve: int | None


class Preset(Update):
    """A recipe for models of any solver: each takes those of the fields that it has, and its defaults for the others.

    An :class:`Update` is refused if it sets a field that means nothing to the solver; so are overrides of a preset.

    Examples
    --------
    >>> import fastmf
    >>> log = fastmf.datasets.synthetic(events=2_000, users=100, items=50)
    >>> model = fastmf.MF(factors=8).fit(log[:1_500])
    >>> model.update(log[1_500:], presets["new-events"]).events  # once: Variational learns no event thrice
    500
    """

    def of(self, names: Iterable[str]) -> Update:
        """The plain recipe of these fields."""
        return Update(**{name: getattr(self, name) for name in names})


presets: dict[str, Update] = {
    "default": Preset(),
    "fast": Preset(epochs=1, history_epochs=0, resolve=0),
    "balanced": Preset(history_epochs=1, max_history=100, resolve=1),
    "careful": Preset(epochs=2, history_epochs=3, max_history=1_000, resolve=1),
    "whole-history": Preset(history_epochs=3, max_history="all", resolve=1),
    "new-events": Preset(epochs=3, history_epochs=0, resolve=0),
    "users": Preset(trainable="users"),
    "new-rows": Preset(trainable="new"),
}
"""Recipes by name, for the command line."""
