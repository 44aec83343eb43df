"""The contracts of losses, optimizers and regularizers, for every class in their `__all__`, and the door to kernels."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from numba import njit

from fastmf import MF, Interactions, losses, optimizers, regularizers, samplers
from fastmf.errors import DataError
from fastmf.kernels.core import bridge
from fastmf.kernels.core.lanes import Row, load, store
from fastmf.memory import aligned
from fastmf.protocols import compiled_methods, freeze

EVERY_LOSS = [*(getattr(losses, name)() for name in losses.__all__), losses.Logistic(negatives=4, calibration=0.5)]
ALL_LOSSES = [loss for loss in EVERY_LOSS if loss.kind == "pointwise"]
PAIRWISE = [loss for loss in EVERY_LOSS if loss.kind == "pairwise"]
LISTWISE = [loss for loss in EVERY_LOSS if loss.kind == "listwise"]
ALL_SAMPLERS = [getattr(samplers, name)() for name in samplers.__all__]
SOLVERS = [getattr(optimizers, name)() for name in optimizers.__all__]
ALL_OPTIMIZERS = [solver for solver in SOLVERS if hasattr(solver, "step")]
WHOLE = {"Confidence", "ALS", "Variational"}  # never stepped: test_als.py and test_beliefs.py have their contracts
ALL_REGULARIZERS = [getattr(regularizers, name)() for name in regularizers.__all__]
SCORES = np.linspace(-4, 4, 33)

each_loss = pytest.mark.parametrize("loss", [*ALL_LOSSES, losses.Huber(0.5)], ids=str)
each_optimizer = pytest.mark.parametrize("optimizer", ALL_OPTIMIZERS, ids=str)
each_regularizer = pytest.mark.parametrize("regularizer", ALL_REGULARIZERS, ids=str)
each_value = pytest.mark.parametrize(
    ("value", "role"),
    [
        *((loss, "loss") for loss in EVERY_LOSS),
        *((optimizer, "solver") for optimizer in ALL_OPTIMIZERS),
        *((regularizer, "regularizer") for regularizer in ALL_REGULARIZERS),
        *((sampler, "sampler") for sampler in ALL_SAMPLERS),
    ],
    ids=str,
)


def numbers_of(value: Any) -> list[str]:
    """The fields that are numbers, and neither flags nor values."""
    return [name for name, field in value._asdict().items() if type(field) in (int, float)]


def targets_of(loss: Any) -> np.ndarray:
    low, high = np.clip(loss.domain, -3, 3)
    return np.linspace(low, high, 7)


STEPS, FAST = optimizers.AdaGrad(0.04, 100.0), optimizers.AdaGrad(0.1, 100.0)
SUITS = {  # what a loss brings where neither is given
    "BPR pairwise": (FAST, regularizers.ScaledL2(0.012)),
    "Confidence all-pairs": (optimizers.ALS("cg", 3, 1.0, 1000), regularizers.L2(0.06)),
    "Logistic listwise": (FAST, regularizers.ScaledL2(0.05)),
    "SampledSoftmax listwise": (FAST, regularizers.ScaledL2(0.12)),
    "Softmax listwise": (FAST, regularizers.ScaledL2(0.12)),
    "WARP pairwise": (FAST, regularizers.ScaledL2(0.1)),
}


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_every_loss_makes_a_model_by_itself(loss: Any) -> None:
    model = MF(loss=loss)
    if hasattr(loss, "surrogate") and loss.kind == "pointwise":
        assert isinstance(model.solver, optimizers.Variational)
        assert MF(loss=loss, solver=STEPS, regularizer=regularizers.L2(0.5)).solver == STEPS
        return
    solver, penalty = SUITS.get(f"{type(loss).__name__} {loss.kind}", (STEPS, regularizers.L2(0.06)))
    assert (type(model.solver), model.solver) == (type(solver), solver)
    assert (type(model.regularizer), model.regularizer) == (type(penalty), penalty)
    own = MF(loss=loss, solver=solver._replace(**{solver._fields[-1]: 7}), regularizer=regularizers.L2(0.5))
    assert own.solver[-1] == 7
    assert own.regularizer.weight == 0.5


# --- losses ---------------------------------------------------------------------------------------------------------


@each_loss
def test_slope_is_the_derivative_of_value(loss: Any) -> None:
    step = 1e-6
    for target in targets_of(loss):
        for score in SCORES + 0.013:  # beside the corners
            rise = loss.value(score + step, target) - loss.value(score - step, target)
            assert loss.slope(score, target) == pytest.approx(rise / (2 * step), rel=1e-5, abs=1e-7)


@each_loss
def test_value_is_least_where_the_link_meets_the_target_and_convex_but_for_student_s_t(loss: Any) -> None:
    for target in targets_of(loss)[1:-1]:
        slopes = np.array([loss.slope(score, target) for score in np.linspace(-20, 20, 401)])
        assert (np.diff(slopes) >= 0).all() or isinstance(loss, losses.StudentT)
        assert (np.diff(slopes >= 0) >= 0).all()
        best = np.linspace(-20, 20, 401)[np.argmax(slopes >= 0)]
        assert loss.inverse_link(best - 0.1) <= target <= loss.inverse_link(best) + 1e-9


@pytest.mark.parametrize("loss", [loss for loss in ALL_LOSSES if hasattr(loss, "surrogate")], ids=str)
def test_a_surrogate_touches_the_loss_and_is_nowhere_below_it(loss: Any) -> None:
    scale = 2 if isinstance(loss, (losses.Squared, losses.Huber)) else 1  # their values have no factor 1/2
    for target, score in itertools.product(targets_of(loss), SCORES):
        weight, centre = loss.surrogate(score, 0.0, target, 1.0)
        assert scale * weight * (score - centre) == pytest.approx(loss.slope(score, target), abs=1e-5)
        rise = [loss.value(other, target) - loss.value(score, target) for other in SCORES]
        bound = scale / 2 * weight * ((SCORES - centre) ** 2 - (score - centre) ** 2)
        assert (bound - rise > -1e-4).all()
        unsure, _ = loss.surrogate(score, 0.5, target, 1.0)
        assert 0 < unsure <= weight


@pytest.mark.parametrize("loss", [loss for loss in ALL_LOSSES if hasattr(loss, "surrogate")], ids=str)
def test_an_expected_prediction_is_the_mean_over_normal_scores(loss: Any) -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    for score, variance in itertools.product((-3.0, 0.0, 0.5, 2.0), (0.0, 0.3, 2.0)):
        exact = weights @ [loss.inverse_link(score + np.sqrt(variance) * node) for node in nodes] / weights.sum()
        assert loss.expected(score, variance) == pytest.approx(exact, abs=0.02)


@each_loss
def test_link_is_monotone(loss: Any) -> None:
    predictions = [float(loss.inverse_link(score)) for score in np.linspace(-30, 30, 601)]
    assert (np.diff(predictions) >= 0).all()
    assert (np.diff(predictions)[150:450] > 0).all()
    low, high = loss.domain
    assert low <= min(predictions) <= max(predictions) <= high


@each_loss
@pytest.mark.parametrize("seed", range(4))
def test_prior_is_the_best_constant_score(loss: Any, seed: int) -> None:
    """Within 5 %: the prior of Huber's loss is the median, which is close to the best."""
    low, high = np.clip(loss.domain, -5, 5)
    values = (low + (high - low) * np.random.default_rng(seed).beta(2, 1 + seed, 100)).astype(np.float32)

    def mean_loss(score: float) -> float:
        return float(np.mean([loss.value(score, float(target)) for target in values]))

    best = min(mean_loss(score) for score in np.linspace(-6, 6, 241))
    offset = min(0.0, best)  # a loss can be negative
    assert mean_loss(loss.prior(values)) - offset <= 1.05 * (best - offset) + 1e-4


