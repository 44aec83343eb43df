"""Metrics against those of others: trec_eval, by which TREC has judged rankings since 1992, and SciPy.

Neither breaks ties as is done here, so ties are broken beforehand: relevant items, the better the further, go behind
the others that score the same.
"""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from scipy import stats

from fastmf import metrics

QUERIES, ITEMS = 40, 60
NAMES = {
    "ndcg": "ndcg_cut_{}",
    "recall": "recall_{}",
    "precision": "P_{}",
    "map": "map_cut_{}",
    "hit_rate": "success_{}",
    "mrr": "recip_rank",
}


@pytest.fixture(scope="module", params=["distinct", "tied"])
def case(request):
    """Scores, graded gains (0 is judged, and not relevant), and scores without ties in the order that is meant."""
    random = np.random.default_rng(5)
    scores = random.normal(size=(QUERIES, ITEMS))
    if request.param == "tied":
        scores = np.rint(2 * scores)
    gains = random.choice([0, 0, 0, 0, 1, 2, 5], (QUERIES, ITEMS))
    gains[np.arange(QUERIES), random.integers(0, ITEMS, QUERIES)] = 3  # every query has an answer
    order = np.lexsort((gains, -scores))
    broken = np.empty((QUERIES, ITEMS))
    np.put_along_axis(broken, order, -np.arange(float(ITEMS))[None], axis=1)
    return scores, gains, broken


def judged(gains, broken, measure):
    truth = {str(row): {f"i{n}": int(gain) for n, gain in enumerate(line)} for row, line in enumerate(gains)}
    runs = {str(row): {f"i{n}": float(score) for n, score in enumerate(line)} for row, line in enumerate(broken)}
    names = {measure.replace(f"_{k}", f".{k}") for k in (1, 5, 10, 60) if measure.endswith(f"_{k}")} or {measure}
    answers = pytrec_eval.RelevanceEvaluator(truth, names).evaluate(runs)
    return np.mean([answer[measure] for answer in answers.values()])


@pytest.mark.parametrize("k", [1, 5, 10, ITEMS])
@pytest.mark.parametrize("metric", NAMES)
def test_rankings_as_in_trec_eval(case, metric, k):
    scores, gains, broken = case
    if metric == "mrr":  # trec_eval cuts nothing off
        k = ITEMS
    rows, columns = np.indices(gains.shape).reshape(2, -1)
    mine = getattr(metrics, metric)(scores, rows, columns, gains.ravel(), k)
    assert mine == pytest.approx(judged(gains, broken, NAMES[metric].format(k)), rel=1e-6)


def test_auc_as_by_mann_and_whitney(case):
    scores, gains, broken = case
    rows, columns = np.nonzero(gains)
    areas = [
        stats.mannwhitneyu(line[gain > 0], line[gain == 0]).statistic / ((gain > 0).sum() * (gain == 0).sum())
        for line, gain in zip(broken, gains, strict=True)
    ]
    assert metrics.auc(scores, rows, columns) == pytest.approx(np.mean(areas))


def test_logloss_as_the_likelihood_of_coins():
    random = np.random.default_rng(6)
    labels, chances = random.integers(0, 2, 500), random.random(500)
    assert metrics.logloss(labels, chances) == pytest.approx(-stats.bernoulli.logpmf(labels, chances).mean())
