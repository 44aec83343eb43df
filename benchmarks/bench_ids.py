"""Look-up of int ids."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.measuring import note
from fastmf import IdMap

LOOKUPS = 1_000_000


@pytest.mark.parametrize("size", [1_000, 1_000_000, 10_000_000])
def test_lookups(benchmark, size):
    rng = np.random.default_rng(0)
    known = np.unique(rng.integers(-(1 << 62), 1 << 62, size))
    ids = IdMap()
    ids.extend(known)
    asked = rng.choice(known, LOOKUPS)
    rows = benchmark(ids.rows, asked)
    note(benchmark, "lookups_per_second", LOOKUPS)
    assert (known[rows] == asked).all()
