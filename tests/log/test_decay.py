"""Time decay: weights that halve with every half-life, against weights that were multiplied beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    FACTORS,
    ITEMS,
    SOLVERS,
    USERS,
    assert_reads,
    assert_same,
    bits,
    content,
    once,
    some_events,
)

import fastmf
from fastmf import MF, Interactions, optimizers
from fastmf.errors import DataError
from fastmf.learners.decay import decayed
from fastmf.log.events import Events

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

LEARNED = [f"{side} {part}" for side in ("users", "items") for part in ("factors", "records", "variances")]


def timed(count: int = 400, seed: int = 0, weights: bool = True) -> Interactions:
    """Events with times in no order, and with weights."""
    rng = np.random.default_rng(seed)
    given_weights = rng.random(count) if weights else None
    return some_events(count, seed=seed, times=rng.integers(-50, 50, count), weights=given_weights)


def faded(weights: Any, times: Any, now: int, half_life: float) -> np.ndarray:
    """The weights of events, one by one."""
    pairs = zip(weights.tolist(), times.tolist(), strict=True)
    return np.array([weight * 0.5 ** ((now - time) / half_life) for weight, time in pairs], np.float32)


def beforehand(events: Interactions, now: int, half_life: float) -> Interactions:
    """The same events with their weights multiplied."""
    weights = np.ones(len(events)) if events.weights is None else events.weights
    return Interactions(
        events.users, events.items, events.values, events.times, faded(weights, events.times, now, half_life)
    )


def learned(model: MF) -> dict[str, Any]:
    return {name: part for name, part in bits(model).items() if name in LEARNED}


@pytest.fixture(scope="module", params=SOLVERS.values(), ids=SOLVERS)
def past(request: pytest.FixtureRequest) -> MF:
    return MF(factors=FACTORS, solver=request.param).fit(timed(), epochs=3)


# --------------------------------------------------------------------------------------------------- the weights


@given(
    times=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    half_life=st.floats(1e-300, 3e38) | st.integers(1, 2**70),
    later=st.integers(0, 10),
)
def test_a_weight_halves_with_every_half_life(times: list[int], half_life: float, later: int) -> None:
    now = min(max(times) + later, 2**63 - 1)
    rows, weights = np.zeros(len(times), np.int32), np.linspace(0, 3, len(times), dtype=np.float32)
    events = Events(rows, rows, weights, weights.copy(), np.array(times))
    found = decayed(events, now, half_life)
    with np.errstate(over="ignore"):
        ages = [np.float64(now - time) / half_life for time in times]
    np.testing.assert_allclose(found.weights, weights * np.exp2(-np.array(ages)), rtol=1e-6, atol=1e-38)
    assert found.weights.dtype == np.float32
    np.testing.assert_array_equal(events.weights, weights)
    assert found._replace(weights=weights) == events._replace(weights=weights)  # the very columns


# --------------------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize("weights", [True, False], ids=["weights", "no weights"])
@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        *((kind, schedule) for kind in SOLVERS for schedule in ({}, {"validation": 0.2})),
        ("steps", {"batch_size": 7}),
    ],
    ids=str,
)
def test_a_fit_equals_one_on_weights_multiplied_beforehand(weights: bool, kind: str, schedule: dict[str, Any]) -> None:
    events, settings = timed(weights=weights), {"factors": FACTORS, "solver": SOLVERS[kind]}
    model = MF(**settings).fit(events, epochs=4, half_life=30, **schedule)
    now = int(events.times.max())
    twin = MF(**settings).fit(beforehand(events, now, 30), epochs=4, **schedule)
    assert learned(model) == learned(twin)
    for one, other in zip(model.history_, twin.history_, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    plain = MF(**settings).fit(events, epochs=4, **schedule)
    assert learned(model) != learned(plain)
    np.testing.assert_array_equal(model._state.history.events.weights, plain._state.history.events.weights)


def test_recent_events_win() -> None:
    """Of a taste that turned, a model with a short half-life knows the new side."""
    users, items = (grid.ravel() for grid in np.mgrid[0:20, 0:10])
    old = Interactions(users, items, np.full(200, 1.0), np.full(200, 0))
    new = Interactions(users, items, np.full(200, 5.0), np.full(200, 100))
    events = Interactions.concatenate([old, new])
    even = MF(factors=FACTORS).fit(events).predict(users, items).mean()
    recent = MF(factors=FACTORS).fit(events, half_life=10).predict(users, items).mean()
    assert even == pytest.approx(3, abs=0.3)
    assert recent > 4.5


# ------------------------------------------------------------------------------------------------------- update


def aged(model: MF, now: int, half_life: float) -> MF:
    """A copy whose history has the weights that it should train with."""
    twin = model.copy()
    log = twin._state.history.events
    log.weights[:] = faded(log.weights, log.times, now, half_life)
    return twin


events_of_batch = st.tuples(
    st.integers(0, USERS + 5), st.integers(0, ITEMS + 5), st.integers(2, 10), st.integers(-99, 99)
)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@given(
    rows=st.lists(events_of_batch, min_size=1, max_size=20),
    half_life=st.sampled_from([4, 7, 30.0, 1e4]),
    recipe=st.fixed_dictionaries(
        {},
        optional={
            "history_epochs": st.integers(0, 2),
            "max_history": st.sampled_from(["all", 3]),
            "trainable": st.sampled_from(["users", "items", "new"]),
            "batch_size": st.just(3),
            "order": st.just("arrival"),
        },
    ),
)
def test_an_update_equals_one_on_weights_multiplied_beforehand(
    past: MF, rows: list[tuple[int, ...]], half_life: float, recipe: dict[str, Any]
) -> None:
    """The batch and the history pass decay to the newest time of both; what is stored does not."""
    if past.solver == SOLVERS["beliefs"]:
        recipe = {name: one for name, one in recipe.items() if name in ("trainable", "order")}
    users, items, values, times = np.array(rows).T
    batch = Interactions(users, items, values / 2, times, np.linspace(0.5, 2, len(rows)))
    now = max(int(times.max()), int(past._state.history.events.times.max()))
    twin, model = aged(past, now, half_life), past.copy()
    expected = twin.update(beforehand(batch, now, half_life), **recipe)
    delta = model.update(batch, half_life=half_life, **recipe)
    assert learned(model) == learned(twin)
    assert (delta.loss_before, delta.loss_after) == (expected.loss_before, expected.loss_after)
    np.testing.assert_array_equal(delta.log.weights, batch.weights)
    log = model._state.history.events
    np.testing.assert_array_equal(log.weights, np.append(past._state.history.events.weights, batch.weights))
    assert_reads(model)


def test_a_long_half_life_is_none(past: MF) -> None:
    one, other = past.copy(), past.copy()
    one.update(timed(30, seed=1), half_life=1e30)
    other.update(timed(30, seed=1))
    assert_same(bits(one), bits(other))


def test_the_newest_time_may_be_of_the_log_the_batch_or_an_event_learned_alone(past: MF) -> None:
    """Learned alone, an event has the time of the one before it."""
    model = past.copy()
    model.update(Interactions([1], [1], [3.0], [140]), half_life=5)
    model.learn_one(2, 2, 4.0)
    late = Interactions([3, 4], [5, 6], [1.0, 5.0], [135, 40])
    twin = aged(model, 140, 5)
    twin.update(Interactions(late.users, late.items, late.values, late.times, [0.5, 0.5**20]))
    model.update(late, half_life=5)
    assert learned(model) == learned(twin)


@given(half_life=st.floats(1e-3, 1e9))
def test_a_step_on_a_single_event_is_that_of_any_half_life(past: MF, half_life: float) -> None:
    model, twin = past.copy(), past.copy()
    now = int(past._state.history.events.times.max())
    for user, item, value in ((3, 5, 1.0), (3, 90, 4.5), (90, 5, 2.0)):
        model.learn_one(user, item, value)
        batch = Interactions([user], [item], [value], [now])
        twin.update(batch, once(twin), half_life=half_life)
    model.flush()
    assert learned(model) == learned(twin)


@pytest.mark.parametrize("side", ["users", "items"])
def test_rows_are_solved_from_a_past_that_has_decayed(side: str) -> None:
    model = MF(FACTORS, solver=optimizers.ALS("cholesky")).fit(timed(), epochs=2)
    rng, half_life = np.random.default_rng(1), 20.0
    batch = some_events(30, seed=2, times=rng.integers(40, 60, 30), weights=rng.random(30))
    now = max(int(batch.times.max()), int(timed().times.max()))
    twin, undecayed = aged(model, now, half_life), model.copy()
    twin.update(beforehand(batch, now, half_life), trainable=side)
    model.update(batch, half_life=half_life, trainable=side)
    undecayed.update(batch, trainable=side)
    assert learned(model) == learned(twin)
    assert learned(model) != learned(undecayed)


def test_a_row_solved_for_a_single_event_has_an_undecayed_past() -> None:
    """A limit, which the documentation states: only an update decays the past that rows are solved from."""
    model = MF(FACTORS, solver=optimizers.ALS("cholesky")).fit(timed(), half_life=5, epochs=2)
    plain, decayed_twin = model.copy(), model.copy()
    now = int(timed().times.max())
    one = Interactions([3], [5], [4.0], [now], [1.0])
    model.learn_one(3, 5, 4.0)
    plain.update(one, epochs=1)
    decayed_twin.update(one, epochs=1, half_life=5)
    found, same, other = (m.user_factors[m.users.rows(np.array([3]))[0]] for m in (model, plain, decayed_twin))
    np.testing.assert_allclose(found, same, rtol=1e-3, atol=1e-5)
    assert np.abs(found - other).max() > 1e-2


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_rollback_apply_and_files_go_on_as_ever(past: MF, tmp_path: Path) -> None:
    model, reader = past.copy(), past.copy()
    before = content(model)
    first = model.update(Interactions([1, 50], [1, 60], [3.0, 4.0], [500, 400]), half_life=20)
    reader.apply(first)
    assert_same(bits(reader), bits(model))
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model")
    batch = timed(40, seed=2)
    second = model.update(batch, half_life=20)
    for other in (reader, loaded):
        other.update(batch, half_life=20)
        assert content(other) == content(model)
    for delta in (second, first):
        model.rollback(delta)
    assert_same(content(model), before)
    for other in (model, past.copy()):  # the newest time is rolled back too
        other.update(batch, half_life=20)
    assert content(model) != content(loaded)
    again = past.copy()
    again.update(batch, half_life=20)
    assert_same(content(model), content(again))


def test_a_model_may_start_with_an_update() -> None:
    events = timed(50)
    model, twin = MF(factors=FACTORS), MF(factors=FACTORS)
    model.update(events, half_life=10)
    twin.update(beforehand(events, int(events.times.max()), 10))
    assert learned(model) == learned(twin)


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_a_batch_so_old_that_nothing_is_left_of_it(past: MF) -> None:
    model = past.copy()
    delta = model.update(Interactions([1], [1], [5.0], [-(2**63)]), once(model), half_life=1e-3)
    assert (delta.loss_before, delta.events) == (0.0, 1)


# ------------------------------------------------------------------------------------------------------ no times


def test_a_fit_without_times_is_refused() -> None:
    model = MF(factors=FACTORS)
    with pytest.raises(DataError, match="half_life needs times, and the events have none"):
        model.fit(some_events(), half_life=3)
    assert_same(bits(model), bits(MF(factors=FACTORS)))


def test_a_batch_without_times_is_refused(past: MF) -> None:
    """Although the log would give it the time of the newest event."""
    model = past.copy()
    with pytest.raises(DataError, match="half_life needs times, and the events have none"):
        model.update(some_events(5), half_life=3)
    assert_same(bits(model), bits(past))
    assert model.update(some_events(0), half_life=3).events == 0


def test_a_history_without_times_is_refused_where_it_is_read() -> None:
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad()).fit(some_events(100), epochs=1)
    for _ in range(2):  # of the second batch, there are some events with times
        before = bits(model)
        with pytest.raises(DataError, match=r"the first 100 events of the history have none.*history_epochs=0"):
            model.update(timed(30), half_life=3)
        assert_same(bits(model), before)
        batch = timed(20)
        twin = model.copy()
        model.update(batch, half_life=3, history_epochs=0)
        twin.update(beforehand(batch, int(batch.times.max()), 3), history_epochs=0)
        assert learned(model) == learned(twin)


def test_a_model_of_given_vectors_has_no_history_to_refuse() -> None:
    rng = np.random.default_rng(0)
    model = MF.from_factors(rng.normal(size=(USERS, FACTORS)), rng.normal(size=(ITEMS, FACTORS)))
    assert model.update(timed(30), half_life=3).events == 30
