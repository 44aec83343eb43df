"""Fitting: what it learns, when it stops, who may watch, and that a failed fit leaves the model alone."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import (
    FACTORS,
    SOLVERS,
    as_text,
    assert_reads,
    assert_same,
    bits,
    content,
    each_solver,
    fitted,
    planted,
    rmse,
    some_events,
)

import fastmf
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers
from fastmf.devices import registry
from fastmf.errors import CapacityError, DataError, DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

EVENTS = some_events()


@pytest.fixture(scope="module")
def split() -> tuple[Interactions, Interactions]:
    """Planted tastes with noise of 0.3: events to learn from, and others."""
    events, _ = planted(24_000)
    return events.split_random(0.8)


# ------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    "solver",
    [optimizers.Variational(), optimizers.AdaGrad(), optimizers.SGD(0.03)],
    ids=["Variational", "AdaGrad", "SGD"],
)
def test_a_fit_finds_planted_tastes(solver: Any, split: tuple[Interactions, Interactions]) -> None:
    learn, others = split
    model = MF(factors=FACTORS, solver=solver).fit(learn)
    assert others.values.std() > 1.1
    assert 0.3 < rmse(model, others) < 0.5


def test_the_loss_falls_and_every_epoch_is_on_record() -> None:
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad()).fit(EVENTS, epochs=7)
    assert [record["epoch"] for record in model.history_] == [1, 2, 3, 4, 5, 6, 7]
    for record in model.history_:
        assert record.keys() == {"epoch", "loss", "validation", "seconds"}
        assert record["validation"] is None
        assert record["seconds"] > 0
    losses_ = [record["loss"] for record in model.history_]
    assert losses_ == sorted(losses_, reverse=True)


def test_the_recorded_loss_is_the_mean_of_each_event_before_its_step() -> None:
    model = MF(factors=FACTORS, solver=optimizers.SGD(0.0)).fit(EVENTS, epochs=1)
    errors = model.predict(EVENTS.users, EVENTS.items, clip=False).astype(np.float64) - EVENTS.values
    assert model.history_[0]["loss"] == pytest.approx(np.mean(errors**2), rel=1e-5)


def test_everything_that_was_fitted_is_history() -> None:
    events = some_events(times=np.arange(400), weights=np.linspace(1, 2, 400))
    model = MF(factors=FACTORS).fit(events, epochs=1, validation=0.3)
    log = model._state.history.events
    np.testing.assert_array_equal(model.users.ids(log.users), events.users)
    np.testing.assert_array_equal(model.items.ids(log.items), events.items)
    np.testing.assert_array_equal(log.values, events.values)
    np.testing.assert_array_equal(log.weights, events.weights)
    np.testing.assert_array_equal(log.times, events.times)
    assert_reads(model)
    assert model.users.values.tolist() == list(dict.fromkeys(events.users.tolist()))


def test_a_second_fit_restarts() -> None:
    model = MF(factors=FACTORS).fit(some_events(seed=9, users=99), epochs=3)
    lineage = model.lineage
    model.update(some_events(20))
    model.fit(EVENTS, epochs=3)
    assert model.version == 0
    assert model.lineage != lineage
    assert_same(content(model), content(MF(factors=FACTORS).fit(EVENTS, epochs=3)))
    assert [record["epoch"] for record in model.history_] == [1, 2, 3]


def test_the_seed_decides() -> None:
    one, same, other = (MF(factors=FACTORS, seed=seed).fit(EVENTS, epochs=2) for seed in (4, 4, 5))
    assert_same(content(one), content(same))
    assert (one.user_factors != other.user_factors).all()


def test_text_ids_are_fitted_like_int_ids() -> None:
    one, other = MF(factors=FACTORS).fit(EVENTS, epochs=2), MF(factors=FACTORS).fit(as_text(EVENTS), epochs=2)
    np.testing.assert_array_equal(one.user_factors, other.user_factors)
    assert [f"u{user}" for user in one.users] == list(other.users)


def test_without_epochs_rows_only_start() -> None:
    model = MF(factors=FACTORS).fit(EVENTS, epochs=0)
    assert model.history_ == []
    assert not model.user_biases.any()
    assert len(np.unique(model.user_factors, axis=0)) == len(model.users)


def test_batches_are_fitted_too(split: tuple[Interactions, Interactions]) -> None:
    learn, others = split
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad(0.5)).fit(learn, batch_size=200, epochs=30)
    assert rmse(model, others) < 0.7 * others.values.std()


# --------------------------------------------------------------------------------------------------------- biases


def test_without_biases_a_score_is_exactly_the_product() -> None:
    model = fitted(biases=False)
    assert model.global_mean == 0.0
    assert not model.user_biases.any()
    assert not model.item_biases.any()
    pairs = np.meshgrid(np.arange(len(model.users)), np.arange(len(model.items)), indexing="ij")
    users, items = (model.users.values[pairs[0].ravel()], model.items.values[pairs[1].ravel()])
    product = model.user_factors.astype(np.float64) @ model.item_factors.T.astype(np.float64)
    np.testing.assert_allclose(model.predict(users, items, clip=False), product.ravel(), rtol=1e-5, atol=1e-6)
    model.update(some_events(30, seed=1))
    assert not model.user_biases.any()
    assert not model.item_biases.any()


def test_with_biases_a_score_is_their_sum_and_the_product() -> None:
    model = fitted()
    assert model.global_mean == pytest.approx(EVENTS.values.mean(), abs=1e-6)
    users, items = model.users.values[:20], model.items.values[:20]
    product = (model.user_factors[:20].astype(np.float64) * model.item_factors[:20]).sum(axis=1)
    scores = model.global_mean + model.user_biases[:20] + model.item_biases[:20] + product
    assert model.user_biases.any()
    np.testing.assert_allclose(model.predict(users, items, clip=False), scores, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_without_biases_new_pairs_start_near_the_mean() -> None:
    for values in (np.full(50, 4.0), np.full(50, -4.0)):
        events = Interactions(np.arange(50), np.arange(50), values)
        model = MF(factors=FACTORS, solver=optimizers.AdaGrad(), biases=False).fit(events, epochs=0)
        np.testing.assert_allclose(model.predict(events.users, events.items, clip=False), values, atol=1.5)


# --------------------------------------------------------------------------------------------------------- losses


def test_huber_shrugs_off_outliers(split: tuple[Interactions, Interactions]) -> None:
    learn, others = split
    spoilt = learn.values.copy()
    spoilt[::20] += 30.0
    events = Interactions(learn.users, learn.items, spoilt)
    huber = MF(factors=FACTORS, loss=losses.Huber(1.0)).fit(events)
    squared = MF(factors=FACTORS).fit(events)
    assert rmse(huber, others) < 0.6 < 0.6 * rmse(squared, others)


def test_logistic_predicts_probabilities() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 12_000), rng.integers(0, 40, 12_000)
    chance = 1 / (1 + np.exp(-(rng.normal(size=60)[users] + rng.normal(size=40)[items])))
    events = Interactions(users, items, rng.random(12_000) < chance)
    model = MF(factors=FACTORS, loss=losses.Logistic(), solver=optimizers.AdaGrad()).fit(events, epochs=10)
    for predicted in (model.predict(users, items), model.predict(users, items, clip=False)):
        assert predicted.min() > 0
        assert predicted.max() < 1
        assert np.abs(predicted - chance).mean() < 0.12
    assert model.predict([-1], [-1])[0] == pytest.approx(events.values.mean(), abs=1e-5)
    assert model.recommend([3]).scores.max() < 1
    delta = model.update(Interactions([3] * 9, [5] * 9, [0.25] * 9), epochs=20)
    assert delta.loss_after < delta.loss_before
    assert model.predict_one(3, 5) == pytest.approx(0.25, abs=0.15)


def test_poisson_predicts_counts() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 12_000), rng.integers(0, 40, 12_000)
    rate = np.exp(0.5 + rng.normal(size=60)[users] / 2 + rng.normal(size=40)[items] / 2)
    events = Interactions(users, items, rng.poisson(rate))
    model = MF(factors=FACTORS, loss=losses.Poisson(), solver=optimizers.AdaGrad(0.02)).fit(events, epochs=10)
    predicted = model.predict(users, items)
    assert predicted.min() > 0
    assert np.corrcoef(predicted, rate)[0, 1] > 0.97
    assert predicted.mean() == pytest.approx(events.values.mean(), rel=0.05)


@pytest.mark.parametrize(
    ("loss", "wrong"),
    [(losses.Logistic(), 1.5), (losses.Logistic(), -0.1), (losses.Poisson(), -1.0)],
    ids=["Logistic above", "Logistic below", "Poisson"],
)
def test_labels_outside_the_domain_are_refused(loss: Any, wrong: float) -> None:
    model = MF(factors=FACTORS, loss=loss)
    events = Interactions([1, 2, 3], [1, 2, 3], [1.0, 0.0, wrong])
    for call in (model.fit, model.update, lambda _: model.learn_one(1, 1, wrong)):
        with pytest.raises(DataError, match=rf"values?, row \d: {wrong}.*{type(loss).__name__}"):
            call(events)
        assert model._state is None


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_kind_stay_finite(label: float) -> None:
    events = some_events(low=int(label), high=int(label))
    for loss in (losses.Logistic(), losses.Poisson()):
        model = MF(factors=FACTORS, loss=loss).fit(events)
        assert np.isfinite(model.predict(events.users, events.items, clip=False)).all()


# ------------------------------------------------------------------------------------------ weights, validation


def test_the_loss_is_a_weighted_mean() -> None:
    weights = np.linspace(0, 3, 400)
    model = MF(factors=FACTORS, solver=optimizers.SGD(0.0)).fit(some_events(weights=weights), epochs=1)
    errors = model.predict(EVENTS.users, EVENTS.items, clip=False).astype(np.float64) - EVENTS.values
    assert model.history_[0]["loss"] == pytest.approx(np.average(errors**2, weights=weights), rel=1e-5)


def test_heavy_events_win() -> None:
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.0)).fit(
        Interactions([1] * 40, [1] * 40, [1, 5] * 20, weights=[1, 9] * 20), epochs=50
    )
    assert model.predict([1], [1])[0] == pytest.approx(4.6, abs=0.25)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("weights", [np.zeros(30), np.r_[1.0, np.zeros(29)]], ids=["all", "all but one"])
def test_events_of_no_weight_are_no_divergence(weights: np.ndarray) -> None:
    """They draw nothing: no bias moves but those of the event that has a weight, which is not held out here."""
    events = some_events(30, weights=weights)
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad()).fit(events, epochs=2, validation=0.2)
    for ids, known, biases in (
        (events.users, model.users, model.user_biases),
        (events.items, model.items, model.item_biases),
    ):
        assert known.values[biases != 0].tolist() == ids[weights > 0].tolist()
    for factors in (model.user_factors, model.item_factors):
        assert (np.abs(factors) < 1).all()
    assert [record["validation"] for record in model.history_] == [0, 0]
    assert all((record["loss"] > 0) == weights.any() for record in model.history_)


def test_a_model_with_weightless_validation_can_be_saved(tmp_path: Any) -> None:
    for n in range(10):  # one of them is the event that is held out
        model = MF(factors=FACTORS).fit(some_events(10, weights=np.arange(10) != n), epochs=3, validation=0.1)
        model.save(tmp_path / "model")
        assert_same(bits(fastmf.load(tmp_path / "model")), bits(model))


def test_early_stopping_keeps_the_best_epoch() -> None:
    events = some_events(300, users=60, items=40)  # noise: there is nothing to learn
    settings = {"factors": FACTORS, "solver": optimizers.AdaGrad(), "regularizer": regularizers.L2(0.0)}
    model = MF(**settings).fit(events, epochs=50, validation=0.3)
    validation = [record["validation"] for record in model.history_]
    best = int(np.argmin(validation)) + 1
    assert len(validation) == best + 2 < 50
    twin = MF(**settings).fit(events, epochs=best, validation=0.3)
    assert_same(content(model), content(twin))


def test_validation_holds_out_the_share_it_says(split: tuple[Interactions, Interactions]) -> None:
    learn, _ = split
    model = MF(factors=FACTORS).fit(learn, epochs=30, validation=0.25)
    record = model.history_[-1]
    assert record["loss"] < record["validation"]  # these were not learned from
    assert record["validation"] == pytest.approx(0.4**2, abs=0.08)


def test_holding_everything_out_is_refused() -> None:
    model = MF(factors=FACTORS)
    with pytest.raises((DataError, ValueError), match="validation"):
        model.fit(some_events(1), validation=0.9)
    assert model._state is None


# ----------------------------------------------------------------------------------------------- those who watch


def test_callbacks_see_every_epoch() -> None:
    seen: list[dict[str, Any]] = []
    counted: list[int] = []
    callbacks = [seen.append, lambda record: counted.append(record["epoch"])]
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad()).fit(EVENTS, epochs=4, callbacks=callbacks)
    assert seen == model.history_
    assert counted == [1, 2, 3, 4]
    model.fit(EVENTS, epochs=40, validation=0.3, callbacks=callbacks)
    assert seen[4:] == model.history_
    assert len(model.history_) < 40


def test_a_callback_that_fails_stops_the_fit_and_changes_nothing() -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["epoch"] == 2:
            raise RuntimeError("enough")

    model = fitted()
    before = bits(model)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(some_events(seed=3), callbacks=[stop])
    assert_same(bits(model), before)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [
        (io.StringIO, None, False),
        (io.StringIO, True, True),
        (Terminal, None, True),
        (Terminal, False, False),
    ],
    ids=["no terminal", "no terminal but asked for", "terminal", "terminal but declined"],
)
def test_progress(
    stream: Callable[[], io.StringIO],
    progress: bool | None,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stderr", screen := stream())
    MF(factors=FACTORS).fit(EVENTS, epochs=3, progress=progress)
    assert ("3/3" in screen.getvalue()) is shown
    assert shown or not screen.getvalue()
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------- threads and storage


@pytest.fixture
def small_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parallel kernels start on the few events of a test."""
    monkeypatch.setattr("fastmf.plan.PARALLEL_FROM", 1_000)
    monkeypatch.setattr("fastmf.model.learning.PARALLEL_FROM", 1_000)


