"""The model's door: making it, what it shows, what it answers, and copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from strategies import FACTORS, ITEMS, USERS, assert_same, bits, content, fitted, some_events, stepping

import fastmf
from fastmf import MF, Interactions, Options, Popularity, losses, optimizers, priors, regularizers, samplers
from fastmf.errors import CapacityError, DataError, NotFittedError

RNG = np.random.default_rng(0)
P, Q = RNG.normal(size=(5, FACTORS)), RNG.normal(size=(7, FACTORS))


class Absolute(NamedTuple):
    """A loss of one's own: |s - y|."""

    kind = "pointwise"
    domain = (-np.inf, np.inf)
    scale: float = 1.0

    def value(self, score: Any, target: Any) -> Any:
        return self.scale * abs(score - target)

    def slope(self, score: Any, target: Any) -> Any:
        return self.scale if score > target else -self.scale

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return float(np.median(values))

    def check(self, values: np.ndarray) -> None:
        losses.Squared().check(values)


# ------------------------------------------------------------------------------------------------- nothing learned

QUESTIONS: dict[str, Callable[[MF], Any]] = {
    "predict": lambda model: model.predict([1], [2]),
    "recommend": lambda model: model.recommend([1]),
    "similar_items": lambda model: model.similar_items([1]),
    "similar_users": lambda model: model.similar_users([1]),
    "predict_one": lambda model: model.predict_one(1, 2),
    "flush": lambda model: model.flush(),
    "apply": lambda model: model.apply(fitted().update(some_events(5))),
    "rollback": lambda model: model.rollback(fitted().update(some_events(5))),
    "rollback to": lambda model: model.rollback(to=0),
    **{
        name: lambda model, name=name: getattr(model, name)
        for name in ("user_factors", "item_factors", "user_biases", "item_biases", "global_mean", "users", "items")
    },
    "version": lambda model: model.version,
    "lineage": lambda model: model.lineage,
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_model_that_learned_nothing_says_so(ask: Callable[[MF], Any]) -> None:
    model = MF(factors=FACTORS)
    with pytest.raises(NotFittedError, match="fit"):
        ask(model)
    assert model._state is None


def test_a_model_that_learned_nothing_can_be_copied_and_saved(tmp_path: Path) -> None:
    model = MF(factors=FACTORS, seed=3)
    model.save(tmp_path / "model")
    for twin in (fastmf.load(tmp_path / "model"), model.copy(), pickle.loads(pickle.dumps(model))):
        assert_same(bits(model), bits(twin))
        one, other = (start.fit(some_events(), epochs=1) for start in (twin, MF(factors=FACTORS, seed=3)))
        assert_same(content(one), content(other))


# ------------------------------------------------------------------------------------------------------ parameters


def test_parameters_make_the_same_model_again() -> None:
    settings: dict[str, Any] = {
        "factors": FACTORS,
        "loss": losses.Huber(2.0),
        "solver": optimizers.SGD(0.02),
        "regularizer": regularizers.L2(0.1),
        "priors": {"users": priors.Zero(), "items": priors.Zero()},
        "popularity": Popularity(weight=0),
        "biases": False,
        "seed": 7,
        "options": Options(threads=1, memory=10**8),
    }
    model = MF(**settings)
    assert model.get_params() == model.get_params(deep=False) == settings
    assert {name: type(value) for name, value in model.get_params().items()} == {
        n: type(v) for n, v in settings.items()
    }
    assert repr(MF(**model.get_params())) == repr(model)
    assert {name: getattr(model, name) for name in settings} == settings


SUITED: dict[str, tuple[Any, Any, Any]] = {
    "Squared": (losses.Squared(), optimizers.Variational(), regularizers.L2(0.06)),
    "labels": (losses.Logistic(), optimizers.Variational(), regularizers.L2(0.06)),
    "a loss of one's own": (Absolute(), optimizers.AdaGrad(0.04), regularizers.L2(0.06)),
    "negatives": (losses.Logistic(negatives=2), optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.05)),
    "WARP": (losses.WARP(margin=0.5), optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.1)),
    "BPR": (losses.BPR(), optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.012)),
    "harder negatives": (losses.BPR(samplers.Popular()), optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.05)),
    "Softmax": (losses.Softmax(), optimizers.AdaGrad(0.1), regularizers.ScaledL2(0.12)),
    "Confidence": (losses.Confidence(), optimizers.ALS(), regularizers.L2(0.06)),
}


