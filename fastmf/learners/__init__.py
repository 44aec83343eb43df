"""Learners: training algorithms, one per family of objectives.

These are gradient steps, sampled negatives, alternating least squares, and variational Bayes.

To add one, implement :class:`fastmf.learners.job.Learner` and register it.
"""

from __future__ import annotations

from typing import Any

from fastmf.learners.beliefs import Beliefs
from fastmf.learners.compare import Compare
from fastmf.learners.job import Learner
from fastmf.learners.solve import Solve
from fastmf.learners.steps import Steps

__all__ = ["LEARNERS", "learner_of", "register"]

LEARNERS: list[Learner] = [Solve(), Beliefs(), Compare(), Steps()]
"""All that are known, in the order in which they are asked whether they suit an objective."""


def register(learner: Learner) -> None:
    """Register a learner; it takes precedence over those registered before.

    Parameters
    ----------
    learner : Learner
    """
    LEARNERS.insert(0, learner)


def learner_of(objective: Any) -> Learner:
    """The first registered learner that suits an objective.

    Parameters
    ----------
    objective : Objective

    Returns
    -------
    Learner
    """
    return next(learner for learner in LEARNERS if learner.suits(objective))