@pytest.mark.usefixtures("small_launches")
@pytest.mark.parametrize("deterministic", [True, False])
@each_solver
def test_the_number_of_threads_changes_no_bit(deterministic: bool, solver: Any) -> None:
    events = some_events(30_000, users=500, items=300)
    models = [
        MF(factors=FACTORS, solver=solver, options=Options(threads=threads, deterministic=deterministic)).fit(
            events, epochs=3, validation=0.1
        )
        for threads in (1, 2)
    ]
    assert_same(*(content(model) for model in models), but=("settings",))
    losses_ = [[(record["loss"], record["validation"]) for record in model.history_] for model in models]
    assert losses_[0] == losses_[1]


def test_half_precision_is_storage_only(split: tuple[Interactions, Interactions]) -> None:
    learn, others = split
    half = MF(factors=FACTORS, options=Options(storage="float16")).fit(learn)
    full = MF(factors=FACTORS).fit(learn)
    assert half.user_factors.dtype == np.float16
    assert half.user_biases.dtype == np.float32
    np.testing.assert_allclose(half.user_factors, full.user_factors, atol=3e-3)  # starts are rounded too
    assert rmse(half, others) == pytest.approx(rmse(full, others), rel=1e-2)
    assert half.predict(others.users, others.items).dtype == np.float32


