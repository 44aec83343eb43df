"""Optimizers: how far a row moves along its gradient.

==========================================  ==================================================================
``state(k)``                                floats of memory that a row of `k` factors needs
``step(row, gradient, memory)``             ``(row, memory)`` after one step
``check()``                                 raises :class:`ValueError` where a field makes no sense
==========================================  ==================================================================

The learning rate is the field ``rate``. `row` and `gradient` are lanes: a whole row of factors, or a bias as a row of
one lane. `memory` is a short row of ``state(k)`` lanes (one unused lane where ``state(k)`` is 0), all zero when the row
is new, always finite, kept with the row across updates, saves and growth. A row and its bias share one memory: a step
of the bias, whose gradient is the slope of the loss, says what the memory becomes at an event (without biases too: of a
bias that is zero and stays so); then the bias and the factors step with that, and no more is made of what they return.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_count, require_integer, require_number

_LONGEST_HISTORY = 2**24  # events: single ones are learned in a room for so many

__all__ = ["ALS", "SGD", "AdaGrad"]


class SGD(NamedTuple):
    """Plain stochastic gradient descent, ``row - rate * gradient``.

    Parameters
    ----------
    rate : float
        The learning rate. 0 leaves every row as it is.

    Examples
    --------
    >>> SGD(rate=0.5).step(1.0, 0.2, 0.0)
    (0.9, 0.0)
    """

    rate: float = 0.01

    def state(self, k: int) -> int:
        return 0

    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        return row - self.rate * gradient, memory

    def check(self) -> None:
        require_number("SGD.rate", self.rate)


class AdaGrad(NamedTuple):
    """A step that shrinks as a row gathers evidence, remembered in one number a row.

    ``row - rate * gradient / sqrt(1 + G / initial)``, where G sums the squared gradient of the row's bias: the slope of
    the loss at every event of the row, the present one included. (The usual sum over the gradient of the factors
    themselves needs a reduction over each row and costs half the speed.) What a row has learned is protected by its
    memory: an old row takes small steps, a new one large steps.

    Parameters
    ----------
    rate : float
        The learning rate of a row without memory.
    initial : float
        What a row takes the evidence behind its start to be worth: steps are 0.7 times as long once G is as large.

    References
    ----------
    Duchi, Hazan, Singer (2011), Adaptive Subgradient Methods. Chin, Zhuang, Juan, Lin (2015), A Learning-rate Schedule
    for Stochastic Gradient Methods to Matrix Factorization.
    """

    rate: float = 0.04
    initial: float = 100.0

    def state(self, k: int) -> int:
        return 1

    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        pace = self.rate * (memory * (1 / self.initial) + 1).rsqrt()
        return row - pace.spread(row) * gradient, memory + (gradient * gradient).mean(memory)

    def check(self) -> None:
        require_number("AdaGrad.rate", self.rate)
        require_number("AdaGrad.initial", self.initial, positive=True)


class ALS(NamedTuple):
    """Alternating least squares: all rows of one side are solved with the other side fixed, then the other way round.

    For losses that are quadratic, ``losses.Squared`` and ``losses.Confidence``, with ``regularizers.L2``: the penalty
    of a row is ``weight * n**nu``, n being the summed confidence in its events (their weights, for ratings). A row
    whose events all weigh nothing is zero.

    Parameters
    ----------
    method : {"cg", "cholesky", "eals"}
        Conjugate gradients from where the row is, the normal equations, or passes over its coordinates.
    steps : int
        Of conjugate gradients, or passes over the coordinates; the normal equations need none. The users of an update
        take six of conjugate gradients at least.
    nu : float
        How the penalty grows with the evidence: 1 is a penalty per event, 0 one per row.
    max_history : int
        In an update, rows with more events are not solved anew: they take a step, on what is new and what has moved,
        whose curvature is that of so many events, the newest and a sample of the others. At most 16,777,216.

    References
    ----------
    Hu, Koren, Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets. Takács, Pilászy, Tikk (2011),
    Applications of the conjugate gradient method for implicit feedback collaborative filtering. He, Zhang, Kan, Chua
    (2016), Fast Matrix Factorization for Online Recommendation with Implicit Feedback. Rendle, Krichene, Zhang, Koren
    (2022), Revisiting the Performance of iALS on Item Recommendation Benchmarks (the scaled penalty).

    Examples
    --------
    >>> ALS(method="cholesky").state(32)
    0
    """

    method: str = "cg"
    steps: int = 3
    nu: float = 1.0
    max_history: int = 1_000

    def state(self, k: int) -> int:
        return 0

    def check(self) -> None:
        if self.method not in ("cg", "cholesky", "eals"):
            raise ValueError(f'ALS.method must be "cg", "cholesky" or "eals", got {self.method!r}')
        require_count("ALS.steps", self.steps, 1)
        require_number("ALS.nu", self.nu)
        require_integer("ALS.max_history", self.max_history, 1, _LONGEST_HISTORY)
