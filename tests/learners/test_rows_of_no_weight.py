"""Rows whose events weigh nothing are zero under every method; those of next to no weight are at their minimum."""

from __future__ import annotations

import itertools
from typing import Any

import naive_als
import numpy as np
import pytest
from test_als import a_table

from fastmf import MF, Interactions, losses, optimizers
from fastmf.devices.cpu import solve as cpu
from fastmf.devices.cpu.solve import gram_of, solve
from fastmf.equations import Equations, Run, equations_of
from fastmf.kernels.core.shape import Shape
from fastmf.objective import Objective
from fastmf.regularizers import L2

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

slow = pytest.mark.slow  # whose kernels are compiled for nobody else
each_method = pytest.mark.parametrize("method", ["cg", "cholesky", pytest.param("eals", marks=slow)])
LOSSES = {"all-pairs": losses.Confidence(), "popular": losses.Confidence(popularity=0.5), "ratings": losses.Squared()}
each_loss = pytest.mark.parametrize("loss", ["all-pairs", "ratings", pytest.param("popular", marks=slow)])
FACTORS = 8  # more than there are items
FAINT = [1e-3, 1e-6, 1e-9, 1e-15, 1e-25, 1e-35, 1e-40, 1e-45]


def the_log(weight: float, seed: int = 0) -> Interactions:
    """User 7 and item 3 alone have events of another weight than 1."""
    rng = np.random.default_rng(seed)
    users, items = np.repeat(np.arange(30), 4), rng.integers(0, 6, 120)
    weights = np.where((users == 7) | (items == 3), weight, 1.0)
    return Interactions(users, items, rng.integers(1, 6, 120), weights=weights)


def a_model(loss: str, method: str, log: Interactions) -> MF:
    model = MF(FACTORS, LOSSES[loss], optimizers.ALS(method), priors={})
    return model.fit(log, epochs=3, progress=False)


def row(model: MF, side: str, one: Any) -> np.ndarray:
    found = int(getattr(model, side).rows(np.array([one]))[0])
    name = side[:-1]
    return np.append(getattr(model, f"{name}_factors")[found], getattr(model, f"{name}_biases")[found])


@each_method
@each_loss
def test_rows_of_no_weight_are_zero(loss: str, method: str) -> None:
    model = a_model(loss, method, the_log(0.0))
    assert not row(model, "users", 7).any()
    assert not row(model, "items", 3).any()
    assert row(model, "users", 8).any()
    model.update(Interactions([7, 999, 4, 998], [5, 5, 888, 887], weights=[0.0, 0.0, 0.0, 1.0]))
    for side, one in (("users", 7), ("users", 999), ("items", 888)):
        assert not row(model, side, one).any()
    assert row(model, "users", 998).any()
    assert np.isfinite(model.user_factors).all()


@each_method
@each_loss
def test_rows_that_a_half_life_leaves_nothing_of_are_zero(loss: str, method: str) -> None:
    log = the_log(1.0)
    for age, nothing in ((10**6, True), (130, False), (145, False)):
        times = np.where(log.users < 15, 0, age)
        model = MF(FACTORS, LOSSES[loss], optimizers.ALS(method), priors={})
        model.fit(Interactions(log.users, log.items, log.values, times=times), 3, half_life=1.0, progress=False)
        assert not row(model, "users", 3).any() or not nothing
        assert np.isfinite(model.user_factors).all()
        assert np.isfinite(model.item_factors).all()
        assert row(model, "users", 20).any()
        later = [age + 10**6] * 20  # as many as can be no wrong clock
        model.update(Interactions([3] + [20] * 20, [1] * 21, times=[age, *later]), half_life=1.0)
        assert not row(model, "users", 3).any()


@each_method
def test_values_of_zero_are_no_confidence(method: str) -> None:
    model = a_model("all-pairs", method, the_log(1.0))
    model.update(Interactions([999, 7], [888, 3], values=[0.0, 0.0]))
    assert not row(model, "users", 999).any()
    assert not row(model, "items", 888).any()
    assert row(model, "users", 7).any()
    model.learn_one(997, 886, 0.0)
    model.learn_one(997, 886, 0.0)
    assert not row(model, "users", 997).any()
    assert not row(model, "items", 886).any()
    model.learn_one(997, 5, 1.0)
    assert row(model, "users", 997).any()
    ranking = model.fold_in(
        Interactions(["a", "b", "c"], [5, 5, 5], values=[0.0, 1.0, 2.0], weights=[1.0, 1.0, 0.0]), k=3
    )
    assert not ranking.scores[[0, 2]].any()
    alone = model.fold_in(Interactions(["b"], [5], values=[1.0]), k=3)
    assert ranking.scores[1].tobytes() == alone.scores[0].tobytes()


def a_small_system(weight: float, explicit: bool, biases: bool, rows: int, nu: float) -> tuple[Any, ...]:
    """Six rows over some rows of the other side, all events of one weight."""
    rng, shape = np.random.default_rng(1), Shape(FACTORS, 16, 1, biases)
    own, other = a_table(6, FACTORS, 2), a_table(rows, FACTORS, 3)
    if not (explicit and biases):
        own.records[:, 0] = other.records[:, 0] = 0
    bounds = np.array([0, 1, 3, 8, 20, 21, 40])
    others = rng.integers(0, rows, 40).astype(np.int32)
    targets = rng.normal(0, 1, 40).astype(np.float32) if explicit else None
    weights = (weight * (0.5 + rng.random(40))).astype(np.float32)
    objective = Objective(None, optimizers.ALS(nu=nu), L2(0.1))
    made = equations_of(objective, bounds, (others, weights, targets), 0.0 if explicit else 0.5)
    return shape, own, other, made, weights


