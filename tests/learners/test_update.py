"""Updates: what they learn, and what they leave alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from strategies import (
    FACTORS,
    SOLVERS,
    USERS,
    as_text,
    assert_reads,
    assert_same,
    bits,
    content,
    each_solver,
    fitted,
    planted,
    rmse,
    rows_by_id,
    some_events,
    stepping,
)

from fastmf import MF, Interactions, Options, Update, losses, optimizers, regularizers
from fastmf.errors import DataError
from fastmf.recipes import Preset, presets

NEW = Interactions([3, 100, 3, 101], [5, 5, 70, 70], [1, 5, 4, 2])
PLAIN = {"solver": optimizers.SGD(0.05), "regularizer": regularizers.L2(0.0)}


# ------------------------------------------------------------------------------------------- on a model that is new


@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@each_solver
def test_the_first_update_starts_a_model(text: bool, solver: Any) -> None:
    events = as_text(some_events()) if text else some_events()
    model = MF(factors=FACTORS, solver=solver)
    delta = model.update(events)
    assert (delta.parent_version, delta.version, model.version) == (0, 1, 1)
    assert model.global_mean == pytest.approx(events.values.mean(), abs=1e-6)
    assert set(model.users) == set(events.users)
    assert delta.loss_after < delta.loss_before
    if isinstance(solver, optimizers.AdaGrad):  # beliefs start further apart
        assert delta.loss_before == pytest.approx(events.values.var(), rel=0.05)  # of the mean alone
    assert_reads(model)


def test_the_mean_stays_where_the_first_update_put_it() -> None:
    model = MF(factors=FACTORS)
    model.update(Interactions([1, 2], [1, 2], [2.0, 4.0]))
    model.update(Interactions([1, 2], [3, 4], [100.0, 100.0]))
    assert model.global_mean == 3.0


def test_an_empty_batch_teaches_nothing() -> None:
    model = fitted()
    before = content(model)
    delta = model.update(some_events(0))
    assert (delta.events, delta.rows_moved, model.version) == (0, 0, 1)
    assert_same(content(model), before)


def test_an_empty_first_batch_does_not_fix_the_mean() -> None:
    model, twin = MF(factors=FACTORS), MF(factors=FACTORS)
    with pytest.raises(DataError, match="there are none; the first batch of a model needs at least one"):
        model.update(some_events(0))
    assert_same(bits(model), bits(twin))
    model.update(NEW)
    twin.update(NEW)
    assert model.global_mean == twin.global_mean == 3.0


# ------------------------------------------------------------------------------------------------------- new rows


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
def test_two_new_rows_can_learn(biases: bool) -> None:
    model = fitted(biases=biases, **PLAIN)
    event = Interactions([1_000], [2_000], [5.0])
    model.update(event, epochs=200, history_epochs=0)
    assert model.predict([1_000], [2_000], clip=False)[0] == pytest.approx(5.0, abs=0.01)
    assert np.linalg.norm(model.user_factors[-1]) > 0


@each_solver
def test_new_rows_start_apart_and_from_the_seed(solver: Any) -> None:
    starts = {}
    for seed in (0, 1):
        model = MF(factors=FACTORS, solver=solver, seed=seed)
        model.update(Interactions([1, 2, 3], [1, 2, 3]), trainable={})
        starts[seed] = np.concatenate([model.user_factors, model.item_factors])
        assert len(np.unique(starts[seed], axis=0)) == 6
        assert (np.abs(starts[seed]) > 0).all()
    again = MF(factors=FACTORS, solver=solver, seed=1)
    again.update(Interactions([1, 2, 3], [1, 2, 3]), trainable={})
    np.testing.assert_array_equal(np.concatenate([again.user_factors, again.item_factors]), starts[1])
    assert (starts[0] != starts[1]).all()


@each_solver
@pytest.mark.parametrize("trainable", ["users", "items", {}, {"users": [3]}], ids=str)
def test_new_rows_of_a_frozen_side_are_at_their_start(trainable: Any, solver: Any) -> None:
    model, start = (fitted(biases=False, solver=solver) for _ in range(2))
    model.update(NEW, trainable=trainable)
    start.update(NEW, trainable={})
    wanted, found = rows_by_id(start), rows_by_id(model)
    frozen = {"users": ["items"], "items": ["users"]}.get(str(trainable), ["users", "items"])
    for side, new in (("users", [100, 101]), ("items", [70])):
        for one in new if side in frozen else []:
            assert np.frombuffer(found[side][one], np.float32).any()
            assert found[side][one] == wanted[side][one]


def test_growth_through_many_tables_of_ids_keeps_old_rows() -> None:
    model = fitted()
    before, old = rows_by_id(model), model.predict(np.arange(USERS), np.arange(USERS) % 20, clip=False)
    for first in range(1_000, 4_000, 500):
        users = np.arange(first, first + 500)
        model.update(Interactions(users, users), trainable="new")
    np.testing.assert_array_equal(model.predict(np.arange(USERS), np.arange(USERS) % 20, clip=False), old)
    after = rows_by_id(model)
    assert before["users"].items() <= after["users"].items()
    assert before["items"].items() <= after["items"].items()
    assert model.users.rows(np.arange(1_000, 4_000)).tolist() == list(range(USERS, USERS + 3_000))


def test_repeated_pairs_are_separate_events() -> None:
    once, twice = fitted(), fitted()
    once.update(Interactions([3], [5], [1]))
    delta = twice.update(Interactions([3, 3], [5, 5], [1, 1]))
    assert delta.events == 2
    assert len(twice._state.history) == len(once._state.history) + 1
    assert twice.predict([3], [5]) < once.predict([3], [5])
    assert_reads(twice)


# -------------------------------------------------------------------------------------------------------- recipes


def test_overrides_equal_a_recipe() -> None:
    one, other = stepping(), stepping()
    one.update(NEW, Update(epochs=4, rate=0.02, batch_size=3, trainable="users", history_rate=0.3, order="arrival"))
    recipe = Update(rate=0.02, trainable="items", order="arrival")
    other.update(NEW, recipe, epochs=4, batch_size=3, trainable="users", history_rate=0.3)
    assert_same(bits(one), bits(other))


@pytest.mark.parametrize("name", presets)
@pytest.mark.parametrize("solver", [*SOLVERS.values(), optimizers.ALS()], ids=lambda solver: type(solver).__name__)
def test_a_preset_is_for_every_solver(name: str, solver: Any) -> None:
    model = fitted(solver=solver)
    assert model.update(NEW, presets[name]).events == len(NEW)
    assert model.update(NEW, presets[name], trainable="items").rows_moved <= 2
    assert isinstance(replace(presets[name], trainable="new"), Preset)


def test_of_a_preset_a_solver_takes_what_it_has() -> None:
    for name, own in (("new-events", {}), ("fast", {}), ("whole-history", {"resolve": 1, "max_history": "all"})):
        one, other = fitted(), fitted()
        one.update(NEW, **own)
        other.update(NEW, presets[name])
        assert_same(bits(one), bits(other))
    one, other = stepping(), stepping()
    one.update(NEW, epochs=3, history_epochs=0)
    other.update(NEW, presets["new-events"])
    assert_same(bits(one), bits(other))


def test_what_is_asked_for_beside_a_preset_is_not_left_out() -> None:
    model = fitted()
    before = bits(model)
    for name in presets:
        with pytest.raises(ValueError, match=r"Update\.rate means nothing to Variational.*solver=optimizers\.AdaGrad"):
            model.update(NEW, presets[name], rate=0.1)
    with pytest.raises(ValueError, match=r"Update\.epochs means nothing"):
        model.update(NEW, Update(epochs=3, history_epochs=0))
    assert_same(bits(model), before)


def test_partial_fit_is_an_update() -> None:
    one, other = fitted(), fitted()
    one.update(NEW)
    assert other.partial_fit(NEW) is other
    assert_same(bits(one), bits(other))
    assert MF(factors=FACTORS).partial_fit(NEW).version == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"epochs": 3},
        {"rate": 0.2},
        {"batch_size": 2},
        {"history_epochs": 0},
        {"history_rate": 0.1},
        {"max_history": 2},
        {"order": "arrival"},
        {"loss": losses.Huber(0.1)},
        {"regularizer": regularizers.L2(0.5)},
    ],
    ids=lambda overrides: next(iter(overrides)),
)
def test_every_field_of_a_recipe_matters(overrides: dict[str, Any]) -> None:
    batch = Interactions([3, 4, 3, 4, 5], [5, 6, 6, 5, 5], [1, 5, 4, 2, 1])
    plain, changed = stepping(), stepping()
    plain.update(batch)
    changed.update(batch, **overrides)
    assert content(plain)["users factors"] != content(changed)["users factors"]


def test_loss_and_regularizer_last_for_one_call() -> None:
    model, twin = stepping(), stepping()
    twin.apply(model.update(NEW, loss=losses.Huber(0.5), regularizer=regularizers.L2(0.5)))
    assert model.loss == losses.Squared()
    model.update(some_events(20, seed=5))
    twin.update(some_events(20, seed=5))
    assert_same(bits(model), bits(twin))


def test_huber_for_one_call_bounds_the_pull_of_an_outlier() -> None:
    squared, huber = fitted(**PLAIN), fitted(**PLAIN)
    row = squared.users.rows(np.array([3]))[0]
    before, error = squared.user_factors[row].copy(), 40.0 - squared.predict([3], [5], clip=False)[0]
    outlier = Interactions([3], [5], [40.0])
    squared.update(outlier, epochs=1, history_epochs=0)
    huber.update(outlier, epochs=1, history_epochs=0, loss=losses.Huber(1.0))
    far, near = (np.linalg.norm(model.user_factors[row] - before) for model in (squared, huber))
    assert far / near == pytest.approx(error, rel=1e-3)  # slope 2e against 2


def test_weights_equal_repeated_events() -> None:
    """Along the mean gradient, an event of weight w counts as w events, once the step is as long."""
    weights = np.array([2.0, 1.0, 3.0, 1.0])
    counts = weights.astype(int)
    repeated = Interactions(np.repeat(NEW.users, counts), np.repeat(NEW.items, counts), np.repeat(NEW.values, counts))
    weighted = Interactions(NEW.users, NEW.items, NEW.values, weights=weights)
    one, other = fitted(**PLAIN), fitted(**PLAIN)
    recipe = Update(epochs=1, history_epochs=0, batch_size=10)
    first = one.update(repeated, recipe, rate=0.1)
    second = other.update(weighted, recipe, rate=0.1 * 4 / 7)
    assert first.loss_before == pytest.approx(second.loss_before, rel=1e-6)
    assert first.loss_after == pytest.approx(second.loss_after, rel=1e-5)
    for name in ("user_factors", "item_factors", "user_biases", "item_biases"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)


def test_weights_are_remembered_for_the_history_pass() -> None:
    light, heavy = stepping(), stepping()
    for model, weight in ((light, 1e-3), (heavy, 5.0)):
        model.update(Interactions([3] * 10, [5] * 10, [5] * 10, weights=[weight] * 10), epochs=0, history_epochs=0)
        model.update(Interactions([3], [7], [1.0]), epochs=0, history_epochs=5)
    assert heavy.predict([3], [5]) > light.predict([3], [5]) + 0.1


def test_the_history_pass_can_be_bounded_to_the_newest_events() -> None:
    rng = np.random.default_rng(0)
    user_factors, item_factors = rng.normal(size=(3, FACTORS)), rng.normal(size=(9, FACTORS))
    rows = {}
    for count in (8, 2):
        model = MF.from_factors(user_factors, item_factors, biases=True, solver=optimizers.AdaGrad())
        past = Interactions([1] * 8, np.arange(8), np.arange(8))
        model.update(past[8 - count :], epochs=0, history_epochs=0)
        model.update(Interactions([1, 2], [8, 8], [3, 3]), max_history=2)
        rows[count] = rows_by_id(model)["users"]
        model.update(Interactions([1, 2], [8, 8], [3, 3]), epochs=0)
        assert rows_by_id(model)["users"][1] != rows[count][1]
    assert rows[8] == rows[2]


def test_trainable_ids_may_name_new_and_absent_ids() -> None:
    model = fitted()
    before = rows_by_id(model)
    delta = model.update(NEW, trainable={"users": [100, 7, 12_345], "items": [70, 5]})
    after = rows_by_id(model)
    assert {one for one, row in before["users"].items() if after["users"][one] != row} == set()
    assert {one for one, row in before["items"].items() if after["items"][one] != row} == {5}
    assert model.users.ids(delta.moves["users"].rows).tolist() == [100]
    untrained = fitted()
    untrained.update(NEW, trainable={})
    assert rows_by_id(untrained)["users"][100] != after["users"][100]


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_the_tables_hold_what_the_delta_says(storage: str) -> None:
    model = fitted(options=Options(storage=storage))
    delta = model.update(NEW)
    for side, factors in (("users", model.user_factors), ("items", model.item_factors)):
        move = delta.moves[side]
        assert factors.dtype == storage
        np.testing.assert_array_equal(factors[move.rows], move.after.factors[:, :FACTORS].astype(storage))


# -------------------------------------------------------------------------------------------------------- quality


@pytest.fixture(scope="module")
def stream() -> tuple[Interactions, list[Interactions]]:
    """Half of a stream of drifting tastes and arriving users, and the rest of it in blocks."""
    events, _ = planted(drift=1.0)
    past, later = events.split_by_time(0.5)
    return past, list(later.batches(300))


def prequential(model: MF, blocks: list[Interactions], recipe: Update | None) -> float:
    """The mean error on each next block, after an update on each block."""
    errors = []
    for block, following in itertools.pairwise(blocks):
        if recipe is not None:
            model.update(block, recipe)
        errors.append(rmse(model, following))
    return float(np.mean(errors))


@pytest.fixture(scope="module", params=SOLVERS.values(), ids=SOLVERS)
def ends(stream: tuple[Interactions, list[Interactions]], request: Any) -> tuple[MF, float, float]:
    """A model of the past; the error of leaving it as it is, and of retraining it on everything for every block."""
    past, blocks = stream
    model = MF(factors=FACTORS, solver=request.param).fit(past)
    errors = []
    for number in range(1, len(blocks)):
        full = MF(factors=FACTORS, solver=request.param).fit(Interactions.concatenate([past, *blocks[:number]]))
        errors.append(rmse(full, blocks[number]))
    return model, prequential(model.copy(), blocks, None), float(np.mean(errors))


def test_the_default_recipe_closes_most_of_the_gap_to_retraining(stream: Any, ends: tuple[MF, float, float]) -> None:
    model, frozen, full = ends
    assert full < 0.9 * frozen  # there is a gap
    updated = prequential(model.copy(), stream[1], Update())
    assert (frozen - updated) / (frozen - full) > 0.5


@pytest.mark.parametrize("name", presets)
def test_every_preset_beats_a_frozen_model(name: str, stream: Any, ends: tuple[MF, float, float]) -> None:
    model, frozen, full = ends
    assert isinstance(presets[name], Update)
    updated = prequential(model.copy(), stream[1], presets[name])
    least = 0.02 if presets[name].trainable == "new" else 0.4  # most events are of rows that were there
    assert (frozen - updated) / (frozen - full) > least


def test_an_update_as_large_as_a_fit_goes_in_blocks_and_gives_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    events = some_events(20_000, users=300, items=200)
    small = MF(factors=8, solver=optimizers.AdaGrad()).fit(events[:500])
    expected = small.copy()
    expected.update(events[500:])
    monkeypatch.setattr("fastmf.plan.PARALLEL_FROM", 1_000)
    monkeypatch.setattr("fastmf.learners.steps.PARALLEL_FROM", 1_000)
    models = [small.copy() for _ in range(2)]
    for model, threads in zip(models, (1, 2), strict=True):
        model.set_params(options=Options(threads=threads))
        delta = model.update(events[500:])
        assert delta.loss_after < delta.loss_before
    np.testing.assert_array_equal(models[0].user_factors, models[1].user_factors)
    np.testing.assert_array_equal(models[0].item_biases, models[1].item_biases)
    assert np.abs(models[0].user_factors - expected.user_factors).mean() < 0.05
