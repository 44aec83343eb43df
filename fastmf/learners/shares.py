"""Shares of items in the Gram matrices of a fit, and of the rows that a batch names, before and after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.followers.exposure import exposures
from fastmf.followers.grams import shares_of
from fastmf.learners.gathering import Named
from fastmf.state import State

__all__ = ["ItemShares", "Shares", "floor_of"]


def floor_of(loss: Any) -> float:
    """The floor of exposures; 0 for a loss without."""
    return float(getattr(loss, "exposure", 0.0))


class ItemShares(NamedTuple):
    """The shares of all items in a fit.

    Attributes
    ----------
    some, whole : float
        The number of items that have a share, and the sum of these, exposure aside.
    shares : float64[items] or None
        None where all are 1.
    """

    some: float
    whole: float
    shares: np.ndarray | None

    @classmethod
    def of(cls, state: State, loss: Any) -> ItemShares:
        """The shares by the whole history."""
        power, floor, count = float(getattr(loss, "popularity", 0.0)), floor_of(loss), state.items.count
        if not power and not floor and not state.items.derives:
            return cls(float(count), float(count), None)
        shares = shares_of(state.history.counts("items", slice(count)), power, state.items.derives)
        whole, some = float(shares.sum()), float(np.count_nonzero(shares))
        if floor:
            shares = shares * exposures(state.grams.firsts("items", state), len(state.history), floor)
        return cls(some, whole, shares)

    def missing(self, side: str, unobserved: float) -> Any:
        """The confidence in unobserved pairs, one for all rows of a side or one for each."""
        if self.shares is None:
            return unobserved
        each = unobserved * self.some / self.whole
        return each * self.shares if side == "items" else each


class Shares(NamedTuple):
    """Shares in the Gram matrix of the rows that a batch names, before and after it; 0 before for new rows.

    With exposure, both are as of the last event of the batch. `gained` is the change of their sum, exposure aside, and
    `launched` the number of rows that had none before and have now.
    """

    before: np.ndarray
    after: np.ndarray
    gained: float
    launched: int

    @classmethod
    def of(cls, side: str, state: State, named: Named, form: tuple[float, float], counted: bool) -> Shares:
        """The shares by the history, and by the batch if `counted`."""
        (power, floor), derives = form, state.side(side).derives
        known = named.rows < state.side(side).count
        counts = np.where(known, state.history.counts(side, np.where(known, named.rows, 0)), 0)
        after = shares_of(counts + np.bincount(named.local, minlength=named.rows.size) * counted, power, derives)
        before = np.where(known, shares_of(counts, power, derives), 0.0)
        gained, launched = float((after - before).sum()), int(((before == 0) & (after > 0)).sum())
        if not floor:
            return cls(before, after, gained, launched)
        events, positions = len(state.history), np.arange(named.local.size)[::-1]
        firsts = np.empty(named.rows.size)
        firsts[named.local[::-1]] = events + positions  # the first of several is written last
        known &= before > 0
        firsts[known] = state.grams.firsts(side, state)[named.rows[known]]
        exposed = exposures(firsts, events + named.local.size * counted, floor)
        return cls(before * exposed, after * exposed, gained, launched)
