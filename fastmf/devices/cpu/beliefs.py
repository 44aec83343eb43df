"""Variational Bayes on the CPU: solves of a side, changes of coordinates, and passes over new events."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.devices.registry import register
from fastmf.equations import Pass, Prior, Sums
from fastmf.kernels.core.launch import launch
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import belief_steps, beliefs
from fastmf.kernels.train.direct import ROOM
from fastmf.log.events import Events
from fastmf.memory import aligned
from fastmf.parameters.moves import Image
from fastmf.plan import pieces

__all__ = ["learn", "solve", "turn"]

_PART = 4e6  # nanoseconds of work of a part, whose rows are summed up by one worker
_AT_ONCE = 16  # parts per kernel call, between which Ctrl-C is handled
_ROOM = 1 << 25  # float32 numbers that the sums of the parts of a call may take
_CHUNK = 1 << 26  # events times width per kernel call


@register("solve beliefs", "cpu")
def solve(
    shape: Shape,
    tables: tuple[Image, Image],
    columns: tuple[np.ndarray, ...],
    prior: Prior,
    numbers: tuple[float, float, float],
    loss: Any,
    threads: int,
) -> Sums:
    """Solve the rows of the first of two tables in place.

    Parameters
    ----------
    shape : Shape
    tables : (Image, Image)
        The table to solve and the table of the other side, each of factors, records and variances.
    columns : (int64[rows + 1], int32[events], float32[events], float32[events])
        The start of the events of each row, and rows of the other table, values and weights.
    prior : Prior
    numbers : (float, float, float)
        The mean, which is part of every score; the variance of the noise of an event of weight 1; and the number of
        events that the prior of the factor of the noise of a row is worth, 0 to hold these factors.
    loss : NamedTuple
    threads : int

    Returns
    -------
    Sums
        Bitwise equal for any number of threads.
    """
    bounds, *events = columns
    row, event = _work(shape)
    parts = np.array(pieces(bounds, _PART / event, row / event), np.int64).reshape(-1, 2)
    most = min(_AT_ONCE, max(1, _ROOM // ((2 * shape.size + beliefs.SUMS) * shape.width)))
    workers = max(1, min(threads, most, len(parts)))
    lanes = aligned(most * (2 * shape.size + beliefs.SUMS), shape.width).reshape(most, -1, shape.width)
    totals = np.zeros((most, beliefs.NUMBERS))
    known, constants = _form(shape, prior, *numbers)
    kind: Any = type(loss)
    scratch = (
        aligned(workers * (ROOM + shape.width), shape.width).reshape(workers, -1, shape.width),
        np.empty((workers, shape.size + 1, shape.size + 2)),
    )
    whole, sums = np.zeros(lanes.shape[1:]), np.zeros(beliefs.NUMBERS)
    for first in range(0, len(parts), most):
        span = first, min(first + most, len(parts))
        launch(
            lambda: beliefs.solve(shape, False, kind),
            lambda: beliefs.solve(shape, True, kind),
            workers,
            parts,
            span,
            bounds,
            tuple(events),
            tuple(tables[0]),
            tuple(tables[1]),
            known,
            constants,
            loss,
            scratch,
            workers,
            lanes,
            totals,
        )
        for part in range(span[1] - span[0]):  # one after the other: the order is part of the result
            whole += lanes[part]
            sums += totals[part]
    return _summed(shape, whole, sums, prior.mean)


def _work(shape: Shape) -> tuple[float, float]:
    """The approximate time in nanoseconds per row, and per event."""
    return 0.06 * shape.width**3, 0.03 * shape.width**2


def _form(
    shape: Shape, prior: Prior, mean: float, noise: float, evidence: float
) -> tuple[tuple[np.ndarray, ...], tuple[np.float32, ...]]:
    """The prior as lanes, with the unit matrix, and as numbers, see kernels/train/beliefs.py."""
    size, width = shape.size, shape.width
    lanes, unit, pull = aligned(size + 3, width), aligned(size, width), prior.precision @ prior.mean
    lanes[:], unit[:] = 0, np.eye(size, width)
    lanes[:size, :size] = prior.precision[:size, :size]
    lanes[size + 1, :size], lanes[size + 2, :size] = pull[:size], prior.mean[:size]
    bias = 0.0, 0.0, 0.0
    if shape.biases:
        lanes[size, :size] = prior.precision[size, :size]
        bias = prior.precision[size, size], pull[size], prior.mean[size]
    return (lanes, unit), tuple(np.float32(number) for number in (mean, noise, *bias, evidence))


def _summed(shape: Shape, lanes: np.ndarray, totals: np.ndarray, mean: np.ndarray) -> Sums:
    """The sums of a kernel, which are of differences from the prior's mean, in the order of rows [factors, bias]."""
    size, used, sums = shape.size, shape.size + shape.biases, lanes.astype(np.float64)
    apart, second = np.zeros(used), np.zeros((used, used))
    apart[:size] = sums[2 * size + 2, :size]
    second[:size, :size] = sums[:size, :size] + sums[size : 2 * size, :size]
    if shape.biases:
        apart[size] = totals[beliefs.BIASES]
        second[size, :size] = second[:size, size] = (sums[2 * size] + sums[2 * size + 1])[:size]
        second[size, size] = totals[beliefs.BIAS_SQUARES] + totals[beliefs.BIAS_VARIANCES]
    names = (beliefs.ROWS, beliefs.EXPECTED, beliefs.LOSS, beliefs.WEIGHT)
    rows, expected, loss, weight = (float(totals[name]) for name in names)
    return Sums(rows, apart + rows * mean, second, expected, loss, weight)


