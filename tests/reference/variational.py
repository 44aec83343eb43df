"""Variational matrix factorisation in slow plain NumPy, float64: what kernels/train/beliefs.py and its callers are held
to.

x = [p, b] ~ N(m_x, C_x), y = [q, c] ~ N(m_y, C_y), r = mean + b + c + p.q + noise of variance f g noise / weight, with
factors f of the user and g of the item. A row of a side is a mean and, for each of its dimensions, 1 / (the precision
of that dimension given the others): the posterior that factorises over dimensions. Without biases the last dimension is
zero, and certain. A loss other than the squared error gives each event a weight and a target, see `SURROGATES`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Side(NamedTuple):
    """Rows [n, k + 1]: their means and variances; the prior mean [k + 1] and covariance [k + 1, k + 1]; factors of the
    noise, the events these are worth, and the cumulative sum of the test for a change [n, 3]."""

    means: np.ndarray
    variances: np.ndarray
    prior_mean: np.ndarray
    prior: np.ndarray
    noise: np.ndarray


class Log(NamedTuple):
    """Events: rows of the own side, rows of the other side, values less the mean, weights."""

    own: np.ndarray
    other: np.ndarray
    values: np.ndarray
    weights: np.ndarray

    def turned(self) -> Log:
        return self._replace(own=self.other, other=self.own)

    def of(self, row: int) -> Log:
        mine = self.own == row
        return Log(*(column[mine] for column in self))


class Sums(NamedTuple):
    """Of all rows with events: sums of means, of their outer products and of covariances; errors; total weight."""

    rows: int
    means: np.ndarray
    products: np.ndarray
    covariances: np.ndarray
    expected: float  # squared errors, over the posterior
    loss: float  # of the means before the solves
    weight: float


def logistic(score: float, variance: float, label: float, noise: float) -> tuple[float, float]:
    """The bound of Jaakkola and Jordan, -w (s - t)^2 / 2 and a constant, at E[s^2]."""
    size = np.sqrt(score**2 + variance)
    weight = np.tanh(size / 2) / (2 * size)
    return weight, (label - 0.5) / weight


SURROGATES = {
    "Squared": lambda score, variance, value, noise: (1.0, value),
    "Huber": lambda score, variance, value, noise: (min(1, 1 / np.sqrt((value - score) ** 2 + variance)), value),
    "StudentT": lambda score, variance, value, noise: (5 / (4 + ((value - score) ** 2 + variance) / noise), value),
    "Logistic": logistic,
}


def surrogates(users: Side, items: Side, log: Log, noise: float, loss: str = "Squared") -> tuple[np.ndarray, Log]:
    """Scores less the mean, and the events with the weights and values that the squared error is to have.

    Values and scores are less the mean: for a loss of labels, whose scores count from 0, the mean is to be 0.
    """
    z, y = design(items.means[log.other], True), items.variances[log.other]
    x, s = users.means[log.own], users.variances[log.own]
    scores = (x * z).sum(axis=1) + items.means[log.other, -1]
    variances = (s * z**2).sum(axis=1) + (y[:, :-1] * (x**2 + s)[:, :-1]).sum(axis=1) + y[:, -1]
    weights = log.weights / (users.noise[log.own, 0] * items.noise[log.other, 0])
    found = []
    for score, variance, value, weight in zip(scores, variances, log.values, weights, strict=True):
        found.append(SURROGATES[loss](score, variance, value, noise / weight if weight else np.inf))
    factors, values = np.array(found).reshape(-1, 2).T
    return scores, log._replace(values=values, weights=weights * factors)


def design(rows: np.ndarray, biased: bool) -> np.ndarray:
    """z = [q, 1] of rows of the other side."""
    z = rows.copy()
    z[:, -1] = float(biased)
    return z


def solve_side(
    own: Side, other: Side, log: Log, noise: float, biased: bool = True, evidence: float = 0, loss: str = "Squared"
) -> tuple[Side, Sums]:
    """Every row with some weight solved against the other side; the others stay.

    `evidence` is the number of events that the prior of factors of the noise is worth, 0 to hold these.
    """
    size = own.means.shape[1]
    used = size if biased else size - 1
    precision = np.linalg.inv(own.prior[:used, :used])
    means, variances, factors = own.means.copy(), own.variances.copy(), own.noise.copy()
    scores, given = surrogates(own, other, log, noise, loss)[0], log
    log = surrogates(own, other, log, noise, loss)[1]
    sums = [0, np.zeros(size), np.zeros((size, size)), np.zeros((size, size)), 0.0, 0.0, 0.0]
    for row in range(len(means)):
        mine = log.of(row)
        weight = mine.weights.sum()
        if weight == 0:
            continue
        z = design(other.means[mine.other], biased)[:, :used]
        unsure = other.variances[mine.other]
        targets = mine.values - other.means[mine.other, -1]
        doubt = np.diag((mine.weights[:, None] * unsure).sum(axis=0))[:used, :used]
        if biased:
            doubt[-1, -1] = 0  # z ends in 1, which is certain
        data = (mine.weights[:, None] * z).T @ z + doubt
        right = z.T @ (mine.weights * targets)
        posterior = precision + data / noise
        covariance = np.linalg.inv(posterior)
        x = covariance @ (precision @ own.prior_mean[:used] + right / noise)
        means[row, :used], variances[row, :used] = x, 1 / np.diag(posterior)
        second = covariance + np.outer(x, x)
        expected = mine.weights @ (targets**2 + unsure[:, -1]) - 2 * x @ right + (data * second).sum()
        total = given.of(row).weights.sum()
        if evidence:
            factors[row, :2] = (evidence + expected * factors[row, 0] / noise) / (evidence + total), evidence + total
        sums[0] += 1
        sums[1][:used] += x
        sums[2][:used, :used] += np.outer(x, x)
        sums[3][:used, :used] += covariance
        sums[4] += expected
        sums[6] += total
    sums[5] = given.weights @ (scores - given.values) ** 2
    return own._replace(means=means, variances=variances, noise=factors), Sums(*sums)


def learned_prior(side: Side, sums: Sums) -> Side:
    """The prior of greatest likelihood: the mean of the rows, and their covariance, what is not known included."""
    mean = sums.means / sums.rows
    covariance = (sums.products + sums.covariances) / sums.rows - np.outer(mean, mean)
    return side._replace(prior_mean=mean, prior=covariance)


def rotated(users: Side, items: Side) -> tuple[Side, Side]:
    """The same scores in coordinates in which both priors are diagonal, and the same on factors."""
    k = users.means.shape[1] - 1
    slopes = [np.linalg.solve(side.prior[:k, :k], side.prior[:k, k]) for side in (users, items)]
    factor = np.linalg.cholesky(users.prior[:k, :k])
    values, vectors = np.linalg.eigh(factor.T @ items.prior[:k, :k] @ factor)
    values, vectors = values[::-1], vectors[:, ::-1]
    maps = (
        np.diag(values**0.25) @ vectors.T @ np.linalg.inv(factor),
        np.diag(values**-0.25) @ vectors.T @ factor.T,
    )
    moved = []
    for side, own, other, turn in zip((users, items), slopes, slopes[::-1], maps, strict=True):
        first = side is users
        rows = np.vstack([side.means, side.prior_mean])
        shifted = rows[:, :k] + other
        sheared = rows[:, k] - (rows[:, :k] if first else shifted) @ own
        rows = np.column_stack([shifted @ turn.T, sheared])
        variances = np.column_stack([side.variances[:, :k] @ (turn**2).T, side.variances[:, k]])
        rest = side.prior[k, k] - own @ side.prior[:k, k]
        moved.append(Side(rows[:-1], variances, rows[-1], np.diag([*np.sqrt(values), rest]), side.noise))
    return moved[0], moved[1]


def bound(users: Side, items: Side, log: Log, noise: float) -> float:
    """The evidence lower bound, of which every solve of a side is a maximum over the rows of that side."""
    z, y = design(items.means[log.other], True), items.variances[log.other]
    x, s = users.means[log.own], users.variances[log.own]
    errors = log.values - (x * z).sum(axis=1) - items.means[log.other, -1]
    unsure = (s * z**2).sum(axis=1) + (y[:, :-1] * (x**2 + s)[:, :-1]).sum(axis=1) + y[:, -1]
    found = -0.5 * (np.log(2 * np.pi * noise / log.weights) + log.weights * (errors**2 + unsure) / noise).sum()
    for side in (users, items):
        precision, off = np.linalg.inv(side.prior), side.means - side.prior_mean
        found += 0.5 * (len(off) * np.linalg.slogdet(precision)[1] + np.log(side.variances).sum() + side.means.size)
        found -= 0.5 * ((off @ precision * off).sum() + (side.variances @ np.diag(precision)).sum())
    return float(found)


_HOW = {"drift": (0.0, 0.0), "moves": (1.0, 1.0), "noted": (0.0, 0.0)}


def learn(users: Side, items: Side, log: Log, noise: float, loss: str = "Squared", **how: Any) -> tuple[Side, Side]:
    """One pass over events: each moves its two rows, with old values on the right.

    ``drift`` is how far variances go back to those of the prior before an event, ``moves`` which sides may change,
    ``noted`` which sides learn factors of the noise, and ``limit`` the log likelihood ratio from which on a user has
    changed. To a list ``told`` is added, for each event, how much greater its variance would be if the row of a side
    knew no more than the prior, for both sides, the squared error in units of its variance, the events that the user
    had learned, and whether it starts again.
    """
    told, limit = how.get("told", []), how.get("limit", np.inf)
    drift, moves, noted = (how.get(name, usual) for name, usual in _HOW.items())
    sides = [Side(*(part.copy() for part in side)) for side in (users, items)]
    for user, item, value, weight in zip(*log, strict=True):
        if weight == 0:
            continue
        rows = [side.means[row].copy() for side, row in zip(sides, (user, item), strict=True)]
        ones = [np.append(row[:-1], 1.0) for row in rows]
        for side, row, share, free in zip(sides, (user, item), drift, moves, strict=True):
            side.variances[row] += share * free * (np.diag(side.prior) - side.variances[row])

        error, doubt, variance, unsure = foreseen(sides, (user, item), value, noise / weight, loss)
        spread, gains, test, learned = doubt + variance, [], sides[0].noise[user], sides[0].noise[user, 1]
        square, begun = min(error**2 / spread, 9), False
        for own, side in enumerate(sides):
            known = unsure[1 - own].copy()
            known[-1] = 0  # of a bias nothing is multiplied
            more = (np.diag(side.prior) - unsure[own]) @ (ones[1 - own] ** 2 + known)
            gains.append(moves[own] * max(0.0, more / spread))
        j = gains[0]
        test[2] = max(0.0, test[2] + (square * j / (1 + j) - j * (6 + j) / (6 + 4 * j)) / 2)
        if test[2] > limit and j > 0:
            sides[0].variances[user], test[2], begun = np.diag(users.prior), 0, True
        told.append((*gains, square, learned, begun))
        error, doubt, variance, unsure = foreseen(sides, (user, item), value, noise / weight, loss)
        spread = doubt + variance
        pull = error / spread
        after = doubt * pull**2 + variance / spread  # expected squared error / doubt
        both = (unsure[0] * rows[0] * unsure[1] * rows[1])[:-1].sum()  # what moves of both rows add together
        alone = variance - unsure[0][:-1] @ unsure[1][:-1]
        if 2 * abs(pull * both) > alone:
            pull *= alone / (2 * abs(pull * both))
        for own, side, row, free in zip((0, 1), sides, (user, item), moves, strict=True):
            if free:
                side.means[row] += unsure[own] * ones[1 - own] * pull
                side.variances[row] = 1 / (1 / unsure[own] + ones[1 - own] ** 2 / doubt)
                if noted[own]:
                    old, evidence = side.noise[row, :2]
                    side.noise[row, :2] = old * (evidence + weight * after) / (evidence + weight), evidence + weight
    return sides[0], sides[1]


def foreseen(
    sides: list[Side], pair: tuple[int, int], value: float, noise: float, loss: str
) -> tuple[float, float, float, list[np.ndarray]]:
    """Error of an event, variances of its noise and of its score, and the variances of both rows."""
    (x, y), unsure = ([getattr(side, name)[row].copy() for side, row in zip(sides, pair, strict=True)]
                      for name in ("means", "variances"))  # fmt: skip
    ones = [np.append(row[:-1], 1.0) for row in (x, y)]
    score = x[:-1] @ y[:-1] + x[-1] + y[-1]
    variance = unsure[0] @ ones[1] ** 2 + unsure[1] @ ones[0] ** 2 + unsure[0][:-1] @ unsure[1][:-1]
    doubt = noise * sides[0].noise[pair[0], 0] * sides[1].noise[pair[1], 0]
    factor, target = SURROGATES[loss](score, variance, value, doubt)
    return target - score, doubt / factor, variance, unsure


def learn_row(mean: np.ndarray, covariance: np.ndarray, z: np.ndarray, error: float, noise: float) -> tuple:
    """A row and its full covariance after an event whose other row, z, is certain: a Kalman filter's step."""
    gain = covariance @ z / (noise + z @ covariance @ z)
    return mean + gain * error, covariance - np.outer(gain, z @ covariance)
