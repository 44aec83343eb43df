"""Held-out events prepared for evaluation: their values are to be predicted, or their items to be ranked."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, brief
from fastmf.evaluation.ranked import Asked, positions_in
from fastmf.evaluation.sums import GROUPS, METRICS, Metric, UserSums
from fastmf.interactions import Interactions
from fastmf.metrics.errors import ERRORS, terms
from fastmf.metrics.ranking import RANKINGS, Found
from fastmf.model.ids import Ids
from fastmf.parameters.ids import IdMap

__all__ = ["Log", "RankingHoldout", "RatingHoldout", "group_masks", "holdout"]

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Model(Protocol):
    """The part of a model that an evaluation uses."""

    @property
    def users(self) -> IdMap | Ids: ...
    @property
    def items(self) -> IdMap | Ids: ...
    @property
    def user_factors(self) -> NDArray[np.float32]: ...
    @property
    def unknown_user(self) -> NDArray[np.float32]: ...
    @property
    def item_factors(self) -> NDArray[np.float32]: ...
    @property
    def item_biases(self) -> NDArray[np.float32]: ...
    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic], /) -> NDArray[np.float32]: ...


class Log(NamedTuple):
    """Events with ids replaced by their positions among the sorted distinct ids, in the original order."""

    users: Codes
    items: Codes
    values: NDArray[np.float32]
    user_ids: NDArray[np.generic]
    item_ids: NDArray[np.generic]

    @classmethod
    def of(cls, *parts: Interactions) -> Log:
        """Make the log of several Interactions, concatenated."""
        user_ids, users = np.unique(np.concatenate([part.users for part in parts]), return_inverse=True)
        item_ids, items = np.unique(np.concatenate([part.items for part in parts]), return_inverse=True)
        values = np.concatenate([part.values for part in parts])
        return cls(users, items, values, user_ids, item_ids)

    def part(self, rows: slice | Mask | Codes) -> Log:
        """Select events; the numbering of the ids is kept."""
        return self._replace(users=self.users[rows], items=self.items[rows], values=self.values[rows])


def group_masks(past: Log, events: Log) -> dict[str, Mask]:
    """Return masks of the events in each of `GROUPS`, given the past events.

    Parameters
    ----------
    past, events : Log
        Past and held-out events, with the same numbering of ids.

    Returns
    -------
    dict of str to ndarray of bool
        The two groups of users cover all events, as do the three groups of items.
    """
    user_known = np.bincount(past.users, minlength=past.user_ids.size) > 0
    popularity = np.bincount(past.items, minlength=past.item_ids.size)
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]  # events of more popular items
    head = np.zeros(popularity.size, np.bool_)
    head[order[2 * before < popularity.sum()]] = True
    returning, known, top = user_known[events.users], popularity[events.items] > 0, head[events.items]
    return {
        "returning-user": returning,
        "new-user": ~returning,
        "new-item": ~known,
        "head": top,
        "tail": known & ~top,
    }


def holdout(
    past: Log, events: Log, metric: Metric, k: int = 10, exclude_seen: bool = True
) -> RatingHoldout | RankingHoldout:
    """Prepare held-out events once, to evaluate any number of models on them.

    Parameters
    ----------
    past, events : Log
        Past and held-out events, with the same numbering of ids.
    metric : str
        One of `METRICS`.
    k : int
        Cutoff of the ranking metrics: only the first k positions count.
    exclude_seen : bool
        Leave what a user has in `past` out of rankings. If False, it is ranked, and relevant if it is taken again.

    Returns
    -------
    RatingHoldout or RankingHoldout
        Its method `sums(model)` evaluates a model; `shares` are those of the groups.

    Raises
    ------
    DataError
        If the metric is unknown.
    """
    if not isinstance(metric, str) or metric not in METRICS:
        raise DataError(f"metric: {brief(metric)} is none of {', '.join(METRICS)}")
    if metric in ERRORS:
        return RatingHoldout(metric, events, group_masks(past, events))
    width = past.item_ids.size
    pairs = events.users * width + events.items
    seen = _pairs_of(past, events.users) if exclude_seen else np.zeros(0, np.int64)
    latest = pairs.size - 1 - np.unique(pairs[::-1], return_index=True)[1]  # repeated pairs count once
    fresh = latest[~_among(pairs[latest], seen) & (events.values[latest] > 0)]
    asked = events.part(fresh)
    query_users, row = np.unique(asked.users, return_inverse=True)
    seen = seen[_among(seen // width, query_users)]  # in the order of the query users
    excluded = np.searchsorted(query_users, seen // width), seen % width
    return RankingHoldout(metric, asked, group_masks(past, asked), row, query_users, excluded, k)


def _pairs_of(past: Log, users: Codes) -> Codes:
    """The pairs of some users, each once, as ascending user * items + item."""
    theirs = np.bincount(users, minlength=past.user_ids.size)[past.users] > 0
    seen = np.sort(past.users[theirs] * past.item_ids.size + past.items[theirs])
    found: Codes = seen[np.diff(seen, prepend=-1) > 0]
    return found


class RatingHoldout(NamedTuple):
    """Held-out events whose values are to be predicted."""

    metric: Metric
    events: Log
    masks: dict[str, Mask]

    @property
    def nothing(self) -> str:
        """The reason for an undefined result, as used in an error message."""
        return f"their values do not add up to anything positive, by which {self.metric} divides"

    @property
    def shares(self) -> dict[str, float]:
        """Share of the events that each group holds."""
        return _shares(self.masks)

    def sums(self, model: Model) -> UserSums:
        """Compute the error sums of a model, per group and user.

        Parameters
        ----------
        model : Model
            A fitted model.

        Returns
        -------
        UserSums
            Sums of the terms of the metric.
        """
        users, items, values, user_ids, item_ids = self.events
        sums = terms(self.metric, values, model.predict(user_ids[users], item_ids[items]))
        masks = [np.ones(users.size, np.bool_), *(self.masks[name] for name in GROUPS)]
        totals, counts = (
            np.array([np.bincount(users[mask], part[mask], minlength=user_ids.size) for mask in masks], np.float64)
            for part in sums
        )
        return UserSums(self.metric, totals, counts)


class RankingHoldout(NamedTuple):
    """Held-out events whose items are to be ranked for their users, among all items but those that are excluded."""

    metric: Metric
    events: Log
    masks: dict[str, Mask]
    rows: Codes
    query_users: Codes
    excluded: tuple[Codes, Codes]
    k: int

    @property
    def nothing(self) -> str:
        """The reason for an undefined result, as used in an error message."""
        return "every pair is in the past already, or has no positive value, or leaves nothing else to rank"

    @property
    def shares(self) -> dict[str, float]:
        """Share of the events that each group holds."""
        return _shares(self.masks)

    def sums(self, model: Model) -> UserSums:
        """Compute the ranking metric of a model, per group and user.

        Parameters
        ----------
        model : Model
            A fitted model.

        Returns
        -------
        UserSums
            The value of the metric for each user, with count 1 where it is defined.
        """
        # of relevant items with equal scores, the least relevant comes first
        order = np.lexsort((self.events.values, self.rows))
        positions, choice = self._answers(model, self.rows[order], self.events.items[order])
        found = Found.of(positions, self.rows[order], self.events.values[order])
        sums = UserSums.empty(self.metric, self.events.user_ids.size)
        parts = [found, *(found.part(self.masks[name][order]) for name in GROUPS)]
        for group, part in enumerate(parts):
            values = RANKINGS[self.metric](part, self.k, choice)
            defined = ~np.isnan(values)
            asked = self.query_users[part.names[defined]]
            sums.totals[group, asked] = values[defined]
            sums.counts[group, asked] = 1.0
        return sums

    def _answers(self, model: Model, rows: Codes, items: Codes) -> tuple[Codes, Codes]:
        """Compute the positions of items in the rankings of query users, and the number of candidates of each user.

        Rows ascend. The bias of the user does not change the order and is ignored.
        """
        asked = Asked(
            self.events.user_ids[self.query_users],
            self.events.item_ids,
            (rows, items),
            self.excluded,
            None if self.metric == "auc" else self.k,
        )
        return positions_in(model, asked)


def _among(values: Codes, ascending: Codes) -> Mask:
    """Return a mask of the values that are in an ascending array; bisection is much faster than hashing here."""
    if not ascending.size:
        return np.zeros(values.size, np.bool_)
    found: Mask = ascending[np.minimum(np.searchsorted(ascending, values), ascending.size - 1)] == values
    return found


def _shares(masks: dict[str, Mask]) -> dict[str, float]:
    return {name: float(mask.mean()) if mask.size else 0.0 for name, mask in masks.items()}
