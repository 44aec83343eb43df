"""Maps from features to rows in slow plain NumPy, float64: what kernels/train/ridge.py and its callers are held to."""

from __future__ import annotations

import numpy as np

PENALTIES = np.logspace(-2, 4, 19)


def scaled(*views: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Views (vectors of the features given, and of all rows; NaN is missing), centred and scaled, side by side."""
    blocks = []
    for given, every in views:
        centre = np.array([column[~np.isnan(column)].mean() for column in given.T])
        there = ~np.isnan(given).all(axis=1)
        squares = np.nan_to_num(given - centre)[there] ** 2
        blocks.append(np.nan_to_num((every - centre) / np.sqrt(squares.sum(axis=1).mean())))
    return np.hstack(blocks)


def ridge(features: np.ndarray, rows: np.ndarray, counts: np.ndarray, penalty: float) -> np.ndarray:
    """The map of least squares, the intercept, which has no penalty, last."""
    weights = counts / (counts + 3.0)
    design = np.column_stack([features, np.ones(len(features))])
    squares = penalty * np.eye(design.shape[1])
    squares[-1, -1] = 0
    return np.linalg.solve((design * weights[:, None]).T @ design + squares, (design * weights[:, None]).T @ rows)


def validated(features: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> float:
    """The penalty of the least generalised cross-validation error."""
    weights, found = counts / (counts + 3.0), []
    design = np.column_stack([features, np.ones(len(features))]) * np.sqrt(weights)[:, None]
    targets, count = rows * np.sqrt(weights)[:, None], int((counts > 0).sum())
    for penalty in PENALTIES:
        squares = penalty * np.eye(design.shape[1])
        squares[-1, -1] = 0
        hat = design @ np.linalg.solve(design.T @ design + squares, design.T)
        parameters = np.trace(hat)
        if parameters < 0.9 * count:
            left = ((targets - hat @ targets) ** 2).sum()
            found.append((left / (1 - parameters / count) ** 2, penalty))
    return min(found)[1] if found else float(PENALTIES[-1])
