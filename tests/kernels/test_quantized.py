"""The 8-bit copy rules rows out and changes no list: few users get what they get among many, whatever happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import ITEMS, USERS, change, changes, each_solver, fitted, whole_numbers

from fastmf import MF, Interactions, Options, ranking
from fastmf.errors import CapacityError
from fastmf.followers import quantized as scan

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_FROM", 0)
    monkeypatch.setattr(scan, "_EARNED", 0)


def assert_same_alone(model: MF, users: Any, **question: Any) -> None:
    """Each user alone gets the list that many users get together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_FEW", 0)
        together = model.recommend(users, **question)
    for place, user in enumerate(users):
        alone = model.recommend([user], **question)
        assert model._state.scan._copy is not None
        np.testing.assert_array_equal(alone.ids[0], together.ids[place])
        np.testing.assert_array_equal(alone.scores[0].view(np.int32), together.scores[place].view(np.int32))


def at_random(size: int, storage: str = "float32", items: int = 150, spread: float = 0.0) -> MF:
    """A model whose rows have lengths that differ by `spread` orders of magnitude either way."""
    rng = np.random.default_rng(size)
    tables = [rng.normal(size=(rows, size)) * 10.0 ** rng.uniform(-spread, spread, (rows, 1)) for rows in (12, items)]
    biases = rng.normal(size=items) * 10.0 ** rng.uniform(-spread, spread, items)
    model = MF.from_factors(*tables, item_biases=biases, options=Options(storage=storage))
    seen = rng.integers(0, 12, 200), rng.integers(0, items, 200)
    model.update(Interactions(*seen), trainable={})
    return model


@pytest.mark.parametrize(
    ("size", "storage"),
    [
        *((3, "float32"), (33, "float16"), (100, "float32")),
        *(pytest.param(size, "float32", marks=pytest.mark.slow) for size in (1, 16, 33, 64, 300)),
        *(pytest.param(size, "float16", marks=pytest.mark.slow) for size in (1, 3, 16, 64, 100, 300)),
    ],
)
def test_every_width(size: int, storage: str) -> None:
    model = at_random(size, storage)
    for k in (1, 10, 200):
        assert_same_alone(model, [*range(12), 99], k=k)
    assert_same_alone(model, range(12), exclude=[0, 3, 149, 999], exclude_seen=False)


@pytest.mark.parametrize("spread", [1.0, 3.0, 9.0, 17.0])
@pytest.mark.parametrize("items", [1, 15, 16, 17, 150])
def test_lengths_that_differ_by_orders_of_magnitude(spread: float, items: int) -> None:
    assert_same_alone(at_random(16, items=items, spread=spread), range(12), k=3)


def test_numbers_at_the_ends_of_their_range() -> None:
    rng = np.random.default_rng(0)
    scales = 10.0 ** rng.choice([-44, -30, -20, 0, 18, 37], (2, 60, 1))
    model = MF.from_factors(*(rng.normal(size=(2, 60, 8)) * scales))
    with np.errstate(all="ignore"):
        assert_same_alone(model, range(60), k=5)


@pytest.mark.parametrize("scale", [1e-24, 1e-22, 1e-21, 1e-20, 1e18, 1e19])
def test_products_at_the_ends_of_their_range(scale: float) -> None:
    rng = np.random.default_rng(0)
    model = MF.from_factors(*(scale * rng.integers(-9, 10, (2, 200, 8))))
    with np.errstate(all="ignore"):
        assert_same_alone(model, range(40), k=5)


def test_equal_scores() -> None:
    assert_same_alone(whole_numbers(), range(USERS), k=7)


def test_bounds_hold() -> None:
    """The bound on each score is above it, and close enough to rule most rows out."""
    model = at_random(64, items=400)
    model.recommend([0])
    codes, steps, slack = (part[:400].astype(np.float64) for part in model._state.scan._copy.codes)
    point, rows = model.user_factors[0].astype(np.float64), model.item_factors.astype(np.float64)
    apart = np.abs((codes[:, :64] * steps[:, None]) @ point - rows @ point)
    assert (apart <= slack * np.linalg.norm(point)).all()
    assert (slack < 0.02 * np.linalg.norm(rows, axis=1)).all()


@each_solver
@given(st.data(), st.booleans(), st.randoms())
def test_it_is_kept_up(solver: Any, data: st.DataObject, ties: bool, random: Any) -> None:
    """Single events, flushes, updates, rollbacks, new and forgotten items, asked for at any moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_FROM", 0)
        patch.setattr(scan, "_EARNED", 0)
        model = whole_numbers() if ties else fitted(solver=solver)
        happens = data.draw(changes(model.solver))
        if random.random() < 0.5:
            assert_same_alone(model, [3], k=5)
        for what in happens:
            if what[0] == "learn_one" and random.random() < 0.7:
                for event in what[1]:
                    model.learn_one(*event)
                    if random.random() < 0.5:
                        assert_same_alone(model, [event[0], 4], k=5)
                if random.random() < 0.5:
                    model.flush()
            else:
                change(model, what)
            if random.random() < 0.7:
                assert_same_alone(model, range(0, USERS + 10, 5), k=ITEMS + 7)
        assert_same_alone(model, range(0, USERS + 10, 3), k=5)


def test_copies_have_their_own() -> None:
    model = fitted()
    assert_same_alone(model, [3])
    copy = model.copy()
    copy.update(Interactions([3] * 5, [4] * 5, [9.0] * 5))
    for one in (model, copy):
        assert_same_alone(one, range(USERS))


def test_none_is_made_for_few_rows_or_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()
    monkeypatch.setattr(scan, "_EARNED", 2)
    for wanted in (False, False, True):
        model.recommend([3])
        assert (model._state.scan._copy is not None) == wanted
    monkeypatch.setattr(scan, "_FROM", ITEMS + 1)
    other = fitted()
    for _ in range(5):
        other.recommend([3])
    assert other._state.scan._copy is None


def test_lists_do_not_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise CapacityError("no room")

    model = fitted()
    wanted = model.recommend(range(USERS))
    monkeypatch.setattr(scan, "zeros", refused)
    for user in range(USERS):
        assert model.recommend([user]).ids[0].tolist() == wanted.ids[user].tolist()
    assert model._state.scan._copy is None


def test_an_interrupted_copy_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    model = at_random(8)
    calls: list[int] = []

    def interrupted(shape: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(shape)

    encode = scan.quantized.encode
    monkeypatch.setattr(scan, "_PIECE", 50)
    with monkeypatch.context() as patch:
        patch.setattr(scan.quantized, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.recommend([0])
    assert_same_alone(model, range(12))
