"""Contestants that count or remember, and the value of one ranking in plain NumPy: for replays of a comparison."""

from __future__ import annotations

import numpy as np

from fastmf.parameters.ids import IdMap


class Counts:
    """A contestant that ranks items by what it has counted, with the members that an evaluation of rankings needs."""

    def __init__(self, seed=0):
        self.users, self.items, self.counts = IdMap(), IdMap(), np.zeros(0)

    def fit(self, events):
        self.update(events)

    def update(self, events):
        self.items.extend(self.items.stage(events.items).fresh)
        self.counts = np.pad(self.counts, (0, len(self.items) - self.counts.size))
        self.counts += np.bincount(self.items.rows(events.items), minlength=self.counts.size)

    unknown_user = np.zeros(2, np.float32)
    user_factors = np.zeros((0, 2), np.float32)

    @property
    def item_factors(self):
        return np.zeros((len(self.items), 2), np.float32)

    @property
    def item_biases(self):
        return self.counts.astype(np.float32)

    def predict(self, users, items):
        raise NotImplementedError


class Memory:
    """A contestant of three methods that knows the values of the pairs that it was handed, and says 0 of all others."""

    def __init__(self, seed=0):
        self.known = {}

    def fit(self, events):
        self.known = {}
        self.update(events)

    def update(self, events):
        self.known |= dict(zip(zip(events.users, events.items, strict=True), events.values, strict=True))

    def predict(self, users, items):
        return np.array([self.known.get(pair, 0) for pair in zip(users, items, strict=True)], np.float32)


def ndcg(scores, columns, gains):
    """NDCG@10 of one ranking, in which an item comes after all others with its score."""
    order = np.argsort(gains, kind="stable")  # of relevant items with one score, the least relevant comes first
    columns, gains = columns[order], gains[order]
    own = scores[columns]
    ranks = [(scores >= one).sum() - (own[n + 1 :] == one).sum() if one > -np.inf else 99 for n, one in enumerate(own)]
    found = sum(gain / np.log2(rank + 1) for rank, gain in zip(ranks, gains, strict=True) if rank <= 10)
    ideal = sum(gain / np.log2(n + 2) for n, gain in enumerate(sorted(gains, reverse=True)[:10]))
    return found / ideal
