"""Alternating least squares: of everything in a fit, of the rows that a batch concerns in an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmf.engine import WorkingSet
from fastmf.equations import Equations, Run, correct, gram_of, solve
from fastmf.followers.grams import Gram, shares_of
from fastmf.kernels.core.launch import at_once
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import sum_up
from fastmf.kernels.train import als
from fastmf.learners.batch import sorted_by
from fastmf.learners.past import OTHER, Named, Touched
from fastmf.log.history import Events
from fastmf.parameters.table import SIDES, Rows
from fastmf.protocols import Objective
from fastmf.state import State

__all__ = ["System", "alternate"]

_LEAST = 1e-30  # a penalty, so that rows whose events all weigh nothing have a solution
_NO_WEIGHTS, _NO_TIMES = np.empty(0, np.float32), np.empty(0, np.int64)


@np.errstate(over="ignore", invalid="ignore")  # a row that is not finite ends the update
def equations_of(
    objective: Objective,
    bounds: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    missing: np.ndarray | float,
    fresh: np.ndarray | None = None,
) -> Equations:
    """The equations of the first rows of a side, whose events are (others, weights, targets)."""
    numbers = np.arange(bounds.size - 1, dtype=np.int32)
    fresh = np.full(numbers.size, als.ANEW, np.int32) if fresh is None else fresh
    evidence, newer = np.empty(numbers.size), np.empty(numbers.size)
    sum_up(columns[1], bounds, fresh, evidence, newer)
    missing = np.broadcast_to(np.asarray(missing, np.float32), numbers.shape).copy()
    penalties = _penalties(objective, evidence)
    grown = penalties - _penalties(objective, evidence - newer)
    return Equations(numbers, bounds, *columns, missing, penalties, fresh, grown)


def _penalties(objective: Objective, evidence: np.ndarray) -> np.ndarray:
    penalties = float(objective.regularizer.weight) * np.maximum(evidence, 0.0) ** float(objective.solver.nu)
    return np.asarray(np.maximum(penalties, _LEAST), np.float32)


# --- fit ------------------------------------------------------------------------------------------------------------


def alternate(
    state: State, working: WorkingSet, events: Events, objective: Objective, threads: int
) -> Callable[[int], float]:
    """One sweep over users, then items, as a function that returns the summed loss before it."""
    made: Any = at_once(lambda side: _all_of(side, state, events, objective), SIDES, threads)
    equations: dict[str, Equations] = dict(zip(SIDES, made, strict=True))
    shape, whole = working.shape, equations["users"].targets is None
    shares, run = _item_shares(state, objective), Run(objective.solver, working.mean, threads)

    def learn(_: int) -> float:
        lost = []
        for side in SIDES:
            other = OTHER[side]
            weighed = shares if other == "items" else None
            missed = gram_of(shape, working.now[other].factors, weighed, threads) if whole else None
            lost.append(solve(shape, (working.now[side], working.now[other]), equations[side], missed, run))
        return lost[0]

    return learn


def _item_shares(state: State, objective: Objective) -> np.ndarray | None:
    power = float(getattr(objective.loss, "popularity", 0.0))
    return shares_of(state.history.counts("items", slice(state.counts[1])), power) if power else None


def _all_of(side: str, state: State, events: Events, objective: Objective) -> Equations:
    """The equations of all rows of a side."""
    order, starts = sorted_by(side, state, events)
    others = np.empty(order.size, np.int32)
    values, weights = np.empty(order.size, np.float32), np.empty(order.size, np.float32)
    logged = (_NO_WEIGHTS, order.size) if events.weights is None else (events.weights, 0)
    columns = (getattr(events, OTHER[side]), events.values, *logged, _NO_TIMES)
    log.fetch(order, *columns, others, values, weights, _NO_TIMES)
    confidences, targets = objective.loss.quadratic(values)
    if events.weights is not None:
        confidences = confidences * weights
    unobserved = getattr(objective.loss, "unobserved", 0.0)
    shares = _item_shares(state, objective)
    missing = unobserved if shares is None else unobserved * shares.size / shares.sum()
    if side == "items" and shares is not None:
        missing = missing * shares
    return equations_of(objective, starts, (others, confidences, targets), missing)


# --- update ---------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What the rows of a side were last solved against: the first rows of the other side, and its Gram matrix."""

    rows: Rows
    gram: Any


