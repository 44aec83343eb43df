"""Passes over a million ratings, by number of factors, on one core and on all."""

from __future__ import annotations

from statistics import median

import pytest

from fastmf import MF, Interactions, Options
from fastmf.datasets import synthetic

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
