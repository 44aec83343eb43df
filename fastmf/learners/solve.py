"""Learner of quadratic losses: alternating least squares over all rows in a fit, over a batch's rows in an update."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmf.devices import runner
from fastmf.equations import Drawn, Equations, Run, equations_of, form_of, room_of
from fastmf.followers.derived import derived_rows
from fastmf.followers.grams import NO_GRAM, Gram
from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rows import log
from fastmf.kernels.train import online, relearn
from fastmf.kernels.train.past_of_row import Numbers
from fastmf.learners.decay import fade_of, sorted_by
from fastmf.learners.drawn import drawn_of, means_followed, means_moved, means_of
from fastmf.learners.gathering import named_rows, require_labels
from fastmf.learners.job import FitJob, Fitting, Single, Training, UpdateJob
from fastmf.learners.mapped import (
    FittedMap,
    begin_rows,
    drawn_to_features,
    maps_groups,
    maps_moved,
    maps_of,
    refuse_single,
)
from fastmf.learners.past import OTHER, Reading, Touched, touch
from fastmf.learners.shares import ItemShares, Shares, floor_of
from fastmf.learners.steps import measure_single
from fastmf.learners.stopping import Steady
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES, Events
from fastmf.objective import Objective
from fastmf.parameters.groups import Group
from fastmf.parameters.means import Means
from fastmf.parameters.moves import Image
from fastmf.priors import Map, Zero
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["Solve", "System", "alternate", "sorted_columns"]

_NO_WEIGHTS, _NO_TIMES, _NO_FIRSTS = np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0)


def gram_matrices(state: State, loss: Any, threads: int = 1, asked: bool = False) -> dict[str, Gram]:
    """The Gram matrices of both tables, computed if missing; empty for a loss without unobserved pairs.

    With `asked` they are for a query only and do not become part of the state.
    """
    if not hasattr(loss, "unobserved"):
        return {}
    forms = {"users": (0.0, 0.0), "items": (float(getattr(loss, "popularity", 0.0)), floor_of(loss))}
    return {side: state.grams.of(side, state, forms[side], threads, asked) for side in SIDES}


_FEW = 64  # past events at least that a step of a row reads


def few_of(shape: Shape) -> int:
    """How many past events stand for all of a row's to which new ones add little: as many as there are factors."""
    return max(_FEW, shape.size)


_VISITORS = Update(epochs=1, trainable="users")


