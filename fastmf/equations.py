"""Equations: the rows of one side that are to be solved, and all that each of them depends on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows.grouping import sum_up
from fastmf.kernels.train import als
from fastmf.kernels.train.direct import ROOM
from fastmf.kernels.train.past_of_row import Room
from fastmf.memory import aligned
from fastmf.parameters.moves import Image

__all__ = ["Equations", "Run", "columns_for", "equations_of", "form_of", "mirrored", "room_of"]

_METHODS = {"cholesky": als.CHOLESKY, "cg": als.CG, "eals": als.EALS}
_BALANCED = ("weights", "missing", "penalties", "fresh")


class Equations(NamedTuple):
    """Rows of a table and their events, as kernels/train/als.py has them.

    Attributes
    ----------
    numbers : int32[m]
        Which rows.
    bounds : int64[m + 1]
        Row n has events ``bounds[n]`` to ``bounds[n + 1]``.
    others, weights : int32[events], float32[events]
        The rows of the other table that were met, and the confidence in each event.
    targets : float32[events], optional
        None where all are 1.
    missing, penalties : float32[m]
        Of each row.
    fresh : int32[m], optional
        How many of a row's events are new, if it is to take a step in place of being solved; else ANEW, or FAR.
    grown : float32[m], optional
        What these new events have added to the penalty.
    cleared : int array, optional
        Rows that are zero before they are solved, see :func:`equations_of`.
    scales : float64[m], optional
        What the equations of each row were multiplied with.
    """

    numbers: np.ndarray
    bounds: np.ndarray
    others: np.ndarray
    weights: np.ndarray
    targets: np.ndarray | None
    missing: np.ndarray
    penalties: np.ndarray
    fresh: np.ndarray | None = None
    grown: np.ndarray | None = None
    cleared: np.ndarray | None = None
    scales: np.ndarray | None = None

    @property
    def steps(self) -> bool:
        """Whether some row takes a step in place of being solved."""
        return self.fresh is not None and bool((self.fresh >= 0).any())

    def repeated(self) -> Equations:
        """The same, once each row has been solved: none is FAR off, and what was fresh has been seen."""
        if self.fresh is None or self.grown is None:
            return self
        return self._replace(fresh=np.clip(self.fresh, als.ANEW, 0), grown=np.zeros_like(self.grown))


@np.errstate(over="ignore", invalid="ignore")  # a row that is not finite ends the update
def equations_of(
    objective: Any,
    bounds: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    missing: np.ndarray | float,
    fresh: np.ndarray | None = None,
) -> Equations:
    """The equations of the first rows of a side, whose events are (others, weights, targets).

    A row whose events all weigh nothing is zero, and so is its bias: its penalty is 0, and it is not solved. One whose
    events weigh next to nothing beside pairs unmet, or its penalty, is solved from zero, since what it was would never
    fade away in float32; and so that float32 holds its equations, they are multiplied with a number.
    """
    numbers = np.arange(bounds.size - 1, dtype=np.int32)
    fresh = np.full(numbers.size, als.ANEW, np.int32) if fresh is None else fresh
    others, *floats = columns
    weights, targets = (column if column is None else np.asarray(column, np.float32) for column in floats)
    assert weights is not None
    evidence, newer = np.empty(numbers.size), np.empty(numbers.size)
    sum_up(weights, bounds, fresh, evidence, newer)
    missing = np.broadcast_to(np.asarray(missing if targets is None else 0, np.float32), numbers.shape).copy()
    penalties = _penalties(objective, evidence)
    both = penalties, _penalties(objective, evidence - newer)
    rounded, before = (np.maximum(each, als.LEAST).astype(np.float32) for each in both)
    equations = Equations(numbers, bounds, others, weights, targets, missing, rounded, fresh, rounded - before)
    small = np.flatnonzero((evidence < als.SMALL) | (evidence < als.NEGLIGIBLE * np.maximum(missing, penalties)))
    return _balanced(equations, small, evidence[small], penalties[small]) if small.size else equations


def _balanced(equations: Equations, small: np.ndarray, evidence: np.ndarray, penalties: np.ndarray) -> Equations:
    """The same with those of some rows, which have little evidence or none, multiplied with a number each."""
    nothing, missing, scales = evidence == 0, equations.missing[small], np.ones(equations.numbers.size)
    clear = nothing | (evidence < als.NEGLIGIBLE * np.maximum(missing, penalties))
    scales[small] = np.where(nothing, 1.0, als.scale_of(evidence, missing, penalties))
    changed = {name: column.copy() for name, column in equations._asdict().items() if name in _BALANCED}
    changed["missing"][small] = missing * scales[small]
    changed["penalties"][small] = np.where(nothing, 0, np.maximum(penalties * scales[small], als.LEAST))
    changed["fresh"][small[clear]] = als.FAR
    counts = np.diff(equations.bounds)[small]
    ends = np.cumsum(counts)
    events = np.arange(counts.sum()) + np.repeat(equations.bounds[small + 1] - ends, counts)
    changed["weights"][events] *= np.repeat(scales[small], counts)
    return equations._replace(**changed, cleared=small[clear & (counts > 0)], scales=scales)


def _penalties(objective: Any, evidence: np.ndarray) -> np.ndarray:
    return np.asarray(float(objective.regularizer.weight) * np.maximum(evidence, 0.0) ** float(objective.solver.nu))


class Run(NamedTuple):
    """How rows are solved: by which solver, with which mean in every score, on how many threads.

    `gram_change` is how the other table's Gram matrix has changed, which rows with a step on fresh events have not seen
    yet, and `seen` are the first rows of that table as they were; the others have not moved.
    """

    solver: Any
    mean: Any
    threads: int = 1
    gram_change: np.ndarray | None = None
    seen: Image | None = None


def mirrored(shape: Shape, matrix: np.ndarray | None) -> np.ndarray:
    """A Gram matrix, both triangles, as rows of lanes."""
    square = aligned(shape.width, shape.width)
    square[:] = 0 if matrix is None else matrix + np.triu(matrix, 1).T
    return square


def form_of(shape: Shape, solver: Any, explicit: bool) -> als.Form:
    """What a kernel is compiled for."""
    return als.Form(shape, _METHODS[solver.method], explicit)


def room_of(form: als.Form, most: int) -> Room:
    """Room to solve single rows with up to `most` events in their past."""
    (size, width), count = form.shape[:2], most + 1
    lanes = aligned(ROOM + 3 * width + 2, width)
    lanes[:] = 0
    columns = np.empty((4, count), np.float32), np.empty((2, count), np.int64)
    return Room(lanes, np.empty((size + 2, size + 1)), columns_for(form, count), *columns)


def columns_for(form: als.Form, longest: int) -> np.ndarray:
    """Room for the turned rows of the other side, where the method needs them."""
    return aligned(-(-longest // 16) * (form.shape.size + 2) if form.method == als.EALS else 1, 16)
