"""Counter-based random numbers: a stateless hash of (seed, stream, position), independent of the number of threads.

References: Steele, Lea, Flood (2014), Fast Splittable Pseudorandom Number Generators (the SplitMix64 finaliser).
Wichura (1988), Algorithm AS 241: The percentage points of the normal distribution (PPND7).
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


@njit
def normal(bits):
    """A standard normal number, float64, from the upper 52 of 64 random bits; 7 digits are right.

    It is the quantile: below 0 if the first bit is 0.
    """
    p = (np.float64(bits >> np.uint64(12)) + 0.5) * 2.0**-52
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        above = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * above / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = np.sqrt(-np.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        above = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        size = above / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        above = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        size = above / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return size if q > 0 else -size
