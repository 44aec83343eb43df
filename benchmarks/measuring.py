"""Helpers shared by all benchmarks: clocks, random models, and output as a Markdown table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmf import MF, Interactions, optimizers
from fastmf.comparison.outcome import describe_machine

UNITS = {"s": 1e9, "ms": 1e6, "µs": 1e3}


class Figure(NamedTuple):
    """One row of the table."""

    measure: str
    value: str


def show(figures: Iterable[Figure]) -> None:
    """Print figures as a Markdown table, with a description of the machine above it."""
    machine = describe_machine()
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "numpy", "numba", "fastmf"))
    print(f"{machine['processor']}, {machine['cores']} cores; {machine['system']}; {versions}\n")
    print("| measure | value |\n| --- | --- |")
    for figure in figures:
        print(f"| {figure.measure} | {figure.value} |")


def spread(nanoseconds: np.ndarray, unit: str) -> str:
    """Median, 99th percentile and maximum, formatted in a unit."""
    numbers = np.array([*np.percentile(nanoseconds, [50, 99]), nanoseconds.max()]) / UNITS[unit]
    return " / ".join(f"{number:.3g}" if number < 100 else f"{number:,.0f}" for number in numbers) + f" {unit}"


def clock_cost() -> float:
    """The overhead of one measurement, in nanoseconds."""
    return float(np.median(durations(lambda: None, [()] * 10_000)))


def durations(call: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """Wall time of each call in nanoseconds, including the overhead of the clock and of the call."""
    took, clock = np.empty(len(calls), np.int64), time.perf_counter_ns
    for number, arguments in enumerate(calls):
        began = clock()
        call(*arguments)
        took[number] = clock() - began
    return took


def note(benchmark: Any, name: str, amount: float) -> None:
    """Save `amount` per second, by the median time of a pytest benchmark, with its results."""
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info[name] = amount / benchmark.stats.stats.median


def random_model(users: np.ndarray, items: int, factors: int, seed: int = 0) -> MF:
    """A model of ratings around 3 with these user ids, items 0, 1, 2, ... and small random factors, without history.

    Its solver is AdaGrad: rows without history have no beliefs.
    """
    rng = np.random.default_rng(seed)
    return MF.from_factors(
        small(rng, users.size, factors),
        small(rng, items, factors),
        global_mean=3.0,
        users=users,
        biases=True,
        solver=optimizers.AdaGrad(),
    )


def random_beliefs(users: np.ndarray, items: int, factors: int, seed: int = 0) -> MF:
    """A model with the solver Variational of a random rating by each user; items are 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(np.arange(users.size) % items)
    ratings = Interactions(users, chosen, values=rng.integers(1, 6, users.size))
    return MF(factors, solver=optimizers.Variational()).fit(ratings, epochs=1, progress=False)


def small(rng: np.random.Generator, rows: int, factors: int) -> np.ndarray:
    """Random vectors with small inner products, built in place, since they may fill most of the memory."""
    vectors = rng.random((rows, factors), np.float32)
    vectors -= 0.5
    vectors *= 0.5
    return vectors
