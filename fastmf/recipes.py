"""Update: how to update. A recipe is a frozen value; the presets are instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from fastmf.errors import require_integer, require_number
from fastmf.hints import hinted_methods
from fastmf.parameters.table import SIDES
from fastmf.protocols import Loss, Regularizer

__all__ = ["Update", "presets"]

_STRATEGIES = ("both", "users", "items", "new")


@hinted_methods("__init__")
@dataclass(frozen=True)
class Update:
    """How a batch of new events changes a model.

    First `epochs` passes over the new events move the user and item rows that they name. Then `history_epochs` passes
    over the touched users' recent history, new events included, move those users once more, with all items frozen and a
    smaller rate: new taste is fitted without forgetting the old.

    A model whose solver is ALS takes no steps: `epochs` times it solves the users and then the items that new events
    name, from all that they have met. `trainable`, `half_life` and `loss` hold for it too; a `rate` or a `batch_size`
    is refused, and the history pass has no part in it.

    Parameters
    ----------
    epochs : int
        Passes over the new events. Models whose rows are solved are updated with 1 by default: see `presets`.
    rate : float, optional
        Learning rate in place of the solver's.
    batch_size : int
        1: a step per event. b: a step per b events, along their mean gradient at the values before the step.
    trainable : {"both", "users", "items", "new"} or dict
        What may move: rows that the batch names on both sides, on one, only rows that are new with this batch, or
        chosen ids, ``{"users": ids, "items": ids}``; a side left out of the dict is frozen.
    history_epochs : int
        Passes over the touched users' history. 0 learns from the new events alone.
    max_history : int, optional
        Of each user, only the newest so many past events; None takes all, and an update then costs as much as the past
        of its most active users.
    history_rate : float
        The rate of those passes, as a multiple of the rate of the others.
    order : {"user", "arrival"}
        Whether new events are taken user by user (arrival order kept within each) or as they arrived. In place of the
        first, 4,096 or more are taken several in flight, and half a million or more in blocks, as in a fit.
    loss, regularizer : optional
        In place of the model's, for this update.
    half_life : float, optional
        The age at which an event counts half: its weight times ``2 ** (-age / half_life)``, its age being its distance
        from the newest time that the model or the batch knows, both in the unit of the times (microseconds for
        datetimes). Late arrivals and the history pass decay alike; the weights in the history stay as they came in.

    References
    ----------
    Ding, Li (2005), Time Weight Collaborative Filtering: `half_life`.

    Examples
    --------
    >>> Update(epochs=5, trainable="users").history_epochs
    1
    """

    epochs: int = 2
    rate: float | None = None
    batch_size: int = 1
    trainable: str | Mapping[str, Any] = "both"
    history_epochs: int = 1
    history_rate: float = 0.5
    max_history: int | None = 20
    order: str = "user"
    loss: Loss | None = None
    regularizer: Regularizer | None = None
    half_life: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("batch_size", 1), ("history_epochs", 0)):
            require_integer(f"Update.{name}", getattr(self, name), least)
        if self.max_history is not None:
            require_integer("Update.max_history", self.max_history, 1)
        if self.rate is not None:
            require_number("Update.rate", self.rate)
        require_number("Update.history_rate", self.history_rate)
        if self.half_life is not None:
            require_number("Update.half_life", self.half_life, positive=True)
        if self.order not in ("user", "arrival"):
            raise ValueError(f'Update.order must be "user" or "arrival", got {self.order!r}')
        if isinstance(self.trainable, Mapping):
            unknown = set(self.trainable) - set(SIDES)
            if unknown:
                raise ValueError(f"Update.trainable names {sorted(unknown)}; the groups are {list(SIDES)}")
        elif self.trainable not in _STRATEGIES:
            raise ValueError(f"Update.trainable must be one of {_STRATEGIES} or a dict of ids, got {self.trainable!r}")


class Overrides(TypedDict, total=False):
    """The fields of an Update, for type checkers."""

    epochs: int
    rate: float | None
    batch_size: int
    trainable: str | Mapping[str, Any]
    history_epochs: int
    history_rate: float
    max_history: int | None
    order: str
    loss: Loss | None
    regularizer: Regularizer | None
    half_life: float | None


presets: dict[str, Update] = {
    "default": Update(),
    "solve": Update(epochs=1),
    "whole-history": Update(history_epochs=3, max_history=None),
    "new-events": Update(epochs=3, history_epochs=0),
    "users": Update(trainable="users"),
    "new-rows": Update(trainable="new"),
}
"""Recipes by name, for the command line. A model whose rows are solved has "solve" for its default: a second pass of
users, then items, costs as much as the first and brings next to nothing."""
