"""The command line, from its arguments to its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import fastmf
from fastmf import datasets, losses, optimizers
from fastmf.cli import main
from fastmf.comparison import contestants


@pytest.fixture(scope="module")
def small():
    return datasets.synthetic(events=3_000, users=120, items=150, seed=4)


@pytest.fixture
def csv(small, tmp_path):
    path = tmp_path / "my ratings.csv"
    table = np.stack([small.users, small.items, small.values, small.times], axis=1)
    np.savetxt(path, table, fmt="%d", delimiter=",", header="who,what,stars,when", comments="")
    return path


COLUMNS = ["--user", "who", "--item", "what", "--value", "stars", "--time", "when"]


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"fastmf {fastmf.__version__}\n"


@pytest.mark.parametrize("metric", ["rmse", "ndcg"])
def test_compare_own_events(csv, tmp_path, capsys, metric):
    out = tmp_path / "report"
    small = ["--seeds", "1", "--factors", "8", "--block", "0.1", "--metric", metric]
    assert main(["compare", "--data", str(csv), *COLUMNS, *small, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "my ratings: 3,000 events" in printed.out
    assert str(out / "index.html") in printed.out
    assert "%|" not in printed.err  # no progress bar away from a terminal
    read = json.loads((out / "compare.json").read_text())
    assert (read["dataset"], read["metric"], read["block"]) == ("my ratings", metric, 0.1)
    assert tuple(read["contestants"]) == contestants(metric)
    for outcome in read["contestants"].values():
        assert len(outcome["by_block"]) == 4
        assert np.isfinite(outcome["value"])
    assert read["contestants"]["update"]["cpu_seconds"] > 0


def test_compare_reads_parquet_and_a_preset(small, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "log.parquet"
    parquet.write_table(arrow.table({"user": small.users, "item": small.items, "stars": small.values}), path)
    command = [
        "compare",
        "--data",
        str(path),
        "--value",
        "stars",
        "--seeds",
        "1",
        "--factors",
        "8",
        "--block",
        "0.2",
    ]
    assert main([*command, "--preset", "new-events", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "compare.json").read_text())["preset"] == "new-events"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--value", "points"], "points"),
        (["--value", "stars", "--user", "nobody"], "nobody"),
        (["--metric", "rmse"], "--value"),
        (["--metric", "logloss"], "--value"),
        (["--metric", "logloss", "--value", "stars"], "[0, 1]"),
        (["--value", "stars", "--preset", "magic"], "magic"),
        (["--value", "stars", "--block", "0.9"], "block"),
        (["--value", "stars", "--seeds", "0"], "seeds"),
        (["--value", "stars", "--factors", "0"], "factors"),
    ],
)
def test_errors_are_one_line_and_status_2(csv, tmp_path, capsys, arguments, message):
    names = ["--user", "who", "--item", "what", "--time", "when"]
    out = tmp_path / "report"
    assert main(["compare", "--data", str(csv), *names, *arguments, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("fastmf: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""
    assert not out.exists()


def test_a_log_and_a_file_are_one_too_many(csv, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["compare", "synthetic", "--data", str(csv), *COLUMNS, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"fastmf: compare takes the log synthetic or --data {csv}, not both\n"
    assert printed.out == ""
    assert not out.exists()


def test_events_without_values_are_ranked(csv, tmp_path):
    columns = ["--user", "who", "--item", "what", "--time", "when", "--seeds", "1", "--factors", "8", "--block", "0.2"]
    assert main(["compare", "--data", str(csv), *columns, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "compare.json").read_text())["metric"] == "ndcg"


@pytest.mark.parametrize(
    ("arguments", "races"),
    [
        ([], [("complete-journey", "ndcg"), ("synthetic", "rmse")]),
        (["--metric", "recall"], [("complete-journey", "recall")]),
        (["--metric", "mae"], [("synthetic", "mae")]),
        (["complete-journey"], [("complete-journey", "ndcg")]),
        (["movielens-100k"], [("movielens-100k", "rmse")]),
        (["synthetic", "--metric", "ndcg"], [("synthetic", "ndcg")]),
    ],
)
def test_what_runs_where_nothing_is_said(small, tmp_path, capsys, monkeypatch, arguments, races):
    monkeypatch.setattr("fastmf.cli.load", lambda name: small)
    tiny = ["--seeds", "1", "--factors", "8", "--block", "0.2", "--out", str(tmp_path)]
    assert main(["compare", *arguments, *tiny]) == 0
    printed = capsys.readouterr().out
    first = json.loads((tmp_path / "compare.json").read_text())
    folders = [tmp_path / name for name, _ in races] if len(races) > 1 else [tmp_path]
    for folder, race in zip(folders, races, strict=True):
        read = json.loads((folder / "compare.json").read_text())
        assert (read["dataset"], read["metric"]) == race
        assert (folder / "index.html").exists()
        assert f"{race[0]}: 3,000 events" in printed
    assert (first["dataset"], first["metric"]) == races[0]
    assert first.get("also", []) == [f"{name}/compare.json" for name, _ in races[1:]]
    for path in first.get("also", []):
        assert (tmp_path / path).exists()
    leads = re.findall(r'href="([^"]*)"', (tmp_path / "index.html").read_text())
    assert leads == ([f"{name}/index.html" for name, _ in races] if len(races) > 1 else [])


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["compare", "--data", str(tmp_path / "none.csv"), "--value", "v"]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_offline_data_set(tmp_path, capsys, monkeypatch):
    def urlopen(*_, **__):
        raise TimeoutError("no answer")

    monkeypatch.setenv("FASTMF_DATA", str(tmp_path))
    monkeypatch.setattr(datasets.urllib.request, "urlopen", urlopen)
    assert main(["compare", "movielens-100k"]) == 2
    printed = capsys.readouterr().err
    assert str(tmp_path / "ml-100k.zip") in printed
    assert printed.count("\n") == 1


def test_unknown_data_set_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", "netflix"])
    assert end.value.code == 2
    assert "synthetic" in capsys.readouterr().err


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "fastmf", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastmf {fastmf.__version__}\n"


def test_warmup_names_what_it_compiles(monkeypatch, capsys):
    asked = []

    def warm_up(factors, storage):
        asked.append((factors, storage))
        yield 8, losses.Huber(), optimizers.SGD(), "float16"

    monkeypatch.setattr("fastmf.cli.warm_up", warm_up)
    assert main(["warmup", "--factors", "8", "24", "--storage", "float16"]) == 0
    assert asked == [([8, 24], ["float16"])]
    assert capsys.readouterr().out == "8 factors, Huber, SGD, float16\n"


@pytest.mark.parametrize("factors", [["0"], ["-3"], ["8", "2000"]])
def test_warmup_refuses_what_a_model_does_before_it_compiles_anything(monkeypatch, capsys, factors):
    monkeypatch.setattr("fastmf.warmup._use", lambda model: pytest.fail("nothing is to be compiled"))
    assert main(["warmup", "--factors", *factors]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"fastmf: factors must be an integer from 1 to 1024, got {factors[-1]}\n"
    assert printed.out == ""
