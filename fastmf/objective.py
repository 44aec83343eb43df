"""Objective: the loss of a model and how it is minimised, which have to go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import brief
from fastmf.optimizers import ALS, AdaGrad, Variational
from fastmf.popularity import Popularity
from fastmf.priors import Map, Mean, Zero
from fastmf.protocols import RANKING, Surrogate, freeze, require_protocol
from fastmf.regularizers import L2

__all__ = ["Objective", "popularity_of", "priors_of", "suited_to"]

_SIDES = ("users", "items")


class Objective(NamedTuple):
    """What is minimised and how: frozen values of a model.

    Attributes
    ----------
    loss, solver, regularizer : NamedTuple
        As returned by `freeze`.
    sampler : NamedTuple, optional
        The sampler of a ranking loss; None for other losses.
    priors : dict of str to Zero, Mean or Map
        What rows are drawn to, by side.
    """

    loss: Any
    solver: Any
    regularizer: Any
    sampler: Any = None
    priors: Any = None

    @property
    def ranks(self) -> bool:
        """Whether the loss compares events with negatives; the values of events are then weights."""
        return self.sampler is not None

    @property
    def values(self) -> tuple[Any, Any, Any]:
        """(loss, solver, regularizer): the values passed to every kernel."""
        return self[:3]

    @classmethod
    def of(cls, loss: Any, solver: Any, regularizer: Any, priors: Any = None) -> Objective:
        """Freeze and combine the caller's values; TypeError or ValueError if they are invalid or incompatible."""
        frozen = freeze(loss, "loss"), freeze(solver, "solver"), freeze(regularizer, "regularizer")
        made = cls(*frozen, _sampler_of(loss), dict(priors_of(priors)))._checked()
        if made.drawn and not (made.alternating and loss.kind == "all-pairs"):
            kind = "Map" if made.mapped else "Mean"
            raise ValueError(f"priors.{kind} is for losses.Confidence, not for {type(loss).__name__}: leave priors out")
        return made

    @property
    def drawn(self) -> bool:
        """Whether the rows of a side are drawn to their mean, or to what a map makes of their features."""
        return any(prior.strength for prior in self.priors.values())

    @property
    def mapped(self) -> dict[str, Map]:
        """The priors that are maps, by side."""
        return {side: prior for side, prior in self.priors.items() if isinstance(prior, Map)}

    def _checked(self) -> Objective:
        solver, loss = (type(value).__name__ for value in (self.solver, self.loss))
        if self.variational:
            return self._checked_variational(solver, loss)
        if not self.alternating:
            if self.loss.kind == "all-pairs":
                raise ValueError(f"{loss} needs solver=optimizers.ALS(): {solver} would have to visit every pair")
            return self
        if not hasattr(self.loss, "quadratic"):
            raise ValueError(f"{solver} solves losses that are quadratic, Squared and Confidence, not {loss}")
        if not isinstance(self.regularizer, L2) or not self.regularizer.weight:
            raise ValueError(f"{solver} needs a regularizer L2 with a weight > 0, got {self.regularizer!r}")
        return self

    def _checked_variational(self, solver: str, loss: str) -> Objective:
        if not hasattr(self.loss, "surrogate") or self.loss.kind != "pointwise":
            raise ValueError(
                f"{solver} is for losses of labels that have a surrogate, such as Squared and Logistic, not {loss}; "
                "use solver=optimizers.AdaGrad()"
            )
        kind: Any = type(self.loss)
        require_protocol(kind, "loss", Surrogate)
        if _depth(kind, "value") < _depth(kind, "surrogate"):
            raise ValueError(
                f"{loss} has a value of its own but inherits its surrogate, which {solver} would minimise: define "
                "surrogate too, or use solver=optimizers.AdaGrad()"
            )
        usual = freeze(getattr(self.loss, "regularizer", L2()), "regularizer")
        if (type(self.regularizer), self.regularizer) != (type(usual), usual):
            raise ValueError(
                f"{solver} learns priors and has no use for a regularizer, got {self.regularizer!r}; leave it out, or "
                "use solver=optimizers.AdaGrad()"
            )
        return self

    @property
    def on_scale(self) -> bool:
        """Whether predictions are on the scale of the values."""
        return not self.ranks and self.loss.kind != "all-pairs"

    @property
    def alternating(self) -> bool:
        """Whether rows are solved by alternating least squares; if not, they take gradient steps."""
        return isinstance(self.solver, ALS)

    @property
    def variational(self) -> bool:
        """Whether rows are normal distributions, by variational Bayes."""
        return isinstance(self.solver, Variational)

    @property
    def moderated(self) -> bool:
        """Whether predictions depend on how sure scores are: the mean of a function of them that is not linear."""
        return self.variational and not self.loss.learns_noise

    @property
    def sized(self) -> bool:
        """Whether the regularizer depends on the size of the log."""
        return hasattr(self.regularizer, "at")

    @property
    def classes(self) -> tuple[Any, ...]:
        """What kernels are specialised on."""
        return tuple(map(type, self[:3] if self.sampler is None else self[:4]))

    def override(self, loss: Any, regularizer: Any) -> Objective:
        """A copy with another loss or regularizer, where one is given."""
        if loss is None and regularizer is None:  # as in nearly every update
            return self
        changed = self
        if loss is not None:
            changed = changed._replace(loss=freeze(loss, "loss"), sampler=_sampler_of(loss))
        if regularizer is not None:
            changed = changed._replace(regularizer=freeze(regularizer, "regularizer"))
        return changed._checked()

    def at_size(self, events: int, users: int, items: int) -> Objective:
        """A copy for a log of so many events and rows; a regularizer may depend on them."""
        if not self.sized:
            return self
        per_row = 2.0 * events / max(users + items, 1)  # each event is one of a user and one of an item
        return self._replace(regularizer=freeze(self.regularizer.at(per_row), "regularizer"))

    def at_rate(self, rate: float) -> Objective:
        """A copy with another learning rate."""
        return self._replace(solver=self.solver._replace(rate=np.float32(rate)))


