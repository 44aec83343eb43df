"""The problems of solvers of whole rows: alternating least squares, and variational Bayes."""

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

__all__ = [
    "Drawn",
    "Equations",
    "Prior",
    "Run",
    "Sums",
    "columns_for",
    "equations_of",
    "form_of",
    "mirrored",
    "room_of",
]

_METHODS = {"cholesky": als.CHOLESKY, "cg": als.CG, "eals": als.EALS}
_BALANCED = ("weights", "missing", "penalties", "fresh")


class Drawn(NamedTuple):
    """What the rows of a side are drawn to.

    Attributes
    ----------
    rows : float32[1, width] or float32[m, width]
        The row of the prior, for all rows or for each, which may change: equations hold a reference.
    strength : float
        The total confidence that it is worth.
    """

    rows: np.ndarray
    strength: float


class Equations(NamedTuple):
    """Regularized least-squares problems of some rows of a table, in the layout of kernels/train/als.py.

    Attributes
    ----------
    numbers : int32[m]
        The rows of the table.
    bounds : int64[m + 1]
        The events of row n are ``bounds[n]`` to ``bounds[n + 1]``.
    others, weights : int32[events], float32[events]
        For each event, the row of the other table and the confidence.
    targets : float32[events], optional
        None where all are 1 (implicit feedback).
    missing, penalties : float32[m]
        For each row, the confidence in unobserved pairs and the L2 penalty.
    fresh : int32[m], optional
        For a row that takes a step instead of being solved, its number of new events; else ``als.ANEW`` or ``als.FAR``.
    grown : float32[m], optional
        The part of the penalty that is due to these new events.
    cleared : int array, optional
        Indices n of rows that are set to zero, or to the row of the prior, before they are solved, see
        :func:`equations_of`.
    scales : float64[m], optional
        The factor that the weights, `missing` and penalty of each row have been multiplied by.
    shares : float32[m], optional
        For each row, the share of the prior in pairs unobserved, see kernels/train/als.py.
    prior : float32[1, width] or float32[m, width], optional
        The row of the prior, for all rows or for each, if there is one.
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
    shares: np.ndarray | None = None
    prior: np.ndarray | None = None

    @property
    def steps(self) -> bool:
        """Whether some row takes a step instead of being solved."""
        return self.fresh is not None and bool((self.fresh >= 0).any())

    def repeated(self) -> Equations:
        """The problems of a second sweep: no row is FAR from its minimum, and no event is new."""
        if self.fresh is None or self.grown is None:
            return self
        return self._replace(fresh=np.clip(self.fresh, als.ANEW, 0), grown=np.zeros_like(self.grown))


@np.errstate(over="ignore", invalid="ignore")  # rows that are not finite are rejected when the update is checked
def equations_of(
    objective: Any,
    bounds: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    missing: np.ndarray | float,
    fresh: np.ndarray | None = None,
    drawn: Drawn | None = None,
) -> Equations:
    """The least-squares problems of rows 0 to m - 1 of a side.

    A row whose events all have weight 0 is set to zero with its bias: its penalty is 0, and it is not solved. A row
    whose total weight is negligible against its penalty, or against that of unobserved pairs, is solved from zero,
    since its old value would never vanish in float32. The problem of a row with little total weight is scaled to the
    range of float32. With a prior, its row takes the place of zero, for rows without events too.

    Parameters
    ----------
    objective : Objective
    bounds : int64[m + 1]
        The events of row n are ``bounds[n]`` to ``bounds[n + 1]``.
    columns : (int32[events], float32[events], float32[events] or None)
        Rows of the other side, weights and targets.
    missing : float or float32[m]
        The confidence in unobserved pairs; ignored where there are targets.
    fresh : int32[m], optional
        As in `Equations`; by default all rows are solved.
    drawn : Drawn, optional
        What the rows are drawn to; zero by default.
    """
    numbers = np.arange(bounds.size - 1, dtype=np.int32)
    fresh = np.full(numbers.size, als.ANEW, np.int32) if fresh is None else fresh
    others, *floats = columns
    weights, targets = (column if column is None else np.asarray(column, np.float32) for column in floats)
    assert weights is not None
    evidence, newer = np.empty(numbers.size), np.empty(numbers.size)
    sum_up(weights, bounds, fresh, evidence, newer)
    missing = np.broadcast_to(np.asarray(missing if targets is None else 0, np.float32), numbers.shape).copy()
    penalties = _penalties(objective, evidence, drawn)
    both = penalties, _penalties(objective, evidence - newer, drawn)
    rounded, before = (np.maximum(each, als.LEAST).astype(np.float32) for each in both)
    equations = Equations(numbers, bounds, others, weights, targets, missing, rounded, fresh, rounded - before)
    small = np.flatnonzero((evidence < als.SMALL) | (evidence < als.NEGLIGIBLE * np.maximum(missing, penalties)))
    if small.size:
        equations = _balanced(equations, small, evidence[small], penalties[small], drawn is not None)
    if drawn is None:
        return equations
    shares = (drawn.strength / (drawn.strength + np.maximum(evidence, 0))).astype(np.float32)
    return equations._replace(shares=shares, prior=drawn.rows)


def _balanced(
    equations: Equations, small: np.ndarray, evidence: np.ndarray, penalties: np.ndarray, drawn: bool
) -> Equations:
    """The same, with the problems of the rows `small`, which have little total weight or none, scaled."""
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
    return equations._replace(**changed, cleared=small[clear & ((counts > 0) | drawn)], scales=scales)


def _penalties(objective: Any, evidence: np.ndarray, drawn: Drawn | None) -> np.ndarray:
    """The L2 penalty of rows with a total weight of `evidence`, and 1 for the prior."""
    weight = np.maximum(evidence, 0.0) + (drawn is not None)
    return np.asarray(float(objective.regularizer.weight) * weight ** float(objective.solver.nu))


class Run(NamedTuple):
    """Settings of a call that solves rows.

    Attributes
    ----------
    solver : ALS
    mean : float32
        The global mean, part of every score.
    threads : int
    gram_change : float64[width, width], optional
        The change in the other table's Gram matrix (upper triangle) since rows that take a step were last solved.
    seen : Image, optional
        The first rows of the other table as they were then; the others have not changed.
    """

    solver: Any
    mean: Any
    threads: int = 1
    gram_change: np.ndarray | None = None
    seen: Image | None = None


class Prior(NamedTuple):
    """The normal prior of rows [factors, bias]: mean float64[d], precision float64[d, d]; d is without a bias, if none.

    Attributes
    ----------
    mean, precision : ndarray
    """

    mean: np.ndarray
    precision: np.ndarray


class Pass(NamedTuple):
    """What one pass over events learns by.

    Attributes
    ----------
    mean, noise : float
        Part of every score, and the variance of the noise of an event of weight 1.
    drift : float32[3]
        Of users and items, how far variances go back to those of the prior before each event; and the log likelihood
        ratio from which on a user has changed, 0 if that is not tested. It is not where users learn no factors.
    noted : (float, float)
        Of users and items: 1 where rows learn factors of the noise, else 0.
    loss : NamedTuple
    """

    mean: float
    noise: float
    drift: Any
    noted: tuple[float, float]
    loss: Any


class Sums(NamedTuple):
    """Sums over the solved rows, which are [factors, bias].

    Attributes
    ----------
    rows : float
        The number of rows with some weight.
    means : float64[d]
    second : float64[d, d]
        Of the outer products of the differences of means from the prior's, and of covariances.
    expected : float
        Squared errors that are expected under the posterior, each with the weight that its row was solved with.
    loss, weight : float
        Of the events: the losses of their means before the rows were solved, and the weights given.
    """

    rows: float
    means: np.ndarray
    second: np.ndarray
    expected: float
    loss: float
    weight: float


def mirrored(shape: Shape, matrix: np.ndarray | None) -> np.ndarray:
    """A Gram matrix given by its upper triangle as a full symmetric float32 matrix, aligned for kernels; 0 for None."""
    square = aligned(shape.width, shape.width)
    square[:] = 0 if matrix is None else matrix + np.triu(matrix, 1).T
    return square


def form_of(shape: Shape, solver: Any, explicit: bool) -> als.Form:
    """The compile-time parameters of the ALS kernels."""
    return als.Form(shape, _METHODS[solver.method], explicit)


def room_of(form: als.Form, most: int) -> Room:
    """Work arrays for solving single rows with up to `most` past events."""
    (size, width), count = form.shape[:2], most + 1
    lanes = aligned(ROOM + 3 * width + 2, width)
    lanes[:] = 0
    columns = np.empty((4, count), np.float32), np.empty((2, count), np.int64)
    return Room(lanes, np.empty((size + 2, size + 1)), columns_for(form, count), *columns)


def columns_for(form: als.Form, longest: int) -> np.ndarray:
    """Work array for the transposed rows of the other side, which eALS needs; of minimal size for other methods."""
    return aligned(-(-longest // 16) * (form.shape.size + 2) if form.method == als.EALS else 1, 16)
