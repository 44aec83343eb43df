"""The first fit in a fresh process; `extra_info` has the seconds of the import and of the fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.start import start


@pytest.mark.parametrize("cache", ["empty", "filled"])
def test_fresh_process(benchmark: Any, tmp_path: Path, cache: str) -> None:
    folders = (str(tmp_path / str(number)) for number in range(100))
    filled = str(tmp_path / "filled")
    if cache == "filled":
        start(filled)
    done = benchmark.pedantic(lambda: start(filled if cache == "filled" else next(folders)), rounds=3)
    benchmark.extra_info.update(imported=done.imported, fitted=done.fitted)
    assert done.notice == (cache == "empty")
