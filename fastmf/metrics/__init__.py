"""Metrics of predictions (rmse, ...), of rankings (ndcg, ...) and of catalogue coverage.

Ties count against a ranking: an item with the same score as a relevant one is placed before it. Otherwise a model that
gives every item the same score would be perfect.
"""

from fastmf.metrics.catalogue import coverage, novelty
from fastmf.metrics.errors import calibration, logloss, mae, rmse
from fastmf.metrics.positions import UNRANKED, ranks
from fastmf.metrics.ranking import auc, hit_rate, map, mrr, ndcg, ndcg_by_row, precision, recall

__all__ = [
    "UNRANKED",
    "auc",
    "calibration",
    "coverage",
    "hit_rate",
    "logloss",
    "mae",
    "map",
    "mrr",
    "ndcg",
    "ndcg_by_row",
    "novelty",
    "precision",
    "ranks",
    "recall",
    "rmse",
]
