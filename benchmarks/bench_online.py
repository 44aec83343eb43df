"""Single events (learn_one) and single predictions, by number of factors."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from benchmarks.measuring import random_beliefs, random_model

USERS, ITEMS, PAIRS = 100_000, 10_000, 50_000


@pytest.fixture(scope="module", params=[random_model, random_beliefs], ids=["AdaGrad", "Variational"])
def make(request):
    return request.param


@pytest.fixture(scope="module", params=[32, 128])
def model(request, make):
    made = make(np.arange(USERS), ITEMS, request.param)
    made.learn_one(0, 0, 4.0)  # compile before calibration
    return made


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    return cycle(zip(rng.integers(0, USERS, PAIRS).tolist(), rng.integers(0, ITEMS, PAIRS).tolist(), strict=True))


def test_learn_one(benchmark, model, pairs):
    benchmark(lambda: model.learn_one(*next(pairs), 4.0))


def test_predict_one(benchmark, model, pairs):
    benchmark(lambda: model.predict_one(*next(pairs)))