@each_loss
def test_prior_of_labels_that_are_all_the_same_is_finite(loss: Any) -> None:
    for target in targets_of(loss):
        prior = loss.prior(np.full(5, target, np.float32))
        assert np.isfinite(prior)
        assert isinstance(prior, float)
        assert float(loss.inverse_link(prior)) == pytest.approx(target, abs=1e-5)


@each_loss
def test_check_refuses_labels_outside_the_domain(loss: Any) -> None:
    low, high = np.clip(loss.domain, -1e30, 1e30)
    loss.check(np.array([low, high], np.float32))
    loss.check(np.empty(0, np.float32))
    for label in (loss.domain[0] - 0.5, loss.domain[1] + 0.5, np.nan):
        if np.isinf(label):
            continue
        with pytest.raises(DataError, match=rf"values, row 2: {label}.*{type(loss).__name__}"):
            loss.check(np.array([low, high, label, label], np.float32))


@each_loss
def test_a_loss_gives_the_same_numbers_compiled(loss: Any) -> None:
    @njit
    def compiled(loss, scores, targets, out):
        for n in range(scores.size):
            out[0, n] = bridge.value(loss, scores[n], targets[n])
            out[1, n] = bridge.slope(loss, scores[n], targets[n])
            out[2, n] = bridge.inverse_link(loss, scores[n])

    scores, targets = (grid.ravel().astype(np.float32) for grid in np.meshgrid(SCORES, targets_of(loss)))
    out = np.empty((3, scores.size), np.float32)
    frozen = freeze(loss, "loss")
    compiled(frozen, scores, targets, out)
    pairs = list(zip(scores, targets, strict=True))
    twin = naive.like(loss)
    for one in (frozen, twin):
        expected = [
            [one.value(s, t) for s, t in pairs],
            [one.slope(s, t) for s, t in pairs],
            list(map(one.inverse_link, scores)),
        ]
        np.testing.assert_allclose(out, np.array(expected, np.float32), rtol=1e-5, atol=1e-6)


