"""Least-squares solves and Gram matrices on the CPU."""

from __future__ import annotations

import numpy as np

from fastmf.devices.registry import register
from fastmf.equations import Equations, Run, form_of, mirrored
from fastmf.kernels.core.launch import launch
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import als, gram
from fastmf.kernels.train.direct import ROOM
from fastmf.memory import aligned
from fastmf.parameters.moves import Image
from fastmf.plan import pieces

__all__ = ["correct", "gram_of", "solve"]

_PIECE = 5e7  # nanoseconds of work per worker and kernel call, between which Ctrl-C is handled
_NO_TARGETS, _NO_SHARES = np.empty(0, np.float32), np.empty(0)


@register("solve", "cpu")
def solve(
    shape: Shape, tables: tuple[Image, Image], equations: Equations, missed: np.ndarray | None, run: Run
) -> float:
    """Solve rows of the first of two tables in place; returns the summed loss of their events before.

    Parameters
    ----------
    shape : Shape
    tables : (Image, Image)
        The table to solve and the table of the other side.
    equations : Equations
    missed : float64[width, width], optional
        The Gram matrix of the other table (upper triangle); None without unobserved pairs.
    run : Run

    Returns
    -------
    float
    """
    solver, mean, threads, gram_change, seen = run
    seen = tables[1].head(0) if seen is None else seen
    explicit, workers = equations.targets is not None, max(1, min(threads, equations.numbers.size))
    form = form_of(shape, solver, explicit)
    fresh, grown = equations.fresh, equations.grown
    if fresh is None or grown is None:
        fresh, grown = np.full(equations.numbers.size, als.ANEW, np.int32), equations.penalties
    shares, prior = equations.shares, equations.prior
    if shares is None or prior is None:
        shares, prior = np.zeros(equations.numbers.size, np.float32), _zeros(shape)
    rows = (equations.numbers, equations.bounds, fresh, equations.missing, equations.penalties, grown, shares)
    events = (equations.others, equations.weights, _NO_TARGETS if equations.targets is None else equations.targets)
    sums, scratch = np.zeros(equations.numbers.size), _scratch(form, workers, equations.bounds)
    if equations.cleared is not None:
        cleared = equations.numbers[equations.cleared]
        tables[0].factors[cleared] = prior if len(prior) == 1 else prior[equations.cleared]
        tables[0].records[cleared, 0] = 0
    since = (mirrored(shape, missed), mirrored(shape, gram_change), *seen, len(seen.factors), prior)
    row, event = _work(form, int(solver.steps))
    for span in pieces(equations.bounds, _PIECE * workers / event, row / event):
        launch(
            lambda: als.solve(form, False),
            lambda: als.solve(form, True),
            workers,
            rows,
            span,
            events,
            *tables[0],
            *tables[1],
            since,
            np.float32(mean),
            int(solver.steps),
            scratch,
            workers,
            sums,
        )
    return float((sums if equations.scales is None else sums / equations.scales).sum())


def _zeros(shape: Shape) -> np.ndarray:
    """The row of a prior that is zero."""
    row = aligned(1, shape.width)
    row[:] = 0
    return row


def _work(form: als.Form, steps: int) -> tuple[float, float]:
    """The approximate time in nanoseconds per row, and per event."""
    width = form.shape.width
    if form.method == als.CHOLESKY:
        return 0.2 * width**3, 0.05 * width**2 + 0.3 * als.STEPS_ON_FRESH * width
    if form.method == als.CG:
        times = max(steps, als.STEPS_ON_FRESH) + 1
        return 0.05 * times * width**2, 0.3 * times * width
    return 0.5 * steps * width**2, 2.5 * steps * width


def _scratch(form: als.Form, workers: int, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Work arrays of all workers: lanes, matrices, transposed rows; see als.solve_row."""
    size, width = form.shape.size, form.shape.width
    strips = -(-int(np.diff(bounds).max(initial=1)) // 16) * (size + 2) if form.method == als.EALS else 1
    return (
        aligned(workers * (ROOM + width), width).reshape(workers, -1, width),
        np.empty((workers, size + 1, size + 1)),
        aligned(workers * strips, 16).reshape(workers, strips, 16),
    )


@register("gram", "cpu")
def gram_of(shape: Shape, rows: np.ndarray, shares: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """The Gram matrix of `rows`, weighted by `shares`; float64[width, width], upper triangle.

    Parameters
    ----------
    shape : Shape
    rows : float32 or float16[count, width]
    shares : float64[count], optional
        By default 1 for every row.
    threads : int

    Returns
    -------
    float64[width, width]
        Bitwise equal for any number of threads.
    """
    sums = np.empty((gram.PARTS, shape.width, shape.width))
    room = aligned(gram.PARTS * 4, shape.width).reshape(gram.PARTS, 4, shape.width)
    step = _rows_of_gram(shape, threads) // gram.PARTS // 4 * 4 + 4
    for first in range(0, max(-(-len(rows) // gram.PARTS), 1), step):
        launch(
            lambda: gram.gram(shape, False),
            lambda: gram.gram(shape, True),
            threads,
            rows,
            len(rows),
            _NO_SHARES if shares is None else shares,
            (first, first + step),
            room,
            sums,
        )
    return np.asarray(sums.sum(axis=0))


@register("correct gram", "cpu")
def correct(
    shape: Shape, table: np.ndarray, rows: np.ndarray, shares: np.ndarray, sign: float, matrix: np.ndarray
) -> None:
    """Add (sign 1) or subtract (sign -1) rows of a table in a Gram matrix, in place.

    Parameters
    ----------
    shape : Shape
    table : float32 or float16[rows, width]
    rows : int32[m]
    shares : float64[m]
        The weights of the rows.
    sign : float
    matrix : float64[width, width]
        Its upper triangle is changed.
    """
    kernel, room, step = gram.correct(shape), aligned(1, shape.width), _rows_of_gram(shape)
    for first in range(0, rows.size, step):
        some = slice(first, first + step)
        kernel(table, rows[some], shares[some], sign, room, matrix)


def _rows_of_gram(shape: Shape, threads: int = 1) -> int:
    """The number of rows added to a Gram matrix per kernel call."""
    return max(1, int(_PIECE * threads / (0.2 * shape.width**2)))
