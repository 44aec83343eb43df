"""Deltas: what the receipt says, undoing, repeating, and Deltas that do not fit."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from typing import Any

import numpy as np
import pytest
from strategies import (
    FACTORS,
    ITEMS,
    SIDES,
    USERS,
    as_text,
    assert_reads,
    assert_same,
    bits,
    content,
    fitted,
    some_events,
)

import fastmf
from fastmf import MF, Delta, Interactions, Options, optimizers
from fastmf.delta import Identity
from fastmf.errors import StaleDelta
from fastmf.followers.trail import Trail

NEW = Interactions([3, 100, 3, 101], [5, 5, 70, 70], [1, 5, 4, 2])


def batch_of(number: int, count: int = 40) -> Interactions:
    """A batch with some new users and items."""
    return some_events(count, USERS + 5 * number, ITEMS + 3 * number, seed=100 + number)


# ---------------------------------------------------------------------------------------------------- the receipt


def test_the_receipt_says_what_happened() -> None:
    model = fitted()
    parent = model.head
    delta = model.update(NEW)
    assert (delta.lineage, delta.head, delta.parent) == (model.lineage, model.head, parent)
    assert (delta.parent_version, delta.version) == (0, 1)
    assert (delta.events, delta.rejected, delta.rows_moved) == (4, 0, 5)
    assert delta.new_users.tolist() == [100, 101]
    assert delta.new_items.tolist() == [70]
    assert model.users.ids(delta.moves["users"].rows).tolist() == [3, 100, 101]
    assert model.items.ids(delta.moves["items"].rows).tolist() == [5, 70]
    assert 0 < delta.seconds < 60


def test_new_ids_come_in_order_of_first_appearance() -> None:
    model = fitted()
    delta = model.update(Interactions([9_000, 5, 70, 9_000, -3], [800, 1, 900, 700, 800]))
    assert delta.new_users.tolist() == [9_000, 70, -3]
    assert delta.new_items.tolist() == [800, 900, 700]
    assert model.users.values[-3:].tolist() == [9_000, 70, -3]


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 3.0]])
def test_the_losses_are_means_over_the_events_before_and_after(weights: list[float] | None) -> None:
    model = fitted()
    batch = Interactions([3, 4, 3], [5, 6, 7], [1, 5, 4], weights=weights)
    before = model.predict(batch.users, batch.items, clip=False).astype(np.float64)
    delta = model.update(batch)
    after = model.predict(batch.users, batch.items, clip=False).astype(np.float64)
    assert delta.loss_before == pytest.approx(np.average((before - batch.values) ** 2, weights=weights), rel=1e-5)
    assert delta.loss_after == pytest.approx(np.average((after - batch.values) ** 2, weights=weights), rel=1e-5)
    assert delta.loss_after < delta.loss_before


def test_a_delta_prints_as_one_line() -> None:
    number, line = r"-?\d+(\.\d+)?(e[+-]\d+)?", str(fitted().update(NEW))
    pattern = rf"4 events, 3 users \(2 new\), 2 items \(1 new\), loss {number} -> {number}, {number} ms"
    assert re.fullmatch(pattern, line), line
    old = str(fitted().update(Interactions([3], [5], [1])))
    assert old.startswith("1 event, 1 user, 1 item, loss "), old


def test_the_inverse_says_where_it_leads() -> None:
    model = fitted()
    model.update(NEW)
    learned = model.head
    inverse = model.rollback(to=0)
    assert inverse.restores == 0
    assert (inverse.parent_version, inverse.version, model.version) == (1, 2, 2)
    assert (inverse.parent, inverse.head) == (learned, model.head)
    assert model.head != learned
    assert "back to version 0" in str(inverse)


def test_a_delta_is_frozen_and_can_be_pickled() -> None:
    model = fitted()
    twin = model.copy()
    delta = model.update(NEW)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delta.version = 7  # type: ignore[misc]
    twin.apply(pickle.loads(pickle.dumps(delta)))
    assert_same(bits(model), bits(twin))


def test_a_delta_does_not_change_when_the_model_does() -> None:
    model = fitted()
    early, late = model.copy(), model.copy()
    delta = model.update(NEW)
    early.apply(copy.deepcopy(delta))
    model.update(batch_of(1))
    model.rollback(to=0)
    model.update(batch_of(2))
    late.apply(delta)
    assert_same(bits(early), bits(late))
    late.rollback(delta)
    assert_same(content(late), content(fitted()))


# ------------------------------------------------------------------------------------------------------- undoing

MODELS: dict[str, dict[str, Any]] = {
    "int": {},
    "str": {"text": True},
    "half precision": {"options": Options(storage="float16")},
    "without biases": {"biases": False},
    "SGD": {"solver": optimizers.SGD(0.05)},
}


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_rollback_restores_every_bit(settings: dict[str, Any]) -> None:
    model = fitted(**settings)
    before, batch = content(model), batch_of(2)
    delta = model.update(as_text(batch) if "text" in settings else batch)
    learned = content(model)
    assert learned["users factors"] != before["users factors"]
    model.rollback(delta)
    assert_same(content(model), before)
    assert_reads(model)
    model.update(as_text(batch) if "text" in settings else batch)
    assert_same(content(model), learned)


def test_rollback_forgets_new_ids() -> None:
    model = fitted()
    delta = model.update(NEW)
    assert 100 in model.users
    model.rollback(delta)
    assert 100 not in model.users
    assert 70 not in model.items
    assert len(model.users) == len(model.user_factors) == USERS
    assert model.recommend([100]).ids.tolist() == model.recommend([-1]).ids.tolist()


def test_rollback_undoes_growth_over_many_tables_of_ids() -> None:
    model = fitted()
    before = content(model)
    for first in range(1_000, 5_000, 1_000):
        users = np.arange(first, first + 1_000)
        model.update(Interactions(users, users % 50))
    assert len(model.users) == USERS + 4_000
    model.rollback(to=0)
    assert_same(content(model), before)
    model.update(NEW)
    twin = fitted()
    twin.update(NEW)
    assert_same(content(model), content(twin))


def test_rollback_brings_back_a_history_without_times() -> None:
    model = fitted()
    delta = model.update(Interactions([3], [5], [1], times=[77]))
    model.rollback(delta)
    assert_same(content(model), content(fitted()))


@pytest.mark.parametrize("trainable", ["users", "items", {}], ids=str)
def test_rows_that_were_rolled_back_never_return(trainable: Any) -> None:
    model, twin = fitted(), fitted()
    model.rollback(model.update(Interactions([500, 501], [600, 601], [30.0, -9.0])))
    replica = pickle.loads(pickle.dumps(model))
    other = Interactions([700, 701], [800, 801], [3.0, 2.0])
    replica.apply(model.update(other, trainable=trainable))
    twin.update(other, trainable=trainable)
    assert_same(content(model), content(twin))
    assert_same(bits(model), bits(replica))


def test_times_that_were_rolled_back_never_return() -> None:
    model, twin = fitted(), fitted()
    model.rollback(model.update(Interactions([3, 4], [5, 6], [1, 2], times=[1_000_000, 2_000_000])))
    for one in (model, twin):
        one.update(Interactions([3, 4], [5, 6], [1, 2]))
        one.update(Interactions([3], [5], [1], times=[10]))
    assert_same(content(model), content(twin))


def test_rollback_walks_back_over_several_updates() -> None:
    model = fitted()
    past = [content(model)]
    for number in range(6):
        model.update(batch_of(number), trainable=("both", "users")[number % 2])
        past.append(content(model))
    for left in (4, 3, 0):
        inverse = model.rollback(to=left)
        assert_same(content(model), past[left])
        assert_reads(model)
        assert inverse.restores == left
    assert model.version == 9


def test_rollback_of_the_update_that_began_a_model() -> None:
    model = MF(factors=FACTORS)
    delta = model.update(as_text(NEW))
    learned = content(model)
    model.rollback(delta)
    assert (len(model.users), len(model.items), model.version) == (0, 0, 2)
    model.update(as_text(NEW))
    assert_same(content(model), learned)


def test_a_rolled_back_model_goes_on_as_if_nothing_had_been() -> None:
    model, twin = fitted(), fitted()
    for number in range(3):  # tails of the history are laid out while they are there, and taken back then
        model.rollback(model.update(Interactions([3] * 40, [number] * 40)))
        model.update(batch_of(number))
        twin.update(batch_of(number))
        assert_same(content(model), content(twin))
    assert_reads(model)


def test_a_state_that_is_come_back_to_for_ever_keeps_few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmf.followers.trail._STATES", 5)
    model, before = fitted(), content(fitted())
    for _ in range(20):
        model.rollback(model.update(NEW))
    (names,) = model._state.trail.names
    assert (len(names), names[0].version, names[-1].version) == (5, 0, 40)
    for version in (40, 0):
        model.update(NEW)
        model.rollback(to=version)
        assert_same(content(model), before)


def test_the_inverse_undoes_other_copies_too() -> None:
    model = fitted()
    replica, before = model.copy(), content(model)
    for number in range(3):
        replica.apply(model.update(batch_of(number)))
    replica.apply(model.rollback(to=1))
    assert_same(bits(model), bits(replica))
    replica.apply(model.rollback(to=0))
    assert_same(bits(model), bits(replica))
    assert_same(content(replica), before)


# ----------------------------------------------------------------------------------------------------- repeating


@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
def test_apply_gives_the_same_bits(settings: dict[str, Any]) -> None:
    model = fitted(**settings)
    replica = model.copy()
    for number in range(3):
        batch = batch_of(number)
        delta = model.update(as_text(batch) if "text" in settings else batch)
        assert replica.apply(delta) is replica
        assert_same(bits(model), bits(replica))
    assert_reads(replica)
    assert (
        replica.recommend(replica.users.values[:3]).ids.tolist() == model.recommend(model.users.values[:3]).ids.tolist()
    )


def test_a_replica_can_undo_what_it_was_given() -> None:
    model = fitted()
    replica, before = model.copy(), content(model)
    delta = model.update(NEW)
    replica.apply(delta)
    replica.rollback(delta)
    assert_same(content(replica), before)


@pytest.mark.parametrize("made", [MF.copy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_a_copy_keeps_no_deltas_but_can_undo_the_newest_that_it_is_handed(made: Any) -> None:
    model = fitted()
    before, delta = content(model), model.update(NEW)
    twin = made(model)
    refuse(twin, lambda: twin.rollback(to=0), "are kept back to version 1, not to 0")
    twin.rollback(delta)
    assert_same(content(twin), before)


# --------------------------------------------------------------------------------------------------------- stale


def refuse(model: MF, call: Any, *words: str) -> None:
    """The call is refused by StaleDelta, and the model is as it was."""
    before = bits(model)
    with pytest.raises(StaleDelta) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
    assert_same(bits(model), before)


def test_a_delta_applies_to_its_parent_version_only() -> None:
    model = fitted()
    replica = model.copy()
    first, second = model.update(NEW), model.update(batch_of(1))
    refuse(replica, lambda: replica.apply(second), "version 1", "version 0")
    replica.apply(first)
    refuse(replica, lambda: replica.apply(first), "version 0", "version 1")
    replica.apply(second)
    refuse(model, lambda: model.apply(second))


@pytest.mark.parametrize("made", [MF.copy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_copies_that_have_gone_their_own_ways_refuse_each_others_deltas(made: Any) -> None:
    """Their versions are the same numbers, their states are not."""
    model = fitted()
    twin = made(model)
    assert twin.head == model.head
    first, other = model.update(NEW), twin.update(batch_of(1))
    second, further = model.update(batch_of(2)), twin.update(batch_of(2))
    assert (second.parent_version, second.version) == (further.parent_version, further.version) == (1, 2)
    refuse(model, lambda: model.apply(further), "version 1")
    refuse(twin, lambda: twin.apply(second), "version 1")
    refuse(model, lambda: model.rollback(further), "version 2 is not the newest")
    model.rollback(second)
    twin.rollback(further)
    refuse(model, lambda: model.rollback(other))
    refuse(model, lambda: model.apply(second))  # the same bits again, under another name
    model.rollback(first)
    assert_same(content(model), content(fitted()))


def test_a_delta_belongs_to_one_lineage() -> None:
    model = fitted()
    delta = model.update(NEW)
    other = MF(factors=FACTORS).fit(some_events(), epochs=1)
    refuse(other, lambda: other.apply(delta), delta.lineage[:8], other.lineage[:8])
    other.update(NEW)
    refuse(other, lambda: other.rollback(delta))


def test_a_second_fit_makes_old_deltas_stale() -> None:
    model = MF(factors=FACTORS).fit(some_events(), epochs=1)
    delta = model.update(NEW)
    model.fit(some_events(), epochs=1)
    refuse(model, lambda: model.apply(delta))
    refuse(model, lambda: model.rollback(delta))
    refuse(model, lambda: model.rollback(to=0))


def test_only_the_newest_update_can_be_rolled_back() -> None:
    model = fitted()
    first, second = model.update(NEW), model.update(batch_of(1))
    refuse(model, lambda: model.rollback(first), "version 1 is not the newest")
    model.rollback(second)
    refuse(model, lambda: model.rollback(second))
    model.rollback(first)
    refuse(model, lambda: model.rollback(first))
    refuse(model, lambda: model.rollback(to=0))


def gone_back_once() -> MF:
    """A model at version 4: version 2 was taken back by version 3, which is version 1 again."""
    model = fitted()
    model.update(NEW)
    model.rollback(model.update(batch_of(1)))
    model.update(batch_of(2))
    return model


def test_rollback_to_a_version_that_was_gone_back_to() -> None:
    model, twin = gone_back_once(), fitted()
    model.rollback(to=3)
    twin.update(NEW)
    assert_same(content(model), content(twin))


@pytest.mark.parametrize("made", [MF.copy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
def test_a_copy_goes_back_to_where_it_was_copied_by_each_name_of_that_state(made: Any) -> None:
    """The state of version 0, which the model came back to twice."""
    model = fitted()
    model.rollback(model.update(NEW))
    model.update(batch_of(1))
    model.rollback(to=2)
    before, twin = content(model), made(model)
    for to in (4, 2, 0):
        twin.update(NEW)
        twin.rollback(to=to)
        assert_same(content(twin), before)
    refuse(twin, lambda: twin.rollback(to=3))


@pytest.mark.parametrize("to", [4, 99, -1, -3, pytest.param(2, id="taken back: no Delta leads there any more")])
def test_rollback_to_a_version_that_is_not_behind_is_refused(to: int) -> None:
    model = gone_back_once()
    refuse(model, lambda: model.rollback(to=to))


def test_old_deltas_are_dropped_beyond_a_budget() -> None:
    model = fitted()
    deltas = [model.update(batch_of(number)) for number in range(4)]
    states = [Identity(deltas[0].parent, 0)]
    trail = Trail([states], deltas[2].nbytes + deltas[3].nbytes)
    for delta in deltas:
        for _ in range(2):  # whoever is interrupted calls it again
            trail.follow(model._state, delta)
    assert trail.states == [*states, *(delta.reached for delta in deltas)]
    assert [delta.version for delta in trail.since(2)] == [3, 4]
    with pytest.raises(StaleDelta, match="are kept"):
        trail.since(1)


@pytest.mark.parametrize("timed", [(), (0, 1, 2, 3), (2,)], ids=["no times", "times", "times on one"])
def test_merged_deltas_lead_to_the_same_bits(timed: tuple[int, ...]) -> None:
    model = fitted()
    replica, deltas = model.copy(), []
    for number in range(4):
        times = np.arange(40) + 100 * number if number in timed else None
        deltas.append(model.update(some_events(40, USERS + 5 * number, ITEMS + 3 * number, seed=number, times=times)))
    merged = Delta.merge(deltas)
    assert merged.events == 160
    for side in SIDES:
        assert np.unique(merged.moves[side].rows).size == merged.moves[side].rows.size
    replica.apply(merged)
    assert_same(bits(model), bits(replica), but=("untimed",))
    assert_reads(replica)


@pytest.mark.parametrize("call", [MF.apply, MF.rollback], ids=["apply", "rollback"])
def test_what_is_no_delta_is_refused(call: Any) -> None:
    model = fitted()
    before = bits(model)
    with pytest.raises((TypeError, ValueError), match="Delta"):
        call(model, "newest")
    assert_same(bits(model), before)


def test_rollback_takes_one_of_a_delta_and_a_version() -> None:
    model = fitted()
    delta = model.update(NEW)
    for arguments in ({}, {"delta": delta, "to": 0}):
        with pytest.raises(ValueError, match="rollback takes"):
            model.rollback(**arguments)
    assert model.version == 1
    assert fastmf.Delta is type(delta)
