"""Rankings: `recommend`, `similar_items` and `similar_users` against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import FACTORS, ITEMS, USERS, each_solver, fitted, some_events, stepping

from fastmf import MF, Interactions, Options, losses, optimizers
from fastmf.ranking import Ranking

EVENTS = some_events()
SEEN = {user: set(EVENTS.items[EVENTS.users == user].tolist()) for user in range(USERS)}
NOWHERE = -1


def scores_of(model: MF, user: int) -> dict[int, float]:
    """The score of every item for a user, in float64; an unknown one stands at the prior."""
    score = model.global_mean + model.item_biases.astype(np.float64)
    if user in model.users:
        row = model.users.rows(np.array([user]))[0]
        bias, factors = model.user_biases[row], model.user_factors[row]
    else:
        (factors, *_), (record, *_) = model._state.users.table.unknown[:2]
        bias, factors = record[0], factors[: model.factors]
    score = score + bias + model.item_factors.astype(np.float64) @ factors
    return dict(zip(model.items.values.tolist(), score.tolist(), strict=True))


def assert_best(ranking: Ranking, query: int, wanted: dict[int, float], k: int) -> None:
    """One list holds the k best of `wanted` (an item's score), best first, and padding behind them."""
    length = min(k, len(wanted))
    ids, scores = ranking.ids[query].tolist(), ranking.scores[query]
    assert len(ids) == len(scores) == k
    assert ranking.lengths[query] == length
    assert len(set(ids[:length])) == length
    np.testing.assert_allclose(scores[:length], [wanted[one] for one in ids[:length]], rtol=1e-5)
    np.testing.assert_allclose(scores[:length], sorted(wanted.values(), reverse=True)[:length], rtol=1e-5)
    assert (np.diff(scores[:length]) <= 0).all()
    assert ids[length:] == [NOWHERE] * (k - length)
    assert (scores[length:] == -np.inf).all()


# ------------------------------------------------------------------------------------------------------- recommend


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("k", [1, 5, ITEMS, ITEMS + 7])
def test_the_best_unseen_items_of_each_user(biases: bool, k: int) -> None:
    model = fitted(biases=biases)
    users = [3, 29, 3, 0]
    ranking = model.recommend(users, k=k)
    assert isinstance(ranking, Ranking)
    ids, scores = ranking
    assert ids.shape == scores.shape == (4, min(k, ITEMS))
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32
    for query, user in enumerate(users):
        wanted = {item: score for item, score in scores_of(model, user).items() if item not in SEEN[user]}
        assert_best(ranking, query, wanted, min(k, ITEMS))


def test_seen_items_may_be_ranked_too() -> None:
    model = fitted()
    assert SEEN[3]
    assert_best(model.recommend([3], k=ITEMS, exclude_seen=False), 0, scores_of(model, 3), ITEMS)


def test_what_was_just_seen_is_left_out_and_comes_back_when_undone() -> None:
    model = fitted()
    best = model.recommend([3], k=1).ids[0, 0]
    delta = model.update(Interactions([3, 3], [best, best]), trainable={})
    assert best not in model.recommend([3], k=ITEMS).ids
    assert_best(model.recommend([3], k=9, exclude_seen=False), 0, scores_of(model, 3), 9)
    model.rollback(delta)
    assert model.recommend([3], k=1).ids[0, 0] == best


@each_solver
def test_an_unknown_user_gets_the_ranking_of_the_prior(solver: Any) -> None:
    model = fitted(solver=solver)
    assert_best(model.recommend([999, 3], k=6), 0, scores_of(model, 999), 6)
    assert model._state.users.table.unknown.factors.any() == isinstance(solver, optimizers.Variational)


def test_an_unknown_user_gets_the_ranking_of_biases_where_there_is_no_prior() -> None:
    model = stepping()
    ranking = model.recommend([999, 3], k=6)
    assert ranking.ids[0].tolist() == model.items.values[np.argsort(-model.item_biases, kind="stable")[:6]].tolist()


@pytest.mark.parametrize("chosen", [[4, 9, 2, 4], [4, 777], [777], []], ids=["some", "unknown", "only unknown", "none"])
def test_only_chosen_items(chosen: list[int]) -> None:
    model = fitted()
    for seen in (True, False):
        barred = SEEN[5] if seen else set()
        wanted = {item: score for item, score in scores_of(model, 5).items() if item in set(chosen) - barred}
        assert_best(model.recommend([5], k=3, items=chosen, exclude_seen=seen), 0, wanted, 3)


def test_items_left_out() -> None:
    model = fitted()
    left_out = [*range(0, ITEMS, 2), 888]
    ranking = model.recommend([5, 6], k=ITEMS, exclude=left_out)
    for query, user in enumerate((5, 6)):
        wanted = {i: s for i, s in scores_of(model, user).items() if i not in SEEN[user] and i not in left_out}
        assert_best(ranking, query, wanted, ITEMS)
    both = model.recommend([5], k=4, items=[1, 2, 3], exclude=[2], exclude_seen=False)
    assert set(both.ids[0].tolist()) == {1, 3, NOWHERE}


def test_text_ids_are_padded_with_empty_text() -> None:
    model, plain = fitted(text=True), fitted()
    ranking, same = model.recommend(["u3", "nobody"], k=ITEMS), plain.recommend([3, -1], k=ITEMS)
    np.testing.assert_array_equal(ranking.scores, same.scores)
    assert ranking.ids.dtype == object
    assert ranking.ids.tolist() == [["" if one == NOWHERE else f"i{one}" for one in line] for line in same.ids.tolist()]
    assert ranking.lengths.tolist() == [ITEMS - len(SEEN[3]), ITEMS]
    assert model.recommend(["u3"], k=2, items=["i5", "nothing"], exclude=["i5"]).ids.tolist() == [["", ""]]


def test_ties_go_by_age() -> None:
    model = MF.from_factors(np.ones((1, FACTORS)), np.ones((9, FACTORS)), items=[40, 7, 30, 1, 2, 3, 4, 5, 6])
    ranking = model.recommend([0], k=9)
    assert ranking.ids.tolist() == [[40, 7, 30, 1, 2, 3, 4, 5, 6]]
    assert (ranking.scores == FACTORS).all()
    assert model.recommend([0], k=3).ids.tolist() == [[40, 7, 30]]
    assert model.similar_items([30], k=3).ids.tolist() == [[40, 7, 1]]


@pytest.mark.parametrize("loss", [losses.Logistic(), losses.Poisson()], ids=["Logistic", "Poisson"])
def test_scores_pass_through_the_link(loss: Any) -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(4, FACTORS)), rng.normal(size=(9, FACTORS))
    linked, plain = MF.from_factors(*factors, loss=loss), MF.from_factors(*factors)
    ranking, raw = linked.recommend([0, 2], k=12), plain.recommend([0, 2], k=12)
    np.testing.assert_array_equal(ranking.ids, raw.ids)
    wanted = np.exp(raw.scores) if isinstance(loss, losses.Poisson) else 1 / (1 + np.exp(-raw.scores))
    np.testing.assert_allclose(ranking.scores[:, :9], wanted[:, :9], rtol=1e-5)
    assert (ranking.scores[:, 9:] == -np.inf).all()
    assert ranking.lengths.tolist() == [9, 9]
    users, items = np.repeat([0, 2], 9), ranking.ids[:, :9].ravel()
    np.testing.assert_allclose(linked.predict(users, items), ranking.scores[:, :9].ravel(), rtol=1e-5)


