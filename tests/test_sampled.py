"""Fits and updates of losses with negatives against plain NumPy, and what holds for every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FACTORS, SIDES, assert_same, bits

import fastmf
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers, samplers
from fastmf.errors import DataError

USERS, ITEMS, EVENTS = 23, 31, 200
LOSSES = [
    losses.BPR(),
    losses.BPR(allow_seen=True),
    losses.BPR(sampler=samplers.Popular(0.5)),
    losses.BPR(sampler=samplers.InBatch()),
    losses.WARP(margin=0.3, trials=4),
    losses.WARP(margin=0.05, trials=3, sampler=samplers.Popular()),
    losses.SampledSoftmax(3),
    losses.SampledSoftmax(5, sampler=samplers.Popular(0.75)),
    losses.SampledSoftmax(4, sampler=samplers.InBatch(), allow_seen=True),
    losses.Softmax(),
    losses.Softmax(allow_seen=True),
    losses.Logistic(negatives=3),
    losses.Logistic(negatives=2, calibration=0.7, sampler=samplers.Popular()),
]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
FEW = [losses.WARP(margin=0.3, trials=4), losses.SampledSoftmax(3)]
few_losses = pytest.mark.parametrize("loss", FEW, ids=str)


def some_positives(count: int = EVENTS, seed: int = 0, users: int = USERS, items: int = ITEMS) -> Interactions:
    """Events with some pairs repeated, values and weights."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, users, count), (rng.random(count) ** 2 * items).astype(np.int64)
    weights = rng.choice(np.array([0, 1, 1, 1.5], np.float32), count)
    return Interactions(*pairs, values=rng.choice([0.5, 1.0, 2.0], count), weights=weights)


def model_of(loss: Any, solver: Any = optimizers.AdaGrad(0.3, 5.0), **others: Any) -> MF:
    return MF(FACTORS, loss=loss, solver=solver, regularizer=regularizers.L2(0.01), seed=3, **others)


