"""Protocols: what a loss, an optimizer, a regularizer and a sampler must have, and an objective made of them.

A value is a NamedTuple with plain methods and constants. The classes here say which, once, to all that ask: `freeze`
checks values against them at the door, kernels may call what is marked as compiled (see kernels/bridge.py), and type
checkers know what :class:`fastmf.MF` takes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastmf.errors import require_flag
from fastmf.hints import of_method, of_value
from fastmf.optimizers import ALS
from fastmf.regularizers import L2

__all__ = [
    "KINDS",
    "RANKING",
    "SOURCES",
    "Follower",
    "Listwise",
    "Loss",
    "Objective",
    "Optimizer",
    "Pairwise",
    "Pointwise",
    "Quadratic",
    "Regularizer",
    "Sampler",
    "compiled_methods",
    "freeze",
]

KINDS = ("pointwise", "pairwise", "listwise", "all-pairs")  # of losses
RANKING = KINDS[1:3]  # those that compare an event with negatives
SOURCES = ("items", "events", "batch", "every")  # of negatives

_Method = TypeVar("_Method", bound=Callable[..., Any])
_COMPILED: dict[str, tuple[str, ...]] = {}


def _compiled(method: _Method) -> _Method:
    """Mark a method of a protocol as one that kernels call."""
    _COMPILED[method.__name__] = _parameters(method)
    return method


def _parameters(method: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(method).parameters)[1:]


def compiled_methods() -> dict[str, tuple[str, ...]]:
    """The methods that kernels call, by name, with their parameters after `self`."""
    return dict(_COMPILED)


# --- protocols: methods, and constants (or fields, or properties) with what they are ----------------------------------


class Loss(Protocol):
    """What every loss has; see :mod:`fastmf.losses`."""

    @property
    def domain(self) -> tuple[float, float]:
        """The (lowest, highest) value that it accepts."""

    @property
    def kind(self) -> str:
        """What it compares an event with, one of `KINDS`."""

    @_compiled
    def inverse_link(self, score: Any) -> Any:
        """The prediction that a score stands for."""

    def prior(self, values: Any) -> float:
        """The score of a constant model."""

    def check(self, values: Any) -> None:
        """Raise DataError on a value outside the domain, ValueError on a field that makes no sense."""


class Pointwise(Loss, Protocol):
    """A loss of one score against one value."""

    @_compiled
    def value(self, score: Any, target: Any) -> Any:
        """The loss of one event."""

    @_compiled
    def slope(self, score: Any, target: Any) -> Any:
        """Its derivative with respect to the score."""


class Quadratic(Protocol):
    """What a loss has besides, so that ALS can solve rows for it."""

    @_compiled
    def quadratic(self, values: Any) -> Any:
        """The confidence in events of these values, and their targets; None in place of these where all are 1."""


class _Ranking(Loss, Protocol):
    """A loss that compares an event with negatives."""

    @property
    def sampler(self) -> Any:
        """Where negatives come from."""

    @property
    def allow_seen(self) -> bool:
        """Whether negatives may be known positives of the user."""


class Pairwise(_Ranking, Pointwise, Protocol):
    """A loss of the lead of an event over one negative."""

    @property
    def trials(self) -> int:
        """How many negatives are drawn at most."""

    @_compiled
    def weight(self, tries: Any, candidates: Any) -> Any:
        """What the pair counts."""


class Listwise(_Ranking, Protocol):
    """A loss of an event among all its negatives."""

    @_compiled
    def loss_and_gradient(self, scores: Any, expected_counts: Any, slopes: Any, count: Any, items: Any) -> Any:
        """The loss of a list; sets its slopes."""


class Sampler(Protocol):
    """What a sampler has; see :mod:`fastmf.samplers`."""

    @property
    def source(self) -> str:
        """What is drawn from, one of `SOURCES`."""

    @_compiled
    def acceptance(self, count: Any) -> Any:
        """The probability that a drawn item is kept."""

    def check(self) -> None:
        """Raise ValueError where a field makes no sense."""


class Optimizer(Protocol):
    """What an optimizer that takes steps has; see :mod:`fastmf.optimizers`."""

    @property
    def rate(self) -> float:
        """The learning rate, a field: an update may replace it."""

    @_compiled
    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        """The row and its memory after one step."""

    def state(self, k: int) -> int:
        """Floats of memory of a row of k factors."""

    def check(self) -> None:
        """Raise ValueError where a field makes no sense."""


class Regularizer(Protocol):
    """What a regularizer has; see :mod:`fastmf.regularizers`."""

    @_compiled
    def gradient(self, row: Any, anchor: Any) -> Any:
        """The gradient of the penalty."""

    def check(self) -> None:
        """Raise ValueError where a field makes no sense."""


class Follower(Protocol):
    """What is derived from a state, or fed by its Deltas, and must be told of every change."""

    def prepare(self, state: Any, delta: Any) -> None:
        """Do all that can fail; nothing has changed yet, and an error refuses the change."""

    def abort(self) -> None:
        """Take back what was prepared: another follower has refused the change."""

    def follow(self, state: Any, delta: Any) -> None:
        """Take in a Delta that the state has been through. May not fail, and may be called again with the same one."""

    def copy(self) -> Any:
        """The follower of a copy of the state."""


_BY_ROLE = {"solver": Optimizer, "regularizer": Regularizer, "sampler": Sampler}
_BY_KIND = {"pointwise": Pointwise, "pairwise": Pairwise, "listwise": Listwise, "all-pairs": Pointwise}


# --- values at the door -----------------------------------------------------------------------------------------------


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
    if not (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        given = f"the class {value.__name__}" if isinstance(value, type) else kind.__name__
        raise TypeError(f"{role} must be a NamedTuple such as those of fastmf, got {given}{of_value(role, value)}")
    _require_protocol(kind, role, _BY_ROLE.get(role) or _BY_KIND.get(str(getattr(value, "kind", "")), Pointwise))
    if role == "loss":
        _require_one_of(value, "kind", KINDS)
    elif role == "sampler":
        _require_one_of(value, "source", SOURCES)
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


@functools.cache
def _require_protocol(kind: Any, role: str, protocol: Any) -> None:
    methods, members = _needed(protocol)
    for name, parameters in methods.items():
        method = getattr(kind, name, None)
        if not callable(method):
            lacks = f"it lacks the method {name}({', '.join(parameters)})"
            raise TypeError(f"{kind.__name__} is no {role}: {lacks}{of_method(kind, name)}")
        found = _parameters(method)
        if found != parameters:
            raise TypeError(f"{kind.__name__}.{name} must take ({', '.join(parameters)}), not ({', '.join(found)})")
    for name, text in members.items():
        if not hasattr(kind, name) or (name == "rate" and name not in kind._fields):
            raise TypeError(f"{kind.__name__} is no {role}: it lacks {name}. {text}")


def _needed(protocol: Any) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The methods of a protocol with their parameters, and its other members with what they are."""
    known = {name: one for base in protocol.__mro__ for name, one in vars(base).items() if base.__module__ == __name__}
    methods = {name: _parameters(one) for name, one in known.items() if inspect.isfunction(one) and name[0] != "_"}
    return methods, {name: str(one.__doc__) for name, one in known.items() if isinstance(one, property)}


def _require_one_of(value: Any, name: str, choices: tuple[str, ...]) -> None:
    if getattr(value, name) not in choices:
        raise TypeError(f"{type(value).__name__}.{name} must be one of {choices}, got {getattr(value, name)!r}")


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
        if not self.alternating:
            if self.loss.kind == "all-pairs":
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
        return not self.ranks and self.loss.kind != "all-pairs"

    @property
    def alternating(self) -> bool:
        """Whether rows are solved; they take steps otherwise."""
        return isinstance(self.solver, ALS)

    @property
    def classes(self) -> tuple[Any, ...]:
        """What kernels are specialised on."""
        return tuple(map(type, self[:3] if self.sampler is None else self))

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
