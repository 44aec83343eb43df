"""Predictions for pairs, and intervals for new values where rows are normal distributions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import require_number
from fastmf.kernels.rank import scores
from fastmf.parameters.priors import Priors
from fastmf.state import State

__all__ = ["Prediction", "predicted", "require_share"]

_PIECE = 1 << 14  # pairs whose rows are copied at once


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
    if not objective.variational:
        name = type(objective.solver).__name__
        raise ValueError(f"interval needs solver=optimizers.Variational(): {name} does not learn how sure rows are")
    return float(interval)


def predicted(
    state: State, asked: tuple[np.ndarray, np.ndarray], clip: bool, loss: Any, share: float | None
) -> np.ndarray | Prediction:
    """Predict pairs of ids, with intervals of probability `share` unless it is None."""
    user_rows, item_rows = state.rows("users", asked[0]), state.rows("items", asked[1])
    out, (low, high) = np.empty(user_rows.size, np.float32), state.seen
    limits = (low, high) if clip and low <= high else (-np.inf, np.inf)
    tables = (*state.users.table.parts[:2], *state.items.table.parts[:2])
    unknown = (*state.users.table.unknown[:2], *state.items.table.unknown[:2])
    kind: Any = type(loss)
    kernel = scores.predict(state.users.table.shape, kind)
    free = (-np.inf, np.inf) if share is not None else limits
    kernel(user_rows, item_rows, *tables, unknown, state.global_mean, free, loss, out)
    if share is None:
        return out
    from statistics import NormalDist  # which takes long to import

    reach = np.float32(NormalDist().inv_cdf(0.5 + share / 2)) * np.sqrt(_variances(state, user_rows, item_rows))
    return Prediction(*(np.clip(one, *limits).astype(np.float32) for one in (out, out - reach, out + reach)))


def _variances(state: State, user_rows: np.ndarray, item_rows: np.ndarray) -> np.ndarray:
    """The variances of new values of pairs: s2 + s_b + s_c + sum (s_p q^2 + s_q p^2 + s_p s_q)."""
    priors, found = state.groups["priors"], np.empty(user_rows.size, np.float32)
    assert isinstance(priors, Priors)
    for first in range(0, user_rows.size, _PIECE):
        some = slice(first, first + _PIECE)
        p, users, s = state.users.table.gather_or_unknown(user_rows[some])
        q, items, t = state.items.table.gather_or_unknown(item_rows[some])
        doubt = s * q * q + t * p * p + s * t
        found[some] = priors.noise + users[:, 1] + items[:, 1] + doubt.sum(axis=1)
    return found
