"""Predictions, recommendations and similar items from a fitted model; kept lists against lists computed anew."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest

from benchmarks.measuring import note, random_model
from fastmf import Interactions

USERS, ITEMS, FACTORS, SEEN = 4_096, 26_744, 64, 145


@pytest.fixture(scope="module")
def model():
    """A model whose users have seen 145 items each."""
    made, rng = random_model(np.arange(USERS), ITEMS, FACTORS), np.random.default_rng(0)
    seen = np.repeat(np.arange(USERS), SEEN), rng.integers(0, ITEMS, USERS * SEEN)
    made.update(Interactions(*seen), epochs=0, history_epochs=0)
    for _ in range(20):  # compile before calibration, and make the 8-bit copy
        made.learn_one(0, 0, 3.0)
        made.recommend([0])
    made.flush()
    return made


@pytest.fixture
def events():
    """Single events, one after the other."""
    rng = np.random.default_rng(1)
    return cycle(zip(rng.integers(0, USERS, 50_000).tolist(), rng.integers(0, ITEMS, 50_000).tolist(), strict=True))


def test_predict(benchmark, model):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, USERS, 100_000), rng.integers(0, ITEMS, 100_000)
    benchmark(model.predict, users, items)
    note(benchmark, "predictions_per_second", users.size)


def test_matmul(benchmark, model):
    """The cost of scoring alone, in tiles of 128 users; set OPENBLAS_NUM_THREADS=1 for one thread."""
    users, items = model.user_factors.copy(), model.item_factors.copy()
    tile = np.empty((128, ITEMS), np.float32)

    def multiply():
        for first in range(0, USERS, 128):
            np.dot(users[first : first + 128], items.T, out=tile)

    benchmark(multiply)
    note(benchmark, "scores_per_second", USERS * ITEMS)


@pytest.mark.parametrize("threads", [1, 2])
def test_recommend_to_all(benchmark, model, threads, monkeypatch):
    monkeypatch.setattr(model, "options", model.options._replace(threads=threads))
    benchmark(model.recommend, np.arange(USERS))
    note(benchmark, "scores_per_second", USERS * ITEMS)


def test_recommend_to_one(benchmark, model, events):
    benchmark(lambda: model.recommend([next(events)[0]]))


def test_rerank_search_hits(benchmark, model, events):
    hits = np.random.default_rng(2).integers(0, ITEMS, 100)
    benchmark(lambda: model.recommend([next(events)[0]], items=hits))


def test_event_to_list(benchmark, model, events):
    def learn():
        user, item = next(events)
        model.learn_one(user, item, 3.0)
        model.recommend([user])

    benchmark(learn)
    model.flush()


def test_similar_items(benchmark, model):
    benchmark(model.similar_items, np.arange(1_000))


def test_lists_anew(benchmark, model):
    benchmark(model.lists)


@pytest.mark.parametrize("size", [1, 100])
def test_lists_refresh(benchmark, model, events, size):
    lists = model.lists()

    def change():
        batch = np.array([next(events) for _ in range(size)])
        return (model.update(Interactions(batch[:, 0], batch[:, 1], np.full(size, 3.0))),), {}

    benchmark.pedantic(lists.refresh, setup=change, rounds=20)
