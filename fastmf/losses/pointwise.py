"""Pointwise losses: how wrong one score is against one value.

A loss is a NamedTuple with plain methods and no Numba in sight; kernels are specialised on its class.

==============================  =================================================================
``kind``                        ``"pointwise"``: one score against one value
``domain``                      the closed interval of values (labels) that the loss accepts
``value(score, target)``        the loss of one event
``slope(score, target)``        its derivative with respect to the score
``inverse_link(score)``                 the prediction that a score stands for
``prior(values)``               the score that a constant model would give: the initial mean
``check(values)``               raises :class:`~fastmf.errors.DataError` on a label outside the domain
==============================  =================================================================

A loss may have ``solver`` and ``regularizer`` too, the values that suit it: :class:`fastmf.MF` takes them where none
are given. For a loss without them it takes ``AdaGrad()`` and ``L2()``, which suit ratings.

A loss that ``optimizers.ALS`` can solve has ``quadratic(values)`` too, ``(weights, targets)``: an event's loss is
``weight * (target - s)**2``; targets are None where all are 1.

Type checkers take every assignment in the body of a NamedTuple for a field. A class with constants therefore has its
fields in a base, and constants and methods of its own; without checkers both may stand in one body.

Methods that kernels call (``value``, ``slope``, ``inverse_link``) may use arithmetic, ``math`` and their own fields.
They get float32 numbers; literals such as ``0.5`` would carry the arithmetic to float64 and cost time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError, require_number, require_whole
from fastmf.losses.ranking import POSITIVE, require_weights
from fastmf.optimizers import AdaGrad
from fastmf.regularizers import L2
from fastmf.samplers import Uniform

__all__ = ["Huber", "Logistic", "Poisson", "Squared"]

_TINY = 1e-6  # keeps the prior of one-sided labels finite


def require_domain(values: np.ndarray, domain: tuple[float, float], loss: str) -> None:
    """Raise DataError for the first of `values` that is outside the closed interval `domain`."""
    low, high = domain
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"values, row {row}: {values[row]} is outside [{low:g}, {high:g}], the labels of {loss}")


class _NoFields(NamedTuple):
    pass


class Squared(_NoFields):
    """Squared error, ``(y - s)**2``.

    Examples
    --------
    >>> Squared().value(3.0, 5.0), Squared().slope(3.0, 5.0)
    (4.0, -4.0)
    """

    __slots__ = ()
    kind = "pointwise"
    domain = (-math.inf, math.inf)

    def value(self, score: Any, target: Any) -> Any:
        error = score - target
        return error * error

    def slope(self, score: Any, target: Any) -> Any:
        error = score - target
        return error + error

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return float(np.mean(values, dtype=np.float64))

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.ones_like(values), values

    def check(self, values: np.ndarray) -> None:
        require_domain(values, self.domain, "Squared")


class _HuberFields(NamedTuple):
    delta: float = 1.0


class Huber(_HuberFields):
    """Squared error near zero, linear beyond `delta`: outliers pull with bounded force.

    ``e**2`` where ``|e| <= delta``, else ``delta * (2 |e| - delta)``, with ``e = s - y``. As `delta` grows it
    becomes :class:`Squared`.

    Parameters
    ----------
    delta : float
        The error, in units of the values, from which the loss is linear.

    References
    ----------
    Huber (1964), Robust Estimation of a Location Parameter.

    Examples
    --------
    >>> Huber(1.0).value(0.0, 3.0), Huber(1.0).slope(0.0, 3.0)
    (5.0, -2.0)
    """

    __slots__ = ()
    kind = "pointwise"
    domain = (-math.inf, math.inf)

    def value(self, score: Any, target: Any) -> Any:
        size = abs(score - target)
        inner = min(size, self.delta)
        return inner * (size + size - inner)

    def slope(self, score: Any, target: Any) -> Any:
        error = min(max(score - target, -self.delta), self.delta)
        return error + error

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return float(np.median(values))

    def check(self, values: np.ndarray) -> None:
        require_number("Huber.delta", self.delta, positive=True)
        require_domain(values, self.domain, "Huber")


class Logistic(NamedTuple):
    """Cross-entropy of labels in [0, 1]; predictions are probabilities.

    ``log(1 + exp(s)) - y s``.

    With `negatives`, events are positives, whose values are weights > 0: each has the label 1, and so many items drawn
    for it the label 0. It is a ranking loss then, of kind ``"listwise"`` (see :mod:`fastmf.losses.ranking`), and its
    probabilities are those of a world with that share of negatives, unless they are calibrated.

    Parameters
    ----------
    negatives : int
        Negatives drawn for each event; 0 takes events with the labels they have.
    calibration : float
        From 0, the plain loss, to 1, which takes back all of the overconfidence that comes from drawing a share a of
        the catalogue instead of seeing all of it: the loss of a positive counts ``1 - calibration * (1 - a)``.
    sampler : sampler
        Where negatives come from.
    allow_seen : bool
        Whether they may be known positives of the user.

    References
    ----------
    Petrov, Macdonald (2023), gSASRec: Reducing Overconfidence in Sequential Recommendation Trained with Negative
    Sampling.

    Examples
    --------
    >>> Logistic().inverse_link(0.0), Logistic().slope(0.0, 1.0)
    (0.5, -0.5)
    >>> Logistic().kind, Logistic(negatives=4).kind
    ('pointwise', 'listwise')
    """

    negatives: int = 0
    calibration: float = 0.0
    sampler: Any = Uniform()
    allow_seen: bool = False

    @property
    def kind(self) -> str:
        """What an event is compared with: its label, or negatives."""
        return "listwise" if self.negatives else "pointwise"

    @property
    def domain(self) -> tuple[float, float]:
        """Labels, or weights."""
        return POSITIVE if self.negatives else (0.0, 1.0)

    @property
    def solver(self) -> AdaGrad:
        """What suits labels, or negatives."""
        return AdaGrad(rate=0.1) if self.negatives else AdaGrad()

    @property
    def regularizer(self) -> L2:
        """What suits labels, or negatives."""
        return L2(0.03) if self.negatives else L2()

    def value(self, score: Any, target: Any) -> Any:
        return max(score, 0.0) + math.log1p(math.exp(-abs(score))) - target * score

    def slope(self, score: Any, target: Any) -> Any:
        # tanh saturates where exp would overflow
        return 0.5 + 0.5 * math.tanh(0.5 * score) - target

    def loss_and_gradient(self, scores: Any, expected_counts: Any, slopes: Any, count: Any, items: Any) -> Any:
        counts = 1 - self.calibration * (1 - count / max(items - 1, 1))  # what the positive does
        lost = counts * (max(-scores[0], 0.0) + math.log1p(math.exp(-abs(scores[0]))))
        slopes[0] = counts * (0.5 * math.tanh(0.5 * scores[0]) - 0.5)
        for m in range(1, count + 1):
            lost += max(scores[m], 0.0) + math.log1p(math.exp(-abs(scores[m])))
            slopes[m] = 0.5 + 0.5 * math.tanh(0.5 * scores[m])
        return lost

    def inverse_link(self, score: Any) -> Any:
        return 0.5 + 0.5 * math.tanh(0.5 * score)

    def prior(self, values: np.ndarray) -> float:
        if self.negatives:
            return 0.0
        share = min(max(float(np.mean(values, dtype=np.float64)), _TINY), 1.0 - _TINY)
        return math.log(share / (1.0 - share))

    def check(self, values: np.ndarray) -> None:
        require_whole("Logistic.negatives", self.negatives, 0)
        require_number("Logistic.calibration", self.calibration)
        if self.calibration > 1:
            raise ValueError(f"Logistic.calibration must be from 0 to 1, got {self.calibration!r}")
        if self.negatives:
            require_weights(values, "Logistic(negatives=...)")
        else:
            require_domain(values, self.domain, "Logistic")


class Poisson(_NoFields):
    """Counts: the negative log-likelihood of a Poisson rate ``exp(s)``, up to a constant.

    ``exp(s) - y s``; predictions are expected counts.

    Examples
    --------
    >>> Poisson().inverse_link(0.0), Poisson().slope(0.0, 3.0)
    (1.0, -2.0)
    """

    __slots__ = ()
    kind = "pointwise"
    domain = (0.0, math.inf)

    def value(self, score: Any, target: Any) -> Any:
        return math.exp(score) - target * score

    def slope(self, score: Any, target: Any) -> Any:
        return math.exp(score) - target

    def inverse_link(self, score: Any) -> Any:
        return math.exp(score)

    def prior(self, values: np.ndarray) -> float:
        return math.log(max(float(np.mean(values, dtype=np.float64)), _TINY))

    def check(self, values: np.ndarray) -> None:
        require_domain(values, self.domain, "Poisson")
