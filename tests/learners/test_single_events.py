"""Single events: `learn_one`, `predict_one` and `flush`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import (
    FACTORS,
    assert_reads,
    assert_same,
    bits,
    content,
    each_solver,
    fitted,
    once,
    some_events,
)

import fastmf
from fastmf import MF, Interactions, Options
from fastmf.errors import CapacityError, DataError, DivergenceError, StaleDelta
from fastmf.kernels.train.online import LEARNED

NEW = Interactions([3, 100, 3, 101], [5, 5, 70, 70], [1, 5, 4, 2])


@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@pytest.mark.parametrize("storage", ["float32", "float16"])
@each_solver
def test_single_events_equal_updates_of_one_event(text: bool, storage: str, solver: Any) -> None:
    one, other = (fitted(text=text, solver=solver, options=Options(storage=storage)) for _ in range(2))
    new = 0 if storage == "float16" else 100  # a new row is rounded once more when it comes in alone
    events = ((3, 5, 0.1), (1 + new, 5, 4.0), (3, 7 + new, 7.3), (2 + new, 8 + new, 2.0), (3, 5, 1.0))
    for user, item, value in events:
        pair = (f"u{user}", f"i{item}") if text else (user, item)
        one.learn_one(*pair, value)
        other.update(Interactions([pair[0]], [pair[1]], [value]), once(other))
        assert one.predict_one(*pair, clip=False) == other.predict([pair[0]], [pair[1]], clip=False)[0]
    delta = one.flush()
    assert (delta.events, delta.rows_moved, one.version) == (5, 6, 1)
    assert_same(content(one), content(other), but=("priors",))  # conclusions about drift are drawn at other times
    assert_reads(one)


def test_single_events_are_undone_and_repeated_as_one_delta() -> None:
    model = fitted()
    replica, before = model.copy(), content(model)
    for user in (3, 100, 3, 101, 102):
        model.learn_one(user, 5, 4.0)
    delta = model.flush()
    replica.apply(delta)
    assert_same(bits(model), bits(replica))
    model.rollback(delta)
    assert_same(content(model), before)
    model.learn_one(100, 5, 4.0)
    assert model.flush().new_users.tolist() == [100]


@pytest.mark.parametrize("weights", [None, [2.0, 0.5, 1.0, 3.0]], ids=["unweighted", "weighted"])
def test_single_events_weigh_one(weights: list[float] | None) -> None:
    model = fitted()
    model.update(Interactions(NEW.users, NEW.items, NEW.values, weights=weights))
    model.learn_one(3, 5, 4.0)
    model.flush()
    found = model._state.history.events.weights
    assert (found is None) if weights is None else found[-5:].tolist() == [*weights, 1.0]
    assert_reads(model)


def test_predict_one_is_predict() -> None:
    model = fitted()
    model.update(Interactions([3] * 100, [5] * 100, [5.0] * 100))
    users, items = [3, 4, 3, 999, 999], [5, 6, 999, 5, 999]
    for clip in (True, False):
        many = model.predict(users, items, clip=clip)
        assert [model.predict_one(*pair, clip=clip) for pair in zip(users, items, strict=True)] == many.tolist()


def test_a_single_event_shows_at_once() -> None:
    model = fitted()
    before = model.predict([3], [5])[0]
    model.learn_one(3, 5, 20.0)
    assert model.predict([3], [5], clip=False)[0] > before
    assert 5 not in model.recommend([3], k=20).ids
    model.learn_one(100, 200, 3.0)
    assert 100 in model.users
    assert 200 in model.recommend([3], k=99).ids


OTHER_CHANGES: dict[str, Callable[[MF], Any]] = {
    "update": lambda model: model.update(NEW),
    "partial_fit": lambda model: model.partial_fit(NEW),
    "rollback": lambda model: model.rollback(to=0),
}


@pytest.mark.parametrize("change", OTHER_CHANGES.values(), ids=OTHER_CHANGES)
def test_every_other_change_flushes_first(change: Callable[[MF], Any]) -> None:
    one, other = fitted(), fitted()
    for model in (one, other):
        model.learn_one(3, 5, 4.0)
        model.learn_one(100, 5, 4.0)
    other.flush()
    change(one)
    change(other)
    assert_same(bits(one), bits(other))
    assert_reads(one)


QUESTIONS: dict[str, Callable[[MF, Path], Any]] = {
    "copy": lambda model, _: model.copy(),
    "copy.copy": lambda model, _: copy.copy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "file": lambda model, folder: [model.save(folder / "model"), fastmf.load(folder / "model")][1],
    "fold_in": lambda model, _: [model.fold_in(Interactions(["x"], [5])), None][1],
    "recommend": lambda model, _: [model.recommend([3]), None][1],
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_nothing_else_flushes(question: Callable[[MF, Path], Any], tmp_path: Path) -> None:
    """A copy made meanwhile is a state of its own: no Delta of the model's leads there, or on from there."""
    model, twin = fitted(), fitted()
    start = model.copy()
    for user in (3, 100):
        for one in (model, twin):
            one.learn_one(user, 5, 4.0)
    before, head = bits(model), model.head
    made = question(model, tmp_path)
    assert (model.head, model.version) == (head, 0)
    assert_same(bits(model), before)
    if made is not None:
        assert_same(bits(made), before)
        assert made.head != head
        assert_reads(made)
    delta = model.flush()
    assert (delta.events, delta.parent) == (2, head)
    start.apply(delta)
    twin.flush()
    assert_same(bits(model), bits(start))
    assert_same(content(model), content(twin))
    if made is not None:
        for call in (lambda: made.apply(delta), lambda: made.rollback(delta), lambda: made.rollback(to=0)):
            with pytest.raises(StaleDelta):
                call()
        further = made.update(NEW)
        assert (further.parent_version, made.version) == (0, 1)
        with pytest.raises(StaleDelta):
            model.apply(further)
        made.rollback(further)
        assert_same(content(made), {name: before[name] for name in content(made)})


