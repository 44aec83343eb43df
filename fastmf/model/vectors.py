"""Vectors by whose products lists are sorted, for whoever ranks elsewhere."""

from __future__ import annotations

import numpy as np

from fastmf.followers.popular import kinds_of
from fastmf.state import State

__all__ = ["vectors_of"]


def vectors_of(state: State, users: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query vectors of user rows, vectors of all items, and what is added to their products; see MF.ranked_by."""
    size, items = state.users.table.shape.size, state.items.table
    count = items.count  # rows may come meanwhile
    queries = state.users.table.gather_or_unknown(users).factors[:, :size]
    vectors, live = items.values()[:count].astype(np.float32), state.live
    added = None if live is None else live.added(state)
    if added is None:
        return queries, vectors, items.biases()[:count].copy()
    kinds = kinds_of(state, users)
    assert live is not None
    queries[live.alone(kinds)] = 0
    terms = np.stack([one[:count, 0] for one in added], axis=1)
    chosen = np.eye(terms.shape[1], dtype=np.float32)[kinds]
    return np.hstack([queries, chosen]), np.hstack([vectors, terms]), np.zeros(count, np.float32)
