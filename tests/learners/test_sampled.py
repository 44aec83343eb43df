"""Fits and updates of losses with negatives against plain NumPy, and what holds for every one of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from positives import (
    ITEMS,
    LOSSES,
    USERS,
    Past,
    assert_equals_twin,
    in_flight,
    model_of,
    pool_of,
    some_positives,
    twin_of,
)
from strategies import FACTORS, SIDES, assert_same, bits

import fastmf
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers, samplers
from fastmf.devices import registry
from fastmf.errors import DataError
from fastmf.kernels.core.borrowed import borrow
from fastmf.kernels.train import negatives
from fastmf.kernels.train.pool import Seen
from fastmf.learners.negatives import Known, Runs

# Kernels of every pair of a loss and a sampler take seconds to compile: some pairs, whose parts others have, are slow.
RARE = [
    losses.BPR(sampler=samplers.Popular(0.5)),
    losses.SampledSoftmax(4, sampler=samplers.InBatch(), allow_seen=True),
]
each_loss = pytest.mark.parametrize(
    "loss", [*LOSSES, *(pytest.param(loss, marks=pytest.mark.slow) for loss in RARE)], ids=str
)
FEW = [losses.WARP(margin=0.3, trials=4), losses.SampledSoftmax(3)]
few_losses = pytest.mark.parametrize("loss", FEW, ids=str)


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
        lost = twin.epoch(placed, naive.draw(3, epoch, 0), past.known(), pool, in_flight(loss))
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
    seed = naive.draw(3, delta.parent_version + 1, 1)
    pool = pool_of(loss, items, earlier, ordered, new)
    for epoch in range(2):
        twin.epoch(ordered.placed(), naive.draw(seed, epoch, 0), known, pool, in_flight(loss))
    past = history_of(earlier, new, 3) + ordered
    twin.movable, rate = (set(new.users), set()), float(model.solver.rate)
    twin.model.objective = twin.model.objective._replace(step=naive.like(model.solver._replace(rate=rate * 0.5)))
    twin.epoch(past.placed(), naive.draw(seed, 2, 0), known, pool_of(loss, items, earlier, past, new), in_flight(loss))
    assert_equals_twin(model, twin)


def history_of(earlier: Past, new: Past, limit: int) -> Past:
    """The last events of the batch's users, who come in the order of the batch."""
    found = Past([], [], [])
    for user in dict.fromkeys(new.users):
        own = [n for n, one in enumerate(earlier.users) if one == user][-limit:]
        found += Past(*([column[n] for n in own] for column in earlier))
    return found


