"""Parameters of a model: read as attributes, changed by set_params alone, and only where that is safe."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
from strategies import FACTORS, assert_same, bits, fitted, some_events, stepping

import fastmf
from fastmf import MF, Options, losses, optimizers, priors, regularizers, samplers

PARAMETERS: dict[str, Any] = {
    "factors": 16,
    "loss": losses.Logistic(),
    "solver": optimizers.SGD(0.5),
    "regularizer": regularizers.L2(0.5),
    "priors": {"users": priors.Zero(), "items": priors.Zero()},
    "biases": False,
    "seed": 9,
    "options": Options(threads=1),
}
ATTRIBUTES = ("users", "items", "user_factors", "item_factors", "user_biases", "item_biases", "global_mean", "version")


# ---------------------------------------------------------------------------------------------------- as attributes


@pytest.mark.parametrize("learned", [False, True], ids=["new", "fitted"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_cannot_be_assigned_to(name: str, learned: bool) -> None:
    model = fitted() if learned else MF(factors=FACTORS)
    before = bits(model)
    with pytest.raises(AttributeError, match=rf"{name} cannot be assigned to: use model\.set_params\({name}=\.\.\.\)"):
        setattr(model, name, PARAMETERS[name])
    with pytest.raises(AttributeError, match=f"{name} cannot be deleted"):
        delattr(model, name)
    assert_same(bits(model), before)


@pytest.mark.parametrize("name", [*ATTRIBUTES, "lineage", "factor", "epochs", "predict", "fit"])
def test_nothing_else_can_be_assigned_to_either(name: str) -> None:
    model = fitted()
    before = bits(model)
    with pytest.raises(AttributeError, match=name):
        setattr(model, name, 3)
    with pytest.raises(AttributeError, match=name):
        delattr(model, name)
    assert_same(bits(model), before)


def test_a_class_of_ones_own_may_have_attributes_of_its_own() -> None:
    class Shop(MF):
        def __init__(self, name: str) -> None:
            super().__init__(factors=FACTORS)
            self.name = name

    shop = Shop("north").fit(some_events(), epochs=1)
    shop.name = "south"
    with pytest.raises(AttributeError, match="set_params"):
        shop.factors = 3


def test_what_get_params_returns_is_the_callers_own() -> None:
    model = fitted()
    model.get_params()["factors"] = 3
    assert model.get_params()["factors"] == model.factors == FACTORS


# ------------------------------------------------------------------------------------------------------- set_params


def test_before_a_model_has_learned_all_may_change() -> None:
    for name, value in PARAMETERS.items():
        model = MF(factors=FACTORS, solver=optimizers.AdaGrad())
        assert model.set_params(**{name: value}) is model
        assert getattr(model, name) is model.get_params()[name] is value
        others = MF(factors=FACTORS, solver=optimizers.AdaGrad()).get_params()
        assert {one: model.get_params()[one] for one in others if one != name} == {
            one: others[one] for one in others if one != name
        }
    model, made = MF().set_params(**PARAMETERS | {"factors": FACTORS}), MF(**PARAMETERS | {"factors": FACTORS})
    events = some_events(low=0, high=1)
    assert_same(bits(model.fit(events, epochs=2)), bits(made.fit(events, epochs=2)), but=("lineage", "epochs"))


def test_without_arguments_nothing_changes() -> None:
    for model in (MF(), fitted()):
        before = bits(model)
        assert model.set_params() is model
        assert model.set_params(**model.get_params()) is model
        assert_same(bits(model), before)


SUITED: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[Any, Any]]] = {
    "as the loss brings them": (
        {},
        {"loss": losses.BPR(samplers.Popular())},
        (optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.05)),
    ),
    "another family": ({}, {"loss": losses.Confidence()}, (optimizers.ALS(), regularizers.L2(0.06))),
    "and back": (
        {"loss": losses.Confidence()},
        {"loss": losses.Squared()},
        (optimizers.Variational(), regularizers.L2(0.06)),
    ),
    "back to ratings": (
        {"loss": losses.BPR()},
        {"loss": losses.Squared()},
        (optimizers.Variational(), regularizers.L2(0.06)),
    ),
    "from ratings": ({}, {"loss": losses.Poisson()}, (optimizers.AdaGrad(), regularizers.L2(0.06))),
    "from ratings to robust ones": ({}, {"loss": losses.Huber()}, (optimizers.Variational(), regularizers.L2(0.06))),
    "what was the default once": (
        {"solver": optimizers.AdaGrad()},
        {"loss": losses.BPR()},
        (optimizers.AdaGrad(), regularizers.ScaledL2(0.012)),
    ),
    "given at first": (
        {"solver": optimizers.SGD(0.3)},
        {"loss": losses.BPR()},
        (optimizers.SGD(0.3), regularizers.ScaledL2(0.012)),
    ),
    "given with the loss": (
        {},
        {"loss": losses.BPR(), "regularizer": regularizers.L2(0.7)},
        (optimizers.AdaGrad(0.1), regularizers.L2(0.7)),
    ),
}


@pytest.mark.parametrize(("first", "then", "expected"), SUITED.values(), ids=SUITED)
def test_a_new_loss_brings_what_suits_it(first: Any, then: Any, expected: tuple[Any, Any]) -> None:
    model = MF(factors=FACTORS, **first)
    for one in (model, MF(**model.get_params())):  # as scikit-learn clones before it sets
        one.set_params(**then)
        assert [type(value) for value in (one.solver, one.regularizer)] == [type(value) for value in expected]
        assert (one.solver, one.regularizer) == expected
        assert one._objective.loss == type(then["loss"])(*one._objective.loss)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a typo": ({"factor": 3}, ValueError, "MF has no parameter 'factor'; its parameters are factors, loss, solver"),
    "nested": ({"loss__delta": 3.0}, ValueError, "no parameter 'loss__delta'"),
    "nothing": ({"factors": 0}, ValueError, "factors must be an integer from 1 to 1024, got 0"),
    "no loss": ({"loss": "bpr"}, TypeError, "NamedTuple"),
    "no options": ({"options": {}}, ValueError, "options must be fastmf.Options"),
    "a regularizer for beliefs": (
        {"regularizer": regularizers.L2(0.5)},
        ValueError,
        r"no use for a regularizer.*solver=optimizers\.AdaGrad\(\)",
    ),
    "what does not go together": (
        {"loss": losses.Logistic(), "solver": optimizers.ALS()},
        ValueError,
        "ALS solves losses that are quadratic",
    ),
    "one of two": ({"seed": 3, "biases": 2}, ValueError, "biases must be True or False"),
}


@pytest.mark.parametrize("learned", [False, True], ids=["new", "fitted"])
@pytest.mark.parametrize(("params", "error", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_changes_nothing(params: Any, error: type[Exception], told: str, learned: bool) -> None:
    model = fitted() if learned else MF(factors=FACTORS)
    before = bits(model)
    with pytest.raises(error, match=told):
        model.set_params(**params)
    assert_same(bits(model), before)


FIXED: dict[str, tuple[dict[str, Any], str]] = {
    "factors": ({"factors": 16}, r"factors of a fitted model cannot change from 8 to 16; .*get_params"),
    "loss": (
        {"loss": losses.Huber()},
        r"loss of a fitted model cannot change from Squared\(\) to Huber.*'loss': \.\.\., 'solver': None, 'regular",
    ),
    "biases": ({"biases": False}, "biases of a fitted model cannot change"),
    "seed": ({"seed": 1}, "seed of a fitted model cannot change from 0 to 1"),
    "solver": ({"solver": optimizers.SGD(0.1)}, "solver of a fitted model may change its fields alone"),
    "storage": ({"options": Options(storage="float16")}, r"Options\.storage of a fitted model .*load\(path, options="),
    "memory": ({"options": Options(memory=10**9)}, r"Options\.memory of a fitted model cannot change from None"),
    "one of two": ({"regularizer": regularizers.L2(0.5), "seed": 1}, "seed of a fitted model cannot change"),
}


@pytest.mark.parametrize(("params", "told"), FIXED.values(), ids=FIXED)
@pytest.mark.parametrize("made", [fitted, stepping], ids=["beliefs", "steps"])
def test_what_learned_rows_depend_on_is_fixed(params: Any, told: str, made: Any) -> None:
    if "regularizer" in params and made is fitted:
        pytest.skip("beliefs have none")
    model = made()
    before = bits(model)
    with pytest.raises(ValueError, match=told):
        model.set_params(**params)
    assert_same(bits(model), before)
    suited = {"solver": None, "regularizer": None} if "loss" in params else {}
    fresh = MF(**model.get_params() | params | suited)  # as the message says
    assert all(getattr(fresh, name) == value for name, value in params.items())


class Absolute(losses.Huber):
    """Has the fields of Huber, and is another class."""


def test_a_loss_of_another_class_with_the_same_fields_is_another_loss() -> None:
    with pytest.raises(ValueError, match="loss of a fitted model cannot change"):
        fitted(loss=losses.Huber(1.0)).set_params(loss=Absolute(1.0))


def test_threads_may_change_between_single_events() -> None:
    """How a model runs is nothing that it has learned: there is no flush, and no version."""
    model, twin = fitted(), fitted()
    for one in (model, twin):
        one.learn_one(3, 5, 2.0)
    model.set_params(options=Options(threads=1, deterministic=True))
    assert model.version == 0
    for one in (model, twin):
        one.learn_one(3, 6, 2.0)
        one.flush()
    assert_same(bits(model), bits(twin), but=("settings", "lineage"))
    assert model.copy().options == model.options == Options(threads=1, deterministic=True)


@pytest.mark.parametrize(
    ("first", "change"),
    [
        ({"solver": optimizers.AdaGrad()}, {"regularizer": regularizers.L2(0.9)}),
        ({"solver": optimizers.AdaGrad()}, {"solver": optimizers.AdaGrad(rate=0.5, initial=10.0)}),
        (
            {"loss": losses.Confidence()},
            {"solver": optimizers.ALS(method="cholesky"), "regularizer": regularizers.L2(2)},
        ),
    ],
    ids=["regularizer", "rate", "method"],
)
def test_a_changed_regularizer_or_rate_counts_from_the_next_event_on(first: Any, change: Any) -> None:
    """As if the model, as it is, had been made with it."""
    model, plain = fitted(**first), fitted(**first)
    for one in (model, plain):
        one.learn_one(3, 5, 2.0)
        one.flush()
    twin = model.copy()
    twin._settings, twin._objective = (MF(**{**model.get_params(), **change}).__getattribute__(name) for name in INNER)
    model.set_params(**change)
    for one in (model, twin, plain):
        one.learn_one(4, 5, 2.0)
        one.flush()
        one.update(some_events(30, seed=3))
    assert_same(bits(model), bits(twin))
    assert bits(model)["users factors"] != bits(plain)["users factors"]


INNER = ("_settings", "_objective")


def test_a_change_comes_with_copies_and_files(tmp_path: Any) -> None:
    model = stepping().set_params(regularizer=regularizers.L2(0.9), options=Options(threads=1))
    model.save(tmp_path / "model")
    for twin in (model.copy(), copy.deepcopy(model), fastmf.load(tmp_path / "model")):
        assert twin.get_params() == model.get_params()
        assert twin._objective == model._objective
        assert_same(bits(twin), bits(model))


# ---------------------------------------------------------------------------------------------------- scikit-learn


def cloned(model: MF) -> MF:
    """As ``sklearn.base.clone`` does it."""
    given = {name: copy.deepcopy(value) for name, value in model.get_params(deep=False).items()}
    made = type(model)(**given)
    for name, value in made.get_params(deep=False).items():
        assert value is given[name], name
    return made


def test_a_search_over_a_grid() -> None:
    """As ``GridSearchCV`` does it: clone the model, fitted or not, set the parameters, fit."""
    model, events, found = stepping(), some_events(), {}
    for regularizer in (regularizers.L2(0.01), regularizers.L2(3.0)):
        for factors in (FACTORS, 2 * FACTORS):
            one = cloned(cloned(model).set_params(regularizer=regularizer, factors=factors)).fit(events, epochs=2)
            assert (one.regularizer, one.user_factors.shape[1]) == (regularizer, factors)
            found[regularizer.weight, factors] = np.abs(one.user_factors).mean()
    assert found[3.0, FACTORS] < found[0.01, FACTORS]
    assert re.match(r"MF\(factors=8", repr(model))
