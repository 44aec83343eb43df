"""Engine: gather a working set, run a Plan on it.

Training never touches the tables of a model. It works on copies of the rows it needs; what moved goes back in one step
that nothing interrupts (see state.py). A failure before that step leaves the model as it was.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import numpy as np

from fastmf.delta import Move
from fastmf.errors import DivergenceError, require_flag
from fastmf.kernels.core.launch import launch
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.train import minibatch, pointwise
from fastmf.log.history import Events
from fastmf.memory import aligned
from fastmf.optimizers import ALS
from fastmf.parameters.table import SIDES, Factors, Rows
from fastmf.plan import Plan
from fastmf.regularizers import L2

__all__ = ["Objective", "WorkingSet", "freeze", "shape_of"]

_PROTOCOLS: dict[str, dict[str, list[str]]] = {
    "loss": {
        "value": ["score", "target"],
        "slope": ["score", "target"],
        "link": ["score"],
        "prior": ["values"],
        "check": ["values"],
    },
    "pairwise loss": {
        "value": ["score", "target"],
        "slope": ["score", "target"],
        "weight": ["tries", "candidates"],
        "link": ["score"],
        "prior": ["values"],
        "check": ["values"],
    },
    "listwise loss": {
        "grade": ["scores", "chances", "slopes", "count", "items"],
        "link": ["score"],
        "prior": ["values"],
        "check": ["values"],
    },
    "sampler": {"keep": ["count"], "check": []},
    "solver": {"state": ["k"], "step": ["row", "gradient", "memory"], "check": []},
    "regularizer": {"pull": ["row", "origin"], "check": []},
}
_MEMBERS = {
    "pairwise loss": ("sampler", "allow_seen", "trials"),
    "listwise loss": ("sampler", "allow_seen"),
    "sampler": ("source",),
}
RANKING = ("pairwise", "listwise")  # kinds of losses that compare an event with negatives
SOURCES = ("items", "events", "batch", "every")
_AT_ONCE = 1 << 26  # factors, events times width, between two chances for Ctrl-C: kernels hear none


# --- values ---------------------------------------------------------------------------------------------------------


def freeze(value: Any, role: str) -> Any:
    """A loss, solver, regularizer or sampler ready for a kernel: every field a float32, checked against its protocol.

    A sampler inside a loss is checked and left out, as 0: an Objective has it beside the loss.

    Raises
    ------
    TypeError
        Where the value is not a NamedTuple with the methods of its role.
    ValueError
        Where a field is not a finite number (or True or False, where its default is) or the value's own check fails.
    """
    kind: Any = type(value)
    if kind is ALS and role == "solver":  # never sees a kernel
        value.check()
        return value
    _require_protocol(kind, _protocol(value, role))
    fields = []
    for name, number in zip(kind._fields, value, strict=True):
        default = kind._field_defaults.get(name)
        if role == "loss" and name == "sampler":
            freeze(number, "sampler")
            fields.append(np.float32(0))
        elif isinstance(default, bool):
            fields.append(np.float32(require_flag(f"{kind.__name__}.{name}", number)))
        else:
            fields.append(_single(f"{kind.__name__}.{name}", number))
    value.check(*((np.zeros(0, np.float32),) if role == "loss" else ()))
    return kind(*fields)


def _single(name: str, number: Any) -> np.float32:
    if isinstance(number, bool) or not isinstance(number, (int, float, np.number)):
        raise ValueError(f"{name} must be a number, got {number!r}")
    magnitude = abs(number if isinstance(number, int) else float(number))  # an int may be beyond every float
    if not magnitude <= float(np.finfo(np.float32).max):
        raise ValueError(f"{name} must be a finite float32 number, got {number!r}")
    return np.float32(number)


def _protocol(value: Any, role: str) -> str:
    kind = getattr(value, "kind", None) if role == "loss" else None
    return f"{kind} loss" if kind in RANKING else role


@functools.cache
def _require_protocol(kind: Any, protocol: str) -> None:
    role = protocol.split()[-1]
    if not (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise TypeError(f"{role} must be a NamedTuple such as those of fastmf, got {kind.__name__}")
    for name, expected in _PROTOCOLS[protocol].items():
        method = getattr(kind, name, None)
        if not callable(method):
            raise TypeError(f"{kind.__name__} is no {role}: it lacks the method {name}({', '.join(expected)})")
        found = list(inspect.signature(method).parameters)[1:]
        if found != expected:
            raise TypeError(f"{kind.__name__}.{name} must take ({', '.join(expected)}), not ({', '.join(found)})")
    if role == "loss" and not hasattr(kind, "domain"):
        raise TypeError(f"{kind.__name__} is no loss: it lacks domain, the (lowest, highest) value that it accepts")
    if role == "solver" and "rate" not in kind._fields:
        raise TypeError(f"{kind.__name__} is no solver: it lacks the field rate, which an update may replace")
    for name in _MEMBERS.get(protocol, ()):
        if not hasattr(kind, name):
            raise TypeError(f"{kind.__name__} is no {protocol}: it lacks {name}")
    if role == "sampler" and kind.source not in SOURCES:
        raise TypeError(f"{kind.__name__}.source must be one of {SOURCES}, got {kind.source!r}")


class Objective(NamedTuple):
    """What to minimise and how, as frozen values.

    `sampler` is that of a ranking loss, else None.
    """

    loss: Any
    solver: Any
    regularizer: Any
    sampler: Any = None

    @property
    def ranks(self) -> bool:
        """Whether events are compared with negatives, and their values are weights."""
        return self.sampler is not None

    @property
    def values(self) -> tuple[Any, Any, Any]:
        """What every kernel gets."""
        return self[:3]

    @classmethod
    def of(cls, loss: Any, solver: Any, regularizer: Any) -> Objective:
        """An objective of values as the caller has them; TypeError or ValueError where they do not go together."""
        frozen = freeze(loss, "loss"), freeze(solver, "solver"), freeze(regularizer, "regularizer")
        return cls(*frozen, _sampler_of(loss))._checked()

    def _checked(self) -> Objective:
        solver, loss = (type(value).__name__ for value in (self.solver, self.loss))
        if not self.closed_form:
            if self.loss.kind == "whole":
                raise ValueError(f"{loss} needs solver=optimizers.ALS(): {solver} would have to visit every pair")
            return self
        if not hasattr(self.loss, "quadratic"):
            raise ValueError(f"{solver} solves losses that are quadratic, Squared and Confidence, not {loss}")
        if not isinstance(self.regularizer, L2) or not self.regularizer.weight:
            raise ValueError(f"{solver} needs a regularizer L2 with a weight > 0, got {self.regularizer!r}")
        return self

    @property
    def on_scale(self) -> bool:
        """Whether predictions are on the scale of the values."""
        return not self.ranks and self.loss.kind != "whole"

    @property
    def closed_form(self) -> bool:
        """Whether rows are solved; they take steps otherwise."""
        return isinstance(self.solver, ALS)

    @property
    def classes(self) -> tuple[Any, ...]:
        """What kernels are specialised on."""
        return tuple(type(value) for value in self if value is not None)

    def override(self, loss: Any, regularizer: Any) -> Objective:
        """The same with another loss or regularizer, where one is given."""
        changed = self
        if loss is not None:
            changed = changed._replace(loss=freeze(loss, "loss"), sampler=_sampler_of(loss))
        if regularizer is not None:
            changed = changed._replace(regularizer=freeze(regularizer, "regularizer"))
        return changed._checked()

    def at_rate(self, rate: float) -> Objective:
        """The same with another learning rate."""
        return self._replace(solver=self.solver._replace(rate=np.float32(rate)))


def _sampler_of(loss: Any) -> Any:
    return freeze(loss.sampler, "sampler") if getattr(loss, "kind", None) in RANKING else None


def shape_of(factors: int, solver: Any, biases: bool) -> Shape:
    """The shape of rows of so many factors under a solver."""
    return Shape(factors, -(-factors // 16) * 16, max(1, solver.state(factors)), biases)


# --- the working set ------------------------------------------------------------------------------------------------


class WorkingSet:
    """Copies of the rows that an update concerns; of each side, the first `movable` rows may be written.

    Parameters
    ----------
    factors : Factors
        Where the rows come from.
    rows : dict of str to int32 array
        Distinct rows of each side, movable ones first.
    movable : dict of str to int
        How many of them may move.
    """

    def __init__(self, factors: Factors, rows: dict[str, np.ndarray], movable: dict[str, int]) -> None:
        self.shape, self.mean, self.largest = factors.shape, np.float32(factors.global_mean), factors.largest
        self.rows, self.movable = rows, movable
        self.now = {side: factors.tables[side].gather(rows[side], factors.start(side)) for side in SIDES}
        self.before = {side: self.now[side].head(movable[side]).copy() for side in SIDES}

    @classmethod
    def over(cls, factors: Factors) -> WorkingSet:
        """Every row, movable: for training a model that nobody else sees yet, in its float32 tables themselves."""
        whole = cls.__new__(cls)
        whole.shape, whole.mean, whole.largest = factors.shape, np.float32(factors.global_mean), factors.largest
        whole.movable = {side: factors.tables[side].count for side in SIDES}
        whole.rows = {side: np.arange(whole.movable[side], dtype=np.int32) for side in SIDES}
        whole.now = {side: factors.tables[side].whole(factors.start(side)) for side in SIDES}
        whole.before = whole.now
        return whole

    def moves(self) -> dict[str, Move]:
        """What changed, once training is over.

        Raises
        ------
        DivergenceError
            Where a number is not finite, or too large for the tables.
        """
        after = {side: self._moved(side) for side in SIDES}
        for side, rows in after.items():
            if not rows.within(self.largest):
                raise DivergenceError(
                    f"training made {side[:-1]} rows that are not finite; smaller values, weights or rates may help"
                )
        return {side: Move(self.rows[side][: self.movable[side]], self.before[side], after[side]) for side in SIDES}

    def _moved(self, side: str) -> Rows:
        """The rows that may have moved, without holding on to those that were only read."""
        rows, movable = self.now[side], self.movable[side]
        return rows if movable == len(rows.factors) else rows.head(movable).copy()

    def run(
        self,
        plan: Plan,
        objective: Objective,
        movable: dict[str, int],
        order: np.ndarray | None = None,
        threads: int = 1,
    ) -> float:
        """One pass over a plan, a step per event; returns the summed loss, each event measured before its step.

        `order` is that of the blocks; stratum after stratum, as they are listed, by default.
        """
        shape, classes, flight = self.shape, objective.classes, plan.in_flight
        sums = np.zeros(len(plan.bounds) - 1)
        order = np.arange(sums.size) if order is None else order
        workers = min(threads, int(plan.strata[1]))
        for first, last in plan.pieces(self.shape.width):
            launch(
                lambda: pointwise.epoch(shape, classes, flight, False),
                lambda: pointwise.epoch(shape, classes, flight, True),
                workers,
                (plan.bounds, order, int(plan.strata[1]), first, last),
                plan.events[:4],
                *self.now["users"],
                *self.now["items"],
                (*self.before["users"], *self.before["items"]),
                (movable["users"], movable["items"]),
                self.mean,
                *objective.values,
                workers,
                sums,
            )
        return float(sums.sum())

    def run_batches(self, events: Events, objective: Objective, movable: dict[str, int], batch_size: int) -> float:
        """One pass over events in their order, a step per batch; returns the summed loss."""
        sides = []
        for side in SIDES:
            count = len(self.now[side].factors)
            sums, bias_sums = aligned(count, self.shape.width), aligned(count, 1)
            sums[:], bias_sums[:] = 0, 0
            room = (np.zeros(count, np.int32), np.empty(count, np.int64))
            sides.append((*self.now[side], *self.before[side], sums, bias_sums, *room))
        kernel = minibatch.epoch(self.shape, objective.classes)
        limits = (movable["users"], movable["items"])
        piece = -(-_AT_ONCE // (batch_size * self.shape.width)) * batch_size  # whole batches
        return sum(
            float(kernel(events.take(some)[:4], batch_size, *sides, limits, self.mean, *objective.values))
            for some in _slices(events.users.size, piece)
        )

    def measure(self, events: Events, objective: Objective) -> float:
        """The summed loss of events, moving nothing."""
        kernel = pointwise.measure(self.shape, objective.classes[:1])
        now = *self.now["users"], *self.now["items"]
        return sum(
            float(kernel(events.take(some)[:4], *now, self.mean, objective.loss))
            for some in _slices(events.users.size, _AT_ONCE // self.shape.width)
        )


def _slices(count: int, piece: int) -> list[slice]:
    return [slice(first, first + piece) for first in range(0, count, piece)]
