"""Counter-based random numbers: a stateless hash of (seed, stream, position), independent of the number of threads.

Reference: Steele, Lea, Flood (2014), Fast Splittable Pseudorandom Number Generators (the SplitMix64 finaliser).
"""

from __future__ import annotations

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@njit
def mix(number):
    """The SplitMix64 finaliser: a bijective hash of a uint64."""
    number = (number ^ (number >> np.uint64(30))) * _FIRST
    number = (number ^ (number >> np.uint64(27))) * _SECOND
    return number ^ (number >> np.uint64(31))


@njit
def draw(seed, stream, position):
    """64 random bits for a position of a stream."""
    return mix(mix(np.uint64(seed) + np.uint64(stream) * _GOLDEN) + np.uint64(position) * _GOLDEN)


@njit
def uniform(bits):
    """A float32 in [0, 1) from the upper 24 of 64 random bits."""
    return np.float32(bits >> np.uint64(40)) * np.float32(2.0**-24)