@each_loss
def test_extreme_scores_give_no_nan_and_no_negative_loss(loss: Any) -> None:
    @njit(error_model="numpy")
    def compiled(loss, score, target):
        return bridge.value(loss, score, target), bridge.slope(loss, score, target), bridge.inverse_link(loss, score)

    for target in targets_of(loss):
        for score in (-1e4, 1e4):
            numbers = compiled(freeze(loss, "loss"), np.float32(score), np.float32(target))
            assert not np.isnan(numbers).any()
            assert numbers[0] >= 0 or isinstance(loss, losses.Poisson)  # a likelihood up to a constant


# --- ranking losses and samplers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", PAIRWISE, ids=str)
def test_slope_of_a_pair_is_the_derivative_of_its_value(loss: Any) -> None:
    for lead in SCORES + 0.013:
        rise = loss.value(lead + 1e-6, 1.0) - loss.value(lead - 1e-6, 1.0)
        assert loss.slope(lead, 1.0) == pytest.approx(rise / 2e-6, rel=1e-5, abs=1e-7)
        assert loss.slope(lead, 1.0) <= 0 <= loss.value(lead, 1.0)
    for lead in (-1e4, 1e4):
        assert np.isfinite([loss.value(lead, 1.0), loss.slope(lead, 1.0)]).all()


def graded(loss: Any, scores: Any, expected_counts: Any) -> tuple[float, np.ndarray]:
    slopes = np.zeros(len(scores))
    lost = loss.loss_and_gradient(
        np.array(scores, float), np.array(expected_counts, float), slopes, len(scores) - 1, 50
    )
    return lost, slopes


