"""Drift of beliefs: rates learned from standardised errors, and the detection of changes."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same, content

from fastmf import MF, Interactions, Options, load, losses
from fastmf.datasets import FIRST_SECOND, YEAR, Change, synthetic
from fastmf.kernels.train import belief_steps as steps
from fastmf.learners.drift import PageHinkley, forgotten, watched
from fastmf.parameters.priors import EVIDENCE, Priors

ONE_THREAD = Options(threads=1)

# --- plain Python, written anew -------------------------------------------------------------------------------------


def naive_page_hinkley(batches: list[tuple[int, float]]) -> bool:
    """Whether a change is found, from the definition: all sums from the beginning, for each batch."""
    means, deviations = [], []
    for number, total in batches:
        seen, mean = 0, 0.0
        for n, mean_of_batch in means:
            seen += n
            mean += (mean_of_batch - mean) * n / min(seen, 50_000 + n)
        deviations.append(total - number * (mean + 0.1) if seen >= 2_000 else 0.0)
        means.append((number, total / number))
    path = np.concatenate([[0.0], np.cumsum(deviations)])
    return any(path[n] - path[: n + 1].min() > 400 for n in range(path.size))


def naive_rates(rates: list[float], batches: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The rates after batches of (j of both sides [n, 2], excess [n]), by weighted least squares over all events."""
    found = np.array(rates)
    for last in range(len(batches)):
        ages = np.cumsum([len(excess) for _, excess in batches[: last + 1]][::-1])[::-1] - len(batches[last][1])
        weights = np.concatenate(
            [np.full(len(excess), math.exp(-age / 3_000)) for (_, excess), age in zip(batches, ages, strict=False)]
        )
        gains, excess = (np.concatenate([batch[n] for batch in batches[: last + 1]]) for n in (0, 1))
        if weights.sum() < 500:
            continue
        inverse = np.linalg.inv((weights[:, None] * gains).T @ gains)
        t = inverse @ (gains.T @ (weights * excess)) / np.sqrt(2 * np.diag(inverse))
        found = np.clip(found * np.exp(np.clip(t / 2, -1, 1) * min(len(batches[last][1]) / 5_000, 2)), 1e-5, 0.03)
    return found


