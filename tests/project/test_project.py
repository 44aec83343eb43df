"""What holds for the tree as a whole: imports, forbidden constructs and sizes."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import fastmf

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "fastmf").rglob("*.py"))

UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
NEVER_TRUE = {"allow_pickle", "fastmath"}
HEAVY = {"duckdb", "narwhals", "numba", "pandas", "polars", "pyarrow", "scipy", "torch", "tqdm"}

# Written so that the patterns do not match themselves.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|opt|root|tmp|Users|work)/")
REGISTRY_HOST = re.compile(r"\b(?:pypi|pythonhosted|npmjs|debian|anaconda)\.(?:org|com|net)\b")


def forbidden(tree: ast.AST) -> Iterator[str]:
    """Yield what must not stand in the package: unpickling, evaluation, `fastmath=True`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"import {alias.name}" for alias in names if unpickles(alias.name))
            case ast.ImportFrom(module=str(module), level=0) if unpickles(module):
                yield f"import {module}"
            case ast.Call(func=ast.Name(id=str(name))) if name in {"eval", "exec"}:
                yield f"{name}()"
            case ast.keyword(arg=str(name), value=ast.Constant(value=True)) if name in NEVER_TRUE:
                yield f"{name}=True"
            case ast.Dict(keys=keys, values=values):
                options = [key.value if isinstance(key, ast.Constant) else None for key in keys]
                true = [isinstance(value, ast.Constant) and value.value is True for value in values]
                yield from (f"{option!r}: True" for option in compress(options, true) if option in NEVER_TRUE)


def unpickles(module: str) -> bool:
    return module.split(".")[0] in UNPICKLERS


def files_of_the_project(root: Path = ROOT) -> list[Path]:
    """List what is committed, and not what users keep beside it; empty outside a git checkout."""
    command = ["git", "ls-files", "-z", "--cached"]
    try:
        answer = subprocess.run(command, cwd=root, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []
    paths = (root / name for name in answer.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_import_contracts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert list(forbidden(ast.parse(text))) == []
    assert text.count("\n") <= 400, "a room that outgrows a file becomes a folder"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", ["import pickle"]),
        ("from joblib.numpy_pickle import load", ["import joblib.numpy_pickle"]),
        ("from . import pickle", []),
        ("x = eval('1')", ["eval()"]),
        ("exec('1')", ["exec()"]),
        ("model.eval()", []),
        ("np.load(p, allow_pickle=True)", ["allow_pickle=True"]),
        ("np.load(p, allow_pickle=False)", []),
        ("@njit(fastmath=True)\ndef f(): pass", ["fastmath=True"]),
        ("njit(fastmath={'contract'})", []),
        ("njit(**{'fastmath': True})", ["'fastmath': True"]),
    ],
)
def test_forbidden_constructs_are_seen(source: str, found: list[str]) -> None:
    assert list(forbidden(ast.parse(source))) == found


def test_import_is_light() -> None:
    code = f"import fastmf, sys; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert answer.stdout.split() == []


def test_public_names_are_documented() -> None:
    bare = []
    for name in fastmf.__all__:
        thing = getattr(fastmf, name)
        if inspect.ismodule(thing) or inspect.isclass(thing) or callable(thing):
            text = thing.__doc__ or ""
            made_up = text.startswith(f"{name}(")  # by NamedTuple and dataclass
            if made_up or not text.strip():
                bare.append(name)
    assert bare == []


def test_no_machine_path_and_no_registry_host() -> None:
    paths = files_of_the_project()
    if not paths:
        pytest.skip("not a git checkout")
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_what_users_keep_beside_the_project_is_not_looked_at(tmp_path: Path) -> None:
    try:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    except FileNotFoundError:
        pytest.skip("no git")
    for name in ("kept.py", "run.log"):
        (tmp_path / name).write_text("x = 1\n")
    subprocess.run(["git", "add", "kept.py"], cwd=tmp_path, check=True)
    assert files_of_the_project(tmp_path) == [tmp_path / "kept.py"]
