"""Engine: values as kernels take them."""

from __future__ import annotations

import functools
import inspect
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import require_flag
from fastmf.kernels.core.shape import Shape
from fastmf.optimizers import ALS
from fastmf.regularizers import L2

__all__ = ["Objective", "freeze", "shape_of"]

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
