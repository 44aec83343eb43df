"""Rows of one model as features of another, and items that are alike by their features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Features, Interactions, losses, priors
from fastmf.errors import DataError

RNG = np.random.default_rng(0)
TASTES = RNG.normal(size=(600, 4))


def domain(items: int, each: int, users: np.ndarray, seed: int) -> tuple[Interactions, np.ndarray]:
    """What some users take in a domain, and how much each user likes each item there."""
    rng = np.random.default_rng(seed)
    liking = 1.5 * TASTES @ rng.normal(size=(items, 4)).T + rng.gumbel(0, 1, (len(TASTES), items))
    taken = np.argsort(-liking[users], axis=1)[:, :each]
    order = rng.permutation(taken.size)
    return Interactions(np.repeat(users, each)[order], taken.ravel()[order]), liking


def hits(model: MF, newcomers: np.ndarray, liking: np.ndarray) -> float:
    """How often the item that a newcomer likes best is among the first ten."""
    lists = model.recommend(newcomers, k=10).ids
    return float((lists == liking[newcomers].argmax(axis=1)[:, None]).any(axis=1).mean())


def a_shop(**features: Any) -> MF:
    log, _ = domain(80, 10, np.arange(300), 1)
    return MF(8, losses.Confidence(), priors={side: priors.Map(views) for side, views in features.items()}).fit(log)


# --- rows of another model --------------------------------------------------------------------------------------------


def test_newcomers_are_known_from_another_domain() -> None:
    books, _ = domain(200, 20, np.arange(600), 1)
    films, liking = domain(150, 15, np.arange(300), 2)
    reader, newcomers = MF(8, losses.Confidence()).fit(books), np.arange(300, 600)
    drawn = {"users": priors.Map(Features.of(reader, "users"), strength=1.0), "items": priors.Mean(3)}
    viewer, lone = MF(8, losses.Confidence(), priors=drawn).fit(films), MF(8, losses.Confidence()).fit(films)
    assert hits(viewer, newcomers, liking) > 1.5 * hits(lone, newcomers, liking)


def test_a_source_that_goes_on_learning_passes_on_what_has_moved() -> None:
    books, _ = domain(200, 20, np.arange(600), 1)
    films, _ = domain(150, 15, np.arange(300), 2)
    reader = MF(8, losses.Confidence()).fit(books)
    viewer = MF(8, losses.Confidence(), priors={"users": priors.Map(Features.of(reader, "users"))}).fit(films)
    before = viewer.predict([400, 401], [3, 3])
    delta = reader.update(Interactions([400] * 5, [1, 2, 3, 4, 5]))
    moved = reader.users.ids(delta.moves["users"].rows)
    change = viewer.update(Interactions([], []), features={"users": Features.of(reader, "users", ids=moved)})
    after = viewer.predict([400, 401], [3, 3])
    assert before[0] != after[0]
    viewer.rollback(change)
    assert viewer.predict([400, 401], [3, 3]).tolist() == before.tolist()


def test_rows_without_events_are_missing() -> None:
    shop = a_shop(items=Features(np.arange(90), RNG.normal(size=(90, 3))))
    known = Features.of(shop, "items")
    assert sorted(known.ids.tolist()) == [
        one for one in range(90) if one in set(domain(80, 10, np.arange(300), 1)[0].items)
    ]
    np.testing.assert_array_equal(known.vectors, shop.item_factors[shop.items.rows(known.ids)])
    some = Features.of(shop, "items", ids=[3, 85, 1_000], name="some")
    assert (some.ids.tolist(), some.name) == ([3], "some")


def test_an_imported_model_has_rows_but_no_events() -> None:
    model = MF.from_factors([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0]], users=["ann", "bob"], items=[7])
    assert Features.of(model, "users").ids.tolist() == ["ann", "bob"]


@pytest.mark.parametrize(
    ("side", "ids", "error", "said"),
    [
        ("user", None, ValueError, "side"),
        ("users", ["a"], DataError, "users.*row 0: 'a' is str, but the known ids are int"),
        ("users", [1, 1], DataError, "row 1: 1 is there twice"),
    ],
)
def test_nonsense(side: str, ids: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Features.of(a_shop(), side, ids=ids)


# --- alike by content -------------------------------------------------------------------------------------------------


def test_items_alike_by_content_equal_plain_numpy() -> None:
    text, price = RNG.normal(size=(70, 5)) + 3, RNG.normal(size=(60, 1))
    views = Features(np.arange(70), text, "text"), Features(np.arange(10, 70), price, "price")
    shop, parts = a_shop(items=views), np.zeros((70, 6))
    for vectors, rows, place in ((text, np.arange(70), slice(0, 5)), (price, np.arange(10, 70), slice(5, 6))):
        centred = vectors.astype(np.float32) - vectors.astype(np.float32).mean(axis=0, dtype=np.float64)
        parts[rows, place] = centred / np.sqrt((centred**2).sum(axis=1).mean())
    directions = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    ids, scores = shop.similar_items([0, 33, 69], k=7, by="content")
    for n, one in enumerate((0, 33, 69)):
        assert ids[n].tolist() == np.argsort(-cosines[one])[:7].tolist()
        np.testing.assert_allclose(scores[n], np.sort(cosines[one])[::-1][:7], rtol=1e-4)


def test_items_without_features_are_like_none() -> None:
    shop = a_shop(items=Features([0, 1, 2], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    found = shop.similar_items([0, 50], k=5, by="content")
    assert found.lengths.tolist() == [2, 0]
    assert found.ids[0, :2].tolist() == [1, 2]
    everything = shop.similar_items([0], k=1_000, by="content")
    assert (everything.lengths[0], everything.ids.shape) == (2, (1, len(shop.items)))


def test_by_what() -> None:
    shop = a_shop()
    with pytest.raises(ValueError, match=r"items of this model have no priors\.Map"):
        shop.similar_items([0], by="content")
    with pytest.raises(ValueError, match="by must be"):
        shop.similar_items([0], by="title")