@register("turn beliefs", "cpu")
def turn(shape: Shape, table: Image, matrix: np.ndarray, shift: np.ndarray, shear: np.ndarray, constant: float) -> None:
    """Bring rows to new coordinates in place: factors p to ``matrix @ p + shift``, b to ``b - shear @ p - constant``.

    Variances of factors are multiplied by the squares of the elements of `matrix`; those of biases stay.
    """
    size = shape.size
    form = aligned(2 * size + 2, shape.width)
    form[:] = 0
    form[:size, :size], form[size : 2 * size, :size] = matrix.T, (matrix**2).T
    form[2 * size, :size], form[2 * size + 1, :size] = shift, shear
    kernel, step = beliefs.turn(shape), max(1, _CHUNK // shape.width**2)
    for first in range(0, len(table.factors), step):
        kernel(*table, form, np.float32(constant), (first, min(first + step, len(table.factors))))


@register("learn beliefs", "cpu")
def learn(
    shape: Shape,
    tables: tuple[Image, Image],
    priors: tuple[Image, Image],
    events: Events,
    movable: tuple[int, int],
    how: Pass,
) -> np.ndarray:
    """One pass over events in order, in place.

    Parameters
    ----------
    shape : Shape
    tables : (Image, Image)
        Rows of users and items: factors, records, variances.
    priors : (Image, Image)
        One row each.
    events : Events
        Contiguous, with weights.
    movable : (int, int)
        Rows of users and items below these are written.
    how : Pass

    Returns
    -------
    float64[SUMS]
        Sums over the events, see kernels/train/belief_steps.py; zeros if users are not tested.
    """
    kind: Any = type(how.loss)
    kernel, step = belief_steps.learn(shape, kind), max(1, _CHUNK // shape.width)
    drift = np.asarray(how.drift, np.float32)  # an array, as where single events are learned
    noted, constants = (tuple(map(np.float32, some)) for some in (how.noted, how[:2]))
    rows, sums = tuple(map(tuple, tables)), np.zeros(belief_steps.SUMS)
    for first in range(0, events.users.size, step):
        span = first, min(first + step, events.users.size)
        kernel(events[:4], span, *rows, *map(tuple, priors), drift, noted, movable, constants, how.loss, sums)
    return sums
