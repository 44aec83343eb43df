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


def shares_of_events(counts: np.ndarray) -> np.ndarray:
    """The weights of rows with these numbers of events, float64."""
    found = np.asarray(counts, np.float64)
    return np.asarray(found / (found + _HALF))


class Sums(NamedTuple):
    """The normal equations of a map, see kernels/train/ridge.py; the last feature is the intercept's.

    Attributes
    ----------
    array : float64[d + 1, d + 1 + k]
        Sums of the products of features with each other (upper triangle), and with rows.
    """

    array: np.ndarray

    @classmethod
    def zeros(cls, width: int, size: int) -> Sums:
        """Those of no rows."""
        return cls(np.zeros((width + 1, width + 1 + size)))

    @property
    def gram(self) -> np.ndarray:
        """The products of features with each other, a view."""
        return self.array[:, : len(self.array)]

    @property
    def cross(self) -> np.ndarray:
        """The products of features with rows, a view."""
        return self.array[:, len(self.array) :]

    def copy(self) -> Sums:
        """An independent copy."""
        return Sums(self.array.copy())

    def add(self, features: np.ndarray, shares: np.ndarray, targets: np.ndarray, first: int = 0) -> None:
        """Add rows in place, the targets being multiplied by shares already; only from column `first` on."""
        if len(features):
            ridge.add()(features, shares, targets, first, self.array)

    def of_rows(self, features: np.ndarray, shares: np.ndarray, rows: np.ndarray, first: int = 0) -> None:
        """Add whole tables in place, in pieces; only from column `first` on."""
        some, size = np.flatnonzero(shares), self.cross.shape[1]
        for start in range(0, some.size, _PIECE):
            part = some[start : start + _PIECE]
            weights = shares[part]
            self.add(features[part], weights, weights[:, None] * rows[part, :size].astype(np.float64), first)

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """The equations without the intercept, which takes its best value for each map."""
        total, along, gram = self.gram[-1, -1], self.gram[:-1, -1], np.triu(self.gram[:-1, :-1])
        square = gram + np.triu(gram, 1).T
        if not total > 0:
            return square, self.cross[:-1].copy()
        return square - np.outer(along, along) / total, self.cross[:-1] - np.outer(along, self.cross[-1]) / total

    def solved(self, penalty: float) -> np.ndarray:
        """The map, float64[d + 1, k], the intercept last."""
        matrix, slopes = self.centred()
        matrix[np.diag_indices_from(matrix)] += penalty
        if not ridge.factorise()(matrix):
            slopes[:] = np.nan  # refused when the update is checked
        ridge.solve()(matrix, slopes)
        total = self.gram[-1, -1]
        intercept = (self.cross[-1] - self.gram[:-1, -1] @ slopes) / total if total > 0 else np.zeros(slopes.shape[1])
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
        self.sums.of_rows(features, shares, np.zeros((len(features), size), np.float32))  # of features alone
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
        self.sums.of_rows(self._features, self._shares, rows, len(self.sums.array))
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