@pytest.mark.parametrize("biases", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("solver", [optimizers.SGD(0.1), optimizers.AdaGrad(0.3, 5.0)], ids=str)
@few_losses
def test_every_solver_equals_naive(loss: Any, solver: Any, biases: bool) -> None:
    events = some_positives()
    model = model_of(loss, solver, biases=biases).fit(events, epochs=1)
    twin = twin_of(model_of(loss, solver, biases=biases).fit(events, epochs=0), (range(USERS), range(ITEMS)))
    past = Past.of(model, events)
    visits = np.random.default_rng([3, 0]).permutation(len(model.users))
    placed = [event for user in visits for event in past.by_user().placed() if event[1] == user]
    pool = pool_of(loss, len(model.items), past, past)
    twin.epoch(placed, naive.draw(3, 0, 0), past.known(), pool, in_flight(loss))
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
    lost = twin.epoch(new.by_first_appearance().placed(), key, (earlier + new).known(), pool, in_flight(loss))
    assert still.loss_before == pytest.approx(lost / float(np.sum(new.weights)), rel=1e-5)


# --- what holds for every loss ----------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A listwise loss that moves every negative far along the first factor: whoever was drawn can be told."""

    negatives: int = 4
    sampler: Any = samplers.Uniform()
    allow_seen: bool = False
    kind = "listwise"
    domain = (0.0, np.inf)

    def loss_and_gradient(self, scores, expected_counts, slopes, count, items):
        for m in range(count + 1):
            slopes[m] = 0
        for m in range(1, count + 1):
            slopes[m] = 1e6
        return 0.0

    def inverse_link(self, score):
        return score

    def prior(self, values):
        return 0.0

    def check(self, values):
        return


@pytest.mark.parametrize("sampler", [samplers.Uniform(), samplers.Popular(), samplers.InBatch()], ids=str)
def test_negatives_are_never_known_positives(sampler: Any) -> None:
    """With one user, only what the user does not know can have moved."""
    rng = np.random.default_rng(0)
    others = Interactions(rng.integers(1, 50, 2_000), rng.integers(0, ITEMS, 2_000))
    own = np.arange(0, ITEMS, 2)
    model = MF(FACTORS, loss=Recorded(sampler=sampler), solver=optimizers.SGD(1e-3), regularizer=regularizers.L2(0.0))
    model.fit(Interactions(np.r_[others.users, np.zeros(own.size, int)], np.r_[others.items, own]), epochs=0)
    before = dict(zip(model.items.values.tolist(), model.item_biases.tolist(), strict=True))
    fresh = Interactions([0] * 40 + [1] * 40, [1] * 40 + list(range(ITEMS)) + [0] * (40 - ITEMS))
    model.update(fresh, history_epochs=0, trainable="items", epochs=3)
    after = dict(zip(model.items.values.tolist(), model.item_biases.tolist(), strict=True))
    moved = {item for item in before if before[item] != after[item]}
    assert moved
    assert moved.isdisjoint({*own.tolist(), 1})


@each_loss
def test_a_user_who_knows_everything_learns_nothing(loss: Any) -> None:
    if loss.allow_seen:
        pytest.skip("knows no bar")
    events = Interactions(np.zeros(ITEMS, int), np.arange(ITEMS))
    model = model_of(loss).fit(events, epochs=0)
    before = bits(model)
    delta = model.update(Interactions([0, 0], [3, 4]))
    assert (delta.loss_before, delta.loss_after) == (0, 0)
    names = [f"{side} {what}" for side in SIDES for what in ("factors", "records")]
    assert {name: bits(model)[name] for name in names} == {name: before[name] for name in names}


@few_losses
def test_only_rows_that_the_batch_names_move(loss: Any) -> None:
    model = model_of(loss).fit(some_positives(), epochs=2)
    tables = {side: getattr(model, f"{side}_factors").copy() for side in ("user", "item")}
    batch = Interactions([1, 1, 2], [3, 4, 5])
    delta = model.update(batch)
    for side, named in (("user", {1, 2}), ("item", {3, 4, 5})):
        ids = getattr(model, f"{side}s").values
        moved = {int(one) for one in ids[(getattr(model, f"{side}_factors") != tables[side]).any(axis=1)]}
        assert moved <= named
        assert moved
    assert delta.rows_moved == 5


@pytest.mark.parametrize("trainable", ["users", "items", "new", {"users": [2], "items": [5]}], ids=str)
def test_trainable_bars_negatives_too(trainable: Any) -> None:
    model = model_of(losses.SampledSoftmax(3)).fit(some_positives(), epochs=2)
    before = {side: getattr(model, f"{side}_factors").copy() for side in ("user", "item")}
    model.update(Interactions([1, 1, 2, 99], [3, 4, 5, 98]), trainable=trainable)
    allowed = {"users": ({1, 2, 99}, set()), "items": (set(), {3, 4, 5, 98}), "new": ({99}, {98})}
    users, items = allowed[trainable] if isinstance(trainable, str) else ({2}, {5})
    for side, may in (("user", users), ("item", items)):
        known = len(before[side])
        ids = getattr(model, f"{side}s").values[:known]
        moved = ids[(getattr(model, f"{side}_factors")[:known] != before[side]).any(axis=1)]
        assert set(moved.tolist()) <= may


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_updates_roll_back_apply_and_save_to_the_bit(data: Any) -> None:
    loss = data.draw(st.sampled_from(FEW))
    storage = data.draw(st.sampled_from(["float32", "float16"]))
    model = model_of(loss, options=Options(storage=storage)).fit(some_positives(), epochs=1)
    twin, start = model.copy(), bits(model)
    size, seed = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 99))
    batch = some_positives(size, seed, USERS + 5, ITEMS + 5)
    trainable = data.draw(st.sampled_from(["both", "users", "items", "new"]))
    delta = model.update(batch, trainable=trainable)
    twin.apply(delta)
    assert_same(bits(model), bits(twin))
    again = MF._restored(fastmf.files.unpack(fastmf.model.saving.packed(model, model._state)), (), "test")
    assert_same(bits(model), bits(again))
    model.rollback(delta)
    assert_same(bits(model), start, but=("version",))


@each_loss
def test_a_zero_rate_is_the_identity(loss: Any) -> None:
    model = model_of(loss).fit(some_positives(), epochs=1)
    before = bits(model)
    model.update(some_positives(20, seed=5), rate=0.0)
    names = [f"{side} {what}" for side in SIDES for what in ("factors", "records")]
    assert {name: bits(model)[name] for name in names} == {name: before[name] for name in names}


