"""Wall and processor time of calls in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np


class Time(NamedTuple):
    """Seconds of wall time, and of processor time of all threads."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Time:
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: Time) -> Time:
        return Time(self.wall - earlier.wall, self.cpu - earlier.cpu)

    @property
    def cores(self) -> float:
        """The mean number of cores in use: close to the number of threads on an idle machine."""
        return self.cpu / max(self.wall, 1e-9)


def timed(call: Callable[[], Any]) -> tuple[Any, Time]:
    """The result of a call, and its time."""
    began = Time.now()
    result = call()
    return result, Time.now().since(began)


def speed(amount: float, took: Time, unit: float = 1.0) -> dict[str, float]:
    """An amount per second of wall time, and the mean number of cores in use."""
    return {"rate": amount / took.wall / unit, "cores": took.cores}


def between(first: Time, second: Time, ratings: int, short: int, long: int) -> dict[str, float]:
    """The speed, in million ratings per second, of the epochs by which two fits differ, and the set-up time."""
    more = second.since(first)
    if more.wall <= 0:
        raise RuntimeError("the longer fit took no longer: the machine is too busy")
    setup = first.wall - short * more.wall / (long - short)
    return {**speed((long - short) * ratings, more, 1e6), "setup": setup}


def latencies(call: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> dict[str, float]:
    """Median, 99th percentile and maximum of single calls, in microseconds."""
    took, clock = [], time.perf_counter_ns
    for arguments in calls:
        began = clock()
        call(*arguments)
        took.append(clock() - began)
    microseconds = np.array(took) / 1e3
    p50, p99 = np.percentile(microseconds, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(microseconds.max()), "calls": len(took)}
