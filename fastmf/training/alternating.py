"""Alternating least squares: of everything in a fit, of the rows that a batch concerns in an update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmf.engine import Objective, WorkingSet
from fastmf.equations import Equations, Run, correct, gram_of, solve
from fastmf.factors import SIDES
from fastmf.grams import Gram, shares_of
from fastmf.history import Events
from fastmf.kernels import als, log
from fastmf.kernels.grouping import localize, order_by
from fastmf.kernels.launch import at_once
from fastmf.state import State
from fastmf.training.batch import sorted_by

__all__ = ["System", "Touched", "alternate"]

_LEAST = 1e-30  # a penalty, so that rows whose events all weigh nothing have a solution
_NO_WEIGHTS, _NO_TIMES = np.empty(0, np.float32), np.empty(0, np.int64)
OTHER = {"users": "items", "items": "users"}


@np.errstate(over="ignore", invalid="ignore")  # a row that is not finite ends the update
def equations_of(
    objective: Objective,
    numbers: np.ndarray,
    bounds: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray],
    missing: np.ndarray | float,
    fresh: np.ndarray | None = None,
) -> Equations:
    """The equations of rows whose events are (others, values, weights)."""
    others, values, weights = columns
    confidences, targets = objective.loss.quadratic(values)
    confidences = confidences * weights
    summed = np.concatenate([[0.0], np.cumsum(confidences, dtype=np.float64)])
    evidence = summed[bounds[1:]] - summed[bounds[:-1]]
    missing = np.broadcast_to(np.asarray(missing, np.float32), numbers.shape).copy()
    penalties = _penalties(objective, evidence)
    grown = None
    if fresh is not None:
        ends = summed[bounds[1:]] - summed[bounds[1:] - np.maximum(fresh, 0)]
        grown = penalties - _penalties(objective, evidence - ends)
    return Equations(numbers, bounds, others, confidences, targets, missing, penalties, fresh, grown)


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
    numbers, unobserved = np.arange(len(state.ids[side]), dtype=np.int32), getattr(objective.loss, "unobserved", 0.0)
    shares = _item_shares(state, objective)
    missing = unobserved if shares is None else unobserved * shares.size / shares.sum()
    if side == "items" and shares is not None:
        missing = missing * shares
    return equations_of(objective, numbers, starts, (others, values, weights), missing)


# --- update ---------------------------------------------------------------------------------------------------------


class Touched(NamedTuple):
    """The rows of a side that a batch concerns, those that may move first, and the whole past of these."""

    rows: np.ndarray
    local: np.ndarray  # the place of each event's row
    movable: int
    bounds: np.ndarray
    others: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    fresh: np.ndarray  # events that are new, of rows whose past is a sample; else ANEW

    @classmethod
    def of(
        cls,
        side: str,
        state: State,
        arrived: Events,
        rows: tuple[np.ndarray, np.ndarray, int],
        limit: int,
        fade: Callable[[Events], Events],
    ) -> Touched:
        """`rows` are those that the batch names, the place of each event's row, and how many may move.

        Of past events, weights are what `fade` leaves of them.
        """
        named, local, movable = rows
        past, _, sampled = state.history.sampled(side, named[:movable], limit)
        past = fade(past)
        new = local < movable
        other = OTHER[side]
        places = np.concatenate([getattr(past, side), local[new]])
        order, bounds = order_by(places, movable)  # stable: what is new comes last
        others, values, weights = (
            np.concatenate([before, after[new]])[order]  # type: ignore[index]
            for before, after in (
                (getattr(past, other), getattr(arrived, other)),
                (past.values, arrived.values),
                (past.weights, arrived.weights),
            )
        )
        counts = np.bincount(local[new], minlength=movable)
        fresh = np.where(sampled, counts, als.ANEW).astype(np.int32)
        return cls(named, local, movable, bounds, others, values, weights, fresh)


class System(NamedTuple):
    """All that is solved in an update."""

    working: WorkingSet
    equations: dict[str, Equations]
    grams: dict[str, Gram]
    named: dict[str, Shares]

    @classmethod
    def of(cls, state: State, touched: dict[str, Touched], objective: Objective, threads: int) -> System:
        """The rows that a batch concerns, and all that they have met."""
        grams, rows, local = state.gram_matrices(objective.loss, threads), {}, {}
        for side in SIDES:
            met = np.concatenate([touched[side].rows, touched[OTHER[side]].others])
            rows[side], local[side] = localize(met, state.factors.tables[side].marks)
        working = WorkingSet(state.factors, rows, {side: touched[side].movable for side in SIDES})
        named = {side: Shares.of(side, state, touched[side], gram.power) for side, gram in grams.items()}
        missing: Any = 0.0
        if grams:
            total = grams["items"].shares + float((named["items"].after - named["items"].before).sum())
            items = max(len(state.ids["items"]), int(touched["items"].rows.max(initial=-1)) + 1)
            missing = float(objective.loss.unobserved) * items / total
        equations = {}
        for side in SIDES:
            others = local[OTHER[side]][touched[OTHER[side]].rows.size :]
            each = missing * named["items"].after[: touched["items"].movable] if grams and side == "items" else missing
            equations[side] = _equations(touched[side], others, each, objective)
        return cls(working, equations, grams, named)

    def solve(self, times: int, objective: Objective, threads: int) -> None:
        """Solve users, then items, so many times; rows that take a step on what is new take it once."""
        run = Run(objective.solver, self.working.mean, threads)
        for time in range(times):
            for side in SIDES:
                rows, equations = (self.working.now[side], self.working.now[OTHER[side]]), self.equations[side]
                if time and equations.fresh is not None:
                    equations = equations._replace(fresh=np.minimum(equations.fresh, 0))
                if self.grams:
                    now = self._gram(OTHER[side])
                    drift = None if time else now - self.grams[OTHER[side]].matrix
                    run = run._replace(drift=drift)
                solve(self.working.shape, rows, equations, now if self.grams else None, run)

    def _gram(self, side: str) -> np.ndarray:
        """The Gram matrix of a side once the batch is in, with the rows of the working set as they are."""
        working, count = self.working, self.named[side].before.size
        matrix, now = self.grams[side].matrix.copy(), working.now[side].factors
        places, movable = np.arange(count, dtype=np.int32), working.movable[side]
        still = places[movable:]
        correct(
            working.shape,
            working.before[side].factors,
            places[:movable],
            self.named[side].before[:movable],
            -1.0,
            matrix,
        )
        correct(working.shape, now, still, self.named[side].before[movable:], -1.0, matrix)
        correct(working.shape, now, places, self.named[side].after, 1.0, matrix)
        return matrix


class Shares(NamedTuple):
    """Of the rows that a batch names, before it and once it is in; rows that are new have none before."""

    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, side: str, state: State, touched: Touched, power: float) -> Shares:
        """As the history and the batch have it."""
        counts = state.history.counts(side, touched.rows)
        after = shares_of(counts + np.bincount(touched.local, minlength=touched.rows.size), power)
        return cls(np.where(touched.rows < len(state.ids[side]), shares_of(counts, power), 0.0), after)


def _equations(touched: Touched, others: np.ndarray, missing: Any, objective: Objective) -> Equations:
    """The equations of the rows of a side that may move."""
    numbers = np.arange(touched.movable, dtype=np.int32)
    columns = (others, touched.values, touched.weights)
    return equations_of(objective, numbers, touched.bounds, columns, missing, touched.fresh)
