"""Single events of models that solve rows: each is an update of one, and one that is refused leaves nothing."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from strategies import FACTORS, assert_reads, assert_same, bits, content

from fastmf import MF, Interactions, losses, optimizers
from fastmf.errors import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

USERS, ITEMS = 40, 30
slow = pytest.mark.slow  # whose kernels are compiled for nobody else
METHODS = ("cg", "cholesky", pytest.param("eals", marks=slow))
each_method = pytest.mark.parametrize("method", METHODS)
EVENTS = {
    "known": (5, 7),
    "again": (0, 0),
    "a new user": (900, 7),
    "a new item": (5, 900),
    "both new": (900, 901),
    "long rows": (1, 1),
    "a long user, a new item": (1, 900),
    "a new user, a long item": (900, 1),
    "a long user twice": (1, 3),
}


def the_past(weights: bool = False) -> Interactions:
    """User 1 and item 1 have met all, twice over; user 0 and item 0 each other, often."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(2, USERS, 200), rng.integers(2, ITEMS, 200)
    users = np.concatenate([users, [1] * 2 * ITEMS, *[range(USERS)] * 2, [0] * 4])
    items = np.concatenate([items, *[range(ITEMS)] * 2, [1] * 2 * USERS, [0] * 4])
    order = rng.permutation(users.size)
    columns = {"weights": rng.random(users.size) + 0.2} if weights else {}
    return Interactions(users[order], items[order], rng.integers(1, 6, users.size), **columns)


def a_model(loss: Any, method: str = "cg", weights: bool = False, **settings: Any) -> MF:
    solver = optimizers.ALS(method, **{name: settings.pop(name) for name in ("nu", "max_history") if name in settings})
    return MF(FACTORS, loss, solver, **settings).fit(the_past(weights), epochs=4, progress=False)


def rows(model: MF, side: str, one: int) -> np.ndarray:
    """The row of an id and its bias."""
    row = int(getattr(model, side).rows(np.array([one]))[0])
    factors, biases = getattr(model, f"{side[:-1]}_factors"), getattr(model, f"{side[:-1]}_biases")
    return np.append(factors[row], biases[row]).astype(np.float64)


def assert_equal_to_an_update(model: MF, event: tuple[int, int], value: float, rtol: float = 1e-5) -> None:
    one, other = model.copy(), model.copy()
    one.learn_one(*event, value)
    expected_delta, delta = other.update(Interactions(event[:1], event[1:], [value])), one.flush()
    assert delta.events == 1
    assert delta.loss_before == pytest.approx(expected_delta.loss_before, rel=1e-4, abs=1e-5)
    assert delta.loss_after == pytest.approx(expected_delta.loss_after, rel=1e-4, abs=1e-5)
    for side, key in zip(("users", "items"), event, strict=True):
        found, expected = rows(one, side, key), rows(other, side, key)
        assert np.abs(found - expected).max() <= rtol * np.abs(expected).max(), (side, found, expected)


WHOLE = {
    "plain": losses.Confidence(),
    "alpha": losses.Confidence(alpha=3.0, unobserved=0.4),
    "half": losses.Confidence(popularity=0.5),
    "popular": losses.Confidence(alpha=0.5, popularity=1.0),
}
SETTINGS = ((0.0, 1_000, False), (1.0, 1_000, True), (0.0, 20, True), (1.0, 20, False))  # nu, max_history, weights
each_event = pytest.mark.parametrize("event", EVENTS)


@each_method
@each_event
@pytest.mark.parametrize("loss", WHOLE)
def test_a_single_event_of_implicit_feedback_is_an_update_of_one(loss: str, event: str, method: str) -> None:
    for nu, most, weights in SETTINGS:
        model = a_model(WHOLE[loss], method, weights, nu=nu, max_history=most)
        assert_equal_to_an_update(model, EVENTS[event], 2.0)


@each_method
@each_event
@pytest.mark.parametrize("biases", [True, pytest.param(False, marks=slow)])
def test_a_single_rating_is_an_update_of_one(biases: bool, event: str, method: str) -> None:
    for nu, most, weights in SETTINGS:
        model = a_model(losses.Squared(), method, weights, nu=nu, max_history=most, biases=biases)
        assert_equal_to_an_update(model, EVENTS[event], 2.0)


@each_method
@pytest.mark.parametrize("loss", [losses.Confidence(), losses.Squared()], ids=["implicit", "ratings"])
def test_single_events_of_rows_that_grow_little_are_updates_of_one(loss: Any, method: str) -> None:
    """Rows of more than 128 events take a step, and are solved whole at every multiple of a sixteenth."""
    rng, past = np.random.default_rng(1), the_past()
    more = [np.concatenate([old, new]) for old, new in zip(
        (past.users, past.items, past.values),
        (np.append(np.full(70, 1), rng.integers(2, USERS, 70)), np.append(rng.integers(2, ITEMS, 70), np.full(70, 1)),
         rng.integers(1, 6, 140)), strict=True)]  # fmt: skip
    model = MF(FACTORS, loss, optimizers.ALS(method)).fit(Interactions(*more), epochs=4, progress=False)
    state = model._state
    for side in ("users", "items"):
        assert 128 < state.history.counts(side, state.rows(side, np.array([1])))[0] < 240
    for number in range(18):
        event = (1, 1) if number % 3 else (1, 5 + number)
        assert_equal_to_an_update(model, event, 2.0)
        model.learn_one(*event, 2.0)


# --- losses of one's own --------------------------------------------------------------------------------------------


