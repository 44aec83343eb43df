"""Whatever an argument is given, a call takes it or refuses it in one line, and a refusal changes nothing."""

from __future__ import annotations

import datetime
import fractions
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from strategies import assert_same, bits, fitted, some_events, stepping

from fastmf import MF, Interactions, Options, metrics, optimizers
from fastmf.errors import FastMFError
from fastmf.evaluation import evaluate


class Index:
    """An integer of a type of one's own."""

    def __index__(self) -> int:
        return 3


class Broken:
    """An array of a library that fails."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")

    def __repr__(self) -> str:
        raise RuntimeError("no text either")


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 3, 2**31, 2**63, 10**400, 1.0, 1.5, float("nan"), float("inf"), 1 + 1j),
    *(
        "",
        "a",
        "3",
        "\ud800",
        b"x",
        [],
        [[]],
        [1],
        [1, "a"],
        [None],
        [1.0],
        [True],
        ["a"],
        [[1, 2], [3, 4]],
        (),
        {1: 2},
        {1, 2},
    ),
    *(range(3), np.array(3), np.array([1, 2]), np.array([[1, 2]]), np.array(["a"]), np.array([1, None], object)),
    *(np.array([1], ">i8"), np.array([2**64 - 1], np.uint64), np.ma.array([1, 2], mask=[0, 1]), np.zeros((2, 0))),
    *(np.int64(3), np.float32(3), np.bool_(True), np.array(["2020-01-01"], "M8[D]"), sp.eye(3).tocsr()),
    *(pd.Series([1, None]), pd.Series([1, pd.NA], dtype="Int64"), pd.DataFrame({"a": [1]}), pl.Series([1, None])),
    *(pl.DataFrame({"a": [1]}), pa.array([1, None]), fractions.Fraction(1, 3), datetime.datetime(2020, 1, 1)),
    *(Index(), Broken(), object(), int, slice(1, 2), Ellipsis, MF()),
]
FEW, ONES = some_events(9), np.ones((2, 3))
BELIEVER = MF.from_factors(ONES, ONES, solver=optimizers.Variational())
CALLS: dict[str, Callable[[MF, Any], Any]] = {
    "recommend": lambda m, x: m.recommend(x),
    "recommend k": lambda m, x: m.recommend([3], k=x),
    "recommend items": lambda m, x: m.recommend([3], items=x),
    "recommend exclude": lambda m, x: m.recommend([3], exclude=x),
    "recommend exclude_seen": lambda m, x: m.recommend([3], exclude_seen=x),
    "recommend risk": lambda _, x: BELIEVER.recommend([0], risk=x),
    "recommend explore": lambda _, x: BELIEVER.recommend([0], explore=x),
    "predict": lambda m, x: m.predict(x, [3]),
    "predict clip": lambda m, x: m.predict([3], [3], clip=x),
    "predict_one": lambda m, x: m.predict_one(x, 3),
    "predict_one clip": lambda m, x: m.predict_one(3, 3, clip=x),
    "similar_items": lambda m, x: m.similar_items(x),
    "fold_in": lambda m, x: m.fold_in(x),
    "fold_in exclude_seen": lambda m, x: m.fold_in(FEW, exclude_seen=x),
    "lists": lambda m, x: m.lists(users=x),
    "lists exclude_seen": lambda m, x: m.lists(exclude_seen=x),
    "apply": lambda m, x: m.apply(x),
    "rollback": lambda m, x: m.rollback(x),
    "attach": lambda m, x: m.copy().attach(x, object()),
    "update": lambda m, x: m.update(x),
    "update epochs": lambda _, x: stepping().update(FEW, epochs=x),
    "update trainable": lambda m, x: m.copy().update(FEW, trainable=x),
    "update trainable users": lambda m, x: m.copy().update(FEW, trainable={"users": x}),
    "update max_history": lambda _, x: stepping().update(FEW, max_history=x),
    "update batch_size": lambda _, x: stepping().update(FEW, batch_size=x),
    "update order": lambda m, x: m.copy().update(FEW, order=x),
    "update loss": lambda _, x: stepping().update(FEW, loss=x),
    "fit": lambda m, x: m.fit(x),
    "fit validation": lambda m, x: m.copy().fit(FEW, epochs=1, validation=x),
    "fit progress": lambda m, x: m.copy().fit(FEW, epochs=1, progress=x),
    "fit callbacks": lambda m, x: m.copy().fit(FEW, epochs=1, callbacks=x),
    "learn_one": lambda m, x: m.copy().learn_one(x, 3),
    "learn_one value": lambda m, x: m.copy().learn_one(3, 3, x),
    "evaluate metric": lambda m, x: evaluate(m, FEW, x),
    "from_factors": lambda _, x: MF.from_factors(x, np.ones((2, 3))),
    "from_factors counts": lambda _, x: MF.from_factors(ONES, ONES, solver=optimizers.Variational(), counts=x),
    "from_factors counts of users": lambda _, x: MF.from_factors(
        ONES, ONES, solver=optimizers.Variational(), counts={"users": x}
    ),
    "Interactions": lambda _, x: Interactions(x, [1, 2]),
    "Interactions values": lambda _, x: Interactions([1, 2], [1, 2], x),
    "concatenate": lambda _, x: Interactions.concatenate(x),
    "MF loss": lambda _, x: MF(loss=x),
    "MF options": lambda _, x: MF(options=x),
    "Options storage": lambda _, x: MF(options=Options(storage=x)),
    "Options device": lambda _, x: MF(options=Options(device=x)),
    "ndcg": lambda _, x: metrics.ndcg(x, [0], [0]),
    "recall rows": lambda _, x: metrics.recall([[0.1, 0.2]], x, [0]),
    "rmse": lambda _, x: metrics.rmse(x, [1, 2]),
    "coverage": lambda _, x: metrics.coverage(x, 3),
}
OF_PYTHON = (
    "truth value",
    "object is not",
    "unsupported operand",
    "not supported between",
    "could not convert",
    "len()",
)


def large(name: str, value: Any) -> bool:
    """Whether a call would take such a count, and long."""
    return name.endswith("epochs") and isinstance(value, int) and value > 3


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("name", CALLS)
def test_what_is_refused_is_refused_in_one_line(name: str) -> None:
    model = fitted()
    before = bits(model)
    for value in VALUES:
        if large(name, value):
            continue
        try:
            CALLS[name](model, value)
        except (FastMFError, TypeError, ValueError) as error:
            told = str(error)
            assert "\n" not in told, (type(value), told)
            assert not any(text in told for text in OF_PYTHON), (type(value), told)
            assert_same(bits(model), before)
