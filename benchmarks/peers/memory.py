"""Peak growth of a process during a fit, in addition to the caller's arrays (Linux only).

The caller's arrays are the input of the library, created before the measurement: Interactions, with 20 bytes per event
for int ids, and LIBMF's own structs, with 12.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.data import Split, load

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PER_EVENT = 40  # byte budget of fastmf, in addition to twice the size of the factors


def growth(fit: Callable[[], Any]) -> int:
    """The growth of the process during a fit, in bytes."""
    before = _resident("VmRSS")
    FORGET.write_text("5")  # reset the peak
    kept = fit()
    grown = _resident("VmHWM") - before
    del kept
    return grown


def _resident(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


def _measured(fit: Callable[[], Any], split: Split, factors: int) -> dict[str, Any]:
    tables = (split.size.users + split.size.items) * factors * 4
    return {"grown": growth(fit), "events": split.train.users.size, "tables": tables}


def fastmf(folder: Path, shape: str, factors: int, threads: int) -> dict[str, Any]:
    from benchmarks.peers import ours

    split = load(folder, shape)
    ours.warm_up(split.train, factors, threads)
    model, events = ours.model(factors, threads), ours.events(split.train)
    return _measured(lambda: model.fit(events, 2, progress=False), split, factors)


def libmf(folder: Path, shape: str, factors: int, threads: int) -> dict[str, Any]:
    from benchmarks.peers.libmf import LibMF, Problem, Settings

    library, split = LibMF(), load(folder, shape)
    problem = Problem.of(split.train, split.size)
    return _measured(lambda: library.train_on(problem, Settings(factors, threads), 2), split, factors)


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {"fastmf": fastmf, "libmf": libmf}
