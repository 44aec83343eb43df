"""Time of the import and of the first fit in a fresh process, with and without compiled kernels in the disk cache."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from statistics import median
from typing import NamedTuple

from benchmarks.measuring import Figure, show

PROGRAM = """
import json, time
began = time.perf_counter()
import fastmf
imported = time.perf_counter()
fastmf.MF, fastmf.Interactions
used = time.perf_counter()
import numpy
rng = numpy.random.default_rng(0)
users, items, values = (rng.integers(low, high, 100_000) for low, high in ((0, 1_000), (0, 2_000), (1, 6)))
ready = time.perf_counter()
fastmf.MF(solver=fastmf.optimizers.SOLVER()).fit(fastmf.Interactions(users, items, values))
print(json.dumps([imported - began, used - imported, time.perf_counter() - ready]))
"""


class Start(NamedTuple):
    """Seconds of each step of a fresh process, and whether it reported that it was compiling."""

    imported: float
    used: float
    fitted: float
    notice: bool


def start(cache: str, solver: str = "AdaGrad") -> Start:
    """Run a fresh process with its kernel cache in a folder."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", PROGRAM.replace("SOLVER", solver)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Start(*json.loads(done.stdout), notice="compiling" in done.stderr)


def figures(runs: int = 5) -> list[Figure]:
    """Medians over pairs of processes: the first of a pair compiles, the second finds the kernels in the cache."""
    cold, warm = pairs(runs, "AdaGrad")
    first, second = pairs(runs, "Variational")
    name = f"fresh process, median of {runs}: "
    rows = {
        "import fastmf": [run.imported for run in warm],
        "first use of MF and Interactions (imports NumPy and Numba)": [run.used for run in warm],
        "first fit, 100,000 events, 20 epochs, compiled before": [run.fitted for run in warm],
        "first fit, compiling": [run.fitted for run in cold],
        "first fit by Variational, 100,000 events, compiled before": [run.fitted for run in second],
        "first fit by Variational, compiling": [run.fitted for run in first],
    }
    found = [Figure(name + row, f"{median(seconds):.3f} s") for row, seconds in rows.items()]
    notices = sum(run.notice for run in cold)
    return [*found, Figure("compiling processes that said so", f"{notices} of {runs}")]


def pairs(runs: int, solver: str) -> tuple[list[Start], list[Start]]:
    """Processes with an empty and with a filled cache."""
    cold, warm = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(start(cache, solver))
            warm.append(start(cache, solver))
    return cold, warm


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    show(figures(parser.parse_args().runs))


if __name__ == "__main__":
    main()
