"""A failure, an interrupt, a limit: whatever stops an update, the model is as it was, to the bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from interrupts import interrupted_at
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
    some_events,
    stepping,
)

from fastmf import MF, Interactions, Options, losses, optimizers
from fastmf.devices import registry
from fastmf.errors import CapacityError, DataError, DivergenceError
from fastmf.learners.working import WorkingSet
from fastmf.log.history import History

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

NEW = Interactions([3, 100, 3, 101], [5, 5, 70, 70], [1, 5, 4, 2])


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def later_than(calls: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Like `real` for so many calls, then interrupted."""
    left = [calls]

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*arguments, **keywords)

    return wrapped


def unchanged(model: MF, twin: MF, before: dict[str, Any]) -> None:
    """The model is as it was, and goes on as one to which nothing has happened."""
    assert_same(bits(model), before)
    assert_reads(model)
    delta = model.update(NEW)
    twin.update(NEW)
    assert_same(bits(model), bits(twin))
    model.rollback(delta)
    assert_same(content(model), {name: before[name] for name in content(model)})


DIVERGING: dict[str, list[tuple[dict[str, Any], float]]] = {  # recipes and values
    "beliefs": [({}, 3e38)],
    "steps": [({"rate": 1e30, "epochs": 5}, 1.0), ({"epochs": 5}, 3e38), ({"rate": 1e5, "epochs": 5}, 1.0)],
}


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@pytest.mark.parametrize("kind", DIVERGING)
def test_a_diverging_update_changes_nothing(text: bool, kind: str) -> None:
    model = fitted(text=text, solver=SOLVERS[kind])
    twin, before = model.copy(), bits(model)
    for recipe, value in DIVERGING[kind]:
        batch = Interactions(NEW.users, NEW.items, [value, -value, value, 5])
        with pytest.raises(DivergenceError, match="not finite"):
            model.update(as_text(batch) if text else batch, **recipe)
        assert_same(bits(model), before)
    if not text:
        unchanged(model, twin, before)


JOBS = {"beliefs": "learn beliefs", "steps": "steps"}


@pytest.mark.parametrize(
    ("kind", "name", "calls"),
    [
        *(("steps", "steps", calls) for calls in (0, 1, 4)),
        ("beliefs", "learn beliefs", 0),
        *((kind, *place) for kind in JOBS for place in (("measure", 0), ("measure", 1), ("moves", 0))),
    ],
)
def test_an_interrupt_in_training_changes_nothing(
    kind: str, name: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted(solver=SOLVERS[kind])
    twin, before = model.copy(), bits(model)
    if name == "moves":
        monkeypatch.setattr(WorkingSet, name, later_than(calls, getattr(WorkingSet, name)))
    else:
        monkeypatch.setitem(registry._RUNNERS, (name, "cpu"), later_than(calls, registry.runner(name)))
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW, **({"epochs": 2, "history_epochs": 3} if kind == "steps" else {}))
    monkeypatch.undo()
    unchanged(model, twin, before)