@pytest.mark.parametrize(
    ("factors", "solver"),
    [
        *((1, SOLVERS["steps"]), (3, SOLVERS["beliefs"]), (16, SOLVERS["steps"]), (17, SOLVERS["beliefs"])),
        *(pytest.param(factors, SOLVERS["beliefs"], marks=pytest.mark.slow) for factors in (1, 16)),
        *(pytest.param(factors, SOLVERS["steps"], marks=pytest.mark.slow) for factors in (3, 17)),
    ],
)
def test_any_number_of_factors(factors: int, solver: Any) -> None:
    model = MF(factors=factors, solver=solver).fit(EVENTS, epochs=20)
    assert model.user_factors.shape == (len(model.users), factors)
    if isinstance(solver, optimizers.AdaGrad):  # beliefs give up what they have learned of this noise
        assert model.history_[-1]["loss"] < model.history_[0]["loss"]
    assert model.history_[-1]["loss"] < EVENTS.values.var()
    table = model._state.users.table
    assert not table.factors[: table.count, factors:].any()  # padding


# ------------------------------------------------------------------------------------------------- nothing or all


@pytest.mark.parametrize("previous", [True, False], ids=["fitted before", "new"])
def test_a_diverging_fit_changes_nothing(previous: bool) -> None:
    settings = {"solver": optimizers.SGD(20.0), "factors": FACTORS}
    model = MF(**settings)
    if previous:
        model.fit(EVENTS, epochs=0)
    before = bits(model)
    with pytest.raises(DivergenceError, match="rate"):
        model.fit(some_events(seed=1))
    assert_same(bits(model), before)


