"""Fits without a number of epochs: which events they watch, when they end, and what they end with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import FACTORS, assert_same, content

import fastmf
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers
from fastmf.learners.fitting import Schedule
from fastmf.learners.stopping import Patience, Steady, watched
from fastmf.log.events import Events

LOG = fastmf.datasets.synthetic(events=12_000, users=400, items=300, seed=5)
CHOSEN = Interactions(LOG.users, LOG.items)
LABELS = Interactions(LOG.users, LOG.items, (LOG.values > 3).astype(float))
STEPS = optimizers.AdaGrad(0.1)
CASES: dict[str, tuple[Any, Any, Interactions]] = {
    "Squared": (losses.Squared(), STEPS, LOG),
    "Logistic": (losses.Logistic(), STEPS, LABELS),
    "WARP": (losses.WARP(), None, CHOSEN),
    "BPR": (losses.BPR(), None, CHOSEN),
    "SampledSoftmax": (losses.SampledSoftmax(4), None, CHOSEN),
    "negatives": (losses.Logistic(negatives=2), None, CHOSEN),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def fitted(case: tuple[Any, Any, Interactions], **settings: Any) -> MF:
    loss, solver, events = case
    return MF(FACTORS, loss, solver, seed=1, **settings).fit(events, progress=False)


def events_of(pairs: list[tuple[int, int]], weights: Any = None) -> Events:
    users, items = np.array(pairs, np.int32).T
    return Events(users, items, np.ones(users.size, np.float32), weights, None)


# ---------------------------------------------------------------------------------------------------------- watched


def naive_watched(events: Events, latest: bool) -> set[int]:
    """Positions that may be held out, one by one."""
    users, items = events.users.tolist(), events.items.tolist()
    found = set()
    for place, (user, item) in enumerate(zip(users, items, strict=True)):
        own = [one for one, other in enumerate(users) if other == user]
        fresh = place == own[-1] and [items[one] for one in own].count(item) == 1
        weighs = events.weights is None or events.weights[place] > 0
        if len(own) >= 5 and items.count(item) >= 5 and (fresh or not latest) and weighs:
            found.add(place)
    return found


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_events_are_held_out_of_rows_that_have_several(weighed: bool, latest: bool) -> None:
    rng = np.random.default_rng(3)
    users, items = rng.integers(0, 700, 12_000), (rng.random(12_000) ** 3 * 90).astype(int)
    weights = (rng.random(12_000) < 0.8).astype(np.float32) if weighed else None
    events = events_of(list(zip(users.tolist(), items.tolist(), strict=True)), weights)
    may = naive_watched(events, latest)
    held = watched(events, 705, 95, 0, latest)  # of rows without events too
    assert held.size == 240 < len(may)  # 2 %
    assert set(held.tolist()) < may
    np.testing.assert_array_equal(held, np.sort(held))
    assert set(watched(events, 705, 95, 1, latest).tolist()) != set(held.tolist())


def test_no_more_than_ten_thousand_are_held_out() -> None:
    users = np.tile(np.arange(60_000, dtype=np.int32), 10)
    items = (users + np.repeat(np.arange(10), 60_000)).astype(np.int32) % 5_000
    events = Events(users, items, np.ones(600_000, np.float32), None, None)
    held = watched(events, 60_000, 5_000, 0, True)
    assert held.size == 10_000
    assert held.min() >= 540_000


def test_of_a_small_log_none_are_held_out() -> None:
    pairs = [(place % 300, place // 300 + place % 7) for place in range(9_999)]
    assert watched(events_of(pairs), 300, 50, 0, True).size == 0
    assert watched(events_of([(0, place % 60) for place in range(20_000)]), 1, 60, 0, True).size == 0  # one user
    model = MF(FACTORS, losses.BPR()).fit(CHOSEN[:9_999], progress=False)
    assert len(model.history_) == 20
    assert_same(content(model), content(MF(FACTORS, losses.BPR()).fit(CHOSEN[:9_999], epochs=20)))


# -------------------------------------------------------------------------------------------------------- patience


def ended(loss: Any, every: int = 1) -> int:
    """The epoch after which a fit with these losses ends, of at most 100."""
    patience = Patience()
    return next((epoch for epoch in range(every, 101, every) if patience.over(epoch, loss(epoch))), 100)


def test_a_fit_ends_a_while_after_its_best_epoch() -> None:
    assert ended(lambda epoch: abs(epoch - 5) / 100 + 1) == 20
    assert ended(lambda epoch: abs(epoch - 45) / 100 + 1) == 60
    assert ended(lambda epoch: abs(epoch - 44) / 100 + 1, every=2) == 60
    assert ended(lambda epoch: -float(epoch)) == 100


def test_a_plateau_in_the_beginning_is_waited_for() -> None:
    assert ended(lambda epoch: 1 + epoch / 1000 if epoch < 14 else 1 - epoch / 100) == 100


def test_slight_improvements_are_not_waited_for() -> None:
    assert ended(lambda epoch: 1 - 1e-5 * epoch) == 20


def test_losses_that_are_no_numbers_end_a_fit() -> None:
    assert ended(lambda epoch: float("nan")) == 20


def test_sweeps_end_when_the_loss_hardly_changes() -> None:
    found = iter([5.0, 4.0, 3.9, 3.8999, 3.0])
    steady = Steady(lambda epoch: next(found))
    seen = []
    for epoch in range(5):
        steady.learn(epoch)
        seen.append(steady.settled())
    assert seen == [False, False, False, True, False]
    nothing = Steady(lambda epoch: 0.0)
    nothing.learn(0)
    assert not nothing.settled()
    nothing.learn(1)
    assert nothing.settled()


# ------------------------------------------------------------------------------------------------------------ fits


@each_case
def test_a_fit_watches_every_second_epoch_and_ends_with_all_events(case: Any) -> None:
    model = fitted(case)
    records = model.history_
    assert 21 <= len(records) <= 101
    assert [record["epoch"] for record in records] == list(range(1, len(records) + 1))
    looked = [record["validation"] for record in records[:-1]]
    assert all((loss is None) == (epoch % 2 == 1) for epoch, loss in enumerate(looked, 1))
    assert records[-1]["validation"] is None
    patience = Patience()
    ends = [epoch for epoch, loss in enumerate(looked, 1) if loss is not None and patience.over(epoch, loss)]
    assert ends[:1] == ([len(looked)] if len(looked) < 100 else [])


def test_the_rows_are_those_of_the_best_epoch_after_a_pass_over_all_events(monkeypatch: pytest.MonkeyPatch) -> None:
    case, free = CASES["Squared"], {"regularizer": regularizers.L2(0.0)}  # which overfits
    whole = fitted(case, **free)
    looked = [np.inf if record["validation"] is None else record["validation"] for record in whole.history_[:-1]]
    best = int(np.argmin(looked)) + 1
    assert best < len(looked)
    monkeypatch.setattr("fastmf.learners.fitting.LONGEST", best)  # ends there, and goes over all events
    short = fitted(case, **free)
    assert len(short.history_) == best + 1
    for side in ("user_factors", "item_factors"):  # the order of the last pass differs, with its number
        one, other = getattr(short, side), getattr(whole, side)
        assert np.linalg.norm(one - other) < 0.1 * np.linalg.norm(one)
    monkeypatch.undo()
    monkeypatch.setattr("fastmf.learners.fitting.LONGEST", len(looked))
    assert_same(content(fitted(case, **free)), content(whole))


def test_held_out_events_are_history_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[np.ndarray] = []
    monkeypatch.setattr("fastmf.learners.fitting.watched", lambda *given: held.append(watched(*given)) or held[-1])
    model = fitted(CASES["WARP"])
    log = model._state.history.events
    np.testing.assert_array_equal(model.users.ids(log.users), CHOSEN.users)
    for place in held[0][:40].tolist():
        user, item = CHOSEN.users[place], CHOSEN.items[place]
        assert item not in model.recommend([user], k=len(model.items)).ids[0]


@pytest.mark.parametrize("name", ["Squared", "WARP"])
def test_the_same_bits_for_any_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmf.model.learning.PARALLEL_FROM", 1)
    one, other = (fitted(CASES[name], options=Options(threads=threads, deterministic=True)) for threads in (1, 2))
    assert_same(content(one), content(other), but=("settings",))
    assert [record["loss"] for record in one.history_] == [record["loss"] for record in other.history_]


def test_sweeps_of_least_squares_end_by_themselves() -> None:
    free = MF(FACTORS, losses.Confidence()).fit(CHOSEN, progress=False)
    lost = [record["loss"] for record in free.history_]
    changes = np.abs(np.diff(lost)) / lost[:-1]
    assert len(lost) < 20
    assert changes[-1] <= 2e-4 < changes[:-1].min()
    assert_same(content(free), content(MF(FACTORS, losses.Confidence()).fit(CHOSEN, epochs=len(lost))))
    assert len(MF(FACTORS, losses.Confidence()).fit(CHOSEN, epochs=25).history_) == 25


def test_a_given_number_of_epochs_is_kept() -> None:
    model = MF(FACTORS, losses.WARP()).fit(CHOSEN, epochs=23)
    assert len(model.history_) == 23
    assert all(record["validation"] is None for record in model.history_)


def test_with_validation_its_events_are_watched_and_not_learned() -> None:
    settings = {"loss": losses.Squared(), "solver": optimizers.AdaGrad(0.1), "regularizer": regularizers.L2(0.0)}
    model = MF(FACTORS, **settings).fit(LOG, validation=0.2)
    looked = [record["validation"] for record in model.history_]
    assert all(loss is not None for loss in looked)
    assert 20 <= len(looked) < 100
    best = int(np.argmin(looked)) + 1
    assert_same(content(model), content(MF(FACTORS, **settings).fit(LOG, validation=0.2, epochs=best)))


def test_a_warm_fit_has_learned_the_events_it_could_watch() -> None:
    model = MF(FACTORS, losses.BPR()).fit(CHOSEN, epochs=2).refit(warm=True)
    assert len(model.history_) == 20
    assert all(record["validation"] is None for record in model.history_)
    assert len(model.refit().history_) > 20


def test_callbacks_see_the_last_pass_too() -> None:
    seen: list[dict[str, Any]] = []
    model = MF(FACTORS, losses.BPR()).fit(CHOSEN, callbacks=[seen.append])
    assert seen == model.history_


def test_a_schedule_may_leave_the_epochs_open() -> None:
    assert Schedule(None).checked().epochs is None
