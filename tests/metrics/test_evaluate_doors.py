"""What `evaluate` is handed by mistake is named: the column, the row and the value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions
from fastmf.errors import DataError
from fastmf.evaluation import evaluate
from fastmf.metrics import coverage, novelty

NUMBERS, NAMES = Interactions([1, 2, 3], [10, 20, 10]), Interactions(["a", "b"], ["x", "y"])


def model_of(events: Interactions) -> MF:
    return MF(factors=8).fit(events, epochs=1, progress=False)


@pytest.mark.parametrize("metric", ["rmse", "ndcg", "auc"])
@pytest.mark.parametrize(
    ("events", "past", "message"),
    [
        (NAMES, None, r"events\.users, row 0: 'a' is str, but the known ids are int"),
        (Interactions([1], ["x"]), None, r"events\.items, row 0: 'x' is str, but the known ids are int"),
        (NUMBERS, NAMES, r"past\.users, row 0: 'a' is str, but the known ids are int"),
        (NUMBERS, Interactions([5], ["y"]), r"past\.items, row 0: 'y' is str, but the known ids are int"),
        ({"user": [1], "item": [10]}, None, r"events must be fastmf\.Interactions, not dict"),
        (None, NUMBERS, r"events must be fastmf\.Interactions, not NoneType"),
        (NUMBERS, np.ones((2, 2)), r"past must be fastmf\.Interactions, not ndarray"),
    ],
)
def test_ids_of_the_other_kind(metric: Any, events: Any, past: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(model_of(NUMBERS), events, metric, past)
    if isinstance(past, Interactions) and events is NUMBERS:
        with pytest.raises(DataError, match=r"events\.users, row 0: 1 is int, but the known ids are str"):
            evaluate(model_of(NAMES), events, metric, NAMES)


def test_ids_of_the_models_kinds() -> None:
    for events in (NUMBERS, NAMES):
        assert evaluate(model_of(events), events, "rmse").value >= 0
        empty = events[:0]
        assert evaluate(model_of(events), events, "rmse", empty).value >= 0


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_places_that_count(k: Any) -> None:
    with pytest.raises(ValueError, match="k must be an integer >= 1"):
        evaluate(model_of(NUMBERS), NUMBERS, "ndcg", k=k)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1, 2.5]], "row 1: 2.5 is of type float"),
        ([[True]], "row 0: True is of type bool"),
        (["a", 3], "row 1: 3 is of type int"),
        ([1, "a"], "row 1: 'a' is of type str"),
        ([2**70], "row 0: 1180591620717411303424 is of type int"),
        ([b"a"], "row 0: b'a' is of type bytes"),
        ([[1], [2, 3]], "lists of one length"),
    ],
)
def test_what_cannot_have_been_recommended(given: Any, message: str) -> None:
    for metric in (coverage, novelty):
        with pytest.raises(DataError, match=f"recommended.*{message}"):
            metric(given, [1, 2])
    for metric, name in ((coverage, "catalogue"), (novelty, "past")):
        with pytest.raises(DataError, match=f"{name}.*{message}"):
            metric([1, 2], given)


def test_recommendations_of_another_kind_than_the_catalogue() -> None:
    for metric, name in ((coverage, "catalogue"), (novelty, "past")):
        with pytest.raises(DataError, match=f"recommended holds str, {name} holds int"):
            metric(["a"], [1])
    assert coverage([], ["a"]) == coverage([[]], [1]) == 0
    assert np.isnan(novelty([], ["a"]))
    assert np.isnan(coverage([1], []))
