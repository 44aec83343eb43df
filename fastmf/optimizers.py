"""Optimizers: SGD and AdaGrad (stochastic gradient steps), ALS (row solves), and Variational (normal distributions).

An optimizer that takes gradient steps has

==========================================  ===================================================================
``state(k)``                                the number of float32 values of memory per row of `k` factors
``step(row, gradient, memory)``             ``(row, memory)`` after one step
``check()``                                 raises :class:`ValueError` for an invalid field
==========================================  ===================================================================

and a field ``rate``, the learning rate. `row` and `gradient` are SIMD vectors (see kernels/core/lanes.py): a whole row
of factors, or a bias as a vector of length one. `memory` is a short vector of ``state(k)`` values (one unused value
where ``state(k)`` is 0): zero for a new row, always finite, and stored with the row across updates, saves and growth of
the table.

A row and its bias share one memory. ``step`` is first called on the bias, whose gradient is the slope of the loss plus
that of the penalty, to obtain the new memory (for models without biases, on a bias fixed at zero); bias and factors are
then stepped with that memory, and the memory returned by these two calls is discarded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_count, require_integer, require_number

_LONGEST_HISTORY = 2**24  # events: learn_one allocates work arrays for this many

__all__ = ["ALS", "SGD", "AdaGrad", "Variational"]


class SGD(NamedTuple):
    """Plain stochastic gradient descent, ``row - rate * gradient``.

    Parameters
    ----------
    rate : float
        The learning rate, >= 0. 0 leaves every row unchanged.

    References
    ----------
    Robbins, Monro (1951), A Stochastic Approximation Method.

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
    """AdaGrad with one accumulator per row: the step size decreases as a row accumulates squared gradients.

    ``row - rate * gradient / sqrt(1 + G / initial)``, where G is the sum of the squared gradients of the row's bias
    over all events of the row, the present one included. (Accumulating the gradient of the factors, as usual, needs a
    reduction over each row and halves the speed.) A row with many events takes small steps, which protects what it has
    learned; a new row takes large ones.

    Parameters
    ----------
    rate : float
        The learning rate of a row with no accumulated gradient.
    initial : float
        The prior evidence attributed to the initial vector, in units of G: the step size has decreased by a factor of
        sqrt(2) when G equals `initial`.

    References
    ----------
    Duchi, Hazan, Singer (2011), Adaptive Subgradient Methods for Online Learning and Stochastic Optimization. Chin,
    Zhuang, Juan, Lin (2015), A Learning-rate Schedule for Stochastic Gradient Methods to Matrix Factorization.
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
    """Alternating least squares: solve all rows of one side with the other side fixed, then vice versa.

    For quadratic losses (``losses.Squared`` and ``losses.Confidence``) with ``regularizers.L2``: the penalty of a row
    is ``weight * n**nu * (|p|**2 + b**2)``, where n is the summed confidence in the row's events (for ratings, their
    summed weights). A row whose events all have weight 0 is set to zero.

    Parameters
    ----------
    method : {"cg", "cholesky", "eals"}
        Conjugate gradients started from the current row; Cholesky factorisation of the normal equations; or
        element-wise coordinate descent.
    steps : int
        Iterations of "cg", or passes over the coordinates of "eals", per row; ignored by "cholesky". In an update, "cg"
        takes at least six iterations for users and for new items.
    nu : float
        Exponent of the penalty in the row's summed confidence n: 1 is a penalty per event, 0 one per row.
    max_history : int
        In an update, a row with more past events than this is not solved from scratch: it takes one approximate Newton
        step along the gradient of its new events and of the rows that have moved, with a Hessian estimated from this
        many of its events, the newest ones and a sample of the older ones. So does a row of 128 events or more that
        grows by little, with 64 of them, or as many as there are factors. At most 16,777,216.

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


class Variational(NamedTuple):
    """Variational Bayes: every row is a normal distribution, whose prior is learned; there is nothing to tune.

    For losses with a ``surrogate``: ``Squared``, ``Huber``, ``StudentT``, and ``Logistic`` of labels. A row has a mean,
    which scores are made of, and a variance per factor. A fit solves all rows of one side with the other side fixed,
    then vice versa, and learns the priors, the variance of the noise, and by how much that of each user differs; it
    stops by itself, after 6 to `epochs` sweeps. An update learns each new event once, by a step of an extended Kalman
    filter: a row moves the further, the less is known about it. New and unknown users and items stand at the prior. The
    prior takes the place of a regularizer.

    References
    ----------
    Lim, Teh (2007), Variational Bayesian Approach to Movie Rating Prediction. Salakhutdinov, Mnih (2008), Bayesian
    Probabilistic Matrix Factorization using Markov Chain Monte Carlo (the same model, sampled). Nakajima, Sugiyama
    (2011), Theoretical Analysis of Bayesian Matrix Factorization. Jaakkola, Jordan (2000), Bayesian parameter
    estimation via variational methods (labels).

    Examples
    --------
    >>> import fastmf
    >>> log = fastmf.datasets.synthetic(events=2_000, users=100, items=50)
    >>> model = fastmf.MF(factors=8, solver=Variational()).fit(log[:1_500])
    >>> delta = model.update(log[1_500:])
    >>> delta.loss_after < delta.loss_before
    True
    """

    def state(self, k: int) -> int:
        return 4  # of the bias, the variance; of the row, a factor of the noise, its worth in events, a suspicion

    def check(self) -> None:
        """Nothing to check: it has no fields."""
