"""Small models and batches that the tests share, and what it means for two models to be equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import fastmf
from fastmf import MF, Interactions, Update, losses, optimizers

FACTORS = 8  # kernels are compiled per number of factors: the tests share these, or 16
USERS, ITEMS = 30, 20
SIDES = ("users", "items")


def some_events(
    count: int = 400,
    users: int = USERS,
    items: int = ITEMS,
    seed: int = 0,
    low: int = 1,
    high: int = 5,
    **columns: Any,
) -> Interactions:
    """Events at random, with whole values from `low` to `high`."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, users, count), rng.integers(0, items, count)
    return Interactions(*pairs, values=rng.integers(low, high + 1, count), **columns)


def whole_numbers() -> MF:
    """A model in which many scores are equal."""
    rng = np.random.default_rng(0)
    tables = [rng.integers(-1, 2, (rows, 8)) for rows in (USERS, ITEMS)]
    return MF.from_factors(*tables, item_biases=rng.integers(-1, 2, ITEMS), loss=losses.Huber())


def as_text(events: Interactions) -> Interactions:
    """The same events with str ids."""
    users, items = (
        [f"{letter}{one}" for one in ids] for letter, ids in zip("ui", (events.users, events.items), strict=True)
    )
    return Interactions(users, items, events.values, events.times, events.weights)


_FITTED: dict[str, MF] = {}


def fitted(text: bool = False, **settings: Any) -> MF:
    """A small model that has learned `some_events()`; the caller's own. Its rows are beliefs unless settings differ."""
    key = f"{text} {sorted(settings.items())!r}"  # by repr: values of different classes may be equal
    if key not in _FITTED:
        events = as_text(some_events()) if text else some_events()
        _FITTED[key] = MF(**{"factors": FACTORS, **settings}).fit(events, epochs=5)
    return _FITTED[key].copy()


SOLVERS = {"beliefs": optimizers.Variational(), "steps": optimizers.AdaGrad()}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def once(model: MF) -> Update:
    """The recipe by which a model learns each event once, in order of arrival."""
    passes = {} if isinstance(model.solver, optimizers.Variational) else {"epochs": 1, "history_epochs": 0}
    return Update(order="arrival", **passes)


def stepping(text: bool = False, **settings: Any) -> MF:
    """The same, but a model that takes gradient steps."""
    return fitted(text, **{"solver": optimizers.AdaGrad(), **settings})


# ------------------------------------------------------------------------------------------------ equal to the bit


def bits(model: MF) -> dict[str, Any]:
    """All that a model is, bit for bit: padding, memory, variances, ids, history and the small numbers included."""
    state = model._state
    found: dict[str, Any] = {
        "settings": repr(model.get_params()),
        "epochs": [dict(record) for record in model.history_],
        "fitted": state is not None,
    }
    if state is None:
        return found
    found |= {"lineage": state.lineage, "version": state.version, **state.metadata()}
    for marks in state.scratch._free:
        assert not marks[: 1 << 12].any()  # given back as they were
    for side in SIDES:
        table, ids = state.side(side).table, state.side(side).ids
        assert table.count == len(ids)
        found[f"{side} factors"] = table.factors[: table.count].tobytes()
        found[f"{side} records"] = table.records[: table.count].tobytes()
        found[f"{side} variances"] = b"".join(part[: table.count].tobytes() for part in table.parts[2:])
        found[f"{side} ids"] = (ids.kind, ids.values.tolist())
        found[f"{side} known"] = ids.rows(ids.values).tolist()
    for name, group in state.groups.items():
        if name not in SIDES:
            found[name] = {one: array.tobytes() for one, array in group.arrays().items()}
    for side, kept in state.grams.kept.items():
        found[f"{side} gram"] = b"".join(array.tobytes() for array in kept)
    for name, column in state.history.events._asdict().items():
        found[f"history {name}"] = None if column is None else (str(column.dtype), column.tobytes())
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any], but: tuple[str, ...] = ()) -> None:
    """Two results of `bits` are equal; the names in `but` are not looked at."""
    assert one.keys() == other.keys()
    different = [name for name in one if name not in but and one[name] != other[name]]
    assert not different, f"different: {different}"


def content(model: MF) -> dict[str, Any]:
    """`bits` without what names the version and the makers of the model."""
    found = bits(model)
    return {name: found[name] for name in found if name not in ("lineage", "version", "epochs")}


def assert_reads(model: MF, limit: int | None = None) -> None:
    """Each row's past, read through the index of the history, is what a scan of the log finds."""
    history = model._state.history
    for side, other in (SIDES, SIDES[::-1]):
        log, count = history.events.weighed(), len(model._state.side(side).ids)
        found, bounds = history.of(side, np.arange(count, dtype=np.int32), limit)
        for row in range(count):
            positions, part = np.flatnonzero(getattr(log, side) == row), slice(*bounds[row : row + 2])
            positions = positions if limit is None else positions[-limit:]
            assert set(getattr(found, side)[part].tolist()) <= {row}
            for name in (other, "values", "weights", *(["times"] if log.times is not None else [])):
                assert getattr(found, name)[part].tolist() == getattr(log, name)[positions].tolist()


