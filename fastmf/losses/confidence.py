"""All-pairs loss for implicit feedback: weighted least squares over every (user, item) pair, observed or not."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from fastmf.errors import require_number
from fastmf.losses.pointwise import require_domain
from fastmf.optimizers import ALS
from fastmf.popularity import Popularity
from fastmf.priors import Mean

__all__ = ["Confidence"]


class _ConfidenceFields(NamedTuple):
    alpha: float = 1.0
    unobserved: float = 1.0
    popularity: float = 0.0
    exposure: float = 0.05


class Confidence(_ConfidenceFields):
    """Confidence-weighted least squares for implicit feedback (iALS): target 1 for observed pairs, 0 for others.

    ``sum over events of alpha * value * (1 - s)**2  +  sum over all pairs of missing_i * s**2``

    where s is the score and ``missing_i``, the confidence in an unobserved pair of item i, is the same for all items or
    grows with their popularity: a user who has not taken an item that everybody knows is more likely to dislike it.
    Events of the same pair add up. Requires ``optimizers.ALS``. Biases stay zero. The losses reported by a fit and by a
    Delta cover the observed events only.

    Parameters
    ----------
    alpha : float
        Confidence in an event of value (and weight) 1, > 0.
    unobserved : float
        Mean confidence in an unobserved pair, > 0.
    popularity : float
        Exponent in [0, 1]: ``missing_i`` is proportional to the item's number of events to this power. 0 weights all
        items alike. Events passed to ``fold_in`` are not counted.
    exposure : float, optional
        From 0 to 1. If above 0, ``missing_i`` is multiplied by the item's share of the stream of events since its first
        event plus this floor, at most 1: those who came before an item could not take it. 0 or None weights items
        alike, however young; so do files that say nothing of it.

    References
    ----------
    Hu, Koren, Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets. He, Zhang, Kan, Chua (2016),
    Fast Matrix Factorization for Online Recommendation with Implicit Feedback. Rendle, Krichene, Zhang, Koren (2022),
    Revisiting the Performance of iALS on Item Recommendation Benchmarks.

    Examples
    --------
    >>> Confidence(alpha=2.0).value(0.5, 1.0), Confidence(alpha=2.0).slope(0.5, 1.0)
    (0.5, -2.0)
    """

    __slots__ = ()

    def __new__(
        cls, alpha: float = 1.0, unobserved: float = 1.0, popularity: float = 0.0, exposure: float | None = 0.05
    ) -> Self:
        return super().__new__(cls, alpha, unobserved, popularity, 0.0 if exposure is None else exposure)

    kind = "all-pairs"
    domain = (0.0, math.inf)
    live = Popularity()
    solver = ALS()
    priors = MappingProxyType({"users": Mean(), "items": Mean()})

    def value(self, score: Any, target: Any) -> Any:
        error = score - 1
        return self.alpha * target * error * error

    def slope(self, score: Any, target: Any) -> Any:
        error = score - 1
        return self.alpha * target * (error + error)

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: np.ndarray) -> float:
        return 0.0

    def quadratic(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return np.float32(self.alpha) * values, None

    def check(self, values: np.ndarray) -> None:
        require_number("Confidence.alpha", self.alpha, positive=True)
        require_number("Confidence.unobserved", self.unobserved, positive=True)
        for name in ("popularity", "exposure"):
            require_number(f"Confidence.{name}", getattr(self, name))
            if getattr(self, name) > 1:
                raise ValueError(f"Confidence.{name} must be from 0 to 1, got {getattr(self, name)!r}")
        require_domain(values, self.domain, "Confidence")
