"""What a fit and an update share: batches in row numbers, and losses per event."""

from __future__ import annotations

import numpy as np

from fastmf.engine import Objective
from fastmf.history import Events
from fastmf.interactions import Interactions

__all__ = ["mean_loss", "numbered", "require_steps"]


def numbered(batch: Interactions, users: np.ndarray, items: np.ndarray) -> Events:
    """A batch with row numbers in place of ids."""
    return Events(users, items, batch.values, batch.weights, batch.times)


def mean_loss(lost: float, events: Events) -> float:
    """A summed loss per unit of weight; 0 where there is none."""
    total = float(events.users.size if events.weights is None else events.weights.sum(dtype=np.float64))
    return lost / total if total else 0.0


def require_steps(objective: Objective, rate: float | None, batch_size: int) -> None:
    """ValueError where a solver that takes no steps is asked for some."""
    for name, asked in (("rate", rate is not None), ("batch_size", batch_size != 1)):
        if objective.closed_form and asked:
            raise ValueError(f"{type(objective.solver).__name__} solves whole rows: it has no {name}")
