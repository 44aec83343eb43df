"""Start: the initial values of new rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["SPREAD", "HashedStart", "Start"]

SPREAD = 0.2  # scale of an initial vector, relative to unit length


class Start(Protocol):
    """Where new rows of a table start."""

    @property
    def row(self) -> Any:
        """An Image of one row that initial values are added to, and that stands for an unknown id; None for zeros."""

    @property
    def form(self) -> tuple[Any, ...]:
        """The arguments for kernels/rows/tables.py: how initial factors are drawn."""


class HashedStart(NamedTuple):
    """Initial factors that a hash of (seed, stream, row) draws uniformly around a centre; everything else is zero.

    The initial values of a row do not depend on when and where it is added. Any two rows differ, so that they can be
    trained apart.

    Parameters
    ----------
    seed : int
        Seed of the model.
    stream : int
        Number of the group, so that groups differ.
    centre, spread : float
        Factors are within ``spread / 2`` of the centre.
    """

    seed: int
    stream: int
    centre: float
    spread: float

    @classmethod
    def of(cls, seed: int, stream: int, factors: int, score: float = 0.0) -> HashedStart:
        """Make the start of rows with so many factors, such that pairs of new rows score about `score`."""
        centre = math.sqrt(abs(score) / factors)
        if stream:  # one side carries the sign
            centre = math.copysign(centre, score)
        return cls(seed, stream, centre, 2 * SPREAD / math.sqrt(factors))

    @property
    def row(self) -> None:
        """None: initial values are those of a hash alone, and an unknown id stands for a row of zeros."""

    @property
    def form(self) -> tuple[Any, ...]:
        """The arguments for kernels/rows/tables.py."""
        return np.uint64(self.seed), self.stream, np.float32(self.centre), np.float32(self.spread)
