"""How good a model is on events it has not seen: as a whole, for five groups, and how sure that is.

Everything is kept as sums per user (a `Tally`), so that blocks and seeds can be pooled, and whole users,
whose events are not independent, can be resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, require_integer
from fastmf.ids import IdMap
from fastmf.interactions import Interactions
from fastmf.metrics.errors import ERRORS, terms
from fastmf.metrics.places import UNRANKED, candidates, ranks
from fastmf.metrics.ranking import RANKINGS, Found

__all__ = ["GROUPS", "METRICS", "Evaluation", "Log", "Tally", "bootstrap", "evaluate", "exam", "group_masks", "sign"]

Metric = Literal[
    "rmse", "mae", "logloss", "calibration", "ndcg", "recall", "precision", "map", "mrr", "hit_rate", "auc"
]
METRICS: tuple[Metric, ...] = get_args(Metric)
SCORES_AT_ONCE = 1 << 24  # bounds the memory of full-catalogue scores
GROUPS = ("returning-user", "new-user", "new-item", "head", "tail")

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Model(Protocol):
    """What an evaluation asks of a model."""

    @property
    def users(self) -> IdMap: ...
    @property
    def items(self) -> IdMap: ...
    @property
    def user_factors(self) -> NDArray[np.float32]: ...
    @property
    def item_factors(self) -> NDArray[np.float32]: ...
    @property
    def item_biases(self) -> NDArray[np.float32]: ...
    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic], /) -> NDArray[np.float32]: ...


class Evaluation(NamedTuple):
    """The answer of `evaluate`.

    Attributes
    ----------
    metric : str
    value : float
    interval : (float, float)
        95 % interval of the value, from resampling whole users.
    by_group : dict
        Value per group of events, None where there are none; empty when the past was not given.
    shares : dict
        Share of the events that each group holds.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    by_group: dict[str, float | None]
    shares: dict[str, float]


class Log(NamedTuple):
    """Events whose ids are replaced by their positions among the distinct ids, in the order of the rows."""

    users: Codes
    items: Codes
    values: NDArray[np.float32]
    user_ids: NDArray[np.generic]
    item_ids: NDArray[np.generic]

    @classmethod
    def of(cls, *parts: Interactions) -> Log:
        """The log of some interactions, one after the other."""
        user_ids, users = np.unique(np.concatenate([part.users for part in parts]), return_inverse=True)
        item_ids, items = np.unique(np.concatenate([part.items for part in parts]), return_inverse=True)
        values = np.concatenate([part.values for part in parts])
        return cls(users, items, values, user_ids, item_ids)

    def part(self, rows: slice | Mask | Codes) -> Log:
        """Some of the events, under the same numbering."""
        return self._replace(users=self.users[rows], items=self.items[rows], values=self.values[rows])


class Tally(NamedTuple):
    """Sums of a metric per group (row 0 is all events) and user; the sum of two tallies pools their events.

    Attributes
    ----------
    metric : str
    totals, counts : ndarray of float64, shape (1 + len(GROUPS), users)
        The metric is the ratio of their sums (rmse is its root): squared errors and events, say, or NDCG and rankings.
    """

    metric: Metric
    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def empty(cls, metric: Metric, users: int) -> Tally:
        """A tally of no events."""
        shape = 1 + len(GROUPS), users
        return cls(metric, np.zeros(shape), np.zeros(shape))

    def add(self, other: Tally) -> Tally:
        """The tally of both."""
        return self._replace(totals=self.totals + other.totals, counts=self.counts + other.counts)

    def value(self, group: int = 0) -> float | None:
        """The metric over a group; None where it is empty."""
        count = self.counts[group].sum()
        return float(_finish(self.metric, self.totals[group].sum() / count)) if count > 0 else None

    def by_group(self) -> dict[str, float | None]:
        """The metric over each of `GROUPS`."""
        return {name: self.value(row) for row, name in enumerate(GROUPS, 1)}