class Own(NamedTuple):
    """Ratings whose weights and targets are not those of Squared."""

    steep: float = 2.0
    kind = "pointwise"
    domain = (-math.inf, math.inf)

    def value(self, score: Any, target: Any) -> Any:
        error = score - (self.steep * target - 1)
        return (2 + target) * error * error

    def slope(self, score: Any, target: Any) -> Any:
        return 2 * (2 + target) * (score - (self.steep * target - 1))

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return float(np.mean(values, dtype=np.float64))

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return 2 + values, self.steep * values - 1

    def check(self, values: np.ndarray) -> None:
        return


class InDouble(Own):
    """What NumPy has by nature: float64 weights, chosen by a condition; integers for targets."""

    def value(self, score: Any, target: Any) -> Any:
        error = score - (1 if target > 2 else 0)
        return (3.0 if target > 3 else 0.5) * error * error

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.where(values > 3, 3.0, 0.5), (values > 2).astype(np.int64)


class Likes(Own):
    """All targets are 1, and pairs unmet do not count."""

    def value(self, score: Any, target: Any) -> Any:
        return (1 + target) * (score - 1) * (score - 1)

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.ones_like(values) + values, None


class Unmet(Likes):
    """All targets are 1, and pairs unmet count, with no word of popularity."""

    kind = "all-pairs"
    unobserved = 0.3


class Logarithmic(losses.Confidence):
    """Built on a loss of fastmf."""

    def value(self, score: Any, target: Any) -> Any:
        return self.alpha * math.log(1 + target) * (score - 1) * (score - 1)

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.float32(self.alpha) * np.log(1 + values), None


class Foreign(Own):
    """What only Python can run."""

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.array([1 + value for value in values.tolist()], np.float32), values


OWN = {
    "own": Own(),
    "logarithmic": Logarithmic(alpha=2.0, unobserved=0.5, popularity=0.5),
    "in double": InDouble(),
    "likes": Likes(),
    "unmet": Unmet(),
}


@pytest.mark.parametrize("event", ["known", "both new", "long rows"])
@pytest.mark.parametrize(
    "loss", ["own", "logarithmic", *(pytest.param(one, marks=slow) for one in ("in double", "likes", "unmet"))]
)
def test_a_single_event_of_an_own_loss_is_an_update_of_one(loss: str, event: str) -> None:
    for nu, most, weights in SETTINGS[1:3]:
        model = a_model(OWN[loss], "cholesky", weights, nu=nu, max_history=most, biases=loss in ("own", "in double"))
        for value in (2.0, 5.0):
            assert_equal_to_an_update(model, EVENTS[event], value)


def test_a_row_is_the_minimum_of_its_own_loss() -> None:
    """Against float64, from the history alone."""
    model = a_model(Own(3.0), "cholesky", weights=True)
    model.learn_one(5, 7, 4.0)
    model.flush()
    log, row = model._state.history.events, int(model.items.rows(np.array([7]))[0])
    mine = log.items == row
    met = model.user_factors[log.users[mine]].astype(np.float64)
    met = np.column_stack([met, np.ones(len(met))])
    weights = (2 + log.values[mine].astype(np.float64)) * log.weights[mine]
    targets = 3 * log.values[mine].astype(np.float64) - 1 - model.global_mean - model.user_biases[log.users[mine]]
    penalty = model.regularizer.weight * weights.sum() * np.eye(met.shape[1])
    exact = np.linalg.solve((met * weights[:, None]).T @ met + penalty, met.T @ (weights * targets))
    np.testing.assert_allclose(rows(model, "items", 7), exact, rtol=1e-4, atol=1e-5)


def test_a_loss_that_cannot_be_compiled_is_refused_by_name() -> None:
    model = a_model(Foreign(), "cholesky")
    before = bits(model)
    with pytest.raises(TypeError, match=r"learn_one compiles Foreign.quadratic, which Numba cannot"):
        model.learn_one(5, 7, 3.0)
    assert_same(bits(model), before)
    model.update(Interactions([5], [7], [3.0]))


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = {
    "squared": losses.Squared(),
    "all-pairs": losses.Confidence(alpha=2.0),
    "popular": losses.Confidence(alpha=2.0, popularity=1.0),
}


@each_method
@pytest.mark.parametrize("event", ["known", "a new user", "a new item", "both new", "long rows"])
@pytest.mark.parametrize("loss", REFUSED)
def test_a_single_event_that_is_not_finite_leaves_nothing(loss: str, event: str, method: str) -> None:
    model = a_model(REFUSED[loss], method, max_history=20)
    twin = model.copy()
    for one in (model, twin):
        one.learn_one(3, 4, 2.0)
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.learn_one(*EVENTS[event], 3e38)
    assert_same(bits(model), before)
    assert_reads(model)
    one, other = model.flush(), twin.flush()
    for side in ("users", "items"):
        assert one.moves[side].rows.tolist() == other.moves[side].rows.tolist()
    batch = Interactions([1, 7, 9, 950], [5, 3, 4, 950], [1.0, 2.0, 3.0, 1.0])
    for each in (model, twin):
        each.update(batch)
    assert_same(content(model), content(twin))


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@each_method
@pytest.mark.parametrize("loss", REFUSED)
def test_an_update_that_is_not_finite_is_refused_by_every_method(loss: str, method: str) -> None:
    model = a_model(REFUSED[loss], method)
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.update(Interactions([5], [7], [3e38]))
    assert_same(bits(model), before)
