"""Variational Bayes: kernels against plain NumPy, then fits, updates and single events."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import variational as plain
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import assert_same, bits, content

from fastmf import MF, Interactions, Options, load, losses, optimizers, regularizers
from fastmf.devices.cpu.beliefs import learn, solve, turn
from fastmf.equations import Pass, Prior
from fastmf.errors import DataError, DivergenceError
from fastmf.kernels.core.shape import Shape
from fastmf.learners.hyper import rotation
from fastmf.log.events import Events
from fastmf.memory import aligned
from fastmf.parameters.moves import Image
from fastmf.protocols import freeze

MEAN, NOISE = 3.5, 0.7
SQUARED = losses.Squared()
SIZES = (3, 16, 40)
OTHER_FORMS = [(3, True), (16, False), (40, False)]
each_size = pytest.mark.parametrize("size", SIZES)
each_form = pytest.mark.parametrize("biases", [True, False])


def shape_of(size: int, biases: bool = True) -> Shape:
    return Shape(size, -(-size // 16) * 16, 3, biases)


def a_side(count: int, size: int, seed: int, biases: bool = True) -> plain.Side:
    rng = np.random.default_rng(seed)
    means = rng.normal(0, 0.3, (count, size + 1)).astype(np.float32).astype(float)
    variances = rng.uniform(0.02, 0.3, (count, size + 1)).astype(np.float32).astype(float)
    square = rng.normal(0, 0.1, (size + 1, size + 1))
    prior_mean, prior = rng.normal(0, 0.2, size + 1), square @ square.T + np.diag(rng.uniform(0.05, 0.3, size + 1))
    if not biases:
        means[:, -1] = variances[:, -1] = prior_mean[-1] = 0
    noise = np.column_stack([rng.uniform(0.5, 2, count), rng.uniform(5, 40, count), rng.uniform(0, 3, count)])
    noise = noise.astype(np.float32).astype(float)
    return plain.Side(means, variances, prior_mean, prior, noise)


def a_log(users: int, items: int, events: int, seed: int) -> plain.Log:
    rng = np.random.default_rng(seed)
    own, other = rng.integers(0, users - 2, events), rng.integers(0, items, events)  # the last rows have no events
    values, weights = rng.normal(0, 1, events), rng.uniform(0.2, 2, events)
    weights[own == 0] = 0
    return plain.Log(own, other, *(one.astype(np.float32).astype(float) for one in (values, weights)))


def image(side: plain.Side) -> Image:
    """The rows in the layout of tables."""
    count, size = side.means.shape[0], side.means.shape[1] - 1
    factors, variances = aligned(count, -(-size // 16) * 16), aligned(count, -(-size // 16) * 16)
    factors[:], variances[:] = 0, 0
    factors[:, :size], variances[:, :size] = side.means[:, :-1], side.variances[:, :-1]
    parts = side.means[:, -1], side.variances[:, -1], side.noise, np.zeros(count)
    records = np.column_stack(parts).astype(np.float32)
    return Image((factors, records, variances))


def assert_rows(found: Image, expected: plain.Side, tolerance: float = 2e-4) -> None:
    size = expected.means.shape[1] - 1
    for number, side in ((0, expected.means), (2, expected.variances)):
        np.testing.assert_allclose(found[number][:, :size], side[:, :-1], rtol=tolerance, atol=tolerance)
        assert not found[number][:, size:].any()
    np.testing.assert_allclose(found[1][:, 0], expected.means[:, -1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found[1][:, 1], expected.variances[:, -1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found[1][:, 2:5], expected.noise, rtol=5 * tolerance, atol=tolerance)


def sorted_columns(log: plain.Log, rows: int, mean: float = MEAN) -> tuple[np.ndarray, ...]:
    order = np.argsort(log.own, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(log.own, minlength=rows))])
    values = (log.values[order] + mean).astype(np.float32)
    return starts, log.other[order].astype(np.int32), values, log.weights[order].astype(np.float32)


def precision_of(side: plain.Side, biases: bool) -> Prior:
    used = side.prior_mean.size - (not biases)
    return Prior(side.prior_mean[:used], np.linalg.inv(side.prior[:used, :used]))


# --- kernels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "biases"),
    [(3, False), (16, True), (40, True), *(pytest.param(*one, marks=pytest.mark.slow) for one in OTHER_FORMS)],
)
@pytest.mark.parametrize("heavy", [False, True], ids=["", "a row that needs float64"])
def test_a_solve_is_that_of_plain_numpy_on_all_arrays(size: int, biases: bool, heavy: bool) -> None:
    users, items, log = a_side(30, size, 1, biases), a_side(20, size, 2, biases), a_log(30, 20, 700, 3)
    users = users._replace(prior=np.diag(np.diag(users.prior)))
    if heavy:
        log.weights[log.own == 5] *= 1e4
    tables = image(users), image(items)
    before = tables[1].copy()
    columns, prior, numbers = sorted_columns(log, 30), precision_of(users, biases), (MEAN, NOISE, 10.0)
    sums = solve(shape_of(size, biases), tables, columns, prior, numbers, SQUARED, threads=1)
    expected, found = plain.solve_side(users, items, log, NOISE, biases, evidence=10.0)
    assert_rows(tables[0], expected)
    assert all((one == other).all() for one, other in zip(tables[1], before, strict=True))
    used = size + biases
    assert (sums.rows, sums.means.size) == (found.rows, used)
    np.testing.assert_allclose(sums.means, found.means[:used], rtol=1e-4, atol=1e-3)
    shared = np.outer(found.means[:used], prior.mean)  # products are of differences from the prior's mean
    products = found.products[:used, :used] - shared - shared.T + found.rows * np.outer(prior.mean, prior.mean)
    np.testing.assert_allclose(sums.second, products + found.covariances[:used, :used], rtol=1e-3, atol=1e-3 * size)
    np.testing.assert_allclose(
        (sums.expected, sums.loss, sums.weight), (found.expected, found.loss, found.weight), rtol=2e-3
    )


@pytest.mark.parametrize("loss", [losses.Huber(), losses.StudentT(), losses.Logistic()], ids=str)
@pytest.mark.parametrize("heavy", [False, True], ids=["", "a row that needs float64"])
def test_a_solve_and_a_pass_of_other_losses_are_those_of_plain_numpy(loss: Any, heavy: bool) -> None:
    users, items, log = labelled(loss, heavy)
    mean, name, loss = 0.0 if isinstance(loss, losses.Logistic) else MEAN, type(loss).__name__, freeze(loss, "loss")
    tables, shape = (image(users), image(items)), shape_of(16)
    columns = sorted_columns(log, 30, mean)
    solve(shape, tables, columns, precision_of(users, True), (mean, NOISE, 10.0), loss, threads=1)
    solved, _ = plain.solve_side(users, items, log, NOISE, evidence=10.0, loss=name)
    assert_rows(tables[0], solved, 1e-3)
    tables = image(users), image(items)
    priors = tuple(map(prior_image, (users, items)))
    events = Events(log.own.astype(np.int32), log.other.astype(np.int32), *sorted_floats(log, mean))
    learn(shape, tables, priors, events, (30, 20), Pass(mean, NOISE, (0.01, 0.003, 4.0), (1.0, 0.0), loss))
    how: dict[str, Any] = {"drift": (0.01, 0.003), "noted": (1.0, 0.0), "limit": 4}
    expected = plain.learn(users, items, log, NOISE, name, **how)
    for table, side in zip(tables, expected, strict=True):
        assert_rows(table, side, 2e-3)


def labelled(loss: Any, heavy: bool) -> tuple[plain.Side, plain.Side, plain.Log]:
    """Rows, and events with values for a loss; with `heavy`, a row needs float64."""
    users, items, log = a_side(30, 16, 1), a_side(20, 16, 2), a_log(30, 20, 700, 3)
    users, items = (side._replace(prior=np.diag(np.diag(side.prior))) for side in (users, items))
    if heavy:
        log.weights[log.own == 5] *= 1e4
    if isinstance(loss, losses.Logistic):
        log = log._replace(values=(log.values > 0).astype(float))
    return users, items, log


def prior_image(side: plain.Side) -> Image:
    return image(side._replace(means=side.prior_mean[None], variances=np.diag(side.prior)[None], noise=np.ones((1, 3))))


def test_a_solve_has_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastmf.devices.cpu.beliefs._PART", 3e4)  # many parts
    users, items, log = a_side(60, 16, 1), a_side(20, 16, 2), a_log(60, 20, 3000, 3)
    results = []
    for workers in (1, 2):
        tables = image(users), image(items)
        columns, prior = sorted_columns(log, 60), precision_of(users, True)
        results.append((tables[0], solve(shape_of(16), tables, columns, prior, (MEAN, NOISE, 10.0), SQUARED, workers)))
    (one, sums), (other, again) = results
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(sums, again, strict=True))


@each_size
@each_form
def test_new_coordinates_are_those_of_plain_numpy(size: int, biases: bool) -> None:
    users, items = a_side(30, size, 1, biases), a_side(20, size, 2, biases)
    if not biases:
        users, items = (
            side._replace(prior=side.prior * np.outer(*2 * [np.arange(size + 1) < size])) for side in (users, items)
        )
    expected, used = plain.rotated(users, items), size + biases
    tables = {"users": image(users), "items": image(items)}
    covariances = {name: side.prior[:used, :used] for name, side in (("users", users), ("items", items))}
    scores = tables["users"].factors @ tables["items"].factors.T
    for name, form in rotation(covariances, size).items():
        turn(shape_of(size, biases), tables[name], *form)
    for table, side in zip(tables.values(), expected, strict=True):
        sizes = np.abs(table.factors[:, :size]), np.abs(side.means[:, :-1])  # eigenvectors have no sign
        np.testing.assert_allclose(*sizes, rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(table[1][:, 0], side.means[:, -1], rtol=5e-3, atol=5e-3)
        np.testing.assert_allclose(table[2][:, :size], side.variances[:, :-1], rtol=5e-3, atol=5e-3)
    if not biases:
        np.testing.assert_allclose(tables["users"].factors @ tables["items"].factors.T, scores, atol=1e-4)


@each_size
@pytest.mark.parametrize("movable", [(28, 20), (10, 20), (28, 0)])
def test_a_pass_is_that_of_plain_numpy_on_all_arrays(size: int, movable: tuple[int, int]) -> None:
    users, items, log = a_side(30, size, 1), a_side(20, size, 2), a_log(30, 20, 300, 3)
    diagonal = [side._replace(prior=np.diag(np.diag(side.prior))) for side in (users, items)]
    tables, drift = (image(users), image(items)), (0.01, 0.003)
    priors = tuple(map(prior_image, diagonal))
    events = Events(log.own.astype(np.int32), log.other.astype(np.int32), *sorted_floats(log))
    sums = learn(shape_of(size), tables, priors, events, movable, Pass(MEAN, NOISE, (*drift, 2.5), (1.0, 1.0), SQUARED))
    expected, told = diagonal, []
    for n in range(log.own.size):
        moves = float(log.own[n] < movable[0]), float(log.other[n] < movable[1])
        some = plain.Log(*(column[n : n + 1] for column in log))
        how: dict[str, Any] = {"drift": drift, "moves": moves, "noted": (1.0, 1.0), "limit": 2.5, "told": told}
        expected = plain.learn(*expected, some, NOISE, **how)
    for table, side in zip(tables, expected, strict=True):
        assert_rows(table, side, 1e-3)
    np.testing.assert_allclose(sums, summed(told, log), rtol=2e-3, atol=1e-3)
    assert sums[-1]


def summed(told: list[tuple[Any, ...]], log: plain.Log) -> list[float]:
    """What a pass tells about drift, from what plain NumPy tells about each event."""
    user, item, square, learned, begun = np.array(told, float).T
    young = learned < 30
    some = np.flatnonzero(log.weights) % 4 == 0
    some_user, some_item, excess = user[some], item[some], square[some] - 1
    sums = [some_user @ some_user, some_user @ some_item, some_item @ some_item, some_user @ excess, some_item @ excess]
    return [*sums, young.sum(), square[young].sum(),
            (~young).sum(), square[~young].sum(), begun.sum()]  # fmt: skip


def test_a_pass_that_tests_no_row_is_that_without_the_test() -> None:
    users, items, log = a_side(30, 16, 1), a_side(20, 16, 2), a_log(30, 20, 300, 3)
    diagonal = [side._replace(prior=np.diag(np.diag(side.prior))) for side in (users, items)]
    tables, priors = (image(users), image(items)), tuple(map(prior_image, diagonal))
    events = Events(log.own.astype(np.int32), log.other.astype(np.int32), *sorted_floats(log))
    sums = learn(
        shape_of(16), tables, priors, events, (30, 20), Pass(MEAN, NOISE, (0.0, 0.0, 0.0), (1.0, 0.0), SQUARED)
    )
    assert not sums.any()
    expected = plain.learn(*diagonal, log, NOISE, noted=(1.0, 0.0))
    for table, side, before in zip(tables, expected, (users, items), strict=True):
        kept = side._replace(noise=np.column_stack([side.noise[:, :2], before.noise[:, 2]]))
        assert_rows(table, kept, 1e-3)


def sorted_floats(log: plain.Log, mean: float = MEAN) -> tuple[np.ndarray, np.ndarray]:
    return (log.values + mean).astype(np.float32), log.weights.astype(np.float32)


# --- fits -----------------------------------------------------------------------------------------------------------


def ratings(events: int = 1500, users: int = 40, items: int = 30, seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed)
    u, i = rng.integers(0, users, events), rng.integers(0, items, events)
    p, q = rng.normal(0, 0.6, (users, 2)), rng.normal(0, 0.6, (items, 2))
    values = 3 + 0.3 * p[u, 0] + (p[u] * q[i]).sum(axis=1) + rng.normal(0, 0.5, events)
    return Interactions(u, i, values, weights=rng.uniform(0.5, 1.5, events), times=np.arange(events))


def believer(factors: int = 5, **settings: Any) -> MF:
    return MF(factors, solver=optimizers.Variational(), **settings)


def side_of(model: MF, name: str) -> plain.Side:
    table, priors = model._state.side(name).table, model._state.groups["priors"]  # type: ignore[union-attr]
    (factors, records, variances), size = table.whole(), model.factors
    mean, variance = priors.of(name)  # type: ignore[attr-defined]
    means = np.column_stack([factors[:, :size], records[:, 0]]).astype(float)
    variances = np.column_stack([variances[:, :size], records[:, 1]]).astype(float)
    prior = np.diag(variance) + (variance == 0) * 1e-30
    return plain.Side(means, variances, mean.copy(), prior, records[:, 2:5].astype(float))


def log_of(model: MF, events: Interactions) -> plain.Log:
    rows = (model.users.rows(events.users), model.items.rows(events.items))
    weights = np.ones(len(events)) if events.weights is None else events.weights.astype(float)
    return plain.Log(*rows, events.values.astype(float) - model.global_mean, weights)


def wide(side: plain.Side) -> plain.Side:
    """With the prior of the first sweeps of a fit: factor n has a variance of 2.4 / n standard deviations of values."""
    covariance, n = side.prior.copy(), np.arange(side.prior.shape[0] - 1)
    covariance[n, n] *= 2.4 / 0.7 * np.sqrt(n.size) / (1 + n)
    return side._replace(prior=covariance)


@each_form
def test_a_fit_is_that_of_plain_numpy(biases: bool) -> None:
    events = ratings()
    model = believer(biases=biases).fit(events, epochs=0)
    (users, items), log = (wide(side_of(model, name)) for name in ("users", "items")), log_of(model, events)
    noise = float(model._state.groups["priors"].noise)
    for sweep in range(4):
        users, found = plain.solve_side(users, items, log, noise, biases, evidence=10.0 * (sweep >= 2))
        items, sums = plain.solve_side(items, users, log.turned(), noise, biases)
        if sweep >= 1:
            noise = sums.expected / sums.weight
        if sweep >= 2:
            users, items = plain.rotated(plain.learned_prior(users, found), plain.learned_prior(items, sums))
    model.fit(events, epochs=4)
    assert model.history_[-1]["loss"] == pytest.approx(sums.loss / sums.weight, rel=1e-3)
    assert float(model._state.groups["priors"].noise) == pytest.approx(noise, rel=1e-3)
    scores = users.means[:, :-1] @ items.means[:, :-1].T + users.means[:, -1:] + items.means[:, -1] + model.global_mean
    asked = np.repeat(model.users.values, 30), np.tile(model.items.values, 40)
    np.testing.assert_allclose(model.predict(*asked, clip=False), scores.ravel(), atol=5e-3)
    for name, side in (("users", users), ("items", items)):
        mine = side_of(model, name)
        np.testing.assert_allclose(mine.variances, side.variances, rtol=0.02, atol=1e-4)
        np.testing.assert_allclose(np.diag(mine.prior), np.diag(side.prior), rtol=0.02, atol=1e-6)


def test_a_fit_stops_by_itself_and_no_later_than_asked() -> None:
    assert 6 <= len(believer().fit(ratings()).history_) < 60
    assert len(believer().fit(ratings(), epochs=3).history_) == 3


def test_a_weight_of_two_counts_as_two_events() -> None:
    events = ratings(400)
    heavy = Interactions(events.users, events.items, events.values, weights=np.full(400, 2.0))
    twice = Interactions(*(np.tile(one, 2) for one in (events.users, events.items, events.values)))
    one, other = believer().fit(heavy, epochs=5), believer().fit(twice, epochs=5)
    np.testing.assert_allclose(one.predict([1, 2], [3, 4]), other.predict([1, 2], [3, 4]), atol=1e-3)


def test_the_best_epoch_of_a_validation_brings_its_priors_back() -> None:
    model = believer().fit(ratings(), validation=0.2)
    best = int(np.argmin([record["validation"] for record in model.history_]))
    short = believer().fit(ratings(), validation=0.2, epochs=best + 1)
    assert_same(content(model), content(short))


def test_values_that_are_all_equal_are_learned() -> None:
    model = believer().fit(Interactions([1, 2, 2], [1, 1, 2], [4, 4, 4]))
    np.testing.assert_allclose(model.predict([1, 2, 9], [1, 2, 9]), 4, atol=1e-3)


@each_form
def test_rows_without_events_of_weight_stand_at_the_prior(biases: bool) -> None:
    events = ratings(300)
    events = Interactions(events.users, events.items, events.values, weights=(events.users != 3).astype(float))
    model = believer(biases=biases).fit(events)
    row = int(model.users.rows(np.array([3]))[0])
    for part, prior in zip(
        model._state.side("users").table.whole(), model._state.side("users").table.unknown, strict=True
    ):  # type: ignore[union-attr]
        np.testing.assert_array_equal(part[row], prior[0])
    assert model.predict([3], [5], clip=False) == model.predict([-77], [5], clip=False)


# --- updates --------------------------------------------------------------------------------------------------------


def fitted(**settings: Any) -> MF:
    return believer(**settings).fit(ratings(), epochs=5, progress=False)


def batch(seed: int = 1) -> Interactions:
    rng = np.random.default_rng(seed)
    return Interactions(rng.integers(30, 50, 60), rng.integers(20, 40, 60), rng.uniform(1, 5, 60))


def test_an_update_is_that_of_plain_numpy_new_rows_included() -> None:
    model = fitted()
    users, items = side_of(model, "users"), side_of(model, "items")
    noise = float(model._state.groups["priors"].noise)
    delta = model.update(batch())

    def grown(side: plain.Side, count: int) -> plain.Side:
        means, variances = (np.tile(one, (count, 1)) for one in (side.prior_mean, np.diag(side.prior)))
        noise = np.vstack([side.noise, np.tile([1.0, 10.0, 0.0], (count, 1))])
        return plain.Side(np.vstack([side.means, means]), np.vstack([side.variances, variances]), *side[2:4], noise)

    users, items = grown(users, len(delta.new_users)), grown(items, len(delta.new_items))
    users, items = plain.learn(users, items, log_of(model, batch()), noise, drift=(3e-4, 1e-4), noted=(1, 0), limit=5)
    for name, side in (("users", users), ("items", items)):
        assert_rows(model._state.side(name).table.whole(), side, 1e-3)  # type: ignore[union-attr]
    assert delta.loss_after < delta.loss_before


@pytest.mark.parametrize("trainable", ["both", "users", {"items": True}])
@pytest.mark.parametrize(("times", "most"), [(1, "all"), (2, "all"), (1, 40)])
def test_rows_solved_anew_are_those_of_plain_numpy(trainable: Any, times: int, most: Any) -> None:
    model, events, new = fitted(), ratings(), batch()
    alone = fitted()
    alone.update(new, trainable=trainable)
    users, items = side_of(alone, "users"), side_of(alone, "items")
    whole = plain.Log(*(np.concatenate(pair) for pair in zip(log_of(alone, events), log_of(alone, new), strict=True)))
    delta = model.update(new, trainable=trainable, resolve=times, max_history=most)
    noise = float(model._state.groups["priors"].noise)
    for _ in range(times):
        if trainable != {"items": True}:
            solved, _ = plain.solve_side(users, items, whole, noise, evidence=10.0)
            users = only(solved, users, alone.users.rows(new.users), whole.own[: len(events)], most)
        if trainable != "users":
            solved, _ = plain.solve_side(items, users, whole.turned(), noise)
            items = only(solved, items, alone.items.rows(new.items), whole.other[: len(events)], most)
    for name, side in (("users", users), ("items", items)):
        assert_rows(model._state.side(name).table.whole(), side, 2e-3)
    before = content(fitted())
    model.rollback(delta)
    assert_same(content(model), before)


def only(solved: plain.Side, before: plain.Side, named: np.ndarray, past: np.ndarray, most: Any) -> plain.Side:
    """The rows solved, where they are named and have few enough past events; the others as before."""
    counts = np.bincount(past, minlength=len(before.means))
    chosen = np.isin(np.arange(len(before.means)), named) & (counts <= (np.inf if most == "all" else most))
    parts = {name: np.where(chosen[:, None], getattr(solved, name), getattr(before, name))
             for name in ("means", "variances", "noise")}  # fmt: skip
    return before._replace(**parts)


def test_rows_solved_anew_forget_what_has_faded() -> None:
    early = Interactions([1, 1, 1], [2, 3, 4], [1, 1, 1], times=[1600, 1600, 1600])
    late = Interactions([1], [5], [5], times=[3000])
    found = []
    for half_life in (None, 200):
        model = fitted()
        model.update(early)
        model.update(late, resolve=1, half_life=half_life)
        found.append(model.predict([1], [3], clip=False)[0])
    assert found[0] < found[1]


@pytest.mark.parametrize("storage", ["float32", "float16"])
@each_form
def test_learning_events_one_by_one_is_an_update_per_event(storage: str, biases: bool) -> None:
    one, other = (fitted(biases=biases, options=Options(storage=storage)) for _ in range(2))
    events = batch()
    for user, item, value in zip(events.users, events.items, events.values, strict=True):
        one.learn_one(int(user), int(item), float(value))
        other.update(Interactions([user], [item], [value]))
    one.flush()
    for name in ("users", "items"):
        pairs = zip(*(model._state.side(name).table.whole() for model in (one, other)), strict=True)  # type: ignore[union-attr]
        for mine, theirs in pairs:
            if storage == "float32":
                np.testing.assert_array_equal(mine, theirs)
            np.testing.assert_allclose(mine, theirs, atol=5e-3)  # a new row is rounded before it moves, or after


def test_what_an_update_or_single_events_did_is_undone_to_the_bit() -> None:
    model = fitted()
    before = content(model)
    delta = model.update(batch())
    twin = load_of(model)
    assert_same(content(twin), content(model))
    model.rollback(delta)
    assert_same(content(model), before)
    for n in range(10):
        model.learn_one(n, n + 25, 4.0)
    model.rollback(to=2)
    assert_same(content(model), before)


def load_of(model: MF) -> MF:
    return pickle.loads(pickle.dumps(model))


def test_a_copy_learns_on_by_itself_and_takes_deltas(tmp_path: Any) -> None:
    model = fitted()
    model.save(tmp_path / "model.safetensors")
    copies = [model.copy(), load(tmp_path / "model.safetensors")]
    delta = model.update(batch())
    for copy in copies:
        copy.apply(delta)
        assert_same(content(copy), content(model))
    alone = model.copy()
    alone.refit(epochs=3)
    assert model.predict([99], [99]) == copies[0].predict([99], [99])  # its prior is its own


@pytest.mark.parametrize("trainable", ["users", "items", "new", {"users": [31, 45]}, {"items": True}])
def test_only_rows_that_may_move_do(trainable: Any) -> None:
    model = fitted()
    before = {name: model._state.side(name).table.whole().copy() for name in ("users", "items")}  # type: ignore[union-attr]
    ids = {"users": model.users.values, "items": model.items.values}
    delta = model.update(batch(), trainable=trainable)
    for name, old in before.items():
        now = model._state.side(name).table.whole()  # type: ignore[union-attr]
        moved = {
            int(ids[name][row])
            for row in range(len(old[0]))
            if any((a[row] != b[row]).any() for a, b in zip(old, now, strict=True))
        }
        may = {"users": {31, 45} if isinstance(trainable, dict) else set(range(100)), "items": set(range(100))}[name]
        chosen = trainable == name or (isinstance(trainable, dict) and name in trainable)
        assert moved <= (may if chosen else set())
        assert not chosen or moved
    assert delta.loss_after < delta.loss_before


def test_an_update_of_an_unfitted_model_starts_it() -> None:
    model = believer()
    model.update(ratings())
    truth = ratings(seed=0)

    def error() -> float:
        return float(np.std(model.predict(truth.users, truth.items) - truth.values) / truth.values.std())

    begun = error()
    assert begun < 0.96  # it is careful with what it has seen once
    assert len(model.refit().history_) > 5
    assert error() < 0.9 * begun


def test_a_half_life_lets_old_events_count_less() -> None:
    one, other = fitted(), fitted()
    late = Interactions([1, 1], [2, 3], [5, 5], times=[2000, 2000])
    old = Interactions([1, 1], [2, 3], [5, 5], times=[2000, 1000])
    one.update(late, half_life=100)
    other.update(old, half_life=100)
    assert other.predict([1], [3]) < one.predict([1], [3])
    assert believer().fit(ratings(), half_life=200).predict([1], [2]) != fitted().predict([1], [2])


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_a_pass_that_fails_changes_nothing() -> None:
    model = fitted()
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.update(Interactions([1], [2], [3e38]))
    with pytest.raises(DivergenceError):
        model.learn_one(1, 2, 3e38)
    assert bits(model) == before


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("value", [1e3, -1e5, 1e6])
def test_an_outlier_does_not_overshoot(value: float) -> None:
    model, events = fitted(), ratings()
    for user, item in zip(events.users[:50], events.items[:50], strict=True):
        delta = model.update(Interactions([user], [item], [value]))
        assert delta.loss_after < delta.loss_before
        model.rollback(delta)


# --- who is unknown -------------------------------------------------------------------------------------------------


@each_form
def test_unknown_ids_stand_at_the_prior_everywhere(biases: bool) -> None:
    model = fitted(biases=biases)
    users, items = side_of(model, "users"), side_of(model, "items")
    expected = model.global_mean + users.prior_mean[:-1] @ items.prior_mean[:-1]
    expected += users.prior_mean[-1] + items.prior_mean[-1]
    assert model.predict([-1], [-1], clip=False) == pytest.approx([expected], abs=1e-5)
    for pair in ((-1, -1), (-1, 5), (3, -1), (3, 5)):
        assert model.predict_one(*pair) == model.predict([pair[0]], [pair[1]])[0]
    ids, scores = model.recommend([-1, 3], k=30, exclude_seen=False)
    np.testing.assert_allclose(scores[0], model.predict(np.full(30, -1), ids[0], clip=False), atol=1e-5)
    np.testing.assert_allclose(scores[1], model.predict(np.full(30, 3), ids[1], clip=False), atol=1e-5)
    nobody = model.fold_in(Interactions(["visitor"], [-5], [4.0]), k=30)
    np.testing.assert_array_equal(nobody.ids[0], ids[0])
    np.testing.assert_allclose(nobody.scores[0], scores[0], atol=1e-5)


def test_a_visitor_is_solved_against_the_prior() -> None:
    model = fitted()
    session = Interactions([0, 0, 0, 7, 7], [3, 4, 4, 5, 8], [5, 4, 3, 1, 2], weights=[1, 1, 2, 0.5, 1])
    users, items = side_of(model, "users"), side_of(model, "items")
    start = users._replace(means=np.zeros((2, 6)), variances=np.zeros((2, 6)), noise=np.ones((2, 3)))
    log = log_of(model, session)._replace(own=np.array([0, 0, 0, 1, 1]))
    noise = float(model._state.groups["priors"].noise)
    solved, _ = plain.solve_side(start, items, log, noise)
    ids, scores = model.fold_in(session, k=30, exclude_seen=False)
    rows = items.means[model.items.rows(ids.ravel())].reshape(2, 30, 6)
    expected = (rows[:, :, :-1] * solved.means[:, None, :-1]).sum(axis=2) + rows[:, :, -1] + solved.means[:, -1:]
    np.testing.assert_allclose(scores, expected + model.global_mean, atol=1e-3)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knob",
    [{"rate": 0.1}, {"batch_size": 2}, {"history_epochs": 1}, {"epochs": 2}, {"loss": losses.Squared()}],
    ids=str,
)
def test_a_knob_without_use_is_refused_with_a_hint(knob: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Variational: .* solver=optimizers.AdaGrad\(\)"):
        fitted().update(batch(), **knob)


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="no use for a regularizer"):
        believer(regularizer=regularizers.L2(3.0))
    for loss in (losses.Logistic(negatives=2), losses.Poisson(), losses.BPR(), losses.Confidence()):
        with pytest.raises(ValueError, match="Variational is for losses of labels"):
            believer(loss=loss)
    with pytest.raises(ValueError, match="batch_size"):
        believer().fit(ratings(), batch_size=8)
    with pytest.raises(DataError):
        fitted().update(Interactions([1], [1], [2]), half_life=3)


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3))
@settings(max_examples=15)
def test_a_fit_scales_with_its_values(seed: int, scale: float) -> None:
    events = ratings(200, 12, 9, seed)
    larger = Interactions(events.users, events.items, events.values * scale, weights=events.weights)
    one, other = believer().fit(events, epochs=6), believer().fit(larger, epochs=6)
    asked = events.users[:40], events.items[:40]
    np.testing.assert_allclose(other.predict(*asked) / scale, one.predict(*asked), atol=0.02)


# --- how sure ------------------------------------------------------------------------------------------------------


@each_form
def test_an_interval_is_the_normal_one_of_plain_numpy(biases: bool) -> None:
    model = fitted(biases=biases)
    rng = np.random.default_rng(0)
    asked = rng.integers(-2, 40, 50), rng.integers(-2, 30, 50)
    mean, low, high = model.predict(*asked, clip=False, interval=0.9)
    sides = []
    for name, ids in zip(("users", "items"), asked, strict=True):
        side, table = side_of(model, name), getattr(model, name)
        rows = table.rows(ids)
        variance = np.diag(side.prior) * (np.arange(6) < 5 + biases)
        sides.append(
            (
                np.where(rows[:, None] >= 0, side.means[rows], side.prior_mean),
                np.where(rows[:, None] >= 0, side.variances[rows], variance),
            )
        )
    (p, s), (q, t) = sides
    doubt = (s * q**2 + t * p**2 + s * t)[:, :-1].sum(axis=1) + s[:, -1] + t[:, -1]
    factors = np.append(side_of(model, "users").noise[:, 0], 1.0)[model.users.rows(asked[0])]
    doubt += factors * float(model._state.groups["priors"].noise)
    np.testing.assert_array_equal(mean, model.predict(*asked, clip=False))
    np.testing.assert_allclose(high - mean, 1.6448536 * np.sqrt(doubt), rtol=1e-4)
    np.testing.assert_allclose(mean - low, high - mean, rtol=1e-4)
    clipped = model.predict(*asked, interval=0.9)
    assert all(one.min() >= model._state.seen[0] and one.max() <= model._state.seen[1] for one in clipped)


def test_intervals_cover_what_they_say() -> None:
    events = ratings(4000)
    model = believer().fit(events[:3000])
    _, low, high = model.predict(events[3000:].users, events[3000:].items, clip=False, interval=0.8)
    weights = events[3000:].weights
    assert weights is not None
    inside = (low <= events[3000:].values) & (events[3000:].values <= high)
    assert 0.76 < inside.mean() < 0.86


def labels(seed: int = 0) -> Interactions:
    events = ratings(seed=seed)
    return Interactions(events.users, events.items, (events.values > 3).astype(float))


@each_form
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_probability_is_the_mean_over_what_the_score_may_be(biases: bool, storage: str) -> None:
    model = believer(loss=losses.Logistic(), biases=biases, options=Options(storage=storage)).fit(labels())
    users, items = side_of(model, "users"), side_of(model, "items")
    asked = model.users.values[:30], model.items.values[:30]
    x, z = users.means[:30], plain.design(items.means[:30], True)
    scores = (x * z).sum(axis=1) + items.means[:30, -1] + model.global_mean
    variances = (users.variances[:30] * z**2).sum(axis=1) + items.variances[:30, -1]
    variances += (items.variances[:30] * (x**2 + users.variances[:30]))[:, :-1].sum(axis=1)
    mean, low, high = model.predict(*asked, interval=0.5)
    np.testing.assert_allclose(mean, 1 / (1 + np.exp(-scores / np.sqrt(1 + np.pi / 8 * variances))), atol=1e-5)
    np.testing.assert_allclose(low, 1 / (1 + np.exp(0.6744898 * np.sqrt(variances) - scores)), atol=1e-5)
    np.testing.assert_allclose(high, 1 / (1 + np.exp(-0.6744898 * np.sqrt(variances) - scores)), atol=1e-5)
    np.testing.assert_array_equal(mean, model.predict(*asked))
    pairs = [(1, 1), (-1, 1), (1, -1), (-1, -1)]
    assert [model.predict_one(*pair) for pair in pairs] == model.predict(*zip(*pairs, strict=True)).tolist()


@pytest.mark.parametrize("loss", [losses.Huber(0.5), losses.StudentT(), losses.Logistic()], ids=str)
def test_other_losses_learn_too(loss: Any) -> None:
    events = (
        labels()
        if isinstance(loss, losses.Logistic)
        else Interactions(ratings().users, ratings().items, ratings().values)
    )
    train, test = events[:1200], events[1200:]
    model = believer(loss=loss).fit(train[:900])
    fitted_alone = measured(model, test)
    usual = MF(5, loss=loss, solver=optimizers.AdaGrad()).fit(train[:900])
    assert fitted_alone < measured(usual, test)
    model.update(train[900:])
    assert measured(model, test) < fitted_alone
    one = believer(loss=loss).fit(train[:900])
    for user, item, value in zip(train.users[900:], train.items[900:], train.values[900:], strict=True):
        one.learn_one(int(user), int(item), float(value))
    one.flush()
    np.testing.assert_allclose(one.predict(test.users, test.items), model.predict(test.users, test.items), atol=1e-5)
    assert one.fold_in(Interactions([0, 0], [1, 2], [1, 0]), k=3).ids.shape == (1, 3)


def measured(model: MF, events: Interactions) -> float:
    """The mean loss, of labels the log loss."""
    predicted = model.predict(events.users, events.items, clip=False)
    if isinstance(model.loss, losses.Logistic):
        return float(-np.mean(np.log(np.where(events.values > 0, predicted, 1 - predicted))))
    return float(np.mean([model.loss.value(one, other) for one, other in zip(predicted, events.values, strict=True)]))


@pytest.mark.parametrize("interval", [0, 1, 1.5, -0.1, "0.9", np.nan, True])
def test_an_interval_that_is_no_probability_is_refused(interval: Any) -> None:
    with pytest.raises(ValueError, match="interval must be"):
        fitted().predict([1], [2], interval=interval)


def test_an_interval_needs_beliefs() -> None:
    model = MF(5, solver=optimizers.AdaGrad()).fit(ratings(200), epochs=1)
    with pytest.raises(ValueError, match="interval needs solver"):
        model.predict([1], [2], interval=0.9)


def test_a_warm_refit_goes_on_from_what_was_learned() -> None:
    model = believer().fit(ratings())
    settled = model.history_[-1]["loss"]
    cold = model.copy().refit(epochs=1).history_[-1]["loss"]
    model.update(batch())
    warm = model.refit(epochs=1, warm=True).history_[-1]["loss"]
    assert abs(warm - settled) < 0.3 * abs(cold - settled)


def test_order_by_user_is_a_pass_in_that_order() -> None:
    one, other = fitted(), fitted()
    new = batch()
    met = {user: place for place, user in reversed(list(enumerate(new.users.tolist())))}  # users by first events
    by_user = np.argsort([met[user] for user in new.users.tolist()], kind="stable")
    one.update(new, order="user")
    other.update(new[by_user])
    asked = new.users, new.items
    np.testing.assert_array_equal(one.predict(*asked), other.predict(*asked))


def test_a_model_that_begins_with_updates_does_not_learn_noise() -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 300, 6_000), rng.integers(0, 100, 6_000)
    values = 3.5 + 0.4 * rng.normal(size=300)[users] + 0.4 * rng.normal(size=100)[items] + rng.normal(size=6_000)
    model, errors = MF(factors=8), []
    for begin in range(0, 6_000, 60):
        batch = Interactions(users[begin : begin + 60], items[begin : begin + 60], values=values[begin : begin + 60])
        if begin >= 3_000:
            errors.append(model.predict(batch.users, batch.items, clip=False) - batch.values)
        model.update(batch)
    assert np.std(np.concatenate(errors)) < 1.08  # the noise has 1; 1.126 if factors begin as wide as those of a fit
