"""What the docstrings of the public face say: every argument, what comes back, and what is raised."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import fastmf
from fastmf import IdMap, datasets, integrations, metrics
from fastmf.lists import Lists

RAISING = [
    *(
        f"MF.{name}"
        for name in (
            *("fit", "refit", "update", "partial_fit", "learn_one", "predict_one", "flush", "predict", "recommend"),
            *(
                "fold_in",
                "lists",
                "similar_items",
                "similar_users",
                "apply",
                "rollback",
                "attach",
                "save",
                "set_params",
            ),
            "from_factors",
        )
    ),
    *("load", "Interactions.from_frame", "Interactions.from_csv", "Interactions.from_parquet"),
    *("IdMap.rows", "IdMap.ids", "IdMap.extend"),
]
OF_IDS = ("ids", "rows", "extend", "copy")  # the rest of IdMap serves the other rooms


def public() -> Iterator[tuple[str, Any]]:
    """Functions by name, and the public methods of classes."""
    for room in (fastmf, metrics, datasets, integrations):
        for name in room.__all__:
            one = getattr(room, name)
            if inspect.isclass(one):
                yield from methods(one)
            elif inspect.isfunction(one):
                yield name, one
    yield from methods(Lists)


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, one in inspect.getmembers(kind, lambda one: inspect.isfunction(one) or inspect.ismethod(one)):
        told = kind is not IdMap or name in OF_IDS
        if told and not name.startswith("_") and str(one.__module__).startswith("fastmf"):
            yield f"{kind.__name__}.{name}", one


PUBLIC = dict(public())


def section(text: str, title: str) -> str:
    """The body of a numpydoc section; empty where there is none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return "" if found is None else found[1]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_described(name: str) -> None:
    told = section(inspect.getdoc(PUBLIC[name]) or "", "Parameters")
    described = {
        one.strip().lstrip("*") for line in re.findall(r"^(\*{0,2}\w[^:\n]*)", told, re.M) for one in line.split(",")
    }
    wanted = {one for one in inspect.signature(PUBLIC[name]).parameters if one not in ("self", "cls")}
    assert wanted <= described


@pytest.mark.parametrize("name", PUBLIC)
def test_what_comes_back_is_described(name: str) -> None:
    returned = inspect.signature(PUBLIC[name]).return_annotation
    if returned not in (None, "None", inspect.Signature.empty):
        assert section(inspect.getdoc(PUBLIC[name]) or "", "Returns")


@pytest.mark.parametrize("name", RAISING)
def test_errors_are_described(name: str) -> None:
    assert section(inspect.getdoc(PUBLIC[name]) or "", "Raises")
