"""Contestants from elsewhere: models of other kinds, kept current and asked beside those of this library.

A guest is handed copies of the events up to a moment, and questions without answers: nothing that it holds leads to
events that come later.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Protocol

import numpy as np

from fastmf.errors import DataError, brief
from fastmf.evaluation import Metric, ranks_items
from fastmf.interactions import Interactions
from fastmf.model import MF
from fastmf.parameters.ids import IdMap

__all__ = ["Contestant", "Guest", "require_guest", "rows_of", "twin"]

_RANKS = ("ranked_by", "recommend", "predict")


class Contestant(Protocol):
    """A model that a comparison keeps current: an :class:`fastmf.MF`, or anything with these methods.

    Besides, it answers questions. For values by

    - ``predict(users, items) -> values``, each of shape (n,).

    For rankings by any one of these, of which the first is used that it has:

    - ``ranked_by(users) -> (queries, items, added)``: the scores are ``queries @ items.T + added``, in the order of its
      attribute ``items``, an array of ids;
    - ``recommend(users, k) -> (ids, scores)``, each of shape (users, k), the items with the highest scores, what the
      user has had included: it is left out by the evaluation, which asks for as many more. A list that ends early is
      filled with the score -inf;
    - ``predict(users, items)``, which is asked about all pairs of users and of the items that it has been handed.

    Users and items may be unknown to it. It is copied by its method `copy` if it has one, and by `copy.deepcopy`
    otherwise.
    """

    def fit(self, events: Interactions, /) -> Any:
        """Train from scratch."""

    def update(self, events: Interactions, /) -> Any:
        """Learn new events. What is returned may have an attribute `rows_moved`, a number that is added up."""


class Guest:
    """A contestant that is handed copies of events, and the ids of the items in them.

    Parameters
    ----------
    model : object
        With the methods of a `Contestant`.
    """

    def __init__(self, model: Any) -> None:
        self.model, self._told = model, IdMap()
        for name in _RANKS:  # an evaluation asks by the first of these that there is
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    @property
    def items(self) -> Any:
        """The ids of the items that it ranks: its own where it ranks by vectors, and those in its events elsewhere."""
        return self.model.items if hasattr(self.model, "ranked_by") else self._told

    def fit(self, events: Interactions) -> None:
        """Train from scratch."""
        self._told = IdMap()
        self.model.fit(self._handed(events))

    def update(self, events: Interactions) -> Any:
        """Learn new events."""
        return self.model.update(self._handed(events))

    def copy(self) -> Guest:
        """An independent copy."""
        new = Guest(twin(self.model))
        new._told = self._told.copy()
        return new

    def _handed(self, events: Interactions) -> Interactions:
        """A copy of events: a slice shares the memory of the whole log, in which the answers are."""
        self._told.extend(self._told.stage(events.items).fresh, checked=True)
        return events[np.arange(len(events))]


def require_guest(name: str, model: Any, metric: Metric) -> None:
    """Raise DataError unless a contestant has the methods that a comparison by a metric calls."""
    if isinstance(model, MF):
        return
    lacking = [method for method in ("fit", "update") if not callable(getattr(model, method, None))]
    if lacking:
        raise DataError(f"contestants: {brief(name)} has no method {' and no method '.join(lacking)}")
    answers = _RANKS if ranks_items(metric) else ("predict",)
    if not any(callable(getattr(model, method, None)) for method in answers):
        raise DataError(
            f"contestants: {brief(name)} has no method {' or '.join(answers)}, by which it would be asked for {metric}"
        )


def twin(model: Any) -> Any:
    """An independent copy of a contestant."""
    return model.copy() if hasattr(model, "copy") else deepcopy(model)


def rows_of(model: Any) -> int:
    """The number of rows of a model, 0 if it does not say."""
    known = model.model if isinstance(model, Guest) else model
    sides = (getattr(known, side, ()) for side in ("users", "items"))
    return sum(len(ids) for ids in sides if hasattr(ids, "__len__"))