def test_a_first_batch_starts_a_model() -> None:
    for loss in (losses.BPR(sampler=samplers.Popular()), *FEW):
        model = model_of(loss)
        model.update(some_positives(100))
        assert model.global_mean == 0
        assert not model.user_biases.any()
        assert model.recommend([1], k=3).lengths[0] == 3


def test_two_updates_draw_differently() -> None:
    model = model_of(losses.BPR()).fit(some_positives(), epochs=1)
    batch = some_positives(30, seed=2)
    first, second = (model.update(batch, rate=0.0).loss_before for _ in range(2))
    assert first != second


# --- the door ---------------------------------------------------------------------------------------------------------


@few_losses
def test_predictions_are_scores_and_never_clipped(loss: Any) -> None:
    model = model_of(loss).fit(some_positives(), epochs=2)
    users, items = model.users.values, model.items.values[: len(model.users)]
    rows = model.user_factors * model.item_factors[: len(users)]
    expected = rows.sum(axis=1) + model.item_biases[: len(users)]
    np.testing.assert_allclose(model.predict(users, items), expected, rtol=1e-4, atol=1e-6)
    assert model.predict_one(int(users[0]), int(items[0])) == pytest.approx(float(expected[0]), rel=1e-4, abs=1e-6)
    assert (model.predict(users, items) < 0.5).any()  # the smallest value


@few_losses
def test_what_needs_one_score_an_event_is_refused(loss: Any) -> None:
    name = type(loss).__name__
    model = model_of(loss).fit(some_positives(), epochs=1)
    before = bits(model)
    with pytest.raises(ValueError, match=f"learn_one takes no step of {name}"):
        model.learn_one(1, 2)
    with pytest.raises(ValueError, match=f"{name} takes a step per event: batch_size must be 1, got 8"):
        model.update(some_positives(10), batch_size=8)
    with pytest.raises(ValueError, match="batch_size must be 1, got 8"):
        model_of(loss).fit(some_positives(), batch_size=8)
    with pytest.raises(DataError, match=r"values, row 1: 0.0 is not > 0"):
        model.update(Interactions([1, 2], [1, 2], values=[1.0, 0.0]))
    assert_same(bits(model), before)
    assert model.flush().events == 0


