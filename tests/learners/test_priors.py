"""Rows that are drawn to the mean of their side: against plain NumPy, and what ids without events get."""

from __future__ import annotations

from typing import Any

import naive_als
import numpy as np
import pytest
from strategies import assert_same, bits, content
from test_als import EXACT, METHODS, a_system, each_method, log_of, problems, purchases, tables

from fastmf import MF, Interactions, Options, files, load, losses, optimizers, priors, regularizers
from fastmf.devices.cpu.solve import solve
from fastmf.equations import Run
from fastmf.memory import aligned

SIDES = ("users", "items")
STRENGTH = {"users": 2.0, "items": 5.0}
LOSSES = {"plain": losses.Confidence(alpha=2.0, unobserved=0.3), "popular": losses.Confidence(popularity=0.5)}


def a_model(method: str = "cholesky", loss: str = "plain", **settings: Any) -> MF:
    drawn = {side: priors.Mean(strength) for side, strength in STRENGTH.items()}
    model = MF(8, LOSSES[loss], EXACT[method], regularizers.L2(0.1), priors=drawn, **settings)
    return model.fit(purchases(weights=np.random.default_rng(1).random(900) + 0.5), epochs=6, progress=False)


def exact_row(model: MF, side: str, row: int, fixed: naive_als.Tables, mean: np.ndarray) -> np.ndarray:
    penalty = model.regularizer.weight, model.solver.nu
    settings = naive_als.Confidence(*model.loss, *penalty, model.priors[side].strength, mean)
    return naive_als.implicit_row(side, row, fixed, log_of(model), settings)


def mean_of(model: MF, side: str) -> np.ndarray:
    return model._state.groups["priors"].values[f"{side[:-1]}_mean"].copy()


def assert_means(model: MF, atol: float = 1e-12) -> None:
    """They are those of all rows, and what tables start new rows from."""
    for side in SIDES:
        table = model._state.side(side).table
        mean = table.values().astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(mean_of(model, side), mean, atol=atol)
        assert table.unknown.factors[0, :8].tolist() == mean_of(model, side).astype(np.float32).tolist()


@each_method
def test_rows_equal_plain_numpy(method: str) -> None:
    shape, own, other, equations, missed = a_system(8, False, False)
    row, shares = aligned(1, 16), np.array([1.0, 0.7, 0.5, 0.2, 0.01], np.float32)
    row[:] = 0
    row[0, :8] = np.random.default_rng(5).normal(0, 0.5, 8)
    before = own.factors[equations.numbers, :8].astype(np.float64)
    drawn, steps = equations._replace(shares=shares, prior=row), 2
    solve(shape, (own, other), drawn, missed, Run(optimizers.ALS(method, steps), np.float32(0)))
    for n, problem in enumerate(problems(shape, other, equations, missed, 0.0)):
        if not len(problem.met):
            continue
        problem = problem._replace(prior=row[0, :8].astype(np.float64), share=float(shares[n]))
        if method == "cholesky":
            expected = naive_als.solved(problem)
        elif method == "cg":
            expected = naive_als.conjugate_gradients(problem, before[n], steps)
        else:
            expected = naive_als.coordinates(problem, before[n], steps, list(range(8)))
        np.testing.assert_allclose(own.factors[equations.numbers[n], :8], expected, rtol=1e-4, atol=1e-5)
    assert not own.factors[:, 8:].any()


@pytest.mark.parametrize(("method", "loss"), [*((method, "plain") for method in METHODS), ("cholesky", "popular")])
def test_rows_of_an_update_are_at_their_minimum(method: str, loss: str) -> None:
    model = a_model(method, loss)
    assert_means(model)
    means = {side: mean_of(model, side) for side in SIDES}
    batch = purchases(40, seed=1)
    users, items = [*batch.users.tolist(), 1_000, 1_001, 3], [*batch.items.tolist(), 1_000, 4, 1_001]
    delta = model.update(Interactions(users, items), epochs=2)
    for row in delta.moves["items"].rows.tolist():
        exact = exact_row(model, "items", row, tables(model), means["items"])
        assert np.abs(model.item_factors[row] - exact).max() <= 1e-4 * np.abs(exact).max()
    assert_means(model)
    means, delta = {side: mean_of(model, side) for side in SIDES}, model.update(batch, trainable="users")
    for row in delta.moves["users"].rows.tolist():
        exact = exact_row(model, "users", row, tables(model), means["users"])
        assert np.abs(model.user_factors[row] - exact).max() <= 1e-4 * np.abs(exact).max()
    assert_means(model)


