"""What a model holds on to: nothing of the caller's, and no more than its budgets say."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import as_text, fitted, some_events

from fastmf import MF, Interactions, losses
from fastmf.followers import quantized
from fastmf.followers.trail import Trail

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are all alike

LARGE = 50_000  # events of the log that small batches are cut from


def growth(work: Callable[[], Any], times: int) -> float:
    """Bytes that Python and NumPy hold more after each call."""
    for _ in range(3):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(times):
            work()
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / times
    finally:
        tracemalloc.stop()


def log(text: bool, rng: np.random.Generator) -> Interactions:
    users, items = rng.integers(0, 30, LARGE), rng.integers(0, 20, LARGE)
    times, weights = np.arange(LARGE), np.ones(LARGE)
    if not text:
        return Interactions(users, items, rng.integers(1, 6, LARGE), times, weights)
    names = np.array([f"u{n}" for n in range(30)], object), np.array([f"i{n}" for n in range(20)], object)
    return Interactions(names[0][users], names[1][items], rng.integers(1, 6, LARGE), times, weights)


@pytest.mark.parametrize("text", [False, True])
def test_an_update_keeps_no_view_of_what_its_batch_was_cut_from(text: bool) -> None:
    model, rng = MF(factors=8), np.random.default_rng(0)
    start = some_events(weights=np.ones(400), times=np.arange(400))
    model.fit(as_text(start) if text else start, epochs=1)
    assert growth(lambda: model.update(log(text, rng)[:10]), 4) < 40_000
    assert growth(lambda: model.update(log(text, rng)[:0]), 4) < 40_000


@pytest.mark.parametrize("text", [False, True])
def test_a_fit_keeps_no_view_of_its_events(text: bool) -> None:
    models, rng = [], np.random.default_rng(0)
    assert growth(lambda: models.append(MF(factors=8).fit(log(text, rng)[:50], epochs=1)), 3) < 100_000


@pytest.mark.parametrize("text", [False, True])
def test_a_first_update_keeps_no_view_of_its_events(text: bool) -> None:
    models, rng = [], np.random.default_rng(0)

    def begin() -> None:
        models.append(MF(factors=8))
        models[-1].update(log(text, rng)[:50])

    assert growth(begin, 3) < 100_000


KINDS: dict[str, tuple[dict[str, Any], int, bool]] = {
    "nothing": ({}, 0, False),
    "one event": ({}, 1, False),
    "ten events": ({}, 10, False),
    "a hundred events": ({}, 100, False),
    "new ids": ({}, 20, True),
    "text": ({"text": True}, 10, False),
    "new ids of text": ({"text": True}, 20, True),
    "wholes": ({"loss": losses.Confidence()}, 10, False),
    "BPR": ({"loss": losses.BPR()}, 10, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_trail_counts_what_it_holds(kind: str) -> None:
    settings, size, new = KINDS[kind]
    model, rng, known = fitted(**settings), np.random.default_rng(0), iter(range(1000, 10**6))

    def update() -> None:
        users = [next(known) for _ in range(size)] if new else rng.integers(0, 30, size)
        batch = Interactions(np.asarray(users, np.int64), rng.integers(0, 20, size), rng.integers(1, 6, size))
        model.update(as_text(batch) if settings.get("text") else batch)

    trail = model._fitted().trail
    held = growth(update, 100)
    told = trail.nbytes / len(trail._kept)
    assert 1 / 1.5 < held / told < 1.5


def test_single_events_count_too() -> None:
    model = fitted()
    trail = model._fitted().trail

    def learn() -> None:
        for user in range(4):
            model.learn_one(user, 3, 4.0)
        model.flush()

    held = growth(learn, 100)
    assert 1 / 1.5 < held / (trail.nbytes / len(trail._kept)) < 1.5


def test_many_small_deltas_stay_within_the_budget() -> None:
    model = fitted()
    state = model._fitted()
    state.followers["trail"] = Trail([[state.identity]], budget=100_000)
    for n in range(300):
        model.update(Interactions([n % 30], [n % 20], [3.0]), trainable="users" if n % 2 else "both")
    kept = [one.delta for one in state.trail._kept]
    assert 5 < len(kept) < 50
    assert state.trail.nbytes == sum(delta.nbytes for delta in kept) <= 100_000
    assert [delta.version for delta in kept] == list(range(301 - len(kept), 301))
    model.rollback(to=300 - len(kept))


def test_the_8_bit_copy_remembers_no_more_than_a_table_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "_FROM", 100)
    rng, items = np.random.default_rng(0), 200
    events = Interactions(rng.integers(0, 30, 5000), rng.permutation(np.arange(5000) % items), rng.integers(1, 6, 5000))
    model = MF(factors=8).fit(events, epochs=1)
    for _ in range(12):
        model.recommend([1])
    scan = model._fitted().scan
    assert scan._copy is not None
    empty = events[:0]
    for _ in range(items + 100):
        model.update(empty)
        assert sum(1 + change.rows.size for change in scan._changes) <= items
    assert scan._copy is None
    assert (model.recommend([1]).ids == model.recommend([1] * 9).ids[0]).all()


def test_lists_that_wait_remember_no_more_than_there_are_rows() -> None:
    model = fitted()
    lists = model.lists(k=3)
    deltas = [model.update(some_events(20, seed=seed)) for seed in range(40)]
    for delta in deltas[:-1]:
        assert not lists.refresh(delta).size
        assert lists._touched["users"].size <= len(model.users)
        assert lists._touched["items"].size <= len(model.items)
    lists.refresh(deltas[-1])
    assert (lists.ids == model.recommend(model.users.values, k=3).ids).all()