@pytest.mark.parametrize("loss", LISTWISE, ids=str)
@pytest.mark.parametrize("count", [1, 2, 7])
def test_slopes_of_a_list_are_the_derivatives_of_its_loss(loss: Any, count: int) -> None:
    rng = np.random.default_rng(count)
    scores, expected_counts = rng.normal(0, 2, count + 1), rng.uniform(0.05, 2, count + 1)
    lost, slopes = graded(loss, scores, expected_counts)
    assert lost > 0
    for m, step in enumerate(np.eye(count + 1) * 1e-6):
        rise = graded(loss, scores + step, expected_counts)[0] - graded(loss, scores - step, expected_counts)[0]
        assert slopes[m] == pytest.approx(rise / 2e-6, rel=1e-5, abs=1e-7)
    expected, expected_slopes = naive.like(loss).loss_and_gradient(list(scores), list(expected_counts), 50)
    assert lost == pytest.approx(expected)
    np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-6, atol=1e-9)
    extreme = (
        graded(loss, [1e4, *[-1e4] * count], expected_counts),
        graded(loss, [-1e4, *[1e4] * count], expected_counts),
    )
    assert all(np.isfinite(found[0]) and np.isfinite(found[1]).all() for found in extreme)


def test_rank_weights_fall_with_every_candidate_that_was_in_order() -> None:
    for candidates in (1, 2, 3, 50, 10_000):
        weights = [losses.WARP().weight(tries, candidates) for tries in range(1, 30)]
        assert weights[0] == 1
        assert (np.diff(weights) <= 0).all()
        assert min(weights) >= 0


def test_a_sample_of_everything_is_the_whole_softmax() -> None:
    scores = np.random.default_rng(0).normal(0, 1, 50)
    whole = graded(losses.Softmax(), scores, np.ones(50))
    sampled = graded(losses.SampledSoftmax(49), scores, np.ones(50))
    assert whole[0] == sampled[0] == pytest.approx(np.log(np.exp(scores).sum()) - scores[0])


@pytest.mark.parametrize("loss", [*PAIRWISE, *LISTWISE], ids=str)
def test_values_of_a_ranking_loss_are_weights(loss: Any) -> None:
    loss.check(np.array([1e-20, 1, 1e30], np.float32))
    for wrong in (0.0, -1.0, np.nan, np.inf):
        message = rf"values, row 1: {wrong} is not > 0; .* weights for {type(loss).__name__}"
        with pytest.raises(DataError, match=message):
            loss.check(np.array([1, wrong, wrong], np.float32))
    assert loss.prior(np.ones(3, np.float32)) == 0


@pytest.mark.parametrize("sampler", ALL_SAMPLERS, ids=str)
def test_a_sampler_keeps_with_a_probability(sampler: Any) -> None:
    kept = [sampler.acceptance(count) for count in (1, 2, 10, 100_000)]
    assert kept[0] == 1
    assert all(0 < one <= 1 for one in kept)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (losses.WARP(trials=0), "WARP.trials must be a whole number from 1 to 1048576, got 0"),
        (losses.WARP(trials=2.5), "WARP.trials must be a whole number from 1 to 1048576, got 2.5"),
        (losses.SampledSoftmax(0), "SampledSoftmax.negatives must be a whole number from 1 to 1048576, got 0"),
        (losses.Logistic(negatives=1.5), "Logistic.negatives must be a whole number from 0 to 1048576, got 1.5"),
        (losses.Logistic(calibration=1.5), "Logistic.calibration must be from 0 to 1, got 1.5"),
        (losses.BPR(sampler=samplers.Popular(1.5)), "Popular.alpha must be from 0 to 1, got 1.5"),
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MF(loss=value)


def test_the_loss_of_all_pairs_pulls_events_to_one() -> None:
    loss, step = losses.Confidence(alpha=2.0), 1e-6
    for target in (0.0, 0.5, 3.0):
        assert loss.value(1.0, target) == loss.slope(1.0, target) == 0
        for score in SCORES:
            rise = loss.value(score + step, target) - loss.value(score - step, target)
            assert loss.slope(score, target) == pytest.approx(rise / (2 * step), rel=1e-5, abs=1e-7)
            assert loss.value(score, target) == pytest.approx(2.0 * target * (1 - score) ** 2)
        assert loss.inverse_link(score) == score
    weights, targets = loss.quadratic(np.array([0.0, 0.5, 3.0], np.float32))
    assert targets is None
    np.testing.assert_array_equal(weights, [0, 1, 6])


