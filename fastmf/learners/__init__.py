"""Learners: one for each family of learning. A new one is a new file, and registers itself."""

from __future__ import annotations

from typing import Any

from fastmf.learners.compare import Compare
from fastmf.learners.job import Learner
from fastmf.learners.solve import Solve
from fastmf.learners.steps import Steps

__all__ = ["LEARNERS", "learner_of", "register"]

LEARNERS: list[Learner] = [Solve(), Compare(), Steps()]
"""All that are known, in the order in which they are asked whether they suit an objective."""


def register(learner: Learner) -> None:
    """Let a learner of your own be asked first whether it suits an objective."""
    LEARNERS.insert(0, learner)


def learner_of(objective: Any) -> Learner:
    """The learner of an objective: the only place that asks for its family."""
    return next(learner for learner in LEARNERS if learner.suits(objective))
