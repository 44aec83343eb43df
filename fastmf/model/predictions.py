"""Predictions for pairs, and intervals for new values where rows are normal distributions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import require_number
from fastmf.kernels.rank import scores
from fastmf.model.asked import require_beliefs
from fastmf.parameters.priors import Priors
from fastmf.state import State

__all__ = ["Prediction", "predicted", "require_share"]


class Prediction(NamedTuple):
    """Predictions with intervals: float32 arrays of shape (n,).

    Attributes
    ----------
    mean : ndarray
    low, high : ndarray
        A new value lies between them with the probability that was asked for.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def require_share(interval: Any, objective: Any) -> float:
    """Return the probability as a float; ValueError if it is none, or rows are not distributions."""
    require_number("interval", interval, positive=True)
    if not interval < 1:
        raise ValueError(f"interval must be a probability between 0 and 1, got {interval!r}")
    require_beliefs("interval", objective)
    return float(interval)


def predicted(
    state: State, asked: tuple[np.ndarray, np.ndarray], clip: bool, objective: Any, share: float | None
) -> np.ndarray | Prediction:
    """Predict pairs of ids, with intervals of probability `share` unless it is None."""
    pairs = state.rows("users", asked[0]), state.rows("items", asked[1])
    limits = state.seen if clip and state.seen[0] <= state.seen[1] else (-np.inf, np.inf)
    if share is None and not objective.moderated:
        return _at_the_means(state, pairs, limits, objective.loss)
    means, variances, noise = _distributions(state, pairs)
    found = _expected(objective.loss, means, variances)
    if share is None:
        return np.clip(found, *limits, out=found)
    from statistics import NormalDist  # which takes long to import

    reach = np.float32(NormalDist().inv_cdf(0.5 + share / 2))
    if objective.loss.learns_noise:
        reach = reach * np.sqrt(variances + noise)
        low, high = found - reach, found + reach
    else:  # of the prediction: there are no labels beside it
        reach, certain = reach * np.sqrt(variances), np.zeros_like(means)
        low, high = (_expected(objective.loss, one, certain) for one in (means - reach, means + reach))
    return Prediction(*(np.clip(one, *limits, out=one) for one in (found, low, high)))


def _at_the_means(
    state: State, pairs: tuple[np.ndarray, np.ndarray], limits: tuple[float, float], loss: Any
) -> np.ndarray:
    """The predictions for the scores of pairs of rows."""
    kind: Any = type(loss)
    out = np.empty(pairs[0].size, np.float32)
    tables = (*state.users.table.parts[:2], *state.items.table.parts[:2])
    unknown = (*state.users.table.unknown[:2], *state.items.table.unknown[:2])
    scores.predict(state.users.table.shape, kind)(*pairs, *tables, unknown, state.global_mean, limits, loss, out)
    return out


def _distributions(state: State, pairs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The means and the variances of the scores of pairs of rows, and the variances of the noise of their values."""
    priors, found = state.groups["priors"], np.empty((3, pairs[0].size), np.float32)
    assert isinstance(priors, Priors)
    tables = state.users.table, state.items.table
    parts, unknown = [tuple(table.parts) for table in tables], [tuple(table.unknown) for table in tables]
    scores.distributions(tables[0].shape)(*pairs, *parts, *unknown, state.global_mean, found)
    return found[0], found[1], found[2] * priors.noise


def _expected(loss: Any, means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The mean predictions for normal scores."""
    kind: Any = type(loss)
    out = np.empty(means.size, np.float32)
    scores.expected(kind)(means, variances, loss, out)
    return out
