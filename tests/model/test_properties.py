"""Properties that hold for every batch and every recipe."""

from __future__ import annotations

import copy
import itertools
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import (
    ITEMS,
    SIDES,
    SOLVERS,
    USERS,
    as_text,
    assert_reads,
    assert_same,
    batches,
    bits,
    content,
    each_solver,
    fitted,
    once,
    recipes_for,
    rows_by_id,
    some_events,
    stepping,
    trainables,
)

import fastmf
from fastmf import MF, Interactions, Options, Update, optimizers
from fastmf.errors import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

# ------------------------------------------------------------------------------------------------- what may move


def movable(model: MF, batch: Interactions, trainable: Any) -> dict[str, set[int]]:
    """The ids whose rows an update may move, by the words of the design."""
    allowed = {}
    for side in SIDES:
        named = set(getattr(batch, side).tolist())
        if isinstance(trainable, dict):
            named &= set(trainable.get(side, ()))
        elif trainable == "new":
            named -= set(getattr(model, side))
        elif trainable not in ("both", side):
            named = set()
        allowed[side] = named
    return allowed


@each_solver
@given(batches(), st.data())
def test_rows_that_are_not_movable_keep_every_bit(solver: Any, batch: Interactions, data: st.DataObject) -> None:
    model, recipe = fitted(solver=solver), data.draw(recipes_for(solver))
    before, allowed = rows_by_id(model), movable(model, batch, recipe.trainable)
    delta = model.update(batch, recipe)
    after = rows_by_id(model)
    for side in SIDES:
        moved = {one for one, row in before[side].items() if after[side][one] != row}
        assert moved <= allowed[side]
        named = getattr(model, side).ids(delta.moves[side].rows).tolist()
        assert len(named) == len(set(named))
        assert moved <= set(named) <= allowed[side]


@each_solver
@given(batches(least=1), trainables())
def test_rows_that_are_movable_move(solver: Any, batch: Interactions, trainable: Any) -> None:
    model, untrained = fitted(solver=solver), fitted(solver=solver)
    allowed = movable(model, batch, trainable)
    model.update(batch, Update(trainable=trainable))
    untrained.update(batch, trainable={})  # new rows are at their start
    after, start = rows_by_id(model), rows_by_id(untrained)
    for side in SIDES:
        assert {one for one, row in after[side].items() if start[side][one] != row} == allowed[side]


@given(batches(least=1))
def test_the_history_pass_moves_users_only(batch: Interactions) -> None:
    model = stepping()
    before = rows_by_id(model)
    model.update(batch, epochs=0, history_epochs=2)
    after = rows_by_id(model)
    assert {one: after["items"][one] for one in before["items"]} == before["items"]
    touched = set(batch.users.tolist()) & before["users"].keys()
    assert {one for one, row in before["users"].items() if after["users"][one] != row} == touched


@each_solver
@given(batches(), st.data())
def test_a_frozen_side_stays_as_it_is(solver: Any, batch: Interactions, data: st.DataObject) -> None:
    recipe = data.draw(recipes_for(solver))
    for trainable, frozen in (("users", "items"), ("items", "users"), ({"users": range(99)}, "items")):
        model = fitted(solver=solver)
        before = rows_by_id(model)[frozen]
        model.update(batch, recipe, trainable=trainable)
        after = rows_by_id(model)[frozen]
        assert {one: after[one] for one in before} == before


# ----------------------------------------------------------------------------------------------------- identities


@given(batches(), st.sampled_from([1, 3]))
def test_with_a_rate_of_zero_sgd_is_the_identity(batch: Interactions, batch_size: int) -> None:
    model = fitted(solver=optimizers.SGD(0.05))
    before = rows_by_id(model)
    model.update(batch, rate=0.0, batch_size=batch_size)
    after = rows_by_id(model)
    for side in SIDES:
        assert {one: after[side][one] for one in before[side]} == before[side]


@given(batches())
def test_with_a_rate_of_zero_adagrad_keeps_factors_and_biases(batch: Interactions) -> None:
    names = ("user_factors", "item_factors", "user_biases", "item_biases")
    model = stepping()
    before = {name: getattr(model, name).copy() for name in names}
    model.update(batch, rate=0.0)
    for name in names:
        np.testing.assert_array_equal(getattr(model, name)[: len(before[name])], before[name])


@given(batches(least=1))
def test_with_a_rate_of_zero_adagrad_keeps_its_memory(batch: Interactions) -> None:
    model = stepping()
    before = rows_by_id(model)
    model.update(batch, rate=0.0)
    after = rows_by_id(model)
    for side in SIDES:
        assert {one: after[side][one] for one in before[side]} == before[side]


STRANGERS = st.tuples(st.integers(1_000, 1_020), st.integers(1_000, 1_010), st.integers(1, 9))


@given(st.lists(STRANGERS, min_size=1, max_size=30))
def test_growth_keeps_old_scores(drawn: list[tuple[int, int, int]]) -> None:
    model = fitted()
    users, items = (side.ravel() for side in np.meshgrid(np.arange(USERS), np.arange(ITEMS)))
    before = model.predict(users, items, clip=False)
    new_users, new_items, values = np.array(drawn).T
    delta = model.update(Interactions(new_users, new_items, values=values))
    assert set(delta.new_users) == set(new_users)
    assert set(delta.new_items) == set(new_items)
    np.testing.assert_array_equal(model.predict(users, items, clip=False), before)


def saved(model: MF, folder: Path) -> MF:
    model.save(folder / "model")
    return fastmf.load(folder / "model")


COPIES = {
    "copy": lambda model, _: model.copy(),
    "copy.copy": lambda model, _: copy.copy(model),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "save and load": saved,
}