def test_rows_that_diverge_in_the_last_epoch_are_refused() -> None:
    events = Interactions([1, 2], [1, 2], [3e38, 3e38])
    model = MF(factors=FACTORS, biases=False)
    with pytest.raises(DivergenceError):
        model.fit(events, epochs=1)
    assert model._state is None


@pytest.mark.parametrize(("kind", "job"), [("beliefs", "solve beliefs"), ("steps", "steps")])
def test_an_interrupted_fit_changes_nothing(kind: str, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(solver=SOLVERS[kind])
    before = bits(model)
    real, calls = registry.runner(job), []

    def run(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setitem(registry._RUNNERS, (job, "cpu"), run)
    with pytest.raises(KeyboardInterrupt):
        model.fit(some_events(seed=1))
    assert_same(bits(model), before)


@pytest.mark.parametrize(
    "events",
    [some_events(100, users=1_000), some_events(100, items=1_000), some_events(9_000, users=3, items=3)],
    ids=["users", "items", "events"],
)
def test_a_fit_beyond_the_memory_changes_nothing(events: Interactions) -> None:
    model = MF(factors=FACTORS, options=Options(memory=4_000)).fit(some_events(40), epochs=1)
    before = bits(model)
    with pytest.raises(CapacityError, match="memory budget"):
        model.fit(events)
    assert_same(bits(model), before)


@pytest.mark.parametrize("factors", [16, 64])
def test_values_of_any_scale_are_no_divergence(factors: int) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 500, 20_000), rng.integers(0, 300, 20_000)
    tastes = rng.normal(size=(500, 4)), rng.normal(size=(300, 4))
    values = 50 + 10 * (tastes[0][users] * tastes[1][items]).sum(axis=1)
    model = MF(factors, solver=optimizers.AdaGrad()).fit(Interactions(users, items, values), epochs=4)
    losses_ = [record["loss"] for record in model.history_]
    assert losses_[-1] < losses_[0] < 2 * values.var()


def test_few_rows_are_fitted_one_event_at_a_time() -> None:
    """Events in flight that all share a row would make one step of many times the rate."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 10, 5_000)
    items = np.zeros(5_000, np.int64)
    model = MF(16, solver=optimizers.SGD(0.05)).fit(Interactions(rng.integers(0, 500, 5_000), items, values), 5)
    assert model.history_[-1]["loss"] < 1.2 * values.var()
