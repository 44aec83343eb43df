"""Sums of a metric per user, which can be pooled, split into groups, and resampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fastmf.metrics.ranking import RANKINGS

__all__ = ["GROUPS", "METRICS", "METRIC_NAMES", "Metric", "UserSums", "bootstrap", "ranks_items", "sign"]

Metric = Literal[
    "rmse", "mae", "logloss", "calibration", "ndcg", "recall", "precision", "map", "mrr", "hit_rate", "auc"
]
METRICS: tuple[Metric, ...] = get_args(Metric)
METRIC_NAMES = {  # in tables
    "rmse": "RMSE",
    "mae": "MAE",
    "logloss": "log loss",
    "ndcg": "NDCG@10",
    "recall": "recall@10",
    "precision": "precision@10",
    "map": "MAP@10",
    "mrr": "MRR@10",
    "hit_rate": "hit rate@10",
    "auc": "AUC",
}
GROUPS = ("returning-user", "new-user", "new-item", "head", "tail")


class UserSums(NamedTuple):
    """Sums of a metric per group (row 0 is all events) and user; adding two of them pools their events.

    Attributes
    ----------
    metric : str
        Name of the metric.
    totals, counts : ndarray of float64, shape (1 + len(GROUPS), users)
        The metric is the ratio of their sums over users (rmse is its root): of squared errors and numbers of events,
        for example, or of NDCG values and numbers of rankings.
    """

    metric: Metric
    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, metric: Metric, users: int) -> UserSums:
        """Make sums of no events."""
        shape = 1 + len(GROUPS), users
        return cls(metric, np.zeros(shape), np.zeros(shape))

    def add(self, other: UserSums) -> UserSums:
        """Add the sums of other events.

        Parameters
        ----------
        other : UserSums
            Sums of the same metric over the same users.

        Returns
        -------
        UserSums
            The pooled sums.
        """
        return self._replace(totals=self.totals + other.totals, counts=self.counts + other.counts)

    def value(self, group: int = 0) -> float | None:
        """Compute the metric over a group.

        Parameters
        ----------
        group : int
            0 for all events, n for the n-th of `GROUPS`, counted from 1.

        Returns
        -------
        float or None
            None if the group is empty.
        """
        count = self.counts[group].sum()
        return float(_finish(self.metric, self.totals[group].sum() / count)) if count > 0 else None

    def by_group(self) -> dict[str, float | None]:
        """Compute the metric over each of `GROUPS`; None for an empty group."""
        return {name: self.value(row) for row, name in enumerate(GROUPS, 1)}


def bootstrap(several: Sequence[UserSums], draws: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """Compute the values of several sums over bootstrap samples of the users.

    Each draw uses the same users for all sums, so that their differences are paired.

    Parameters
    ----------
    several : sequence of UserSums
        Sums of one metric over the same users.
    draws : int
        Number of bootstrap samples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    ndarray of float64, shape (draws, len(several))
        The value of each of the sums in each draw.

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
    """Whether a metric is one of rankings, not of predicted values."""
    return metric in RANKINGS


def sign(metric: str) -> float:
    """Return 1 if larger values of a metric are better, -1 if smaller ones are, 0 for calibration (best at 1)."""
    return 1.0 if ranks_items(metric) else 0.0 if metric == "calibration" else -1.0


def _finish(metric: Metric, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(mean) if metric == "rmse" else mean
