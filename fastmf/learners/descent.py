"""Descent: what learners that take steps have in common."""

from __future__ import annotations

from typing import Any

from fastmf.parameters.groups import Group
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Descent"]


class Descent:
    """A learner that takes steps, on a batch and then on the past of its users."""

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
        """In passes over the users' past."""
        return bool(recipe.history_epochs)

    def groups(self, factors: int, seed: int, budget: int) -> dict[str, Group]:
        """None besides users and items."""
        return {}

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Nothing is left to do after a fit."""

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """Ten passes over a session."""
        return objective, self.visitors