class Past(NamedTuple):
    """Events of a model in row numbers."""

    users: list[int]
    items: list[int]
    weights: list[Any]

    @classmethod
    def of(cls, model: MF, events: Interactions) -> Past:
        weights = np.ones(len(events), np.float32) if events.weights is None else events.weights
        return cls(
            model.users.rows(events.users).tolist(),
            model.items.rows(events.items).tolist(),
            list(weights * events.values),
        )

    def __add__(self, other: Past) -> Past:  # type: ignore[override]
        return Past(*(one + two for one, two in zip(self, other, strict=True)))

    def known(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for user, item in zip(self.users, self.items, strict=True):
            found.setdefault(user, set()).add(item)
        return found

    def counts(self) -> dict[int, int]:
        return {item: self.items.count(item) for item in set(self.items)}

    def by_user(self) -> Past:
        return self._sorted(lambda n: self.users[n])

    def by_first_appearance(self) -> Past:
        return self._sorted(lambda n: self.users.index(self.users[n]))

    def _sorted(self, key: Callable[[int], int]) -> Past:
        order = sorted(range(len(self.users)), key=key)
        return Past(*([column[n] for n in order] for column in self))

    def placed(self) -> list[tuple[int, int, int, Any]]:
        return [(place, *event) for place, event in enumerate(zip(*self, strict=True))]


def twin_of(model: MF, movable: tuple[Iterable[int], Iterable[int]]) -> naive.Lists:
    """The naive counterpart of a model as it is."""
    state = model._state
    assert state is not None
    shape = state.factors.shape
    sides = []
    for side in SIDES:
        table = state.factors.tables[side]
        rows = table.factors[: table.count].copy()
        sides.append(naive.Side.of(rows, table.records[: table.count], shape.size, shape.memory, table.count))
    objective = naive.Objective(None, naive.like(model.solver), naive.like(model.regularizer), model.biases)
    whole = naive.Model(*sides, state.factors.global_mean, objective)
    return naive.Lists(whole, model.loss, (set(movable[0]), set(movable[1])))


def pool_of(loss: Any, items: int, past: Past, batch: Past, arrived: Past | None = None) -> naive.Pool:
    if type(loss.sampler).__name__ == "InBatch":
        return naive.Pool(items, batch.items, batch.counts())
    return naive.Pool(items, past.items + (arrived.items if arrived else []), past.counts())


def assert_equals_twin(model: MF, twin: naive.Lists) -> None:
    """Every array, to the last bits: losses go through exp and log, which no standard rounds the same everywhere."""
    state = model._state
    assert state is not None
    for side, expected in zip(SIDES, (twin.model.users, twin.model.items), strict=True):
        table = state.factors.tables[side]
        np.testing.assert_allclose(table.factors[: table.count], expected.table(), 1e-4, 1e-6, err_msg=side)
        np.testing.assert_allclose(table.records[: table.count], expected.records(), 1e-4, 1e-6, err_msg=side)


# --- against plain NumPy ----------------------------------------------------------------------------------------------


@each_loss
def test_a_fit_equals_naive(loss: Any) -> None:
    events = some_positives()
    model = model_of(loss).fit(events, epochs=2)
    start = model_of(loss).fit(events, epochs=0)
    past = Past.of(model, events)
    ordered = past.by_user()
    twin = twin_of(start, (range(USERS), range(ITEMS)))
    for epoch in range(2):
        visits = np.random.default_rng([3, epoch]).permutation(len(model.users))
        placed = [event for user in visits for event in ordered.placed() if event[1] == user]
        pool = pool_of(loss, len(model.items), past, ordered)
        lost = twin.epoch(placed, naive.draw(3, epoch, 0), past.known(), pool)
        assert model.history_[epoch]["loss"] == pytest.approx(lost / float(np.sum(past.weights)), rel=1e-5)
    assert_equals_twin(model, twin)


@pytest.mark.parametrize("order", ["user", "arrival"])
@each_loss
def test_an_update_equals_naive(loss: Any, order: str) -> None:
    """New users and items among them; then a pass over the history, with items frozen."""
    model = model_of(loss).fit(some_positives(), epochs=1)
    earlier = Past.of(model, some_positives())
    batch = some_positives(40, seed=1, users=USERS + 3, items=ITEMS + 4)
    start = model.copy()
    start.update(batch, epochs=0, history_epochs=0)
    delta = model.update(batch, epochs=2, history_epochs=1, max_history=3, order=order)
    new = Past.of(model, batch)
    known, items = (earlier + new).known(), len(model.items)
    ordered = new.by_first_appearance() if order == "user" else new
    twin = twin_of(start, (new.users, new.items))
    seed = naive.draw(3, delta.parent + 1, 1)
    pool = pool_of(loss, items, earlier, ordered, new)
    for epoch in range(2):
        twin.epoch(ordered.placed(), naive.draw(seed, epoch, 0), known, pool)
    past = history_of(earlier, new, 3) + ordered
    twin.movable, rate = (set(new.users), set()), float(model.solver.rate)
    twin.model.objective = twin.model.objective._replace(step=naive.like(model.solver._replace(rate=rate * 0.5)))
    twin.epoch(past.placed(), naive.draw(seed, 2, 0), known, pool_of(loss, items, earlier, past, new))
    assert_equals_twin(model, twin)


def history_of(earlier: Past, new: Past, limit: int) -> Past:
    """The last events of the batch's users, who come in the order of the batch."""
    found = Past([], [], [])
    for user in dict.fromkeys(new.users):
        own = [n for n, one in enumerate(earlier.users) if one == user][-limit:]
        found += Past(*([column[n] for n in own] for column in earlier))
    return found


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("solver", [optimizers.SGD(0.1), optimizers.AdaGrad(0.3, 5.0)], ids=str)
@few_losses
def test_every_solver_equals_naive(loss: Any, solver: Any, biases: bool) -> None:
    events = some_positives()
    model = model_of(loss, solver, biases=biases).fit(events, epochs=1)
    twin = twin_of(model_of(loss, solver, biases=biases).fit(events, epochs=0), (range(USERS), range(ITEMS)))
    past = Past.of(model, events)
    visits = np.random.default_rng([3, 0]).permutation(len(model.users))
    placed = [event for user in visits for event in past.by_user().placed() if event[1] == user]
    twin.epoch(placed, naive.draw(3, 0, 0), past.known(), pool_of(loss, len(model.items), past, past))
    assert_equals_twin(model, twin)
    assert not model.user_biases.any()
    assert model.item_biases.any() == biases


@few_losses
def test_the_losses_of_a_delta_are_of_the_same_draws(loss: Any) -> None:
    model = model_of(loss).fit(some_positives(), epochs=1)
    batch = some_positives(40, seed=1)
    twin = twin_of(model, ((), ()))
    earlier, new = Past.of(model, some_positives()), Past.of(model, batch)
    still = model.copy().update(batch, rate=0.0)
    assert still.loss_before == still.loss_after
    seed = naive.draw(3, 1, 1)
    pool = pool_of(loss, len(model.items), earlier, new.by_first_appearance(), new)
    key = naive.draw(seed, 2**64 - 1, 0)
    lost = twin.epoch(new.by_first_appearance().placed(), key, (earlier + new).known(), pool)
    assert still.loss_before == pytest.approx(lost / float(np.sum(new.weights)), rel=1e-5)
