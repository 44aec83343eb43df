"""Working sets: float32 copies of the rows that an update trains. The model's tables are not touched by training.

Changed rows are written back by a single commit (see state.py); a failure before it leaves the model unchanged.
"""

from __future__ import annotations

import numpy as np

from fastmf.errors import DivergenceError
from fastmf.log.events import SIDES
from fastmf.parameters.moves import Image, Move
from fastmf.state import State

__all__ = ["WorkingSet"]


class WorkingSet:
    """Copies of the rows that an update uses; the first `movable` rows of each group may be written.

    Parameters
    ----------
    state : State
        The rows are copied from its tables.
    rows : dict of str to int32 array
        Distinct rows of each group, movable ones first.
    movable : dict of str to int
        The number of movable rows of each group.

    Attributes
    ----------
    now : dict of str to Image
        The rows, as trained so far.
    before : dict of str to Image
        Copies of the movable rows before training; in a fit, the same arrays as `now`.
    """

    def __init__(self, state: State, rows: dict[str, np.ndarray], movable: dict[str, int]) -> None:
        self.rows, self.movable = rows, movable
        self._read_form(state)
        self.now = {name: state.side(name).gather(some) for name, some in rows.items()}
        self.before = {name: image.head(movable[name]).copy() for name, image in self.now.items()}

    @classmethod
    def over(cls, state: State) -> WorkingSet:
        """A working set of every row, all movable, which trains the float32 tables in place; for a fit."""
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
        """The changes, by group, once training is over.

        Raises
        ------
        DivergenceError
            If a number is not finite, or too large for the tables.
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
        """The movable rows after training, without a reference to those that were only read."""
        rows, movable = self.now[name], self.movable[name]
        return rows if movable == len(rows[0]) else rows.head(movable).copy()