def joined(batches: list[tuple[np.ndarray, np.ndarray]], by: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every so many batches as one."""
    return [
        tuple(np.concatenate(parts) for parts in zip(*batches[first : first + by], strict=True))  # type: ignore[misc]
        for first in range(0, len(batches), by)
    ]


def sums_of(gains: np.ndarray, excess: np.ndarray, settled: int = 0) -> np.ndarray:
    """The sums of a pass in which every event counts, the first `settled` of them of settled users."""
    sums, products = np.zeros(steps.SUMS), gains.T @ gains
    sums[:5] = products[0, 0], products[0, 1], products[1, 1], *(gains.T @ excess)
    old, new = excess[:settled] + 1, excess[settled:] + 1
    sums[5:9] = new.size, new.sum(), old.size, old.sum()
    return sums


# --- the rules ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 3_000), st.floats(0.5, 1.6)), min_size=1, max_size=30),
)
def test_a_page_hinkley_test_is_that_of_its_definition(batches: list[tuple[int, float]]) -> None:
    test, found, totals = PageHinkley(), False, [(number, number * mean) for number, mean in batches]
    for number, total in totals:
        test = test.after(number, total)
        found = found or test.changed
    near = abs(test.summed - test.least - 400) < 1e-6
    assert found == naive_page_hinkley(totals) or near


def test_nothing_changes_a_test() -> None:
    test = PageHinkley().after(100, 90.0)
    assert test.after(0, 0.0) == test


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
@pytest.mark.parametrize("size", [100, 700])
def test_rates_are_those_of_weighted_least_squares(shift: float, size: int) -> None:
    rng, priors, batches = np.random.default_rng(size), Priors(3, 0), []
    for _ in range(15):
        gains = rng.gamma(1, 1, (size, 2))
        batches.append((gains, rng.chisquare(1, size) - 1 + shift * gains[:, 0]))
        drift, notes = watched(priors, sums_of(*batches[-1]))
        assert not notes
        priors.set(drift=drift)
    np.testing.assert_allclose(
        priors.values["drift"][:2], naive_rates([3e-4, 1e-4], joined(batches, 1 if size == 700 else 5)), rtol=1e-9
    )
    if size == 700:
        assert np.sign(priors.values["drift"][0] - 3e-4) == np.sign(shift) or not shift
    np.testing.assert_array_equal(priors.rates[:2], priors.values["drift"][:2].astype(np.float32))


def test_a_change_is_named_by_its_segment_and_makes_the_tests_of_users_stricter() -> None:
    rng, priors = np.random.default_rng(0), Priors(3, 0)
    told: list[str] = []
    for batch in range(60):
        excess = rng.chisquare(1, 1_000) - 1
        excess[:300] += 1.5 * (batch >= 40)
        drift, notes = watched(priors, sums_of(rng.gamma(1, 1, (1_000, 2)), excess, settled=300))
        assert not notes or batch in (40, 41)
        if notes:
            told += notes
            assert (drift[2], drift[9:21].any()) == (1, False)  # type: ignore[index]
        priors.set(drift=drift)
    assert any("users with 20 events or more are 2." in note and "refit()" in note for note in told)
    assert not any("less than 20" in note for note in told)
    alert = float(priors.values["drift"][2])
    assert alert == pytest.approx(math.exp(-0.38), abs=0.02)
    assert priors.rates[2] == np.float32(7 - 5 * alert)
    assert not forgotten(priors)[2:].any()
    assert forgotten(priors).size == 2 + EVIDENCE


def test_sums_of_no_events_change_nothing() -> None:
    drift, notes = watched(Priors(3, 0), np.zeros(steps.SUMS))
    np.testing.assert_array_equal(drift, Priors(3, 0).values["drift"])
    assert notes == ()


# --- models ---------------------------------------------------------------------------------------------------------


LOG = synthetic(events=9_000, users=150, items=100, drift=0.0, seed=1)


def fitted(**settings: Any) -> MF:
    return MF(4, options=ONE_THREAD, **settings).fit(LOG[:6_000], epochs=5, progress=False)


def rates_of(model: MF) -> np.ndarray:
    return model._state.groups["priors"].values["drift"].copy()  # type: ignore[union-attr]


def test_rates_move_by_deltas_and_come_back_to_the_bit() -> None:
    model = fitted()
    before, twin, start = content(model), model.copy(), rates_of(model)
    assert start[:2].tolist() == [3e-4, 1e-4]
    assert not start[2:].any()
    deltas = [model.update(LOG[first : first + 500]) for first in range(6_000, 9_000, 500)]
    assert (rates_of(model)[:2] != start[:2]).all()
    for delta in deltas:
        twin.apply(pickle.loads(pickle.dumps(delta)))
    assert_same(content(twin), content(model))
    model.rollback(to=0)
    assert_same(content(model), before)


def learn_singly(model: MF, events: Interactions) -> None:
    for user, item, value in zip(events.users.tolist(), events.items.tolist(), events.values.tolist(), strict=True):
        model.learn_one(user, item, value)


def test_single_events_tell_what_those_of_an_update_tell() -> None:
    one = fitted()
    other, replica, untouched = one.copy(), one.copy(), content(one)
    learn_singly(one, LOG[6_000:7_000])
    assert not rates_of(one)[2:].any()
    delta = one.flush()
    other.update(LOG[6_000:7_000])
    assert (rates_of(one)[:2] != (3e-4, 1e-4)).all()
    assert_same(content(one), content(other), but=("history times",))  # single events have that of the one before
    replica.apply(delta)
    assert_same(content(replica), content(one))
    one.rollback(delta)
    assert_same(content(one), untouched)


def test_an_update_goes_on_from_what_single_events_have_told() -> None:
    one, other = fitted(), fitted()
    for model in (one, other):
        learn_singly(model, LOG[6_000:6_700])
    other.flush()
    first, second = one.update(LOG[6_700:8_000]), other.update(LOG[6_700:8_000])
    assert_same(content(one), content(other))
    one.rollback(first)
    other.rollback(second)
    assert_same(content(one), content(other))


def test_a_change_among_single_events_is_told_by_their_delta() -> None:
    model = fitted()
    learn_singly(model, LOG[6_000:9_000])
    assert model.flush().notes == ()
    learn_singly(model, LOG[6_000:9_000])
    assert model.flush().notes == ()
    odd = LOG[:3_000]
    learn_singly(model, Interactions(odd.users, odd.items, 6 - odd.values))
    (note,) = model.flush().notes[:1]
    assert note.startswith("a change: squared errors of")


def test_rates_are_part_of_a_file(tmp_path: Any) -> None:
    model = fitted()
    model.update(LOG[6_000:7_000])
    model.save(tmp_path / "model")
    assert_same(content(load(tmp_path / "model")), content(model))
    np.testing.assert_array_equal(rates_of(load(tmp_path / "model")), rates_of(model))


def test_a_warm_refit_keeps_the_rates_and_forgets_the_evidence() -> None:
    model = fitted()
    model.update(LOG[6_000:7_000])
    rates = rates_of(model)
    model.refit(epochs=1, warm=True)
    assert rates_of(model)[:2].tolist() == rates[:2].tolist()
    assert not rates_of(model)[2:].any()
    assert rates_of(model.refit(epochs=1))[:2].tolist() == [3e-4, 1e-4]


@pytest.mark.parametrize(
    ("trainable", "moves"),
    [("both", True), ("users", False), ("new", False), ({"users": True, "items": True}, False),
     ({"users": True, "items": True, "priors": True}, True)],
)  # fmt: skip
def test_rates_move_only_where_they_may(trainable: Any, moves: bool) -> None:
    model = fitted()
    before = rates_of(model)
    delta = model.update(LOG[6_000:7_000], trainable=trainable)
    assert ("priors" in delta.moves, (rates_of(model) != before).any()) == (moves, moves)


def test_labels_have_rates_that_do_not_move() -> None:
    labels = Interactions(LOG.users, LOG.items, (LOG.values > 3).astype(float))
    model = MF(4, loss=losses.Logistic(), options=ONE_THREAD).fit(labels[:6_000], epochs=3, progress=False)
    assert "priors" not in model.update(labels[6_000:]).moves


def test_a_delta_with_notes_says_so() -> None:
    delta = fitted().update(LOG[6_000:6_100])
    assert delta.notes == ()
    assert delta.inverse("x", 5).notes == ()
    object.__setattr__(delta, "notes", ("a change",))
    assert str(delta).endswith("a change")
    object.__setattr__(delta, "notes", ["no tuple"])
    with pytest.raises(ValueError, match="notes of the Delta"):
        delta.require_form()


def test_impossible_rates_are_refused() -> None:
    priors = Priors(3, 0)
    for place, number in ((0, -1e-3), (1, 2.0), (2, 1.5)):
        drift = priors.values["drift"].copy()
        drift[place] = number
        with pytest.raises(ValueError, match="not shares"):
            priors.require(priors.move({"drift": drift}), 0)


def changed(kind: str, at: float, events: int, **how: Any) -> tuple[Interactions, int]:
    """A stream with a change, and the position of the first event after it."""
    log = synthetic(events=events, drift=0.0, changes=[Change(kind, at=at, share=0.2)], **how)
    return log, int(np.searchsorted(log.times, FIRST_SECOND + int(at * YEAR)))  # type: ignore[arg-type]


@pytest.mark.slow
def test_users_who_take_another_taste_are_learned_again_in_half_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    log, position = changed("tastes", 0.4, 600_000)
    found = {}
    for how in ("learned", "fixed"):
        if how == "fixed":
            monkeypatch.setattr(Priors, "_set_rates", lambda self: self.rates.__setitem__(slice(None), (3e-4, 1e-4, 0)))
        model, squares = MF(options=ONE_THREAD).fit(log[:120_000], progress=False), []
        for first in range(120_000, 600_000, 1_000):
            batch = log[first : first + 1_000]
            squares.append(((model.predict(batch.users, batch.items) - batch.values) ** 2).mean())
            delta = model.update(batch)
            assert not delta.notes or (how == "learned" and first >= position - 1_000)
        at, losses_of = -(-(position - 120_000) // 1_000), np.sqrt(np.convolve(squares, np.full(10, 0.1), "valid"))
        before = np.sqrt(np.mean(squares[at - 50 : at]))
        found[how] = int(np.argmax(losses_of[at:] <= 1.05 * before))
        assert found[how]
    assert found["learned"] <= found["fixed"] / 2


@pytest.mark.slow
def test_a_rate_follows_tastes_that_turn_and_falls_where_they_do_not() -> None:
    rates = {}
    for drift in (0.0, 1.0):
        log = synthetic(events=200_000, drift=drift)
        model = MF(options=ONE_THREAD).fit(log[:80_000], progress=False)
        for first in range(80_000, 200_000, 1_000):
            model.update(log[first : first + 1_000])
        rates[drift] = rates_of(model)[0]
    assert rates[0.0] < 3e-4 < 3e-3 < rates[1.0]