@pytest.mark.parametrize("kind", JOBS)
def test_an_interrupt_in_the_first_update_leaves_no_model(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MF(factors=FACTORS, solver=SOLVERS[kind])
    before = bits(model)
    monkeypatch.setitem(registry._RUNNERS, (JOBS[kind], "cpu"), interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW)
    assert_same(bits(model), before)


def update_often(model: MF, batch: Interactions) -> None:
    for _ in range(3):
        model.update(batch)


def test_memory_that_is_used_up_changes_nothing() -> None:
    model = MF(factors=FACTORS, options=Options(memory=8_000)).fit(some_events(100), epochs=1)
    twin, before = model.copy(), bits(model)
    many = np.arange(1_000, 1_100)
    full = {
        "rows": Interactions(many, many % 3),
        "item rows": Interactions(many % 3, many),
        "events": Interactions(many % 3, many % 5),
    }
    for batch in full.values():
        with pytest.raises(CapacityError, match="memory budget"):
            update_often(model, batch)
        if model.version:
            model.rollback(to=0)
            assert_same(content(model), content(twin))
        else:
            assert_same(bits(model), before)
        assert_reads(model)
    model.update(NEW)
    twin.update(NEW)
    assert_same(content(model), content(twin))


def test_text_that_uses_up_the_memory_changes_nothing() -> None:
    model = MF(factors=FACTORS, options=Options(memory=20_000)).fit(as_text(some_events(50)), epochs=1)
    before = bits(model)
    with pytest.raises(CapacityError, match="memory budget"):
        model.update(Interactions(["x" * 30_000, "u1"], ["i1", "new"]))
    assert_same(bits(model), before)
    model.update(Interactions(["x" * 300, "u1"], ["i1", "new"]))
    assert model.predict(["x" * 300], ["new"]).size == 1


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
def test_an_update_that_half_precision_cannot_hold_is_refused() -> None:
    model = fitted(biases=False, options=Options(storage="float16"), solver=optimizers.SGD(0.05))
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.update(Interactions([3], [5], [1e9]), epochs=1, history_epochs=0, rate=0.05)
    assert_same(bits(model), before)


def test_labels_outside_the_domain_change_nothing() -> None:
    model = stepping()
    before = bits(model)
    for loss in (losses.Logistic(), losses.Poisson()):
        with pytest.raises(DataError, match=r"values, row 1: -2"):
            model.update(Interactions([3, 4], [5, 6], [1, -2]), loss=loss)
        assert_same(bits(model), before)


def test_an_interrupt_in_reading_the_history_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stepping()
    twin, before = model.copy(), bits(model)
    monkeypatch.setattr(History, "of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW)
    monkeypatch.undo()
    unchanged(model, twin, before)


# --- Ctrl-C at every line ---------------------------------------------------------------------------------------------

LATER = Interactions([3, 100, 200], [7, 5, 201], [4, 3, 2])
Change = Callable[[MF], Any]


def learned_before(solver: Any = SOLVERS["beliefs"]) -> MF:
    """At version 1."""
    model = fitted(solver=solver)
    model.update(some_events(20, seed=9))
    return model


def single_events(model: MF) -> None:
    for user, item in ((3, 5), (100, 70), (101, 5)):
        model.learn_one(user, item, 4.0)


def an_open_journal(model: MF) -> None:
    """One that holds no event."""
    single_events(model)
    model.flush()
    model._open_journal(None)


CHANGES: dict[str, tuple[Change, Change]] = {  # what comes first, and what is interrupted
    "update": (lambda model: None, lambda model: model.update(NEW)),
    "update beside an open journal": (an_open_journal, lambda model: model.update(NEW)),
    "apply": (lambda model: None, lambda model: model.apply(learned_before_delta(model))),
    "rollback": (lambda model: model.update(NEW), lambda model: model.rollback(to=1)),
    "flush": (single_events, lambda model: model.flush()),
}
FOLLOWING: dict[str, Change] = {
    "version": lambda model: model.version,
    "update": lambda model: model.update(LATER),
    "learn_one": lambda model: model.learn_one(3, 9, 4.0),
    "learn_one of new ids": lambda model: model.learn_one(300, 301, 4.0),
    "predict_one": lambda model: model.predict_one(3, 5),
    "recommend": lambda model: model.recommend([3, 100]),
    "copy": lambda model: model.copy(),
}


def learned_before_delta(model: MF) -> Any:
    """The Delta of another copy at the same state."""
    return model.copy().update(NEW)


def goes_on(model: MF, following: Change) -> dict[str, Any]:
    """All that a model is after the next call, and some more changes."""
    following(model)
    model.flush()
    model.update(LATER)
    return content(model)


def interrupted_everywhere(
    make: Callable[[], MF], change: Change, following: str, dense: bool, inside: str | None = None
) -> list[int]:
    """Interrupt a change at one line after the other: the next call finds the model before it (0) or after it (1).

    Every line before the plainest call and every seventh before others if `dense`, else fewer.
    """
    ask, start = FOLLOWING[following], content(learned_before())
    after = make()
    change(after)
    outcomes = [goes_on(model, ask) for model in (make(), after)]
    line, found = 0, []
    while True:
        model = make()
        if not interrupted_at(line, functools.partial(change, model), inside):
            return found
        learned = goes_on(model, ask)
        assert learned in outcomes, f"line {line}"
        found.append(outcomes.index(learned))
        assert_reads(model)
        model.rollback(to=1)
        assert_same(content(model), start)
        line += (1 if dense else 3) if following == "version" else (7 if dense else 15)


each_density = pytest.mark.parametrize(
    "dense", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some lines", "most lines"]
)


@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("name", CHANGES)
@each_density
def test_an_interrupted_change_is_not_there_or_whole(
    name: str, following: str, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at any line of taking a Delta in."""
    monkeypatch.setattr("fastmf.parameters.moves._is_placed", lambda part: False)  # else addresses decide on the lines
    first, change = CHANGES[name]

    def prepared() -> MF:
        model = learned_before()
        first(model)
        return model

    found = interrupted_everywhere(prepared, change, following, dense, "_take_in")
    assert found == sorted(found)  # from some line on, it is taken in
    assert name == "flush" or {*found} == {0, 1}  # what was learned in place is there in any case


@pytest.mark.parametrize("pair", [(3, 5), (100, 5), (3, 70), (100, 70)], ids=["known", "new user", "new item", "new"])
@pytest.mark.parametrize("following", ["version", "update", "learn_one", "learn_one of new ids", "predict_one"])
@each_density
def test_an_interrupted_single_event_is_not_there_or_whole(pair: tuple[int, int], following: str, dense: bool) -> None:
    def one_before() -> MF:
        model = learned_before()
        model.learn_one(7, 7, 4.0)
        return model

    found = interrupted_everywhere(one_before, lambda model: model.learn_one(*pair, 4.0), following, dense)
    assert following != "version" or {*found} == {0, 1}


@each_solver
def test_an_update_interrupted_anywhere_changes_nothing_before_it_is_taken_in(solver: Any) -> None:
    """Every fifth line of all: from reading the batch to the end."""
    before, after = content(learned_before(solver)), learned_before(solver)
    after.update(NEW)
    outcomes = [before, content(after)]
    line, found = 0, []
    while True:
        model = learned_before(solver)
        if not interrupted_at(line, lambda model=model: model.update(NEW)):
            break
        assert model.version in (1, 2)  # the next call
        found.append(outcomes.index(content(model)))
        assert model.version == 1 + found[-1]
        assert_reads(model)
        line += 5
    assert found == sorted(found)
    assert {*found} == {0, 1}