class Solve:
    """ALS: rows are solved, each from all its events."""

    epochs = 20
    settles = True
    defaults = Update(epochs=1, trainable="both")
    further = ("half_life", "loss", "regularizer")
    draws = False
    why = "it solves whole rows, from all that they have met"

    def suits(self, objective: Any) -> bool:
        """Whether the solver is ALS."""
        return bool(objective.alternating)

    def weighed(self, events: Events) -> Events:
        """The events, unchanged."""
        return events

    def reads_history(self, recipe: Update) -> bool:
        """Always True."""
        return True

    def groups(self, objective: Any, shape: Shape, seed: int, budget: int) -> dict[str, Group]:
        """The means that rows are drawn to, if they are, and maps with the features that these read."""
        means = {side: Zero() if isinstance(prior, Map) else prior for side, prior in objective.priors.items()}
        drawn = any(prior.strength for prior in means.values())
        found: dict[str, Group] = {"priors": Means(shape, means)} if drawn else {}
        return found | maps_groups(objective, shape, budget)

    def further_widths(self, shape: Shape) -> tuple[int, ...]:
        """None."""
        return ()

    def begin(self, state: State, values: np.ndarray, objective: Any, fits: bool) -> None:
        """Refuse to begin without a fit where there is a map: initial rows do not depend on the values."""
        if objective.mapped and not fits:
            raise ValueError("a model with priors.Map begins with fit, which learns the map: call fit first")

    def fit(self, job: FitJob) -> Fitting:
        """Sweeps over all users, then all items."""
        if job.batch_size not in (None, 1):
            raise ValueError(f"{type(job.objective.solver).__name__} solves whole rows: it has no batch_size")
        learn = alternate(job.state, job.working, job.kept, job.objective, job.threads)
        steady = Steady(learn)
        return Fitting(
            steady.learn if job.free else learn,
            lambda: float(runner("measure")(job.working, job.held, job.objective)),
            steady.settled,
        )

    def settle(self, state: State) -> None:
        """Learn the means of all rows; refuse rows that were trained elsewhere where there is a map."""
        if maps_of(state) is not None:
            raise ValueError("priors.Map learns from rows and their events: call fit, rather than importing factors")
        self._settle(state)

    def _settle(self, state: State) -> None:
        if (means := means_of(state)) is not None:
            means.settle({side: state.side(side).table for side in SIDES})
        for side in SIDES:
            if (learned := FittedMap.of(state, side)) is not None:
                learned.settle(state)

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Learn the means of the final rows, and compute the Gram matrices that updates will need."""
        self._settle(state)
        gram_matrices(state, objective.loss, threads)

    def update(self, job: UpdateJob) -> Training:
        """Solve each row that the batch names from its own history and the batch."""
        state, recipe = job.state, job.recipe
        arrived, fade = job.arrived.weighed().contiguous(), fade_of(job)
        named = {side: named_rows(job, side, getattr(arrived, side), arrived.users.size) for side in SIDES}
        check = functools.partial(require_labels, loss=recipe.loss, advice="") if recipe.loss is not None else None
        most = int(job.objective.solver.max_history) if job.counted else 0  # visitors have no history
        as_before = recipe.half_life is None and recipe.loss is None and recipe.regularizer is None
        few = few_of(state.users.table.shape) if as_before else 0
        reading = Reading(job.objective.loss.quadratic, fade, recipe.half_life is not None, most, few, check)
        system = System.of(job, touch(state, arrived, named, reading, job.threads))
        new = fade(arrived)._replace(users=named["users"].local, items=named["items"].local)
        return Training(
            system.working,
            new,
            lambda: float(runner("measure")(system.working, new, job.objective)),
            lambda: system.solve(recipe.epochs, job.objective, job.threads),
            lambda: means_moved(job, system.working) | maps_moved(job, system.working),
        )

    def single(self, state: State, objective: Any, ledger: np.ndarray) -> Single:
        """Solve both rows of an event."""
        if objective.mapped:
            return Single(refuse_single, measure_single(state, objective))
        learn = _solving(state, objective, ledger)
        return Single(learn, measure_single(state, objective), functools.partial(means_followed, state))

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """One exact solve (Cholesky)."""
        exact = objective._replace(solver=objective.solver._replace(method="cholesky"))
        return exact, _VISITORS


def _solving(state: State, objective: Any, ledger: np.ndarray) -> Callable[[int, int, float], int]:
    """The function that learns one event by solving its rows, see kernels/train/relearn.py."""
    loss, solver, regularizer = objective.values
    table, most, mean = state.users.table, int(solver.max_history), state.global_mean
    grams, (_, targets) = gram_matrices(state, loss), loss.quadratic(np.ones(1, np.float32))
    form = form_of(table.shape, solver, targets is not None)
    room, unobserved = room_of(form, most), float(getattr(loss, "unobserved", 0.0))
    strengths = float(objective.priors["users"].strength), float(objective.priors["items"].strength)
    few = few_of(table.shape)
    how = (float(regularizer.weight), float(solver.nu), strengths, int(solver.steps), most, few)
    none = dict.fromkeys(SIDES, NO_GRAM._replace(matrix=np.zeros((table.shape.width, table.shape.width))))
    exposed = bool(grams) and bool(floor_of(loss))
    numbers = Numbers(*how, state.users.count, state.items.count)

    def given() -> tuple[Any, ...]:
        kept = state.grams.kept if grams else none
        missing = unobserved * state.items.count
        users, items = kept["users"].matrix, kept["items"]
        if not exposed:
            return missing, numbers, (users, items.matrix[None], items.numbers, _NO_FIRSTS, items.matrix), room
        present = state.grams.at("items", items, state, len(state.history) + 1)
        firsts = state.grams.firsts("items", state)
        return missing, numbers, (users, items.matrix, items.numbers, firsts, present), room

    half = table.layout.storage == "float16"
    call = relearn.compiled(form, half, loss, ledger, 0, 0, 0.0, mean, True, *given())

    def learn(user: int, item: int, value: float) -> int:
        if exposed:
            with state.grams.expecting("items", state):
                return solve_both(user, item, value)
        return solve_both(user, item, value)

    def solve_both(user: int, item: int, value: float) -> int:
        nonlocal numbers
        answer = call(ledger, user, item, value, mean, loss, True, *given())
        if answer == online.SCATTERED:
            for side, one in (("users", user), ("items", item)):
                ids = state.side(side).ids
                rows = np.array([one if ids.kind == "str" else ids.find(np.array([one]))[0]], np.int32)
                past = int(state.history.counts(side, rows)[0])
                state.history.compact(side, rows, log.limit_of.py_func(past, 1, most, few))
            answer = call(ledger, user, item, value, mean, loss, False, *given())
        if answer == online.UNKNOWN:  # the ids of the event are added
            numbers = Numbers(*how, state.users.count, state.items.count)
        return int(answer)

    return learn


# --- fit ------------------------------------------------------------------------------------------------------------


def alternate(
    state: State, working: WorkingSet, events: Events, objective: Objective, threads: int
) -> Callable[[int], float]:
    """A function that sweeps over users, then items, in place; it returns the summed loss before the sweep.

    Parameters
    ----------
    state : State
    working : WorkingSet
        All rows.
    events : Events
    objective : Objective
    threads : int

    Returns
    -------
    callable
        ``learn(epoch) -> float``.
    """
    shared = ItemShares.of(state, objective.loss)  # before threads: first events of items are found once
    learned = {side: FittedMap.of(state, side) for side in SIDES}
    drawn = {side: drawn_of(state, side) if one is None else one.drawn for side, one in learned.items()}
    made: Any = parallel_map(lambda side: _all_of(side, state, events, objective, (shared, drawn)), SIDES, threads)
    equations: dict[str, Equations] = dict(zip(SIDES, made, strict=True))
    shape, whole = working.shape, equations["users"].targets is None
    shares = shared.shares
    run, means = Run(objective.solver, working.mean, threads), means_of(state)
    for side, one in learned.items():
        if one is not None:
            one.leave_out(working.now[side].factors)

    def learn(_: int) -> float:
        lost: list[float] = []
        for side in SIDES:
            other = OTHER[side]
            weighed = shares if other == "items" else None
            missed = runner("gram")(shape, working.now[other].factors, weighed, threads) if whole else None
            lost.append(runner("solve")(shape, (working.now[side], working.now[other]), equations[side], missed, run))
            if means is not None:
                means.learn(side, working.now[side].factors)
            if (one := learned[side]) is not None:
                one.learn(working.now[side].factors)
        return lost[0]

    return learn


def sorted_columns(side: str, state: State, events: Events, ones: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """A fit's events sorted by row of a side: the start of each row, and rows of the other side, values and weights.

    `ones` is float32[events], memory for the weights where events have none.
    """
    order, starts = sorted_by(side, state, events)
    others = np.empty(order.size, np.int32)
    values = np.empty(order.size, np.float32)
    weights = np.empty(order.size, np.float32) if ones is None or events.weights is not None else ones
    logged = (_NO_WEIGHTS, order.size) if events.weights is None else (events.weights, 0)
    columns = (getattr(events, OTHER[side]), events.values, *logged, _NO_TIMES)
    log.fetch(order, *columns, others, values, weights, _NO_TIMES)
    return starts, others, values, weights


def _all_of(
    side: str,
    state: State,
    events: Events,
    objective: Objective,
    known: tuple[ItemShares, dict[str, Drawn | None]],
) -> Equations:
    """The least-squares problems of all rows of a side; `known` are the shares of items, and the priors by side."""
    starts, others, values, weights = sorted_columns(side, state, events)
    confidences, targets = objective.loss.quadratic(values)
    if events.weights is not None:
        confidences = confidences * weights
    shared, drawn = known
    missing = shared.missing(side, getattr(objective.loss, "unobserved", 0.0))
    return equations_of(objective, starts, (others, confidences, targets), missing, None, drawn[side])


# --- update ---------------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """The data that the rows of a side were last solved against: moved rows of the other side, and its Gram matrix."""

    rows: Image
    gram: Any


class System(NamedTuple):
    """The least-squares problems of an update.

    Attributes
    ----------
    working : WorkingSet
    equations, grams : dict of str to Equations, dict of str to float64[width, width]
        By side; no Gram matrices for a loss without unobserved pairs. With exposure they are as of the last event.
    named : dict of str to Shares
        Shares of the rows in the Gram matrices.
    """

    working: WorkingSet
    equations: dict[str, Equations]
    grams: dict[str, np.ndarray]
    named: dict[str, Shares]

    @classmethod
    def of(cls, job: UpdateJob, touched: dict[str, Touched]) -> System:
        """The problems of the rows that a batch names; if it is `counted`, its events count towards item popularity."""
        state, objective, counted = job.state, job.objective, job.counted
        grams = gram_matrices(state, objective.loss, job.threads, asked=not counted)
        rows = {side: touched[OTHER[side]].met for side in SIDES}
        working = WorkingSet(state, rows, {side: touched[side].named.movable for side in SIDES})
        begin_rows(job, working)
        named = {side: Shares.of(side, state, touched[side].named, gram.form, counted) for side, gram in grams.items()}
        events = len(state.history) + touched["items"].named.local.size * counted
        matrices = {side: state.grams.at(side, gram, state, events) for side, gram in grams.items()}
        missing: Any = 0.0
        if grams:
            total = grams["items"].shares + named["items"].gained
            items = state.items.count - derived_rows(state, "items").size + named["items"].launched
            missing = float(objective.loss.unobserved) * items / total
        equations = {}
        for side, (_, bounds, _, others, weights, targets, fresh) in touched.items():
            each = missing * named[side].after[: bounds.size - 1] if grams and side == "items" else missing
            columns, drawn = (others, weights, targets), drawn_to_features(job, side, working) or drawn_of(state, side)
            equations[side] = equations_of(objective, bounds, columns, each, fresh, drawn)
        return cls(working, equations, matrices, named)

    def solve(self, times: int, objective: Objective, threads: int) -> None:
        """Sweep over users, then items, `times` times.

        Rows that take a step take it on what has been added, or has moved, since their last.
        """
        working, seen = self.working, self._before()
        for time in range(times):
            for side in SIDES:
                other, equations = OTHER[side], self.equations[side] if time == 0 else self.equations[side].repeated()
                gram = self._gram(other, moved=time > 0 or other == SIDES[0]) if self.grams else None
                gram_change = None if gram is None else gram - seen[side].gram
                run = Run(objective.solver, working.mean, threads, gram_change, seen[side].rows)
                runner("solve")(working.shape, (working.now[side], working.now[other]), equations, gram, run)
                if time < times - 1 and equations.steps:
                    seen[side] = Seen(working.now[other].head(working.movable[other]).copy(), gram)

    def _before(self) -> dict[str, Seen]:
        """What the rows of each side were solved against before the batch, as far as it will have changed."""
        moved = {"users": self.working.before["items"].head(0), "items": self.working.before["users"]}
        return {side: Seen(moved[side], self.grams.get(OTHER[side])) for side in SIDES}

    def _gram(self, side: str, moved: bool) -> np.ndarray:
        """The Gram matrix of a side including the batch, with the rows of the working set as they are."""
        working, (before, after, *_), matrix = self.working, self.named[side], self.grams[side].copy()
        positions, now = np.arange(before.size, dtype=np.int32), working.now[side].factors
        first = working.movable[side] if moved else 0
        change = np.where(positions < first, after, after - before)
        correct, old = runner("correct gram"), working.before[side].factors
        correct(working.shape, old, positions[:first], before[:first], -1.0, matrix)
        changed = positions[change != 0]
        correct(working.shape, now, changed, change[changed], 1.0, matrix)
        return matrix