def test_a_rating_model_takes_a_ranking_loss_for_one_update() -> None:
    """As a model of that loss does whose rows are the same; then it is a rating model again."""
    model = MF(FACTORS, solver=optimizers.AdaGrad(), seed=3).fit(some_positives(), epochs=1)
    batch, solver, regularizer = some_positives(20, seed=4), model.solver, model.regularizer
    ranking = MF(FACTORS, losses.BPR(), solver, regularizer, seed=3).fit(some_positives(), epochs=0)
    for side in SIDES:
        own, other = model._state.side(side).table, ranking._state.side(side).table
        for kept, part in zip(own.parts, other.parts, strict=True):
            part[: own.count] = kept[: own.count]
    ratings = model.copy().update(batch)
    delta, expected = model.update(batch, loss=losses.BPR()), ranking.update(batch)
    assert delta.loss_before == pytest.approx(expected.loss_before, rel=1e-5)  # the mean is part of both scores
    assert delta.loss_after == pytest.approx(expected.loss_after, rel=1e-5)
    assert delta.loss_after < delta.loss_before != ratings.loss_before
    for side in SIDES:
        for found, wanted in zip(delta.moves[side].after, expected.moves[side].after, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    again = some_positives(20, seed=5)
    errors = model.predict(again.users, again.items, clip=False) - again.values
    assert model.update(again).loss_before == pytest.approx(np.average(errors**2, weights=again.weights), rel=1e-4)


class Rare(NamedTuple):
    """A sampler of one's own: the rarer the likelier."""

    power: float = 1.5
    source = "events"

    def acceptance(self, count):
        return 1 / count**self.power

    def check(self):
        return


def test_a_sampler_of_ones_own_works_and_is_asked_for_by_a_file(tmp_path: Any) -> None:
    model = model_of(losses.BPR(sampler=Rare(2.0))).fit(some_positives(), epochs=1)
    model.update(some_positives(20, seed=4))
    model.save(tmp_path / "model")
    with pytest.raises(fastmf.errors.FileFormatError, match="it uses 'Rare'"):
        fastmf.load(tmp_path / "model")
    again = fastmf.load(tmp_path / "model", classes=[Rare])
    assert again.loss == model.loss
    assert type(again.loss.sampler) is Rare
    assert_same(bits(again), bits(model))


def test_a_failing_update_leaves_no_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(losses.BPR()).fit(some_positives(), epochs=1)
    before = bits(model)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(registry._RUNNERS, ("compare", "cpu"), interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(some_positives(20))
    assert_same(bits(model), before)


def test_a_race_of_two_threads_learns_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmf.model.learning.PARALLEL_FROM", 1)
    events = some_positives(3_000, users=300, items=60)
    last = [
        model_of(losses.BPR(), options=Options(threads=threads)).fit(events, epochs=8).history_[-1]["loss"]
        for threads in (1, 2)
    ]
    assert last[1] == pytest.approx(last[0], rel=0.03)
    assert last[0] < 0.6


def test_pieces_hold_every_run_once() -> None:
    runs = Runs(None, np.array([0, 5, 5, 9, 30, 31, 40]))  # type: ignore[arg-type]
    for chunk in (1, 7, 100):
        pieces = list(runs.pieces(np.array([3, 0, 5, 1, 2, 4]), chunk))
        assert [first for first, _ in pieces] == [0, *(last for _, last in pieces[:-1])]
        assert pieces[-1][1] == 6
    assert len(list(runs.pieces(np.arange(6), 7))) > 1


def _asking(scope: int) -> Any:
    @njit
    def asked(seen, user, words, candidates):
        run = borrow(seen.rows), seen.starts[user], seen.starts[user + 1]
        known, distinct = negatives.recall(scope, seen, user, run, words)
        found = np.empty(candidates.size, np.bool_)
        for n in range(candidates.size):
            found[n] = negatives.knows(scope, known, candidates[n])
        negatives.forget(scope, seen, user, run, words)
        return found, distinct

    return asked


KNOWN = {scope: _asking(scope) for scope in (negatives.ALL, negatives.EXTERNAL, negatives.BLOCK)}


@pytest.mark.parametrize("scope", KNOWN)
@pytest.mark.parametrize("allow_seen", [False, True])
@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 200), max_size=90), min_size=1, max_size=4))
def test_known_rows_are_told_from_all_others(scope: int, allow_seen: bool, users: list[list[int]]) -> None:
    """By marks in a fit, by sets in an update; marks are gone after."""
    owners = np.repeat(np.arange(len(users), dtype=np.int32), [len(rows) for rows in users])
    known = Known.of(owners, np.array([row for rows in users for row in rows], np.int32), len(users))
    bases, bits, distinct = (np.zeros(len(users), kind) for kind in (np.int64, np.int32, np.int32))
    slots = negatives.prepare(*known, bases, bits, distinct)
    seen = Seen(*known, allow_seen, slots, bases, bits, distinct)
    words, candidates = np.zeros(4, np.int64), np.arange(201)
    for user, rows in enumerate(users):
        own = set() if allow_seen else set(rows)
        for _ in range(2):
            found, count = KNOWN[scope](seen, user, words, candidates)
            assert found.tolist() == [row in own for row in candidates.tolist()]
            assert count == len(own)
            assert not words.any()


# --- quality ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "solver"),
    [(losses.BPR(), optimizers.AdaGrad(0.1)), (losses.WARP(), optimizers.AdaGrad(0.1))],
    ids=str,
)
def test_ranking_losses_beat_popularity(loss: Any, solver: Any) -> None:
    rng = np.random.default_rng(1)
    tastes, offers = rng.normal(0, 1, (400, 4)), rng.normal(0, 1, (250, 4))
    drawn = rng.gumbel(0, 1, (400, 250)) + 1.2 * tastes @ offers.T + rng.normal(0, 0.7, 250)
    users, items = np.repeat(np.arange(400), 40), np.argsort(-drawn, axis=1)[:, :40].ravel()
    held = rng.random(users.size) < 0.2
    train, test = (Interactions(users[part], items[part]) for part in (~held, held))
    model = MF(16, loss=loss, solver=solver, regularizer=regularizers.L2(0.005)).fit(train, epochs=30)
    still = MF(16, loss=loss, solver=solver, regularizer=regularizers.L2(0.005)).fit(train, epochs=0)
    popular = MF.from_factors(
        0 * still.user_factors,
        0 * still.item_factors,
        item_biases=np.bincount(train.items, minlength=250)[still.items.values],
        users=still.users.values,
        items=still.items.values,
    )
    scores = [fastmf.evaluation.evaluate(one, test, "ndcg", past=train).value for one in (model, popular)]
    assert scores[0] > 1.5 * scores[1]
