"""Lists shorter than asked for: what pads them is no item, and `k` beyond the catalogue costs the catalogue."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, losses
from fastmf.metrics import coverage, novelty
from fastmf.parameters.ids import IdMap

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are all alike

LEAST = -(2**63)
CATALOGUES: dict[str, tuple[list[Any], Any]] = {
    "usual int": ([0, 10, 20, 30], -1),
    "-1 is an item": ([-1, 10, 20, 30], LEAST),
    "the least too": ([-1, LEAST, LEAST + 1, 30], LEAST + 2),
    "the least alone": ([LEAST, 10, 20, 30], -1),
    "usual str": (["a", "b", "c", "d"], ""),
    "empty text is an item": (["", "b", "c", "d"], None),
}
catalogues = pytest.mark.parametrize(("items", "padding"), CATALOGUES.values(), ids=CATALOGUES)


def fitted(items: list[Any]) -> MF:
    """A model of four items; user 1 has met the first two of them."""
    events = Interactions([1, 1, 2, 2, 3, 4], [*items, items[0], items[0]], values=[1, 2, 3, 4, 5, 5])
    return MF(factors=8).fit(events, epochs=1, progress=False)


@catalogues
def test_what_pads_a_list_is_no_item(items: list[Any], padding: Any) -> None:
    model = fitted(items)
    assert padding not in model.items
    assert model.items.padding == padding
    shown = model.recommend([1], k=4)
    assert set(shown.ids[0, :2].tolist()) == set(items[2:])
    assert shown.ids[0, 2:].tolist() == [padding] * 2
    assert shown.scores[0, 2:].tolist() == [-np.inf] * 2
    assert shown.lengths.tolist() == [2]
    visitor = model.fold_in(Interactions([9, 9], items[:2], values=[1, 2]), k=4)
    assert visitor.ids[0, 2:].tolist() == [padding] * 2
    alike = model.similar_items([items[0]], k=9)
    assert set(alike.ids[0].tolist()) == {*items[1:], padding}
    assert model.lists(k=9)[1].ids.tolist() == model.recommend([1], k=9).ids[0].tolist()


@catalogues
def test_padding_of_users(items: list[Any], padding: Any) -> None:
    model = MF.from_factors(np.ones((4, 2)), np.ones((1, 2)), users=items)
    assert model.similar_users([items[1]], k=4).ids[0].tolist() == [items[0], *items[2:], padding]


@catalogues
def test_metrics_do_not_take_padding_for_items(items: list[Any], padding: Any) -> None:
    model = fitted(items)
    past = Interactions([1, 1, 2, 2, 3, 4], [*items, items[0], items[0]]).items
    shown = model.recommend([1], k=4, items=items[2:])
    for recommended in (shown, shown.ids, shown.ids[0], shown.ids.tolist()):
        assert coverage(recommended, model.items.values) == 0.5
        assert coverage(recommended, model.items) == 0.5
        assert novelty(recommended, past) == novelty(items[2:], past) == pytest.approx(np.log2(6))
    nothing = model.recommend([1], k=4, items=[])
    assert coverage(nothing.ids, model.items.values) == 0
    assert np.isnan(novelty(nothing.ids, past))


def test_a_ranking_says_what_is_real_where_the_catalogue_knows_more_than_the_model() -> None:
    shown = MF.from_factors(np.ones((1, 2)), np.ones((2, 2)), items=[7, 8]).recommend([0], k=2, items=[8])
    assert shown.ids.tolist() == [[8, -1]]
    assert coverage(shown, [-1, 7, 8, 9]) == 0.25
    assert novelty(shown, [-1, -1, -1, 8]) == 2


@pytest.mark.parametrize("first", [-1, ""])
def test_kept_lists_follow_where_their_padding_becomes_an_item(first: Any) -> None:
    text = first == ""
    items = ["b", "c", "d"] if text else [5, 6, 7]
    model = MF(factors=8).fit(Interactions([1, 1, 2, 3, 3, 3], [*items, *items]), epochs=1, progress=False)
    lists, users = model.lists(k=9), [1, 2, 3]

    def assert_current() -> None:
        wanted = model.recommend(users, k=9)
        assert lists.ids.tolist() == wanted.ids.tolist()
        assert lists.scores.tolist() == wanted.scores.tolist()

    assert lists[3].ids.tolist() == [first] * 3
    lists.refresh(model.update(Interactions([3], [first])))
    assert lists[3].ids.tolist() == [None if text else LEAST] * 4
    assert first in lists[1].ids
    assert_current()
    lists.refresh(model.rollback(to=0))
    assert lists[3].ids.tolist() == [first] * 3
    assert_current()


@pytest.mark.parametrize("k", [6, 10**6, 2**31, sys.maxsize, 2**64, 10**30])
def test_k_beyond_the_catalogue_costs_the_catalogue(k: int) -> None:
    model = MF(factors=8).fit(Interactions([1, 1, 2, 3], [1, 2, 3, 4]), epochs=1, progress=False)
    session = Interactions([9], [1])
    answers = {
        "recommend": model.recommend([1, 7], k=k),
        "few items": model.recommend([1], k=k, items=[3]),
        "fold_in": model.fold_in(session, k=k),
        "similar_items": model.similar_items([1], k=k),
    }
    for answer in answers.values():
        assert answer.ids.shape[1] == answer.scores.shape[1] == 4
    assert answers["recommend"].lengths.tolist() == [2, 4]
    assert answers["few items"].ids[0].tolist() == [3, -1, -1, -1]
    assert model.similar_users([1], k=k).ids.shape == (1, 3)
    assert model.lists(k=k).ids.shape == (3, 4)
    assert repr(model.lists(k=k)) == "<Lists: 3 users, 4 items each, version 0>"


@pytest.mark.parametrize("k", [5, 9, 30, 10**12])
@pytest.mark.parametrize("unseen", [True, False])
def test_kept_lists_widen_with_the_catalogue(k: int, unseen: bool) -> None:
    rng = np.random.default_rng(0)
    model = MF(factors=8).fit(Interactions(rng.integers(0, 9, 20), rng.integers(0, 4, 20)), epochs=1, progress=False)
    lists = model.lists(k=k, exclude_seen=unseen)

    def assert_current() -> None:
        wanted = model.recommend(model.users, k=k, exclude_seen=unseen)
        assert lists.ids.shape == wanted.ids.shape
        np.testing.assert_array_equal(lists.ids, wanted.ids)
        np.testing.assert_array_equal(lists.scores, wanted.scores)

    for step in range(12):
        batch = Interactions(rng.integers(0, 9 + step, 3), rng.integers(0, 4 + 2 * step, 3), rng.normal(size=3))
        lists.refresh(model.update(batch))
        assert_current()
    for version in (9, 4, 0):
        lists.refresh(model.rollback(to=version))
        assert_current()


def test_an_empty_catalogue() -> None:
    model = MF.from_factors(np.ones((2, 3)), np.ones((0, 3)))
    assert model.recommend([0, 1], k=5).lengths.tolist() == [0, 0]
    lists = model.lists(k=5)
    lists.refresh(model.update(Interactions([0], [4])))
    assert lists.ids.tolist() == model.recommend([0, 1], k=5).ids.tolist() == [[-1], [4]]


def test_padding_passes_no_link() -> None:
    model = MF.from_factors(np.ones((1, 2)), np.ones((3, 2)), items=[-1, 4, 5], loss=losses.Logistic())
    shown = model.recommend([0], k=3, items=[-1])
    assert shown.ids.tolist() == [[-1, LEAST, LEAST]]
    assert shown.scores[0, 1:].tolist() == [-np.inf] * 2


def test_the_least_free_integer_is_found() -> None:
    ids = IdMap()
    ids.extend(np.array([-1, *range(LEAST, LEAST + 5)]))
    assert ids.padding == LEAST + 5
    ids.truncate(3)
    assert ids.padding == LEAST + 2
