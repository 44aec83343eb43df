"""Programs without a console, and output in encodings that know few characters."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, console, report
from fastmf.cli import main
from fastmf.kernels.core import bridge

EVENTS = Interactions([1, 2, 3], [1, 2, 3], values=[1, 2, 3])
ROOT = Path(__file__).resolve().parents[2]


def closed() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


class Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Bare:
    """What can do nothing but write."""

    def write(self, text: str, /) -> int:
        return len(text)


NOWHERE = {"bare": Bare, "None": lambda: None, "closed": closed, "gone": Gone}
nowhere = pytest.mark.parametrize("make", NOWHERE.values(), ids=NOWHERE)


@nowhere
@pytest.mark.parametrize("progress", [None, False, True])
def test_a_fit_needs_no_standard_error(monkeypatch: pytest.MonkeyPatch, make: Any, progress: bool | None) -> None:
    monkeypatch.setattr(sys, "stderr", make())
    model = MF(factors=8).fit(EVENTS, epochs=2, progress=progress)
    assert len(model.history_) == 2


def test_a_bar_is_shown_where_there_is_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    MF(factors=8).fit(EVENTS, epochs=2, progress=True)
    assert "2/2" in sys.stderr.getvalue()


@nowhere
def test_the_notice_of_compilation_goes_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make: Any
) -> None:
    started = SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=bridge.stamp)})
    monkeypatch.setattr(sys, "stderr", make())
    bridge._Notice().on_start(started)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bridge._Notice().on_start(started)
    assert sys.stderr.getvalue().startswith("fastmf: compiling")


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", "1 → 2 … – · é ✓"), ("cp1252", "1 -> 2 .. - | é ?"), ("ascii", "1 -> 2 .. - | ? ?")],
)
def test_what_an_encoding_lacks_is_put_plainly(monkeypatch: pytest.MonkeyPatch, encoding: str, printed: str) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    console.show("1 → 2 … – · é ✓")
    assert sys.stdout.buffer.getvalue().decode(encoding) == f"{printed}\n"


def test_what_models_print_is_ascii() -> None:
    model = MF(factors=8).fit(EVENTS, epochs=1, progress=False)
    told: list[object] = [
        model,
        model.update(EVENTS),
        model.rollback(to=0),
        MF(),
        EVENTS,
        model.lists(k=2),
        model.users,
    ]
    for one in told:
        assert str(one).isascii()
        assert repr(one).isascii()


@pytest.fixture
def compare(tmp_path: Path) -> list[str]:
    """A command line that compares on a small log, whose name is not ASCII."""
    rng = np.random.default_rng(0)
    log = tmp_path / "données.csv"
    rows = (f"{user},{item},{value}" for user, item, value in rng.integers(1, 30, (600, 3)))
    log.write_text("user,item,rating\n" + "\n".join(rows) + "\n", encoding="utf-8")
    options = ["--value", "rating", "--seeds", "1", "--factors", "4", "--block", "0.2"]
    return ["compare", "--data", str(log), *options, "--out", str(tmp_path / "out")]


def pages(compare: list[str]) -> dict[str, Any]:
    folder = Path(compare[-1])
    assert "données" in (folder / "index.html").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-16"])
def test_a_comparison_is_printed_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, compare: list[str], encoding: str
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert main(compare) == 0
    text = sys.stdout.buffer.getvalue().decode(encoding)
    assert "RMSE" in text
    assert ("donn?es" if encoding == "ascii" else "données") in text
    assert pages(compare)["dataset"] == "données"


@nowhere
def test_a_comparison_needs_no_console(monkeypatch: pytest.MonkeyPatch, compare: list[str], make: Any) -> None:
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", make())
    assert main(compare) == 0
    assert pages(compare)["dataset"] == "données"
    assert main(["compare", "--data", "nowhere.csv"]) == 2


def test_a_data_set_of_any_name(tmp_path: Path) -> None:
    files = report._write(tmp_path, {"dataset": "bad\udcff"}, "<h1>bad\udcff</h1>"), tmp_path / "compare.json"
    assert [file.read_text(encoding="utf-8").count("bad") for file in files] == [1, 1]


def test_help_without_a_console() -> None:
    commands = ["--help", "compare --help", "--version", "compare --what"]
    code = f"""
import sys
sys.stdout = sys.stderr = None
from fastmf.cli import main
ends = []
for command in {commands}:
    try:
        main(command.split())
    except SystemExit as end:
        ends.append(end.code)
sys.exit(10 + ends.index(2) if ends[:3] == [0, 0, 0] else 1)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (13, b"", b"")
