"""Live popularity: counts, terms and experts equal plain references; lists, Deltas and files have them."""

from __future__ import annotations

import math
from typing import Any

import naive_popularity as naive
import numpy as np
import pytest
from strategies import assert_same, content

from fastmf import MF, Interactions, Popularity, load, losses, metrics
from fastmf.followers.popular import ladder
from fastmf.kernels.rank import popular

FIXED = Popularity(half_life=50, weight=0.1)
FAMILIES = {"als": losses.Confidence(), "steps": losses.BPR()}
each_family = pytest.mark.parametrize("family", FAMILIES)


def a_stream(count: int, seed: int = 0, users: int = 60) -> Interactions:
    """What is taken changes all the time, and is the same for everybody."""
    rng, place = np.random.default_rng(seed), np.arange(count)
    return Interactions(
        rng.integers(0, users + place // 20, count), (place / 25 + rng.exponential(8, count)).astype(int)
    )


STREAM = a_stream(3_000)


def a_model(family: str = "als", popularity: Popularity = Popularity(), past: int = 1_000, **settings: Any) -> MF:
    model = MF(8, FAMILIES[family], popularity=popularity, **settings)
    return model.fit(STREAM[:past], epochs=3, progress=False)


def assert_counts(model: MF) -> None:
    """What has been counted is what the log says."""
    state = model._state
    live = state.live
    live.catch_up(state)
    log, count = state.history.items_since(0), len(model.items)
    for column, rung in enumerate(ladder(len(log), model.popularity.half_life)):
        expected = naive.counts(log, count, rung.half_life)
        np.testing.assert_array_equal(live._counts[:count, column], expected)
        np.testing.assert_allclose(live.logs[:count, column], np.log1p(expected / naive.ONE), rtol=1e-6)


def naive_scores(model: MF, users: list[Any]) -> np.ndarray:
    """Scores with the term of a fixed weight, for known users."""
    rows = model.users.rows(np.array(users))
    scores = model.user_factors[rows].astype(np.float64) @ model.item_factors.T.astype(np.float64) + model.item_biases
    log = model._state.history.items_since(0)
    return scores + model.popularity.weight * naive.terms(log, len(model.items), model.popularity.half_life)


def test_half_lives_double_with_the_log() -> None:
    for events in (1, 100, 1_000, 1_023, 1_024, 5_000):
        assert [rung.half_life for rung in ladder(events, None)] == naive.half_lives(events)
    assert ladder(120, 50.0)[0].origin == 100


@pytest.mark.parametrize("popularity", [Popularity(), FIXED, Popularity(math.inf, 0.1)])
def test_counts_follow_the_log_through_every_kind_of_change(popularity: Popularity) -> None:
    model = a_model(popularity=popularity)
    assert_counts(model)
    for first in range(1_000, 2_100, 100):  # across 1,024 and 2,048, where half-lives double
        delta = model.update(STREAM[first : first + 100])
        assert_counts(model)
    model.rollback(delta)
    assert_counts(model)
    for event in range(40):
        model.learn_one(int(STREAM.users[event]), int(STREAM.items[event]) + 500)
        if event % 7 == 0:
            assert_counts(model)
    delta = model.flush()
    assert_counts(model)
    model.rollback(delta)
    assert_counts(model)


def test_who_has_it_by_default() -> None:
    ranking = losses.Confidence(), losses.WARP(), losses.BPR(), losses.Softmax(), losses.SampledSoftmax()
    for loss in (*ranking, losses.Logistic(negatives=2)):
        assert MF(4, loss).popularity == Popularity(), loss
    for loss in (losses.Squared(), losses.Logistic(), losses.Poisson()):
        assert MF(4, loss).popularity.off, loss


@each_family
def test_what_everybody_has_had_before_tells_nothing(family: str) -> None:
    model = a_model(family)
    events = model._state.history.events
    first = slice(0, 400)
    again = Interactions(model.users.ids(events.users[first]), model.items.ids(events.items[first]))
    assert "popularity" not in model.update(again).moves


@each_family
def test_lists_are_those_of_scores_and_the_term(family: str) -> None:
    model = a_model(family, FIXED)
    for _ in range(2):
        users = [0, 3, 7]
        scores = naive_scores(model, users)
        found = model.recommend(users, k=5, exclude_seen=False)
        expected = -np.sort(-scores, axis=1)[:, :5]
        offsets = model.user_biases[model.users.rows(np.array(users))][:, None] + model.global_mean
        np.testing.assert_allclose(found.scores - offsets, expected, rtol=1e-4, atol=1e-6)
        queries, items, added = model.ranked_by(users)
        np.testing.assert_allclose(queries @ items.T + added, scores, rtol=1e-4, atol=1e-6)
        model.update(STREAM[1_000:1_300])


@each_family
def test_nobody_is_served_the_term_too(family: str) -> None:
    model = a_model(family, FIXED)
    term = model.popularity.weight * naive.terms(model._state.history.items_since(0), len(model.items), 50)
    vector = model.unknown_user
    scores = vector @ model.item_factors.T + model.item_biases + term
    found = model.recommend([10**6], k=4)
    np.testing.assert_allclose(
        found.scores[0] - found.scores[0, 0], np.sort(scores)[::-1][:4] - scores.max(), atol=1e-5
    )
    visitor = model.fold_in(Interactions(["visitor"], [10**6]), k=4)
    np.testing.assert_array_equal(visitor.ids[0], found.ids[0])


@each_family
def test_kept_lists_are_those_of_recommend(family: str) -> None:
    model = a_model(family)
    lists, some = model.lists(k=5), model.lists(k=5, users=[0, 10**6, 5])
    for first in range(1_000, 2_200, 60):
        delta = model.update(STREAM[first : first + 60], trainable="users" if first % 120 else "both")
        for one in (lists, some):
            one.refresh(delta)
            again = model.recommend(one.users, k=5)
            np.testing.assert_array_equal(one.ids, again.ids)
            np.testing.assert_array_equal(one.scores, again.scores)
    assert not all(one.nothing for one in model._state.live._served)


@each_family
def test_experts_are_judged_as_by_ndcg(family: str) -> None:
    model, rng = a_model(family), np.random.default_rng(1)
    state, count, weights = model._state, len(model.items), np.array([0.0, 0.03, 0.5])
    state.live.catch_up(state)
    rows = np.append(rng.choice(len(model.users), 30, replace=False), [-1, -1]).astype(np.int32)
    users, items = state.history.events.users[:1_000], state.history.items_since(0)
    seen = [np.unique(items[users == row]) for row in rows]
    targets = [np.sort(rng.choice(np.setdiff1d(np.arange(count), past), 3, replace=False)) for past in seen]
    vectors, logs = state.users.table.gather_or_unknown(rows).factors, state.live.logs[:count]
    gains, spreads = np.empty((rows.size, logs.shape[1], weights.size + 1)), np.empty(rows.size)
    orders = np.argsort(-logs.T, axis=1, kind="stable").astype(np.int32)
    content = state.items.table.factors, state.items.table.records, logs, orders, weights
    bounds, asked = np.arange(0, 3 * rows.size + 1, 3), np.concatenate(targets).astype(np.int32)
    kernel = popular.judge(state.items.table.shape)
    kernel(rows, vectors, *content, state.history.past("users"), bounds, asked, gains, spreads)
    scores = vectors[:, :8] @ model.item_factors.T + model.item_biases
    for n, past in enumerate(seen):
        assert np.isclose(spreads[n], np.delete(scores[n], past).std(), rtol=1e-3)
        for column in range(logs.shape[1]):
            mixed = [scores[n] + np.float32(weight) * logs[:, column] for weight in weights]
            for place, one in enumerate([*mixed, logs[:, column].copy()]):
                one[past] = -np.inf
                exact = metrics.ndcg(one[None].astype(np.float64), np.zeros(3, int), targets[n])
                assert np.isclose(gains[n, column, place], exact, rtol=1e-6), (n, column, place)


def test_where_all_take_the_same_popularity_is_chosen_and_said() -> None:
    model, notes = a_model(), []
    for first in range(1_000, 2_500, 250):
        notes += model.update(STREAM[first : first + 250]).notes
    served = model._state.live._served
    assert any("are served popularity" in note and "NDCG@10" in note for note in notes)
    assert all(one.weight > 0 for one in served)


def test_nothing_is_chosen_where_tastes_differ_for_ever() -> None:
    rng = np.random.default_rng(0)
    users = rng.integers(0, 80, 6_000)
    items = users % 8 * 20 + rng.integers(0, 20, 6_000)  # each eighth of the users has its own items, all alike
    log = Interactions(users, items)
    model = MF(8, losses.Confidence()).fit(log[:3_000], epochs=5, progress=False)
    for first in range(3_000, 6_000, 500):
        model.update(log[first : first + 500])
    assert not any(one.alone for one in model._state.live._served)


@each_family
def test_the_choice_is_undone_repeated_copied_and_kept_in_files(family: str, tmp_path: Any) -> None:
    model = a_model(family)
    replica, before = model.copy(), content(model)
    deltas = [model.update(STREAM[first : first + 250]) for first in (1_000, 1_250, 1_500)]
    for delta in deltas:
        replica.apply(delta)
    assert_same(content(replica), content(model))
    everybody = np.append(model.users.values, 10**6)
    expected = model.recommend(everybody, k=5)
    model.save(tmp_path / "model")
    for other in (replica, model.copy(), load(tmp_path / "model")):
        found = other.recommend(everybody, k=5)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert other.popularity == model.popularity
    for delta in reversed(deltas):
        model.rollback(delta)
    assert_same(content(model), before)
    assert_counts(model)


def test_the_choice_is_frozen_where_trainable_does_not_name_it() -> None:
    model = a_model()
    delta = model.update(STREAM[1_000:1_300], trainable={"users": True, "items": True})
    assert "popularity" not in delta.moves
    model.update(STREAM[1_300:1_600], trainable={"users": True, "popularity": True})
    assert model._state.groups["popularity"].values["asked"].sum() > 0


@pytest.mark.parametrize("warm", [False, True])
def test_a_refit_keeps_the_choice(warm: bool) -> None:
    model = a_model()
    for first in range(1_000, 2_500, 250):
        model.update(STREAM[first : first + 250])
    served = model._state.live._served
    model.refit(epochs=2, warm=warm, progress=False)
    model.recommend([1])
    assert model._state.live._served == served
    assert_counts(model)


def test_without_the_term_there_is_no_trace_of_it() -> None:
    off, plain = a_model(popularity=Popularity(weight=0)), a_model()
    assert off._state.live is None
    assert "popularity" not in off._state.groups
    np.testing.assert_array_equal(off.recommend([1, 2], k=9).ids, plain.recommend([1, 2], k=9).ids)
    assert MF().popularity.off


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (Popularity(half_life=-1), ValueError, r"Popularity.half_life"),
        (Popularity(half_life=10, weight=math.nan), ValueError, r"Popularity.weight"),
        (Popularity(weight=0.5), ValueError, r"without half_life"),
        (0.5, TypeError, r"popularity must be fastmf.Popularity"),
    ],
)
def test_nonsense_is_refused(given: Any, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        MF(loss=losses.BPR(), popularity=given)


def test_models_of_values_have_none() -> None:
    with pytest.raises(ValueError, match=r"Squared predicts values"):
        MF(popularity=Popularity())
