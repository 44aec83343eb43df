"""Negative sampling for a working set: known items, sampler populations, alias tables, and passes over events."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmf.devices import runner
from fastmf.kernels.core.rng import draw
from fastmf.kernels.rows.grouping import order_by
from fastmf.kernels.train import negatives, pairwise
from fastmf.kernels.train.pool import Pool, Seen, Tables
from fastmf.learners.working import WorkingSet
from fastmf.log.events import SIDES, Events
from fastmf.log.history import History
from fastmf.objective import Objective
from fastmf.parameters.table import Table
from fastmf.plan import Plan, deal, pieces

__all__ = ["FEWEST", "Known", "Negatives", "Runs", "as_positives", "require_single_steps"]

_CHUNK = 1 << 26  # factors, entries of lists times width, between two chances for Ctrl-C
_SAMPLE = 256  # events by which the mass of a sampler is estimated
FEWEST = 64  # items of a band: with fewer, users would know them all
_NOTHING, _NO_SHARES, _NO_BASES = np.zeros(1, np.int32), np.empty(0, np.float32), np.empty(0, np.int64)
MEASURE = -1  # epoch number of measuring passes, whose draws are always the same


def as_positives(events: Events) -> Events:
    """The events with value times weight as weight."""
    return events._replace(weights=events.values if events.weights is None else events.weights * events.values)


def require_single_steps(batch_size: int | None, loss: Any) -> None:
    """Raise ValueError if `batch_size` is not 1: a loss with negatives takes one step per event."""
    if batch_size not in (None, 1):
        raise ValueError(f"{type(loss).__name__} takes a step per event: batch_size must be 1, got {batch_size}")


class Known(NamedTuple):
    """Known positives: user u of the working set has chosen the model's items ``rows[starts[u]:starts[u + 1]]``."""

    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, users: np.ndarray, rows: np.ndarray, count: int) -> Known:
        """From (user, item row) pairs in any order; `count` is the number of users."""
        order, starts = order_by(users, count)
        return cls(starts, np.ascontiguousarray(rows[order], np.int32))


class Runs(NamedTuple):
    """Events in training order, in runs of one user each: run r is ``events[bounds[r]:bounds[r + 1]]``."""

    events: Events
    bounds: np.ndarray

    @classmethod
    def of(cls, events: Events) -> Runs:
        """Events in their order, cut wherever the user changes."""
        changes = np.flatnonzero(np.diff(events.users)) + 1
        return cls(events, np.concatenate([[0], changes, [events.users.size]]).astype(np.int64))

    def pieces(self, order: np.ndarray, chunk: int) -> list[tuple[int, int]]:
        """Parts of an order of runs that hold about so many events each."""
        if self.bounds[-1] <= chunk:  # as nearly always
            return [(0, order.size)] if order.size else []
        return pieces(np.append(0, np.cumsum(np.diff(self.bounds)[order])), chunk)


