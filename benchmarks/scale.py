"""Does the cost of an update depend on model size? The same updates alternately on a small and on a large model.

Each update has events of users that have had none yet, so that both models do the same work; a model that has run out
of such users is built anew. The hash table of user ids is filled beforehand, with ids that are removed again at once,
so that it is replaced by a larger one half-way through.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measuring import Figure, random_model, show
from fastmf import IdMap, Interactions

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEGABYTE = 1_000_000


class Setup(NamedTuple):
    """Settings shared by models of all sizes."""

    updates: int = 1_000
    warm_up: int = 100
    events: int = 1_000
    items: int = 10_000
    factors: int = 64


class Measured(NamedTuple):
    """One update: wall and processor nanoseconds, and whether the id table was replaced by a larger one."""

    wall: int
    cpu: int
    takeover: bool


class Subject:
    """A model with `users` users, and its updates, each with `new` events of new users."""

    def __init__(self, users: int, setup: Setup) -> None:
        self.users, self.new = users, 0
        self._setup, self._rng = setup, np.random.default_rng(users)
        self._build()

    def begin(self, new: int) -> None:
        """From now on, `new` events of each update are of new users."""
        self.new = new
        if new:
            turns = (self.users - self._turn) // (self._setup.events - new)
            coming = new * min(turns, self._setup.warm_up + self._setup.updates)
            self._next = fill(self.model._state.users.ids, self._next, coming // 2)

    def update(self) -> Measured:
        """Measure one update."""
        batch, slots = self._batch(), self.model._state.users.ids.tables[0]
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        self.model.update(batch)
        cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
        return Measured(wall, cpu, self.model._state.users.ids.tables[0] is not slots)

    def peak(self) -> int:
        """Peak size in bytes of the arrays and objects allocated by one update."""
        batch = self._batch()
        tracemalloc.start()
        self.model.update(batch)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def _build(self) -> None:
        self.model = random_model(outside(np.arange(self.users)), self._setup.items, self._setup.factors)
        self._order = self._rng.permutation(self.users)
        self._turn, self._next = 0, self.users

    def _batch(self) -> Interactions:
        known = self._setup.events - self.new
        if self._turn + known > self.users:
            self._build()
            self.begin(self.new)
        named = [self._order[self._turn : self._turn + known], np.arange(self._next, self._next + self.new)]
        self._turn, self._next = self._turn + known, self._next + self.new
        users = self._rng.permutation(outside(np.concatenate(named)))
        items = self._rng.integers(0, self._setup.items, users.size)
        return Interactions(users, items, values=self._rng.integers(1, 6, users.size))


def outside(numbers: np.ndarray) -> np.ndarray:
    """Distinct 64-bit ids without a pattern."""
    return numbers * 0x2545F4914F6CDD1D


def fill(ids: IdMap, first: int, spare: int) -> int:
    """Add and remove ids from number `first` on until a table has room for `spare` more; returns the next number.

    A table is full when half of its slots are taken, including those of removed ids.
    """
    count = len(ids)
    last = first + max(0, ids.tables[0].size // 4 - count - spare)
    ids.extend(outside(np.arange(first, last)), checked=True)
    ids.truncate(count)
    return last


def series(subjects: Sequence[Subject], new: int, setup: Setup) -> list[Figure]:
    """Measure updates with `new` events of new users, one on each model in turn."""
    for subject in subjects:
        subject.begin(new)
    for _ in range(setup.warm_up):
        for subject in subjects:
            subject.update()
    before = resident("VmRSS")
    FORGET.write_text("5")  # reset the peak of resident memory
    taken = [[subject.update() for subject in subjects] for _ in range(setup.updates)]
    growth = (resident("VmHWM") - before) / MEGABYTE
    peaks = [subject.peak() / MEGABYTE for subject in subjects]

    measured = np.array(taken).transpose(2, 1, 0)  # axes: measurement, model, update
    sizes = " → ".join(f"{subject.users:,}" for subject in subjects)
    name = f"update of {setup.events:,} events, {new / setup.events:.0%} new users, {sizes} users: "
    found = [
        *compared(name + "wall time", measured[0]),
        *compared(name + "processor time", measured[1]),
        Figure(name + "id tables taken over", " → ".join(map(str, measured[2].sum(axis=1)))),
        Figure(name + "arrays held at once", " → ".join(f"{peak:.2f}" for peak in peaks) + " MB"),
    ]
    grown = f"{growth:.1f} MB in {measured[0].size:,} updates"
    return [*found, Figure(name + "growth of resident memory at its peak, both models", grown)]


def compared(name: str, nanoseconds: np.ndarray) -> list[Figure]:
    """The distribution of a time on the small and on the large model."""
    rows = {"p50": np.median(nanoseconds, axis=1), "p99": np.percentile(nanoseconds, 99, axis=1)}
    return [
        Figure(f"{name}, {what}", f"{small / 1e6:.2f} → {large / 1e6:.2f} ms, ratio {large / small:.2f}")
        for what, (small, large) in {**rows, "max": nanoseconds.max(axis=1)}.items()
    ]


def resident(field: str) -> int:
    """Resident memory of this process in bytes: current ("VmRSS") or peak ("VmHWM")."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) << 10


def figures(users: Sequence[int] = (10_000, 10_000_000), setup: Setup = Setup()) -> list[Figure]:
    """Measure updates without new users, then with one fifth of the events from new users."""
    subjects = [Subject(count, setup) for count in users]
    return [*series(subjects, 0, setup), *series(subjects, setup.events // 5, setup)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--users", type=int, nargs=2, default=[10_000, 10_000_000], metavar=("SMALL", "LARGE"))
    parser.add_argument("--updates", type=int, default=Setup().updates)
    parser.add_argument("--warm-up", type=int, default=Setup().warm_up)
    given = parser.parse_args()
    show(figures(given.users, Setup(given.updates, given.warm_up)))


if __name__ == "__main__":
    main()
