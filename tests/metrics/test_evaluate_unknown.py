"""`evaluate` ranks for users whom the model does not know as `recommend` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, Options, metrics, optimizers
from fastmf.evaluation import evaluate


def ratings(seed: int, first: int) -> Interactions:
    """Events of 30 users, from one on, who agree about half of a taste."""
    rng = np.random.default_rng(seed)
    u, i = rng.integers(first, first + 30, 900), rng.integers(0, 50, 900)
    p, q = 1 + rng.normal(0, 0.5, (first + 30, 2)), np.random.default_rng(9).normal(0, 1, (50, 2))
    return Interactions(u, i, 3 + (p[u] * q[i]).sum(axis=1) + rng.normal(0, 0.3, 900))


def ndcg_of_lists(model: MF, events: Interactions, k: int) -> float:
    """The metric from the lists that `recommend` gives."""
    users = np.unique(events.users)
    lists = model.recommend(users, k=len(model.items), exclude_seen=False).ids
    places = {(user, item): n for user, ids in zip(users, lists, strict=True) for n, item in enumerate(ids, 1)}
    pairs = {(u, i): v for u, i, v in zip(events.users, events.items, events.values, strict=True) if v > 0}
    rows = [np.searchsorted(users, user) for user, _ in pairs]
    order = np.argsort(list(pairs.values()), kind="stable")
    positions = np.array([places[pair] for pair in pairs])[order]
    gains = np.array(list(pairs.values()))[order]
    return float(np.mean(metrics.ranking.ndcg_by_row(positions, np.array(rows)[order], gains, k)[1]))


@pytest.mark.parametrize("solver", [optimizers.Variational(), optimizers.AdaGrad()], ids=["prior", "zeros"])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_unknown_users_are_ranked_for_as_by_recommend(solver: Any, storage: str) -> None:
    model = MF(5, solver=solver, options=Options(storage=storage)).fit(ratings(0, 0), epochs=6, progress=False)
    row = model.unknown_user
    assert (row.shape, row.dtype) == ((5,), model.user_factors.dtype)
    assert row.any() == (solver == optimizers.Variational())
    for first in (0, 20, 1000):  # all known, some, none
        later = ratings(1, first)
        assert evaluate(model, later, "ndcg", k=10).value == pytest.approx(ndcg_of_lists(model, later, 10), abs=1e-6)


def test_a_taste_that_users_share_counts_for_unknown_ones() -> None:
    model = MF(5, solver=optimizers.Variational(), biases=False).fit(ratings(0, 0), epochs=10, progress=False)
    later = ratings(1, 1000)
    liked = later[np.flatnonzero(later.values > 4.5)]
    assert evaluate(model, liked, "auc").value > 0.7  # without biases, a vector of zeros ties all


def test_a_model_without_users_is_evaluated() -> None:
    model = MF.from_factors(np.empty((0, 2)), [[1.0, 0.0], [0.0, 1.0]], item_biases=[1, 2], users=[], items=[7, 8])
    assert evaluate(model, Interactions([1, 2], [8, 7]), "mrr").value == 0.75
