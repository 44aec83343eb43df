"""Working sets: copies of the rows that are trained. Training never touches the groups of a model.

What moved goes back in one step (see state.py). A failure before that step leaves the model as it was.
"""

from __future__ import annotations

import numpy as np

from fastmf.errors import DivergenceError
from fastmf.log.events import SIDES
from fastmf.parameters.moves import Image, Move
from fastmf.state import State

__all__ = ["WorkingSet"]


class WorkingSet:
    """Copies of the rows that an update concerns; of each group, the first `movable` rows may be written.

    Parameters
    ----------
    state : State
        Where the rows come from.
    rows : dict of str to int32 array
        Distinct rows of each group, movable ones first.
    movable : dict of str to int
        How many of them may move.
    """

    def __init__(self, state: State, rows: dict[str, np.ndarray], movable: dict[str, int]) -> None:
        self.rows, self.movable = rows, movable
        self._read_form(state)
        self.now = {name: state.side(name).gather(some) for name, some in rows.items()}
        self.before = {name: image.head(movable[name]).copy() for name, image in self.now.items()}

    @classmethod
    def over(cls, state: State) -> WorkingSet:
        """Every row, movable: for training a model that nobody else sees yet, in its float32 tables themselves."""
        whole = cls.__new__(cls)
        tables = {name: state.side(name).table for name in SIDES}
        whole.movable = {name: table.count for name, table in tables.items()}
        whole.rows = {name: np.arange(count, dtype=np.int32) for name, count in whole.movable.items()}
        whole._read_form(state)
        whole.now = {name: table.whole() for name, table in tables.items()}
        whole.before = whole.now
        return whole

    def _read_form(self, state: State) -> None:
        self.mean, self.shape = state.global_mean, state.users.table.shape
        self._largest = {name: state.side(name).table.layout.largest for name in self.rows}

    def moves(self) -> dict[str, Move]:
        """What changed, once training is over.

        Raises
        ------
        DivergenceError
            Where a number is not finite, or too large for the tables.
        """
        after = {name: self._moved(name) for name in self.rows}
        for name, rows in after.items():
            if not rows.within(self._largest[name]):
                raise DivergenceError(
                    f"training made {name.removesuffix('s')} rows that are not finite; "
                    "smaller values, weights or rates may help"
                )
        return {  # copies, so that rows that were only read are freed
            name: Move(rows[: self.movable[name]].copy(), self.before[name], after[name])
            for name, rows in self.rows.items()
        }

    def _moved(self, name: str) -> Image:
        """The rows that may have moved, without holding on to those that were only read."""
        rows, movable = self.now[name], self.movable[name]
        return rows if movable == len(rows[0]) else rows.head(movable).copy()
