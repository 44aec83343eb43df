"""Recent events of items, term by term: a plain reference for live popularity."""

from __future__ import annotations

import math

import numpy as np

ONE = 2**20


def half_lives(events: int) -> list[float]:
    """The half-lives that are tried after so many events."""
    power = 1
    while power * 2 <= events:
        power *= 2
    return [max(power / 64, 16), max(power / 32, 32), max(power / 16, 64), max(power / 8, 128), math.inf]


def counts(items: np.ndarray, count: int, half_life: float) -> np.ndarray:
    """Recent events of each item, in units of 1 / ONE."""
    events, found = len(items), np.zeros(count, np.int64)
    step = max(int(half_life / 2), 1) if half_life < math.inf else 0
    origin = events // step * step if step else 0
    grain = max(int(half_life / 64), 1) if step else 1
    for position, item in enumerate(items):
        if not step:
            found[item] += ONE
        elif position >= origin - int(12 * half_life):
            age = (position - origin) // grain * grain
            found[item] += round(ONE * 2 ** (age / half_life))
    return found


def terms(items: np.ndarray, count: int, half_life: float) -> np.ndarray:
    """log(1 + recent events) of each item."""
    return np.log1p(counts(items, count, half_life) / ONE)
