"""Priors: the hyper-parameters of beliefs, a dense group, and the rows that new and unknown ids stand for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.memory import aligned
from fastmf.parameters.groups import DenseGroup
from fastmf.parameters.moves import DenseMove, Image
from fastmf.parameters.start import SINGULAR

__all__ = ["EVIDENCE", "NOISE_EVENTS", "RECORD", "PriorStart", "Priors"]

NOISE_EVENTS = 10  # that the prior of the factor of a row's noise, 1, is worth
RECORD = 6  # numbers of a record, the last being padding
DRIFT = (3e-4, 1e-4)  # of users and items, in the beginning
_LIMIT, _ALERT_LIMIT = 7, 2  # log likelihood ratio from which on a user has changed; and after a change of many
EVIDENCE = 29  # numbers that tell about drift, see learners/drift.py


class Priors(DenseGroup):
    """Normal priors of the rows of users and items, with independent dimensions, and the variance of the noise.

    Parameters
    ----------
    factors : int
    seed : int
        Seed of the means of rows of a model that has not been fitted.
    values : dict of str to ndarray, optional
        ``user_mean``, ``user_variance``, ``item_mean``, ``item_variance`` (float64[factors + 1], the bias last),
        ``noise`` (float64[1]) and ``spread`` (float64[1]): means of new rows are within ``spread / 2`` of the prior's;
        ``drift`` (float64[2 + EVIDENCE]): how far variances of users and items go back to those of the prior before
        each event, and what is known about that, the first number being 1 after a change that concerns many users, and
        then falling to 0. By default means are 0, variances 1, and nothing is known.

    Attributes
    ----------
    rows : dict of str to Image
        The prior of each side as one row in the layout of the tables. The arrays are never replaced.
    rates : float32[3]
        ``drift`` for kernels, and the log likelihood ratio from which on a user has changed. The array is never
        replaced.
    """

    def __init__(self, factors: int, seed: int, values: dict[str, np.ndarray] | None = None) -> None:
        usual = {f"{one}_mean": np.zeros(factors + 1) for one in SINGULAR.values()}
        usual |= {f"{one}_variance": np.ones(factors + 1) for one in SINGULAR.values()}
        usual |= {"noise": np.ones(1), "spread": np.ones(1), "drift": np.append(DRIFT, np.zeros(EVIDENCE))}
        super().__init__(usual if values is None else values)
        self.rates = np.zeros(3, np.float32)
        self.factors, self.seed, width = factors, seed, -(-factors // 16) * 16
        self.rows = {
            side: Image((aligned(1, width), np.zeros((1, RECORD), np.float32), aligned(1, width))) for side in SINGULAR
        }
        for row in self.rows.values():
            row[0][:], row[2][:] = 0, 0
        self.refresh()

    @property
    def noise(self) -> np.float32:
        """The variance of the noise of an event of weight 1."""
        return np.float32(self.values["noise"][0])

    def set(self, **values: Any) -> None:
        """Set some of the values in place."""
        for name, value in values.items():
            self.values[name][...] = value
        self.refresh()

    def refresh(self) -> None:
        """Bring :attr:`rows` and :attr:`rates` up to date."""
        self._set_rates()
        for side in SINGULAR:
            mean, variance, (factors, records, variances) = *self.of(side), self.rows[side]
            factors[0, : self.factors], variances[0, : self.factors] = mean[:-1], variance[:-1]
            records[0, :4] = mean[-1], variance[-1], 1, NOISE_EVENTS

    def of(self, side: str) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the variance of a side, float64[factors + 1]."""
        one = SINGULAR[side]
        return self.values[f"{one}_mean"], self.values[f"{one}_variance"]

    def join(self, groups: dict[str, Any]) -> None:
        """Let the new rows of both sides start from here."""
        for stream, side in enumerate(SINGULAR):
            groups[side].table.start = PriorStart(self, side, stream)

    def require(self, move: DenseMove, count: int) -> None:
        """Raise ValueError unless a move fits, and no variance of it is negative, nor that of the noise 0."""
        super().require(move, count)
        for name, value in move.after.items():
            if not name.endswith(("mean", "drift")) and (value < 0).any():
                raise ValueError(f"{name} has the negative value {value.min()}")
        if "noise" in move.after and not move.after["noise"][0] > 0:
            raise ValueError("noise is 0")
        if "drift" in move.after and not 0 <= min(shares := move.after["drift"][:3].tolist()) <= max(shares) <= 1:
            raise ValueError(f"drift is {shares}, not shares")

    def write(self, move: DenseMove) -> None:
        """Write the new values of a move."""
        super().write(move)
        if list(move.after) == ["drift"]:
            self._set_rates()
        else:
            self.refresh()

    def _set_rates(self) -> None:
        users, items, alert = self.values["drift"][:3].tolist()
        self.rates[:] = users, items, _LIMIT + alert * (_ALERT_LIMIT - _LIMIT)

    def copy(self) -> Priors:
        """Return an independent copy."""
        return Priors(self.factors, self.seed, self.values)


class PriorStart(NamedTuple):
    """Initial rows that are those of the prior; before the first fit, means are drawn around it by a hash.

    Parameters
    ----------
    priors : Priors
    side : str
    stream : int
        Number of the group, so that groups differ.
    """

    priors: Priors
    side: str
    stream: int

    @property
    def form(self) -> tuple[Any, ...]:
        """The arguments for kernels/rows/tables.py: what is added to :attr:`row`."""
        spread = np.float32(self.priors.values["spread"][0])
        return np.uint64(self.priors.seed), self.stream, np.float32(0), spread

    @property
    def row(self) -> Image:
        """The row of the prior, which also stands for an unknown id."""
        return self.priors.rows[self.side]
