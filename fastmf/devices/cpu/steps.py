"""Gradient steps for pointwise losses on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.devices.registry import register
from fastmf.kernels.core.launch import launch
from fastmf.kernels.train import minibatch, pointwise
from fastmf.log.events import SIDES, Events
from fastmf.memory import aligned
from fastmf.plan import Plan

__all__ = ["measure", "minibatches", "steps"]

_CHUNK = 1 << 26  # events times width per kernel call, between which Ctrl-C is handled


@register("steps", "cpu")
def steps(
    working: Any, plan: Plan, objective: Any, movable: dict[str, int], order: np.ndarray | None, threads: int
) -> float:
    """One pass over a plan, one step per event; returns the summed loss, each event measured before its own step.

    Parameters
    ----------
    working : WorkingSet
        Trained in place.
    plan : Plan
    objective : Objective
    movable : dict of str to int
        Rows below these are written.
    order : int array, optional
        The order of the blocks; by default stratum by stratum, as listed.
    threads : int

    Returns
    -------
    float
    """
    shape, classes, flight = working.shape, objective.classes, plan.in_flight
    sums = np.zeros(len(plan.bounds) - 1)
    order = np.arange(sums.size) if order is None else order
    workers = min(threads, int(plan.strata[1]))
    for first, last in plan.pieces(shape.width):
        launch(
            lambda: pointwise.epoch(shape, classes, flight, False),
            lambda: pointwise.epoch(shape, classes, flight, True),
            workers,
            (plan.bounds, order, int(plan.strata[1]), first, last),
            plan.events[:4],
            *working.now["users"],
            *working.now["items"],
            (*working.before["users"], *working.before["items"]),
            (movable["users"], movable["items"]),
            working.mean,
            *objective.values,
            workers,
            sums,
        )
    return float(sums.sum())


@register("minibatches", "cpu")
def minibatches(working: Any, events: Events, objective: Any, movable: dict[str, int], batch_size: int) -> float:
    """One pass over events in order, one step per batch of `batch_size`; returns the summed loss."""
    shape, sides = working.shape, []
    for side in SIDES:
        count = len(working.now[side].factors)
        sums, bias_sums = aligned(count, shape.width), aligned(count, 1)
        sums[:], bias_sums[:] = 0, 0
        room = (np.zeros(count, np.int32), np.empty(count, np.int64))
        sides.append((*working.now[side], *working.before[side], sums, bias_sums, *room))
    kernel = minibatch.epoch(shape, objective.classes)
    limits = (movable["users"], movable["items"])
    piece = -(-_CHUNK // (batch_size * shape.width)) * batch_size  # whole batches
    return sum(
        float(kernel(some[:4], batch_size, *sides, limits, working.mean, *objective.values))
        for some in events.pieces(piece)
    )


@register("measure", "cpu")
def measure(working: Any, events: Events, objective: Any) -> float:
    """The summed loss of events; no row is changed."""
    kernel = pointwise.measure(working.shape, objective.classes[:1])
    now = *working.now["users"][:2], *working.now["items"][:2]
    pieces = events.pieces(_CHUNK // working.shape.width)
    return sum(float(kernel(some[:4], *now, working.mean, objective.loss)) for some in pieces)
