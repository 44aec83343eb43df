"""Sampled retrains: an unbiased estimate of what all retrains of a cadence would give, from a few of them.

A retrain depends on no other one, so that the loss of "retrain every hour" is a sum over hours, of which some can be
drawn. The hours are cut into strata of consecutive ones, and two of each stratum are drawn without replacement. The
estimate is the total of a *control* that is known for all questions, plus the differences of the drawn hours from it,
each weighted by the hours that it stands for: the difference estimator [1]_. The control is the loss, on the same
questions, of updating at the same cadence (with rare retrains, where all of these were made).

References
----------
.. [1] Särndal, Swensson, Wretman: Model Assisted Survey Sampling, chapter 6. Springer, 1992.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Sample", "estimate"]

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Sample(NamedTuple):
    """The segments of a cadence that are retrained.

    Attributes
    ----------
    segments : ndarray of int64, shape (m,)
        Ascending, from 1; segment 0 is served by the first model, which is there anyway.
    strata : ndarray of int64, shape (m,)
        The stratum of each.
    sizes : ndarray of int64, shape (strata,)
        How many segments each stratum has.
    """

    segments: Codes
    strata: Codes
    sizes: Codes

    @classmethod
    def of(cls, candidates: Codes, most: int, seed: int) -> Sample:
        """Draw two of each of `most` // 2 strata, or take all if there are at most `most`.

        Examples
        --------
        >>> import numpy as np
        >>> Sample.of(np.arange(1, 101), 4, seed=0).weights
        array([25., 25., 25., 25.])
        """
        if candidates.size <= most:
            return cls(candidates, np.arange(candidates.size), np.ones(candidates.size, np.int64))
        random, strata = np.random.default_rng(seed), max(1, most // 2)
        edges = np.arange(strata + 1) * candidates.size // strata
        drawn = [
            np.sort(random.choice(candidates[first:last], 2, replace=False)) for first, last in pairwise(edges.tolist())
        ]
        return cls(np.concatenate(drawn), np.repeat(np.arange(strata), 2), np.diff(edges))

    @property
    def weights(self) -> Floats:
        """How many segments each stands for."""
        drawn = np.bincount(self.strata, minlength=self.sizes.size)
        return (self.sizes / np.maximum(drawn, 1))[self.strata]

    @property
    def complete(self) -> bool:
        """Whether every segment was taken."""
        return bool((self.sizes == 1).all())


class Estimate(NamedTuple):
    """A mean loss and the variance that sampling leaves in it."""

    mean: float
    variance: float = 0.0


def estimate(
    losses: Floats, sample: Sample | None, segment_of: Codes, control: Floats | None, mask: Mask
) -> Estimate | None:
    """The mean loss over the questions in a mask, of a strategy whose answers are known for all or for some of them.

    Parameters
    ----------
    losses : ndarray of float64, shape (n,)
        NaN where the question was not asked.
    sample : Sample or None
        The segments that were asked; None for all.
    segment_of : ndarray of int64, shape (n,)
        The segment of each question.
    control : ndarray of float64, shape (n,)
        Losses of a strategy that was asked everything.
    mask : ndarray of bool, shape (n,)

    Returns
    -------
    Estimate or None
        None where there is no question, or none of a drawn segment.
    """
    if sample is None or sample.complete or control is None:
        found = losses[mask & ~np.isnan(losses)]
        return Estimate(float(found.mean())) if found.size else None
    known = mask & ~np.isnan(control)
    if not known.any() or not (known & ~np.isnan(losses) & (segment_of > 0)).any():
        return None
    return _difference(losses, sample, segment_of, control, known)


def _difference(losses: Floats, sample: Sample, segment_of: Codes, control: Floats, known: Mask) -> Estimate:
    """The difference estimator, with the variance of sampling without replacement in strata."""
    gap = np.where(known & ~np.isnan(losses), losses - control, 0.0)
    by_segment = np.bincount(segment_of, gap, minlength=int(sample.segments.max()) + 1)
    drawn = by_segment[sample.segments]
    total = control[known].sum() + by_segment[0] + sample.weights @ drawn
    variance = 0.0
    for stratum, size in enumerate(sample.sizes.tolist()):
        some = drawn[sample.strata == stratum]
        if size > some.size > 1:
            variance += size**2 * (1 - some.size / size) * some.var(ddof=1) / some.size
    return Estimate(float(total / known.sum()), float(variance / known.sum() ** 2))
