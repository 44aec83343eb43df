"""Epochs over a million ratings, by number of factors, on one core and on all, with and without determinism."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from benchmarks.measuring import note
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers
from fastmf.datasets import synthetic
from fastmf.devices import runner
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.objective import Objective
from fastmf.plan import Plan
from fastmf.protocols import freeze

EPOCHS = 5


@pytest.fixture(scope="module")
def ratings() -> Interactions:
    return synthetic(events=1_000_000, users=30_000, items=10_000)


@pytest.mark.parametrize("threads", [1, None], ids=["one-core", "all-cores"])
@pytest.mark.parametrize("factors", [8, 16, 20, 32, 50, 64, 100, 128, 200, 300])
def test_fit(benchmark, ratings, factors, threads):
    model = MF(factors=factors, solver=optimizers.AdaGrad(), options=Options(threads=threads))
    benchmark.pedantic(model.fit, (ratings, EPOCHS), {"progress": False}, rounds=3, warmup_rounds=1)
    epoch = median(record["seconds"] for record in model.history_)
    benchmark.extra_info["epoch_seconds"] = epoch
    benchmark.extra_info["events_per_second"] = len(ratings) / epoch


@pytest.mark.parametrize("threads", [1, None], ids=["one-core", "all-cores"])
@pytest.mark.parametrize("factors", [16, 32, 64, 128])
def test_fit_of_beliefs(benchmark, ratings, factors, threads):
    """Sweeps of Variational, and the whole fit, which ends by its own rule."""
    model = MF(factors=factors, solver=optimizers.Variational(), options=Options(threads=threads))
    benchmark.pedantic(model.fit, (ratings,), {"progress": False}, rounds=1, warmup_rounds=0)
    sweep = median(record["seconds"] for record in model.history_[1:])  # the first may compile
    benchmark.extra_info["sweeps"] = len(model.history_)
    benchmark.extra_info["sweep_seconds"] = sweep
    benchmark.extra_info["events_per_second"] = len(ratings) / sweep


@pytest.mark.parametrize("strata", ["strata", "none"])
@pytest.mark.parametrize("threads", [1, 2])
def test_order(benchmark, ratings, strata, threads):
    """Disjoint blocks stratum by stratum (deterministic), or all at once, where updates of a row may collide."""
    solver, factors = optimizers.AdaGrad(), 32
    model = MF(factors, losses.Squared(), solver).fit(ratings, epochs=0)
    working = WorkingSet.over(model._state)
    rows = model.users.rows(ratings.users), model.items.rows(ratings.items)
    events = Events(*rows, ratings.values, np.ones(len(ratings), np.float32))
    plan = Plan.whole(events, len(model.users), len(model.items), working.shape, seed=0)
    if strata == "none":
        plan = plan._replace(strata=plan.strata[[0, -1]])
    objective = Objective(
        *map(freeze, (losses.Squared(), solver, regularizers.L2()), ("loss", "solver", "regularizer"))
    )
    job = (working, plan, objective, working.movable, None, threads)
    benchmark.pedantic(runner("steps"), job, rounds=20, warmup_rounds=2)
    note(benchmark, "events_per_second", len(ratings))


@pytest.mark.parametrize("order", ["deterministic", "race"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", [losses.BPR(), losses.WARP()], ids=["BPR", "WARP"])
def test_negatives(benchmark, ratings, loss, threads, order):
    """Negatives from the item band of a block (deterministic), or from all items with unsynchronised threads."""
    positives = Interactions(ratings.users, ratings.items)
    options = Options(threads=threads, deterministic=order == "deterministic")
    model = MF(32, loss, optimizers.AdaGrad(0.1), regularizers.L2(0.002), options=options)
    benchmark.pedantic(model.fit, (positives, EPOCHS), {"progress": False}, rounds=3, warmup_rounds=1)
    epoch = median(record["seconds"] for record in model.history_)
    benchmark.extra_info["events_per_second"] = len(positives) / epoch
