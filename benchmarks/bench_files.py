"""Saving and loading a model of 100,000 users and 10,000 items, 64 factors."""

from __future__ import annotations

import numpy as np
import pytest

import fastmf
from benchmarks.measuring import random_model


@pytest.fixture(scope="module")
def model():
    return random_model(np.arange(100_000), 10_000, 64)


def test_save(benchmark, model, tmp_path):
    benchmark(model.save, tmp_path / "model")


def test_load(benchmark, model, tmp_path):
    model.save(tmp_path / "model")
    benchmark.extra_info["bytes"] = (tmp_path / "model").stat().st_size
    benchmark(fastmf.load, tmp_path / "model")
