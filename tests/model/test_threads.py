"""Any public method may be called from any thread: every answer is one that some state gives, and changes are whole."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import as_text, fitted

import fastmf
from fastmf import MF, Interactions, Options, losses, optimizers

ITEMS, USERS = 300, 40
EVENTS = Interactions(
    *np.random.default_rng(0).integers(0, [[USERS], [ITEMS]], (2, 1500)),
    np.random.default_rng(1).integers(1, 6, 1500),
)
LOSSES: dict[str, dict[str, Any]] = {
    "steps": {"solver": optimizers.AdaGrad()},
    "beliefs": {},
    "text": {"text": True},
    "wholes": {"loss": losses.Confidence()},
    "wholes of text": {"loss": losses.Confidence(), "text": True},
    "half": {"options": Options(storage="float16")},
}
DEADLINE = 120.0  # seconds: far more than anything here takes

Change = Callable[[MF], Any]
_MADE: dict[str, MF] = {}


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def model_of(kind: str) -> MF:
    if kind not in _MADE:
        settings = dict(LOSSES[kind])
        events = as_text(EVENTS) if settings.pop("text", False) else EVENTS
        _MADE[kind] = MF(factors=8, **settings).fit(events, epochs=2)
    return _MADE[kind].copy()


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What works in a thread each return; the first error of any is raised."""
    found: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def work(place: int) -> None:
        try:
            found[place] = works[place]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(place,), daemon=True) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not any(thread.is_alive() for thread in threads), "nobody waits for ever"
    if errors:
        raise errors[0]
    return found


# ------------------------------------------------------------------------------------------------ questions


def questions(text: bool) -> dict[str, Callable[[MF], Any]]:
    user, item = (lambda n: f"u{n}", lambda n: f"i{n}") if text else (int, int)
    users, items = [user(n) for n in (0, 1, 2, 500, 3)], [item(n) for n in (0, 1, 2, 900, 3)]
    session = Interactions(["a", "b", "a"], [item(2), item(3), item(901)], [1.0, 2.0, 3.0])
    return {
        "predict": lambda m: m.predict(users, items).tobytes(),
        "predict_one": lambda m: m.predict_one(users[1], items[1]),
        "predict_one of new": lambda m: m.predict_one(user(500), item(900)),
        "recommend": lambda m: told(m.recommend(users[:1], k=8)),
        "recommend some": lambda m: told(m.recommend(users, k=20, exclude_seen=False, exclude=items)),
        "recommend of": lambda m: told(m.recommend(users[:2], k=20, items=items)),
        "fold_in": lambda m: told(m.fold_in(session, k=5)),
        "similar_items": lambda m: told(m.similar_items(items[:2], k=5)),
        "similar_users": lambda m: told(m.similar_users(users[:1], k=5)),
        "lists": lambda m: told(m.lists(k=4, users=users)[users[0]]),
        "users": lambda m: tuple(m.users),
        "rows": lambda m: m.items.rows(items).tobytes(),
    }


OF_BELIEFS: dict[str, Callable[[MF], Any]] = {
    "careful": lambda m: told(m.recommend([0, 500, 2], k=8, risk=1.0)),
    "drawn": lambda m: told(m.recommend([0, 500, 2], k=8, explore="thompson")),
}


def told(ranking: Any) -> Any:
    return tuple(np.ravel(ranking.ids).tolist()), ranking.scores.tobytes()


def changes(text: bool, rounds: int = 8) -> list[Change]:
    """Everything that changes a model, many times over, ids that come and go included."""
    user, item = (lambda n: f"u{n}", lambda n: f"i{n}") if text else (int, int)
    rng, script = np.random.default_rng(5), []

    def one(u: int, i: int, value: float) -> Change:
        return lambda model: model.learn_one(user(u), item(i), value)

    def update(pairs: np.ndarray) -> Change:
        batch = Interactions(
            [user(n) for n in pairs[0]], [item(n) for n in pairs[1]], rng.integers(1, 6, pairs[0].size)
        )
        return lambda model: model.update(batch)

    for turn in range(rounds):
        script += [one(*rng.integers(0, 5, 2).tolist(), float(rng.integers(1, 6))) for _ in range(12)]
        script.append(one(500, 900 + turn, 6.0 + turn))
        script.append(update(rng.integers(0, [[5], [10]], (2, 30))))
        script.append(update(np.stack([np.arange(600, 640), np.arange(1000 + turn * 50, 1040 + turn * 50)])))
        script.append(MF.flush if turn % 2 else one(1, 1, 3.0))
        back = 2 if turn % 2 else 3
        script.append(lambda model, back=back: model.rollback(to=model._fitted().trail.states[-back].version))
    return script


# ------------------------------------------------------------------------------------------------ tests


