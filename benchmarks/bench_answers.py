"""Predictions, recommendations and likenesses from a fitted model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measuring import note
from fastmf import MF
from fastmf.datasets import synthetic


@pytest.fixture(scope="module")
def model():
    return MF(factors=64).fit(synthetic(events=200_000, users=10_000, items=20_000), progress=False)


def test_predict(benchmark, model):
    rng = np.random.default_rng(0)
    users, items = rng.choice(model.users.values, 100_000), rng.choice(model.items.values, 100_000)
    benchmark(model.predict, users, items)
    note(benchmark, "predictions_per_second", users.size)


@pytest.mark.parametrize("users", [1, 1_000])
def test_recommend(benchmark, model, users):
    benchmark(model.recommend, model.users.values[:users])
    note(benchmark, "users_per_second", users)


def test_similar_items(benchmark, model):
    benchmark(model.similar_items, model.items.values[:1_000])
