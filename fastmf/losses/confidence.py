"""Whole-data losses: every pair of a user and an item counts, met or not."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import require_number
from fastmf.losses.pointwise import require_domain
from fastmf.optimizers import ALS

__all__ = ["Confidence"]


class _ConfidenceFields(NamedTuple):
    alpha: float = 1.0
    unobserved: float = 1.0
    popularity: float = 0.0


class Confidence(_ConfidenceFields):
    """Implicit feedback: pairs that met should score 1, all others 0, with little confidence; for ``optimizers.ALS``.

    ``sum over events of alpha * value * (1 - s)**2  +  sum over all pairs of missing_i * s**2``, where ``missing_i`` is
    the same for all items, or grows with their popularity: who did not take what everybody knows, may not want it.
    Events of one pair add up. There are no biases: a model with this loss leaves them at zero. The losses that a fit
    and a Delta report are those of the events.

    Parameters
    ----------
    alpha : float
        Confidence in an event of value (and weight) 1.
    unobserved : float
        Mean confidence in a pair that did not meet.
    popularity : float
        ``missing_i`` goes with the number of events of the item to this power, from 0, all alike, to 1. What visitors
        do in ``fold_in`` is not counted, be it their own.

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
    kind = "all-pairs"
    domain = (0.0, math.inf)
    solver = ALS()

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
        require_number("Confidence.popularity", self.popularity)
        if self.popularity > 1:
            raise ValueError(f"Confidence.popularity must be from 0 to 1, got {self.popularity!r}")
        require_domain(values, self.domain, "Confidence")
