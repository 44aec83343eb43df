"""Predictions and rankings against plain NumPy."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from twins import COUNTS, Twins

from fastmf import MF, Interactions, Options, losses, optimizers, ranking, regularizers
from fastmf.kernels.core.shape import shape_of
from fastmf.kernels.rank import scores
from fastmf.memory import aligned

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

KNOWN, OTHER = COUNTS["users"], COUNTS["items"]


@pytest.mark.parametrize("loss", [getattr(losses, name)() for name in losses.__all__ if name != "Confidence"], ids=str)
def test_predict_equals_naive(loss: Any) -> None:
    twins, rng = Twins(9, loss, optimizers.SGD(), regularizers.L2()), np.random.default_rng(0)
    users, items = rng.integers(-1, KNOWN, 200, np.int32), rng.integers(-1, OTHER, 200, np.int32)
    assert ((users < 0) & (items < 0)).any()
    tables = (*twins.working.now["users"], *twins.working.now["items"])
    kernel, out = scores.predict(twins.shape, type(loss)), np.empty(200, np.float32)
    nobody = tuple(np.zeros_like(table[:1]) for table in map(np.asarray, tables))
    nobody = tuple(aligned(1, one.shape[1]) if one.shape[1] >= 16 else one for one in nobody)
    for one in nobody:
        one[:] = 0
    free = twins.naive.predict(users, items, -np.inf, np.inf)
    low, high = np.quantile(free, [0.25, 0.75])
    for limits in ((-np.inf, np.inf), (low, high)):
        kernel(users, items, *tables, nobody, twins.working.mean, limits, twins.objective.loss, out)
        np.testing.assert_allclose(out, twins.naive.predict(users, items, *limits), rtol=1e-6)
    assert out.min() == np.float32(low)
    assert out.max() == np.float32(high)


def test_lengths() -> None:
    rng, shape = np.random.default_rng(0), shape_of(17, optimizers.SGD(), True)
    rows, out = aligned(40, naive.padded(17)), np.empty(40, np.float32)
    rows[:] = 0
    rows[:, :17] = rng.integers(-1, 2, (40, 17))
    scores.lengths(shape)(rows, out)
    np.testing.assert_array_equal(out, [np.sqrt(naive.total(row * row)) for row in rows])


@pytest.mark.parametrize("threads", [1, 2])
def test_recommend_is_the_order_of_predictions(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the door: seen and excluded items left out, unknown users, short lists padded."""
    monkeypatch.setattr(ranking, "_PARALLEL_FROM", 0)
    rng, users, items = np.random.default_rng(1), np.arange(30, 50), np.arange(100, 125)
    vectors, biases = rng.normal(0, 1, (2, 25, 6)), rng.normal(0, 1, (2, 25))
    model = MF.from_factors(
        vectors[0, :20],
        vectors[1],
        biases[0, :20],
        biases[1],
        0.5,
        users,
        items,
        options=Options(threads=threads),
    )
    seen = rng.choice(users, 60), rng.choice(items, 60)
    model.update(Interactions(*seen), trainable={})
    asked, excluded, wanted = [31, 999, 49], [104, 7], [*range(100, 118), 3]
    found = model.recommend(asked, k=17, items=wanted, exclude=excluded)
    for user, ids, values in zip(asked, *found, strict=True):
        left_out = {104, *seen[1][seen[0] == user].tolist()}
        allowed = np.array([item for item in range(100, 118) if item not in left_out])
        predicted = model.predict(np.full(len(allowed), user), allowed, clip=False)
        order = np.argsort(-predicted, kind="stable")
        missing = 17 - len(allowed)
        assert ids.tolist() == [*allowed[order].tolist(), *[-1] * missing]
        np.testing.assert_allclose(values, [*predicted[order], *[-np.inf] * missing], rtol=1e-6)
