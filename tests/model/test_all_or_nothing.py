"""A failure, an interrupt, a limit: whatever stops an update, the model is as it was, to the bit."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import FACTORS, as_text, assert_reads, assert_same, bits, content, fitted, some_events

from fastmf import MF, Interactions, Options, losses, optimizers
from fastmf.engine import WorkingSet
from fastmf.errors import CapacityError, DataError, DivergenceError
from fastmf.log.history import History
from fastmf.parameters.table import Table
from fastmf.state import commit

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


@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
def test_a_diverging_update_changes_nothing(text: bool) -> None:
    model = fitted(text=text)
    twin, before = model.copy(), bits(model)
    for rate, value in ((1e30, 1.0), (None, 3e38), (1e5, 1.0)):
        batch = Interactions(NEW.users, NEW.items, [value, -value, value, 5])
        with pytest.raises(DivergenceError, match="not finite"):
            model.update(as_text(batch) if text else batch, rate=rate, epochs=5)
        assert_same(bits(model), before)
    if not text:
        unchanged(model, twin, before)


@pytest.mark.parametrize(
    ("name", "calls"), [("run", 0), ("run", 1), ("run", 4), ("measure", 0), ("measure", 1), ("moves", 0)]
)
def test_an_interrupt_in_training_changes_nothing(name: str, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    twin, before = model.copy(), bits(model)
    monkeypatch.setattr(WorkingSet, name, later_than(calls, getattr(WorkingSet, name)))
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW, epochs=2, history_epochs=3)
    monkeypatch.undo()
    unchanged(model, twin, before)


def test_an_interrupt_in_the_first_update_leaves_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MF(factors=FACTORS)
    before = bits(model)
    monkeypatch.setattr(WorkingSet, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW)
    assert_same(bits(model), before)


def test_an_interrupt_in_the_commit_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while rows are being written: never half an update, and never one that cannot be undone."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    try:
        interrupt_a_commit(monkeypatch)
    finally:
        signal.signal(signal.SIGINT, previous)


def interrupt_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    twin, before = model.copy(), content(model)
    twin.update(NEW)
    real, raised = Table.scatter, []

    def scatter(self: Table, *arguments: Any) -> None:
        if not raised:
            raised.append(True)
            signal.raise_signal(signal.SIGINT)
        real(self, *arguments)

    monkeypatch.setattr(Table, "scatter", scatter)
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW)
    monkeypatch.undo()
    assert raised
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if model.version:  # it came too late to stop the update, which then is whole, and can be undone
        assert_same(bits(model), bits(twin))
        model.rollback(to=0)
    assert_same(content(model), before)
    assert_reads(model)


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


def test_an_update_that_half_precision_cannot_hold_is_refused() -> None:
    model = fitted(biases=False, options=Options(storage="float16"), solver=optimizers.SGD(0.05))
    before = bits(model)
    with pytest.raises(DivergenceError):
        model.update(Interactions([3], [5], [1e9]), epochs=1, history_epochs=0, rate=0.05)
    assert_same(bits(model), before)


def test_labels_outside_the_domain_change_nothing() -> None:
    model = fitted()
    before = bits(model)
    for loss in (losses.Logistic(), losses.Poisson()):
        with pytest.raises(DataError, match=r"values, row 1: -2"):
            model.update(Interactions([3, 4], [5, 6], [1, -2]), loss=loss)
        assert_same(bits(model), before)


def test_an_interrupt_in_reading_the_history_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    twin, before = model.copy(), bits(model)
    monkeypatch.setattr(History, "of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.update(NEW)
    monkeypatch.undo()
    unchanged(model, twin, before)


def test_ctrl_c_held_back_by_a_commit_leaves_no_stale_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised when the commit is done; the journal of single events must not outlive the tables it points to."""
    model = fitted()
    model.learn_one(3, 5, 4.0)
    model.flush()

    def raised_at_last(state: Any, delta: Any) -> None:
        commit(state, delta)
        raise KeyboardInterrupt

    monkeypatch.setattr("fastmf.model.mf.commit", raised_at_last)
    batch = Interactions(np.arange(100_000, 102_000), np.arange(2_000) % 40, np.full(2_000, 3.0))
    with pytest.raises(KeyboardInterrupt):
        model.update(batch)
    monkeypatch.undo()
    version = model.version
    model.learn_one(100_001, 5, 4.0)
    assert model.flush().events == 1
    assert model.version == version + 1
