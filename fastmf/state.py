"""State: all that a model has learned, and the one way to change it.

A Delta is committed all or nothing: what can fail is checked first, and Ctrl-C waits until the scatter is done.
"""

from __future__ import annotations

import math
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmf.delta import Delta, Trail
from fastmf.errors import StaleDelta
from fastmf.followers.grams import Gram, Grams
from fastmf.followers.quantized import Screen
from fastmf.log.history import Events, History
from fastmf.parameters.ids import IdMap
from fastmf.parameters.table import SIDES, Factors

__all__ = ["State", "commit", "reckon", "uninterrupted"]

_TRAIL_BYTES = 64 << 20  # of Deltas kept for walking back


@dataclass(eq=False)
class State:
    """All that a model has learned; the Deltas that made it form its trail."""

    factors: Factors
    ids: dict[str, IdMap]
    history: History
    lineage: str = field(default_factory=lambda: uuid.uuid4().hex)
    version: int = 0
    trail: Trail = field(default_factory=lambda: Trail(_TRAIL_BYTES))
    screen: Screen = field(default_factory=Screen)  # of the items
    grams: Grams = field(default_factory=Grams)

    @classmethod
    def empty(cls, factors: Factors) -> State:
        """No rows, no events."""
        ids = {side: IdMap(factors.budget, factors.capacity) for side in SIDES}
        return cls(factors, ids, History(factors.capacity, factors.budget))

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers that an update may change besides rows."""
        return {"low": self.factors.low, "high": self.factors.high}

    @property
    def value(self) -> float | None:
        """The value of all events so far, where they share one."""
        return self.factors.low if self.factors.low == self.factors.high else None

    def start_rows(self, side: str, ids: np.ndarray) -> np.ndarray:
        """Fill an empty side with the rows of these ids; returns the row of each, where the history will keep it."""
        staged = self.ids[side].stage(ids, side, self.history.room(side, len(ids)))
        self.ids[side].extend(staged.fresh)
        self.factors.tables[side].fill(len(staged.fresh), self.factors.start(side))
        return staged.rows

    def copy(self) -> State:
        """An independent state, of the same lineage and version."""
        other = State.empty(self.factors.like())
        other.lineage, other.version, other.trail = self.lineage, self.version, self.trail.copy()
        other.grams = self.grams.copy()
        other.ids = {side: ids.copy() for side, ids in self.ids.items()}
        history = self.history
        other.history.build(history.events, *self.counts, history.untimed or 0, history.unweighted or 0)
        return other

    def gram_matrices(self, loss: Any, threads: int = 1) -> dict[str, Gram]:
        """Those of both tables, made where there are none; empty for a loss that asks for no pair unmet."""
        if not hasattr(loss, "unobserved"):
            return {}
        tables, powers = self.factors.tables, {"users": 0.0, "items": float(loss.popularity)}
        return {side: self.grams.of(side, tables[side], self.history, powers[side], threads) for side in SIDES}

    @property
    def counts(self) -> tuple[int, int]:
        """Known users and items."""
        return len(self.ids["users"]), len(self.ids["items"])

    def restart_trail(self, versions: list[int]) -> None:
        """A trail that passed these versions and has kept no Delta."""
        self.trail = Trail(_TRAIL_BYTES, versions)

    # --- files --------------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything learned, as named arrays for a file."""
        found = {}
        for side in SIDES:
            table = self.factors.tables[side]
            found[f"{side}.factors"], found[f"{side}.records"] = table.values(), table.records[: table.count]
            found |= {f"{side}.{name}": array for name, array in self.ids[side].arrays().items()}
        for side, kept in self.grams.kept.items():
            found |= {f"gram.{side}.{name}": array for name, array in kept._asdict().items()}
        log = zip(Events._fields, self.history.events, strict=True)
        return found | {f"history.{name}": column for name, column in log if column is not None}

    def numbers(self) -> dict[str, str]:
        """The numbers that go with the arrays, as text that keeps every bit (and infinity)."""
        factors = self.factors
        found = {name: repr(getattr(factors, name)) for name in ("global_mean", "centre", "low", "high")}
        history = self.history
        return found | {"untimed": str(history.untimed or 0), "unweighted": str(history.unweighted or 0)}

    def load(self, arrays: dict[str, np.ndarray], numbers: dict[str, str]) -> None:
        """Fill an empty state from a file; ValueError or KeyError where the file is not consistent."""
        for name in ("global_mean", "centre", "low", "high"):
            number = float(numbers[name])
            if math.isnan(number) or (math.isinf(number) and name in ("global_mean", "centre")):
                raise ValueError(f"{name} is {number}")
            setattr(self.factors, name, number)
        for side in SIDES:
            own = {name: arrays[f"{side}.{name}"] for name in ("ids", "text", "bounds") if f"{side}.{name}" in arrays}
            self.ids[side] = IdMap.from_arrays(own, self.factors.budget, self.factors.capacity)
            self.factors.tables[side].load(arrays[f"{side}.factors"], arrays[f"{side}.records"], len(self.ids[side]))
            kept = [arrays[f"gram.{side}.{name}"] for name in Gram._fields if f"gram.{side}.{name}" in arrays]
            if kept:
                self.grams.kept[side] = Gram(*kept).checked(self.factors.shape.width)
        log = Events(*(arrays.get(f"history.{name}") for name in Events._fields))  # type: ignore[arg-type]
        log.require(*self.counts)
        self.history.require_room(log.users.size)
        without = {"time": int(numbers["untimed"]), "weight": int(numbers.get("unweighted", "0"))}
        for name, count in without.items():
            if not 0 <= count <= log.users.size:
                raise ValueError(f"{count} events without a {name} are not among {log.users.size}")
        self.history.build(log, *self.counts, *without.values())


