"""Ranking losses: how wrong the order of an event's item and of items that the user has not chosen.

Events are positives; their values are weights > 0. Negatives come from the loss's sampler (see
:mod:`fastmf.samplers`), and are never among the items that the user is known to have chosen unless ``allow_seen``.

Besides ``domain``, ``inverse_link``, ``prior`` and ``check``, and maybe a ``solver`` and a ``regularizer`` (see
:mod:`fastmf.losses.pointwise`), such a loss has

==================================================  ================================================================
``kind``                                            ``"pairwise"`` or ``"listwise"``
``sampler``, ``allow_seen``                         fields: where negatives come from, and whether they may be known
                                                    positives of the user, other than the event itself
*pairwise*: one negative an event
``trials``                                          how many negatives are drawn at most, until one has a slope
``value(score, target)``, ``slope(score, target)``  of the lead s_i - s_j of the positive over that negative; `target`
                                                    is 1
``weight(tries, candidates)``                       what the pair counts, its negative being number `tries` of those
                                                    drawn from so many `candidates`
*listwise*: all negatives of an event at once
``negatives``                                       how many are drawn
``loss_and_gradient(scores, expected_counts,``      sets ``slopes[m]``, the derivative with respect to ``scores[m]``,
``slopes, count, items)``                           for m from 0, the positive, to `count`; returns the loss of the list
==================================================  ================================================================

In ``loss_and_gradient``, ``expected_counts[m]`` is how often negative m was to be expected in the list, and `items` how
many items there are; the method may overwrite `scores` and `expected_counts`. It is compiled, like the others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError, require_number, require_whole
from fastmf.optimizers import AdaGrad
from fastmf.regularizers import L2
from fastmf.samplers import Every, Uniform

__all__ = ["BPR", "WARP", "SampledSoftmax", "Softmax"]

POSITIVE = (float(np.nextafter(np.float32(0), np.float32(1))), math.inf)


def require_weights(values: np.ndarray, loss: str) -> None:
    """Raise DataError for the first of `values` that is no weight > 0."""
    bad = ~((values > 0) & (values < math.inf))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"values, row {row}: {values[row]} is not > 0; the values of events are weights for {loss}")


class _BPRFields(NamedTuple):
    sampler: Any = Uniform()
    allow_seen: bool = False


class BPR(_BPRFields):
    """Bayesian personalised ranking: ``log(1 + exp(-(s_i - s_j)))`` for a positive i and a negative j.

    Parameters
    ----------
    sampler : sampler
        Where negatives come from.
    allow_seen : bool
        Whether they may be known positives of the user.

    References
    ----------
    Rendle, Freudenthaler, Gantner, Schmidt-Thieme (2009), BPR: Bayesian Personalized Ranking from Implicit Feedback.

    Examples
    --------
    >>> BPR().slope(0.0, 1.0)
    -0.5
    """

    __slots__ = ()
    kind = "pairwise"
    trials = 1
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)

    @property
    def regularizer(self) -> L2:
        """What suits uniform negatives, most of which are easy, or harder ones."""
        return L2(0.005) if isinstance(self.sampler, Uniform) else L2(0.02)

    def value(self, score: Any, target: Any) -> Any:
        small = math.exp(-abs(score))  # cannot overflow
        whole = target + small  # log1p(small), as exact, but without branches that processors cannot foresee
        return math.log(whole) + (small - (whole - target)) / whole + max(-score, 0)

    def slope(self, score: Any, target: Any) -> Any:
        small = math.exp(-abs(score))  # cannot overflow
        return (-small if score > 0 else -target) / (target + small)

    def weight(self, tries: Any, candidates: Any) -> Any:
        return 1

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def check(self, values: np.ndarray) -> None:
        require_weights(values, "BPR")


class _WARPFields(NamedTuple):
    margin: float = 1.0
    trials: int = 10
    sampler: Any = Uniform()
    allow_seen: bool = False


class WARP(_WARPFields):
    """Weighted approximate-rank pairwise loss: the hinge ``max(0, margin - (s_i - s_j))``, weighted by rank.

    Negatives are drawn until one comes within the `margin` of the positive, at most `trials` of them; where none does
    the event moves nothing. The sooner one is found, the lower the positive ranks: found at draw t, of c candidates,
    the pair counts ``log(1 + (c - 1) // t) / log(c)``, which is 1 where the first draw finds one.

    Parameters
    ----------
    margin : float
    trials : int
    sampler, allow_seen
        As in :class:`BPR`.

    References
    ----------
    Weston, Bengio, Usunier (2011), WSABIE: Scaling Up to Large Vocabulary Image Annotation.

    Examples
    --------
    >>> WARP().slope(0.5, 1.0), WARP().slope(1.5, 1.0), WARP().weight(1, 100)
    (-1, 0, 1.0)
    """

    __slots__ = ()
    kind = "pairwise"
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)

    def value(self, score: Any, target: Any) -> Any:
        return max(self.margin - score, 0)

    def slope(self, score: Any, target: Any) -> Any:
        return -1 if score < self.margin else 0

    def weight(self, tries: Any, candidates: Any) -> Any:
        return 1.0 if tries == 1 else math.log(1 + (candidates - 1) // tries) / math.log(max(candidates, 2))

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def check(self, values: np.ndarray) -> None:
        require_number("WARP.margin", self.margin, positive=True)
        require_whole("WARP.trials", self.trials, 1)
        require_weights(values, "WARP")


def _cross_entropy(self: Any, scores: Any, expected_counts: Any, slopes: Any, count: Any, items: Any) -> Any:
    """``loss_and_gradient`` of a softmax over a list, each negative standing for 1 / its expected count."""
    highest = scores[0]
    for m in range(1, count + 1):
        scores[m] = scores[m] - math.log(expected_counts[m])
        highest = max(highest, scores[m])
    total = 0.0
    for m in range(count + 1):
        slopes[m] = math.exp(scores[m] - highest)
        total += slopes[m]
    for m in range(count + 1):
        slopes[m] = slopes[m] / total
    slopes[0] = slopes[0] - 1
    return highest + math.log(total) - scores[0]


class _SoftmaxFields(NamedTuple):
    allow_seen: bool = False


class Softmax(_SoftmaxFields):
    """Cross-entropy of the chosen item among all items, ``log(sum_j exp(s_j)) - s_i``: exact, for small catalogues.

    Every event visits every item, in an update too; :class:`SampledSoftmax` does not.

    Parameters
    ----------
    allow_seen : bool
        Whether the sum is over known positives of the user too. False compares an event with what was not chosen.

    Examples
    --------
    >>> scores, slopes = np.zeros(3), np.zeros(3)
    >>> bool(Softmax().loss_and_gradient(scores, np.ones(3), slopes, 2, 3) == np.log(3))
    True
    >>> slopes
    array([-0.66...,  0.33...,  0.33...])
    """

    __slots__ = ()
    kind = "listwise"
    sampler = Every()
    domain = POSITIVE

    loss_and_gradient = _cross_entropy

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def check(self, values: np.ndarray) -> None:
        require_weights(values, "Softmax")


class _SampledSoftmaxFields(NamedTuple):
    negatives: int = 16
    sampler: Any = Uniform()
    allow_seen: bool = False


class SampledSoftmax(_SampledSoftmaxFields):
    """Cross-entropy of the chosen item among itself and a sample of negatives, corrected for how they were drawn.

    ``log(exp(s_i) + sum_j exp(s_j - log(c_j))) - s_i``, where negative j was to be expected c_j times in the sample:
    the sum estimates that of :class:`Softmax` without bias, whatever the sampler prefers.

    Parameters
    ----------
    negatives : int
        Drawn for each event, with replacement.
    sampler, allow_seen
        As in :class:`BPR`.

    References
    ----------
    Bengio, Senécal (2008), Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model. Yi et al. (2019), Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations.
    """

    __slots__ = ()
    kind = "listwise"
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)

    loss_and_gradient = _cross_entropy

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def check(self, values: np.ndarray) -> None:
        require_whole("SampledSoftmax.negatives", self.negatives, 1)
        require_weights(values, "SampledSoftmax")
