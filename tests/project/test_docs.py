"""The code of README.md and docs/ runs, prints what the pages say, and the pages are complete."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import fastmf

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SKETCHED = {"pretrained.md"}  # shows models of other tools, which are not made there
ROOMS = [
    fastmf,
    *(getattr(fastmf, name) for name in ("datasets", "integrations", "losses", "metrics", "optimizers")),
    fastmf.regularizers,
    fastmf.samplers,
    *map(importlib.import_module, ("fastmf.comparison", "fastmf.recipes", "fastmf.report")),
]

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<output>.*?)^```$)?", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<part>[^)]*))?\)")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?(?P<time> ms)?")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


class Block(NamedTuple):
    """Python code of a page, and what it prints where the page says so."""

    code: str
    output: str | None

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.code)

    def lacks_a_package(self) -> bool:
        """Whether it imports an outside package that is not installed."""
        modules = [alias.name for node in ast.walk(self.tree) if isinstance(node, ast.Import) for alias in node.names]
        modules += [node.module for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom) and node.module]
        return any(find_spec(module.split(".")[0]) is None for module in modules)

    def missing(self, known: dict[str, Any]) -> set[str]:
        """The names that it uses and that nobody defined."""
        names = [node for node in ast.walk(self.tree) if isinstance(node, ast.Name)]
        own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
        imported = (node.names for node in ast.walk(self.tree) if isinstance(node, ast.Import | ast.ImportFrom))
        own |= {alias.asname or alias.name for aliases in imported for alias in aliases}
        own |= {node.arg for node in ast.walk(self.tree) if isinstance(node, ast.arg)}
        own |= {node.name for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        return {node.id for node in names} - own - known.keys() - set(dir(builtins))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, each padded so that a traceback shows the line of the page."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield Block("\n" * text[: found.start("code")].count("\n") + found["code"], found["output"])


def numbers(text: str) -> list[float]:
    """Return the numbers in a text, times as zero."""
    return [0.0 if found["time"] else float(found[0]) for found in NUMBER.finditer(text)]


def words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


@each_page
def test_code_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Kernels of the page's own classes are kept like others where these can be imported.
    module = ModuleType(page.stem)
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = vars(module)
    for block in blocks(page):
        if block.lacks_a_package():
            continue
        if page.name in SKETCHED and block.missing(names):
            continue
        exec(compile(block.code, page, "exec"), names)
        printed = capsys.readouterr().out
        if block.output is not None:
            assert words(printed) == words(block.output), printed
            # The last digits are the machine's.
            assert numbers(printed) == pytest.approx(numbers(block.output), rel=0.05, abs=0.02), printed


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = page.parent / link["path"] if link["path"] else page
        assert target.is_file(), link[0]
        if link["part"]:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert link["part"] in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if page.name != "index.md" and f"]({page.name})" not in index] == []


def test_the_reference_names_everything_public() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    public = [name for room in ROOMS for name in room.__all__]
    public += [name for name in fastmf.errors.__all__ if isinstance(getattr(fastmf.errors, name), type)]
    public += [name for name in dir(fastmf.MF) if not name.startswith("_")]
    assert [name for name in public if not re.search(rf"`{name}\b", reference)] == []
