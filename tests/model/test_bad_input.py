"""Bad input at every door: a clear error or the right answer, never a crash, and never a changed model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from strategies import (
    FACTORS,
    SOLVERS,
    as_text,
    assert_reads,
    assert_same,
    bits,
    fitted,
    once,
    some_events,
    stepping,
)

from fastmf import MF, Interactions, Options, Update, losses, optimizers, regularizers
from fastmf.errors import DataError, DeviceError, DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

PARAMETER = (TypeError, ValueError)  # of a setting that makes no sense, as Python's own functions raise
FEW = Interactions([3, 4], [5, 6], [1, 5])
ONES = np.ones((3, FACTORS))


class Case(NamedTuple):
    """A call that must be refused: with which error, and what its message must name."""

    call: Callable[[MF], Any]
    error: Any
    words: tuple[str, ...] = ()


def check(model: MF, case: Case) -> None:
    """The call is refused clearly; the model has not changed, and learns as one that was never asked."""
    twin, before = model.copy(), bits(model)
    with pytest.raises(case.error) as caught:
        case.call(model)
    for word in case.words:
        assert word in str(caught.value), str(caught.value)
    assert_same(bits(model), before)
    assert_reads(model)
    batch = as_text(FEW) if isinstance(next(iter(model.users)), str) else FEW
    model.update(batch)
    twin.update(batch)
    assert_same(bits(model), bits(twin))


# ------------------------------------------------------------------------------------------------ ids that are none

WRONG_IDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a number alone": (3, ("int",)),
    "text alone": ("abc", ("str",)),
    "None": (None, ("None",)),
    "a dict": ({"a": 1}, ("dict",)),
    "an iterator": (iter([1, 2]), ("iterator",)),
    "floats": ([1.0, 2.0], ("row 0", "1.0", "float")),
    "a float among ints": ([1, 2.5], ("row 1", "2.5")),
    "NaN": ([1, float("nan")], ("row 1", "nan")),
    "None among ints": ([1, None], ("row 1", "None")),
    "bools": ([True, False], ("row 0", "bool")),
    "bytes": ([b"a", b"b"], ("row 0", "b'a'")),
    "text among ints": ([1, "2"], ("row 1", "'2'")),
    "beyond int64": ([1, 2**63], ("row 1", str(2**63), "int64")),
    "beyond int64 below": ([-(2**63) - 1, 1], ("row 0", "int64")),
    "beyond int64, unsigned": (np.array([1, 2**63], np.uint64), ("row 1", str(2**63), "int64")),
    "two dimensions": (np.array([[1, 2]]), ("1-d",)),
    "no dimension": (np.array(1), ("1-d",)),
    "lists in a list": ([[1], [2]], ("row 0", "[1]")),
    "objects": (np.array([1, object()], object), ("row 1", "object")),
    "complex": (np.array([1j, 2j]), ("row 0", "complex")),
    "times": (np.array(["2020-01-01", "2020-01-02"], "datetime64[D]"), ("row 0", "datetime64")),
    "a frame": (pd.DataFrame({"a": [1, 2]}), ("DataFrame",)),
    "text where ids are ints": (["1", "2"], ("row 0", "'1'")),
}
DOORS: dict[str, tuple[Callable[[MF, Any], Any], str]] = {
    "predict users": (lambda model, ids: model.predict(ids, [5, 6]), "users"),
    "predict items": (lambda model, ids: model.predict([3, 4], ids), "items"),
    "recommend": (lambda model, ids: model.recommend(ids), "users"),
    "recommend items": (lambda model, ids: model.recommend([3], items=[ids] if ids is None else ids), "items"),
    "similar_users": (lambda model, ids: model.similar_users(ids), "users"),
    "similar_items": (lambda model, ids: model.similar_items(ids), "items"),
    "trainable": (lambda model, ids: model.update(FEW, trainable={"users": ids}), "users"),
}


@pytest.mark.parametrize(("ask", "column"), DOORS.values(), ids=DOORS)
@pytest.mark.parametrize(("ids", "words"), WRONG_IDS.values(), ids=WRONG_IDS)
def test_ids_that_are_none(ask: Any, column: str, ids: Any, words: tuple[str, ...]) -> None:
    check(fitted(), Case(lambda model: ask(model, ids), DataError, (column, *words)))


@pytest.mark.parametrize("exclude", [5, "abc", [1.0], [[1]], ["a"]])
def test_items_to_leave_out_are_named_by_their_own_column(exclude: Any) -> None:
    check(fitted(), Case(lambda model: model.recommend([3], exclude=exclude), DataError, ("exclude",)))


# ----------------------------------------------------------------------------------- ids in whatever holds them well

LEGAL_IDS: dict[str, Any] = {
    "list": [3, 4, 3],
    "tuple": (3, 4, 3),
    "deque": deque([3, 4, 3]),
    "range": range(3, 6),
    "int8": np.array([3, 4, 3], np.int8),
    "uint64": np.array([3, 4, 3], np.uint64),
    "other byte order": np.array([3, 4, 3], ">i8"),
    "every second": np.array([3, 9, 4, 9, 3])[::2],
    "reversed": np.array([3, 4, 3])[::-1],
    "a column of a matrix": np.array([[3, 0], [4, 0], [3, 0]])[:, 0],
    "objects": np.array([3, 4, 3], object),
    "numpy numbers": [np.int16(3), np.int64(4), 3],
    "pandas": pd.Series([3, 4, 3], index=[7, 8, 9]),
    "pandas nullable": pd.Series([3, 4, 3], dtype="Int64"),
    "pandas categorical": pd.Series([3, 4, 3]).astype("category"),
    "polars": pl.Series([3, 4, 3]),
    "arrow": pa.array([3, 4, 3]),
    "arrow chunks": pa.chunked_array([[3], [4, 3]]),
}


@pytest.mark.parametrize("ids", LEGAL_IDS.values(), ids=LEGAL_IDS)
def test_ids_in_any_container(ids: Any) -> None:
    model, plain = fitted(), [int(one) for one in (ids.to_pylist() if hasattr(ids, "to_pylist") else ids)]
    if isinstance(ids, np.ndarray):
        ids = ids.copy() if ids.flags.c_contiguous else ids
        ids.flags.writeable = False
    np.testing.assert_array_equal(model.predict(ids, ids), model.predict(plain, plain))
    for ask in (model.recommend, model.similar_users, model.similar_items):
        np.testing.assert_array_equal(ask(ids, k=4).ids, ask(plain, k=4).ids)
    for one, same in zip(model.recommend([5], 9, False, ids), model.recommend([5], 9, False, plain), strict=True):
        np.testing.assert_array_equal(one, same)
    left_out = model.recommend([5], k=50, exclude=ids, exclude_seen=False).ids
    assert not set(plain) & set(left_out[0].tolist())


# ------------------------------------------------------------------------------------------------------ the questions

QUESTIONS: dict[str, Case] = {
    "predict, unequal lengths": Case(lambda m: m.predict([1, 2], [3]), DataError, ("items", "1", "2")),
    "recommend k of zero": Case(lambda m: m.recommend([3], k=0), PARAMETER, ("k", "0")),
    "recommend k below zero": Case(lambda m: m.recommend([3], k=-5), PARAMETER, ("k", "-5")),
    "recommend k as float": Case(lambda m: m.recommend([3], k=2.0), PARAMETER, ("k", "2.0")),
    "recommend k as text": Case(lambda m: m.recommend([3], k="3"), PARAMETER, ("k", "'3'")),
    "recommend k as bool": Case(lambda m: m.recommend([3], k=True), PARAMETER, ("k", "True")),
    "recommend k of None": Case(lambda m: m.recommend([3], k=None), PARAMETER, ("k", "None")),
    "similar k of zero": Case(lambda m: m.similar_items([3], k=0), PARAMETER, ("k", "0")),
    "similar to an unknown item": Case(lambda m: m.similar_items([3, 99]), DataError, ("items", "row 1", "99")),
    "similar to an unknown user": Case(lambda m: m.similar_users([99, 3]), DataError, ("users", "row 0", "99")),
}


@pytest.mark.parametrize("case", QUESTIONS.values(), ids=QUESTIONS)
def test_questions_that_make_no_sense(case: Case) -> None:
    check(fitted(), case)


def test_ints_where_ids_are_text() -> None:
    for ask, column in (
        (lambda m: m.predict([3], ["i5"]), "users"),
        (lambda m: m.predict(["u3"], [5]), "items"),
        (lambda m: m.recommend([3]), "users"),
        (lambda m: m.recommend(["u3"], exclude=[5]), ""),
        (lambda m: m.similar_items([5]), "items"),
        (lambda m: m.update(Interactions([3], ["i5"])), "users"),
        (lambda m: m.update(Interactions(["u3"], [5])), "items"),
        (lambda m: m.update(as_text(FEW), trainable={"items": [5]}), "items"),
        (lambda m: m.learn_one(3, "i5", 1.0), "users"),
        (lambda m: m.learn_one("u3", 5, 1.0), "items"),
        (lambda m: m.predict_one("u3", 5), "items"),
    ):
        check(fitted(text=True), Case(ask, DataError, (column, "row 0")))


def test_nothing_asked_nothing_answered() -> None:
    model = fitted()
    for empty in ([], (), np.empty(0, np.int64), pd.Series([], dtype="int64"), pl.Series([], dtype=pl.Int64)):
        assert model.predict(empty, empty).shape == (0,)
        assert model.recommend(empty).ids.shape == (0, 10)
        assert model.similar_users(empty).ids.shape == (0, 10)


# ---------------------------------------------------------------------------------------------------------- learning

LEARNING: dict[str, Case] = {
    **{
        f"{name} of {kind}": Case(lambda m, n=name, w=wrong: getattr(m, n)(w), DataError, ("Interactions", kind))
        for name in ("fit", "update", "partial_fit")
        for kind, wrong in {
            "list": [(1, 2, 3.0)],
            "ndarray": np.ones((3, 3)),
            "NoneType": None,
            "DataFrame": pd.DataFrame(),
        }.items()
    },
    "fit of nothing": Case(lambda m: m.fit(some_events(0)), DataError, ("events", "none")),
    "update with text ids": Case(lambda m: m.update(Interactions(["a"], [5])), DataError, ("users", "row 0", "'a'")),
    "update with text items": Case(lambda m: m.update(Interactions([3], ["b"])), DataError, ("items", "row 0", "'b'")),
    "unknown override": Case(lambda m: m.update(FEW, speed=3), PARAMETER, ("speed",)),
    "recipe by name": Case(lambda m: m.update(FEW, "default"), PARAMETER, ("recipe", "Update", "str")),
    "recipe as dict": Case(lambda m: m.update(FEW, {"epochs": 2}), PARAMETER, ("recipe", "Update", "dict")),
    "recipe class": Case(lambda m: m.update(FEW, Update, epochs=2), PARAMETER, ("recipe", "Update", "type")),
    "loss as text": Case(lambda m: m.update(FEW, loss="huber"), PARAMETER, ("loss", "str")),
    "regularizer as number": Case(lambda m: m.update(FEW, regularizer=0.1), PARAMETER, ("regularizer", "float")),
    "a negative L2": Case(lambda m: m.update(FEW, regularizer=regularizers.L2(-1.0)), PARAMETER, ("L2.weight", "-1.0")),
    "an infinite L2": Case(
        lambda m: m.update(FEW, regularizer=regularizers.L2(np.inf)), PARAMETER, ("L2.weight", "inf")
    ),
    "a rate beyond float32": Case(lambda m: m.update(FEW, rate=1e300), PARAMETER, ("rate", "1e+300")),
    "fit epochs below zero": Case(lambda m: m.fit(FEW, epochs=-1), PARAMETER, ("epochs", "-1")),
    "fit epochs as float": Case(lambda m: m.fit(FEW, epochs=2.0), PARAMETER, ("epochs", "2.0")),
    "fit epochs as bool": Case(lambda m: m.fit(FEW, epochs=True), PARAMETER, ("epochs", "True")),
    "fit batches of zero": Case(lambda m: m.fit(FEW, batch_size=0), PARAMETER, ("batch_size", "0")),
    "fit validation of one": Case(lambda m: m.fit(FEW, validation=1.0), PARAMETER, ("validation", "1.0")),
    "fit validation below zero": Case(lambda m: m.fit(FEW, validation=-0.1), PARAMETER, ("validation", "-0.1")),
    "fit validation of NaN": Case(lambda m: m.fit(FEW, validation=float("nan")), PARAMETER, ("validation", "nan")),
    "fit half-life of nothing": Case(lambda m: m.fit(FEW, half_life=0.0), PARAMETER, ("half_life", "0.0")),
    "fit half-life as text": Case(lambda m: m.fit(FEW, half_life="1 day"), PARAMETER, ("half_life", "1 day")),
    "fit half-life without times": Case(lambda m: m.fit(FEW, half_life=3), DataError, ("half_life", "times")),
    "fit validation as text": Case(lambda m: m.fit(FEW, validation="5%"), PARAMETER, ("validation", "5%")),
    "one callback without a list": Case(lambda m: m.fit(FEW, callbacks=print), PARAMETER, ("callbacks",)),
    "callbacks of None": Case(lambda m: m.fit(FEW, callbacks=None), PARAMETER, ("callbacks",)),
    "callbacks that cannot be called": Case(lambda m: m.fit(FEW, callbacks=["print"]), PARAMETER, ("callbacks",)),
}


@pytest.mark.parametrize("case", LEARNING.values(), ids=LEARNING)
def test_learning_from_what_makes_no_sense(case: Case) -> None:
    check(fitted(), case)


RECIPES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "epochs below zero": ({"epochs": -1}, ("epochs", "-1")),
    "epochs as float": ({"epochs": 1.5}, ("epochs", "1.5")),
    "epochs as text": ({"epochs": "2"}, ("epochs", "'2'")),
    "batches of zero": ({"batch_size": 0}, ("batch_size", "0")),
    "history epochs below zero": ({"history_epochs": -2}, ("history_epochs", "-2")),
    "history of nothing": ({"max_history": 0}, ("max_history", "0")),
    "history as float": ({"max_history": 2.5}, ("max_history", "2.5")),
    "history as bool": ({"max_history": True}, ("max_history", "True")),
    "a rate below zero": ({"rate": -0.1}, ("rate", "-0.1")),
    "a rate of NaN": ({"rate": float("nan")}, ("rate", "nan")),
    "a rate of infinity": ({"rate": float("inf")}, ("rate", "inf")),
    "a rate as text": ({"rate": "fast"}, ("rate", "fast")),
    "a history that is no number": ({"max_history": "some"}, ("max_history", "some")),
    "a history rate of NaN": ({"history_rate": float("nan")}, ("history_rate", "nan")),
    "a half-life of nothing": ({"half_life": 0}, ("half_life", "0")),
    "a half-life below zero": ({"half_life": -1.0}, ("half_life", "-1.0")),
    "a half-life of NaN": ({"half_life": float("nan")}, ("half_life", "nan")),
    "an endless half-life": ({"half_life": float("inf")}, ("half_life", "inf")),
    "a half-life as text": ({"half_life": "1 day"}, ("half_life", "1 day")),
    "an unknown order": ({"order": "random"}, ("order", "random")),
    "an unknown strategy": ({"trainable": "user"}, ("trainable", "user")),
    "a list of strategies": ({"trainable": ["users"]}, ("trainable", "users")),
}


@pytest.mark.parametrize(("fields", "words"), RECIPES.values(), ids=RECIPES)
def test_recipes_that_make_no_sense(fields: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(PARAMETER) as caught:
        Update(**fields)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    check(fitted(), Case(lambda model: model.update(FEW, **fields), PARAMETER, words))


@pytest.mark.parametrize("trainable", [{"user": [1]}, {"users": True, "item": False}], ids=str)
def test_an_unknown_group_is_refused_by_the_update(trainable: dict[str, Any]) -> None:
    """Models may have groups of their own: a recipe does not know them."""
    unknown = [name for name in trainable if name not in ("users", "items")]
    for made, groups in ((stepping, "['users', 'items']"), (fitted, "['users', 'items', 'priors']")):
        words = (f"names {unknown}", f"the groups are {groups}")
        check(made(), Case(lambda model: model.update(FEW, trainable=trainable), PARAMETER, words))


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, value) for kind in SOLVERS for value in (0.0, -0.0, 1e-45, 1e-30, 30.0, -30.0)),
        *(("steps", value) for value in (1e3, -1e5)),  # beliefs take one step, which goes too far then
    ],
)
def test_values_near_nothing_and_large_ones_are_learned(kind: str, value: float) -> None:
    model = fitted(solver=SOLVERS[kind])
    delta = model.update(Interactions([3], [5], [value]), once(model))
    assert delta.loss_after < delta.loss_before
    for array in (model.user_factors, model.item_factors, model.user_biases, model.item_biases):
        assert np.isfinite(array).all()


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("value", [-1e6, 1e7, 1e9, 1e10])
def test_values_that_a_small_model_cannot_follow_raise_no_warning(value: float) -> None:
    model = fitted()
    before = bits(model)
    try:
        model.update(Interactions([3], [5], [value]))
    except DivergenceError:
        assert_same(bits(model), before)
    else:
        assert np.isfinite(model.user_factors).all()


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize(
    ("kind", "value"),
    [*((kind, value) for kind in SOLVERS for value in (-1e30, 3.4e38)), ("steps", 1e20)],
)
def test_values_that_overflow_float32_are_refused(kind: str, value: float) -> None:
    model = fitted(solver=SOLVERS[kind])
    check(model, Case(lambda model: model.update(Interactions([3], [5], [value])), ArithmeticError, ("not finite",)))


# -------------------------------------------------------------------------------------------------------- single events

SINGLE: dict[str, Case] = {
    "a float user": Case(lambda m: m.learn_one(3.0, 5, 1.0), DataError, ("users", "3.0")),
    "a bool user": Case(lambda m: m.learn_one(True, 5, 1.0), DataError, ("users", "True")),
    "a user of None": Case(lambda m: m.learn_one(None, 5, 1.0), DataError, ("users", "None")),
    "a user of bytes": Case(lambda m: m.learn_one(b"3", 5, 1.0), DataError, ("users", "b'3'")),
    "a list of users": Case(lambda m: m.learn_one([3], 5, 1.0), DataError, ("users", "[3]")),
    "text for an int user": Case(lambda m: m.learn_one("3", 5, 1.0), DataError, ("users", "'3'")),
    "text for an int item": Case(lambda m: m.learn_one(3, "5", 1.0), DataError, ("items", "'5'")),
    "a float item": Case(lambda m: m.learn_one(3, 5.5, 1.0), DataError, ("items", "5.5")),
    "a huge user": Case(lambda m: m.learn_one(2**63, 5, 1.0), DataError, ("users", str(2**63), "int64")),
    "a huge item": Case(lambda m: m.learn_one(3, -(2**70), 1.0), DataError, ("items", "int64")),
    "a value of NaN": Case(lambda m: m.learn_one(3, 5, float("nan")), DataError, ("value", "nan")),
    "a value of infinity": Case(lambda m: m.learn_one(3, 5, float("inf")), DataError, ("value", "inf")),
    "a value beyond float32": Case(lambda m: m.learn_one(3, 5, 1e300), DataError, ("value", "float32")),
    "a value of None": Case(lambda m: m.learn_one(3, 5, None), DataError, ("value", "None")),
    "a value of text": Case(lambda m: m.learn_one(3, 5, "5"), DataError, ("value", "'5'")),
    "a list of values": Case(lambda m: m.learn_one(3, 5, [5.0]), DataError, ("value", "[5.0]")),
    "a complex value": Case(lambda m: m.learn_one(3, 5, 1j), DataError, ("value", "1j")),
    "a new user and NaN": Case(lambda m: m.learn_one(99, 5, float("nan")), DataError, ("value", "nan")),
    "a new user and a wrong item": Case(lambda m: m.learn_one(99, 5.5, 1.0), DataError, ("items", "5.5")),
    "a new item and a wrong user": Case(lambda m: m.learn_one("x", 99, 1.0), DataError, ("users", "'x'")),
    "prediction for a float": Case(lambda m: m.predict_one(3.0, 5), DataError, ("users", "3.0")),
    "prediction for None": Case(lambda m: m.predict_one(3, None), DataError, ("items", "None")),
    "prediction for text": Case(lambda m: m.predict_one("3", 5), DataError, ("users", "'3'")),
    "prediction for a huge id": Case(lambda m: m.predict_one(3, 2**64), DataError, ("items", "int64")),
}


@pytest.mark.parametrize("case", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("before", [False, True], ids=["at once", "after others"])
def test_single_events_that_make_no_sense(case: Case, before: bool) -> None:
    model = fitted()
    if before:
        model.learn_one(3, 7, 4.0)
        model.learn_one(200, 7, 4.0)
    twin = fitted() if not before else None
    untouched = bits(model)
    with pytest.raises(case.error) as caught:
        case.call(model)
    assert all(word in str(caught.value) for word in case.words), str(caught.value)
    assert_same(bits(model), untouched)
    if twin is not None:
        model.learn_one(3, 5, 2.0)
        twin.learn_one(3, 5, 2.0)
        model.flush()
        twin.flush()
        assert_same(bits(model), bits(twin), but=("lineage",))


def test_single_values_of_any_number_type() -> None:
    wanted = fitted()
    wanted.learn_one(3, 5, 2.0)
    for user, value in ((3, 2), (np.int8(3), np.float16(2)), (np.uint64(3), np.int32(2)), (3, Fraction(2))):
        model = fitted()
        model.learn_one(user, np.int64(5), value)
        assert_same(bits(model), bits(wanted))


# ---------------------------------------------------------------------------------------------------------- making one

SETTINGS: dict[str, tuple[dict[str, Any], Any, tuple[str, ...]]] = {
    "no factors": ({"factors": 0}, PARAMETER, ("factors", "0")),
    "negative factors": ({"factors": -8}, PARAMETER, ("factors", "-8")),
    "factors as float": ({"factors": 8.0}, PARAMETER, ("factors", "8.0")),
    "factors as text": ({"factors": "8"}, PARAMETER, ("factors", "'8'")),
    "factors as bool": ({"factors": True}, PARAMETER, ("factors", "True")),
    "too many factors": ({"factors": 10**6}, PARAMETER, ("factors", "1000000")),
    "a negative seed": ({"seed": -1}, PARAMETER, ("seed", "-1")),
    "a seed beyond 64 bits": ({"seed": 2**64}, PARAMETER, ("seed", str(2**64))),
    "a seed as float": ({"seed": 1.5}, PARAMETER, ("seed", "1.5")),
    "a seed as text": ({"seed": "x"}, PARAMETER, ("seed", "'x'")),
    "a seed of None": ({"seed": None}, PARAMETER, ("seed", "None")),
    "biases as text": ({"biases": "no"}, PARAMETER, ("biases", "no")),
    "options of None": ({"options": None}, PARAMETER, ("options", "None")),
    "options as dict": ({"options": {"threads": 1}}, PARAMETER, ("options", "dict")),
    "no threads": ({"options": Options(threads=0)}, PARAMETER, ("threads", "0")),
    "threads as float": ({"options": Options(threads=1.5)}, PARAMETER, ("threads", "1.5")),
    "unknown storage": ({"options": Options(storage="int8")}, PARAMETER, ("storage", "int8")),
    "no memory": ({"options": Options(memory=0)}, PARAMETER, ("memory", "0")),
    "memory as text": ({"options": Options(memory="1GB")}, PARAMETER, ("memory", "1GB")),
    "deterministic as text": ({"options": Options(deterministic="no")}, PARAMETER, ("deterministic", "no")),
    "a device that is not there": ({"options": Options(device="cuda")}, DeviceError, ("cuda", "cpu")),
    "a solver as text": ({"solver": "sgd"}, PARAMETER, ("solver", "str")),
    "a regularizer as a number": ({"regularizer": 0.1}, PARAMETER, ("regularizer", "float")),
    "a loss for a solver": ({"solver": losses.Squared()}, PARAMETER, ("solver", "Squared")),
    "a negative rate": ({"solver": optimizers.SGD(-0.1)}, PARAMETER, ("SGD.rate", "-0.1")),
    "a rate of NaN": ({"solver": optimizers.AdaGrad(float("nan"))}, PARAMETER, ("AdaGrad.rate", "nan")),
    "a rate as text": ({"solver": optimizers.AdaGrad("fast")}, PARAMETER, ("AdaGrad.rate", "fast")),
    "a rate beyond float32": ({"solver": optimizers.SGD(1e300)}, PARAMETER, ("SGD.rate", "1e+300")),
    "no initial memory": ({"solver": optimizers.AdaGrad(initial=0.0)}, PARAMETER, ("AdaGrad.initial", "0.0")),
    "a negative delta": ({"loss": losses.Huber(-1.0)}, PARAMETER, ("Huber.delta", "-1.0")),
    "a delta of zero": ({"loss": losses.Huber(0.0)}, PARAMETER, ("Huber.delta", "0.0")),
    "an unknown setting": ({"colour": "red"}, PARAMETER, ("colour",)),
}


@pytest.mark.parametrize(("settings", "error", "words"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_make_no_sense(settings: dict[str, Any], error: Any, words: tuple[str, ...]) -> None:
    for make in (lambda: MF(**settings), lambda: MF.from_factors(ONES, ONES, **settings)):
        with pytest.raises(error) as caught:
            make()
        assert all(word in str(caught.value) for word in words) or "factors" in settings, str(caught.value)


def holed(place: tuple[int, int], value: Any) -> np.ndarray:
    array = np.ones((3, FACTORS))
    array[place] = value
    return array


GIVEN: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "one dimension": ({"user_factors": np.ones(8)}, ("user_factors", "(8,)")),
    "three dimensions": ({"item_factors": np.ones((2, 2, 2))}, ("item_factors", "(2, 2, 2)")),
    "no columns": ({"user_factors": np.ones((3, 0))}, ("user_factors", "(3, 0)")),
    "None": ({"user_factors": None}, ("user_factors",)),
    "text": ({"user_factors": [["a", "b"]]}, ("user_factors",)),
    "objects": ({"user_factors": np.array([[object()] * FACTORS])}, ("user_factors",)),
    "complex": ({"item_factors": np.ones((3, FACTORS), complex)}, ("item_factors", "complex")),
    "ragged": ({"user_factors": [[1.0, 2.0], [1.0]]}, ("user_factors",)),
    "other widths": ({"item_factors": np.ones((3, FACTORS + 1))}, ("item_factors", str(FACTORS), str(FACTORS + 1))),
    "NaN": ({"user_factors": holed((2, 1), np.nan)}, ("user_factors", "row 2", "nan")),
    "infinity": ({"item_factors": holed((1, 7), -np.inf)}, ("item_factors", "row 1", "-inf")),
    "beyond float32": ({"item_factors": holed((0, 3), 1e300)}, ("item_factors", "row 0", "1e+300")),
    "biases too short": ({"user_biases": [1.0, 2.0]}, ("user_biases", "2", "3")),
    "biases of NaN": ({"item_biases": [1.0, np.nan, 2.0]}, ("item_biases", "row 1", "nan")),
    "biases in two dimensions": ({"item_biases": np.ones((3, 1))}, ("item_biases",)),
    "biases as text": ({"item_biases": ["a", "b", "c"]}, ("item_biases", "row 0", "'a'")),
    "a mean of NaN": ({"global_mean": np.nan}, ("global_mean", "nan")),
    "a mean as text": ({"global_mean": "3"}, ("global_mean", "'3'")),
    "a mean of None": ({"global_mean": None}, ("global_mean", "None")),
    "too few ids": ({"users": [1, 2]}, ("users", "2", "3")),
    "too many ids": ({"items": [1, 2, 3, 4]}, ("items", "4", "3")),
    "an id twice": ({"users": [7, 8, 7]}, ("users", "row 2", "7")),
    "a text twice": ({"items": ["a", "a", "b"]}, ("items", "row 1", "'a'")),
    "ids as floats": ({"items": [1.0, 2.0, 3.0]}, ("items", "row 0", "1.0")),
    "mixed ids": ({"users": [1, "2", 3]}, ("users", "row 1", "'2'")),
    "huge ids": ({"users": [1, 2**64, 3]}, ("users", "row 1", str(2**64))),
}


@pytest.mark.parametrize(("arrays", "words"), GIVEN.values(), ids=GIVEN)
def test_given_factors_that_make_no_sense(arrays: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        MF.from_factors(**{"user_factors": ONES, "item_factors": ONES, **arrays})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_given_factors_that_half_precision_cannot_hold_are_refused() -> None:
    half = Options(storage="float16")
    with pytest.raises(DataError, match=r"user_factors, row 1.*70000"):
        MF.from_factors(np.full((3, FACTORS), [[1.0], [7e4], [1.0]]), ONES, options=half)
    assert np.isfinite(MF.from_factors(np.full((3, FACTORS), 6e4), ONES, options=half).user_factors).all()
