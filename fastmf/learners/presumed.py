"""How sure to be of rows that were trained elsewhere: vectors tell where rows are, not how well these are known.

With n events per row, events of the noise s2 / w, and rows x = [p, b] whose other side has rows y = [q, c],

    m, C = mean and variance of the rows given, by dimension                    prior
    E = sum n (q^2 + variance of q) / sum n, and 1 for the bias                 what an event tells, over rows of y
    variance of x = 1 / (1 / C + n E w / s2)

which are the equations of a fit with E in place of the events (see kernels/train/beliefs.py), solved for both sides in
turn. s2 has the share of the variance of values that a fit begins with, the rest being that of the scores; w is the
weight of the loss's normal surrogate at a typical value, 1 for the squared error.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError
from fastmf.learners.hyper import BIAS_SHARE, NOISE_SHARE, scale_of
from fastmf.log.events import SIDES
from fastmf.parameters.priors import NOISE_EVENTS, Priors
from fastmf.parameters.table import Table
from fastmf.state import State

__all__ = ["presume"]

_PIECE = 1 << 16  # rows
_SOME = 1_000  # rows of each side whose scores are computed
_ROUNDS = 4  # in which variances of one side follow those of the other
_SMALLEST, _LARGEST = 1e-30, 1e30  # variances that leave room for products in float32


def presume(state: State, loss: Any, counts: dict[str, np.ndarray]) -> None:
    """Set the priors of a state with given rows, and the variances of these, which have learned `counts` events.

    Raises
    ------
    DataError
        If the factors are so large or small that variances do not fit float32.
    """
    priors, biases = state.groups["priors"], state.users.table.shape.biases
    assert isinstance(priors, Priors)
    given = {side: _Given.of(state, side, counts[side]) for side in SIDES}
    given = {side: given[side].typical(given[other]) for side, other in (SIDES, SIDES[::-1])}
    (p, b), (q, c) = ((given[side].some[:, :-1], given[side].some[:, -1:]) for side in SIDES)
    scores = float(state.global_mean) + p @ q.T + b + c.T
    signal = scale_of(scores)
    noise = signal * NOISE_SHARE / (1 - NOISE_SHARE) if loss.learns_noise else 1.0
    bias = signal * BIAS_SHARE / (1 - NOISE_SHARE) if biases else 0.0
    found: dict[str, Any] = {"noise": noise, "spread": 0.0}
    for side, one in given.items():
        found |= {f"{side[:-1]}_mean": one.mean, f"{side[:-1]}_variance": one.prior(bias)}
    for name in ("noise", "user_variance", "item_variance"):
        if not (np.asarray(found[name]) <= _LARGEST).all() or not np.max(found[name]) >= _SMALLEST:
            raise DataError(
                f"user_factors, item_factors: Variational needs values of usual size, but the {name.replace('_', ' ')} "
                f"of these is {np.max(found[name]):.3g}: scale the vectors"
            )
    told = _weight(loss, float(scores.mean()), signal, noise) / noise
    known = {side: np.unique(counts[side], return_inverse=True, return_counts=True) for side in SIDES}
    unsure = {side: np.zeros((len(known[side][0]), state.users.table.shape.size + 1)) for side in SIDES}
    for side, other in (SIDES, SIDES[::-1]) * _ROUNDS:
        further = _mean(unsure[other], known[other][0] * known[other][2])[:-1]
        each = told * np.append(given[other].squares + further, 1.0)
        usual = found[f"{side[:-1]}_variance"]
        unsure[side] = usual / (1 + usual * each * known[side][0][:, None])
    for side in SIDES:
        _write(state.side(side).table, unsure[side], known[side][1])
    priors.set(**found)


class _Given(NamedTuple):
    """What is known of the rows of a side: float64[k + 1], the bias last, but for `squares`, float64[k]."""

    rows: int
    mean: np.ndarray
    spread: np.ndarray  # variance about the mean
    squares: np.ndarray  # mean squares of the factors, rows weighed by their events
    some: np.ndarray  # evenly spread rows, float64[n, k + 1]

    @classmethod
    def of(cls, state: State, side: str, counts: np.ndarray) -> _Given:
        table, sums = state.side(side).table, np.zeros((3, state.users.table.shape.size + 1))
        weights = _usable(counts)
        for first in range(0, table.count, _PIECE):
            part = slice(first, first + _PIECE)
            rows = np.column_stack([table.values()[part], table.biases()[part]]).astype(np.float64)
            sums += rows.sum(axis=0), (rows**2).sum(axis=0), weights[part] @ rows**2
        sums[:2] /= max(table.count, 1)
        sums[2] /= max(weights.sum(), 1)
        step = -(-table.count // _SOME) or 1
        some = np.column_stack([table.values()[::step], table.biases()[::step]]).astype(np.float64)
        return cls(table.count, sums[0], np.maximum(sums[1] - sums[0] ** 2, 0), sums[2, :-1], some)

    @property
    def size(self) -> float:
        """The mean square of a factor."""
        return float((self.spread + self.mean**2)[:-1].mean())

    def typical(self, other: _Given) -> _Given:
        """Itself; for no rows, or factors that are all 0, two rows as large as those of the other side."""
        if self.size:
            return self
        square = other.size or 1.0
        some = np.outer([1.0, -1.0], np.append(np.full(self.squares.size, np.sqrt(square)), 0))
        spread = np.append(np.full(self.squares.size, square), self.spread[-1])
        return self._replace(spread=spread, squares=spread[:-1], some=some, rows=2)

    def prior(self, bias: float) -> np.ndarray:
        """The variances of the prior: the spread of the rows, and of one more as far from their mean as is usual."""
        found: np.ndarray = (self.rows * self.spread + np.append(np.full(self.squares.size, self.size), bias)) / (
            self.rows + 1
        )
        found[-1] = found[-1] if self.spread[-1] and bias else bias
        return found


def _usable(counts: np.ndarray) -> np.ndarray:
    """Weights of rows: their events, or the same for all where there are none."""
    return counts if counts.any() else np.ones_like(counts)


def _mean(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(_usable(weights) @ rows / max(_usable(weights).sum(), 1))


def _weight(loss: Any, score: float, variance: float, noise: float) -> float:
    """The weight of an event in the normal surrogate of the loss, at a typical score and value."""
    low, high = loss.domain
    value = min(max(score + np.sqrt(noise) if loss.learns_noise else 1.0, low), high)
    return float(loss.surrogate(score, variance, value, noise)[0])


def _write(table: Table, variances: np.ndarray, which: np.ndarray) -> None:
    """Write the variances of rows, of which there are some distinct ones, and their factors of the noise."""
    _, records, further = table.parts
    for first in range(0, table.count, _PIECE):
        part = slice(first, min(first + _PIECE, table.count))
        rows = variances[which[part]]
        further[part, : table.shape.size], records[part, 1] = rows[:, :-1], rows[:, -1]
    records[: table.count, 2:4] = 1, NOISE_EVENTS
