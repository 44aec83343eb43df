"""The contestants: who they are for a metric, what they are made of, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf import losses, optimizers
from fastmf.evaluation import Metric, ranks_items
from fastmf.interactions import Interactions
from fastmf.model import MF, Options
from fastmf.parameters.ids import IdMap
from fastmf.recipes import Update

__all__ = [
    "CONTESTANTS",
    "Build",
    "Popularity",
    "Regime",
    "contestants",
    "default_build",
    "ready_to_go_over",
    "regime",
    "solves",
    "warm_recipe",
]

CONTESTANTS = ("frozen", "update", "warm", "full")

Build = Callable[[int], MF]


class Regime(NamedTuple):
    """How contestants are trained where values are predicted, or where items are ranked.

    Attributes
    ----------
    block : float
        Share of the events in a block, unless the caller says.
    epochs : tuple of int
        What "full" may take: the cheapest that is close to the best is chosen.
    """

    block: float
    epochs: tuple[int, ...]


_PREDICTING = Regime(block=0.01, epochs=(1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40))
_RANKING = Regime(block=0.05, epochs=(1, 2, 4, 8, 16))


def regime(metric: Metric) -> Regime:
    """How contestants are trained for a metric."""
    return _RANKING if ranks_items(metric) else _PREDICTING


def contestants(metric: Metric) -> tuple[str, ...]:
    """The contestants for a metric; popularity only where items are ranked."""
    return (*CONTESTANTS, "popularity") if ranks_items(metric) else CONTESTANTS


def default_build(factors: int, metric: Metric) -> Build:
    """Makes the unfitted model of a seed: for a metric the default one, on one thread."""
    settings: dict[str, Any] = {"factors": factors, "options": Options(threads=1)}
    if metric == "logloss":
        settings["loss"] = losses.Logistic()
    if ranks_items(metric):
        settings |= {"loss": losses.Confidence(), "solver": optimizers.ALS()}
    return lambda seed: MF(seed=seed, **settings)


def solves(model: MF) -> bool:
    """Whether rows are solved, from all that they have met; the caller may compare models of their own."""
    return isinstance(getattr(model, "solver", None), optimizers.ALS)


def warm_recipe(model: MF) -> Update:
    """How "warm" goes over everything so far: in one pass, or one solve."""
    return Update(epochs=1) if solves(model) else Update(epochs=1, history_epochs=0)


def ready_to_go_over(model: MF) -> MF:
    """A model that may be updated with all events so far, though it has met them.

    A solver of whole rows reads their history, where each event must be once: it gets the same rows without a past.
    """
    if not solves(model):
        return model
    settings = {name: value for name, value in model.get_params().items() if name != "factors"}
    settings |= {"users": model.users.values, "items": model.items.values}
    if model.loss.kind != "all-pairs":
        settings |= {"user_biases": model.user_biases, "item_biases": model.item_biases}
        settings |= {"global_mean": model.global_mean}
    return MF.from_factors(model.user_factors, model.item_factors, **settings)


class Popularity:
    """Ranks items by how many events they have had so far, for every user alike.

    It answers what an evaluation asks of a model that ranks: nobody is known, so that all get the same ranking.
    """

    def __init__(self) -> None:
        self.users, self.items = IdMap(), IdMap()
        self._counts = np.zeros(0, np.int64)

    @classmethod
    def of(cls, events: Interactions) -> Popularity:
        """As it stands after some events."""
        new = cls()
        new.update(events)
        return new

    def update(self, events: Interactions) -> int:
        """Count some events; returns how many items they concern."""
        staged = self.items.stage(events.items)
        self.items.extend(staged.fresh, checked=True)
        self._counts = np.pad(self._counts, (0, len(staged.fresh)))
        rows, more = np.unique(staged.rows, return_counts=True)
        self._counts[rows] += more
        return rows.size

    @property
    def user_factors(self) -> NDArray[np.float32]:
        """No factors, of a row that stands for everybody."""
        return np.zeros((1, 0), np.float32)

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """No factors."""
        return np.zeros((len(self.items), 0), np.float32)

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """Events of each item; counts are exact up to 2**24."""
        return self._counts.astype(np.float32)

    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic], /) -> NDArray[np.float32]:
        """Refused: a count is no prediction of a value."""
        raise NotImplementedError("popularity ranks; it predicts no values")
