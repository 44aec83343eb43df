"""The comparison with other libraries: its plan, its data, its tables, and the C that kernels are measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.peers import ceiling, data, found, plan, plots, readme, tables
from fastmf.engine import shape_of
from fastmf.factors import SIDES


def tasks(suites: list[str], scope: plan.Scope, answer: dict[str, Any] | None) -> list[plan.Task]:
    """Carry out a plan where every measurement brings the same."""
    asked: list[plan.Task] = []
    plan.carry_out(suites, scope, lambda task: asked.append(task) or answer)
    return asked


@pytest.fixture(scope="module")
def small() -> data.Ratings:
    return data.generate(data.SHAPES["ml100k"])


@pytest.fixture(scope="module")
def library() -> Any:
    if ceiling.compiler() is None:
        pytest.skip("no C compiler")
    return ceiling.compile_source()


def test_the_log_has_the_shape_that_it_is_named_after(small: data.Ratings) -> None:
    size = data.SHAPES["ml100k"]
    counts = np.bincount(small.users, minlength=size.users)
    assert small.users.size == size.ratings == 100_000
    assert counts.size == size.users
    assert counts.min() >= data.LEAST
    assert counts.max() <= size.cap
    assert small.items.max() < size.items
    assert np.isin(small.values, np.arange(1, 11) / 2).all()
    pairs = small.users.astype(np.int64) * size.items + small.items
    assert np.unique(pairs).size == pairs.size


def test_a_split_loses_nothing(small: data.Ratings) -> None:
    train, test = data.split(small)
    for whole, *parts in zip(small, train, test, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))
    assert 0.09 < test.users.size / small.users.size < 0.11


def test_contestants_take_turns() -> None:
    asked = tasks(["explicit"], plan.Scope(["ml1m"], [32], [1], rounds=2), {})
    first_round = [task.contestant for task in asked[:4]]
    assert first_round == ["libmf", "fastmf", "fastmf SGD", "fastmf float16"]
    assert [task.contestant for task in asked[4:8]] == first_round
    assert {task.library for task in asked} == {"libmf", "fastmf", *plan.SLOW_PEERS}


def test_quality_asks_for_what_was_found() -> None:
    scope = plan.Scope(["ml1m"], rounds=1)
    asked = tasks(["quality"], scope, {"target": 0.8, "epochs": 5})
    assert [(task.contestant, task.settings.get("epochs")) for task in asked] == [
        ("libmf errors", None),
        ("fastmf errors", None),
        ("libmf", 5),
        ("fastmf", 5),
    ]
    assert len(tasks(["quality"], scope, None)) == 1  # without LIBMF there is nothing to reach


def test_every_task_names_a_contestant_of_its_suite() -> None:
    from importlib import import_module

    for task in tasks(list(plan.SUITES), plan.Scope(rounds=1), {"target": 0.8, "epochs": 5}):
        assert task.contestant in import_module(f"benchmarks.peers.{task.suite}").CONTESTANTS


def rates(contestant: str, rate: float, turn: int) -> dict[str, Any]:
    cell = {"shape": "ml1m", "factors": 32, "threads": 1}
    return {"suite": "explicit", "contestant": contestant, "round": turn, **cell, "rate": rate, "cores": 1.0}


def test_ratios_are_those_within_a_round() -> None:
    results = [rates("libmf", rate, turn) for turn, rate in enumerate((10.0, 20.0, 40.0))]
    results += [rates("fastmf", rate, turn) for turn, rate in enumerate((30.0, 40.0, 80.0))]
    training = found.Found(results, "explicit")
    assert training.value("fastmf", "rate") == 40
    assert training.ratio("fastmf", "libmf", "rate") == 2
    assert training.ratio("fastmf", "cornac", "rate") is None


def test_disturbed_rounds_count_where_there_is_no_other() -> None:
    results = [rates("libmf", 10.0, 0), rates("libmf", 10.0, 1)]
    results += [rates("fastmf", 30.0, 0), rates("fastmf", 5.0, 1) | {"cores": 0.5}]
    assert found.Found(results, "explicit").ratio("fastmf", "libmf", "rate") == 3
    assert found.Found(results[:2] + results[3:], "explicit").ratio("fastmf", "libmf", "rate") == 0.5


def test_tables_say_what_is_missing_and_what_failed(tmp_path: Any) -> None:
    run = {
        "machine": {"processor": "P", "cores": "2", "system": "S", "numba": "1"},
        "versions": {"fastmf": "0.1", "libmf": ""},
        "missing": ["river"],
        "failures": [{"suite": "explicit", "contestant": "cornac", "error": "broken"}],
        "results": [rates("libmf", 20.0, 0), rates("fastmf", 50.0, 0)],
    }
    report = tables.report(run)
    assert "| ml1m | 32 | 1 | 20 | 50 (2.50 x) |" in report
    assert "Not installed: river." in report
    assert "cornac" in report
    assert "broken" in report

    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("a\n<!-- peers -->\nold\n<!-- /peers -->\nb\n")
    readme.renew(tmp_path, run)
    page = (tmp_path / "README.md").read_text()
    assert "old" not in page
    assert "| 50 | LIBMF 20 | 2.50 x |" in page
    assert "(docs/peers-training.svg)" in page
    assert (tmp_path / "docs" / "peers-training.svg").read_text() == plots.training(run["results"])


@pytest.mark.parametrize("solver", ceiling.SOLVERS)
@pytest.mark.parametrize("flight", ceiling.FLIGHTS)
def test_the_ceiling_does_the_work_of_the_kernel(small: data.Ratings, library: Any, solver: str, flight: int) -> None:
    counts, shape = data.SHAPES["ml100k"][:2], shape_of(32, ceiling.SOLVERS[solver], True)
    order = ceiling.make_plans(small.take(slice(0, 20_000)), counts, shape)[1][flight]
    assert order.in_flight == flight
    kernel, compiled = (ceiling.Pass.over(order, counts, 32, ceiling.SOLVERS[solver], 1) for _ in range(2))
    for _ in range(2):
        assert compiled.compiled(library) == pytest.approx(kernel.kernel(), rel=1e-5)
    for side in SIDES:
        for one, other in zip(kernel.working.now[side], compiled.working.now[side], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
