"""Plan: one batch made concrete, as local rows, an order and blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.history import Events
from fastmf.kernels.grouping import order_by
from fastmf.kernels.rng import draw, mix

__all__ = ["Plan"]


class Plan(NamedTuple):
    """The order in which events are trained on.

    Attributes
    ----------
    events : Events
        With rows of the working set in place of rows of the model, in order of execution.
    bounds : int64[blocks + 1]
        Block b is ``events[bounds[b]:bounds[b + 1]]``.
    strata : int64[strata + 1]
        Blocks ``strata[s]`` to ``strata[s + 1]`` share no row and may run at once; strata follow each other.
    in_flight : int
        Parts of a block that are worked on side by side.
    """

    events: Events
    bounds: np.ndarray
    strata: np.ndarray
    in_flight: int = 1

    @classmethod
    def single(cls, events: Events, users: int, order: str = "user") -> Plan:
        """One block: sorted by user, arrival order kept within a user, or just in order of ``"arrival"``."""
        if order == "user":
            events = events.take(order_by(events.users, users)[0])
        elif order != "arrival":
            raise ValueError(f'order must be "user" or "arrival", got {order!r}')
        return cls(events, np.array([0, events.users.size], np.int64), np.array([0, 1], np.int64))

    def after(self, past: Events) -> Plan:
        """The same events behind those of the past, which come user by user: one block after the other."""
        whole = Events.concatenate([past, self.events])
        last = past.users.size
        return Plan(whole, np.concatenate([[0], self.bounds + last]), np.arange(len(self.bounds) + 1, dtype=np.int64))

    @classmethod
    def blocked(cls, events: Events, users: int, items: int, bands: int, seed: int) -> Plan:
        """Rows dealt at random into `bands` bands a side; block (a, b) holds the events of two bands, by user.

        Stratum s is the blocks (a, a + s mod bands): no two of them share a row.

        References
        ----------
        Gemulla, Nijkamp, Haas, Sismanis (2011), Large-scale Matrix Factorization with Distributed SGD.
        """
        if bands == 1:
            return cls.single(events, users)
        by_user = events.take(order_by(events.users, users)[0])
        user_band = _deal(users, bands, seed, 0)[by_user.users]
        item_band = _deal(items, bands, seed, 1)[by_user.items]
        block = (item_band - user_band) % bands * bands + user_band
        order, starts = order_by(block, bands * bands)
        return cls(by_user.take(order), starts, np.arange(0, bands * bands + 1, bands, dtype=np.int64))

    def block_order(self, seed: int, epoch: int) -> np.ndarray:
        """The blocks in the order of one epoch: strata shuffled, so that no event is always the last word."""
        strata = len(self.strata) - 1
        if strata == 1:
            return np.arange(len(self.bounds) - 1)
        keys = [int(draw(seed, epoch, stratum)) for stratum in range(strata)]
        blocks = np.arange(len(self.bounds) - 1).reshape(strata, -1)
        return blocks[np.argsort(keys)].ravel()


def _deal(rows: int, bands: int, seed: int, side: int) -> np.ndarray:
    """A band for every row: the rows in random order, cut into equal parts."""
    generator = np.random.default_rng([int(mix(np.uint64(seed))), side])
    band = np.empty(rows, np.int64)
    band[generator.permutation(rows)] = np.arange(rows) * bands // max(rows, 1)
    return band
