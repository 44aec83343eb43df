"""Positives for tests of losses with negatives, models of these, and their naive counterparts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import naive
import numpy as np
from strategies import FACTORS, SIDES

from fastmf import MF, Interactions, losses, optimizers, regularizers, samplers

USERS, ITEMS, EVENTS = 23, 31, 200
LOSSES = [
    losses.BPR(),
    losses.BPR(allow_seen=True),
    losses.WARP(margin=0.3, trials=4),
    losses.SampledSoftmax(3),
    losses.SampledSoftmax(5, sampler=samplers.Popular(0.75)),
    losses.Softmax(),
    losses.Softmax(allow_seen=True),
    losses.Logistic(negatives=2, calibration=0.7, sampler=samplers.Popular()),
]


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
    shape = state.users.table.shape
    sides = []
    for side in SIDES:
        table = state.side(side).table
        rows = table.factors[: table.count].copy()
        sides.append(naive.Side.of(rows, table.records[: table.count], shape.size, shape.memory, table.count))
    objective = naive.Objective(None, naive.like(model.solver), naive.like(model.regularizer), model.biases)
    whole = naive.Model(*sides, state.global_mean, objective)
    return naive.Lists(whole, model.loss, (set(movable[0]), set(movable[1])))


def pool_of(loss: Any, items: int, past: Past, batch: Past, arrived: Past | None = None) -> naive.Pool:
    if type(loss.sampler).__name__ == "InBatch":
        return naive.Pool(items, batch.items, batch.counts())
    return naive.Pool(items, past.items + (arrived.items if arrived else []), past.counts(), tabled=not arrived)


def in_flight(loss: Any) -> int:
    """Events of one user whose slopes are taken at once."""
    return 4 if loss.kind == "pairwise" else 1


def assert_equals_twin(model: MF, twin: naive.Lists) -> None:
    """Every array, to the last bits: losses go through exp and log, which no standard rounds the same everywhere."""
    state = model._state
    assert state is not None
    for side, expected in zip(SIDES, (twin.model.users, twin.model.items), strict=True):
        table = state.side(side).table
        np.testing.assert_allclose(table.factors[: table.count], expected.table(), 1e-4, 1e-6, err_msg=side)
        np.testing.assert_allclose(table.records[: table.count], expected.records(), 1e-4, 1e-6, err_msg=side)