def evaluate(
    model: Model, events: Interactions, metric: Metric = "rmse", past: Interactions | None = None, k: int = 10
) -> Evaluation:
    """How good a model is on events it has not been trained on.

    Parameters
    ----------
    model : MF
    events : Interactions
        What happened afterwards.
    metric : str
        Of predicted values: "rmse", "mae", "logloss" or "calibration". Of the whole catalogue ranked for each user,
        what is in `past` left out and ties counting against the model: "ndcg" (an event's value is its gain),
        "recall", "precision", "map", "mrr", "hit_rate" or "auc" (an event of positive value is relevant). Each is
        the function of that name in `fastmf.metrics`.
    past : Interactions, optional
        What the model was trained on: needed for the groups and for leaving out what a user has seen.
    k : int
        Places that count in rankings, for all but "auc".

    Returns
    -------
    Evaluation
        Its groups: "returning-user" and "new-user" (in `past` or not), and "head", "tail" and "new-item": the
        most popular items that together hold the first half of the past events, the other known items, and
        unknown ones.

    Raises
    ------
    DataError
        No events, none that count, or an unknown metric; values outside [0, 1] for "logloss".

    Examples
    --------
    >>> import fastmf
    >>> past = fastmf.Interactions([1, 2, 3], [10, 10, 20])
    >>> model = fastmf.MF.from_factors([[1.0], [1.0]], [[3.0], [2.0], [1.0]], users=[1, 2], items=[10, 20, 30])
    >>> evaluate(model, fastmf.Interactions([1, 2], [20, 30]), "mrr", past).value  # 10 is seen; 20, then 30 are not
    0.75
    """
    if not len(events):
        raise DataError("events: there are none to evaluate on")
    require_integer("k", k, 1)
    log = Log.of(events) if past is None else Log.of(past, events)
    known = 0 if past is None else len(past)
    questions = exam(log.part(slice(0, known)), log.part(slice(known, None)), metric, k)
    tally = questions.tally(model)
    value = tally.value()
    if value is None:
        raise DataError(f"events: {questions.nothing}")
    low, high = np.quantile(bootstrap([tally]), [0.025, 0.975])
    groups = {} if past is None else tally.by_group()
    shares = {} if past is None else questions.shares
    return Evaluation(metric, value, (float(low), float(high)), groups, shares)