class System(NamedTuple):
    """All that is solved in an update."""

    working: WorkingSet
    equations: dict[str, Equations]
    grams: dict[str, Gram]
    named: dict[str, Shares]

    @classmethod
    def of(cls, state: State, touched: dict[str, Touched], objective: Objective, threads: int) -> System:
        """The rows that a batch concerns, and all that they have met."""
        grams, rows = state.gram_matrices(objective.loss, threads), {side: touched[OTHER[side]].met for side in SIDES}
        working = WorkingSet(state.factors, rows, {side: touched[side].named.movable for side in SIDES})
        named = {side: Shares.of(side, state, touched[side].named, gram.power) for side, gram in grams.items()}
        missing: Any = 0.0
        if grams:
            total = grams["items"].shares + float((named["items"].after - named["items"].before).sum())
            items = max(len(state.ids["items"]), int(touched["items"].named.rows.max(initial=-1)) + 1)
            missing = float(objective.loss.unobserved) * items / total
        equations = {}
        for side, (_, bounds, _, others, weights, targets, fresh) in touched.items():
            each = missing * named[side].after[: bounds.size - 1] if grams and side == "items" else missing
            equations[side] = equations_of(objective, bounds, (others, weights, targets), each, fresh)
        return cls(working, equations, grams, named)

    def solve(self, times: int, objective: Objective, threads: int) -> None:
        """Solve users, then items, so many times.

        Rows that take a step take it on what has come in, or moved, since their last.
        """
        working, seen = self.working, self._before()
        for time in range(times):
            for side in SIDES:
                other, equations = OTHER[side], self.equations[side] if time == 0 else self.equations[side].repeated()
                gram = self._gram(other, moved=time > 0 or other == SIDES[0]) if self.grams else None
                drift = None if gram is None else gram - seen[side].gram
                run = Run(objective.solver, working.mean, threads, drift, seen[side].rows)
                solve(working.shape, (working.now[side], working.now[other]), equations, gram, run)
                if time < times - 1 and equations.steps:
                    seen[side] = Seen(working.now[other].head(working.movable[other]).copy(), gram)

    def _before(self) -> dict[str, Seen]:
        """What the rows of each side were solved against before the batch, of what will have moved when they are."""
        moved = {"users": self.working.before["items"].head(0), "items": self.working.before["users"]}
        matrices = {side: gram.matrix for side, gram in self.grams.items()}
        return {side: Seen(moved[side], matrices.get(OTHER[side])) for side in SIDES}

    def _gram(self, side: str, moved: bool) -> np.ndarray:
        """The Gram matrix of a side once the batch is in, with the rows of the working set as they are."""
        working, (before, after), matrix = self.working, self.named[side], self.grams[side].matrix.copy()
        places, now = np.arange(before.size, dtype=np.int32), working.now[side].factors
        first = working.movable[side] if moved else 0
        change = np.where(places < first, after, after - before)
        correct(working.shape, working.before[side].factors, places[:first], before[:first], -1.0, matrix)
        changed = places[change != 0]
        correct(working.shape, now, changed, change[changed], 1.0, matrix)
        return matrix


class Shares(NamedTuple):
    """Of the rows that a batch names, before it and once it is in; rows that are new have none before."""

    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, side: str, state: State, named: Named, power: float) -> Shares:
        """As the history and the batch have it."""
        counts = state.history.counts(side, named.rows)
        after = shares_of(counts + np.bincount(named.local, minlength=named.rows.size), power)
        return cls(np.where(named.rows < len(state.ids[side]), shares_of(counts, power), 0.0), after)
