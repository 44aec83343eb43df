"""Hints: the errors of those who come from another library say what to write instead, and that works."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse

import fastmf
from fastmf import MF, Interactions, Options, Update, losses, optimizers, regularizers, samplers
from fastmf.errors import DataError
from fastmf.hints import hinted

EVENTS = Interactions([1, 2, 3], [4, 5, 6], [1.0, 2.0, 3.0])
NAMES = {"fastmf": fastmf, "losses": losses, "optimizers": optimizers, "regularizers": regularizers, "MF": MF}


def written(error: BaseException) -> str:
    return str(error).partition("; write ")[2]


# --- keywords ---------------------------------------------------------------------------------------------------------

OF_A_MODEL = [
    ("n_factors", 50, "factors=50"),
    ("num_factors", 50, "factors=50"),
    ("no_components", 50, "factors=50"),
    ("n_components", 50, "factors=50"),
    ("embedding_dim", 50, "factors=50"),
    ("rank", 50, "factors=50"),
    ("facters", 50, "factors=50"),
    ("learning_rate", 0.1, "solver=optimizers.AdaGrad(rate=0.1)"),
    ("lr", 0.1, "solver=optimizers.AdaGrad(rate=0.1)"),
    ("lr_all", 0.1, "solver=optimizers.AdaGrad(rate=0.1)"),
    ("learning_rat", 0.1, "solver=optimizers.AdaGrad(rate=0.1)"),
    ("regularization", 0.02, "solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.02)"),
    ("reg", 0.02, "solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.02)"),
    ("reg_all", 0.02, "solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.02)"),
    ("weight_decay", 0.02, "solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.02)"),
    ("item_alpha", 0.02, "solver=optimizers.AdaGrad(), regularizer=regularizers.L2(0.02)"),
    ("num_threads", 4, "options=fastmf.Options(threads=4)"),
    ("n_jobs", 4, "options=fastmf.Options(threads=4)"),
    ("n_jobs", -1, "options=fastmf.Options(threads=...)"),
    ("random_state", 7, "seed=7"),
    ("random_seed", 7, "seed=7"),
    ("alpha", 40, "loss=losses.Confidence(alpha=40)"),
    ("max_sampled", 5, "loss=losses.Logistic(negatives=5)"),
    ("use_bias", False, "biases=False"),
    ("biased", False, "biases=False"),
    ("optimizer", "sgd", "solver=optimizers.AdaGrad()"),
]
ELSEWHERE = [
    ("iterations", 30, "fit(events, epochs=30)"),
    ("n_iter", 30, "fit(events, epochs=30)"),
    ("n_epochs", 30, "fit(events, epochs=30)"),
    ("epochs", 30, "fit(events, epochs=30)"),
    ("batch_size", 8, "fit(events, batch_size=8)"),
    ("verbose", True, "fit(events, progress=True)"),
]


@pytest.mark.parametrize(("name", "value", "instead"), OF_A_MODEL + ELSEWHERE)
def test_a_model_says_how_its_settings_are_written(name: str, value: Any, instead: str) -> None:
    with pytest.raises(TypeError, match=rf"^MF\(\) takes no '{name}'; write ") as caught:
        MF(**{name: value})
    assert written(caught.value) == instead


@pytest.mark.parametrize("others", [{"loss": losses.Huber()}, {"solver": optimizers.SGD()}], ids=["loss", "solver"])
def test_a_regularizer_takes_no_other_solver_where_the_loss_or_the_solver_is_given(others: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"write regularizer=regularizers\.L2\(0\.1\)$"):
        MF(8, **others, reg=0.1)


@pytest.mark.parametrize("instead", sorted({case[2] for case in OF_A_MODEL if "..." not in case[2]}))
def test_what_a_hint_says_works(instead: str) -> None:
    model = eval(f"MF({instead})", dict(NAMES))
    assert model.get_params() != MF().get_params() or "AdaGrad()" in instead


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("n_iter", 3, "epochs=3"),
        ("num_epochs", 3, "epochs=3"),
        ("iterations", 3, "epochs=3"),
        ("epohcs", 3, "epochs=3"),
        ("learning_rate", 0.1, "MF(solver=optimizers.AdaGrad(rate=0.1))"),
        ("regularization", 0.1, "MF(regularizer=regularizers.L2(0.1))"),
        ("num_threads", 3, "MF(options=fastmf.Options(threads=3))"),
        ("factors", 3, "MF(factors=3)"),
        ("verbose", False, "progress=False"),
        ("y", [1.0], "fastmf.Interactions(users, items, values=...)"),
        ("sample_weight", [1.0], "fastmf.Interactions(users, items, weights=...)"),
        ("X", pd.DataFrame({"u": [1]}), 'fastmf.Interactions.from_frame(df, user="...", item="...", value="...")'),
    ],
)
def test_a_fit_says_how_it_is_asked(name: str, value: Any, instead: str) -> None:
    with pytest.raises(TypeError, match=rf"^fit\(\) takes no '{name}'; write ") as caught:
        MF(factors=8).fit(EVENTS, **{name: value})
    assert written(caught.value) == instead


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("learning_rate", 0.1, "rate=0.1"),
        ("lr", 0.1, "rate=0.1"),
        ("n_epochs", 3, "epochs=3"),
        ("epoch", 3, "epochs=3"),
        ("reg", 0.1, "regularizer=regularizers.L2(0.1)"),
        ("trainabel", "users", 'trainable="users"'),
        ("history_epoch", 2, "history_epochs=2"),
        ("num_threads", 3, "MF(options=fastmf.Options(threads=3))"),
    ],
)
def test_an_update_says_how_it_is_written(name: str, value: Any, instead: str) -> None:
    model = MF(factors=8)
    for call in (lambda: Update(**{name: value}), lambda: model.update(EVENTS, **{name: value})):
        with pytest.raises(TypeError, match=rf"^Update\(\) takes no '{name}'; write ") as caught:
            call()
        assert written(caught.value) == instead
    assert model._state is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.recommend([1], N=3), "recommend() takes no 'N'; write k=3"),
        (
            lambda model: model.recommend([1], filter_already_liked_items=True),
            "recommend() takes no 'filter_already_liked_items'; write exclude_seen=True",
        ),
        (lambda model: model.predict(user_ids=[1], item_ids=[4]), "predict() takes no 'user_ids'; write users=..."),
        (lambda model: model.similar_items([4], N=3), "similar_items() takes no 'N'; write k=3"),
        (lambda model: Options(num_threads=2), "Options() takes no 'num_threads'; write threads=2"),
        (lambda model: Interactions([1], [2], ratings=[3]), "Interactions() takes no 'ratings'; write values=..."),
        (lambda model: Interactions([1], [2], timestamps=[3]), "Interactions() takes no 'timestamps'; write times=..."),
        (
            lambda model: Interactions.from_frame({"u": [1]}, user_col="u"),
            "from_frame() takes no 'user_col'; write user='u'",
        ),
        (lambda model: MF.from_factors([[1.0]], [[1.0]], reg=1), "write regularizer=regularizers.L2(1)"),
    ],
)
def test_questions_and_events_say_it_too(call: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        call(MF(factors=8).fit(EVENTS, epochs=1))
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("name", ["foo", "item_features", "beta", "d", "min_rating", "init_mean"])
def test_a_keyword_that_means_nothing_here_names_those_that_there_are(name: str) -> None:
    with pytest.raises(
        TypeError, match=rf"^MF\(\) takes no '{name}'; it takes factors, loss, .*, options, priors, popularity$"
    ):
        MF(**{name: 1})


def test_a_hinted_call_is_what_it_was() -> None:
    """Signature, name, documentation, errors of its own, pickling, copying."""

    def plain(events: int, depth: int = 3) -> int:
        """Multiply."""
        return events * depth

    call = hinted(plain)
    assert inspect.signature(call) == inspect.signature(plain)
    assert (call.__name__, call.__doc__, call(2), call(2, depth=4)) == ("plain", "Multiply.", 6, 8)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'events'"):
        call()
    assert list(inspect.signature(MF).parameters)[:3] == ["factors", "loss", "solver"]
    assert list(inspect.signature(MF.fit).parameters)[:3] == ["self", "events", "epochs"]
    assert list(inspect.signature(Update).parameters)[:2] == ["epochs", "rate"]
    assert list(inspect.signature(Options).parameters)[:2] == ["threads", "deterministic"]
    model = MF(factors=3)
    assert MF(**model.get_params()).get_params() == model.get_params()
    for value in (Options(threads=2), Update(epochs=3)):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    assert Options(threads=2)._replace(threads=3) == Options(threads=3)


def test_a_class_derived_from_the_model_may_take_what_it_likes() -> None:
    class Mine(MF):
        def __init__(self, n_factors: int = 4, **settings: Any) -> None:
            super().__init__(factors=n_factors, **settings)

    assert Mine(n_factors=3).factors == 3
    with pytest.raises(TypeError, match=r"^MF\(\) takes no 'random_state'; write seed=1$"):
        Mine(random_state=1)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "given", "instead"),
    [
        ("loss", "bpr", "losses.BPR()"),
        ("loss", "BPR", "losses.BPR()"),
        ("loss", "warp", "losses.WARP()"),
        ("loss", "warp-kos", "losses.WARP()"),
        ("loss", "logistic", "losses.Logistic()"),
        ("loss", "mse", "losses.Squared()"),
        ("loss", "squred", "losses.Squared()"),
        ("loss", "als", "losses.Confidence()"),
        ("loss", losses.BPR, "losses.BPR()"),
        ("solver", "sgd", "optimizers.SGD()"),
        ("solver", "adam", "optimizers.AdaGrad()"),
        ("solver", "als", "optimizers.ALS()"),
        ("solver", 0.05, "optimizers.AdaGrad(rate=0.05)"),
        ("solver", optimizers.SGD, "optimizers.SGD()"),
        ("regularizer", "l2", "regularizers.L2()"),
        ("regularizer", 0.1, "regularizers.L2(0.1)"),
        ("regularizer", 0, "regularizers.L2(0)"),
        ("regularizer", "none", "regularizers.L2(0.0)"),
    ],
)
def test_a_value_says_how_it_is_written(role: str, given: Any, instead: str) -> None:
    with pytest.raises(
        TypeError, match=rf"^{role} must be a NamedTuple such as those of fastmf, got .*; write "
    ) as caught:
        MF(**{role: given})
    assert written(caught.value) == instead
    steps = {"solver": optimizers.AdaGrad()} if role == "regularizer" else {}
    meant = MF(**{"loss": losses.Squared(), **steps, role: eval(instead, dict(NAMES))})
    assert type(getattr(meant, role)).__name__ in instead


def test_values_within_values_and_of_an_update_say_it_too() -> None:
    with pytest.raises(TypeError, match=r"^sampler must be .*; write samplers.Popular\(\)$"):
        MF(loss=losses.BPR(sampler="popular"))
    with pytest.raises(TypeError, match=r"^sampler must be .*; write samplers.Uniform\(\)$"):
        MF(loss=losses.WARP(sampler=samplers.Uniform))
    with pytest.raises(TypeError, match=r"^loss must be .*; write losses.Huber\(\)$"):
        MF(factors=8).update(EVENTS, loss="huber")


def test_a_name_that_means_nothing_here_gets_all_there_are() -> None:
    with pytest.raises(TypeError, match=r"ALS\(\) or .*SGD\(\) or .*AdaGrad\(\) or .*Variational\(\)$"):
        MF(solver="newton")


def test_what_is_no_name_gets_no_hint() -> None:
    class Own(NamedTuple):
        rate: float = 1.0

    for given in (None, {}, True, np.ones(3), lambda score: score):
        with pytest.raises(TypeError, match=r"got \w+$"):
            MF(loss=given)
    with pytest.raises(TypeError, match=r"got the class Own; write Own\(\)$"):
        MF(solver=Own)


# --- events -----------------------------------------------------------------------------------------------------------

FRAME = {"u": [1, 2], "i": [3, 4], "r": [1.0, 2.0]}
FROM_FRAME = 'fastmf.Interactions.from_frame(df, user="...", item="...", value="...")'
FROM_SPARSE = "fastmf.Interactions.from_sparse(matrix)"


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        (pd.DataFrame(FRAME), FROM_FRAME),
        (pl.DataFrame(FRAME), FROM_FRAME),
        (pl.LazyFrame(FRAME), FROM_FRAME),
        (pa.table(FRAME), FROM_FRAME),
        (FRAME, FROM_FRAME),
        (scipy.sparse.csr_matrix(np.eye(3)), FROM_SPARSE),
        (scipy.sparse.coo_array(np.eye(3)), FROM_SPARSE),
        ([(1, 2, 3.0), (2, 3, 4.0)], "fastmf.Interactions(*zip(*events)), of tuples (user, item, value, time)"),
        (np.ones((5, 2)), "fastmf.Interactions(users=x[:, 0], items=x[:, 1])"),
        (np.ones((5, 3)), "fastmf.Interactions(users=x[:, 0], items=x[:, 1], values=x[:, 2])"),
        (np.ones((5, 100)), "fastmf.Interactions.from_sparse(scipy.sparse.csr_array(x))"),
        (np.ones(5), "fastmf.Interactions(users, items, values)"),
        (pd.Series([1, 2]), "fastmf.Interactions(users, items, values)"),
        ([1, 2], "fastmf.Interactions(users, items, values)"),
        ([], "fastmf.Interactions(users, items, values)"),
        (zip([1], [2], strict=True), "fastmf.Interactions(users, items, values)"),
        ("log.csv", "fastmf.Interactions.from_csv(path)"),
        ("log.parquet", "fastmf.Interactions.from_parquet(path)"),
        (None, "fastmf.Interactions(users, items, values)"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_what_is_no_interactions_says_how_they_are_made(given: Any, instead: str) -> None:
    model = MF(factors=8)
    for learn in (model.fit, model.update, model.partial_fit, lambda events: model.fit(events, np.ones(2))):
        with pytest.raises(
            DataError, match=rf"^events must be fastmf.Interactions, got {type(given).__name__}; "
        ) as caught:
            learn(given)
        assert written(caught.value) == instead
    with pytest.raises(DataError, match=r"^session must be fastmf.Interactions, got .*; write "):
        model.fold_in(given)
    assert model._state is None


def test_what_those_hints_say_works() -> None:
    rows = [(1, 2, 3.0, 7), (2, 3, 4.0, 8)]
    assert Interactions(*zip(*rows, strict=True)).times is not None
    assert len(Interactions.from_frame(pd.DataFrame(FRAME), user="u", item="i", value="r")) == 2
    x = np.array([[1, 2], [3, 4]])
    assert len(Interactions(users=x[:, 0], items=x[:, 1])) == 2
    assert len(Interactions.from_sparse(scipy.sparse.csr_array(np.eye(3)))) == 3


def test_a_column_of_values_beside_the_events_belongs_into_them() -> None:
    with pytest.raises(
        TypeError, match=r"^partial_fit\(\) takes one .*; write fastmf.Interactions\(users, items, values\)$"
    ):
        MF(factors=8).partial_fit(np.ones((3, 2)), np.ones(3))


def test_a_delta_is_no_batch() -> None:
    model = MF(factors=8).fit(EVENTS, epochs=1)
    with pytest.raises(DataError, match=r"got Delta; write apply\(delta\)$"):
        model.update(model.update(EVENTS))