@pytest.mark.parametrize(("loss", "solver", "regularizer"), SUITED.values(), ids=SUITED)
def test_a_loss_brings_the_solver_and_the_regularizer_that_suit_it(loss: Any, solver: Any, regularizer: Any) -> None:
    model = MF(factors=FACTORS, loss=loss)
    for one in (model, MF(**model.get_params()), model.copy()):
        assert (type(one.solver), one.solver) == (type(solver), solver)
        assert (type(one.regularizer), one.regularizer) == (type(regularizer), regularizer)
    if isinstance(solver, optimizers.Variational):
        with pytest.raises(ValueError, match=r"no use for a regularizer, .* use solver=.*AdaGrad\(\)"):
            MF(loss=loss, regularizer=regularizers.L2(0.5))
        return
    others = MF(loss=loss, regularizer=regularizers.L2(0.5))
    assert (others.solver, others.regularizer) == (solver, regularizers.L2(0.5))


def test_what_is_given_goes_before_what_the_loss_brings(tmp_path: Path) -> None:
    bringing = type("Bringing", (Absolute,), {"solver": optimizers.SGD(0.03), "regularizer": regularizers.L2(0.2)})
    model = MF(factors=FACTORS, loss=bringing())
    assert (model.solver, model.regularizer) == (optimizers.SGD(0.03), regularizers.L2(0.2))
    model = MF(factors=FACTORS, loss=bringing(), solver=optimizers.SGD(0.5))
    assert (model.solver, model.regularizer) == (optimizers.SGD(0.5), regularizers.L2(0.2))
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model", classes=[bringing])
    assert (loaded.solver, loaded.regularizer) == (optimizers.SGD(0.5), regularizers.L2(0.2))


def test_cloning_as_scikit_learn_does_it() -> None:
    """Its clone() copies the parameters, makes a new object and demands that this one keeps them as they are."""
    parameters = {name: copy.deepcopy(value) for name, value in fitted().get_params(deep=False).items()}
    twin = MF(**parameters)
    for name, value in twin.get_params(deep=False).items():
        assert value is parameters[name], name
    with pytest.raises(NotFittedError):
        _ = twin.version


def test_repr_is_the_call_that_makes_the_model() -> None:
    model = MF(factors=8, loss=losses.Huber(2.0), seed=3)
    space = {**vars(losses), **vars(optimizers), **vars(regularizers), "MF": MF}
    assert eval(repr(model), space).get_params() == model.get_params()
    line = repr(fitted())
    for part in ("MF(factors=8", "Squared()", f"{USERS} users", f"{ITEMS} items", "400 events", "version 0"):
        assert part in line


# ---------------------------------------------------------------------------------------------------- what it shows


def test_learned_arrays_have_a_row_per_id_and_are_read_only() -> None:
    model = fitted()
    assert model.user_factors.shape == (USERS, FACTORS)
    assert model.item_factors.shape == (ITEMS, FACTORS)
    assert model.user_biases.shape == (USERS,)
    assert model.item_biases.shape == (ITEMS,)
    for array in (model.user_factors, model.item_factors, model.user_biases, model.item_biases):
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert isinstance(model.global_mean, float)
    model.update(Interactions([999], [999]))
    assert len(model.user_factors) == len(model.user_biases) == len(model.users) == USERS + 1


@pytest.mark.parametrize("ids", [[-(2**63), 2**63 - 1, 0, -1], ["", "a", "ä", "中" * 50]], ids=["int", "str"])
def test_every_legal_id_is_known_again(ids: list[Any]) -> None:
    model = MF(factors=FACTORS)
    for _ in range(30):
        model.update(Interactions(ids, ids[::-1], [1, 2, 3, 4]))
    assert list(model.users) == ids
    assert list(model.items) == ids[::-1]
    assert all(one in model.users for one in ids)
    assert len({model.predict([one], [ids[0]], clip=False)[0] for one in ids}) == 4
    assert model.recommend(ids[:1], k=9, exclude_seen=False).lengths.tolist() == [4]


def test_asking_for_an_id_of_the_other_kind_is_no_error_for_in() -> None:
    model = fitted()
    assert 3 in model.users
    assert np.int32(3) in model.users
    for other in ("3", 3.0, None, True, 2**70):
        assert other not in model.users


# ---------------------------------------------------------------------------------------------------- what it answers


