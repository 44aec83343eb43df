"""Ranking losses, pairwise and listwise: an event's item against sampled items that the user has not chosen.

Events are positives; their values are weights > 0. Negatives are drawn by the loss's sampler (see
:mod:`fastmf.samplers`) and exclude the items that the user is known to have chosen, unless ``allow_seen``.

In addition to ``domain``, ``inverse_link``, ``prior`` and ``check``, and optionally ``solver`` and ``regularizer``
(see :mod:`fastmf.losses.pointwise`) and ``live``, the default of ``MF(popularity=...)``, a ranking loss has

==================================================  ================================================================
``kind``                                            ``"pairwise"`` or ``"listwise"``
``sampler``, ``allow_seen``                         fields: the sampler of negatives, and whether known positives of
                                                    the user, other than the event itself, may be drawn
*pairwise*: one negative per event
``trials``                                          the maximum number of negatives drawn, until one has a nonzero
                                                    slope
``value(score, target)``, ``slope(score, target)``  of the score difference s_i - s_j between the positive and the
                                                    negative; `target` is 1
``weight(tries, candidates)``                       the weight of the pair whose negative was draw number `tries`
                                                    among `candidates` items
*listwise*: all negatives of an event at once
``negatives``                                       the number of negatives drawn
``loss_and_gradient(scores, expected_counts,``      writes ``slopes[m]``, the derivative with respect to ``scores[m]``,
``slopes, count, items)``                           for m from 0, the positive, to `count`; returns the loss of the list
==================================================  ================================================================

In ``loss_and_gradient``, ``expected_counts[m]`` is the expected number of occurrences of negative m in the list, and
`items` the number of items in the model; the method may overwrite `scores` and `expected_counts`. It is compiled, under
the same rules as the other methods.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError, require_number, require_whole
from fastmf.optimizers import AdaGrad
from fastmf.popularity import Popularity
from fastmf.regularizers import ScaledL2
from fastmf.samplers import Every, Uniform

__all__ = ["BPR", "WARP", "SampledSoftmax", "Softmax"]

POSITIVE = (float(np.nextafter(np.float32(0), np.float32(1))), math.inf)


def require_weights(values: np.ndarray, loss: str) -> None:
    """Raise DataError for the first of `values` that is not a finite weight > 0."""
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
        Draws the negatives.
    allow_seen : bool
        Whether known positives of the user may be drawn as negatives.

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
    live = Popularity()
    trials = 1
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)

    @property
    def regularizer(self) -> ScaledL2:
        """The default regularizer: weaker for uniform negatives, most of which are easy, than for harder ones."""
        return ScaledL2(0.012) if isinstance(self.sampler, Uniform) else ScaledL2(0.05)

    def value(self, score: Any, target: Any) -> Any:
        small = math.exp(-abs(score))  # cannot overflow
        whole = target + small  # log1p(small) to the same accuracy, without hard-to-predict branches
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

    Negatives are drawn until one violates the margin, at most `trials` of them; if none does, the event causes no step.
    The number of draws estimates the rank of the positive: if draw t, among c candidates, is the first violation, the
    pair has weight ``log(1 + (c - 1) // t) / log(c)``, which is 1 for t = 1.

    Parameters
    ----------
    margin : float
        The score difference from which the loss is zero; > 0.
    trials : int
        The maximum number of draws per event.
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
    live = Popularity()
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)
    regularizer = ScaledL2(0.1)

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
    """``loss_and_gradient`` of a softmax over a list, negatives weighted by 1 / expected count (logQ correction)."""
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
    """Full softmax cross-entropy of the chosen item among all items, ``log(sum_j exp(s_j)) - s_i``.

    Exact, for small catalogues: every event reads and updates every item, in an update too. :class:`SampledSoftmax`
    approximates it from a sample.

    Parameters
    ----------
    allow_seen : bool
        Whether the sum includes the user's other known positives. False compares an event with items not chosen only.

    References
    ----------
    Bridle (1990), Probabilistic Interpretation of Feedforward Classification Network Outputs.

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
    live = Popularity()
    sampler = Every()
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)
    regularizer = ScaledL2(0.12)

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
    """Sampled softmax: cross-entropy of the chosen item among itself and sampled negatives, with the logQ correction.

    ``log(exp(s_i) + sum_j exp(s_j - log(c_j))) - s_i``, where c_j is the expected number of occurrences of negative j
    in the sample. With this importance weighting the sum over negatives is an unbiased estimate of the sum in
    :class:`Softmax`, for any sampler.

    Parameters
    ----------
    negatives : int
        Negatives drawn per event, with replacement.
    sampler, allow_seen
        As in :class:`BPR`.

    References
    ----------
    Bengio, Senécal (2008), Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
    Model. Yi et al. (2019), Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations.
    """

    __slots__ = ()
    kind = "listwise"
    live = Popularity()
    domain = POSITIVE
    solver = AdaGrad(rate=0.1)
    regularizer = ScaledL2(0.12)

    loss_and_gradient = _cross_entropy

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def check(self, values: np.ndarray) -> None:
        require_whole("SampledSoftmax.negatives", self.negatives, 1)
        require_weights(values, "SampledSoftmax")
