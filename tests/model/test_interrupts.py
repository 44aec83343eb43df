"""Ctrl-C and MemoryError at any line of the package leave a model as it was, or as the call would have left it.

A trace function raises at one line of one call; the model is then compared, to the bit, with copies that did and that
did not take the call, and goes on as they do.
"""

from __future__ import annotations

import copy
import functools
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from strategies import as_text, fitted, some_events

import fastmf
from fastmf import MF, Interactions, losses, optimizers

PACKAGE = str(Path(fastmf.__file__).parent)
SIDES = ("users", "items")
QUICK = 6  # lines of a call that the quick suite tries; `-m slow` tries them all


# ------------------------------------------------------------------------------------------------ what a model is


def snapshot(model: MF, origin: dict[str, str] | None = None) -> dict[str, Any]:
    """All of a model, to the bit, names of states told as old or new."""
    found: dict[str, Any] = {"settings": repr(model.get_params()), "epochs": len(model.history_)}
    if model._state is None:
        return found
    state = model._fitted()
    origin = {} if origin is None else origin
    found |= {"version": model.version, "numbers": state.numbers, "pending": state.journal and state.journal.events}
    found["pending"] = found["pending"] or 0
    found["old"] = (origin.get("lineage") == model.lineage, origin.get("head") == model.head)
    for side in SIDES:
        group = state.side(side)
        count = group.count
        assert group.table.count == count
        found[f"{side} ids"] = (group.ids.kind, group.ids.values.tolist())
        assert group.ids.find(group.ids.values).tolist() == list(range(count))
        found |= {f"{side} {n}": part[:count].tobytes() for n, part in enumerate(group.table.parts)}
        events, bounds = state.history.of(side, np.arange(count, dtype=np.int32))
        found[f"{side} index"] = (bounds.tolist(), [None if one is None else one.tolist() for one in events])
        strange = "nobody" if group.ids.kind == "str" else 987_654
        assert strange not in group.ids
    found["log"] = [None if one is None else one.tolist() for one in state.history.events]
    found["grams"] = {name: [part.tolist() for part in gram] for name, gram in state.grams.kept.items()}
    found["trail"] = [one.version for one in state.trail.states]
    assert state.gate.changes[0] % 2 == 0
    assert not state.unfinished
    assert not any(marks[:10_000].any() for marks in state.scratch._free)
    users, items = model.users.values[:3].tolist(), model.items.values[:3].tolist()
    found["one"] = [model.predict_one(user, item) for user, item in zip(users, items, strict=True)]
    assert found["one"] == model.predict(users, items).tolist()
    return found


def names(model: MF) -> dict[str, str]:
    return {} if model._state is None else {"lineage": model.lineage, "head": model.head}


# ------------------------------------------------------------------------------------------------ lines