@each_solver
def test_a_full_journal_is_flushed_by_itself(solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastmf.journal, "_CAPACITY", 4)
    one, other = fitted(solver=solver), fitted(solver=solver)
    before = content(one)
    for user in range(12):
        one.learn_one(user, user, 4.0)
        other.update(Interactions([user], [user], [4.0]), once(other))
    one.flush()
    assert 1 < one.version < 12
    assert_same(content(one), content(other), but=("priors",))
    one.rollback(to=0)
    assert_same(content(one), before)


def test_a_single_event_starts_a_model() -> None:
    model = MF(factors=FACTORS)
    model.learn_one("ada", "alien", 4.0)
    assert (model.global_mean, model.version, list(model.users)) == (4.0, 0, ["ada"])
    assert model.flush().version == 1
    model.rollback(to=0)
    assert len(model.users) == 0


DIVERGING = {
    "known": (3, 5, 3e38),
    "a new user": (100, 5, 3e38),
    "a new item": (3, 100, 3e38),
}


@pytest.mark.parametrize("value", [1e18, 1.2e19, 1e20, 1e25])
def test_no_single_event_leaves_anything_that_is_not_finite(value: float) -> None:
    model = fitted()
    before = bits(model)
    try:
        model.learn_one(3, 5, value)
    except DivergenceError:
        assert_same(bits(model), before)
    for table in (model._state.users.table, model._state.items.table):
        assert np.isfinite(table.factors[: table.count]).all()
        assert np.isfinite(table.records[: table.count]).all()


@pytest.mark.parametrize("event", DIVERGING.values(), ids=DIVERGING)
def test_a_single_event_that_is_not_finite_changes_nothing(event: tuple[int, int, float]) -> None:
    model = fitted()
    twin = model.copy()
    model.learn_one(3, 7, 4.0)
    twin.learn_one(3, 7, 4.0)
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.learn_one(*event)
    assert_same(bits(model), before)
    for one in (model, twin):
        one.flush()
        one.update(NEW)
    assert_same(bits(model), bits(twin))


def learn_until_full(model: MF, events: list[tuple[int, int]]) -> dict[str, Any]:
    """Learn single events until one is refused; the model as it was before that one."""
    for event in events:
        before = bits(model)
        try:
            model.learn_one(*event, 3.0)
        except CapacityError:
            return before
    raise AssertionError("nothing was refused")


FULL = {
    "users": [(new, 5) for new in range(1_000, 1_400)],
    "items": [(3, new) for new in range(1_000, 1_400)],
    "both": [(new, new) for new in range(1_000, 1_400)],
    "events": [(3, 5)] * 400,
}


@pytest.mark.parametrize("events", FULL.values(), ids=FULL)
def test_a_single_event_beyond_the_memory_changes_nothing(events: list[tuple[int, int]]) -> None:
    model = MF(factors=FACTORS, options=Options(memory=8_000)).fit(some_events(100), epochs=1)
    start = content(model)
    before = learn_until_full(model, events)
    after = bits(model)
    assert_same(after, before, but=("version",))  # the journal may have been flushed
    model.flush()
    assert_reads(model)
    model.rollback(to=0)
    assert_same(content(model), start)


def test_a_new_user_does_not_come_in_when_the_new_item_cannot() -> None:
    model = MF(factors=FACTORS, options=Options(memory=8_000)).fit(some_events(100), epochs=1)
    for new in range(model._state.items.table.capacity - len(model.items)):
        model.learn_one(3, 1_000 + new, 3.0)
    before = bits(model)
    with pytest.raises(CapacityError, match="memory budget"):
        model.learn_one(5_000, 5_000, 3.0)
    assert_same(bits(model), before)


@pytest.mark.parametrize("wrong", [(1.5, 2, 3.0), (1, "a", float("nan")), (1, None, 3.0)])
def test_a_refused_first_event_leaves_no_model(wrong: tuple[Any, Any, Any]) -> None:
    model = MF(factors=FACTORS)
    before = bits(model)
    with pytest.raises(DataError):
        model.learn_one(*wrong)
    assert_same(bits(model), before)


@pytest.mark.parametrize("user", [3, 100], ids=["known", "new"])
def test_an_interrupt_right_after_the_step_leaves_no_half_event(user: int) -> None:
    model = fitted()
    model.learn_one(7, 7, 4.0)
    journal, calls = model._state.journal, []
    single = journal._single

    def interrupted(*arguments: Any) -> int:
        answer = single.learn(*arguments)
        calls.append(answer)
        if answer == LEARNED:
            raise KeyboardInterrupt
        return answer

    journal._single = single._replace(learn=interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.learn_one(user, 5, 4.0)
    assert calls[-1] == LEARNED
    journal._single = single
    assert_reads(model)
    model.learn_one(8, 8, 4.0)
    twin = fitted()
    twin.learn_one(7, 7, 4.0)
    if model.flush().events == 3:
        twin.learn_one(user, 5, 4.0)
    twin.learn_one(8, 8, 4.0)
    twin.flush()
    assert_same(content(model), content(twin))
