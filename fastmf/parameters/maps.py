"""Maps: what the rows of a side are drawn to as a linear function of their features, a dense group."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.train import ridge
from fastmf.memory import aligned
from fastmf.parameters.features import FeatureTable, features_name
from fastmf.parameters.groups import DenseGroup
from fastmf.parameters.moves import DenseMove, Image
from fastmf.parameters.ridge import Sums
from fastmf.parameters.start import SINGULAR, DrawnStart

__all__ = ["Maps"]


class Maps(DenseGroup):
    """The maps from features to rows, of the sides that have one, and their normal equations.

    Parameters
    ----------
    shape : Shape
        That of the rows.
    priors : dict of str to Map
        By side.
    values : dict of str to ndarray, optional
        For a side such as items ``item_weights`` (float64[d + 1, factors], the intercept last), the equations that it
        solves, ``item_sums`` (:class:`fastmf.parameters.ridge.Sums`), and ``item_penalty`` (float64[1]); and ``noise``
        (float64[1]): 1 while new rows start around the prior, so that they can be told apart, as they do in a fit. By
        default zeros, and a noise of 1.

    Attributes
    ----------
    weights : dict of str to float32[d + 1, width]
        The maps as kernels read them. The arrays are never replaced.
    rows : dict of str to Image
        The row without features, in the layout of the tables. The arrays are never replaced.
    fitted : dict of str to object
        What a fit that is under way knows of a side.
    """

    def __init__(self, shape: Shape, priors: dict[str, Any], values: dict[str, np.ndarray] | None = None) -> None:
        super().__init__(_empty(priors, shape.size) if values is None else values)
        self.shape, self.priors, self._features = shape, priors, dict[str, FeatureTable]()
        self.fitted: dict[str, Any] = {}
        self.weights = {side: aligned(prior.width + 1, shape.width) for side, prior in priors.items()}
        fields = record_width(shape.memory)
        self.rows = {
            side: Image((weights[-1:], np.zeros((1, fields), np.float32))) for side, weights in self.weights.items()
        }
        for weights in self.weights.values():
            weights[:] = 0
        self.refresh()

    def refresh(self) -> None:
        """Bring :attr:`weights` up to date."""
        with np.errstate(over="ignore"):
            for side, weights in self.weights.items():
                weights[:, : self.shape.size] = self.values[f"{SINGULAR[side]}_weights"]

    def sums(self, side: str) -> Sums:
        """The normal equations of a side, not a copy."""
        return Sums(self.values[f"{SINGULAR[side]}_sums"])

    def penalty(self, side: str) -> float:
        """The penalty of a side."""
        return float(self.values[f"{SINGULAR[side]}_penalty"][0])

    def features(self, side: str) -> FeatureTable:
        """The features of the rows of a side."""
        return self._features[side]

    def derived(self, side: str, features: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The rows of the prior for these features, float32[n, width]; the same bits for the same features."""
        lines = np.arange(len(features), dtype=np.int32)
        found = aligned(lines.size, self.shape.width) if out is None else out
        ridge.derive(self.shape.width)(features, lines, self.weights[side], found)
        return found

    def of_rows(self, side: str, rows: np.ndarray) -> np.ndarray:
        """The rows of the prior for rows of the side, float32[n, width]."""
        table = self._features[side].reaching(rows)
        if table is None:  # some rows are beyond those that have features
            return self.derived(side, self._features[side].gather(rows))
        found = aligned(rows.size, self.shape.width)
        ridge.derive(self.shape.width)(table, rows, self.weights[side], found)
        return found

    def put(self, side: str, weights: np.ndarray, sums: Sums | None = None, penalty: float = 0.0) -> None:
        """Set the map of a side, and its equations and penalty, in place."""
        one = SINGULAR[side]
        self.values[f"{one}_weights"][:] = weights
        if sums is not None:
            self.values[f"{one}_sums"][:] = sums.array
            self.values[f"{one}_penalty"][:] = penalty
        self.refresh()

    def moved(self, side: str, sums: Sums, held: bool) -> dict[str, np.ndarray]:
        """The values of a side after its equations have become `sums`; the map stays if it is `held`."""
        one = SINGULAR[side]
        found = {f"{one}_sums": sums.array}
        return found if held else found | {f"{one}_weights": sums.solved(self.penalty(side))}

    def changes(self, move: DenseMove) -> set[str]:
        """The sides whose maps a move changes."""
        return {side for side in self.priors if f"{SINGULAR[side]}_weights" in move.after}

    # --- as a group ---------------------------------------------------------------------------------------------------

    def join(self, groups: dict[str, Any]) -> None:
        """Let the new rows of sides with a map start from here; rows without events follow it."""
        for side in self.priors:
            self._features[side], table = groups[features_name(side)], groups[side].table
            groups[side].derives = True
            table.start = DrawnStart.around(self, side, table.start)

    def require(self, move: DenseMove, count: int) -> None:
        """Raise ValueError unless a move sets maps and their equations alone, to values that fit."""
        super().require(move, count)
        fixed = [name for name in move.after if name.endswith(("penalty", "noise"))]
        if fixed:
            raise ValueError(f"{fixed[0]} of maps is that of the fit")

    def write(self, move: DenseMove) -> None:
        """Write the new values of a move."""
        super().write(move)
        self.refresh()

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all arrays from a file."""
        move = DenseMove({}, {name: arrays[name] for name in self.values})
        super().require(move, 0)
        self.write(move)
        if any(self.penalty(side) < 0 for side in self.priors) or not 0 <= self.values["noise"][0] <= 1:
            raise ValueError("penalties of maps, or their noise, are not in their range")

    def copy(self) -> Maps:
        """Return an independent copy."""
        return Maps(self.shape, self.priors, self.values)


def _empty(priors: dict[str, Any], size: int) -> dict[str, np.ndarray]:
    found = {"noise": np.ones(1)}
    for side, prior in priors.items():
        one, sums = SINGULAR[side], Sums.zeros(prior.width, size)
        found |= {
            f"{one}_weights": np.zeros(sums.cross.shape),
            f"{one}_sums": sums.array,
            f"{one}_penalty": np.zeros(1),
        }
    return found