def commit(state: State, delta: Delta) -> None:
    """Turn a state at `delta.parent` into the one at `delta.version`, all or nothing.

    Raises
    ------
    StaleDelta
        Where the Delta belongs to another model or version.
    CapacityError
        Where the memory budget does not allow it; nothing has changed then.
    """
    if not isinstance(delta, Delta):
        raise TypeError(f"expected a Delta, got {type(delta).__name__}")
    if delta.lineage != state.lineage:
        raise StaleDelta(f"the Delta belongs to model {delta.lineage[:8]}, this is {state.lineage[:8]}")
    if delta.parent != state.version:
        raise StaleDelta(f"the Delta starts from version {delta.parent}, the model is at version {state.version}")
    if delta.restores is None:
        for side in SIDES:
            state.factors.tables[side].require_room(len(state.ids[side]) + len(delta.new_ids[side]))
            state.ids[side].prepare(delta.new_ids[side])
        state.history.require_room(delta.events)
    for side, move in delta.moves.items():
        state.factors.tables[side].require_rows(move.rows, move.after, len(state.ids[side]) + len(delta.new_ids[side]))
    with uninterrupted():
        state.screen.before(state.history, delta.moves["items"].rows)
        known = state.counts
        if delta.restores is None:
            _grow(state, delta)
        else:
            _shrink(state, delta)
        for side, move in delta.moves.items():
            table = state.factors.tables[side]
            kept = move.rows < table.count
            if kept.all():
                table.scatter(move.rows, move.after)
            else:
                table.scatter(move.rows[kept], move.after.take(kept))
        reckon(state, delta, known)
        for name, (_, after) in delta.scalars.items():
            setattr(state.factors, name, after)
        state.screen.after(state.history, state.factors.items.count)
        state.version = delta.version
        state.trail.follow(delta)


def reckon(state: State, delta: Delta, known: tuple[int, int]) -> None:
    """Bring the Gram matrices up to date with a Delta that the state has been through, with `known` rows before it."""
    if delta.restores is not None:
        state.grams.restore(delta.grams)
        return
    if not state.grams.kept:  # a copy that has asked for none goes by those of the first
        state.grams.restore(delta.grams)
    for side, count in zip(SIDES, known, strict=True):
        table, named = state.factors.tables[side], getattr(delta.log, side)
        state.grams.follow(side, table, state.history, delta.moves[side], named, count)


def _grow(state: State, delta: Delta) -> None:
    for side in SIDES:
        state.ids[side].extend(delta.new_ids[side])
        state.factors.tables[side].grow(len(state.ids[side]), state.factors.start(side))
    state.history.append(delta.log)


def _shrink(state: State, delta: Delta) -> None:
    state.history.truncate(len(state.history) - delta.events)
    for side in SIDES:
        state.ids[side].truncate(len(state.ids[side]) - len(delta.new_ids[side]))
        state.factors.tables[side].count = len(state.ids[side])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done. Only the main thread gets it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is None:  # installed outside Python: it raises nothing here
        yield
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
