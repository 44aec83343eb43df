"""The contestants of a comparison: which ones a metric has, how their models are built, and how they are trained."""

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
    "FAMILIES",
    "Build",
    "Popularity",
    "Regime",
    "build_of",
    "contestants",
    "default_build",
    "ready_to_go_over",
    "regime",
    "solves",
    "stops_by_itself",
    "warm_recipe",
]

CONTESTANTS = ("frozen", "update", "warm", "full")

Build = Callable[[int], MF]

FAMILIES: dict[str, Any] = {
    "als": losses.Confidence(),
    "warp": losses.WARP(),
    "bpr": losses.BPR(),
    "softmax": losses.SampledSoftmax(),
}
"""Losses of families of models that rank, by name."""


class Regime(NamedTuple):
    """Defaults of a comparison for rating prediction or for ranking.

    Attributes
    ----------
    block : float
        Share of all events in a block.
    epochs : tuple of int
        Candidate numbers of epochs for "full".
    """

    block: float
    epochs: tuple[int, ...]


_PREDICTING = Regime(block=0.01, epochs=(1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40))
_RANKING = Regime(block=0.05, epochs=(1, 2, 4, 8, 16))


def regime(metric: Metric) -> Regime:
    """The defaults for a metric."""
    return _RANKING if ranks_items(metric) else _PREDICTING


def contestants(metric: Metric) -> tuple[str, ...]:
    """The contestants for a metric; popularity only where items are ranked."""
    return (*CONTESTANTS, "popularity") if ranks_items(metric) else CONTESTANTS


def default_build(factors: int, metric: Metric) -> Build:
    """A function that builds the default unfitted model for a metric, given its seed; on one thread."""
    if ranks_items(metric):
        return build_of(FAMILIES["als"], factors)
    return build_of(losses.Logistic() if metric == "logloss" else losses.Squared(), factors)


def build_of(loss: Any, factors: int) -> Build:
    """A function that builds an unfitted model with a loss and its defaults, given its seed; on one thread."""
    return lambda seed: MF(factors, loss, seed=seed, options=Options(threads=1))


def solves(model: MF) -> bool:
    """Whether a model is trained by ALS; callers may compare models of their own."""
    return isinstance(getattr(model, "solver", None), optimizers.ALS)


def stops_by_itself(model: MF) -> bool:
    """Whether a fit of the model ends by a rule of its own, so that no number of epochs has to be chosen."""
    return isinstance(getattr(model, "solver", None), optimizers.Variational)


def warm_recipe(model: MF) -> Update:
    """The update recipe of "warm": one pass over all events, or one ALS sweep."""
    return Update(epochs=1) if solves(model) else Update(epochs=1, history_epochs=0)


def ready_to_go_over(model: MF) -> MF:
    """A model that may be updated with all events so far, although it has seen them.

    ALS reads the history of each row, in which every event must occur once: such a model is rebuilt without history.
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
    """Baseline that ranks items by their number of events so far, the same for every user.

    Implements what an evaluation needs of a ranking model: no user is known, so all get the ranking of unknown users.
    """

    def __init__(self) -> None:
        self.users, self.items = IdMap(), IdMap()
        self._counts = np.zeros(0, np.int64)

    @classmethod
    def of(cls, events: Interactions) -> Popularity:
        """A baseline that has counted `events`."""
        new = cls()
        new.update(events)
        return new

    def update(self, events: Interactions) -> int:
        """Count events; returns the number of distinct items in them."""
        staged = self.items.stage(events.items)
        self.items.extend(staged.fresh, checked=True)
        self._counts = np.pad(self._counts, (0, len(staged.fresh)))
        rows, more = np.unique(staged.rows, return_counts=True)
        self._counts[rows] += more
        return rows.size

    @property
    def user_factors(self) -> NDArray[np.float32]:
        """float32[0, 0]: no rows."""
        return np.zeros((0, 0), np.float32)

    @property
    def unknown_user(self) -> NDArray[np.float32]:
        """float32[0]: a row without factors."""
        return np.zeros(0, np.float32)

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """float32[items, 0]: no factors."""
        return np.zeros((len(self.items), 0), np.float32)

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """The number of events of each item, float32; exact up to 2**24."""
        return self._counts.astype(np.float32)

    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic], /) -> NDArray[np.float32]:
        """Raise NotImplementedError: a count is not a prediction of a value."""
        raise NotImplementedError("popularity ranks; it predicts no values")
