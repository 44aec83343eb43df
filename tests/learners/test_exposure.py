"""Exposure: items are charged from their first event on; what is kept current is compared with the log."""

from __future__ import annotations

from typing import Any

import naive_als
import numpy as np
import pytest
from strategies import assert_same, bits, content
from test_als import EXACT, METHODS, log_of, tables
from test_single_solves import EVENTS, assert_equal_to_an_update

from fastmf import MF, Interactions, Options, load, losses, optimizers, priors, regularizers

FLOOR = 0.05
LOSSES = {
    "plain": losses.Confidence(alpha=2.0, unobserved=0.3, exposure=FLOOR),
    "popular": losses.Confidence(popularity=0.5, exposure=FLOOR),
}
each_loss = pytest.mark.parametrize("loss", LOSSES)


def a_stream(count: int, seed: int = 0) -> Interactions:
    """Items arrive all the time."""
    rng, place = np.random.default_rng(seed), np.arange(count)
    return Interactions(rng.integers(0, 60, count), (rng.random(count) * (20 + place / 40)).astype(int))


def a_model(loss: str, method: str = "cholesky", past: int = 900, **settings: Any) -> MF:
    model = MF(8, LOSSES[loss], EXACT[method], regularizers.L2(0.1), **settings)
    return model.fit(a_stream(1_600)[:past], epochs=4, progress=False)


def assert_matrix(model: MF) -> None:
    """The Gram matrix of the items is that of exposures made anew."""
    state = model._state
    kept, log = state.grams.kept["items"], log_of(model)
    shares = naive_als.exposures(log, len(model.items), FLOOR)
    shares = shares * np.maximum(np.bincount(log.items, minlength=len(model.items)), 1.0) ** kept.power
    vectors = model.item_factors.astype(np.float64)
    exact = np.triu((vectors * shares[:, None]).T @ vectors)
    found = state.grams.at("items", kept, state, len(state.history))[:8, :8]
    assert np.abs(found - exact).max() <= 1e-9 * np.abs(exact).max()
    assert kept.full <= int((shares >= np.maximum(shares, 1)).sum()) or kept.power


def assert_at_its_minimum(model: MF, side: str, row: int, mean: np.ndarray, tolerance: float = 1e-4) -> None:
    strength = model.priors[side].strength
    settings = naive_als.Confidence(*model.loss, model.regularizer.weight, model.solver.nu, strength, mean)
    exact = naive_als.implicit_row(side, row, tables(model), log_of(model), settings)
    found = getattr(model, f"{side[:-1]}_factors")[row]
    assert np.abs(found - exact).max() <= tolerance * np.abs(exact).max()


@pytest.mark.parametrize("loss", LOSSES)
def test_items_of_a_fit_are_charged_since_their_first_event(loss: str) -> None:
    model = a_model(loss, priors={})
    assert_matrix(model)
    for row in range(len(model.items)):
        assert_at_its_minimum(model, "items", row, np.zeros(8))


@pytest.mark.parametrize(("method", "loss"), [*((method, "plain") for method in METHODS), ("cholesky", "popular")])
def test_rows_of_an_update_are_at_their_minimum(method: str, loss: str) -> None:
    model, stream = a_model(loss, method), a_stream(1_600)
    for side, batch in (("items", stream[900:1_000]), ("users", stream[1_000:1_100])):
        mean = model._state.groups["priors"].values[f"{side[:-1]}_mean"].copy()
        delta = model.update(batch, epochs=2, trainable="users" if side == "users" else "both")
        for row in delta.moves[side].rows.tolist():
            assert_at_its_minimum(model, side, row, mean)
        assert_matrix(model)


@each_loss
def test_a_thousand_changes_leave_the_matrix_exact(loss: str) -> None:
    model, stream = a_model(loss, past=600), a_stream(1_600)
    for first in range(600, 1_100):
        model.update(stream[first : first + 1], trainable="users" if first % 9 == 0 else "both")
    assert_matrix(model)
    for first in range(1_100, 1_600):
        model.learn_one(int(stream.users[first]), int(stream.items[first]))
        if first % 100 == 0:
            assert_matrix(model)
    model.flush()
    assert_matrix(model)
    model.rollback(to=300)
    assert_matrix(model)
    model.update(stream[900:1_200])
    assert_matrix(model)


@each_loss
def test_undo_copies_and_files_hold_every_bit(loss: str, tmp_path: Any) -> None:
    model, stream = a_model(loss), a_stream(1_600)
    first, replica = content(model), model.copy()
    deltas = [model.update(stream[900:1_000]), model.update(Interactions([777], [888]))]
    for user, item in ((5, 7), (1_000, 7), (6, 1_000), (1_001, 1_001)):
        model.learn_one(user, item)
    deltas.append(model.flush())
    for delta in deltas:
        replica.apply(delta)
    assert_same(bits(model), bits(replica))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same(bits(model), bits(again))
    for one in (model, replica, again):
        one.update(stream[1_000:1_100])
        assert_matrix(one)
    assert_same(bits(model), bits(replica))
    assert_same(bits(model), bits(again))
    model.rollback(to=0)
    assert_same(content(model), first)


@pytest.mark.parametrize("event", EVENTS)
def test_a_single_event_is_an_update_of_one(event: str) -> None:
    stream = Interactions(
        [*a_stream(300).users, *[1] * 60, *range(2, 40)], [*a_stream(300).items, *[*range(20)] * 3, *[1] * 38]
    )
    for loss in LOSSES.values():
        for most in (1_000, 20):
            model = MF(5, loss, optimizers.ALS("cholesky", max_history=most)).fit(stream, epochs=4, progress=False)
            assert_equal_to_an_update(model, EVENTS[event], 2.0)


def test_an_event_that_is_refused_changes_nothing() -> None:
    model = a_model("plain")
    model.learn_one(3, 4)
    before = bits(model)
    for user, item in ((5, 7), (900, 901)):
        with pytest.raises(ArithmeticError):
            model.learn_one(user, item, 3e38)
        assert_same(bits(model), before)
    model.learn_one(900, 902)
    model.flush()
    assert_matrix(model)


def test_imported_items_are_no_news() -> None:
    rng = np.random.default_rng(0)
    model = MF.from_factors(rng.normal(size=(50, 8)), rng.normal(size=(40, 8)), loss=LOSSES["plain"])
    model.update(Interactions([1, 2, 3], [5, 900, 30]))
    assert model._state.grams.firsts("items", model._state).tolist() == [*[0.0] * 40, 1.0]


def test_none_and_zero_are_no_exposure() -> None:
    assert losses.Confidence(exposure=None) == losses.Confidence(exposure=0)
    assert losses.Confidence().exposure == FLOOR
    with pytest.raises(ValueError, match=r"Confidence.exposure must be from 0 to 1, got 1.5"):
        MF(loss=losses.Confidence(exposure=1.5))
    with pytest.raises(ValueError, match=r"Confidence.exposure must be"):
        MF(loss=losses.Confidence(exposure=-0.1))
    assert priors.Mean().strength == 3


def test_first_events_are_found_once_for_both_threads() -> None:
    rng = np.random.default_rng(0)
    log = Interactions(rng.integers(0, 3_000, 500_000), rng.integers(0, 900, 500_000))
    one, two = (
        MF(8, LOSSES["plain"], options=Options(threads=threads)).fit(log, epochs=1, progress=False)
        for threads in (1, 2)
    )
    assert_same(content(one), content(two), but=("settings",))