@pytest.mark.parametrize("made", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_copy_is_the_same_and_learns_the_same(made: Any, text: bool, storage: str, tmp_path: Path) -> None:
    model = fitted(text=text, options=Options(storage=storage))
    batch = Interactions([3, 90, 3], [1, 2, 70], [5, 1, 6])
    batch = as_text(batch) if text else batch
    model.update(batch)
    twin = made(model, tmp_path)
    assert_same(bits(model), bits(twin))
    assert_reads(twin)
    one, other = model.update(batch), twin.update(batch)
    assert one.loss_after == other.loss_after
    assert_same(bits(model), bits(twin))


@each_solver
@given(batches(), st.data())
def test_every_copy_is_the_same_after_any_update(solver: Any, batch: Interactions, data: st.DataObject) -> None:
    model = fitted(solver=solver)
    model.update(batch, data.draw(recipes_for(solver)))
    twins = model.copy(), pickle.loads(pickle.dumps(model))
    model.update(batch)
    for twin in twins:
        twin.update(batch)
        assert_same(bits(model), bits(twin))


# --------------------------------------------------------------------------------------- one update and its slices


@each_solver
@given(batches(plain=True), st.lists(st.integers(0, 25), max_size=4))
def test_one_update_equals_its_slices(solver: Any, batch: Interactions, cuts: list[int]) -> None:
    whole, pieces = fitted(solver=solver), fitted(solver=solver)
    recipe = once(whole)
    whole.update(batch, recipe)
    bounds = [0, *sorted(cuts), len(batch)]
    for first, last in itertools.pairwise(bounds):
        pieces.update(batch[first:last], recipe)
    assert_same(content(whole), content(pieces), but=("priors",))  # evidence about drift fades from batch to batch
    assert_reads(pieces)


@each_solver
@given(batches(plain=True))
def test_single_events_equal_one_update(solver: Any, batch: Interactions) -> None:
    whole, single = fitted(solver=solver), fitted(solver=solver)
    whole.update(batch, once(whole))
    for user, item, value in zip(batch.users.tolist(), batch.items.tolist(), batch.values.tolist(), strict=True):
        single.learn_one(user, item, value)
    single.flush()
    assert_same(content(whole), content(single), but=("priors",))  # conclusions about drift are drawn at other times
    assert_reads(single)


# ---------------------------------------------------------------------------------------------- a whole life of it


class Life(RuleBasedStateMachine):
    """A model that learns, fails and goes back, a replica that only sees its Deltas, and a record of every version."""

    solver: Any = SOLVERS["beliefs"]

    @initialize()
    def begin(self) -> None:
        self.model = fitted(solver=self.solver, options=Options(memory=1 << 28))  # many a failing life is kept
        self.replica = self.model.copy()
        self.past = [content(self.model)]
        self.deltas: list[fastmf.Delta] = []
        self.seen = len(some_events())

    def learned(self, delta: fastmf.Delta) -> None:
        self.replica.apply(delta)
        self.deltas.append(delta)
        self.past.append(content(self.model))

    @rule(batch=batches(), data=st.data())
    def update(self, batch: Interactions, data: st.DataObject) -> None:
        self.learned(self.model.update(batch, data.draw(recipes_for(self.solver))))

    @rule(batch=batches(least=10, plain=True))
    def update_few_rows(self, batch: Interactions) -> None:
        few = Interactions(batch.users % 2, batch.items % 2, batch.values)  # long tails in the history
        self.learned(self.model.update(few))

    @rule(batch=batches(least=1, most=6, plain=True))
    def learn_single_events(self, batch: Interactions) -> None:
        for user, item, value in zip(batch.users.tolist(), batch.items.tolist(), batch.values.tolist(), strict=True):
            self.model.learn_one(user, item, value)
        self.learned(self.model.flush())

    @rule(batch=batches(least=1), data=st.data())
    def fail(self, batch: Interactions, data: st.DataObject) -> None:
        huge = Interactions(batch.users, batch.items, np.full(len(batch), 3e38), batch.times)
        recipe = replace(data.draw(recipes_for(self.solver)), trainable="both")
        with pytest.raises(DivergenceError):
            self.model.update(huge, recipe if recipe.epochs is None else replace(recipe, epochs=1))

    @precondition(lambda self: self.deltas)
    @rule()
    def undo(self) -> None:
        self.replica.apply(self.model.rollback(self.deltas.pop()))
        self.past.pop()

    @precondition(lambda self: len(self.deltas) > 1)
    @rule(data=st.data())
    def undo_several(self, data: st.DataObject) -> None:
        left = data.draw(st.integers(0, len(self.deltas) - 1))
        self.replica.apply(self.model.rollback(to=self.deltas[left].parent_version))
        del self.deltas[left:], self.past[left + 1 :]

    @rule()
    def read(self) -> None:
        assert_reads(self.model, limit=4)
        assert_reads(self.model)

    @rule()
    def pass_through_a_file(self) -> None:
        self.replica = pickle.loads(pickle.dumps(self.replica))

    @invariant()
    def is_what_it_was_at_this_version(self) -> None:
        if hasattr(self, "model"):
            assert_same(content(self.model), self.past[-1])
            assert_same(bits(self.model), bits(self.replica))
            assert self.model.head == self.replica.head

    def teardown(self) -> None:
        assert_reads(self.model)
        assert_reads(self.replica)


class LifeOfSteps(Life):
    """The same of a model that takes gradient steps."""

    solver = SOLVERS["steps"]


TestLife = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")(Life.TestCase)
TestLifeOfSteps = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")(LifeOfSteps.TestCase)
TestLife.settings = TestLifeOfSteps.settings = settings(stateful_step_count=15)
