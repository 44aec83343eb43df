"""Alternating least squares in slow plain NumPy, float64: what kernels/train/als.py and its callers are held to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """One row's: the rows met, the confidence in each event, targets, and what stands for the pairs unmet."""

    met: np.ndarray
    weights: np.ndarray
    targets: np.ndarray
    base: np.ndarray  # missing * Gram matrix, zero for ratings
    penalty: float
    prior: np.ndarray | None = None  # the row that it is drawn to
    share: float = 0.0  # of the prior in pairs unmet

    @property
    def matrix(self) -> np.ndarray:
        size = self.met.shape[1]
        return (self.met * self.weights[:, None]).T @ self.met + self.base + self.penalty * np.eye(size)

    @property
    def right(self) -> np.ndarray:
        right = self.met.T @ (self.weights * self.targets)
        if self.prior is None:
            return right
        return right + self.penalty * self.prior + self.share * self.base @ self.prior


def solved(problem: Problem) -> np.ndarray:
    return np.linalg.solve(problem.matrix, problem.right)


def conjugate_gradients(problem: Problem, row: np.ndarray, steps: int) -> np.ndarray:
    row, left = row.copy(), problem.right - problem.matrix @ row
    direction = left.copy()
    for _ in range(steps):
        norm = left @ left
        if norm < 1e-20:
            break
        product = problem.matrix @ direction
        length = norm / (direction @ product)
        row, left = row + length * direction, left - length * product
        direction = left + (left @ left) / norm * direction
    return row


def coordinates(problem: Problem, row: np.ndarray, passes: int, order: list[int]) -> np.ndarray:
    row = row.copy()
    for _ in range(passes):
        for place in order:
            slope = problem.right[place] - problem.matrix[place] @ row
            row[place] += slope / problem.matrix[place, place]
    return row


class Tables(NamedTuple):
    """Vectors and biases of both sides, and the mean."""

    users: np.ndarray
    items: np.ndarray
    user_biases: np.ndarray
    item_biases: np.ndarray
    mean: float


class Log(NamedTuple):
    """Events in row numbers."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    weights: np.ndarray


class Confidence(NamedTuple):
    """The fields of the loss, the weight of L2, and nu."""

    alpha: float
    unobserved: float
    popularity: float
    exposure: float
    l2: float
    nu: float
    strength: float = 0.0
    prior: np.ndarray | None = None


def exposures(log: Log, items: int, floor: float) -> np.ndarray:
    """Of all items: the share of the log since their first event, plus the floor; 1 without a floor."""
    if not floor:
        return np.ones(items)
    count, found = len(log.items), np.empty(items)
    for item in range(items):
        found[item] = 1 - np.flatnonzero(log.items == item)[0] / count + floor
    return np.minimum(found, 1)


def implicit_row(side: str, row: int, tables: Tables, log: Log, settings: Confidence) -> np.ndarray:
    """The minimum of ``losses.Confidence`` over one row, all others fixed."""
    alpha, unobserved, popularity, floor, l2, nu, strength, prior = settings
    own, other = (log.users, log.items) if side == "users" else (log.items, log.users)
    vectors = tables.items if side == "users" else tables.users
    mine = own == row
    shares = np.maximum(np.bincount(log.items, minlength=len(tables.items)), 1.0) ** popularity
    scale = unobserved * len(tables.items) / shares.sum()
    shares = shares * exposures(log, len(tables.items), floor)
    if side == "users":
        base = scale * (tables.items * shares[:, None]).T @ tables.items
    else:
        base = scale * shares[row] * tables.users.T @ tables.users
    weights = alpha * log.values[mine] * log.weights[mine]
    penalty, share = l2 * (weights.sum() + (strength > 0)) ** nu, 0.0
    if strength:
        share = strength / (strength + weights.sum())
    return solved(Problem(vectors[other[mine]], weights, np.ones(mine.sum()), base, penalty, prior, share))


def explicit_row(side: str, row: int, tables: Tables, log: Log, l2: float, nu: float, biases: bool) -> np.ndarray:
    """The minimum of squared error over one row and its bias, all others fixed; the bias comes last."""
    own, other = (log.users, log.items) if side == "users" else (log.items, log.users)
    vectors, offsets = (tables.items, tables.item_biases) if side == "users" else (tables.users, tables.user_biases)
    mine = own == row
    met, weights = vectors[other[mine]], log.weights[mine]
    if biases:
        met = np.column_stack([met, np.ones(len(met))])
    targets = log.values[mine] - tables.mean - offsets[other[mine]]
    size = met.shape[1]
    return solved(Problem(met, weights, targets, np.zeros((size, size)), l2 * weights.sum() ** nu))
