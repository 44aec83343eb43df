"""Hyper-parameters of variational Bayes: how they begin, how they are learned, and coordinates that make them simple.

With rows x = [p, b] of mean m_x and covariance C_x, and y = [q, c] likewise, the learned priors are

    m = mean of x,    C = mean of (x - m)(x - m)' + posterior covariance of x

Scores do not change when b -= beta.p and q += beta, nor when p <- T p and q <- T'^-1 q. With beta = C_pp^-1 C_pb of
each side, F = chol(C_pp), F' C_qq F = U D U' and T = D^(1/4) U' F^-1, both C become diagonal, and equal on factors.

Reference: Nakajima, Sugiyama, Babacan, Tomioka (2013), Global Analytic Solution of Fully-observed Variational Bayesian
Matrix Factorization (why coordinates that are free matter).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.equations import Prior, Sums
from fastmf.errors import DivergenceError
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import coordinates
from fastmf.log.events import SIDES
from fastmf.parameters.priors import NOISE_EVENTS, RECORD, Priors
from fastmf.state import State

__all__ = ["BIAS_SHARE", "NOISE_SHARE", "Hyper", "scale_of"]

_FACTOR_SHARE = 0.7  # sd of values, divided by sqrt(factors): initial variance of a factor
_CAREFUL = 0.1  # of that, where events are learned as they come: by one pass, much of a wide prior is learned as noise
_WIDE = 2.4  # sd of values: variance of the first factor in the first sweeps of a fit. A small one prunes factors
BIAS_SHARE, NOISE_SHARE = 0.16, 0.65  # of the variance of values: initial variances of a bias, and of the noise
_LEAST = 1e-3  # variance of the noise, in units of the one that a fit begins with: what float32 can solve
_SOME = 1_000  # values that the spread of targets is estimated from
_FLAT = 1e-10  # smallest eigenvalue that counts, in units of the largest


class Hyper:
    """Means and variances of the priors, float64[d] by side, and the variance of the noise.

    Parameters
    ----------
    means, variances : dict of str to float64[d]
        d is the number of factors, and one more with biases.
    noise : float
    spread : float
        As in :class:`fastmf.parameters.priors.Priors`.
    factors : int
    """

    def __init__(
        self, rows: tuple[dict[str, np.ndarray], dict[str, np.ndarray]], noise: float, spread: float, factors: int
    ) -> None:
        (self.means, self.variances), self.noise, self.spread, self.factors = rows, noise, spread, factors
        self.least = _LEAST * noise

    @classmethod
    def initial(cls, state: State, values: np.ndarray, loss: Any, fits: bool) -> Hyper:
        """Those of a model that has seen no more than these values, and fits them or learns them by one pass."""
        shape, centre = state.users.table.shape, state.numbers["centre"]
        variance = scale_of(values if loss.learns_noise else targets_of(values, float(state.global_mean), loss))
        factor = (1.0 if fits else _CAREFUL) * _FACTOR_SHARE * np.sqrt(variance / shape.size)
        level = np.sqrt(abs(centre) / shape.size)
        bias = [BIAS_SHARE * variance] if shape.biases else []
        none = [0.0] if shape.biases else []
        means = {side: np.array([level] * shape.size + none) for side in SIDES}
        means["items"][: shape.size] *= 1 if centre >= 0 else -1  # one side carries the sign
        variances = {side: np.array([factor] * shape.size + bias) for side in SIDES}
        noise = NOISE_SHARE * variance if loss.learns_noise else 1.0
        return cls((means, variances), noise, float(np.sqrt(12 * factor)), shape.size)

    @classmethod
    def of(cls, state: State) -> Hyper:
        """Those of a state."""
        shape, priors = state.users.table.shape, state.groups["priors"]
        assert isinstance(priors, Priors)
        used = shape.size + shape.biases
        means, variances = ({side: priors.of(side)[n][:used].copy() for side in SIDES} for n in (0, 1))
        noise, spread = (float(priors.values[name][0]) for name in ("noise", "spread"))
        return cls((means, variances), noise, spread, shape.size)

    def widen(self) -> None:
        """Let factor n vary by 1 / n of a wide first one: what a fit finds depends little on how many there are."""
        k = self.factors
        for variances in self.variances.values():
            variances[:k] *= _WIDE / _FACTOR_SHARE * np.sqrt(k) / np.arange(1, k + 1)

    def store(self, priors: Priors) -> None:
        """Write them to the group of a state."""
        found: dict[str, Any] = {"noise": self.noise, "spread": self.spread}
        for side in SIDES:
            one = side.removesuffix("s")
            for name, value in ((f"{one}_mean", self.means[side]), (f"{one}_variance", self.variances[side])):
                found[name] = np.append(value, np.zeros(priors.factors + 1 - value.size))
        priors.set(**found)

    def prior(self, side: str) -> Prior:
        """The prior of a side."""
        return Prior(self.means[side], np.diag(1 / self.variances[side]))

    @property
    def signal(self) -> float:
        """The variance of scores that products of factors have under the priors, means aside."""
        k = self.factors
        return float(self.variances["users"][:k] @ self.variances["items"][:k])

    def row(self, side: str, shape: Shape) -> tuple[np.ndarray, ...]:
        """The prior as the parts of a row."""
        mean, variance, (size, width) = self.means[side], self.variances[side], shape[:2]
        factors, variances, record = np.zeros(width), np.zeros(width), np.zeros(RECORD)
        factors[:size], variances[:size], record[2:4] = mean[:size], variance[:size], (1, NOISE_EVENTS)
        record[: 2 * shape.biases] = [*mean[size:], *variance[size:]]
        return factors, record, variances

    # --- learning -----------------------------------------------------------------------------------------------------

    def learn_noise(self, sums: Sums) -> None:
        """The variance of the noise of greatest likelihood: the mean of the expected squared errors."""
        self.noise = max(sums.expected / sums.weight, self.least)

    def learn_priors(self, sums: dict[str, Sums]) -> dict[str, tuple[Any, ...]]:
        """Learn the priors, in coordinates in which they are diagonal; returns the way there.

        Returns
        -------
        dict of str to (float64[k, k], float64[k], float64[k], float)
            By side: what factors are multiplied by, what is then added to them, and what of the old factors, and what
            number, is subtracted from the bias.
        """
        self.spread = 0.0
        means = {side: sums[side].means / sums[side].rows for side in SIDES}
        apart = {side: means[side] - self.means[side] for side in SIDES}
        covariances = {side: sums[side].second / sums[side].rows - np.outer(apart[side], apart[side]) for side in SIDES}
        k = self.factors
        forms = rotation(covariances, k)
        for side, (turn, shift, shear, constant) in forms.items():
            mean, covariance = means[side], covariances[side]
            factors = turn @ mean[:k] + shift
            bias = mean[k:] - shear @ mean[:k] - constant
            rest = covariance[k:, k:].ravel() - shear @ covariance[:k, k:]
            self.means[side] = np.append(factors, bias)
            along = np.diag(turn @ covariance[:k, :k] @ turn.T)
            self.variances[side] = np.maximum(np.append(along, rest), _FLAT * along.max())
        return forms


def rotation(covariances: dict[str, np.ndarray], k: int) -> dict[str, tuple[Any, ...]]:
    """What brings rows to coordinates in which both covariances are diagonal, and equal on the k factors."""
    users, items = (covariances[side] for side in SIDES)
    slopes = {side: _slope(covariances[side], k) for side in SIDES}
    values, turned = np.empty(k), np.empty((2, k, k))
    found = coordinates.diagonal_together()(_positive(users[:k, :k]), items[:k, :k].copy(), values, turned)
    _require(found and bool(np.isfinite(values).all()))
    order = np.argsort(-values, kind="stable")
    values = np.maximum(values[order], _FLAT * values[order[0]])[:, None]
    turns = {"users": values**0.25 * turned[0, order], "items": values**-0.25 * turned[1, order]}
    forms = {}
    for side, other in (SIDES, SIDES[::-1]):
        shift = slopes[other]
        constant = float(slopes[side] @ shift) if side == "items" else 0.0
        forms[side] = (turns[side], turns[side] @ shift, slopes[side], constant)
    return forms


def _slope(covariance: np.ndarray, k: int) -> np.ndarray:
    """How the bias depends on the factors; 0 without biases."""
    if covariance.shape[0] == k:
        return np.zeros(k)
    slope = covariance[:k, k].copy()
    _require(coordinates.solve()(_positive(covariance[:k, :k]), slope))
    return slope


def _require(found: bool) -> None:
    """Raise DivergenceError unless coordinates have been found."""
    if not found:
        raise DivergenceError("covariances of rows are not finite; smaller values or weights may help")


def _positive(covariance: np.ndarray) -> np.ndarray:
    """A covariance with no direction of no variance."""
    return np.asarray(covariance + _FLAT * np.trace(covariance) * np.eye(len(covariance)))


def targets_of(values: np.ndarray, score: float, loss: Any) -> np.ndarray:
    """The targets of the normal surrogates of some of these values at a certain score."""
    some = values[:: -(-values.size // _SOME)].tolist()
    return np.array([loss.surrogate(score, 0.0, value, 1.0)[1] for value in some])


def scale_of(values: np.ndarray) -> float:
    """The variance of values; where they are all but equal, that of values whose sd is a quarter of theirs, or 1."""
    variance, level = float(np.var(values, dtype=np.float64)), float(np.mean(values, dtype=np.float64))
    if variance > 1e-9 * level**2:
        return variance
    return level**2 / 16 if level else 1.0
