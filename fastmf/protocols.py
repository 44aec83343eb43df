"""Structural types (protocols) of losses, optimizers, regularizers, samplers and followers.

A loss, optimizer, regularizer or sampler is a NamedTuple with plain methods and class constants. The protocols below
are the single definition of the members it must have: `freeze` validates user-supplied values against them, kernels
may call the methods marked ``@_compiled`` (see kernels/core/bridge.py), and type checkers use them as the parameter
types of :class:`fastmf.MF`.

The docstrings of properties appear in the error message about a missing member, so each is one line.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from fastmf.errors import require_flag
from fastmf.hints import of_method, of_value
from fastmf.optimizers import ALS, Variational

__all__ = [
    "KINDS",
    "RANKING",
    "SOURCES",
    "Follower",
    "Listwise",
    "Loss",
    "Optimizer",
    "Pairwise",
    "Pointwise",
    "Quadratic",
    "Regularizer",
    "Sampler",
    "compiled_methods",
    "freeze",
    "require_protocol",
]

KINDS = ("pointwise", "pairwise", "listwise", "all-pairs")  # kinds of loss
RANKING = KINDS[1:3]  # the kinds that compare an event with sampled negatives
SOURCES = ("items", "events", "batch", "every")  # populations that negatives are drawn from

_Method = TypeVar("_Method", bound=Callable[..., Any])
_COMPILED: dict[str, tuple[str, ...]] = {}


def _compiled(method: _Method) -> _Method:
    """Mark a protocol method as one that kernels call, and that must therefore compile under Numba."""
    _COMPILED[method.__name__] = _parameters(method)
    return method


def _parameters(method: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(method).parameters)[1:]


def compiled_methods() -> dict[str, tuple[str, ...]]:
    """The names of the methods that kernels call, each with its parameter names after `self`."""
    return dict(_COMPILED)


# --- protocols: properties stand for constants, fields or properties --------------------------------------------------


class Loss(Protocol):
    """Members common to all losses; see :mod:`fastmf.losses`."""

    @property
    def domain(self) -> tuple[float, float]:
        """The closed interval (low, high) of values that the loss accepts."""

    @property
    def kind(self) -> str:
        """The kind of loss, one of `KINDS`: what an event is compared with."""

    @_compiled
    def inverse_link(self, score: Any) -> Any:
        """The prediction for a score."""

    def prior(self, values: Any) -> float:
        """The score of a constant model fitted to `values`, used as the global mean."""

    def check(self, values: Any) -> None:
        """Raise DataError for values outside the domain, ValueError for an invalid field."""


class Pointwise(Loss, Protocol):
    """A loss of one score against one value."""

    @_compiled
    def value(self, score: Any, target: Any) -> Any:
        """The loss of one event."""

    @_compiled
    def slope(self, score: Any, target: Any) -> Any:
        """The derivative of the loss with respect to the score."""


class Quadratic(Protocol):
    """The additional method of a loss that ALS can minimise."""

    @_compiled
    def quadratic(self, values: Any) -> Any:
        """(confidences, targets) of events with these values, both float32 arrays; targets is None where all are 1."""


class Surrogate(Protocol):
    """The additional members of a pointwise loss that Variational can minimise."""

    @property
    def learns_noise(self) -> bool:
        """Whether the variance of the noise of values is learned; if not, `noise` is 1 / the weight of the event."""

    @_compiled
    def surrogate(self, score: Any, variance: Any, target: Any, noise: Any) -> Any:
        """(weight, target) of the normal likelihood that bounds that of an event.

        The score has this mean and this variance, `noise` is the variance of the noise of the event, and that of the
        normal likelihood is noise / weight.
        """

    @_compiled
    def expected(self, score: Any, variance: Any) -> Any:
        """The prediction for a score of this mean and variance."""


class _Ranking(Loss, Protocol):
    """A loss that compares an event with negatives."""

    @property
    def sampler(self) -> Any:
        """The sampler that draws negatives."""

    @property
    def allow_seen(self) -> bool:
        """Whether known positives of the user may be drawn as negatives."""


class Pairwise(_Ranking, Pointwise, Protocol):
    """A loss of the score difference between an event's item and one negative."""

    @property
    def trials(self) -> int:
        """The maximum number of negatives drawn per event."""

    @_compiled
    def weight(self, tries: Any, candidates: Any) -> Any:
        """The weight of the pair whose negative was draw number `tries` among `candidates` items."""


class Listwise(_Ranking, Protocol):
    """A loss of an event's item against all its negatives at once."""

    @_compiled
    def loss_and_gradient(self, scores: Any, expected_counts: Any, slopes: Any, count: Any, items: Any) -> Any:
        """The loss of a list; writes its derivatives with respect to `scores` to `slopes`."""


