"""Alternating least squares: kernels against plain NumPy, then fits, updates and single events against exact solves."""

from __future__ import annotations

import itertools
from typing import Any

import naive_als
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same, bits, content

from fastmf import MF, Interactions, Options, load, losses, optimizers, regularizers
from fastmf.devices.cpu.solve import correct, gram_of, solve
from fastmf.equations import Equations, Run
from fastmf.errors import DataError, DivergenceError
from fastmf.followers.grams import Grams
from fastmf.kernels.core.shape import Shape
from fastmf.memory import aligned
from fastmf.parameters.moves import Image

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

METHODS = ("cholesky", "cg", "eals")
EXACT = {"cholesky": optimizers.ALS("cholesky"), "cg": optimizers.ALS("cg", 60), "eals": optimizers.ALS("eals", 400)}
each_method = pytest.mark.parametrize("method", METHODS)


def a_table(rows: int, size: int, seed: int, spread: float = 0.3) -> Image:
    table, rng = aligned(rows, -(-size // 16) * 16), np.random.default_rng(seed)
    table[:] = 0
    table[:, :size] = rng.normal(0, spread, (rows, size))
    return Image((table, np.column_stack([rng.normal(0, spread, rows), np.zeros(rows)]).astype(np.float32)))


def a_system(size: int, explicit: bool, biases: bool, seed: int = 0) -> tuple[Any, ...]:
    """Five rows with 0, 1, 3, 18 and 200 events over thirty rows of the other side."""
    rng, counts = np.random.default_rng(seed), np.array([0, 1, 3, 18, 200])
    own, other = a_table(7, size, seed + 1), a_table(30, size, seed + 2)
    if not (explicit and biases):
        own.records[:, 0] = other.records[:, 0] = 0
    total = counts.sum()
    targets = rng.normal(3, 1, total).astype(np.float32) if explicit else None
    equations = Equations(
        np.array([4, 1, 6, 0, 3], np.int32),
        np.concatenate([[0], np.cumsum(counts)]),
        rng.integers(0, 30, total).astype(np.int32),
        rng.random(total).astype(np.float32),
        targets,
        rng.random(5).astype(np.float32),
        (0.1 + rng.random(5)).astype(np.float32),
    )
    shape = Shape(size, own.factors.shape[1], 1, biases)
    missed = None if explicit else gram_of(shape, other.factors)
    return shape, own, other, equations, missed


def problems(shape: Shape, other: Image, equations: Equations, missed: Any, mean: float) -> list[naive_als.Problem]:
    """The same rows for plain NumPy; with biases, the last coordinate is the row's bias."""
    found = []
    biased = equations.targets is not None and shape.biases
    for n, (first, last) in enumerate(itertools.pairwise(equations.bounds)):
        met = equations.others[first:last]
        vectors = other.factors[met, : shape.size].astype(np.float64)
        targets, base = np.ones(met.size), np.zeros((shape.size + biased,) * 2)
        if equations.targets is not None:
            targets = equations.targets[first:last].astype(np.float64) - mean - other.records[met, 0]
        else:
            whole = missed + np.triu(missed, 1).T
            base = float(equations.missing[n]) * whole[: shape.size, : shape.size]
        if biased:
            vectors = np.column_stack([vectors, np.ones(met.size)])
        weights = equations.weights[first:last].astype(np.float64)
        found.append(naive_als.Problem(vectors, weights, targets, base, float(equations.penalties[n])))
    return found


def rows_of(shape: Shape, own: Image, numbers: np.ndarray, biased: bool) -> np.ndarray:
    vectors = own.factors[numbers, : shape.size].astype(np.float64)
    return np.column_stack([vectors, own.records[numbers, 0]]) if biased else vectors


# Most kernels are shared with the models below; one has rows of several vectors, the last of them padded.
FORMS = [*((method, 8, both, both) for method in METHODS for both in (False, True)), ("cg", 33, False, False)]
OTHER_FORMS = [("cholesky", 33, False, False), ("eals", 33, False, False), *((one, 16, True, False) for one in METHODS)]


@pytest.mark.parametrize(
    ("method", "size", "explicit", "biases"),
    [*FORMS, *(pytest.param(*form, marks=pytest.mark.slow) for form in OTHER_FORMS)],
)
def test_rows_equal_plain_numpy(method: str, size: int, explicit: bool, biases: bool) -> None:
    shape, own, other, equations, missed = a_system(size, explicit, biases)
    mean, biased, steps = 3.0 if explicit else 0.0, explicit and biases, 2
    before = rows_of(shape, own, equations.numbers, biased)
    untouched = own.factors.copy(), own.records.copy()
    lost = solve(shape, (own, other), equations, missed, Run(optimizers.ALS(method, steps), np.float32(mean)))
    after = rows_of(shape, own, equations.numbers, biased)
    expected, losses_before = [], 0.0
    for row, problem in zip(before, problems(shape, other, equations, missed, mean), strict=True):
        if not len(problem.met):  # nothing is known of a row without events
            expected.append(row)
            continue
        losses_before += float(problem.weights @ (problem.targets - problem.met @ row) ** 2)
        if method == "cholesky":
            expected.append(naive_als.solved(problem))
        elif method == "cg":
            expected.append(naive_als.conjugate_gradients(problem, row, steps))
        else:
            expected.append(naive_als.coordinates(problem, row, steps, list(range(row.size))))
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5)
    assert lost == pytest.approx(losses_before, rel=1e-4)
    others = np.setdiff1d(np.arange(7), equations.numbers)
    np.testing.assert_array_equal(own.factors[others], untouched[0][others])
    np.testing.assert_array_equal(own.records[others], untouched[1][others])
    assert not own.factors[:, size:].any()  # padding


@each_method
def test_every_method_comes_to_the_exact_solution(method: str) -> None:
    shape, own, other, equations, missed = a_system(8, False, False, seed=9)
    solve(shape, (own, other), equations, missed, Run(EXACT[method], np.float32(0)))
    found = own.factors[equations.numbers, :8].astype(np.float64)
    for row, problem in zip(found, problems(shape, other, equations, missed, 0.0), strict=True):
        if len(problem.met):
            exact = naive_als.solved(problem)
            assert np.abs(row - exact).max() <= 1e-4 * np.abs(exact).max()


@each_method
def test_rows_so_small_that_their_squares_are_zero_stay_finite(method: str) -> None:
    """What is left of start vectors where all ratings are the mean."""
    for scale in 10.0 ** -np.arange(14, 30):
        shape, own, other, equations, _ = a_system(8, explicit=True, biases=True)
        equations = equations._replace(
            targets=np.full_like(equations.targets, 3), penalties=np.full(5, 0.3, np.float32)
        )
        for table in (own, other):
            table.factors[:] *= np.float32(scale)
            table.records[:, 0] *= np.float32(scale)
        other.records[:, 0] = 0
        solve(shape, (own, other), equations, None, Run(optimizers.ALS(method, 60), np.float32(3)))
        assert np.abs(own.factors).max() < 1e-12
        assert np.abs(own.records[:, 0]).max() < 1e-12


@pytest.mark.parametrize(
    "method", ["cg", *(pytest.param(method, marks=pytest.mark.slow) for method in ("cholesky", "eals"))]
)
def test_any_number_of_threads_gives_the_same_bits(method: str) -> None:
    answers = []
    for threads in (1, 2):
        shape, own, other, equations, missed = a_system(16, False, False)
        solve(shape, (own, other), equations, missed, Run(optimizers.ALS(method), np.float32(0), threads))
        answers.append(own.factors.tobytes())
        answers.append(gram_of(shape, other.factors, None, threads).tobytes())
    assert answers[:2] == answers[2:]


@pytest.mark.parametrize(("explicit", "biases"), [(False, False), (True, True)])
def test_a_step_sees_fresh_events_and_all_that_has_moved(explicit: bool, biases: bool) -> None:
    """From the minimum before, with the whole past at hand, it comes to the minimum after."""
    shape, own, old, equations, missed = a_system(5, explicit, biases, seed=3)
    mean, fresh, biased = 3.0 if explicit else 0.0, np.array([0, 0, 1, 3, 9], np.int32), explicit and biases
    before = equations._replace(penalties=equations.penalties * np.float32(0.7))
    keep = np.concatenate(
        [np.arange(a, b - f) for a, b, f in zip(equations.bounds[:-1], equations.bounds[1:], fresh, strict=True)]
    )
    bounds = np.concatenate([[0], np.cumsum(np.diff(equations.bounds) - fresh)])
    columns = (None if column is None else column[keep] for column in equations[2:5])
    past = before._replace(bounds=bounds, **dict(zip(("others", "weights", "targets"), columns, strict=True)))
    solve(shape, (own, old), past, missed, Run(EXACT["cholesky"], np.float32(mean)))
    now, moved = old.copy(), 12
    now.factors[:moved, :5] += np.random.default_rng(0).normal(0, 0.2, (moved, 5)).astype(np.float32)
    if biased:
        now.records[:moved, 0] += np.float32(0.3)
    missed_now = None if explicit else gram_of(shape, now.factors)
    gram_change = None if missed is None else missed_now - missed
    run = Run(EXACT["cholesky"], np.float32(mean), 1, gram_change, old.head(moved))
    step = equations._replace(fresh=fresh, grown=equations.penalties - before.penalties)
    solve(shape, (own, now), step, missed_now, run)
    after = rows_of(shape, own, equations.numbers, biased)
    for row, problem in zip(after, problems(shape, now, equations, missed_now, mean), strict=True):
        if len(problem.met) > 1:
            np.testing.assert_allclose(row, naive_als.solved(problem), atol=2e-3)


# --- Gram matrices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 16, 117])
def test_a_gram_matrix_is_that_of_numpy(count: int) -> None:
    table, shares = a_table(117, 21, 3).factors[:count], np.random.default_rng(0).random(count)
    vectors = table[:, :21].astype(np.float64)
    shape = Shape(21, 32, 1, False)
    np.testing.assert_allclose(gram_of(shape, table)[:21, :21], np.triu(vectors.T @ vectors), atol=1e-12)
    weighed = np.triu((vectors * shares[:, None]).T @ vectors)
    np.testing.assert_allclose(gram_of(shape, table, shares)[:21, :21], weighed, atol=1e-12)


def test_a_million_corrections_leave_a_gram_matrix_right() -> None:
    rows, shape = a_table(1_000, 16, 0), Shape(16, 16, 1, False)
    kept, rng = gram_of(shape, rows.factors), np.random.default_rng(1)
    for _ in range(1_000):
        moved, ones = rng.permutation(1_000)[:500].astype(np.int32), np.ones(500)
        correct(shape, rows.factors, moved, ones, -1.0, kept)
        rows.factors[moved] = rng.normal(0, 0.3, (500, 16))
        correct(shape, rows.factors, moved, ones, 1.0, kept)
    anew = gram_of(shape, rows.factors)
    assert np.abs(kept - anew).max() <= 1e-9 * np.abs(anew).max()


# --- fits and updates -----------------------------------------------------------------------------------------------

USERS, ITEMS = 60, 40


def purchases(count: int = 900, seed: int = 0, **columns: Any) -> Interactions:
    rng = np.random.default_rng(seed)
    users = rng.integers(0, USERS, count)
    items = (users % 4 * 10 + rng.zipf(1.5, count)) % ITEMS  # four groups with tastes of their own
    return Interactions(users, items, **columns)


CASES = {
    "all-pairs": (losses.Confidence(alpha=2.0, unobserved=0.3), False),
    "popularity": (losses.Confidence(popularity=0.5), False),
    "ratings": (losses.Squared(), True),
}
each_case = pytest.mark.parametrize("case", CASES)
# Kernels are compiled for each method and kind: those that share a kernel, and one of each of the others.
each_kind = pytest.mark.parametrize(
    ("case", "method"),
    [*(("all-pairs", method) for method in METHODS), *((case, "cholesky") for case in list(CASES)[1:])],
)


def a_model(case: str, method: str = "cholesky", events: Interactions | None = None, **settings: Any) -> MF:
    loss, biases = CASES[case]
    if events is None:
        events = some_of(case)
    settings = {"priors": {}} | settings
    model = MF(8, loss, EXACT[method], regularizers.L2(0.1), biases, **settings)
    return model.fit(events, epochs=6, progress=False)


def some_of(case: str, count: int = 900, seed: int = 0) -> Interactions:
    rng = np.random.default_rng(seed + 7)
    if case.startswith("ratings"):
        return purchases(count, seed, values=rng.integers(1, 6, count), weights=rng.random(count) + 0.5)
    return purchases(count, seed, values=rng.integers(1, 3, count), weights=rng.random(count) + 0.5)


def tables(model: MF) -> naive_als.Tables:
    numbers = (model.user_factors, model.item_factors, model.user_biases, model.item_biases)
    return naive_als.Tables(*(array.astype(np.float64) for array in numbers), model.global_mean)


def log_of(model: MF) -> naive_als.Log:
    events = model._state.history.events.weighed()
    return naive_als.Log(
        events.users, events.items, events.values.astype(np.float64), events.weights.astype(np.float64)
    )


def exact_row(model: MF, side: str, row: int, fixed: naive_als.Tables) -> np.ndarray:
    """What a row must be, given the other side; from the model's whole history."""
    loss, log = model.loss, log_of(model)
    if isinstance(loss, losses.Confidence):
        settings = naive_als.Confidence(*loss, model.regularizer.weight, model.solver.nu)
        return naive_als.implicit_row(side, row, fixed, log, settings)
    return naive_als.explicit_row(side, row, fixed, log, model.regularizer.weight, model.solver.nu, model.biases)


def row_of(model: MF, side: str, row: int) -> np.ndarray:
    now = tables(model)
    vectors, biases = (now.users, now.user_biases) if side == "users" else (now.items, now.item_biases)
    explicit = isinstance(model.loss, losses.Squared)
    return np.append(vectors[row], biases[row]) if explicit and model.biases else vectors[row]


def close(found: np.ndarray, exact: np.ndarray, tolerance: float = 1e-4) -> bool:
    return bool(np.abs(found - exact).max() <= tolerance * max(np.abs(exact).max(), 1e-3))


@each_case
def test_after_a_fit_every_item_is_at_its_minimum(case: str) -> None:
    """Items are solved last."""
    model = a_model(case)
    for row in range(len(model.items)):
        assert close(row_of(model, "items", row), exact_row(model, "items", row, tables(model)))


@each_kind
def test_an_update_solves_the_rows_it_names_from_their_whole_history(case: str, method: str) -> None:
    model = a_model(case, method)
    before, batch = tables(model), some_of(case, 40, seed=1)
    batch = Interactions([*batch.users, 1_000], [*batch.items, 1_000], [*batch.values, 1])
    kept = {side: model._state.side(side).table for side in ("users", "items")}
    factors = {side: table.factors[: table.count].copy() for side, table in kept.items()}
    delta = model.update(batch, epochs=1)
    now = tables(model)
    for side in ("users", "items"):
        rows = delta.moves[side].rows
        assert set(rows.tolist()) == set(getattr(delta.log, side).tolist())
        untouched = np.setdiff1d(np.arange(len(factors[side])), rows)
        table = model._state.side(side).table.factors
        assert table[untouched].tobytes() == factors[side][untouched].tobytes()
    for row in delta.moves["items"].rows:
        assert close(row_of(model, "items", row), exact_row(model, "items", row, now), 2e-4)
    if case != "popularity":  # there, shares have changed since
        known = before._replace(
            items=np.vstack([before.items, delta.moves["items"].before.factors[-1:, :8]]),
            item_biases=np.append(before.item_biases, 0.0),
        )
        named = {int(row) for row in delta.moves["users"].rows} - {len(before.users)}
        for row in named:
            exact = exact_row(model, "users", row, known)
            assert close(row_of(model, "users", row), exact, 0.02 if case == "all-pairs" else 2e-4)


@each_case
def test_undo_copies_and_files_hold_every_bit(case: str, tmp_path: Any) -> None:
    model = a_model(case)
    first, replica = content(model), model.copy()
    deltas = [model.update(some_of(case, 30, seed)) for seed in (1, 2)]
    deltas.append(model.update(Interactions([777], [888], [1])))
    for delta in deltas:
        replica.apply(delta)
    assert_same(bits(model), bits(replica))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same(bits(model), bits(again))
    more = some_of(case, 25, seed=3)
    for one in (model, replica, again):
        one.update(more)
    assert_same(bits(model), bits(replica))
    assert_same(bits(model), bits(again))
    model.rollback(to=0)
    assert_same(content(model), first)


@each_case
@given(st.lists(st.tuples(st.integers(0, USERS + 3), st.integers(0, ITEMS + 3)), min_size=1, max_size=12))
def test_gram_matrices_follow_any_update(case: str, pairs: list[tuple[int, int]]) -> None:
    model = a_model(case) if case not in _KEPT else _KEPT[case].copy()
    _KEPT.setdefault(case, model.copy())
    model.update(Interactions(*zip(*pairs, strict=True)), trainable="users" if len(pairs) % 2 else "both")
    state = model._state
    assert bool(state.grams.kept) == (case in ("all-pairs", "popularity"))
    for side, kept in state.grams.kept.items():
        anew = Grams().of(side, state, kept.form)
        np.testing.assert_allclose(kept.matrix, anew.matrix, atol=1e-10)
        assert kept.shares == pytest.approx(anew.shares)


_KEPT: dict[str, MF] = {}


@each_kind
def test_a_single_event_is_an_update_of_one(case: str, method: str) -> None:
    model = a_model(case, method)
    model.learn_one(5, 7, 2.0)
    for side, row in (("users", model.users.rows(np.array([5]))[0]), ("items", model.items.rows(np.array([7]))[0])):
        if side == "items":
            assert close(row_of(model, side, int(row)), exact_row(model, side, int(row), tables(model)), 2e-4)
    other = a_model(case, method)
    other.update(Interactions([5], [7], [2.0]), epochs=1)
    delta = model.flush()
    assert delta.events == 1
    for side in ("users", "items"):
        assert delta.moves[side].rows.size == 1
    np.testing.assert_allclose(model.user_factors, other.user_factors, atol=2e-3)
    np.testing.assert_allclose(model.item_factors, other.item_factors, atol=2e-3)


@each_case
def test_single_events_can_be_undone_and_repeated(case: str) -> None:
    model = a_model(case)
    first, replica = content(model), model.copy()
    for user, item in ((5, 7), (5, 8), (1_000, 7), (6, 1_000), (1_000, 1_000)):
        model.learn_one(user, item, 1.0)
    delta = model.flush()
    replica.apply(delta)
    assert_same(bits(model), bits(replica))
    model.rollback(delta)
    assert_same(content(model), first)


def test_an_event_that_cannot_be_learned_changes_nothing() -> None:
    model = a_model("all-pairs", options=Options(storage="float16"))
    model.learn_one(5, 7)
    model.flush()
    first = content(model)
    with pytest.raises(DataError, match="-1"):
        model.learn_one(5, 7, -1.0)
    model.predict_one(5, 7)
    assert_same(content(model), first)


# --- what an update is for ------------------------------------------------------------------------------------------


@each_method
def test_a_new_event_leaves_the_old_taste(method: str) -> None:
    """Handing a solver the new event alone would bring the scores of what a user liked to a fraction."""
    model = a_model("all-pairs", method, events=purchases())
    user = 8
    liked = np.unique(purchases().items[purchases().users == user])
    before = model.predict(np.full(liked.size, user), liked).sum()
    model.update(Interactions([user], [39]))
    assert model.predict(np.full(liked.size, user), liked).sum() > 0.9 * before


def test_a_row_with_a_long_past_takes_a_step_that_is_nearly_exact() -> None:
    """Its error is small beside the change that the event brings, though it reads a fraction of the past."""
    rng = np.random.default_rng(0)
    users, items = np.zeros(20_000, int), rng.integers(0, 400, 20_000)
    crowd = purchases(4_000, seed=3)
    events = Interactions([*users, *crowd.users + 1], [*items, *crowd.items])
    exact = MF(16, losses.Confidence(), optimizers.ALS("cholesky", max_history=100_000), priors={})
    short = MF(16, losses.Confidence(), optimizers.ALS("cholesky", max_history=500), priors={})
    for model in (exact, short):
        model.fit(events, 8, progress=False)
    state = exact._state
    assert short.user_factors.tobytes() == exact.user_factors.tobytes()
    for model in (exact, short):
        model.update(Interactions([0], [7]), trainable="users", epochs=1)  # settles the row against the items
    before = exact.user_factors[0].copy()
    batch = Interactions([0] * 30, [7] * 30)
    short._state.users.table.factors[0] = exact._state.users.table.factors[0]
    short._state.grams.kept.clear()
    for model in (exact, short):
        model.update(batch, trainable="users", epochs=1)
    change = np.linalg.norm(exact.user_factors[0] - before)
    assert np.linalg.norm(short.user_factors[0] - exact.user_factors[0]) < 0.2 * change
    assert state.history.counts("users", np.array([0]))[0] == 20_031


def test_long_rows_follow_users_that_moved() -> None:
    """An update moves most users of some items: their steps on what is new alone would be far from the exact change."""
    found, batch = {}, purchases(1_000, seed=4)
    for most in (100_000, 80):
        solver = optimizers.ALS("cholesky", max_history=most)
        model = MF(8, losses.Confidence(), solver, priors={})
        model.fit(purchases(12_000, seed=3), epochs=20, progress=False)
        before = model.item_factors.copy()
        model.update(batch)
        found[most] = model.item_factors.copy()
    exact, near = found.values()
    assert np.linalg.norm(near - exact) < 0.5 * np.linalg.norm(exact - before)


@pytest.mark.parametrize("recipe", [{}, {"half_life": 1e12}, {"loss": losses.Confidence(exposure=0, alpha=1.5)}])
def test_rows_that_grow_little_take_a_step_unless_their_past_weighs_otherwise(recipe: dict[str, Any]) -> None:
    events = purchases(12_000, seed=3)
    events = Interactions(events.users, events.items, events.values, times=np.arange(len(events)))
    model = MF(8, losses.Confidence(exposure=0), optimizers.ALS("cholesky"), priors={})
    model.fit(events, epochs=30, progress=False)
    before = model.item_factors.copy()
    counts = model._state.history.counts("items", np.arange(len(before)))
    row = int(np.argmin(np.where((counts > 128) & (counts % 8 < 4), counts, 10**9)))
    batch = Interactions([3] * 4, model.items.values[[row] * 4], times=[len(events)] * 4)
    model.update(batch, trainable="items", **recipe)
    loss = recipe.get("loss", model.loss)
    settings = naive_als.Confidence(*loss, model.regularizer.weight, model.solver.nu)
    exact = naive_als.implicit_row("items", row, tables(model), log_of(model), settings)
    off = np.abs(model.item_factors[row] - exact).max() / np.abs(exact - before[row]).max()
    assert off < 1e-3 if recipe else 1e-3 < off < 0.3, off


@pytest.mark.parametrize("new", [True, False])
def test_users_of_an_update_come_near_their_minimum_in_one_pass(new: bool) -> None:
    """A user's start, or what it was, may be far from what its new events make of it."""
    model = MF(8, losses.Confidence(), optimizers.ALS(steps=1), priors={}).fit(purchases(), epochs=15, progress=False)
    user = 1_000 if new else 5
    model.update(Interactions([user] * 20, np.arange(20)), trainable="users")
    row = int(model.users.rows(np.array([user]))[0])
    assert close(row_of(model, "users", row), exact_row(model, "users", row, tables(model)), 0.02)


def test_rows_are_solved_once_unless_more_is_asked_for() -> None:
    models = [a_model("all-pairs") for _ in range(3)]
    for model, settings in zip(models, ({}, {"epochs": 1}, {"epochs": 2}), strict=True):
        model.update(purchases(20, seed=1), **settings)
    assert_same(content(models[0]), content(models[1]))
    assert np.abs(models[2].item_factors - models[0].item_factors).max() > 1e-5


# --- the door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": losses.Confidence(), "solver": optimizers.AdaGrad()}, "Confidence needs solver=optimizers.ALS"),
        ({"loss": losses.Logistic(), "solver": optimizers.ALS()}, "quadratic, Squared and Confidence, not Logistic"),
        ({"solver": optimizers.ALS(), "regularizer": regularizers.L2(0.0)}, "needs a regularizer L2 with a weight > 0"),
        ({"solver": optimizers.ALS("qr")}, 'ALS.method must be "cg", "cholesky" or "eals"'),
        ({"solver": optimizers.ALS(steps=0)}, "ALS.steps must be an integer from 1 to 2147483647, got 0"),
        ({"solver": optimizers.ALS(max_history=0)}, "ALS.max_history must be an integer from 1 to 16777216, got 0"),
        ({"solver": optimizers.ALS(nu=-1.0)}, "ALS.nu must be a finite"),
        ({"loss": losses.Confidence(alpha=0.0), "solver": optimizers.ALS()}, "Confidence.alpha must be"),
        ({"loss": losses.Confidence(unobserved=0.0), "solver": optimizers.ALS()}, "Confidence.unobserved must be"),
        ({"loss": losses.Confidence(popularity=-1.0), "solver": optimizers.ALS()}, "Confidence.popularity must be"),
        ({"loss": losses.Confidence(popularity=1.5), "solver": optimizers.ALS()}, "popularity must be from 0 to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MF(**settings)


def test_knobs_of_steps_are_refused() -> None:
    model = a_model("all-pairs")
    first = content(model)
    knobs = {"rate": 0.1, "batch_size": 1, "history_epochs": 1, "max_history": 20, "history_rate": 0.5, "order": "user"}
    for knob, setting in knobs.items():
        with pytest.raises(ValueError, match=f"Update.{knob} means nothing to ALS: it solves whole rows"):
            model.update(purchases(20), **{knob: setting})
    with pytest.raises(ValueError, match="quadratic"):
        model.update(purchases(20), loss=losses.Logistic())
    with pytest.raises(ValueError, match="batch_size"):
        MF(8, losses.Confidence(), optimizers.ALS()).fit(purchases(), batch_size=2)
    assert_same(content(model), first)


def test_a_value_below_zero_is_refused() -> None:
    with pytest.raises(DataError, match=r"values, row 1: -1.0 is outside \[0, inf\], the labels of Confidence"):
        MF(8, losses.Confidence(), optimizers.ALS()).fit(Interactions([1, 2], [3, 4], [1, -1]))


def test_events_that_all_weigh_nothing_leave_zero() -> None:
    model = MF(8, losses.Confidence(), optimizers.ALS("cholesky"), priors={})
    model.fit(purchases(), epochs=2, progress=False).update(Interactions([999], [5], values=[0.0]))
    assert np.isfinite(model.user_factors).all()
    assert abs(model.predict([999], [5])[0]) < 1e-3


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_numbers_too_large_change_nothing() -> None:
    model = a_model("ratings")
    first = content(model)
    with pytest.raises(DivergenceError):
        model.update(Interactions([1], [2], values=[3e38], weights=[3e38]))
    assert_same(content(model), first)


def test_scores_are_not_clipped_to_the_values_seen() -> None:
    model = a_model("all-pairs", events=purchases())
    assert model.predict([1], [1])[0] == model.predict([1], [1], clip=False)[0]
    assert model.predict_one(1, 1) == model.predict_one(1, 1, clip=False)
    assert len(np.unique(model.predict(np.arange(20), np.arange(20)))) > 10


# --- what went wrong once -------------------------------------------------------------------------------------------


@each_case
def test_an_empty_batch_changes_nothing(case: str) -> None:
    model = a_model(case)
    first = content(model)
    delta = model.update(Interactions(np.empty(0, int), np.empty(0, int)))
    assert delta.events == delta.rows_moved == 0
    assert_same(content(model), first)


@each_case
def test_users_alone_are_solved_against_all_items_new_ones_included(case: str) -> None:
    model = a_model(case)
    batch = some_of(case, 30, seed=4)
    batch = Interactions([*batch.users, 7, 8], [*batch.items, 900, 901], [*batch.values, 1, 1])
    delta = model.update(batch, trainable="users", epochs=1)
    assert delta.moves["items"].rows.size == 0
    for row in delta.moves["users"].rows:
        assert close(row_of(model, "users", int(row)), exact_row(model, "users", int(row), tables(model)), 2e-4)


def test_a_sample_does_not_depend_on_how_the_past_is_laid_out() -> None:
    """A copy lays its whole past out anew."""
    solver = optimizers.ALS(max_history=10)
    model = MF(8, losses.Confidence(), solver).fit(purchases(), epochs=3, progress=False)
    for n, user in enumerate(np.random.default_rng(0).integers(0, USERS, 90).tolist()):
        if n % 3:
            model.update(Interactions([user], [777]))
        else:
            model.learn_one(user, 777)
        if n % 10 == 9:
            model.flush()
            copy, batch = model.copy(), Interactions([5, 6], [777, 3])
            copy.update(batch)
            model.update(batch)
            assert_same(content(copy), content(model))


@pytest.mark.parametrize("single", [True, False])
def test_long_streams_on_one_row_stay_near_the_exact_solution(single: bool) -> None:
    rng = np.random.default_rng(0)
    crowd, stream = purchases(3_000, seed=5), rng.permutation(USERS).tolist() * 4
    found = []
    for most in (100_000, 60):
        solver = optimizers.ALS("cholesky", max_history=most)
        model = MF(8, losses.Confidence(), solver).fit(crowd, epochs=10, progress=False)
        for first in range(0, len(stream), 10):
            part = stream[first : first + 10]
            if single:
                for user in part:
                    model.learn_one(user, 777)
            else:
                model.update(Interactions(part, [777] * len(part)), epochs=1)
        model.flush()
        found.append(model.item_factors[model.items.rows(np.array([777]))[0]].copy())
    exact, near = found
    assert np.linalg.norm(near - exact) < 0.1 * np.linalg.norm(exact)


def test_a_failed_update_leaves_the_gram_matrices() -> None:
    model = a_model("all-pairs")
    kept = {side: gram.copy() for side, gram in model._state.grams.kept.items()}
    with pytest.raises(DivergenceError):
        model.update(Interactions([1], [2], [3e38], weights=[3e38]), loss=losses.Confidence(popularity=0.5))
    model.update(purchases(20), loss=losses.Confidence(popularity=0.5), epochs=0)
    for side, gram in model._state.grams.kept.items():
        assert gram.power == kept[side].power == 0
        np.testing.assert_allclose(gram.matrix, kept[side].matrix, atol=1e-12)


def test_what_has_no_biases_takes_none() -> None:
    vectors = np.ones((2, 4))
    with pytest.raises(DataError, match="Confidence has no biases and no global_mean"):
        MF.from_factors(vectors, vectors, item_biases=[1, 2], loss=losses.Confidence(), solver=optimizers.ALS())
