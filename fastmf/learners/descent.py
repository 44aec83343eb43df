"""Base class of the learners that use stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.kernels.core.shape import Shape
from fastmf.parameters.groups import Group
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Descent"]


class Descent:
    """Defaults and hooks shared by gradient learners: train on the batch, then on the history of its users."""

    epochs = 20  # where no events can be held out to tell
    settles = False
    defaults = Update(
        epochs=2,
        batch_size=1,
        trainable="both",
        history_epochs=1,
        history_rate=0.5,
        max_history=20,
        order="user",
    )
    further = ("rate", "half_life", "loss", "regularizer")
    why = "it takes steps"
    visitors = Update(epochs=10, history_epochs=0, trainable="users")

    def reads_history(self, recipe: Update) -> bool:
        """Whether there are passes over the users' history."""
        return bool(recipe.history_epochs)

    def groups(self, objective: Any, shape: Shape, seed: int, budget: int) -> dict[str, Group]:
        """None besides users and items."""
        return {}

    def settle(self, state: State) -> None:
        """Nothing to do."""

    def further_widths(self, shape: Shape) -> tuple[int, ...]:
        """None: what a step needs is in the record."""
        return ()

    def begin(self, state: State, values: np.ndarray, objective: Any, fits: bool) -> None:
        """Nothing to do: initial rows do not depend on the values."""

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Nothing to do after a fit."""

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """Ten passes over a session."""
        return objective, self.visitors
