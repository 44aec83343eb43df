"""Optimizers: how far a row moves along its gradient.

==========================================  ==================================================================
``state(k)``                                floats of memory that a row of `k` factors needs
``step(row, gradient, memory)``             ``(row, memory)`` after one step
``check()``                                 raises :class:`ValueError` where a field makes no sense
==========================================  ==================================================================

The learning rate is the field ``rate``. `row` and `gradient` are lanes: a whole row of factors, or a bias as a row of
one lane. `memory` is a short row of ``state(k)`` lanes (one unused lane where ``state(k)`` is 0), all zero when the row
is new, never negative, kept with the row across updates, saves and growth. A bias steps with the memory of its row;
what that step returns as memory is dropped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["SGD", "AdaGrad"]


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
    """A step that shrinks as a row gathers evidence, remembered in one or two numbers a row.

    ``row - rate * gradient / sqrt(initial + G)``, where G sums the mean squared gradient: one sum for the first 8
    factors and one for the others, so that the first carry what is common and settle before the rest. A bias takes
    the pace of the first. What a row has learned is protected by its memory: an old row takes small steps, a new one
    large steps.

    Parameters
    ----------
    rate : float
        The learning rate of a row without memory (before division by ``sqrt(initial)``).
    initial : float
        What the sums start from; it damps the first steps.

    References
    ----------
    Duchi, Hazan, Singer (2011), Adaptive Subgradient Methods. Chin, Zhuang, Juan, Lin (2015), A Learning-rate Schedule
    for Stochastic Gradient Methods to Matrix Factorization.
    """

    rate: float = 0.03
    initial: float = 1.0

    def state(self, k: int) -> int:
        return 1 if k <= 8 else 2

    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        pace = self.rate * (memory + self.initial).rsqrt()
        return row - pace.spread(row) * gradient, memory + (gradient * gradient).split(memory)

    def check(self) -> None:
        require_number("AdaGrad.rate", self.rate)
        require_number("AdaGrad.initial", self.initial, positive=True)