class Sampler(Protocol):
    """Members of a sampler; see :mod:`fastmf.samplers`."""

    @property
    def source(self) -> str:
        """The population that negatives are drawn from, one of `SOURCES`."""

    @_compiled
    def acceptance(self, count: Any) -> Any:
        """The probability of accepting a drawn item that `count` events of the source name."""

    def check(self) -> None:
        """Raise ValueError for an invalid field."""


class Optimizer(Protocol):
    """Members of a stochastic gradient optimizer; see :mod:`fastmf.optimizers`."""

    @property
    def rate(self) -> float:
        """The learning rate, a field: an update may replace it."""

    @_compiled
    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        """The row and its optimizer memory after one step."""

    def state(self, k: int) -> int:
        """The number of float32 values of memory per row of `k` factors."""

    def check(self) -> None:
        """Raise ValueError for an invalid field."""


class Regularizer(Protocol):
    """Members of a regularizer; see :mod:`fastmf.regularizers`."""

    @_compiled
    def gradient(self, row: Any, anchor: Any) -> Any:
        """The gradient of the penalty at `row`."""

    def check(self) -> None:
        """Raise ValueError for an invalid field."""


class Follower(Protocol):
    """An object derived from a model's state, or fed by its Deltas, that is notified of every Delta.

    Notification is in two phases: `prepare` on every follower, then the change is committed, then `follow` on every
    follower. If a `prepare` raises, `abort` is called on that follower and on those prepared before it, and the change
    is refused.
    """

    def prepare(self, state: Any, delta: Any) -> None:
        """Do everything that can fail. The state has not changed yet; an exception refuses the change."""

    def abort(self) -> None:
        """Undo `prepare`: another follower has refused the change."""

    def follow(self, state: Any, delta: Any) -> None:
        """Process a Delta that has been committed. Must not fail, and must be idempotent."""

    def copy(self) -> Any:
        """The follower of a copy of the state."""


_BY_ROLE = {"solver": Optimizer, "regularizer": Regularizer, "sampler": Sampler}
_BY_KIND = {"pointwise": Pointwise, "pairwise": Pairwise, "listwise": Listwise, "all-pairs": Pointwise}


# --- validation of user-supplied values -------------------------------------------------------------------------------


def freeze(value: Any, role: str) -> Any:
    """Validate a loss, solver, regularizer or sampler against its protocol, and convert its fields to float32.

    The sampler field of a loss is validated and then replaced by 0: `Objective` holds the sampler beside the loss.

    Parameters
    ----------
    value : NamedTuple
    role : {"loss", "solver", "regularizer", "sampler"}

    Returns
    -------
    NamedTuple
        An instance of the same class with float32 fields; an ``ALS`` or ``Variational`` solver is returned as it is.

    Raises
    ------
    TypeError
        If the value is not a NamedTuple with the members of its role.
    ValueError
        If a field is not a finite float32 number (or not a bool, where its default is one), or the value's own
        ``check`` fails.
    """
    kind: Any = type(value)
    if kind in (ALS, Variational) and role == "solver":  # not passed to kernels
        value.check()
        return value
    if not (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        given = f"the class {value.__name__}" if isinstance(value, type) else kind.__name__
        raise TypeError(f"{role} must be a NamedTuple such as those of fastmf, got {given}{of_value(role, value)}")
    require_protocol(kind, role, _BY_ROLE.get(role) or _BY_KIND.get(str(getattr(value, "kind", "")), Pointwise))
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
    magnitude = abs(number if isinstance(number, int) else float(number))  # an int may exceed the range of float
    if not magnitude <= float(np.finfo(np.float32).max):
        raise ValueError(f"{name} must be a finite float32 number, got {number!r}")
    return np.float32(number)


@functools.cache
def require_protocol(kind: Any, role: str, protocol: Any) -> None:
    """Raise TypeError unless a class has the members of a protocol, with the parameters that it names."""
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
    """The methods of a protocol with their parameter names, and its other members with their docstrings."""
    known = {name: one for base in protocol.__mro__ for name, one in vars(base).items() if base.__module__ == __name__}
    methods = {name: _parameters(one) for name, one in known.items() if inspect.isfunction(one) and name[0] != "_"}
    return methods, {name: str(one.__doc__) for name, one in known.items() if isinstance(one, property)}


def _require_one_of(value: Any, name: str, choices: tuple[str, ...]) -> None:
    if getattr(value, name) not in choices:
        raise TypeError(f"{type(value).__name__}.{name} must be one of {choices}, got {getattr(value, name)!r}")
