"""What a query asks for: ids, the items that may be recommended, and what is done about how unsure rows are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.errors import require_choice, require_finite
from fastmf.interactions import columns
from fastmf.ranking import Pool
from fastmf.state import State

__all__ = ["checked_ids", "pool_of", "require_beliefs", "risk_of"]


def checked_ids(column: str, ids: Any) -> np.ndarray | None:
    """Check ids and return them as an array; None if none were given."""
    return None if ids is None else columns.ids(column, ids)


def pool_of(state: State, chosen: np.ndarray | None, barred: np.ndarray | None) -> Pool:
    """The candidate items: the `chosen` ones, or all, without the `barred` ones."""
    among = None if chosen is None else state.rows("items", chosen)
    without = None if barred is None else state.rows("items", barred, "exclude")
    return Pool.of(state.items.count, among, without)


def require_beliefs(name: str, objective: Any) -> None:
    """Raise ValueError, that this parameter needs Variational, unless rows are distributions."""
    if not objective.variational:
        solver = type(objective.solver).__name__
        raise ValueError(f"{name} needs solver=optimizers.Variational(): {solver} does not learn how sure rows are")


def risk_of(risk: Any, explore: Any, objective: Any) -> float | None:
    """How many standard deviations to subtract from scores, None to draw them; ValueError for nonsense."""
    if explore is not None:
        require_choice("explore", explore, ("thompson",))
        if risk is not None:
            raise ValueError("give risk or explore, not both: scores are penalised, or drawn")
        require_beliefs("explore", objective)
        return None
    if risk is None:
        return 0.0
    subtracted = require_finite("risk", risk)
    require_beliefs("risk", objective)
    return subtracted
