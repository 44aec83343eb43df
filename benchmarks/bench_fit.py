"""Passes over a million ratings, by number of factors, on one core and on all; and what determinism costs."""

from __future__ import annotations

from statistics import median

import numpy as np
import pytest

from benchmarks.measuring import note
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers
from fastmf.datasets import synthetic
from fastmf.engine import WorkingSet, shape_of
from fastmf.kernels.rows.grouping import order_by
from fastmf.log.history import Events
from fastmf.memory import default_budget
from fastmf.parameters.table import SIDES, Factors
from fastmf.plan import Plan
from fastmf.protocols import Objective, freeze

EPOCHS = 5


@pytest.fixture(scope="module")
def ratings() -> Interactions:
    return synthetic(events=1_000_000, users=30_000, items=10_000)


@pytest.mark.parametrize("threads", [1, None], ids=["one-core", "all-cores"])
@pytest.mark.parametrize("factors", [16, 32, 64, 128])
def test_fit(benchmark, ratings, factors, threads):
    model = MF(factors=factors, options=Options(threads=threads))
    benchmark.pedantic(model.fit, (ratings, EPOCHS), {"progress": False}, rounds=3, warmup_rounds=1)
    epoch = median(record["seconds"] for record in model.history_)
    benchmark.extra_info["epoch_seconds"] = epoch
    benchmark.extra_info["events_per_second"] = len(ratings) / epoch


@pytest.mark.parametrize("strata", ["strata", "none"])
@pytest.mark.parametrize("threads", [1, 2])
def test_order(benchmark, ratings, strata, threads):
    """Blocks that share no row stratum by stratum, the same bits every time; or all at once, where rows may collide."""
    solver, factors = optimizers.AdaGrad(), 32
    counts = [int(column.max()) + 1 for column in (ratings.users, ratings.items)]
    rows = (ratings.users.astype(np.int32), ratings.items.astype(np.int32))
    events = Events(*rows, ratings.values, np.ones(len(ratings), np.float32))
    tables = Factors(shape_of(factors, solver, True), 3.0, "float32", default_budget())
    for side, count in zip(SIDES, counts, strict=True):
        tables.tables[side].fill(count, tables.start(side))
    plan = Plan.whole(events, order_by(events.users, counts[0]), counts[1], tables.shape, seed=0)
    if strata == "none":
        plan = plan._replace(strata=plan.strata[[0, -1]])
    objective = Objective(
        *map(freeze, (losses.Squared(), solver, regularizers.L2()), ("loss", "solver", "regularizer"))
    )
    working = WorkingSet.over(tables)
    benchmark.pedantic(working.run, (plan, objective, working.movable, None, threads), rounds=20, warmup_rounds=2)
    note(benchmark, "events_per_second", len(ratings))


@pytest.mark.parametrize("order", ["deterministic", "race"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loss", [losses.BPR(), losses.WARP()], ids=["BPR", "WARP"])
def test_negatives(benchmark, ratings, loss, threads, order):
    """Negatives from the item band of a block, the same bits every time; or from all items, where threads race."""
    positives = Interactions(ratings.users, ratings.items)
    options = Options(threads=threads, deterministic=order == "deterministic")
    model = MF(32, loss, optimizers.AdaGrad(0.1), regularizers.L2(0.002), options=options)
    benchmark.pedantic(model.fit, (positives, EPOCHS), {"progress": False}, rounds=3, warmup_rounds=1)
    epoch = median(record["seconds"] for record in model.history_)
    benchmark.extra_info["events_per_second"] = len(positives) / epoch
