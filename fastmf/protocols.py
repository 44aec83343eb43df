"""Protocols: what a loss, an optimizer, a regularizer and a sampler must have, and an objective made of them.

A value is a NamedTuple with plain methods, found by name. The one table of what it must have is here: `freeze` checks
classes against it at the door, and kernels may call those of its methods that are compiled (see kernels/bridge.py).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import require_flag
from fastmf.optimizers import ALS
from fastmf.regularizers import L2

__all__ = ["COMPILED", "KINDS", "PROTOCOLS", "RANKING", "SOURCES", "Objective", "Protocol", "freeze"]


Methods = dict[str, tuple[str, ...]]  # by name, their parameters after `self`


class Protocol(NamedTuple):
    """What a class must have: methods; constants and fields, by name, with what they are.

    Kernels call the methods that are `compiled`; those that are `plain` are Python's alone.
    """

    compiled: Methods
    plain: Methods
    members: dict[str, str] = {}  # noqa: RUF012 - constants, properties or fields
    fields: dict[str, str] = {}  # noqa: RUF012


_OF_A_SCORE: Methods = {"value": ("score", "target"), "slope": ("score", "target"), "link": ("score",)}
_OF_VALUES: Methods = {"prior": ("values",), "check": ("values",)}
_OF_LOSSES = {
    "domain": "the (lowest, highest) value that it accepts",
    "kind": "what it compares an event with",
}
_OF_RANKING = _OF_LOSSES | {
    "sampler": "where negatives come from",
    "allow_seen": "whether negatives may be known positives",
}

PROTOCOLS = {
    "loss": Protocol(_OF_A_SCORE, _OF_VALUES, _OF_LOSSES),
    "pairwise loss": Protocol(
        _OF_A_SCORE | {"weight": ("tries", "candidates")},
        _OF_VALUES,
        _OF_RANKING | {"trials": "how many negatives are drawn at most"},
    ),
    "listwise loss": Protocol(
        {"grade": ("scores", "chances", "slopes", "count", "items"), "link": ("score",)}, _OF_VALUES, _OF_RANKING
    ),
    "sampler": Protocol({"keep": ("count",)}, {"check": ()}, {"source": "what is drawn from"}),
    "solver": Protocol(
        {"step": ("row", "gradient", "memory")},
        {"state": ("k",), "check": ()},
        fields={"rate": "which an update may replace"},
    ),
    "regularizer": Protocol({"pull": ("row", "origin")}, {"check": ()}),
}
COMPILED = {name: needed for protocol in PROTOCOLS.values() for name, needed in protocol.compiled.items()}
KINDS = ("pointwise", "pairwise", "listwise", "whole")  # of losses
RANKING = KINDS[1:3]  # those that compare an event with negatives
SOURCES = ("items", "events", "batch", "every")  # of negatives


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
    if role in ("loss", "sampler"):
        _require_one_of(value, *(("kind", KINDS) if role == "loss" else ("source", SOURCES)))
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
    needed = PROTOCOLS[protocol]
    for name, parameters in (needed.compiled | needed.plain).items():
        method = getattr(kind, name, None)
        if not callable(method):
            raise TypeError(f"{kind.__name__} is no {role}: it lacks the method {name}({', '.join(parameters)})")
        found = tuple(inspect.signature(method).parameters)[1:]
        if found != parameters:
            raise TypeError(f"{kind.__name__}.{name} must take ({', '.join(parameters)}), not ({', '.join(found)})")
    for name, why in needed.members.items():
        if not hasattr(kind, name):
            raise TypeError(f"{kind.__name__} is no {protocol}: it lacks {name}, {why}")
    for name, why in needed.fields.items():
        if name not in kind._fields:
            raise TypeError(f"{kind.__name__} is no {protocol}: it lacks the field {name}, {why}")


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
