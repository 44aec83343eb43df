"""The package as type checkers see it: what users write is fine, and what is wrong is reported, line by line."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import fastmf
from fastmf.model.options import Settings
from fastmf.recipes import Overrides

SAMPLES = Path(__file__).parent / "typed"
NAMES = ("right.py", "wrong.py")
PYRIGHT = {"typeCheckingMode": "strict", "failOnWarnings": False}


def run(*command: str, folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr  # 1: there are errors
    return answer.stdout


def mypy(folder: Path, cache: Path) -> set[tuple[str, int]]:
    """Where errors are, as a user without any configuration gets them."""
    found = run("mypy", "--strict", "--config-file=", f"--cache-dir={cache}", *NAMES, folder=folder)
    assert f"(checked {len(NAMES)} source files)" in found, found
    errors = re.finditer(r"^([\w.]+):(\d+): error: ", found, re.MULTILINE)
    return {(error[1], int(error[2])) for error in errors}


def pyright(folder: Path) -> set[tuple[str, int]]:
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    answer = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable, *NAMES, folder=folder))
    assert answer["summary"]["filesAnalyzed"] == len(NAMES), answer
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in answer["generalDiagnostics"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Outside the checkout: there the package is one that is installed."""
    for path in SAMPLES.glob("*.py"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"))
    return tmp_path


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_report_what_is_wrong_and_nothing_else(
    folder: Path, checker: str, pytestconfig: pytest.Config
) -> None:
    cache = getattr(pytestconfig, "cache", None)
    kept = Path(cache.mkdir("mypy-of-samples")) if cache is not None else folder / "cache"
    found = mypy(folder, kept) if checker == "mypy" else pyright(folder)
    lines = [(name, *line) for name in NAMES for line in enumerate((folder / name).read_text().splitlines(), 1)]
    expected = {(name, number) for name, number, line in lines if line.endswith("# wrong")}
    assert found == expected
    assert {name for name, _ in expected} == {"wrong.py"}


def test_right_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What checkers accept is what the package does, to the last name."""
    monkeypatch.chdir(tmp_path)
    text = (SAMPLES / "right.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "sample"}
    exec(compile(text, "right.py", "exec"), names)
    assert names["counts"] > 0
    assert names["again"].version == names["model"].version


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("fastmf").joinpath("py.typed").is_file()


def test_every_public_name_resolves_without_another_import() -> None:
    code = "import fastmf, sys; before = len(sys.modules); [getattr(fastmf, name) for name in fastmf.__all__]; "
    code += "print(before < len(sys.modules), *(set(fastmf.__all__) - set(dir(fastmf))))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True"]
    for name in fastmf.__all__:  # a fresh process each would take long: the first of a name decides
        assert getattr(fastmf, name) is sys.modules.get(f"fastmf.{name}", getattr(fastmf, name))
    with pytest.raises(AttributeError, match="module 'fastmf' has no attribute 'nothing'"):
        fastmf.nothing  # noqa: B018


def test_a_room_resolves_where_it_is_the_first_that_is_asked_for() -> None:
    rooms = ["recipes", "ranking", "lists", "warmup", "regularizers", "report", "protocols", "model", "delta"]
    code = f"""
import sys
for room in {rooms}:
    for name in [name for name in sys.modules if name.split(".")[0] == "fastmf"]:
        del sys.modules[name]
    import fastmf
    print(getattr(fastmf, room).__name__)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [f"fastmf.{room}" for room in rooms]


def test_overrides_are_the_fields_of_an_update() -> None:
    hints = get_type_hints(fastmf.Update)
    assert get_type_hints(Overrides) == {field.name: hints[field.name] for field in fields(fastmf.Update)}


def test_settings_are_those_of_a_model_but_for_what_vectors_settle() -> None:
    hints, taken = get_type_hints(fastmf.MF.__init__), set(inspect.signature(fastmf.MF).parameters)
    assert get_type_hints(Settings) == {name: hints[name] for name in taken - {"factors"}}
