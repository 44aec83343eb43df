"""Start: the initial values of new rows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

__all__ = ["SINGULAR", "SPREAD", "DrawnStart", "HashedStart", "Start"]

SINGULAR = {"users": "user", "items": "item"}  # as in the names of what a group holds of a side

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


class DrawnStart(NamedTuple):
    """Initial rows that are the row of the prior of their side, or drawn around it by a hash while they must differ.

    Parameters
    ----------
    priors : DenseGroup
        Its ``rows`` are those of the prior, by side; its value ``noise`` is how far new rows are drawn from them: 1 as
        those of `drawn` are, 0 not at all.
    side : str
    drawn : HashedStart
        How they are drawn.
    """

    priors: Any
    side: str
    drawn: HashedStart

    @classmethod
    def around(cls, priors: Any, side: str, start: Any) -> DrawnStart:
        """The start around these priors, drawn as those of a table with another start are."""
        return cls(priors, side, start.drawn if isinstance(start, DrawnStart) else start)

    @property
    def form(self) -> tuple[Any, ...]:
        """The arguments for kernels/rows/tables.py: what is added to :attr:`row`."""
        seed, stream, centre, spread = self.drawn.form
        noise = np.float32(self.priors.values["noise"][0])
        return seed, stream, centre * noise, spread * noise

    @property
    def row(self) -> Any:
        """The row of the prior, which also stands for an unknown id."""
        return self.priors.rows[self.side]
