"""Integers have an upper bound by name: none gets into NumPy or a kernel and overflows there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, Update, datasets, losses, metrics, optimizers
from fastmf.errors import DataError
from fastmf.evaluation import evaluate

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

EVENTS = Interactions(np.arange(30), np.arange(30) % 7)
MOST, ROOM, PAST = 2**31 - 1, 2**20, 2**24
BEYOND = [2**31, 10**12, 2**63, 2**70, 10**400]


def fitted() -> MF:
    return MF(factors=8).fit(EVENTS, epochs=1, progress=False)


def solved(**settings: Any) -> MF:
    return MF(factors=8, loss=losses.Confidence(), solver=optimizers.ALS(**settings))


BOUNDED: dict[str, tuple[Callable[[Any], Any], int | None]] = {
    "ALS.max_history": (lambda n: solved(max_history=n), PAST),
    "ALS.steps": (lambda n: solved(steps=n), MOST),
    "Update.epochs": (lambda n: Update(epochs=n), MOST),
    "Update.history_epochs": (lambda n: Update(history_epochs=n), MOST),
    "Update.max_history": (lambda n: Update(max_history=n), MOST),
    "Update.batch_size": (lambda n: Update(batch_size=n), MOST),
    "Logistic.negatives": (lambda n: MF(loss=losses.Logistic(negatives=n)).fit(EVENTS, epochs=0), None),
    "SampledSoftmax.negatives": (lambda n: MF(loss=losses.SampledSoftmax(n)).fit(EVENTS, epochs=0), None),
    "WARP.trials": (lambda n: MF(loss=losses.WARP(trials=n)).fit(EVENTS, epochs=0), None),
    "epochs": (lambda n: MF(factors=8).fit(EVENTS, epochs=n), MOST),
    "batch_size": (lambda n: MF(factors=8).fit(EVENTS, batch_size=n), MOST),
    "events": (lambda n: datasets.synthetic(events=n), MOST),
    "users": (lambda n: datasets.synthetic(users=n), MOST),
    "items": (lambda n: datasets.synthetic(items=n), MOST),
}


@pytest.mark.parametrize("beyond", BEYOND, ids=["2**31", "10**12", "2**63", "2**70", "10**400"])
@pytest.mark.parametrize("name", BOUNDED)
def test_integers_beyond_their_bound_are_refused_by_name(name: str, beyond: int) -> None:
    call, most = BOUNDED[name]
    said = f"{name} must be an integer from .* to {most}, got" if most else f"{name} must be a "
    with pytest.raises(ValueError, match=said.replace(".m", r"\.m")):
        call(beyond)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("name", ["epochs", "batch_size", "max_history", "history_epochs"])
def test_an_update_that_is_refused_changes_nothing(name: str) -> None:
    model = fitted()
    before = model.user_factors.copy(), model.version
    with pytest.raises(ValueError, match=re.escape(f"Update.{name}")):
        model.update(EVENTS[:2], **{name: 2**70})
    assert model.version == before[1]
    np.testing.assert_array_equal(model.user_factors, before[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_the_largest_are_taken() -> None:
    model = solved(max_history=PAST).fit(EVENTS, epochs=1, progress=False)
    model.update(EVENTS[:2])
    model.learn_one(1, 2)
    stepped = MF(factors=8, solver=optimizers.AdaGrad()).fit(EVENTS, epochs=1, progress=False)
    stepped.update(EVENTS[:2], max_history=MOST)
    stepped.update(EVENTS[:2], batch_size=MOST)
    stepped.fit(EVENTS, epochs=1, batch_size=MOST, progress=False)
    for loss in (losses.SampledSoftmax(ROOM), losses.WARP(trials=ROOM)):
        MF(factors=8, loss=loss).fit(EVENTS[:3], epochs=1, progress=False)
    with pytest.raises(ValueError, match=f"from 1 to {ROOM}, got {ROOM + 1}"):
        MF(factors=8, loss=losses.WARP(trials=ROOM + 1)).fit(EVENTS[:3], epochs=1, progress=False)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("k", BEYOND)
def test_places_beyond_the_catalogue(k: int) -> None:
    model, scores = fitted(), np.arange(12.0).reshape(3, 4)
    for metric in ("ndcg", "recall", "map", "mrr", "hit_rate", "auc"):
        assert evaluate(model, EVENTS, metric, k=k).value == evaluate(model, EVENTS, metric, k=7).value
        if metric != "auc":
            score = getattr(metrics, metric)
            assert score(scores, [0, 1], [1, 2], k=k) == score(scores, [0, 1], [1, 2], k=4)
            excluded = np.full((1, 2), -np.inf)
            assert score(excluded, [0], [1], k=k) == 0  # what is no candidate is at no place
    assert evaluate(model, EVENTS, "precision", k=k).value < 1e-8
    assert metrics.ndcg_by_row([1, 3], [4, 5], [1, 1], k=k)[1].tolist() == [1, 0.5]


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True])
def test_seeds(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be an integer"):
        datasets.synthetic(events=10, seed=seed)
    with pytest.raises(ValueError, match="seed must be an integer"):
        EVENTS.split_random(0.5, seed=seed)


@pytest.mark.parametrize(
    ("name", "value"), [("events", 0), ("users", 0), ("items", -1), ("events", 1.5), ("drift", -1.0)]
)
def test_numbers_of_a_synthetic_log(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        datasets.synthetic(**{"events": 10, name: value})


@pytest.mark.parametrize("name", [[], {}, None, 3, "ml"])
def test_data_sets_without_a_name(name: Any) -> None:
    for load in (datasets.load, datasets.movielens):
        with pytest.raises(datasets.DatasetError, match="unknown"):
            load(name)


POSITIONS: dict[str, Any] = {"floats": [0.5], "bools": [True], "text": ["a"], "beyond int64": [2**70], "none": [None]}


@pytest.mark.parametrize("given", POSITIONS.values(), ids=POSITIONS)
def test_positions_are_integers(given: Any) -> None:
    for rows, columns, name in ((given, [0], "rows"), ([0], given, "columns")):
        with pytest.raises(DataError, match=f"{name}, row 0: .* is no integer"):
            metrics.ranks([[1.0, 2.0]], rows, columns)
        with pytest.raises(DataError, match=f"{name}, row 0: .* is no integer"):
            metrics.recall([[1.0, 2.0]], rows, columns)
    with pytest.raises(DataError, match=r"positions, row 0: .* is no integer"):
        metrics.ndcg_by_row(given, [0], [1])
