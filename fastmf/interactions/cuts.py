"""Cuts: sorting events by time, splitting them in two, and iterating over batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, require_integer

__all__ = ["Cuts"]


class Cuts:
    """Sorting, splitting and batching of events; a base of :class:`fastmf.Interactions`."""

    __slots__ = ()
    times: NDArray[np.int64] | None

    def __len__(self) -> int:
        raise TypeError("events alone can be counted")

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> Self:
        raise TypeError("events alone can be taken from")

    def sort_by_time(self) -> Self:
        """
        Sort the events by time; events with equal times keep their order.

        Returns
        -------
        Interactions
            The sorted events; the object itself if it is sorted already.

        Raises
        ------
        DataError
            If the events have no times.

        Examples
        --------
        >>> from fastmf import Interactions
        >>> Interactions([1, 2, 3], [1, 1, 1], times=[5, 3, 5]).sort_by_time().users
        array([2, 1, 3])
        """
        if self.times is None:
            raise DataError("the events have no times")
        if (self.times[:-1] <= self.times[1:]).all():
            return self
        return self[np.argsort(self.times, kind="stable")]

    def split_by_time(self, fraction: float) -> tuple[Self, Self]:
        """
        Split the events by time into an earlier and a later part.

        Parameters
        ----------
        fraction : float
            Share of the events in the earlier part, from 0 to 1. Events with equal times may end up in different parts.

        Returns
        -------
        past, later : Interactions
            The two parts, each sorted by time.

        Raises
        ------
        DataError
            If the events have no times, or `fraction` is not a number from 0 to 1.

        Examples
        --------
        >>> from fastmf import Interactions
        >>> past, later = Interactions([1, 2, 3, 4], [1, 1, 1, 1], times=[4, 3, 2, 1]).split_by_time(0.75)
        >>> past.users, later.users
        (array([4, 3, 2]), array([1]))
        """
        cut = self._cut(fraction)
        ordered = self.sort_by_time()
        return ordered[:cut], ordered[cut:]

    def split_random(self, fraction: float, seed: int = 0) -> tuple[Self, Self]:
        """
        Split the events at random into two parts.

        Parameters
        ----------
        fraction : float
            Share of the events in the first part, from 0 to 1.
        seed : int
            Seed of the random split, not negative.

        Returns
        -------
        first, rest : Interactions
            The two parts, each in the original order.

        Raises
        ------
        DataError
            If `fraction` is not a number from 0 to 1.
        ValueError
            If `seed` is not an integer, or is negative.

        Examples
        --------
        >>> from fastmf import Interactions
        >>> first, rest = Interactions(range(10), range(10)).split_random(0.7, seed=1)
        >>> len(first), len(rest)
        (7, 3)
        """
        require_integer("seed", seed, 0)
        chosen = np.zeros(len(self), np.bool_)
        chosen[np.random.default_rng(seed).permutation(len(self))[: self._cut(fraction)]] = True
        return self[chosen], self[~chosen]

    def _cut(self, fraction: float) -> int:
        number: object = fraction
        if not isinstance(number, int | float | np.integer | np.floating) or not 0 <= number <= 1:
            raise DataError(f"fraction must be between 0 and 1, not {fraction!r}")
        return round(float(number) * len(self))

    def batches(self, size: int) -> Iterator[Self]:
        """
        Iterate over the events in consecutive batches.

        Parameters
        ----------
        size : int
            Number of events per batch, at least 1; the last batch may be smaller.

        Returns
        -------
        iterator of Interactions
            The batches, in order; they share memory with these events.

        Raises
        ------
        DataError
            If `size` is not a positive integer.

        Examples
        --------
        >>> from fastmf import Interactions
        >>> [len(batch) for batch in Interactions(range(7), range(7)).batches(3)]
        [3, 3, 1]
        """
        number: object = size
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
            raise DataError(f"size must be a positive integer, not {size!r}")
        step = int(number)
        return (self[start : start + step] for start in range(0, len(self), step))