@pytest.mark.parametrize("kind", LOSSES)
def test_every_answer_is_of_one_state(kind: str) -> None:
    text = "text" in kind
    asked, script = questions(text), changes(text)
    if kind == "beliefs":
        asked = dict(list(asked.items())[:4]) | OF_BELIEFS
    model, twin = model_of(kind), model_of(kind)
    right = {name: {ask(twin)} for name, ask in asked.items()}
    for change in script:
        change(twin)
        for name, ask in asked.items():
            right[name].add(ask(twin))
    done = threading.Event()

    def change_all() -> None:
        try:
            for change in script:
                change(model)
                time.sleep(0)
        finally:
            done.set()

    def ask_on(some: Sequence[str]) -> int:
        count = 0
        while not done.is_set():
            for name in some:
                answer = asked[name](model)
                assert answer in right[name], name
                count += 1
        return count

    names = list(asked)
    counts = at_once(change_all, *(lambda some=names[n::3]: ask_on(some) for n in range(3)))[1:]
    assert min(counts) > 10
    for name, ask in asked.items():
        assert ask(model) == ask(twin), name


def test_copies_files_and_pickles_beside_changes_are_of_one_state(tmp_path: Path) -> None:
    asked = questions(False)
    del asked["lists"]
    script = changes(False)

    def everything(model: MF) -> Any:
        return tuple(ask(model) for ask in asked.values()), model.item_factors.tobytes(), model.version

    model, twin = model_of("steps"), model_of("steps")
    right = {everything(twin)}
    for change in script:
        change(twin)
        right.add(everything(twin))
    done = threading.Event()

    def change_all() -> None:
        try:
            for change in script:
                change(model)
        finally:
            done.set()

    def saved() -> MF:
        model.save(tmp_path / "model")
        return fastmf.load(tmp_path / "model")

    def copy_on(make: Callable[[], MF]) -> None:
        while not done.is_set():
            assert everything(make()) in right

    pickled = lambda: pickle.loads(pickle.dumps(model))  # noqa: E731
    at_once(change_all, *(lambda make=make: copy_on(make) for make in (model.copy, saved, pickled)))
    assert everything(model) == everything(twin)