def exact(shape: Shape, other: Any, made: Equations, weights: np.ndarray, nu: float) -> np.ndarray:
    """By pseudo-inverse: a penalty may be nothing beside G even in float64."""
    found, biased = [], shape.biases and made.targets is not None
    vectors = other.factors[:, : shape.size].astype(np.float64)
    for first, last in itertools.pairwise(made.bounds):
        met, mine = made.others[first:last], weights[first:last].astype(np.float64)
        x, base = vectors[met], np.zeros((shape.size + biased,) * 2)
        targets = np.ones(met.size)
        if made.targets is not None:
            targets = made.targets[first:last].astype(np.float64) - other.records[met, 0]
        else:
            base = 0.5 * vectors.T @ vectors
        x = np.column_stack([x, np.ones(len(x))]) if biased else x
        problem = naive_als.Problem(x, mine, targets, base, 0.1 * mine.sum() ** nu)
        scale = 1 / mine.sum()
        found.append(np.linalg.lstsq(problem.matrix * scale, problem.right * scale, rcond=1e-12)[0])
    return np.array(found)


@pytest.mark.parametrize("rows", [6, 60], ids=["fewer than factors", "more"])
@pytest.mark.parametrize("kind", ["all-pairs", "ratings", "ratings and biases"])
@pytest.mark.parametrize("nu", [0.0, 1.0])
@each_method
def test_rows_of_next_to_no_weight_are_at_their_minimum(method: str, nu: float, kind: str, rows: int) -> None:
    for weight in FAINT[:-2]:
        explicit, biases = kind != "all-pairs", kind == "ratings and biases"
        shape, own, other, made, weights = a_small_system(weight, explicit, biases, rows, nu)
        gram = None if explicit else gram_of(shape, other.factors)
        steps = {"cg": 60, "cholesky": 1, "eals": 4000}[method]
        lost = solve(shape, (own, other), made, gram, Run(optimizers.ALS(method, steps), np.float32(0)))
        assert 0 <= lost <= 1e3 * weight
        expected = exact(shape, other, made, weights, nu)
        scores = other.factors[:, : shape.size].astype(np.float64) @ own.factors[:, : shape.size].astype(np.float64).T
        wanted = other.factors[:, : shape.size].astype(np.float64) @ expected[:, : shape.size].T
        left = 1e-5 if weight >= 1e-7 else 0.0  # of what the row was
        assert np.abs(scores - wanted).max() <= 2e-3 * np.abs(wanted).max() + left, weight


@each_method
@each_loss
@pytest.mark.parametrize("weight", FAINT)
def test_models_of_faint_rows_are_finite(weight: float, loss: str, method: str) -> None:
    model = a_model(loss, method, the_log(weight))
    model.update(Interactions([7, 999, 4, 998], [5, 5, 888, 887], weights=[weight, weight, weight, 1.0]))
    model.learn_one(7, 3)
    model.flush()
    fresh = the_log(1.0)
    everywhere = Interactions(fresh.users, fresh.items, fresh.values, weights=np.full(len(fresh), weight))
    for one in (model, a_model(loss, method, everywhere)):
        for table in (one.user_factors, one.item_factors, one.user_biases, one.item_biases):
            assert np.isfinite(table).all()
            assert np.abs(table).max() < 100


# --- how long a kernel runs -----------------------------------------------------------------------------------------


@each_method
@pytest.mark.parametrize("piece", [1.0, 3e3, 1e5])
def test_any_pieces_give_the_same_bits(method: str, piece: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for size in (5e7, piece):
        monkeypatch.setattr(cpu, "_PIECE", size)
        shape, own, other, made, _ = a_small_system(1.0, False, False, 60, 1.0)
        gram = gram_of(shape, other.factors, np.arange(60.0))
        lost = solve(shape, (own, other), made, gram, Run(optimizers.ALS(method), np.float32(0)))
        cpu.correct(shape, other.factors, np.arange(60, dtype=np.int32), np.arange(60.0), -1.0, gram)
        found.append((own.factors.tobytes(), lost, gram.tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("method", "factors"), [("cholesky", 128), *(pytest.param(one, 128, marks=slow) for one in ("eals", "cg"))]
)
def test_no_kernel_is_deaf_for_long(method: str, factors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with few events are much work where there are many factors."""
    rng, shape, spans, rows = np.random.default_rng(0), Shape(factors, factors, 1, False), [], 100_000
    monkeypatch.setattr(cpu, "launch", lambda serial, parallel, workers, *args: spans.append(args[1]))
    own, other = a_table(rows, factors, 2), a_table(30, factors, 3)
    made = Equations(
        np.arange(rows, dtype=np.int32),
        np.arange(rows + 1) * 2,
        rng.integers(0, 30, 2 * rows).astype(np.int32),
        np.ones(2 * rows, np.float32),
        None,
        np.ones(rows, np.float32),
        np.ones(rows, np.float32),
    )
    solve(shape, (own, other), made, np.zeros((factors, factors)), Run(optimizers.ALS(method), np.float32(0)))
    assert [first for first, _ in spans] == [0, *[last for _, last in spans[:-1]]]
    assert spans[-1][1] == rows
    longest = max(last - first for first, last in spans)
    assert longest * factors ** (3 if method == "cholesky" else 2) < 2e9