def test_scores_agree_with_predictions() -> None:
    model = fitted()
    ranking = model.recommend([3], k=5)
    np.testing.assert_allclose(model.predict([3] * 5, ranking.ids[0], clip=False), ranking.scores[0], rtol=1e-5)


def test_half_precision_is_ranked_by_what_is_stored() -> None:
    model = fitted(options=Options(storage="float16"))
    ranking = model.recommend([3], k=ITEMS, exclude_seen=False)
    assert_best(ranking, 0, scores_of(model, 3), ITEMS)
    assert len(model.similar_items([3], k=4).ids[0]) == 4


def test_many_users_on_many_threads_as_on_one() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(1_500, FACTORS)), rng.normal(size=(2_000, FACTORS))
    one, two = (MF.from_factors(*factors, options=Options(threads=threads)) for threads in (1, 2))
    users = np.arange(1_500)
    for left, right in zip(one.recommend(users, k=5), two.recommend(users, k=5), strict=True):
        np.testing.assert_array_equal(left, right)
    product = factors[0].astype(np.float32) @ factors[1].astype(np.float32).T
    assert (np.argmax(product, axis=1) == one.recommend(users, k=1).ids[:, 0]).mean() > 0.999


def test_no_users_no_lists() -> None:
    for model, dtype in ((fitted(), np.int64), (fitted(text=True), object)):
        ids, scores = model.recommend([], k=3)
        assert ids.shape == scores.shape == (0, 3)
        assert ids.dtype == dtype
        assert model.similar_items([], k=3).ids.shape == (0, 3)


# --------------------------------------------------------------------------------------------------------- similar


@pytest.mark.parametrize("side", ["users", "items"])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_similar_rows_by_cosine(side: str, k: int) -> None:
    model = fitted()
    factors, ids = getattr(model, f"{side[:-1]}_factors").astype(np.float64), getattr(model, side)
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    queries = [3, 11, 3]
    ranking = getattr(model, f"similar_{side}")(queries, k=k)
    for query, one in enumerate(queries):
        cosines = dict(zip(ids.values.tolist(), (unit @ unit[ids.rows(np.array([one]))[0]]).tolist(), strict=True))
        assert cosines.pop(one) == pytest.approx(1.0)
        length = min(k, len(cosines))
        assert one not in ranking.ids[query]
        found = ranking.ids[query, :length].tolist()
        np.testing.assert_allclose(ranking.scores[query, :length], [cosines[i] for i in found], atol=1e-5)
        np.testing.assert_allclose(ranking.scores[query, :length], sorted(cosines.values())[::-1][:length], atol=1e-5)
        assert ranking.lengths[query] == length
        assert (ranking.ids[query, length:] == NOWHERE).all()


def test_similarity_ignores_length_and_survives_zero() -> None:
    rng = np.random.default_rng(0)
    items = rng.normal(size=(6, FACTORS))
    scaled = items * np.array([1, 1e-3, 100, 1, 0, 7])[:, None]
    one, other = (MF.from_factors(np.ones((1, FACTORS)), rows) for rows in (items, scaled))
    wanted = one.similar_items([0, 1, 2], k=5).ids.tolist()
    ranking = other.similar_items([0, 1, 2, 4], k=5)
    for line, same in zip(ranking.ids.tolist(), wanted, strict=False):
        assert [i for i in line if i != 4] == [i for i in same if i != 4]
    assert np.isfinite(ranking.scores).all()
    np.testing.assert_array_equal(ranking.scores[3], 0)


def test_similar_text_ids() -> None:
    ranking, same = fitted(text=True).similar_users(["u3"], k=40), fitted().similar_users([3], k=40)
    assert ranking.ids.tolist() == [["" if one == NOWHERE else f"u{one}" for one in same.ids[0].tolist()]]