def test_unknown_ids_fall_back_on_what_is_known() -> None:
    """Of models that take gradient steps; beliefs have a prior."""
    model = stepping()
    user, item = model.users.rows(np.array([3]))[0], model.items.rows(np.array([5]))[0]
    predicted = model.predict([3, -7, -7], [-7, 5, -7], clip=False)
    wanted = model.global_mean + np.array([model.user_biases[user], model.item_biases[item], 0])
    np.testing.assert_allclose(predicted, wanted, rtol=1e-6)
    assert (stepping(biases=False).predict([3, -7, -7], [-7, 5, -7], clip=False) == 0).all()


def test_predictions_are_kept_within_what_was_seen() -> None:
    settings = {"solver": optimizers.AdaGrad(), "regularizer": regularizers.L2(0.0)}
    model = MF(factors=FACTORS, **settings).fit(some_events(), epochs=100)  # it overfits
    users, items = (side.ravel() for side in np.meshgrid(range(USERS), range(ITEMS)))
    free, kept = model.predict(users, items, clip=False), model.predict(users, items)
    assert free.max() > 5
    assert free.min() < 1
    np.testing.assert_array_equal(kept, np.clip(free, 1, 5))
    model.update(Interactions([9], [9], [7.0]), rate=0.0)
    assert model.predict(users, items).max() > 5
    model.rollback(to=0)
    np.testing.assert_array_equal(model.predict(users, items), kept)


@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        ({}, optimizers.AdaGrad()),
        ({"solver": None}, optimizers.AdaGrad()),
        ({"loss": losses.Squared(), "regularizer": regularizers.L2(0.5)}, optimizers.AdaGrad()),
        ({"loss": losses.BPR()}, optimizers.AdaGrad(0.1)),
        ({"loss": losses.Confidence(), "biases": False}, optimizers.ALS()),
        ({"solver": optimizers.SGD(0.3)}, optimizers.SGD(0.3)),
        ({"counts": 5}, optimizers.Variational()),
        ({"solver": optimizers.Variational()}, optimizers.Variational()),
    ],
    ids=str,
)
def test_given_factors_are_not_beliefs_unless_that_is_asked_for(settings: dict[str, Any], solver: Any) -> None:
    model = MF.from_factors(P, Q, **settings)
    assert (type(model.solver), model.solver) == (type(solver), solver)


def test_a_model_of_given_factors_does_not_clip() -> None:
    model = MF.from_factors(100 * P, 100 * Q)
    assert np.abs(model.predict(np.repeat(range(5), 7), np.tile(range(7), 5))).max() > 1_000


# ------------------------------------------------------------------------------------------------------ from_factors


def test_given_factors_are_the_model() -> None:
    biases = np.arange(5) / 10, np.arange(7) / -10
    model = MF.from_factors(P, Q, *biases, global_mean=3.5, users=[9, 4, -2, 0, 77], items=list("abcdefg"))
    assert model.get_params()["biases"] is True
    assert (model.factors, model.version, model.global_mean) == (FACTORS, 0, 3.5)
    np.testing.assert_array_equal(model.user_factors, P.astype(np.float32))
    np.testing.assert_array_equal(model.item_factors, Q.astype(np.float32))
    np.testing.assert_array_equal(model.user_biases, biases[0].astype(np.float32))
    score = 3.5 + biases[0][2] + biases[1][1] + P[2] @ Q[1]
    assert model.predict([-2], ["b"])[0] == pytest.approx(score, rel=1e-5)
    assert model.predict_one(-2, "b") == pytest.approx(score, rel=1e-5)
    best = 3.5 + biases[0][2] + biases[1] + Q @ P[2]
    assert model.recommend([-2], k=7).ids[0].tolist() == [list("abcdefg")[i] for i in np.argsort(-best)]


@pytest.mark.parametrize(
    "shaped",
    [
        np.asfortranarray,
        lambda array: array.astype(np.float16),
        lambda array: array.tolist(),
        lambda array: np.repeat(array, 2, axis=0)[::2],
        lambda array: array.astype(">f8"),
        lambda array: np.lib.stride_tricks.as_strided(array, writeable=False),
    ],
    ids=["Fortran order", "half precision", "lists", "not contiguous", "other byte order", "read-only"],
)
def test_given_factors_may_come_in_any_shape_of_array(shaped: Callable[[np.ndarray], Any]) -> None:
    model = MF.from_factors(shaped(P), shaped(Q))
    np.testing.assert_array_equal(model.user_factors, np.asarray(shaped(P), np.float32))
    np.testing.assert_allclose(model.predict([1], [2]), P[1] @ Q[2], rtol=1e-2)


