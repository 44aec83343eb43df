"""Equations: the rows of one side that are to be solved, and all that each of them depends on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.core.launch import launch
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import als, gram
from fastmf.memory import aligned
from fastmf.parameters.table import Rows

__all__ = ["Equations", "Run", "correct", "form_of", "gram_of", "pieces", "room_of", "solve"]

_METHODS = {"cholesky": als.CHOLESKY, "cg": als.CG, "eals": als.EALS}
_AT_ONCE = 1 << 26  # factors, events times width, between two chances for Ctrl-C
_NO_TARGETS, _NO_SHARES = np.empty(0, np.float32), np.empty(0)


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

    @property
    def steps(self) -> bool:
        """Whether some row takes a step in place of being solved."""
        return self.fresh is not None and bool((self.fresh >= 0).any())

    def repeated(self) -> Equations:
        """The same, once each row has been solved: none is FAR off, and what was fresh has been seen."""
        if self.fresh is None or self.grown is None:
            return self
        return self._replace(fresh=np.clip(self.fresh, als.ANEW, 0), grown=np.zeros_like(self.grown))


def pieces(bounds: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Consecutive rows, each piece with about so many events or a single row; those before the first have none."""
    ends = np.arange(0, bounds[-1], max(most, 1))
    firsts = np.unique(np.searchsorted(bounds, ends, "right") - 1)
    return list(zip(firsts.tolist(), [*firsts[1:].tolist(), bounds.size - 1], strict=False))


class Run(NamedTuple):
    """How rows are solved: by which solver, with which mean in every score, on how many threads.

    `drift` is the change of the other table's Gram matrix that rows with a step on fresh events have not seen yet, and
    `seen` are the first rows of that table as they were; the others have not moved.
    """

    solver: Any
    mean: Any
    threads: int = 1
    drift: np.ndarray | None = None
    seen: Rows | None = None


def solve(shape: Shape, tables: tuple[Rows, Rows], equations: Equations, missed: np.ndarray | None, run: Run) -> float:
    """Solve rows of the first of two tables in place; returns the summed loss of their events before.

    `missed` is the Gram matrix of the other table, float64, its upper triangle; None where nothing is missing.
    """
    solver, mean, threads, drift, seen = run
    seen = tables[1].head(0) if seen is None else seen
    explicit, workers = equations.targets is not None, max(1, min(threads, equations.numbers.size))
    form = form_of(shape, solver, explicit)
    fresh, grown = equations.fresh, equations.grown
    if fresh is None or grown is None:
        fresh, grown = np.full(equations.numbers.size, als.ANEW, np.int32), equations.penalties
    rows = (equations.numbers, equations.bounds, fresh, equations.missing, equations.penalties, grown)
    events = (equations.others, equations.weights, _NO_TARGETS if equations.targets is None else equations.targets)
    sums, scratch = np.zeros(equations.numbers.size), _scratch(form, workers, equations.bounds)
    for span in pieces(equations.bounds, _AT_ONCE // shape.width):
        launch(
            lambda: als.solve(form, False),
            lambda: als.solve(form, True),
            workers,
            rows,
            span,
            events,
            *tables[0],
            *tables[1],
            (_mirrored(shape, missed), _mirrored(shape, drift), *seen, len(seen.factors)),
            np.float32(mean),
            int(solver.steps),
            scratch,
            workers,
            sums,
        )
    return float(sums.sum())


def _mirrored(shape: Shape, matrix: np.ndarray | None) -> np.ndarray:
    """A Gram matrix, both triangles, as rows of lanes."""
    square = aligned(shape.width, shape.width)
    square[:] = 0 if matrix is None else matrix + np.triu(matrix, 1).T
    return square


def form_of(shape: Shape, solver: Any, explicit: bool) -> als.Form:
    """What a kernel is compiled for."""
    return als.Form(shape, _METHODS[solver.method], explicit)


def room_of(form: als.Form, most: int) -> tuple[np.ndarray, ...]:
    """Room to solve single rows of up to `most` events, as kernels/train/relearn.py has it."""
    size, width = form.shape.size, form.shape.width
    squares = (_mirrored(form.shape, None) for _ in range(2))
    floats = (np.empty(most, kind) for kind in (np.int64, np.float32, np.int32, np.float32, np.float32))
    return aligned(als.ROOM + width, width), np.empty((size + 2, size + 1)), _columns(form, most), *squares, *floats


def _columns(form: als.Form, longest: int) -> np.ndarray:
    """Room for the turned rows of the other side, where the method needs them."""
    return aligned(-(-longest // 16) * (form.shape.size + 2) if form.method == als.EALS else 1, 16)


def _scratch(form: als.Form, workers: int, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of lanes, a matrix, and columns for each worker."""
    size, width = form.shape.size, form.shape.width
    strips = -(-int(np.diff(bounds).max(initial=1)) // 16) * (size + 2) if form.method == als.EALS else 1
    return (
        aligned(workers * (als.ROOM + width), width).reshape(workers, -1, width),
        np.empty((workers, size + 1, size + 1)),
        aligned(workers * strips, 16).reshape(workers, strips, 16),
    )


def gram_of(shape: Shape, rows: np.ndarray, shares: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """The Gram matrix of some rows, float64[width, width], its upper triangle; row r counts shares[r] times."""
    sums = np.empty((gram.PARTS, shape.width, shape.width))
    room = aligned(gram.PARTS * 4, shape.width).reshape(gram.PARTS, 4, shape.width)
    launch(
        lambda: gram.gram(shape, False),
        lambda: gram.gram(shape, True),
        threads,
        rows,
        len(rows),
        _NO_SHARES if shares is None else shares,
        room,
        sums,
    )
    return np.asarray(sums.sum(axis=0))


def correct(
    shape: Shape, table: np.ndarray, rows: np.ndarray, shares: np.ndarray, sign: float, matrix: np.ndarray
) -> None:
    """Add some rows of a table to a Gram matrix with sign 1, take them away with -1; the upper triangle, in place."""
    gram.correct(shape)(table, rows, shares, sign, aligned(1, shape.width), matrix)