def test_a_fit_settles_where_rows_and_means_agree() -> None:
    drawn = {side: priors.Mean(3) for side in SIDES}
    model = MF(4, losses.Confidence(), EXACT["cholesky"], regularizers.L2(1.0), priors=drawn)
    model.fit(purchases(), epochs=150, progress=False)
    for row in range(len(model.items)):
        exact = exact_row(model, "items", row, tables(model), mean_of(model, "items"))
        assert np.abs(model.item_factors[row] - exact).max() <= 1e-2 * np.abs(exact).max()


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_means_follow_a_thousand_changes(storage: str) -> None:
    model, rng = a_model(options=Options(storage=storage)), np.random.default_rng(2)
    for n in range(300):  # most updates come after single events that are not in a Delta yet
        model.update(Interactions(rng.integers(0, 60 + n // 4, 3), rng.integers(0, 40 + n // 8, 3)))
        for _ in range(n % 4):
            model.learn_one(int(rng.integers(0, 130 + n // 4)), int(rng.integers(0, 90)))
    assert model.flush().events
    assert_means(model, 1e-9)


# --- ids without events -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cg", "cholesky"])
def test_who_has_no_events_is_the_mean_user(method: str) -> None:
    model = a_model(method)
    mean, items = mean_of(model, "users"), model.item_factors.astype(np.float64)
    scores = items @ mean
    order = np.argsort(-scores)[:5]
    np.testing.assert_allclose(model.unknown_user, mean, rtol=1e-6)
    for ranking in (
        model.recommend([-7], k=5),
        model.recommend([3, -7], k=5, exclude_seen=False),
        model.fold_in(Interactions(["v"], [5_000]), k=5),
        model.fold_in(Interactions(["v"], [7], [0.0]), k=5, exclude_seen=False),
    ):
        assert ranking.ids[-1].tolist() == model.items.values[order].tolist()
        np.testing.assert_allclose(ranking.scores[-1], scores[order], rtol=1e-5)
    known = int(model.items.rows(np.array([7]))[0])
    assert model.predict([-7], [7])[0] == pytest.approx(scores[known], rel=1e-5)
    assert model.predict_one(-7, 7) == pytest.approx(scores[known], rel=1e-5)
    assert model.predict([-7], [5_000])[0] == pytest.approx(mean @ mean_of(model, "items"), rel=1e-5)
    model.update(Interactions([900], [901], [0.0]))
    assert model.user_factors[-1].tolist() == mean.astype(np.float32).tolist()
    model.learn_one(902, 7, 0.0)
    assert model.user_factors[-1].tolist() == model.unknown_user.tolist()


def test_a_visitor_is_between_the_mean_and_its_events() -> None:
    model = a_model()
    found = model.fold_in(Interactions(["v"], [7]), k=40, exclude_seen=False)
    fixed = tables(model)
    fixed = fixed._replace(users=np.vstack([fixed.users, np.zeros(8)]))
    log, item = log_of(model), int(model.items.rows(np.array([7]))[0])
    log = log._replace(
        users=np.append(log.users, len(model.users)),
        items=np.append(log.items, item),
        values=np.append(log.values, 1.0),
        weights=np.append(log.weights, 1.0),
    )
    settings = naive_als.Confidence(*model.loss, 0.1, 1.0, STRENGTH["users"], mean_of(model, "users"))
    scores = fixed.items @ naive_als.implicit_row("users", len(model.users), fixed, log, settings)
    np.testing.assert_allclose(found.scores[0], scores[model.items.rows(found.ids[0])], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"loss": losses.Confidence(), "priors": {}}, {"loss": losses.BPR(), "biases": False}]
)
def test_where_nothing_tells_items_apart_the_list_is_empty(settings: dict[str, Any]) -> None:
    model = MF(8, **settings).fit(purchases(), epochs=2, progress=False)
    ranking = model.recommend([-7, 3], k=5)
    assert ranking.lengths.tolist() == [0, 5]
    assert set(ranking.ids[0].tolist()) == {-1}
    assert model.fold_in(Interactions(["v", "w"], [5_000, 3]), k=5).lengths.tolist() == [0, 5]


def test_models_that_start_with_one_event_learn_all_directions() -> None:
    """New rows are not all the same before there are enough of them."""
    model, log = MF(4, losses.Confidence(), EXACT["cholesky"]), purchases(300)
    for user, item in zip(log.users.tolist(), log.items.tolist(), strict=True):
        model.learn_one(user, item)
    model.flush()
    assert np.linalg.matrix_rank(model.item_factors, tol=1e-2) == 4
    assert model._state.groups["priors"].values["noise"][0] == 0
    assert_means(MF(8, losses.Confidence()).fit(purchases(), epochs=1, progress=False))


# --- changes ----------------------------------------------------------------------------------------------------------


def test_undo_copies_and_files_hold_every_bit(tmp_path: Any) -> None:
    model = a_model()
    first, replica = content(model), model.copy()
    deltas = [model.update(purchases(30, seed=1)), model.update(Interactions([777], [888]), trainable="users")]
    for user, item in ((5, 7), (1_000, 7), (6, 1_000), (1_001, 1_001)):
        model.learn_one(user, item)
    deltas.append(model.flush())
    for delta in deltas:
        replica.apply(delta)
    assert_same(bits(model), bits(replica))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same(bits(model), bits(again))
    for one in (model, replica, again):
        one.update(purchases(25, seed=3))
        assert_means(one)
    assert_same(bits(model), bits(replica))
    assert_same(bits(model), bits(again))
    model.rollback(to=0)
    assert_same(content(model), first)


def test_means_move_as_trainable_says() -> None:
    model, batch = a_model(), purchases(30, seed=1)
    before = {side: mean_of(model, side) for side in SIDES}
    model.update(batch, trainable={"users": True, "items": True})
    for side in SIDES:
        assert mean_of(model, side).tolist() == before[side].tolist()
    model.update(batch, trainable={"users": True, "items": False, "priors": True})
    assert mean_of(model, "items").tolist() == before["items"].tolist()
    assert mean_of(model, "users").tolist() != before["users"].tolist()
    model.update(batch)
    assert_means(model)


def test_imported_rows_have_their_mean() -> None:
    rng = np.random.default_rng(0)
    model = MF.from_factors(rng.normal(size=(50, 8)), rng.normal(size=(40, 8)), loss=losses.Confidence())
    assert_means(model)


def test_a_file_without_priors_has_none(tmp_path: Any) -> None:
    path = tmp_path / "model"
    model = MF(8, losses.Confidence(), priors={}).fit(purchases(), epochs=1, progress=False)
    model.save(path)
    arrays, metadata = files.read(path)
    del metadata["settings"]["priors"]
    files.write(path, files.pack(arrays, metadata))
    again = load(path)
    assert again.priors == {"users": priors.Zero(), "items": priors.Zero()}
    assert_same(bits(again), bits(model))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"priors": {"users": priors.Mean(0)}}, ValueError, "Mean.strength must be"),
        ({"priors": {"user": priors.Mean(1)}}, ValueError, "priors has 'user'; it may have users and items"),
        ({"priors": {"users": 3}}, TypeError, r"priors\['users'\] must be priors.Zero\(\) or priors.Mean"),
        ({"priors": priors.Mean(1)}, TypeError, "priors must be a dict"),
        (
            {"loss": losses.BPR(), "priors": {"users": priors.Mean(1)}},
            ValueError,
            "is for losses.Confidence, not for BPR",
        ),
    ],
)
def test_priors_that_make_no_sense_are_refused(settings: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        MF(**({"loss": losses.Confidence()} | settings))


def test_priors_of_a_fitted_model_stay() -> None:
    with pytest.raises(ValueError, match="priors of a fitted model cannot change"):
        a_model().set_params(priors={})
    assert MF().set_params(loss=losses.Confidence()).priors == dict(losses.Confidence.priors)
