"""The comparison with other libraries: its plan, its data, its tables, and the C that kernels are measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import (
    ceiling,
    clocks,
    data,
    found,
    incremental,
    plan,
    plots,
    ranking,
    ranking_quality,
    readme,
    recommenders,
    tables,
)
from fastmf import MF, Interactions
from fastmf.kernels.core.shape import shape_of


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
    assert [task.contestant for task in asked[4:7]] == first_round[:3]
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


def test_fewer_turns_where_a_fit_takes_long() -> None:
    scope = plan.Scope(rounds=3)
    assert (len(scope.turns("ml1m")), len(scope.turns(plan.LARGE))) == (3, 2)
    assert len(plan.Scope(rounds=1).turns(plan.LARGE)) == 1


def test_peers_that_rank_are_measured_as_often_as_fastmf() -> None:
    asked = tasks(["ranking"], plan.Scope(rounds=2), {})
    cells = {(task.settings["shape"], task.settings["threads"], task.settings["factors"]) for task in asked}
    assert {("ml1m", threads, factors) for threads in (1, 2) for factors in (32, 64, 128)} < cells
    for method, (contestants, _) in plan.RANKING.items():
        assert contestants[0] == f"fastmf {method}" == tables.ours_for(contestants[-1])
        turns = [
            [(task.settings["shape"], task.round) for task in asked if task.contestant == who] for who in contestants
        ]
        assert all(set(one) <= set(turns[0]) for one in turns[1:])
    whole = {
        task.contestant for task in asked if "positives" not in task.settings and task.settings["shape"] == plan.LARGE
    }
    assert whole == {"fastmf ALS", "implicit ALS", "irspack iALS", "fastmf BPR", "implicit BPR", "fastmf WARP"}


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


# --- implicit feedback ----------------------------------------------------------------------------------------------


def ratings(users: list[int], items: list[int]) -> data.Ratings:
    columns = np.array(users, np.int32), np.array(items, np.int32)
    return data.Ratings(*columns, np.ones(len(users), np.float32))


def slow_evaluation(scores: np.ndarray, seen: data.Ratings, test: data.Ratings) -> tuple[float, float]:
    """NDCG@10 and Recall@20, user by user and item by item."""
    ndcg, recall = [], []
    for user in sorted(set(test.users.tolist())):
        wanted = set(test.items[test.users == user].tolist())
        dropped = set(seen.items[seen.users == user].tolist())
        left = [item for item in range(scores.shape[1]) if item not in dropped]
        left.sort(key=lambda item: (-scores[user, item], item in wanted))  # ties: what is wanted comes last
        hits = [item in wanted for item in left]
        ideal = sum(1 / np.log2(2 + place) for place in range(min(10, len(wanted))))
        ndcg.append(sum(1 / np.log2(2 + place) for place, hit in enumerate(hits[:10]) if hit) / ideal)
        recall.append(sum(hits[:20]) / min(20, len(wanted)))
    return float(np.mean(ndcg)), float(np.mean(recall))


@pytest.mark.parametrize("levels", [3, 1_000])  # many ties, and hardly any
def test_the_evaluator_counts_as_a_slow_one_does(levels: int) -> None:
    rng, users, items = np.random.default_rng(levels), 40, 60
    pairs = rng.choice(users * items, 900, replace=False)
    log = ratings((pairs // items).tolist(), (pairs % items).tolist())
    seen, test = log.take(slice(0, 500)), log.take(slice(500, None))
    test = test.take(test.users != 7)  # not everybody has something to find
    vectors = recommenders.Vectors(np.eye(users), rng.integers(levels, size=(users, items)).T.astype(np.float64))
    found = ranking_quality.evaluate(vectors, seen, test)
    assert found["users"] == users - 1
    assert (found["ndcg"], found["recall"]) == pytest.approx(slow_evaluation(vectors.items.T, seen, test))


def test_a_model_that_ties_everything_finds_nothing() -> None:
    same = recommenders.Vectors(np.ones((2, 1)), np.ones((50, 1)))
    broken = recommenders.Vectors(np.full((2, 1), np.nan), np.ones((50, 1)))
    seen, test = ratings([0, 1], [0, 1]), ratings([0, 0, 1], [2, 3, 4])
    for vectors in (same, broken):
        assert ranking_quality.evaluate(vectors, seen, test) == {"ndcg": 0, "recall": 0, "users": 2}


def test_the_speed_of_training_leaves_out_the_set_up(monkeypatch: pytest.MonkeyPatch, small: data.Ratings) -> None:
    monkeypatch.setattr(ranking, "load", lambda *_: data.Split(data.SHAPES["ml100k"], small, small))
    now = iter([(0, 0), (5, 5), (7, 9), (9, 13)])  # wall and processor time: four seconds of set-up, then cores at two
    monkeypatch.setattr(clocks.Time, "now", lambda: clocks.Time(*next(now)))

    def recommender(split: data.Split, factors: int, threads: int, epochs: int, tick: Any) -> recommenders.Vectors:
        assert (split.train.users.size, factors, threads) == (50_000, 32, 2)
        for _ in range(1 + epochs):
            tick()
        return recommenders.Vectors(np.zeros((1, 1)), np.zeros((1, 1)))

    settings = {"shape": "ml100k", "factors": 32, "threads": 2, "epochs": [1, 3], "positives": 50_000}
    measured = ranking.measure(recommender, Path(), **settings)
    assert measured == {"rate": pytest.approx(0.1 / 4), "cores": 2, "setup": 3}


def test_rows_of_the_model_become_rows_of_the_log() -> None:
    split = data.Split(data.Size(4, 5, 3, 3), ratings([3, 0, 3], [4, 1, 1]), ratings([1], [1]))
    model = MF(8).fit(Interactions([3, 0, 3], [4, 1, 1], values=[1.0, 2.0, 3.0]), epochs=1, progress=False)
    vectors = recommenders.vectors_of(model, split)
    scores = vectors.users @ vectors.items.T + vectors.biases
    wanted = model.predict([3, 3, 0], [4, 1, 4], clip=False) - model.global_mean
    own = model.user_biases[[0, 0, 1]]
    np.testing.assert_allclose(scores[[3, 3, 0], [4, 1, 4]], wanted - own, rtol=1e-5, atol=1e-6)
    assert (scores[:, [0, 2, 3]] < -1e29).all()
    assert not vectors.users[[1, 2]].any()


def test_blocks_are_ranked_by_what_comes_next(small: data.Ratings) -> None:
    line = incremental.Timeline.of(small)
    assert [part.users.size for part in line[:3]] == [90_000, 5_000, 95_000]
    np.testing.assert_array_equal(line.block.items, small.items[90_000:95_000])
    assert set(line.asked.users) == set(line.known.users) <= set(line.both.users)
    assert line.asked.users.size <= 5_000
    perfect = np.zeros(data.SHAPES["ml100k"][:2], np.float32)
    perfect[line.asked.users, line.asked.items] = 1
    vectors = {
        name: recommenders.Vectors(np.eye(len(perfect)), perfect.T * up)
        for name, up in (("updated", 1), ("retrained", 2))
    }
    told = line.outcome(vectors, clocks.Time(1, 2), clocks.Time(30, 50))
    assert (told["updated"], told["quality"], told["less"], told["events"]) == (pytest.approx(1), 1, 25, 5_000)


def test_single_events_are_told_apart_by_their_rows(monkeypatch: pytest.MonkeyPatch, small: data.Ratings) -> None:
    train, test = data.split(small)
    monkeypatch.setattr(incremental, "LONG", 100)
    kinds = incremental.events_of(data.Split(data.SHAPES["ml100k"], train, test))
    users, items = (np.bincount(column, minlength=2_000) for column in train[:2])
    assert all(max(users[user], items[item]) <= 100 for user, item in kinds["short"])
    assert all(max(users[user], items[item]) > 100 for user, item in kinds["long"])
    assert len(kinds["short"]) + len(kinds["long"]) == test.users.size
    monkeypatch.setattr(incremental, "LONG", 5_000)
    assert list(incremental.events_of(data.Split(data.SHAPES["ml100k"], train, test))) == ["short"]


def implicit_results() -> list[dict[str, Any]]:
    """As a run would bring them."""
    results, cell = [], {"shape": "ml1m", "threads": 1, "round": 0}
    for who, rate, ndcg in (("fastmf ALS", 40.0, 0.38), ("implicit ALS", 10.0, 0.35), ("irspack iALS", 20.0, 0.3)):
        for factors in (32, 64):
            speed = {"rate": rate * 32 / factors, "cores": 1.0, "setup": 0.1}
            results.append({"suite": "ranking", "contestant": who, "factors": factors, **cell, **speed})
        quality = {"ndcg": ndcg, "recall": 0.4, "epochs": 15, "seconds": 1.0}
        results.append({"suite": "ranking_quality", "contestant": who, "factors": 32, **cell, **quality})
    popular = {"ndcg": 0.26, "recall": 0.3, "epochs": 0, "seconds": 0.01}
    results.append({"suite": "ranking_quality", "contestant": "numpy popularity", "factors": 32, **cell, **popular})
    for who, micros, less in (("fastmf ALS", 50.0, 60.0), ("fastmf ALS users", 0, 90.0), ("implicit ALS", 400.0, 12.0)):
        took = {"p50": micros, "p99": 2 * micros, "max": 9 * micros}
        if micros:
            results.append({"suite": "incremental", "contestant": who, **cell, "short": took})
        ranked = {"before": 0.2, "updated": 0.36, "retrained": 0.36, "quality": 1.0, "events": 50_010}
        block = {"update": 0.5, "retrain": less / 2, "less": less}
        results.append({"suite": "incremental", "contestant": f"{who} block", **cell, **ranked, **block})
    return results


def test_tables_of_implicit_feedback() -> None:
    run = {"machine": {"processor": "P", "cores": "2", "system": "S", "numba": "1"}, "versions": {}, "missing": []}
    run |= {"failures": [], "results": implicit_results()}
    report = tables.report(run)
    assert "| ml1m | 1 | 64 | implicit, ALS | 5 | 4.00 x | 0.1 s | 1 |" in report
    assert "| ml1m | 32 | irspack, iALS | 0.3000 | 1.27 x | 0.4000 | 15 | 1 s |" in report
    assert "| ml1m | implicit, ALS | 400 / 800 / 3,600 | 8.00 x | – / – / – | – |" in report
    assert "| ml1m | fastmf, ALS | 50,010 | 0.2000 | 0.3600 | 0.3600 | 100.0% | 0.5 s | 30 s | 60 x |" in report

    summary = readme.summary(run)
    assert (
        "| training, ALS, million positives/s, ml1m, 1 thread, 32 / 64 factors | 40 / 20 "
        "| implicit, ALS 10 / 5; irspack, iALS 20 / 10 | 4.00 x / 4.00 x; 2.00 x / 2.00 x |" in summary
    )
    assert "| NDCG@10, ALS, ml1m, 32 factors | 0.38 |" in summary
    assert "popularity 0.26" in summary
    assert "| 50 | implicit, ALS 400 | 8.00 x |" in summary
    assert (
        "| a block of 5 % taken in, against a retrain, ml1m: times less processor time | 60 | implicit, ALS 12 |"
        in summary
    )
    alone = "a block of 5 % taken in, users alone, against a retrain, ml1m: times less processor time"
    assert f"| {alone} | 90 | implicit, ALS 12 | 7.50 x |" in summary
    assert "irspack, iALS, 1" in plots.ranking(run["results"])


@pytest.mark.parametrize("solver", ceiling.SOLVERS)
@pytest.mark.parametrize(
    "flight", [pytest.param(one, marks=[pytest.mark.slow] * (one in (2, 8))) for one in ceiling.FLIGHTS]
)
def test_the_ceiling_does_the_work_of_the_kernel(small: data.Ratings, library: Any, solver: str, flight: int) -> None:
    counts, shape = data.SHAPES["ml100k"][:2], shape_of(32, ceiling.SOLVERS[solver], True)
    order = ceiling.make_plans(small.take(slice(0, 20_000)), counts, shape)[1][flight]
    assert order.in_flight == flight
    kernel, compiled = (ceiling.Pass.over(order, counts, 32, ceiling.SOLVERS[solver], 1) for _ in range(2))
    for _ in range(2):
        assert compiled.compiled(library) == pytest.approx(kernel.kernel(), rel=1e-5)
    for side in ("users", "items"):
        for one, other in zip(kernel.working.now[side], compiled.working.now[side], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