def test_a_model_of_given_factors_is_its_own() -> None:
    given = P.astype(np.float32)
    model = MF.from_factors(given, Q)
    given[:] = 0
    assert model.user_factors.any()
    assert model.get_params()["biases"] is False


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
def test_a_model_of_given_factors_learns_on(biases: bool) -> None:
    model = MF.from_factors(P, Q, biases=biases, seed=2, solver=optimizers.AdaGrad(0.1))
    twin = model.copy()
    assert (model.seed, model.solver) == (2, optimizers.AdaGrad(0.1))
    delta = model.update(Interactions([1, 2, 50], [3, 4, 60], [2.0, -1.0, 3.0]), epochs=20)
    assert delta.loss_after < 0.5 * delta.loss_before
    assert model.user_biases.any() == biases
    twin.apply(delta)
    assert_same(bits(model), bits(twin))
    model.rollback(delta)
    np.testing.assert_array_equal(model.user_factors, P.astype(np.float32))


def test_without_rows_there_is_a_model_too() -> None:
    model = MF.from_factors(np.empty((0, FACTORS)), Q)
    assert (len(model.users), model.user_factors.shape) == (0, (0, FACTORS))
    assert model.recommend([5], k=2).lengths.tolist() == [0]
    model.update(Interactions(["ada"], [3]))
    assert list(model.users) == ["ada"]


def test_more_rows_than_are_filled_at_once() -> None:
    many = np.random.default_rng(0).normal(size=(70_000, 1))
    model = MF.from_factors(many, Q[:, :1], options=Options(threads=1))
    np.testing.assert_array_equal(model.user_factors, many.astype(np.float32))


def test_given_factors_beyond_the_memory_are_refused() -> None:
    with pytest.raises(CapacityError, match="memory budget"):
        MF.from_factors(np.ones((100, FACTORS)), Q, options=Options(memory=4_000))


# ----------------------------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("made", [MF.copy, copy.copy, copy.deepcopy], ids=["copy", "copy.copy", "deepcopy"])
def test_copies_are_independent(made: Callable[[MF], MF]) -> None:
    model = fitted()
    before, twin = bits(model), made(model)
    twin.update(some_events(30, users=90, seed=4))
    twin.history_[0]["loss"] = -1.0
    assert_same(bits(model), before)
    model.update(some_events(30, seed=5))
    late = bits(twin)
    model.rollback(to=0)
    assert_same(bits(twin), late)


def test_values_of_your_own(tmp_path: Path) -> None:
    model = MF(factors=FACTORS, loss=Absolute(0.5)).fit(some_events(), epochs=10)
    assert model.global_mean == np.median(some_events().values)
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]
    model.save(tmp_path / "model")
    with pytest.raises(fastmf.errors.FileFormatError, match="Absolute"):
        fastmf.load(tmp_path / "model")
    twins = fastmf.load(tmp_path / "model", classes=[Absolute]), pickle.loads(pickle.dumps(model)), model.copy()
    model.update(some_events(20, seed=3))
    for twin in twins:
        assert twin.loss == Absolute(0.5)
        twin.update(some_events(20, seed=3))
        assert_same(bits(twin), bits(model))


def test_a_class_cannot_pass_for_one_of_fastmf(tmp_path: Path) -> None:
    Squared = type("Squared", (Absolute,), {})
    model = MF(factors=FACTORS, loss=Squared()).fit(some_events(), epochs=1)
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model", classes=[Squared])
    assert type(loaded.loss) is Squared


@pytest.mark.parametrize(
    ("loss", "complaint"),
    [
        ("squared", "NamedTuple"),
        (losses.Squared, "NamedTuple"),
        (None, "NamedTuple"),
        (optimizers.SGD(), "lacks the method value"),
        (type("Short", (Absolute,), {"value": lambda self, score: score})(), r"value must take \(score, target\)"),
    ],
    ids=["str", "class", "None", "solver", "wrong signature"],
)
def test_what_is_no_loss_is_refused(loss: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        MF(loss=loss)
    model = fitted()
    if loss is not None:
        with pytest.raises(TypeError, match=complaint):
            model.update(some_events(3), loss=loss)


# --------------------------------------------------------------------------------------------------------- the names


def test_public_names() -> None:
    for name in (
        "MF",
        "Interactions",
        "Update",
        "Options",
        "Delta",
        "IdMap",
        "load",
        "losses",
        "optimizers",
        "regularizers",
    ):
        assert name in dir(fastmf)
        assert name in fastmf.__all__
        assert getattr(fastmf, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        fastmf.nothing_like_it  # noqa: B018
    assert issubclass(NotFittedError, AttributeError)
    assert not hasattr(MF(), "version")
    assert issubclass(DataError, ValueError)