def rows_by_id(model: MF) -> dict[str, dict[Any, bytes]]:
    """For each side, the bytes of each id's row."""
    found = {}
    for side in SIDES:
        table, ids = model._state.side(side).table, model._state.side(side).ids.values.tolist()
        found[side] = {one: b"".join(part[row].tobytes() for part in table.parts) for row, one in enumerate(ids)}
    return found


# ---------------------------------------------------------------------------------------------------- hypothesis


@st.composite
def batches(draw: st.DrawFn, least: int = 0, most: int = 25, plain: bool = False) -> Interactions:
    """New events on known and unknown ids, pairs repeated; with weights and times now and then unless `plain`."""
    event = st.tuples(st.integers(0, USERS + 9), st.integers(0, ITEMS + 6), st.integers(2, 10))
    drawn = np.array(draw(st.lists(event, min_size=least, max_size=most)), np.int64).reshape(-1, 3)
    users, items, halves = drawn.T
    weights = times = None
    if not plain and draw(st.booleans()):
        weights = np.linspace(0.5, 2.0, len(drawn))
    if not plain and draw(st.booleans()):
        times = np.arange(len(drawn))
    return Interactions(users, items, halves / 2, times, weights)


def trainables() -> st.SearchStrategy[Any]:
    """All strategies of what may move, dicts of ids included."""
    some = {
        "users": st.lists(st.integers(0, USERS + 20), max_size=15),
        "items": st.lists(st.integers(0, ITEMS + 20), max_size=15),
    }
    return st.sampled_from(["both", "users", "items", "new"]) | st.fixed_dictionaries({}, optional=some)


def recipes_for(solver: Any) -> st.SearchStrategy[Update]:
    """Recipes of every shape for models with a solver."""
    if isinstance(solver, optimizers.Variational):
        return st.builds(fastmf.Update, trainable=trainables(), order=st.sampled_from([None, "user", "arrival"]))
    return recipes()


def recipes() -> st.SearchStrategy[Update]:
    """Recipes of every shape for models that take gradient steps."""
    return st.builds(
        fastmf.Update,
        epochs=st.integers(0, 2),
        rate=st.sampled_from([None, 0.1]),
        batch_size=st.sampled_from([1, 3]),
        trainable=trainables(),
        history_epochs=st.integers(0, 2),
        max_history=st.sampled_from(["all", 3]),
        order=st.sampled_from(["user", "arrival"]),
    )


@st.composite
def changes(draw: st.DrawFn, solver: Any) -> list[tuple[Any, ...]]:
    """What happens to a model with a solver, in order."""
    update = st.tuples(st.just("update"), batches(), recipes_for(solver))
    events = st.tuples(st.integers(0, USERS + 9), st.integers(0, ITEMS + 6), st.sampled_from([1.0, 5.0]))
    one = st.tuples(st.just("learn_one"), st.lists(events, min_size=1, max_size=6))
    back = st.tuples(st.just("rollback"), st.integers(1, 3))
    return draw(st.lists(update | one | back, min_size=1, max_size=6))


def change(model: MF, what: tuple[Any, ...]) -> list[Any]:
    """Carry one change out; the Deltas of it."""
    if what[0] == "update":
        return [model.update(what[1], recipe=what[2])]
    if what[0] == "learn_one":
        for event in what[1]:
            model.learn_one(*event)
        return [model.flush()]
    states = model._state.trail.states
    return [model.rollback(to=states[-1 - what[1]].version)] if len(states) > what[1] else []


# --------------------------------------------------------------------------------------------------- planted data


def planted(
    count: int = 12_000, users: int = 200, items: int = 100, seed: int = 0, drift: float = 0.0, noise: float = 0.3
) -> tuple[Interactions, np.ndarray]:
    """Events in order of time with four planted tastes, and each event's value without its noise.

    With `drift`, tastes turn by that angle (radians) over the whole stream. Users arrive one after the other.
    """
    rng = np.random.default_rng(seed)
    arrived = np.maximum(users // 2, np.linspace(users // 2, users, count).astype(int))
    u, i = rng.integers(0, arrived), rng.integers(0, items, count)
    p, turned = rng.normal(size=(2, users, 4))
    q = rng.normal(size=(items, 4)) / 2
    angle = (drift * np.linspace(0, 1, count))[:, None]
    taste = np.cos(angle) * p[u] + np.sin(angle) * turned[u]
    clean = 3.0 + rng.normal(size=users)[u] / 3 + rng.normal(size=items)[i] / 3 + (taste * q[i]).sum(axis=1)
    values = clean + noise * rng.normal(size=count)
    return Interactions(u, i, values=values, times=np.arange(count)), clean


def rmse(model: MF, events: Interactions) -> float:
    """Root mean squared error of the predictions."""
    errors = model.predict(events.users, events.items).astype(np.float64) - events.values
    return float(np.sqrt(np.mean(errors**2)))
