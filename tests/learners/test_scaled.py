"""Regularizers that depend on the size of the log: which strength fits, updates, visitors and single events have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from strategies import FACTORS, assert_same, content, some_events

import fastmf
from fastmf import MF, Interactions, losses, optimizers
from fastmf.regularizers import L2, ScaledL2

PAIRS = some_events(400, seed=1, users=40, items=30)
EVENTS = Interactions(PAIRS.users, PAIRS.items)
LATER = Interactions([1, 2, 901, 902], [3, 4, 3, 801])  # two new users, a new item
LOSSES = {
    "WARP": losses.WARP(),
    "BPR": losses.BPR(),
    "SampledSoftmax": losses.SampledSoftmax(4),
    "negatives": losses.Logistic(negatives=2),
}


def strength(regularizer: Any, events: int, users: int, items: int) -> L2:
    """By hand: each event counts once for its user, once for its item."""
    n = (events + events) / (users + items)
    return L2(float(np.float32(regularizer.weight)) / (1 + n / regularizer.events))


def as_learned(model: MF, but: tuple[str, ...] = ()) -> dict[str, Any]:
    found = content(model)
    return {name: found[name] for name in found if name not in ("settings", *but)}


def test_the_strength_halves_at_the_given_number_of_events() -> None:
    assert ScaledL2(0.2, 10).at(0) == L2(0.2)
    assert ScaledL2(0.2, 10).at(10) == L2(0.1)
    assert ScaledL2(0.2, 10).at(30) == L2(0.05)
    assert ScaledL2(0.0).at(30) == L2(0.0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_fits_updates_and_visitors_have_the_strength_of_their_log(loss: Any) -> None:
    model = MF(FACTORS, loss).fit(EVENTS, epochs=2)
    users, items = len(model.users), len(model.items)
    weaker = strength(model.regularizer, len(EVENTS), users, items)
    assert 0.7 * model.regularizer.weight < weaker.weight < 0.9 * model.regularizer.weight
    twin = MF(FACTORS, loss, regularizer=weaker).fit(EVENTS, epochs=2)
    assert_same(as_learned(model), as_learned(twin))
    session = Interactions([0, 0], EVENTS.items[:2])
    for one, other in zip(model.fold_in(session, k=5), twin.fold_in(session, k=5), strict=True):
        np.testing.assert_array_equal(one, other)

    later = strength(model.regularizer, len(EVENTS) + 4, users + 2, items + 1)
    assert later.weight != weaker.weight
    model.update(LATER)
    twin.update(LATER, regularizer=later)
    assert_same(as_learned(model), as_learned(twin))


def test_the_first_batch_of_a_model_has_that_of_the_batch() -> None:
    model, twin = MF(FACTORS, losses.WARP()), MF(FACTORS, losses.WARP())
    model.update(EVENTS)
    size = len(EVENTS), len(model.users), len(model.items)
    twin.update(EVENTS, regularizer=strength(model.regularizer, *size))
    assert_same(as_learned(model), as_learned(twin))


def test_without_history_it_is_that_of_a_log_without_events() -> None:
    rng = np.random.default_rng(0)
    tables = rng.normal(0, 0.1, (5, FACTORS)), rng.normal(0, 0.1, (6, FACTORS))
    batch = Interactions([0], [1])
    one, other = (MF.from_factors(*tables, loss=losses.BPR(), seed=3) for _ in range(2))
    one.update(batch)
    other.update(batch, regularizer=strength(one.regularizer, 1, 5, 6))
    assert_same(as_learned(one), as_learned(other))


def test_single_events_have_the_strength_of_the_log_they_begin_with() -> None:
    solver = optimizers.AdaGrad(0.1)
    model = MF(FACTORS, solver=solver, regularizer=ScaledL2(0.5, 4)).fit(PAIRS, epochs=1)
    for count in (0, 3):
        size = len(PAIRS) + count, len(model.users), len(model.items)
        twin = model.copy()
        twin.set_params(regularizer=strength(model.regularizer, *size))
        for one in (model, twin):
            for user, item, value in zip(PAIRS.users[:3], PAIRS.items[3:6], PAIRS.values[:3], strict=True):
                one.learn_one(int(user), int(item), float(value))
            one.flush()
        assert_same(as_learned(model), as_learned(twin))


def test_it_is_saved_and_refused_where_it_means_nothing(tmp_path: Path) -> None:
    model = MF(FACTORS, losses.WARP(), regularizer=ScaledL2(0.3, 7)).fit(EVENTS, epochs=1)
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model")
    assert (type(loaded.regularizer), loaded.regularizer) == (ScaledL2, ScaledL2(0.3, 7))
    with pytest.raises(ValueError, match="ALS needs a regularizer L2"):
        MF(loss=losses.Confidence(), regularizer=ScaledL2())
    for bad in (ScaledL2(-1.0), ScaledL2(events=0.0), ScaledL2(events=-2.0), ScaledL2(float("nan"))):
        with pytest.raises(ValueError, match=r"ScaledL2\."):
            MF(loss=losses.WARP(), regularizer=bad)


class Halved(NamedTuple):
    """A regularizer of one's own that depends on the size."""

    weight: float = 0.4

    def gradient(self, row: Any, anchor: Any) -> Any:
        return self.weight * row

    def at(self, events: float) -> L2:
        return L2(self.weight / 2)

    def check(self) -> None:
        pass


def test_one_s_own_regularizer_may_depend_on_the_size_too() -> None:
    one = MF(FACTORS, losses.BPR(), regularizer=Halved()).fit(EVENTS, epochs=1)
    other = MF(FACTORS, losses.BPR(), regularizer=L2(0.2)).fit(EVENTS, epochs=1)
    assert_same(as_learned(one), as_learned(other))
