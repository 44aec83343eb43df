"""What a query asks for: ids, and the items that may be recommended."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.interactions import columns
from fastmf.ranking import Pool
from fastmf.state import State

__all__ = ["checked_ids", "pool_of"]


def checked_ids(column: str, ids: Any) -> np.ndarray | None:
    """Check ids and return them as an array; None if none were given."""
    return None if ids is None else columns.ids(column, ids)


def pool_of(state: State, chosen: np.ndarray | None, barred: np.ndarray | None) -> Pool:
    """The candidate items: the `chosen` ones, or all, without the `barred` ones."""
    among = None if chosen is None else state.rows("items", chosen)
    without = None if barred is None else state.rows("items", barred, "exclude")
    return Pool.of(state.items.count, among, without)
