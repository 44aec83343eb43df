"""One step per batch: against plain NumPy, and against the textbook's formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import COUNTS, Twins

from fastmf import MF, Interactions, losses, optimizers, regularizers
from fastmf.devices import runner
from fastmf.plan import Plan


@pytest.mark.parametrize("size", [1, 9, *(pytest.param(one, marks=pytest.mark.slow) for one in (16, 48))])
def test_batches_equal_naive(size: int) -> None:
    twins = Twins(size)
    events = twins.events(100)
    for batch_size in (7, 100, 1_000):  # with a short tail, exactly one, more than there are
        lost, expected = twins.run_batches(events, batch_size)
        assert lost == pytest.approx(expected)
    twins.assert_equal()


@pytest.mark.parametrize("loss", [losses.Huber(0.4), losses.Poisson()], ids=str)
def test_losses_without_biases_equal_naive(loss: Any) -> None:
    twins = Twins(17, loss, optimizers.SGD(0.05), regularizers.L2(0.01), biases=False)
    twins.run_batches(twins.events(100), 8)
    twins.assert_equal(0 if loss == losses.Huber(0.4) else 1e-5)


@pytest.mark.parametrize("movable", [{"users": 5, "items": 0}, {"users": 0, "items": 4}, {"users": 7, "items": 6}])
def test_only_movable_rows_move(movable: dict[str, int]) -> None:
    twins = Twins(9, movable=movable)
    before = {side: rows.copy() for side, rows in twins.working.now.items()}
    twins.run_batches(twins.events(200), 16)
    twins.assert_equal()
    for side, count in movable.items():
        for now, then in zip(twins.working.now[side], before[side], strict=True):
            np.testing.assert_array_equal(now[count:], then[count:])


def test_batches_of_one_are_steps_per_event() -> None:
    batched, stepped = Twins(9), Twins(9)
    events = batched.events(80)
    batched.run_batches(events, 1)
    plan = Plan.single(events, COUNTS["users"], "arrival")
    runner("steps")(stepped.working, plan, stepped.objective, COUNTS, plan.block_order(0, 0), 1)
    for side in COUNTS:
        for found, expected in zip(batched.working.now[side], stepped.working.now[side], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("events", "batch_size"), [(6, 6), (40, 8), (43, 10)])
def test_update_is_the_textbook_step(events: int, batch_size: int) -> None:
    """theta - eta * grad((1/k) * sum (y - y_hat)**2), over the rows of the batch, in float64 NumPy."""
    rng, rate = np.random.default_rng(events), 0.3
    theta = {"users": rng.normal(0, 0.5, (9, 5)), "items": rng.normal(0, 0.5, (7, 5))}
    start = {side: rows.astype(np.float32) for side, rows in theta.items()}
    users, items = rng.integers(0, 8, events), rng.integers(0, 6, events)  # the last row of each side is left alone
    users[1], items[1] = users[0], items[0]
    values = rng.normal(0, 1, events)

    model = MF.from_factors(start["users"], start["items"], solver=optimizers.SGD(rate), regularizer=regularizers.L2(0))
    batch = Interactions(users, items, values=values)
    model.update(batch, epochs=1, batch_size=batch_size, order="arrival", history_epochs=0)

    p, q = start["users"].astype(np.float64), start["items"].astype(np.float64)
    for first in range(0, events, batch_size):
        u, i, y = (column[first : first + batch_size] for column in (users, items, values))
        slope = 2 * ((p[u] * q[i]).sum(axis=1) - y) / len(y)
        gradient_p, gradient_q = np.zeros_like(p), np.zeros_like(q)
        np.add.at(gradient_p, u, slope[:, None] * q[i])
        np.add.at(gradient_q, i, slope[:, None] * p[u])
        p, q = p - rate * gradient_p, q - rate * gradient_q
    np.testing.assert_allclose(model.user_factors, p, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.item_factors, q, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.user_factors[8], start["users"][8])
    np.testing.assert_array_equal(model.item_factors[6], start["items"][6])
    assert not model.user_biases.any()
    assert not model.item_biases.any()
