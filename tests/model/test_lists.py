"""Kept lists: after any changes of the model they are what `recommend` answers, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ITEMS, USERS, as_text, change, changes, each_solver, fitted, some_events, whole_numbers

from fastmf import MF, Interactions, Options, losses, ranking
from fastmf.errors import DataError, NotFittedError, StaleDelta
from fastmf.lists import Lists

NONE_OF_THEM = 12_345  # a user who is known at no time


def assert_current(lists: Lists, model: MF, unseen: bool = True, users: Any = None) -> None:
    """The lists are those of a full recompute."""
    users = model.users.values if users is None else users
    wanted = model.recommend(users, k=lists._k, exclude_seen=unseen)
    assert lists.version == model.version
    assert lists.users.tolist() == list(users)
    np.testing.assert_array_equal(lists.ids, wanted.ids)
    np.testing.assert_array_equal(lists.scores, wanted.scores)
    assert lists.ids.dtype == wanted.ids.dtype


@each_solver
@given(st.data(), st.sampled_from([1, 4, ITEMS, ITEMS + 9]), st.booleans(), st.booleans(), st.booleans())
def test_refreshed_is_recomputed(
    solver: Any, data: st.DataObject, k: int, unseen: bool, ties: bool, some: bool
) -> None:
    model = whole_numbers() if ties else fitted(solver=solver)
    happens = data.draw(changes(model.solver))
    users = [3, USERS + 2, 3, 0, NONE_OF_THEM] if some else None
    lists = model.lists(k=k, users=users, exclude_seen=unseen)
    assert_current(lists, model, unseen, users)
    for what in happens:
        for delta in change(model, what):
            before = dict(zip(lists.users.tolist(), lists.ids.tolist(), strict=True))
            renewed = set(lists.refresh(delta).tolist())
            assert_current(lists, model, unseen, users)
            after = dict(zip(lists.users.tolist(), lists.ids.tolist(), strict=True))
            assert {user for user, ids in after.items() if before.get(user) != ids} <= renewed


@each_solver
@given(st.data(), st.sampled_from([4, ITEMS + 9]), st.booleans())
def test_deltas_may_come_late(solver: Any, data: st.DataObject, k: int, some: bool) -> None:
    happens = data.draw(changes(solver))
    model, users = fitted(solver=solver), [3, USERS + 2, 0] if some else None
    lists = model.lists(k=k, users=users)
    deltas = [delta for what in happens for delta in change(model, what)]
    for delta in deltas:
        renewed = lists.refresh(delta)
        assert delta is deltas[-1] or not renewed.size
    assert_current(lists, model, users=users)


@each_solver
@given(st.data())
def test_a_copy_keeps_lists_by_the_same_deltas(solver: Any, data: st.DataObject) -> None:
    model, happens = fitted(solver=solver), data.draw(changes(solver))
    copy = model.copy()
    lists = copy.lists(k=4)
    for what in happens:
        for delta in change(model, what):
            lists.refresh(copy.apply(delta) and delta)
    assert_current(lists, model)


def test_single_events_between_two_flushes() -> None:
    model = fitted()
    model.learn_one(3, 4, 1.0)
    lists = model.lists(k=5)
    model.learn_one(4, 4, 5.0)
    lists.refresh(model.flush())
    model.learn_one(5, 777, 5.0)
    assert_current(lists.refresh(model.flush()) is not None and lists, model)


@pytest.mark.parametrize("threads", [1, 2])
def test_only_what_can_have_changed_is_renewed(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_PARALLEL_FROM", 0)
    monkeypatch.setattr(ranking, "_CHUNK", 1)
    rng = np.random.default_rng(0)
    model = MF.from_factors(
        rng.normal(size=(300, 8)), rng.normal(size=(200, 8)), biases=True, options=Options(threads=threads)
    )
    lists = model.lists(k=3)
    renewed = lists.refresh(model.update(Interactions([7], [11], [9.0])))
    assert_current(lists, model)
    assert 7 in renewed
    holders = lists.users[(lists.ids == 11).any(axis=1)]
    assert set(holders) <= set(renewed)
    assert renewed.size < 100


def test_one_list() -> None:
    model = fitted(text=True)
    lists = model.lists(k=3)
    assert lists["u3"].ids.tolist() == lists.ids[model.users.rows(np.array(["u3"], object))[0]].tolist()
    assert lists["u3"].scores.shape == (3,)
    some = model.lists(k=3, users=["u4", "nobody"])
    assert some["nobody"].ids.tolist() == model.recommend(["nobody"], k=3).ids[0].tolist()
    assert len(some) == 2
    for kept, user in ((lists, "nobody"), (some, "u3")):
        with pytest.raises(KeyError):
            kept[user]
    for array in (lists.ids, lists.scores):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(some) == "<Lists: 2 users, 3 items each, version 0>"


def test_text_ids() -> None:
    model = fitted(text=True)
    lists = model.lists(k=4)
    delta = model.update(as_text(some_events(30, users=USERS + 5, items=ITEMS + 5, seed=1)))
    assert set(delta.new_users) <= set(lists.refresh(delta))
    assert_current(lists, model)


@pytest.mark.parametrize("settings", [{"loss": losses.Logistic()}, {"options": Options(storage="float16")}], ids=str)
def test_links_and_half_precision(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    model = MF.from_factors(4 * rng.normal(size=(90, 8)), 4 * rng.normal(size=(70, 8)), biases=True, **settings)
    lists = model.lists(k=4)
    lists.refresh(model.update(Interactions([3, 4], [5, 99], [1.0, 0.0])))
    assert_current(lists, model)


def test_an_interrupted_refresh_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    lists = model.lists(k=4)

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fastmf.lists.best_rows", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lists.refresh(model.update(Interactions([3], [4], [1.0])))
    lists.refresh(model.update(Interactions([5], [6], [1.0])))
    assert_current(lists, model)


def test_deltas_that_do_not_follow() -> None:
    model = fitted()
    lists, other = model.lists(k=4), fitted()
    first = model.update(Interactions([3], [4], [1.0]))
    second = model.update(Interactions([3], [4], [1.0]))
    with pytest.raises(StaleDelta, match="starts from version 1, the lists are at 0"):
        lists.refresh(second)
    with pytest.raises(StaleDelta, match="the model is at 0"):
        other.lists(k=4).refresh(first)
    assert not lists.refresh(first).size
    assert set(lists.refresh(second)) >= {3}
    with pytest.raises(StaleDelta, match="starts from version 0"):
        lists.refresh(first)
    model.update(Interactions([NONE_OF_THEM], [4], [1.0]))
    with pytest.raises(KeyError):
        lists[NONE_OF_THEM]
    model.fit(some_events())
    with pytest.raises(StaleDelta, match="belongs to model"):
        lists.refresh(model.update(Interactions([3], [4], [1.0])))
    with pytest.raises(TypeError):
        lists.refresh("first")


def test_what_cannot_be_asked() -> None:
    with pytest.raises(NotFittedError):
        MF().lists()
    with pytest.raises(DataError, match="users"):
        fitted().lists(users=["a"])
    with pytest.raises(ValueError, match="k"):
        fitted().lists(k=0)
