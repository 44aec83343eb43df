"""Lists for visitors who are not known: what they would be told as users, and nothing stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import assert_same, bits
from test_als import purchases

from fastmf import MF, Interactions, Options, losses, optimizers
from fastmf.errors import DataError, NotFittedError

pytestmark = pytest.mark.filterwarnings("ignore:.*values:fastmf.errors.DataWarning")  # all are 1

KINDS: dict[str, dict[str, Any]] = {
    "solved": {"loss": losses.Confidence(), "solver": optimizers.ALS("cholesky")},
    "ratings solved": {"loss": losses.Squared(), "solver": optimizers.ALS("cholesky")},
    "beliefs": {"loss": losses.Squared(), "solver": optimizers.Variational()},
    "steps": {"loss": losses.Squared(), "solver": optimizers.AdaGrad()},
    "negatives": {"loss": losses.BPR()},
    "half": {"loss": losses.Confidence(), "solver": optimizers.ALS(), "options": Options(storage="float16")},
}
_FITTED: dict[str, MF] = {}
USER = 8


def fitted(kind: str) -> MF:
    if kind not in _FITTED:
        _FITTED[kind] = MF(8, **KINDS[kind]).fit(purchases(), epochs=8, progress=False)
    return _FITTED[kind].copy()


def own(user: int = USER) -> Interactions:
    events = purchases()
    return events[events.users == user]


def as_visitor(events: Interactions, name: Any = "visitor") -> Interactions:
    return Interactions([name] * len(events), events.items, events.values)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_stored(kind: str) -> None:
    model = fitted(kind)
    model.fold_in(as_visitor(own()))
    before = bits(model)
    ranking = model.fold_in(Interactions(["a", "b", "a"], [1, 2, 3]), k=4)
    assert ranking.ids.shape == (2, 4)
    assert_same(bits(model), before)


@pytest.mark.parametrize("kind", ["solved", "ratings solved", "half"])
def test_a_visitor_is_told_what_a_user_with_the_same_past_is(kind: str) -> None:
    """The items were solved last: the user is solved once more, against them."""
    model = fitted(kind)
    visitor = model.fold_in(as_visitor(own()), k=10)
    model.update(Interactions(own().users, own().items, weights=np.zeros(len(own()))), trainable="users", epochs=1)
    user = model.recommend([USER], k=10)
    np.testing.assert_allclose(visitor.scores, user.scores, atol=5e-3)
    assert len(set(visitor.ids[0]) & set(user.ids[0])) >= 9


@pytest.mark.parametrize("kind", ["negatives", "solved"])
def test_a_visitor_is_told_what_goes_with_the_session(kind: str) -> None:
    """Users of four groups choose among ten items of their own; four of them tell the other six."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, 80, 2_000)
    model = MF(8, **KINDS[kind]).fit(Interactions(users, users % 4 * 10 + rng.integers(0, 10, 2_000)), epochs=10)
    hits = 0
    for group in range(4):
        shown = 10 * group + np.arange(4)
        hits += int((model.fold_in(Interactions(["x"] * 4, shown), k=6).ids[0] // 10 == group).sum())
    assert hits >= 20  # of 24; by chance alone 4


@pytest.mark.parametrize("kind", ["solved", "steps", "beliefs"])
def test_single_events_count_and_are_not_flushed(kind: str) -> None:
    """The journal marks rows too. (The means that rows are drawn to follow at a flush.)"""
    model = fitted(kind)
    if kind == "solved":
        model = MF(8, **KINDS[kind], priors={}).fit(purchases(), epochs=3, progress=False)
    flushed = model.copy()
    for one in (model, flushed):
        one.learn_one(1, 2)
        one.learn_one(1, 5)
    flushed.flush()
    for items in ([2], [2, 6], [6, 5, 2]):
        session = Interactions(["v"] * len(items), items)
        found, wanted = model.fold_in(session, k=5), flushed.fold_in(session, k=5)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)
    assert (model.version, flushed.version) == (0, 1)
    assert model.flush().events == 2
    assert_same(bits(model), bits(flushed))


def test_lines_are_in_order_of_first_events_and_ids_mean_nothing() -> None:
    model = fitted("solved")
    mixed = Interactions([7, 3, 7, 3], [1, 30, 2, 31])
    both = model.fold_in(mixed, k=5)
    alone = model.fold_in(Interactions([USER, USER], [1, 2]), k=5)
    np.testing.assert_array_equal(both.ids[0], alone.ids[0])
    np.testing.assert_allclose(both.scores[0], alone.scores[0], rtol=1e-6)


def test_the_session_is_left_out_unless_asked_for() -> None:
    model, items = fitted("solved"), own().items
    assert not set(model.fold_in(as_visitor(own()), k=20).ids[0]) & set(items)
    assert set(model.fold_in(as_visitor(own()), k=20, exclude_seen=False).ids[0]) & set(items)
    assert set(model.fold_in(as_visitor(own()), k=2, items=[38, 39]).ids[0]) <= {38, 39}
    assert 39 not in model.fold_in(as_visitor(own()), k=40, exclude=[39]).ids[0]


def test_unknown_items_are_ignored() -> None:
    model = fitted("steps")
    known, mixed = Interactions(["v", "v"], [1, 2]), Interactions(["v", "v", "v", "w"], [1, 999, 2, 998])
    np.testing.assert_array_equal(model.fold_in(known, k=5).ids, model.fold_in(mixed, k=5).ids[:1])
    stranger = model.fold_in(mixed, k=5).ids[1]
    np.testing.assert_array_equal(stranger, model.recommend([12_345], k=5).ids[0])


def test_no_events_give_no_lists() -> None:
    assert fitted("solved").fold_in(Interactions([], []), k=3).ids.shape == (0, 3)


def test_what_cannot_be_used_is_refused() -> None:
    model = fitted("solved")
    before = bits(model)
    with pytest.raises(DataError, match=r"values, row 0: -1.0"):
        model.fold_in(Interactions(["v"], [1], [-1.0]))
    with pytest.raises(DataError, match="items"):
        model.fold_in(Interactions(["v"], ["a text"]))
    with pytest.raises(DataError, match=r"session must be .*Interactions, got list"):
        model.fold_in([1, 2])
    with pytest.raises(ValueError, match="k must be an integer"):
        model.fold_in(Interactions(["v"], [1]), k=0)
    assert_same(bits(model), before)
    with pytest.raises(NotFittedError):
        MF().fold_in(Interactions(["v"], [1]))


@pytest.mark.parametrize("popularity", [0.0, 0.5, 1.0])
def test_a_visitor_is_told_the_same_in_any_company(popularity: float) -> None:
    """To the bit; against float64, in which the items are as popular as the model's own events make them."""
    loss = losses.Confidence(alpha=2.0, unobserved=0.5, popularity=popularity, exposure=0)
    model = MF(8, loss, optimizers.ALS("cholesky"), priors={}).fit(purchases(), epochs=3, progress=False)
    alone = model.fold_in(Interactions(["a", "a"], [3, 4], [1.0, 2.0]), k=30, exclude_seen=False)
    for crowd in (1, 400):
        others = [f"b{n}" for n in range(crowd)]
        session = Interactions(
            ["a", *others, "a", *others], [3, *[7] * crowd, 4, *[3] * crowd], [1.0] * (crowd + 1) + [2.0] * (crowd + 1)
        )
        together = model.fold_in(session, k=30, exclude_seen=False)
        assert together.ids[0].tolist() == alone.ids[0].tolist()
        assert together.scores[0].tobytes() == alone.scores[0].tobytes()
    counts = np.bincount(model._state.history.events.items, minlength=len(model.items)).astype(float)
    shares = np.maximum(counts, 1) ** popularity
    vectors = model.item_factors.astype(np.float64)
    met, weights = model.items.rows(np.array([3, 4])), np.array([2.0, 4.0])
    matrix = loss.unobserved * len(shares) / shares.sum() * (vectors.T * shares) @ vectors
    matrix += (vectors[met].T * weights) @ vectors[met] + model.regularizer.weight * weights.sum() * np.eye(8)
    exact = vectors @ np.linalg.solve(matrix, weights @ vectors[met])
    np.testing.assert_allclose(alone.scores[0], exact[model.items.rows(alone.ids[0])], rtol=1e-4, atol=1e-5)
