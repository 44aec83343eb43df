"""Runs measurements, each in a fresh process with the interpreter that has the library installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.measure import FOLDER, MARK
from benchmarks.peers.plan import Task

ROOT = Path(__file__).resolve().parents[2]
MODULES = {  # import name by library
    "fastmf": "fastmf",
    "numpy": "numpy",
    "implicit": "implicit",
    "lightfm": "lightfm",
    "river": "river",
    "surprise": "surprise",
    "faiss": "faiss",
    "cornac": "cornac",
    "torch": "torch",
    "buffalo": "buffalo",
    "irspack": "irspack",
    "cmfrec": "cmfrec",
    "myfm": "myfm",
}
DISTRIBUTIONS = {"fastmf": "fastmf-rec", "surprise": "scikit-surprise", "faiss": "faiss-cpu"}
PROBE = """
import importlib, importlib.metadata, json, sys, warnings
warnings.simplefilter("ignore")
found = {}
for name, (module, distribution) in json.loads(sys.argv[1]).items():
    try:
        version = getattr(importlib.import_module(module), "__version__", None)
        found[name] = str(version or importlib.metadata.version(distribution))
    except Exception:
        pass
print("\\n" + json.dumps(found))
"""


class Library(NamedTuple):
    """An interpreter with a library installed."""

    python: str
    version: str


def find(pythons: Sequence[str], named: dict[str, str]) -> dict[str, Library]:
    """For every library, the first interpreter that can import it; one named for a library is tried first."""
    wanted = {name: (module, DISTRIBUTIONS.get(name, module)) for name, module in MODULES.items()}
    found: dict[str, Library] = {}
    for name, python in named.items():
        found |= {name: Library(python, version) for name, version in _probe(python, {name: wanted[name]}).items()}
    for python in [sys.executable, *pythons]:
        missing = {name: module for name, module in wanted.items() if name not in found}
        found |= {name: Library(python, version) for name, version in _probe(python, missing).items()}
    return found


def _probe(python: str, modules: dict[str, tuple[str, str]]) -> dict[str, str]:
    done = subprocess.run(
        [python, "-c", PROBE, json.dumps(modules)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


class Runner:
    """Runs tasks one at a time, and collects the results."""

    def __init__(self, libraries: dict[str, Library], folder: Path, libmf: str | None) -> None:
        self._libraries = libraries
        self._environment = {
            **os.environ,
            FOLDER: str(folder),
            "LIBMF_SO": libmf or "",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONWARNINGS": "ignore",
            "TQDM_DISABLE": "1",
        }
        self.results: list[dict[str, Any]] = []
        self.failures: list[dict[str, Any]] = []
        self.missing: set[str] = set()  # required libraries that are not installed

    def run(self, task: Task) -> dict[str, Any] | None:
        """The result of a task; None if its library is missing or it failed."""
        if task.library not in self._libraries:
            self.missing.add(task.library)
            return None
        began = time.perf_counter()
        row = {"suite": task.suite, "contestant": task.contestant, "round": task.round, **task.settings}
        measured: dict[str, Any] | None = None
        try:
            measured = self._measure(task)
        except (RuntimeError, subprocess.TimeoutExpired) as failure:
            self.failures.append({**row, "error": str(failure)[:300]})
        else:
            self.results.append(row | measured)
        settings = " ".join(f"{name}={value}" for name, value in task.settings.items())
        outcome = "ok" if measured is not None else f"FAILED: {self.failures[-1]['error']}"
        print(
            f"{time.perf_counter() - began:6.1f} s  {task.suite} {task.contestant}, {settings}: {outcome}", flush=True
        )
        return measured

    def _measure(self, task: Task) -> dict[str, Any]:
        command = [self._libraries[task.library].python, "-m", "benchmarks.peers.measure", task.suite, task.contestant]
        # BLAS and OpenMP use the requested threads; implicit has its own threads and requires single-threaded BLAS.
        threads = str(task.settings.get("threads", 1))
        blas = "1" if task.library == "implicit" else threads
        pools = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": blas, "MKL_NUM_THREADS": blas}
        done = subprocess.run(
            [*command, json.dumps(task.settings)],
            cwd=ROOT,
            env=self._environment | pools,
            capture_output=True,
            text=True,
            timeout=task.limit,
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if done.returncode or not answers:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no answer"])[-1])
        return dict(json.loads(answers[-1].removeprefix(MARK)))