class Negatives:
    """Draws the negatives of a working set's events, and runs passes over events that use them.

    Parameters
    ----------
    working : WorkingSet
    history : History
        Provides the number of events of each item.
    known : Known
        Items excluded as negatives of each user.
    items : int
        Number of item rows that can be drawn.
    seed : int
        Seed of the draws.
    table : Table, optional
        The model's item table, if the working set does not hold all items; `marks` must then hold the working-set index
        of each of its rows plus 1.
    arrived : int32 array, optional
        Item rows of new events that are not in the history yet.
    """

    def __init__(
        self,
        working: WorkingSet,
        history: History,
        known: Known,
        items: int,
        seed: int,
        table: Table | None = None,
        arrived: np.ndarray = _NOTHING[:0],
    ) -> None:
        self.working, self._history, self._known, self._table = working, history, known, table
        self._items, self._seed, self._arrived = items, seed, arrived
        self.marks = _NOTHING  # working-set index of each row of the table, plus 1
        self._sets = (_NOTHING, _NO_BASES, _NOTHING, _NOTHING)
        if table is not None:  # in an update, few users are looked up many times
            users = known.starts.size - 1
            bases, bits, distinct = np.empty(users, np.int64), np.empty(users, np.int32), np.empty(users, np.int32)
            self._sets = negatives.prepare(*known, bases, bits, distinct), bases, bits, distinct
        self._alias: tuple[np.ndarray, np.ndarray, float] | None = None

    def run(
        self,
        runs: Runs,
        objective: Objective,
        movable: dict[str, int],
        epoch: int,
        order: np.ndarray | None = None,
        threads: int = 1,
    ) -> float:
        """One pass over runs of events; returns the summed loss, each event measured before its own step.

        Parameters
        ----------
        runs : Runs
        objective : Objective
        movable : dict of str to int
            Rows below these are written.
        epoch : int
            Part of the seed: passes with the same number draw the same negatives.
        order : int array, optional
            The runs to visit; by default all, in order.
        threads : int

        Returns
        -------
        float
        """
        order = np.arange(runs.bounds.size - 1) if order is None else order
        length, scope = self._length(objective), negatives.ALL if self._table is None else negatives.EXTERNAL
        pool, mass = self._pool(runs.events, objective)
        form = self.working.shape, objective.classes, objective.loss.kind == "listwise"
        run, lost = functools.partial(runner("compare"), form, scope), 0.0
        for first, last in runs.pieces(order, max(1, _CHUNK // (length * self.working.shape.width))):
            workers = min(threads, -(-(last - first) // pairwise.CHUNK))
            sums = np.zeros(-(-(last - first) // pairwise.CHUNK))
            work = (order, runs.bounds, first, last), runs.events, pool, mass
            self._launch(run, work, objective, movable, epoch, workers, sums)
            lost += float(sums.sum())
        return lost

    def in_bands(
        self, events: Events, starts: np.ndarray, bands: int, objective: Objective, threads: int
    ) -> Callable[[int], float]:
        """A function that runs a deterministic pass, given its number: results do not depend on the number of threads.

        Items are assigned to `bands` bands at random in every pass, and the negatives of an event are drawn from the
        band of its item. Events must be sorted by user: user u has those from starts[u] to starts[u + 1].
        """
        weights = np.asarray(events.weights)
        events = events._replace(values=weights)  # a plan needs values, which ranking events do not have
        arranged = np.empty_like(weights)
        room = Events(np.empty_like(events.users), np.empty_like(events.items), arranged, arranged)

        def run(epoch: int) -> float:
            item_band = deal(self._items, bands, [self._seed, epoch, bands])
            plan = Plan.blocked(events, starts, item_band, bands, 1, threads, room)
            return self._run_blocks(plan, item_band, objective, epoch, threads)

        return run

    def _run_blocks(self, plan: Plan, item_band: np.ndarray, objective: Objective, epoch: int, threads: int) -> float:
        bands, shape = int(plan.strata[1]), self.working.shape
        members, starts = order_by(item_band, bands, np.empty(item_band.size, np.int32))
        pool, mass = self._pool_of_bands(plan.events, objective, members, starts)
        form = shape, objective.classes, objective.loss.kind == "listwise"
        run = functools.partial(runner("compare in blocks"), form)
        order, sums = plan.block_order(self._seed, epoch), np.zeros(len(plan.bounds) - 1)
        for first, last in plan.pieces(shape.width * (1 + self._length(objective))):
            work = (plan.bounds, order, bands, first, last), plan.events, pool, mass
            self._launch(run, work, objective, self.working.movable, epoch, min(threads, bands), sums)
        return float(sums.sum())

    def _launch(
        self,
        run: Callable[..., None],
        work: tuple[Any, Events, Pool, float],
        objective: Objective,
        movable: dict[str, int],
        epoch: int,
        workers: int,
        sums: np.ndarray,
    ) -> None:
        """Call a device job; work = (order or blocks, events, pool, mass), see kernels/train/pairwise.py."""
        working, (order, events, pool, mass) = self.working, work
        outside = working.now["items"] if self._table is None else self._table
        rows = [part for side in SIDES for image in (working.now[side], working.before[side]) for part in image]
        length = self._length(objective)
        key = np.uint64(draw(np.uint64(self._seed), np.uint64(epoch & (2**64 - 1)), 0))
        run(
            workers,
            order,
            (events.users, events.items, events.weights),
            Seen(*self._known, bool(objective.loss.allow_seen), *self._sets),
            Tables._make([*rows, outside.factors, outside.records]),
            pool,
            (key, length, mass),
            working.mean,
            (movable["users"], movable["items"]),
            *objective.values,
            objective.sampler,
            (-(-self._items // 64) if self._table is None else 0, length + 1),
            workers,
            sums,
        )

    def measure(self, runs: Runs, objective: Objective) -> float:
        """The summed loss of events, with the same draws in every call; no row is changed."""
        return self.run(runs, objective, {"users": 0, "items": 0}, MEASURE)

    def _length(self, objective: Objective) -> int:
        """The maximum number of negatives per event."""
        if objective.sampler.source == "every":
            return self._items
        return int(objective.loss.trials if objective.loss.kind == "pairwise" else objective.loss.negatives)

    def _pool(self, events: Events, objective: Objective) -> tuple[Pool, float]:
        """What the sampler draws from, as kernels take it, and the sum of what it keeps of every event."""
        marks = self.marks
        rows, more, counts, further, sampler = _NOTHING[:0], _NOTHING[:0], _NOTHING, _NOTHING, objective.sampler
        shares, others, mass = _NO_SHARES, _NOTHING[:0], 1.0
        if sampler.source == "events":
            rows, counts, further = self._history.popularity()
            more = self._arrived
            if self._table is None:
                shares, others, mass = self._tabled(sampler)
            else:
                named = _spread_over(np.concatenate([_spread_over(rows), more]))
                mass = _mean_kept(objective, counts[named] + further[named]) * (rows.size + more.size)
        if sampler.source == "batch":
            counts = np.bincount(events.items, minlength=1).astype(np.int32)
            rows = events.items if self._table is None else self.working.rows["items"][events.items]
            mass = _mean_kept(objective, counts[_spread_over(events.items)]) * rows.size
        drawn = rows.size, rows, more.size, more, counts, further, marks, shares.size, shares, others
        return Pool(self._items, *drawn, _NOTHING[:0], _NO_BASES), mass

    def _pool_of_bands(
        self, events: Events, objective: Objective, members: np.ndarray, starts: np.ndarray
    ) -> tuple[Pool, float]:
        """The same for draws from bands, the items of which are side by side: an alias table for each."""
        sampler, counts, further, mass = objective.sampler, _NOTHING, _NOTHING, 1.0
        shares, others = _NO_SHARES, _NOTHING[:0]
        if sampler.source != "items":
            _, counts, further = self._history.popularity()
            if sampler.source == "batch":
                counts, further = np.bincount(events.items, minlength=self._items).astype(np.int32), 0 * further
            shares, others, mass = _alias_tables(sampler, counts[members] + further[members], starts)
        drawn = 0, _NOTHING[:0], 0, _NOTHING[:0], counts, further, _NOTHING, shares.size, shares, others
        return Pool(self._items, *drawn, members, starts), mass

    def _tabled(self, sampler: Any) -> tuple[np.ndarray, np.ndarray, float]:
        """The sampler's alias table and mass; built once, since it takes a pass over all items."""
        if self._alias is None:
            _, counts, further = self._history.popularity()
            counts = counts[: self._items] + further[: self._items]
            self._alias = _alias_tables(sampler, counts, np.array([0, self._items]))
        return self._alias


def _alias_tables(sampler: Any, counts: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Alias tables for the items of each segment of `starts`, concatenated, and their total mass."""
    shares, others, mass = np.empty(counts.size, np.float32), np.empty(counts.size, np.int32), 0.0
    kind: Any = type(sampler)
    for first, last in itertools.pairwise(starts):
        part = slice(first, last)
        mass += float(negatives.tabulate(kind)(sampler, counts[part], shares[part], others[part]))
    return shares, others, mass


def _mean_kept(objective: Objective, counts: np.ndarray) -> float:
    """The sampler's mean acceptance for these counts; only listwise losses need it, otherwise 1."""
    if objective.loss.kind != "listwise" or not counts.size:
        return 1.0
    return float(np.mean([float(objective.sampler.acceptance(max(int(count), 1))) for count in counts]))


def _spread_over(rows: np.ndarray) -> np.ndarray:
    """A sample of at most `_SAMPLE` rows at even spacing."""
    return rows[np.linspace(0, rows.size - 1, min(_SAMPLE, rows.size)).astype(np.int64)]