def test_squared_error_is_its_own_quadratic() -> None:
    weights, targets = losses.Squared().quadratic(np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(weights, [1, 1])
    np.testing.assert_array_equal(targets, [1.5, -2.0])


# --- optimizers and regularizers --------------------------------------------------------------------------------------


@each_optimizer
@pytest.mark.parametrize("size", [1, 8, 9, 17])
def test_a_step_goes_downhill(optimizer: Any, size: int) -> None:
    rng = np.random.default_rng(size)
    row, gradient = Row.of(rng.normal(0, 1, size)), Row.of(rng.normal(0, 1, size))
    memory = Row.of(np.zeros(max(1, optimizer.state(size))))
    frozen = freeze(optimizer, "solver")
    moved, kept = frozen.step(row, gradient, memory)
    assert kept.shape == memory.shape
    assert (np.sign(moved - row) == -np.sign(gradient)).all()
    again, _ = frozen.step(row, gradient, kept)
    assert (np.abs(again - row) <= np.abs(moved - row)).all()
    still, same = frozen.step(row, Row.of(np.zeros(size)), kept)
    np.testing.assert_array_equal(still, row)
    np.testing.assert_array_equal(same, kept)
    resting, _ = freeze(optimizer._replace(rate=0.0), "solver").step(row, gradient, kept)
    np.testing.assert_array_equal(resting, row)


@each_optimizer
@pytest.mark.parametrize("size", [8, 17])
def test_an_optimizer_gives_the_same_numbers_compiled(optimizer: Any, size: int) -> None:
    width, parts = naive.padded(size), max(1, optimizer.state(size))

    @njit
    def compiled(optimizer, table, memory):
        held = load(memory, 0, 0, parts, parts)
        row, held = bridge.step(optimizer, load(table, 0, 0, width, size), load(table, 1, 0, width, size), held)
        store(table, 0, 0, row)
        store(memory, 0, 0, held)

    rng = np.random.default_rng(size)
    table, memory = aligned(2, width), rng.random((1, parts), np.float32)
    table[:] = 0
    table[:, :size] = rng.normal(0, 1, (2, size))
    frozen = freeze(optimizer, "solver")
    row, gradient, held = Row.of(table[0, :size]), Row.of(table[1, :size]), Row.of(memory[0])
    expected = frozen.step(row, gradient, held)
    compiled(frozen, table, memory)
    np.testing.assert_allclose(table[0, :size], expected[0], rtol=1e-6)
    np.testing.assert_allclose(memory[0], expected[1], rtol=1e-6)
    assert not table[0, size:].any()


@each_regularizer
def test_a_regularizer_is_zero_at_zero_and_the_same_compiled(regularizer: Any) -> None:
    @njit
    def compiled(regularizer, table):
        row, anchor = load(table, 0, 0, 16, 9), load(table, 1, 0, 16, 9)
        store(table, 2, 0, bridge.gradient(regularizer, row, anchor))

    frozen, table = freeze(regularizer, "regularizer"), aligned(3, 16)
    table[:] = 0
    compiled(frozen, table)
    assert not table.any()
    table[:2, :9] = np.random.default_rng(0).normal(0, 1, (2, 9))
    compiled(frozen, table)
    np.testing.assert_array_equal(table[2, :9], frozen.gradient(Row.of(table[0, :9]), Row.of(table[1, :9])))
    assert not table[2, 9:].any()


def test_l2_is_the_derivative_of_its_penalty() -> None:
    penalty = regularizers.L2(0.3)
    for number in (-2.0, 0.5):
        rise = 0.3 * (number + 1e-6) ** 2 - 0.3 * (number - 1e-6) ** 2
        assert penalty.gradient(number, 0.0) == pytest.approx(rise / 2e-6)


# --- the door ---------------------------------------------------------------------------------------------------------


@each_value
def test_freeze_makes_every_field_float32(value: Any, role: str) -> None:
    frozen = freeze(value, role)
    assert type(frozen) is type(value)
    assert all(type(field) is np.float32 for field in frozen)
    for name in numbers_of(value):
        kinds = (np.float64, np.float16, np.int32) if type(getattr(value, name)) is int else (np.float64, np.float16)
        for number in (1, *(kind(1) for kind in kinds)):
            assert getattr(freeze(value._replace(**{name: number}), role), name) == number


@each_value
def test_freeze_refuses_negative_fields(value: Any, role: str) -> None:
    for name in numbers_of(value):
        with pytest.raises(ValueError, match=rf"^{type(value).__name__}\.{name} must be a finite float32 number >"):
            freeze(value._replace(**{name: -0.1}), role)


@each_value
def test_freeze_refuses_flags_that_are_none_and_samplers_that_are_none(value: Any, role: str) -> None:
    for name, field in value._asdict().items():
        if isinstance(field, bool):
            for wrong in (0, 1.0, None, "yes"):
                with pytest.raises(ValueError, match=rf"^{type(value).__name__}\.{name} must be True or False"):
                    freeze(value._replace(**{name: wrong}), role)
        if name == "sampler":
            for wrong in (0, None, "uniform", optimizers.SGD(), samplers.Uniform):
                with pytest.raises(TypeError, match="sampler"):
                    freeze(value._replace(sampler=wrong), role)


class Absolute(NamedTuple):
    """A loss without fields."""

    kind = "pointwise"
    domain = (-np.inf, np.inf)

    def value(self, score, target):
        return abs(score - target)

    def slope(self, score, target):
        return np.float32(1) if score > target else np.float32(-1)

    def inverse_link(self, score):
        return score

    def prior(self, values):
        return float(np.median(values))

    def check(self, values):
        pass


class Scaled(NamedTuple):
    """A loss with fields and annotations."""

    scale: float = 2.0
    kind = "pointwise"
    domain = (-np.inf, np.inf)

    def value(self, score: float, target: float) -> float:
        return self.scale * (score - target) ** 2

    def slope(self, score: np.float32, target: np.float32) -> np.float32:
        return np.float32(2) * self.scale * (score - target)

    def inverse_link(self, score: float) -> float:
        return score + self.scale

    def prior(self, values: np.ndarray) -> float:
        return float(np.mean(values))

    def check(self, values: np.ndarray) -> None:
        pass


class Counting(NamedTuple):
    """A solver whose memory counts its steps."""

    rate: float = 0.5

    def state(self, k: int) -> int:
        return 1

    def step(self, row: Any, gradient: Any, memory: Any) -> tuple[Any, Any]:
        return row - self.rate * gradient, memory + 1.0

    def check(self) -> None:
        pass


class Nothing(NamedTuple):
    """A regularizer without fields."""

    def gradient(self, row, anchor):
        return row - row

    def check(self):
        pass


WRONG = [np.nan, np.inf, -np.inf, 1e39, "1", None, True, [1.0]]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_freeze_refuses_fields_that_are_no_finite_numbers(wrong: Any) -> None:
    """Also those of a class whose own check looks at nothing."""
    values = [(Scaled(), "loss"), (losses.Huber(), "loss")]
    values += [(optimizer, "solver") for optimizer in ALL_OPTIMIZERS]
    values += [(regularizer, "regularizer") for regularizer in ALL_REGULARIZERS]
    for value, role in values:
        for name in value._fields:
            message = rf"^{type(value).__name__}\.{name} must be a (finite float32 )?number"
            with pytest.raises(ValueError, match=message):
                freeze(value._replace(**{name: wrong}), role)


@pytest.mark.parametrize(("loss", "batch_size"), [(Absolute(), 1), (Scaled(0.25), 2)], ids=str)
def test_values_of_ones_own_work_in_every_kernel(loss: Any, batch_size: int) -> None:
    """One event from known vectors, against the formulas."""
    p, q, target = np.array([[1.0, 2.0]]), np.array([[0.5, -1.0]]), 3.0
    model = MF.from_factors(p, q, loss=loss, solver=Counting(0.5), regularizer=Nothing())
    score = float((p * q).sum())
    assert model.predict([0], [0], clip=False)[0] == pytest.approx(loss.inverse_link(score))
    batch = Interactions([0], [0], values=[target])
    delta = model.update(batch, epochs=1, history_epochs=0, batch_size=batch_size)
    slope = loss.slope(score, target)
    np.testing.assert_allclose(model.user_factors, p - 0.5 * slope * q)
    np.testing.assert_allclose(model.item_factors, q - 0.5 * slope * p)
    after = float(((p - 0.5 * slope * q) * (q - 0.5 * slope * p)).sum())
    assert delta.loss_before == pytest.approx(loss.value(score, target))
    assert delta.loss_after == pytest.approx(loss.value(after, target))
    assert delta.moves["users"].after.records[0, 1] == 1


def without(kind: type, name: str) -> Any:
    """A value of the class, lacking one method."""
    return type(kind.__name__, (kind,), {name: None})()


@each_value
def test_freeze_names_a_missing_method(value: Any, role: str) -> None:
    methods = {"loss": "slope", "solver": "step", "regularizer": "gradient", "sampler": "acceptance"}
    name = "loss_and_gradient" if getattr(type(value)(), "kind", "") == "listwise" else methods[role]
    with pytest.raises(TypeError, match=rf"^{type(value).__name__} is no {role}: it lacks the method {name}\(\w+"):
        freeze(without(type(value), name), role)


def test_freeze_tells_the_new_name_of_a_method() -> None:
    old = type("Old", (NamedTuple("Old", []),), {"pull": regularizers.L2.gradient, "check": lambda self: None})
    with pytest.raises(
        TypeError, match=r"lacks the method gradient\(row, anchor\); rename pull, as it was called once$"
    ):
        freeze(old(), "regularizer")


def test_freeze_asks_for_the_domain_of_a_loss_and_the_rate_of_a_solver() -> None:
    class Unbounded(NamedTuple):
        value, slope, inverse_link = Absolute.value, Absolute.slope, Absolute.inverse_link
        prior, check = Absolute.prior, Absolute.check

    class Restless(NamedTuple):
        state, step, check = Counting.state, Counting.step, Counting.check

    with pytest.raises(TypeError, match=r"^Unbounded is no loss: it lacks domain"):
        freeze(Unbounded(), "loss")
    with pytest.raises(TypeError, match=r"^Restless is no solver: it lacks rate\. The learning rate, a field"):
        freeze(Restless(), "solver")
    with pytest.raises(TypeError, match=r"^Constant is no solver: it lacks rate\. The learning rate, a field"):
        freeze(type("Constant", (Restless,), {"rate": 0.1})(), "solver")


@pytest.mark.parametrize("member", ["kind", "domain", "sampler", "allow_seen", "trials"])
def test_freeze_names_a_missing_constant(member: str) -> None:
    methods = ["value", "slope", "weight", "inverse_link", "prior", "check"]
    names = [*methods, "kind", "domain", "sampler", "allow_seen", "trials"]
    kept = {name: getattr(losses.BPR, name) for name in names if name != member}
    kept |= {"sampler": samplers.Uniform()} if "sampler" in kept else {}
    bare = type("Bare", (NamedTuple("Bare", []),), kept)
    with pytest.raises(TypeError, match=rf"^Bare is no loss: it lacks {member}\. \w+"):
        freeze(bare(), "loss")


@pytest.mark.parametrize(
    ("value", "role", "message"),
    [
        (type("Odd", (losses.Squared,), {"kind": "pair"})(), "loss", r"^Odd.kind must be one of .*, got 'pair'$"),
        (type("Odd", (losses.Squared,), {"kind": None})(), "loss", r"^Odd.kind must be one of .*, got None$"),
        (type("Odd", (samplers.Uniform,), {"source": "all"})(), "sampler", r"^Odd.source must be .*, got 'all'$"),
    ],
)
def test_freeze_refuses_an_unknown_kind(value: Any, role: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        freeze(value, role)


def test_kernels_may_call_every_compiled_method_and_no_other() -> None:
    """The bridge is made from the protocols: a call takes their parameters, and answers as the method does."""
    callers: dict[str, Any] = {
        "inverse_link": losses.Poisson(),
        "value": losses.Huber(),
        "slope": losses.Huber(),
        "quadratic": losses.Squared(),
        "surrogate": losses.Huber(),
        "expected": losses.Logistic(),
        "weight": losses.WARP(),
        "loss_and_gradient": losses.SampledSoftmax(),
        "acceptance": samplers.Popular(),
        "step": optimizers.SGD(),
        "gradient": regularizers.L2(),
    }
    assert callers.keys() == compiled_methods().keys()
    for name, parameters in compiled_methods().items():
        arguments = (
            [np.full(3, 2.0), np.ones(3), np.ones(3), 2, 3] if name == "loss_and_gradient" else [2.0] * len(parameters)
        )
        found, expected = getattr(bridge, name)(callers[name], *arguments), getattr(callers[name], name)(*arguments)
        assert found == expected
    assert not any(hasattr(bridge, name) for name in ("prior", "check", "state"))


def test_freeze_names_wrong_parameters() -> None:
    class Renamed(Absolute):
        def slope(self, prediction, target):
            return prediction - target

    class TooMany(Nothing):
        def gradient(self, row, anchor, more):
            return row

    with pytest.raises(TypeError, match=r"Renamed.slope must take \(score, target\), not \(prediction, target\)"):
        freeze(Renamed(), "loss")
    with pytest.raises(TypeError, match=r"TooMany.gradient must take \(row, anchor\), not \(row, anchor, more\)"):
        freeze(TooMany(), "regularizer")


def test_freeze_refuses_what_is_no_named_tuple() -> None:
    class Plain:
        pass

    for wrong, name in ((Plain(), "Plain"), ((1.0,), "tuple"), ({}, "dict"), (None, "NoneType")):
        with pytest.raises(TypeError, match=rf"^loss must be a NamedTuple such as those of fastmf, got {name}$"):
            freeze(wrong, "loss")


def test_freeze_refuses_a_value_in_the_wrong_role() -> None:
    with pytest.raises(TypeError, match="SGD is no loss: it lacks the method value"):
        freeze(optimizers.SGD(), "loss")
    with pytest.raises(TypeError, match="Squared is no solver: it lacks the method step"):
        freeze(losses.Squared(), "solver")


def test_a_class_instead_of_a_value_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"loss must be a NamedTuple .*, got the class Squared; write losses.Squared\(\)$"
    ):
        freeze(losses.Squared, "loss")


def test_every_value_has_a_naive_twin() -> None:
    for twins, room in ((naive.LOSSES, losses), (naive.STEPS, optimizers), (naive.PENALTY_GRADIENTS, regularizers)):
        assert set(twins) == set(room.__all__) - WHOLE


@pytest.mark.parametrize("kind", [float, np.float32])
def test_the_loss_of_a_lead_is_exact_however_small(kind: Any) -> None:
    for lead in np.linspace(-80, 80, 641):
        expected = math.log1p(math.exp(-abs(lead))) + max(-lead, 0)
        found = losses.BPR().value(kind(lead), kind(1))
        assert float(found) == pytest.approx(expected, rel=4 * float(np.finfo(kind).eps))
