"""An update of 1,000 events against a full retrain on the same log."""

from __future__ import annotations

import time

import pytest

from benchmarks.measuring import note
from fastmf import MF, optimizers
from fastmf.datasets import synthetic

BATCH, ROUNDS = 1_000, 20


@pytest.mark.parametrize("solver", [optimizers.AdaGrad(), optimizers.Variational()], ids=["AdaGrad", "Variational"])
@pytest.mark.parametrize("factors", [32, 64])
def test_update(benchmark, factors, solver):
    log = synthetic(events=200_000)
    past, stream = log[: -BATCH * (ROUNDS + 1)], log[-BATCH * (ROUNDS + 1) :]
    model = MF(factors=factors, solver=solver).fit(past, progress=False)
    coming = stream.batches(BATCH)

    benchmark.pedantic(model.update, setup=lambda: ((next(coming),), {}), rounds=ROUNDS, warmup_rounds=1)

    began = time.perf_counter()
    MF(factors=factors, solver=solver).fit(log, progress=False)
    retrain = time.perf_counter() - began
    benchmark.extra_info["retrain_seconds"] = retrain
    note(benchmark, "retrain_to_update", retrain)