@pytest.mark.parametrize("kind", ["steps", "beliefs", "text", "wholes"])
def test_changes_from_several_threads_follow_each_other(kind: str) -> None:
    model, text = model_of(kind), "text" in kind
    start, deltas, lock = model.copy(), [], threading.Lock()

    def change(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for turn in range(15):
            pairs = rng.integers(0, [[60], [400]], (2, 20)) + np.array([[0], [seed * 1000 * (turn % 2)]])
            batch = Interactions(*pairs, rng.integers(1, 6, 20))
            delta = model.update(as_text(batch) if text else batch)
            with lock:
                deltas.append(delta)

    def learn(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(150):
            user, item = int(rng.integers(0, 60)), int(rng.integers(0, 20)) + int(rng.integers(0, 2)) * seed * 1000
            model.learn_one(*((f"u{user}", f"i{item}") if text else (user, item)), 3.0)

    events = len(model._fitted().history)
    at_once(*(lambda seed=seed: change(seed) for seed in (1, 2)), *(lambda seed=seed: learn(seed) for seed in (3, 4)))
    model.flush()
    assert len(model._fitted().history) == events + 2 * 15 * 20 + 2 * 150
    assert len({delta.version for delta in deltas}) == 30
    trail = model._fitted().trail.since(0)
    assert [delta.version for delta in trail] == list(range(1, model.version + 1))
    assert {delta.head for delta in deltas} <= {delta.head for delta in trail}
    for delta in trail:
        start.apply(delta)
    assert start.head == model.head
    for side in ("users", "items"):
        one, other = start._fitted().side(side), model._fitted().side(side)
        assert one.ids.values.tolist() == other.ids.values.tolist()
        assert one.ids.rows(one.ids.values).tolist() == list(range(one.count))
        assert all(
            (a[: one.count] == b[: one.count]).all() for a, b in zip(one.table.parts, other.table.parts, strict=True)
        )
    everyone = model.users.values
    assert told(start.recommend(everyone)) == told(model.recommend(everyone))


VISITED: dict[str, dict[str, Any]] = {
    "squared": {},
    "wholes": {"loss": losses.Confidence()},
    "ratings solved": {"solver": optimizers.ALS()},
    "beliefs": {"solver": optimizers.Variational()},
    "BPR": {"loss": losses.BPR()},
    "WARP": {"loss": losses.WARP()},
}


@pytest.mark.parametrize("kind", VISITED)
def test_visitors_at_once_get_the_lists_that_each_gets_alone(kind: str) -> None:
    model, rng = fitted(**VISITED[kind]), np.random.default_rng(0)
    sessions = [Interactions(["v"] * 6, rng.integers(0, 20, 6)) for _ in range(12)]
    alone = [told(model.fold_in(one, k=10)) for one in sessions]

    def visit(seed: int) -> None:
        for one in np.random.default_rng(seed).integers(0, 12, 40).tolist():
            assert told(model.fold_in(sessions[one], k=10)) == alone[one]

    at_once(*(lambda seed=seed: visit(seed) for seed in range(6)))


@pytest.mark.parametrize("kind", VISITED)
def test_visitors_beside_new_users_are_not_taken_for_them(kind: str) -> None:
    """The rows that visitors would have may become those of users meanwhile, with a past."""
    model, rng = fitted(**VISITED[kind]), np.random.default_rng(0)
    session = Interactions(["v"] * 6 + ["w"] * 3, rng.integers(0, 20, 9))
    script: list[Change] = []
    for n in range(12):
        batch = Interactions(np.repeat([100 + 2 * n, 101 + 2 * n], 40), rng.integers(0, 20, 80))
        script += [lambda model, batch=batch: model.update(batch)] * 2
        script.append(lambda model: model.rollback(to=model.version - 2))
    twin = model.copy()
    right = {told(twin.fold_in(session, k=10))}
    for change in script:
        change(twin)
        right.add(told(twin.fold_in(session, k=10)))
    done = threading.Event()

    def visit() -> None:
        while not done.is_set():
            assert told(model.fold_in(session, k=10)) in right

    def change_all() -> None:
        try:
            for change in script:
                change(model)
        finally:
            done.set()

    at_once(change_all, visit, visit)
    assert told(model.fold_in(session, k=10)) == told(twin.fold_in(session, k=10))


def test_questions_do_not_wait_for_training() -> None:
    """Whoever trains holds the lock, and changes nothing until it is done."""
    for kind in ("steps", "text"):
        model, asked = model_of(kind), questions("text" in kind)
        model.update(EVENTS[:5] if kind == "steps" else as_text(EVENTS[:5]))
        right = {name: ask(model) for name, ask in asked.items() if name != "lists"}  # which are part of no state
        with model._lock:
            found = at_once(lambda model=model, asked=asked, right=right: {name: asked[name](model) for name in right})
        assert found == [right]


def test_a_question_beside_a_stream_of_events_is_answered_soon() -> None:
    model, asked, done = model_of("steps"), questions(False), threading.Event()

    def stream() -> int:
        count = 0
        while not done.is_set():
            model.learn_one(1, count % 5, 3.0)
            count += 1
        return count

    def ask() -> list[float]:
        try:
            took = []
            for _ in range(5):
                for name in set(asked) - {"lists"}:
                    began = time.perf_counter()
                    asked[name](model)
                    took.append(time.perf_counter() - began)
            return took
        finally:
            done.set()

    learned, took = at_once(stream, ask)
    assert learned > 100
    assert np.median(took) < 0.1  # a machine that does other things too may take a nap now and then


@pytest.mark.parametrize("asked", [None, [3, 1, 700]])
def test_kept_lists_are_read_while_they_are_renewed(asked: list[int] | None) -> None:
    model, rng = model_of("steps"), np.random.default_rng(0)
    lists = model.lists(k=5, users=asked)
    twin = model.copy()
    own = twin.lists(k=5, users=asked)
    batches = [
        Interactions(rng.integers(0, 8, 20), rng.integers(0, 320, 20), rng.integers(1, 6, 20)) for _ in range(40)
    ]
    right = {told(own[3])}
    for batch in batches:
        own.refresh(twin.update(batch))
        right.add(told(own[3]))
    done = threading.Event()

    def renew() -> None:
        try:
            for batch in batches:
                lists.refresh(model.update(batch))
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            assert told(lists[3]) in right

    at_once(renew, read, read)
    assert told(lists[3]) == told(model.recommend([3], k=5))


def test_the_8_bit_copy_keeps_up_with_changes_beside_questions() -> None:
    """Whoever brings it up to date must not miss a change that is made meanwhile."""
    rng, items = np.random.default_rng(0), 5000
    events = Interactions(rng.integers(0, 30, 6000), rng.integers(0, items, 6000), rng.integers(1, 6, 6000))
    model = MF(factors=8, solver=optimizers.AdaGrad()).fit(events, epochs=1)
    for _ in range(20):
        model.recommend([1])
    done = threading.Event()

    def change() -> None:
        try:
            for turn in range(60):
                batch = Interactions(rng.integers(0, 30, 30), rng.integers(0, items + turn, 30), rng.integers(1, 6, 30))
                model.update(batch, rate=0.5)
                for _ in range(5):
                    model.learn_one(int(rng.integers(0, 30)), int(rng.integers(0, items)), 5.0)
        finally:
            done.set()

    def ask() -> None:
        while not done.is_set():
            model.recommend([1, 2], k=5)

    at_once(change, ask, ask)
    assert model._fitted().scan._scans > 20
    for user in range(30):
        few, many = model.recommend([user], k=50), model.recommend([user] * 9, k=50)
        assert few.ids[0].tolist() == many.ids[0].tolist()
        assert few.scores[0].tolist() == many.scores[0].tolist()
