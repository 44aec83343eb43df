"""Pointwise losses: the loss of one score against one value.

A loss is a NamedTuple with plain Python methods that does not depend on Numba; kernels are specialised on its class.

==============================  ==================================================================
``kind``                        ``"pointwise"``: one score against one value
``domain``                      the closed interval of values (labels) that the loss accepts
``value(score, target)``        the loss of one event
``slope(score, target)``        its derivative with respect to the score
``inverse_link(score)``         the prediction for a score
``prior(values)``               the score of a constant model fitted to `values`: the global mean
``check(values)``               raises :class:`~fastmf.errors.DataError` on a label outside the domain
==============================  ==================================================================

A loss may also have the attributes ``solver`` and ``regularizer``: the defaults that :class:`fastmf.MF` uses with it.
Without them the defaults are ``AdaGrad()`` and ``L2()``, tuned for ratings; those of this file, but for ``Poisson`` and
for sampled negatives, have ``Variational()``.

A loss that ``optimizers.ALS`` can minimise also has ``quadratic(values)``, which returns ``(weights, targets)``: the
loss of an event is ``weight * (target - s)**2``; targets is None where all are 1.

A loss that ``optimizers.Variational`` can minimise also has

======================================  ================================================================================
``surrogate(score, variance, target,``  ``(weight, target)``: the likelihood of the event is nowhere below a normal one
``noise)``                              of variance ``noise / weight`` around this target (times a constant), and
                                        meets it for a score of this mean and variance
``learns_noise``                        whether the variance of the noise of values is learned; if not, `noise` is
                                        1 / the weight of the event
``expected(score, variance)``           the prediction for a score of this mean and variance
======================================  ================================================================================

Type checkers treat every assignment in the body of a NamedTuple as a field. A class with constants therefore defines
its fields in a base class, and constants and methods in a subclass; without a type checker one body is enough.

Methods that kernels call (``value``, ``slope``, ``inverse_link``) may use arithmetic, ``math`` and the fields of
`self`. They receive float32 numbers; literals such as ``0.5`` promote the arithmetic to float64, which is slower.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError, require_number, require_whole
from fastmf.losses.ranking import POSITIVE, require_weights
from fastmf.optimizers import AdaGrad, Variational
from fastmf.popularity import Popularity
from fastmf.regularizers import L2, ScaledL2
from fastmf.samplers import Uniform

__all__ = ["Huber", "Logistic", "Poisson", "Squared", "StudentT"]

_TINY = 1e-6  # keeps the prior finite where all labels are equal


def require_domain(values: np.ndarray, domain: tuple[float, float], loss: str) -> None:
    """Raise DataError for the first of `values` that is outside the closed interval `domain`."""
    low, high = domain
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f"values, row {row}: {values[row]} is outside [{low:g}, {high:g}], the labels of {loss}")


class _NoFields(NamedTuple):
    pass


class _OfRealValues:
    """What losses of real values share: a score is a prediction."""

    __slots__ = ()
    kind = "pointwise"
    domain = (-math.inf, math.inf)
    solver = Variational()
    learns_noise = True

    def inverse_link(self, score: Any) -> Any:
        return score

    def expected(self, score: Any, variance: Any) -> Any:
        return score


class _Robust(_OfRealValues):
    """Losses that outliers have little weight in."""

    __slots__ = ()

    def prior(self, values: np.ndarray) -> float:
        return float(np.median(values))


class Squared(_OfRealValues, _NoFields):
    """Squared error, ``(y - s)**2``, for a value y and a score s.

    Examples
    --------
    >>> Squared().value(3.0, 5.0), Squared().slope(3.0, 5.0)
    (4.0, -4.0)
    """

    __slots__ = ()

    def value(self, score: Any, target: Any) -> Any:
        error = score - target
        return error * error

    def slope(self, score: Any, target: Any) -> Any:
        error = score - target
        return error + error

    def prior(self, values: np.ndarray) -> float:
        return float(np.mean(values, dtype=np.float64))

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.ones_like(values), values

    def surrogate(self, score: Any, variance: Any, target: Any, noise: Any) -> Any:
        return 1.0, target

    def check(self, values: np.ndarray) -> None:
        require_domain(values, self.domain, "Squared")


class _HuberFields(NamedTuple):
    delta: float = 1.0


class Huber(_Robust, _HuberFields):
    """Huber loss: squared error near zero and linear beyond `delta`, which bounds the gradient of outliers.

    ``e**2`` where ``|e| <= delta``, else ``delta * (2 |e| - delta)``, with ``e = s - y``. In the limit of large `delta`
    it is :class:`Squared`.

    Parameters
    ----------
    delta : float
        The absolute error, in units of the values, above which the loss is linear; > 0.

    References
    ----------
    Huber (1964), Robust Estimation of a Location Parameter.

    Examples
    --------
    >>> Huber(1.0).value(0.0, 3.0), Huber(1.0).slope(0.0, 3.0)
    (5.0, -2.0)
    """

    __slots__ = ()

    def value(self, score: Any, target: Any) -> Any:
        size = abs(score - target)
        inner = min(size, self.delta)
        return inner * (size + size - inner)

    def slope(self, score: Any, target: Any) -> Any:
        error = min(max(score - target, -self.delta), self.delta)
        return error + error

    def surrogate(self, score: Any, variance: Any, target: Any, noise: Any) -> Any:
        error = target - score
        return self.delta / max(math.sqrt(error * error + variance), self.delta), target

    def check(self, values: np.ndarray) -> None:
        require_number("Huber.delta", self.delta, positive=True)
        require_domain(values, self.domain, "Huber")


class _StudentTFields(NamedTuple):
    df: float = 4.0


class StudentT(_Robust, _StudentTFields):
    """Negative log-likelihood of Student's t-distribution, in which outliers hardly count.

    ``(df + 1) / 2 * log(1 + e**2 / df)``, with ``e = s - y``. ``optimizers.Variational`` learns the scale of the noise;
    gradient steps take it as 1.

    Parameters
    ----------
    df : float
        Degrees of freedom, > 0. The distribution is the normal one in the limit of many, and has the heavier tails the
        fewer there are.

    References
    ----------
    Lange, Little, Taylor (1989), Robust Statistical Modeling Using the t Distribution.

    Examples
    --------
    >>> StudentT(1.0).value(0.0, 0.0), StudentT(1.0).slope(0.0, 3.0)
    (0.0, -0.6)
    """

    __slots__ = ()

    def value(self, score: Any, target: Any) -> Any:
        error = score - target
        return 0.5 * (self.df + 1) * math.log1p(error * error / self.df)

    def slope(self, score: Any, target: Any) -> Any:
        error = score - target
        return (self.df + 1) * error / (self.df + error * error)

    def surrogate(self, score: Any, variance: Any, target: Any, noise: Any) -> Any:
        error = target - score
        return (self.df + 1) / (self.df + (error * error + variance) / noise), target

    def check(self, values: np.ndarray) -> None:
        require_number("StudentT.df", self.df, positive=True)
        require_domain(values, self.domain, "StudentT")


class Logistic(NamedTuple):
    """Logistic loss (binary cross-entropy) of labels in [0, 1]; predictions are probabilities.

    ``log(1 + exp(s)) - y s`` for a label y and a score s.

    With ``negatives > 0`` events are positives, and their values are weights > 0: each event has label 1, and as many
    items sampled for it have label 0. The loss is then a ranking loss of kind ``"listwise"`` (see
    :mod:`fastmf.losses.ranking`), and predicted probabilities reflect the sampled share of negatives unless calibrated.

    Parameters
    ----------
    negatives : int
        Negatives sampled per event; 0 uses the labels of the events as they are.
    calibration : float
        In [0, 1] (gBCE). 0 is the plain loss; 1 fully corrects the overconfidence caused by sampling: with a the
        sampled share of the catalogue, the loss of a positive is multiplied by ``1 - calibration * (1 - a)``.
    sampler : sampler
        Draws the negatives.
    allow_seen : bool
        Whether known positives of the user may be drawn as negatives.

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
        """``"listwise"`` with sampled negatives, else ``"pointwise"``."""
        return "listwise" if self.negatives else "pointwise"

    @property
    def domain(self) -> tuple[float, float]:
        """The interval of labels or, with sampled negatives, of weights."""
        return POSITIVE if self.negatives else (0.0, 1.0)

    @property
    def learns_noise(self) -> bool:
        """False: labels have the noise that their probabilities say."""
        return False

    @property
    def live(self) -> Popularity:
        """Live popularity as in ranking losses with sampled negatives, else none."""
        return Popularity() if self.negatives else Popularity(weight=0)

    @property
    def solver(self) -> AdaGrad | Variational:
        """The default solver, depending on whether negatives are sampled."""
        return AdaGrad(rate=0.1) if self.negatives else Variational()

    @property
    def regularizer(self) -> L2 | ScaledL2:
        """The default regularizer, depending on whether negatives are sampled."""
        return ScaledL2(0.05) if self.negatives else L2()

    def value(self, score: Any, target: Any) -> Any:
        return max(score, 0.0) + math.log1p(math.exp(-abs(score))) - target * score

    def slope(self, score: Any, target: Any) -> Any:
        # tanh saturates where exp would overflow
        return 0.5 + 0.5 * math.tanh(0.5 * score) - target

    def loss_and_gradient(self, scores: Any, expected_counts: Any, slopes: Any, count: Any, items: Any) -> Any:
        counts = 1 - self.calibration * (1 - count / max(items - 1, 1))  # weight of the positive
        lost = counts * (max(-scores[0], 0.0) + math.log1p(math.exp(-abs(scores[0]))))
        slopes[0] = counts * (0.5 * math.tanh(0.5 * scores[0]) - 0.5)
        for m in range(1, count + 1):
            lost += max(scores[m], 0.0) + math.log1p(math.exp(-abs(scores[m])))
            slopes[m] = 0.5 + 0.5 * math.tanh(0.5 * scores[m])
        return lost

    def inverse_link(self, score: Any) -> Any:
        return 0.5 + 0.5 * math.tanh(0.5 * score)

    def surrogate(self, score: Any, variance: Any, target: Any, noise: Any) -> Any:
        size = math.sqrt(score * score + variance) + 1e-6
        weight = math.tanh(0.5 * size) / (size + size)
        return weight, (target - 0.5) / weight

    def expected(self, score: Any, variance: Any) -> Any:
        return 0.5 + 0.5 * math.tanh(0.5 * score / math.sqrt(1 + 0.125 * math.pi * variance))

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
    """Poisson negative log-likelihood of counts with rate ``exp(s)``, up to a constant; predicts expected counts.

    ``exp(s) - y s`` for a count y and a score s.

    References
    ----------
    Nelder, Wedderburn (1972), Generalized Linear Models.

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
