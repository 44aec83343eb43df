"""Sums of a metric per user: what can be pooled, split into groups, and resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fastmf.metrics.ranking import RANKINGS

__all__ = ["GROUPS", "METRICS", "Metric", "UserSums", "bootstrap", "ranks_items", "sign"]

Metric = Literal[
    "rmse", "mae", "logloss", "calibration", "ndcg", "recall", "precision", "map", "mrr", "hit_rate", "auc"
]
METRICS: tuple[Metric, ...] = get_args(Metric)
GROUPS = ("returning-user", "new-user", "new-item", "head", "tail")


class UserSums(NamedTuple):
    """Sums of a metric per group (row 0 is all events) and user; the sum of two sums pools their events.

    Attributes
    ----------
    metric : str
    totals, counts : ndarray of float64, shape (1 + len(GROUPS), users)
        The metric is the ratio of their sums (rmse is its root): squared errors and events, say, or NDCG and rankings.
    """

    metric: Metric
    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, metric: Metric, users: int) -> UserSums:
        """No events: sums of zero."""
        shape = 1 + len(GROUPS), users
        return cls(metric, np.zeros(shape), np.zeros(shape))

    def add(self, other: UserSums) -> UserSums:
        """The sums of both."""
        return self._replace(totals=self.totals + other.totals, counts=self.counts + other.counts)

    def value(self, group: int = 0) -> float | None:
        """The metric over a group; None where it is empty."""
        count = self.counts[group].sum()
        return float(_finish(self.metric, self.totals[group].sum() / count)) if count > 0 else None

    def by_group(self) -> dict[str, float | None]:
        """The metric over each of `GROUPS`."""
        return {name: self.value(row) for row, name in enumerate(GROUPS, 1)}


def bootstrap(several: Sequence[UserSums], draws: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """Values of several sums over resampled users.

    A draw takes the same users for all of them, so that their differences are paired.

    Parameters
    ----------
    several : sequence of UserSums
        Over the same users.
    draws : int
    seed : int

    Returns
    -------
    ndarray of float64, shape (draws, len(several))

    References
    ----------
    Field, Welsh: Bootstrapping clustered data. J. R. Statist. Soc. B 69(3), 2007.
    """
    sums = np.stack([column for one in several for column in (one.totals[0], one.counts[0])], axis=1)
    sums = sums[sums.any(axis=1)]
    random = np.random.default_rng(seed)
    size = len(sums)
    drawn = np.empty((draws, sums.shape[1]))
    for draw in range(draws):
        drawn[draw] = np.bincount(random.integers(size, size=size), minlength=size) @ sums
    totals, counts = drawn[:, 0::2], drawn[:, 1::2]
    ratios = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
    return _finish(several[0].metric, ratios)


def ranks_items(metric: str) -> bool:
    """Whether a metric asks for rankings, not for values."""
    return metric in RANKINGS


def sign(metric: str) -> float:
    """1 where more is better, -1 where less is, 0 where neither is: calibration is best at 1."""
    return 1.0 if ranks_items(metric) else 0.0 if metric == "calibration" else -1.0


def _finish(metric: Metric, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(mean) if metric == "rmse" else mean