def suited_to(loss: Any) -> dict[str, Any]:
    """The default solver, regularizer, priors and popularity of a loss."""
    return {
        "solver": getattr(loss, "solver", AdaGrad()),
        "regularizer": getattr(loss, "regularizer", L2()),
        "priors": priors_of(getattr(loss, "priors", None)),
        "popularity": getattr(loss, "live", Popularity(weight=0)),
    }


def popularity_of(given: Any, objective: Objective) -> Popularity:
    """Popularity after a check; TypeError or ValueError if it is invalid, or the model predicts values."""
    if not isinstance(given, Popularity):
        raise TypeError(f"popularity must be fastmf.Popularity(...), got {brief(given)}")
    given.check()
    if objective.on_scale and not given.off:
        raise ValueError(
            f"popularity is for models that rank: {type(objective.loss).__name__} predicts values; leave it out"
        )
    return given


def priors_of(given: Any) -> dict[str, Any]:
    """The priors of both sides, Zero where none is given; TypeError or ValueError if one is invalid.

    A dict of both is returned as it is: scikit-learn demands that parameters are.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f'priors must be a dict such as {{"users": priors.Mean(3)}}, got {brief(given)}')
    given = {} if given is None else given if isinstance(given, dict) else dict(given)
    for side, prior in given.items():
        if side not in _SIDES:
            raise ValueError(f"priors has {brief(side)}; it may have users and items")
        if not isinstance(prior, (Zero, Mean, Map)):
            raise TypeError(
                f"priors[{side!r}] must be priors.Zero() or priors.Mean(...), or priors.Map(...), got {brief(prior)}"
            )
        prior.check()
    return given if len(given) == len(_SIDES) else {side: given.get(side, Zero()) for side in _SIDES}


def _sampler_of(loss: Any) -> Any:
    return freeze(loss.sampler, "sampler") if getattr(loss, "kind", None) in RANKING else None


def _depth(kind: type, name: str) -> int:
    """How far up its bases a class takes a member from."""
    return next(depth for depth, base in enumerate(kind.__mro__) if name in vars(base))
