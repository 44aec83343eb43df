"""Ridge regression of rows on features: the penalty by generalised cross-validation, and the solution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastmf.kernels.train import ridge

__all__ = ["Sums", "Validated", "shares_of_events"]

_HALF = 3.0  # events after which a row has half its weight
_PENALTIES = np.logspace(-2, 4, 19)
_FULL = 0.9  # of the rows: fits with more effective parameters are not considered
_PIECE = 1 << 13  # rows that are converted at a time
_NO_GRAM = np.empty((0, 0))


def shares_of_events(counts: np.ndarray) -> np.ndarray:
    """The weights of rows with these numbers of events, float64."""
    found = np.asarray(counts, np.float64)
    return np.asarray(found / (found + _HALF))


class Sums(NamedTuple):
    """The normal equations of a map, see kernels/train/ridge.py; the last feature is the intercept's.

    Attributes
    ----------
    gram : float64[d + 1, d + 1]
        Upper triangle.
    cross : float64[d + 1, k]
    """

    gram: np.ndarray
    cross: np.ndarray

    @classmethod
    def zeros(cls, width: int, size: int) -> Sums:
        """Those of no rows."""
        return cls(np.zeros((width + 1, width + 1)), np.zeros((width + 1, size)))

    def copy(self) -> Sums:
        """An independent copy."""
        return Sums(self.gram.copy(), self.cross.copy())

    def add(self, features: np.ndarray, shares: np.ndarray, targets: np.ndarray) -> None:
        """Add rows in place: ``shares[n] c c'`` and ``c targets[n]'``, targets being multiplied by shares already."""
        if features.size:
            ridge.add()(features, shares, targets, self.gram, self.cross)

    def of_rows(self, features: np.ndarray, shares: np.ndarray, rows: np.ndarray) -> None:
        """Add whole tables in place, in pieces."""
        size = self.cross.shape[1]
        some = np.flatnonzero(shares)
        for first in range(0, some.size, _PIECE):
            part = some[first : first + _PIECE]
            weights = shares[part]
            self.add(features[part], weights, weights[:, None] * rows[part, :size].astype(np.float64))

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """The equations without the intercept: its best value for each map is put in."""
        total, along = self.gram[-1, -1], self.gram[:-1, -1]
        square = self.gram[:-1, :-1] + np.triu(self.gram[:-1, :-1], 1).T
        if not total > 0:
            return square, self.cross[:-1].copy()
        return square - np.outer(along, along) / total, self.cross[:-1] - np.outer(along, self.cross[-1]) / total

    def solved(self, penalty: float) -> np.ndarray:
        """The map, float64[d + 1, k], the intercept last."""
        matrix, right = self.centred()
        matrix[np.diag_indices_from(matrix)] += penalty
        if not ridge.factorise()(matrix):
            right[:] = np.nan  # refused when the update is checked
        ridge.solve()(matrix, right)
        return self._with_intercept(right)

    def _with_intercept(self, slopes: np.ndarray) -> np.ndarray:
        total = self.gram[-1, -1]
        intercept = (self.cross[-1] - self.gram[:-1, -1] @ slopes) / total if total > 0 else 0 * self.cross[-1]
        return np.vstack([slopes, intercept])


class Validated:
    """Maps from the same features to rows that change, each with the penalty that cross-validation chooses.

    Parameters
    ----------
    features : float32[n, d]
    shares : float64[n]
        Weights of the rows.
    size : int
        Number of factors.
    """

    def __init__(self, features: np.ndarray, shares: np.ndarray, size: int) -> None:
        self._features, self._shares = features, shares
        self.sums = Sums.zeros(features.shape[1], size)
        self.sums.of_rows(features, shares, np.zeros((len(features), size), np.float32))  # the Gram matrix stays
        self._count = int((shares > 0).sum())
        self.penalty = float(_PENALTIES[-1])
        matrix, _ = self.sums.centred()
        tried = (self._factor(matrix, penalty) for penalty in _PENALTIES)
        self._tried = [one for one in tried if one is not None]

    def _factor(self, matrix: np.ndarray, penalty: float) -> tuple[float, float, np.ndarray] | None:
        """A penalty, the effective number of parameters and the factor of its matrix; None if it is too small."""
        width, factor = len(matrix), matrix.copy()
        factor[np.diag_indices_from(factor)] += penalty
        if not ridge.factorise()(factor):
            return None
        inverse = np.eye(width)
        ridge.solve()(factor, inverse)
        parameters = 1 + width - penalty * float(np.trace(inverse))
        return None if parameters >= _FULL * self._count else (penalty, parameters, factor)

    def learn(self, rows: np.ndarray) -> np.ndarray:
        """The map to rows, float32[n, width], as :meth:`Sums.solved` returns it."""
        self.sums.cross[:] = 0
        self.sums._replace(gram=_NO_GRAM).of_rows(self._features, self._shares, rows)
        _, right = self.sums.centred()
        squares, total = self._squares(rows), self.sums.gram[-1, -1]
        squares -= float((self.sums.cross[-1] ** 2).sum()) / total if total > 0 else 0.0
        best = np.inf
        for penalty, parameters, factor in self._tried:
            slopes = right.copy()
            ridge.solve()(factor, slopes)
            left = squares - float((slopes * right).sum()) - penalty * float((slopes**2).sum())
            score = left / (1 - parameters / self._count) ** 2
            if score < best:
                best, self.penalty = score, penalty
        return self.sums.solved(self.penalty)

    def _squares(self, rows: np.ndarray) -> float:
        size, pieces = self.sums.cross.shape[1], range(0, len(rows), _PIECE)
        each = (float(self._shares[n : n + _PIECE] @ _norms(rows[n : n + _PIECE, :size])) for n in pieces)
        return sum(each)


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.asarray((rows.astype(np.float64) ** 2).sum(axis=1))
