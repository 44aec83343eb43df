"""Start: where a new row comes from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = ["SPREAD", "HashedStart"]

SPREAD = 0.2  # of a start vector, relative to a row of unit length


class HashedStart(NamedTuple):
    """Factors drawn by a hash of (seed, stream, row), uniformly around a centre; everything else is zero.

    A row has the same start whenever and wherever it is added; any two rows differ, so both can learn.

    Parameters
    ----------
    seed : int
    stream : int
        Tells groups apart.
    centre, spread : float
        Factors are within ``spread / 2`` of the centre.
    """

    seed: int
    stream: int
    centre: float
    spread: float

    @classmethod
    def of(cls, seed: int, stream: int, factors: int, score: float = 0.0) -> HashedStart:
        """The start of rows of so many factors, a pair of which scores about `score`."""
        centre = math.sqrt(abs(score) / factors)
        if stream:  # one side carries the sign
            centre = math.copysign(centre, score)
        return cls(seed, stream, centre, 2 * SPREAD / math.sqrt(factors))

    @property
    def form(self) -> tuple[Any, ...]:
        """As kernels/rows/tables.py takes it."""
        return np.uint64(self.seed), self.stream, np.float32(self.centre), np.float32(self.spread)