class Lines:
    """Calls with a trace function: which lines of the package they reach, and what comes of an error at one of them."""

    def __init__(self, stop: int = -1, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.seen: list[tuple[Any, int]] = []
        self._stop, self._error = stop, error

    def _trace(self, frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            self.seen.append((frame.f_code, frame.f_lineno))
            if len(self.seen) - 1 == self._stop:
                sys.settrace(None)
                raise self._error
        return self._trace

    def run(self, call: Callable[[], Any]) -> bool:
        """Whether the call went through."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except self._error:
            return False
        finally:
            sys.settrace(before)
        return True


def stops(seen: list[tuple[Any, int]], most: int | None) -> list[int]:
    """The first time and the last that each line is reached; some of these, spread evenly."""
    first = {line: number for number, line in reversed(list(enumerate(seen)))}
    last = {line: number for number, line in enumerate(seen)}
    every = sorted({*first.values(), *last.values()})
    if most is None or len(every) <= most:
        return every
    return [every[round(place)] for place in np.linspace(0, len(every) - 1, most)]


def let_go(model: MF) -> None:
    """A line event comes as a `with` block ends, before the lock is let go of: no signal can arrive there."""
    while model._lock._is_owned():
        model._lock.release()


# ------------------------------------------------------------------------------------------------ calls


class Case(NamedTuple):
    """A model, made anew every time, and a call."""

    make: Callable[[], MF]
    call: Callable[[MF], Any]


KNOWN = some_events(40, seed=3)
NEW = Interactions([2, 100, 101, 100, 3], [1, 50, 2, 51, 50], [1.0, 5.0, 3.0, 2.0, 4.0])
LATER = Interactions([2, 100, 7, 200], [1, 50, 2, 60], [5.0, 1.0, 3.0, 2.0])
MODELS: dict[str, dict[str, Any]] = {
    "steps": {"solver": optimizers.AdaGrad()},
    "text": {"text": True},
    "wholes": {"loss": losses.Confidence()},
    "wholes of text": {"loss": losses.Confidence(popularity=0.5), "text": True},
    "ratings solved": {"solver": optimizers.ALS()},
    "beliefs": {"solver": optimizers.Variational()},
    "BPR": {"loss": losses.BPR()},
    "WARP": {"loss": losses.WARP()},
}


def batch_for(model: MF, batch: Interactions) -> Interactions:
    return as_text(batch) if model._state is not None and model.users.kind == "str" else batch


def one_for(model: MF, user: int, item: int) -> tuple[Any, Any]:
    return (f"u{user}", f"i{item}") if model._state is not None and model.users.kind == "str" else (user, item)


def made(kind: str, singles: bool = False, updates: int = 0) -> MF:
    model = fitted(**MODELS[kind])
    for _ in range(updates):
        model.update(batch_for(model, NEW))
    if singles:
        for user, item in ((3, 4), (70, 4), (5, 71), (3, 4)):
            model.learn_one(*one_for(model, user, item), 9.0)
    return model


def update(model: MF, **overrides: Any) -> Any:
    return model.update(batch_for(model, NEW), **overrides)


def learn(user: int, item: int) -> Callable[[MF], Any]:
    return lambda model: model.learn_one(*one_for(model, user, item), 7.0)


@functools.cache
def delta_of(kind: str) -> Any:
    return fitted(**MODELS[kind]).update(NEW)


CASES: dict[str, Case] = {
    "first fit": Case(lambda: MF(factors=8), lambda m: m.fit(some_events(), epochs=1)),
    "second fit": Case(lambda: made("steps", singles=True), lambda m: m.fit(NEW, epochs=1, validation=0.3)),
    "fit of text": Case(lambda: made("text"), lambda m: m.fit(as_text(KNOWN), epochs=1)),
    "fit of wholes": Case(lambda: made("wholes"), lambda m: m.fit(KNOWN, epochs=1)),
    "fit of BPR": Case(lambda: made("BPR"), lambda m: m.fit(KNOWN, epochs=1)),
    "refit": Case(lambda: made("steps", singles=True), lambda m: m.refit(epochs=1)),
    "warm refit": Case(lambda: made("steps", singles=True), lambda m: m.refit(epochs=1, warm=True)),
    "first update": Case(lambda: MF(factors=8), lambda m: m.update(NEW)),
    "update of known ids": Case(lambda: made("steps"), lambda m: m.update(KNOWN)),
    "update without history": Case(lambda: made("steps"), lambda m: update(m, history_epochs=0)),
    "update after singles": Case(lambda: made("steps", singles=True), update),
    "update of text after singles": Case(lambda: made("text", singles=True), update),
    "update of wholes after singles": Case(lambda: made("wholes", singles=True), update),
    "update of some": Case(lambda: made("steps"), lambda m: update(m, trainable={"users": [2, 100]})),
    "partial_fit": Case(lambda: made("steps", updates=1), lambda m: m.partial_fit(LATER)),
    **{f"update of {kind}": Case(functools.partial(made, kind), update) for kind in MODELS},
    **{
        f"learn_one of {ids} ids of {kind}{after}": Case(functools.partial(made, kind, singles), learn(*pair))
        for kind in ("steps", "text", "wholes", "wholes of text", "ratings solved", "beliefs")
        for ids, pair in (("known", (4, 5)), ("new", (300, 301)))
        for after, singles in (("", False), (" after others", True))
    },
    "first learn_one": Case(lambda: MF(factors=8), learn(1, 2)),
    "first learn_one of text": Case(lambda: MF(factors=8), lambda m: m.learn_one("a", "b", 3.0)),
    **{
        f"flush of {kind}": Case(functools.partial(made, kind, True), MF.flush)
        for kind in ("steps", "text", "wholes", "beliefs")
    },
    "empty flush": Case(lambda: made("steps"), MF.flush),
    "rollback to": Case(lambda: made("steps", singles=True, updates=2), lambda m: m.rollback(to=0)),
    "rollback to, of text": Case(lambda: made("text", singles=True, updates=1), lambda m: m.rollback(to=1)),
    "rollback to, of wholes": Case(lambda: made("wholes", singles=True, updates=1), lambda m: m.rollback(to=0)),
    "rollback of a first update": Case(
        lambda: MF(factors=8).partial_fit(as_text(NEW)), lambda m: m.rollback(m._fitted().trail._kept[-1].delta)
    ),
    "apply": Case(lambda: made("steps"), lambda m: m.apply(delta_of("steps"))),
    "set_params": Case(lambda: made("steps"), lambda m: m.set_params(regularizer=fastmf.regularizers.L2(0.5))),
}
QUESTIONS: dict[str, Callable[[MF], Any]] = {
    "predict": lambda m: m.predict(*one_for_all(m)),
    "predict_one": lambda m: m.copy().predict_one(*one_for(m, 3, 4)),
    "recommend": lambda m: m.recommend(m.users.values[:3], k=4, exclude=m.items.values[:1]),
    "fold_in": lambda m: m.fold_in(batch_for(m, NEW), k=4),
    "similar_items": lambda m: m.similar_items(m.items.values[:2], k=3),
    "lists": lambda m: m.lists(k=3)[m.users.values[0]],
    "copy": lambda m: m.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "views": lambda m: (list(m.users), 3 in m.items, m.users.rows(m.users.values), repr(m)),
}


def one_for_all(model: MF) -> tuple[Any, Any]:
    return model.users.values[:4], model.items.values[:4]


# ------------------------------------------------------------------------------------------------ tests


def check(case: Case, most: int | None) -> None:
    case.call(case.make())  # everything is compiled
    before, after = case.make(), case.make()
    wanted = {"before": snapshot(before, names(before))}
    origin = names(after)
    case.call(after)
    wanted["after"] = snapshot(after, origin)
    counting = Lines()
    counting.run(functools.partial(case.call, case.make()))
    for number, stop in enumerate(stops(counting.seen, most)):
        model = case.make()
        origin = names(model)
        lines = Lines(stop, (KeyboardInterrupt, MemoryError)[number % 2])
        done = lines.run(functools.partial(case.call, model))
        let_go(model)
        where = f"{lines.seen[-1][0].co_filename}:{lines.seen[-1][1]}" if lines.seen else "?"
        found = snapshot(model, origin)
        assert found in (wanted["after"],) if done else found in (wanted["before"], wanted["after"]), (
            where,
            [key for key in found if found[key] != wanted["before"].get(key)],
            [key for key in found if found[key] != wanted["after"].get(key)],
        )
        twin = "after" if found == wanted["after"] else "before"
        if f"{twin} on" not in wanted:
            other = case.make()
            if twin == "after":
                case.call(other)
            wanted[f"{twin} on"] = gone_on(other)
        assert gone_on(model) == wanted[f"{twin} on"], where


def gone_on(model: MF) -> dict[str, Any]:
    """The model after more of everything."""
    later = batch_for(model, LATER)
    if not model._objective.ranks:
        model.learn_one(*one_for(model, 400, 1), 2.0)
        model.flush()
    model.update(later)
    model.update(later)
    return snapshot(model)


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_whole_or_has_not_happened(name: str) -> None:
    check(CASES[name], QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_change_is_whole_or_has_not_happened_at_any_line(name: str) -> None:
    check(CASES[name], None)
