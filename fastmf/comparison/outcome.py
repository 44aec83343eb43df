"""Results of a comparison, and the machine it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastmf import __version__
from fastmf.comparison.entrants import Entry
from fastmf.comparison.results import Cadences
from fastmf.errors import DataError
from fastmf.evaluation import Metric, UserSums, bootstrap, sign

__all__ = ["Comparison", "Cost", "Outcome", "Record", "describe_machine", "outcomes"]


class Outcome(NamedTuple):
    """The results of one contestant.

    Attributes
    ----------
    value : float
        The metric, pooled over blocks and seeds.
    interval : (float, float)
        95 % bootstrap interval of the value, resampling whole users.
    difference, difference_interval : float, (float, float)
        The value minus that of "full", and the 95 % bootstrap interval of this paired difference. "full" and
        "frozen" are those with the same model, in what follows too.
    recovery : float or None
        (frozen - value) / (frozen - full); None if "full" is not better than "frozen".
    recovery_best : float or None
        The same against the better of "full" and "warm".
    cpu_seconds, wall_seconds : float
        Training time of all blocks, mean over seeds; evaluation is not included.
    speedup : float or None
        CPU seconds of "full" divided by `cpu_seconds`; None for "frozen", which costs nothing.
    rows_moved : float
        User and item rows changed in all blocks, mean over seeds.
    by_group, by_block, by_seed : dict, list, list
        The metric over each group of events, in each block, and with each seed.
    """

    value: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    recovery: float | None
    recovery_best: float | None
    cpu_seconds: float
    wall_seconds: float
    speedup: float | None
    rows_moved: float
    by_group: dict[str, float | None]
    by_block: list[float | None]
    by_seed: list[float | None]


class Comparison(NamedTuple):
    """The result of `compare`.

    Attributes
    ----------
    dataset, metric, block : str, str, float
    events : int
        In the whole log.
    seeds : list of int
    machine : dict of str
        Processor, system and versions.
    contestants : dict of Outcome
    blocks, block_events : int
        Number of blocks tested, and events in each.
    shares : dict of float
        Share of the test events in each group, mean over blocks.
    epochs : int or None
        Of "full"; None if its fits stop by themselves.
    factors, preset : int, str
    cadences : Cadences or None
        The strategies, if cadences were compared; `contestants` then are those of one of the cadences.
    repeats : bool
        Whether what a user had before was ranked, and asked about again.
    models : list of str
        Names of the models: of the first, whose contestants have plain names ("default" if none was named), and of
        the others, which are in brackets in the names of theirs.
    """

    dataset: str
    metric: str
    block: float
    events: int
    seeds: list[int]
    machine: dict[str, str]
    contestants: dict[str, Outcome]
    blocks: int
    block_events: int
    shares: dict[str, float]
    epochs: int | None
    factors: int
    preset: str
    cadences: Cadences | None = None
    repeats: bool = False
    models: Sequence[str] = ("default",)

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, as written to `compare.json`."""
        plain = self._asdict() | {"contestants": {name: o._asdict() for name, o in self.contestants.items()}}
        cadences = plain.pop("cadences")
        return plain if cadences is None else plain | cadences.as_dict()


class Cost(NamedTuple):
    """CPU and wall time in seconds of bringing a model up to date, and the number of rows changed."""

    cpu: float = 0.0
    wall: float = 0.0
    rows: int = 0

    def add(self, other: Cost) -> Cost:
        """The sum of two costs."""
        return Cost(self.cpu + other.cpu, self.wall + other.wall, self.rows + other.rows)


class Record:
    """The results of one contestant so far: models, metric sums and costs per seed, and the metric of each block."""

    def __init__(self, entry: Entry, metric: Metric, users: int, models: Sequence[Any]) -> None:
        self.entry, self.models = entry, list(models)
        self.sums = [UserSums.empty(metric, users) for _ in models]
        self.costs = [Cost() for _ in models]
        self.by_block: list[float | None] = []

    def note(self, sums: Sequence[UserSums], costs: Sequence[Cost]) -> None:
        """Add the metric sums and the cost of each seed for a block."""
        self.sums = [old.add(new) for old, new in zip(self.sums, sums, strict=True)]
        self.costs = [old.add(new) for old, new in zip(self.costs, costs, strict=True)]
        self.by_block.append(pool(sums).value())


def pool(several: Sequence[UserSums]) -> UserSums:
    """The metric sums pooled over seeds."""
    total = several[0]
    for one in several[1:]:
        total = total.add(one)
    return total


def outcomes(records: dict[str, Record]) -> dict[str, Outcome]:
    """The outcome of each contestant, from its record.

    Parameters
    ----------
    records : dict of str to Record

    Returns
    -------
    dict of str to Outcome
    """
    pooled = {name: pool(record.sums) for name, record in records.items()}
    metric = pooled["full"].metric
    drawn = dict(zip(pooled, bootstrap(list(pooled.values())).T, strict=True))
    value = {name: _known(sums.value()) for name, sums in pooled.items()}
    cpu = {name: float(np.mean([cost.cpu for cost in record.costs])) for name, record in records.items()}
    result = {}
    for name, record in records.items():
        frozen, full, warm = (record.entry._replace(kind=kind).name for kind in ("frozen", "full", "warm"))
        best = max((value[other] for other in (full, warm) if other in value), key=lambda v: sign(metric) * v)
        result[name] = Outcome(
            value=value[name],
            interval=_interval(drawn[name]),
            difference=value[name] - value[full],
            difference_interval=_interval(drawn[name] - drawn[full]),
            recovery=_recovery(value[name], value[frozen], value[full], metric),
            recovery_best=_recovery(value[name], value[frozen], best, metric),
            cpu_seconds=cpu[name] if name != frozen else 0.0,
            wall_seconds=float(np.mean([cost.wall for cost in record.costs])) if name != frozen else 0.0,
            speedup=cpu[full] / cpu[name] if name != frozen and cpu[name] else None,
            rows_moved=float(np.mean([cost.rows for cost in record.costs])),
            by_group=pooled[name].by_group(),
            by_block=record.by_block,
            by_seed=[sums.value() for sums in record.sums],
        )
    return result


def describe_machine() -> dict[str, str]:
    """Processor, cores, operating system and versions, which the measurements depend on."""
    versions = {name: metadata.version(name) for name in ("numpy", "numba")}
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "fastmf": __version__,
        **versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _recovery(value: float, frozen: float, reference: float, metric: str) -> float | None:
    gap = sign(metric) * (reference - frozen)
    return sign(metric) * (value - frozen) / gap + 0.0 if gap > 0 else None  # + 0.0 turns -0.0 into 0.0


def _interval(drawn: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _known(value: float | None) -> float:
    if value is None:
        raise DataError("events: the later half holds nothing to ask about")
    return value