def group_masks(past: Log, events: Log) -> dict[str, Mask]:
    """Which events fall into each of `GROUPS`, seen from the end of the past.

    Parameters
    ----------
    past, events : Log
        Under one numbering.

    Returns
    -------
    dict of ndarray of bool
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


def exam(past: Log, events: Log, metric: Metric, k: int = 10) -> RatingExam | RankingExam:
    """The questions that some events put to any model; prepared once, put to many.

    Parameters
    ----------
    past, events : Log
        Under one numbering.
    metric : str
        One of `METRICS`.
    k : int
        Places that count in rankings.

    Returns
    -------
    RatingExam or RankingExam
        With `tally(model)` and `shares`.

    Raises
    ------
    DataError
        An unknown metric.
    """
    if metric not in METRICS:
        raise DataError(f"metric: {metric!r} is none of {', '.join(METRICS)}")
    if metric in ERRORS:
        return RatingExam(metric, events, group_masks(past, events))
    width = past.item_ids.size
    pairs = events.users * width + events.items
    theirs = np.bincount(events.users, minlength=past.user_ids.size)[past.users] > 0
    seen = np.sort(past.users[theirs] * width + past.items[theirs])
    latest = pairs.size - 1 - np.unique(pairs[::-1], return_index=True)[1]  # repeated pairs count once
    fresh = latest[~_among(pairs[latest], seen) & (events.values[latest] > 0)]
    asked = events.part(fresh)
    askers, row = np.unique(asked.users, return_inverse=True)
    seen = seen[_among(seen // width, askers)]  # in the order of the askers
    hidden = np.searchsorted(askers, seen // width), seen % width
    return RankingExam(metric, asked, group_masks(past, asked), row, askers, hidden, k)


class RatingExam(NamedTuple):
    """Asks for the value of each event."""

    metric: Metric
    events: Log
    masks: dict[str, Mask]

    @property
    def nothing(self) -> str:
        """Why there may be no answer."""
        return f"their values do not add up to anything positive, by which {self.metric} divides"

    @property
    def shares(self) -> dict[str, float]:
        """Share of the events that each group holds."""
        return _shares(self.masks)

    def tally(self, model: Model) -> Tally:
        """The errors of a model."""
        users, items, values, user_ids, item_ids = self.events
        sums = terms(self.metric, values, model.predict(user_ids[users], item_ids[items]))
        masks = [np.ones(users.size, np.bool_), *(self.masks[name] for name in GROUPS)]
        totals, counts = (
            np.array([np.bincount(users[mask], part[mask], minlength=user_ids.size) for mask in masks], np.float64)
            for part in sums
        )
        return Tally(self.metric, totals, counts)


class RankingExam(NamedTuple):
    """Asks which items each user turned to next, of all that they had not seen."""

    metric: Metric
    events: Log
    masks: dict[str, Mask]
    rows: Codes
    askers: Codes
    hidden: tuple[Codes, Codes]
    k: int

    @property
    def nothing(self) -> str:
        """Why there may be no answer."""
        return "every pair is in the past already, or has no positive value, or leaves nothing else to rank"

    @property
    def shares(self) -> dict[str, float]:
        """Share of the events that each group holds."""
        return _shares(self.masks)

    def tally(self, model: Model) -> Tally:
        """What the rankings of a model are worth, one per user and group."""
        # among relevant items that tie, the least relevant comes first
        order = np.lexsort((self.events.values, self.rows))
        places, choice = self._answers(model, self.rows[order], self.events.items[order])
        found = Found.of(places, self.rows[order], self.events.values[order])
        tally = Tally.empty(self.metric, self.events.user_ids.size)
        parts = [found, *(found.part(self.masks[name][order]) for name in GROUPS)]
        for group, part in enumerate(parts):
            values = RANKINGS[self.metric](part, self.k, choice)
            defined = ~np.isnan(values)
            asked = self.askers[part.names[defined]]
            tally.totals[group, asked] = values[defined]
            tally.counts[group, asked] = 1.0
        return tally

    def _answers(self, model: Model, rows: Codes, items: Codes) -> tuple[Codes, Codes]:
        """The places of items in the rankings of askers, by ascending asker, and for auc how many items each ranks."""
        item_rows = model.items.rows(self.events.item_ids)  # of all items, -1 where the model has none
        places, choice = np.full(rows.size, UNRANKED), np.zeros(self.askers.size, np.int64)
        at_once = max(1, SCORES_AT_ONCE // max(1, len(model.items)))
        for start in range(0, self.askers.size, at_once):
            stop = min(start + at_once, self.askers.size)
            scores = self._scores(model, item_rows, start, stop)
            first, last = np.searchsorted(rows, [start, stop])
            answered = first + np.flatnonzero(item_rows[items[first:last]] >= 0)
            places[answered] = ranks(scores, rows[answered] - start, item_rows[items[answered]])
            if self.metric == "auc":  # no other asks
                choice[start:stop] = candidates(scores)
        return places, choice

    def _scores(self, model: Model, item_rows: Codes, start: int, stop: int) -> NDArray[np.float32]:
        """Scores of the model's items for some askers; what a user has seen is no candidate.

        A user's own bias shifts a whole row and is left out; an unknown user has a zero vector.
        """
        user_rows = model.users.rows(self.events.user_ids[self.askers[start:stop]])
        vectors = model.user_factors[user_rows] * (user_rows >= 0)[:, None]
        scores: NDArray[np.float32] = vectors @ model.item_factors.T
        scores += model.item_biases
        row, item = self.hidden
        inside = slice(*np.searchsorted(row, [start, stop]))
        seen = item_rows[item[inside]]
        scores[row[inside][seen >= 0] - start, seen[seen >= 0]] = -np.inf
        return scores


def bootstrap(tallies: Sequence[Tally], draws: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """Values of tallies over resampled users.

    A draw takes the same users for all tallies, so that their differences are paired.

    Parameters
    ----------
    tallies : sequence of Tally
        Over the same users.
    draws : int
    seed : int

    Returns
    -------
    ndarray of float64, shape (draws, len(tallies))

    References
    ----------
    Field, Welsh: Bootstrapping clustered data. J. R. Statist. Soc. B 69(3), 2007.
    """
    sums = np.stack([column for tally in tallies for column in (tally.totals[0], tally.counts[0])], axis=1)
    sums = sums[sums.any(axis=1)]
    random = np.random.default_rng(seed)
    size = len(sums)
    drawn = np.empty((draws, sums.shape[1]))
    for draw in range(draws):
        drawn[draw] = np.bincount(random.integers(size, size=size), minlength=size) @ sums
    totals, counts = drawn[:, 0::2], drawn[:, 1::2]
    ratios = np.divide(totals, counts, out=np.zeros_like(totals), where=counts > 0)
    return _finish(tallies[0].metric, ratios)


def sign(metric: str) -> float:
    """1 where more is better, -1 where less is, 0 where neither is: calibration is best at 1."""
    return 1.0 if metric in RANKINGS else 0.0 if metric == "calibration" else -1.0


def _finish(metric: Metric, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(mean) if metric == "rmse" else mean


def _among(values: Codes, ascending: Codes) -> Mask:
    """Which values are in an ascending array; searched, which takes a fraction of what hashing takes."""
    if not ascending.size:
        return np.zeros(values.size, np.bool_)
    found: Mask = ascending[np.minimum(np.searchsorted(ascending, values), ascending.size - 1)] == values
    return found


def _shares(masks: dict[str, Mask]) -> dict[str, float]:
    return {name: float(mask.mean()) if mask.size else 0.0 for name, mask in masks.items()}
