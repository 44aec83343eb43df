"""What the docstrings of the public face say: every argument, what comes back, and what is raised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import fastmf
from fastmf import IdMap, datasets, evaluation, integrations, metrics, warmup
from fastmf.lists import Lists
from fastmf.model.ids import Ids

FURTHER = {one.__name__: one for one in (Lists, Ids, evaluation.Evaluation, evaluation.evaluate, warmup.warm_up)}
OF_IDS = ("ids", "rows", "extend", "copy")  # the rest of IdMap serves the other rooms
RAISING = """
    MF MF.fit MF.refit MF.update MF.partial_fit MF.learn_one MF.flush MF.apply MF.rollback MF.attach MF.predict MF.save
    MF.predict_one MF.recommend MF.fold_in MF.lists MF.similar_items MF.similar_users MF.from_factors MF.set_params load
    Options.check Update Lists.refresh IdMap.ids IdMap.rows IdMap.extend Interactions Interactions.from_frame evaluate
    Interactions.from_csv Interactions.split_by_time datasets.load warm_up ranks ndcg auc rmse coverage from_npz
"""


def public() -> Iterator[tuple[str, Any]]:
    """Classes, their own methods and functions, by name."""
    found = {name: getattr(room, name) for room in (fastmf, integrations, metrics) for name in room.__all__}
    found |= {f"datasets.{name}": getattr(datasets, name) for name in datasets.__all__}
    for name, one in (found | FURTHER).items():
        if inspect.isfunction(one):
            yield name, one
        elif inspect.isclass(one) and one.__module__.startswith("fastmf."):
            yield from [(name, one)] if one is not Lists else []  # made by MF.lists
            for inner, method in inspect.getmembers(one, lambda a: inspect.isfunction(a) or inspect.ismethod(a)):
                if not inner.startswith("_") and (one is not IdMap or inner in OF_IDS):
                    yield f"{name}.{inner}", method


PUBLIC = dict(public())


def entries(one: Any, *titles: str) -> dict[str, str]:
    """The entries of numpydoc sections: what heads each, and the text under it."""
    text, found = inspect.getdoc(one) or "", dict[str, str]()
    for title in titles:
        section = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
        found |= dict(re.findall(r"^(\S.*)\n((?:\s+\S.*\n?)*)", f"{section[1]}\n" if section else "", re.MULTILINE))
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_described(name: str) -> None:
    told = entries(PUBLIC[name], "Parameters", "Attributes")
    described = {one.strip(" *") for head in told for one in head.split(" : ")[0].split(",")}
    assert set(inspect.signature(PUBLIC[name]).parameters) - {"self", "cls"} <= described
    assert [head for head, text in told.items() if not text.strip()] == []


@pytest.mark.parametrize("name", [name for name, one in PUBLIC.items() if not inspect.isclass(one)])
def test_what_comes_back_is_described(name: str) -> None:
    told = entries(PUBLIC[name], "Returns", "Yields").values()
    assert (told and all(map(str.strip, told))) or inspect.signature(PUBLIC[name]).return_annotation == "None"


@pytest.mark.parametrize("name", RAISING.split())
def test_errors_are_described(name: str) -> None:
    assert entries(PUBLIC[name], "Raises")
