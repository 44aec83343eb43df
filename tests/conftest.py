"""Settings that must stand before numba is imported, and the profiles of hypothesis."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Samples for type checkers: wrong on purpose.
collect_ignore = ["project/typed"]

# Two threads are what the suite is sized for, and what a race needs.
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

settings.register_profile("default", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("nightly", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# All that compiled code can reach. What is left out: classes of tests, whose files are part of the kernels' own keys.
COMPILED = ("kernels/**/*.py", "losses/*.py", "optimizers.py", "regularizers.py", "samplers.py", "protocols.py")


def digest_of_sources() -> str:
    """Name the exact sources whose machine code a cache may hold."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in COMPILED for path in ROOT.glob(f"fastmf/{pattern}")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled kernels below pytest's cache: numba's own key misses edits in what a kernel calls."""
    cache = getattr(config, "cache", None)  # None under `-p no:cacheprovider`
    if cache is not None and "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(cache.mkdir(f"numba-{digest_of_sources()[:16]}"))
