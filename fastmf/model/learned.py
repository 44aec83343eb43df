"""Learned: what a model has learned, as read-only views."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.errors import NotFittedError, require_choice
from fastmf.log.events import SIDES
from fastmf.model.ids import Ids
from fastmf.state import State

__all__ = ["Learned"]


class Learned:
    """The parameters and the identity of a fitted model; each raises NotFittedError before the first fit or update."""

    __slots__ = ()
    _lock: Any
    _state: State | None

    @property
    def user_factors(self) -> np.ndarray:
        """User vectors, [users, factors]; a read-only view in row order of :attr:`users`."""
        return self._fitted().users.table.values()

    @property
    def unknown_user(self) -> np.ndarray:
        """The vector that stands for unknown users, [factors]: that of the prior, or zeros without one."""
        table = self._fitted().users.table
        return table.unknown.factors[0, : table.shape.size].astype(table.values().dtype)

    @property
    def item_factors(self) -> np.ndarray:
        """Item vectors, [items, factors]; a read-only view in row order of :attr:`items`."""
        return self._fitted().items.table.values()

    @property
    def user_biases(self) -> np.ndarray:
        """User biases, float32[users]; a read-only view."""
        return self._fitted().users.table.biases()

    @property
    def item_biases(self) -> np.ndarray:
        """Item biases, float32[items]; a read-only view."""
        return self._fitted().items.table.biases()

    @property
    def global_mean(self) -> float:
        """The mean added to every score; set by the fit, or by the first update of an unfitted model."""
        return float(self._fitted().numbers["global_mean"])

    @property
    def users(self) -> Ids:
        """User ids in row order; a read-only view."""
        state = self._fitted()
        return Ids(state.users.ids, state.ask)

    @property
    def items(self) -> Ids:
        """Item ids in row order; a read-only view."""
        state = self._fitted()
        return Ids(state.items.ids, state.ask)

    def experienced(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a side that have events, and their factors; those of all ids in a model without any events.

        Parameters
        ----------
        side : {"users", "items"}
            Whose rows.

        Returns
        -------
        (ndarray, ndarray)
            Ids, shape (n,), and float32, shape (n, factors), of one state. (A model without events was imported.)

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        ValueError
            If `side` is neither of the two.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=2).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
        >>> ids, factors = model.experienced("items")
        >>> ids, factors.shape
        (array([10, 20]), (2, 2))
        """
        state = self._fitted()
        require_choice("side", side, SIDES)

        def read() -> tuple[np.ndarray, np.ndarray]:
            group = state.side(side)
            count = group.table.count
            counts = state.history.counts(side, slice(count))
            rows = np.flatnonzero(counts > 0) if counts.any() else np.arange(count)
            return group.ids.take(rows), group.table.values()[rows].astype(np.float32)

        return state.ask(read)

    @property
    def version(self) -> int:
        """Number of changes (updates, flushes, rollbacks) since the fit."""
        return self._fitted().version

    @property
    def head(self) -> str:
        """The identity of the current state, 32 hexadecimal digits: a Delta leads from one state to another."""
        return self._fitted().head

    @property
    def lineage(self) -> str:
        """The identity of the model, 32 hexadecimal digits, shared by its copies."""
        return self._fitted().lineage

    def _fitted(self) -> State:
        state = self._state
        if state is None:
            raise NotFittedError("this model has learned nothing yet: call fit, update or MF.from_factors first")
        if state.unfinished:
            with self._lock:
                state.finish()
        return state
