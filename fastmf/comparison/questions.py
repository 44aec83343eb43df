"""The questions of a prequential comparison: the same for every strategy, each asked before anybody learns the answer.

Where values are predicted, every event of the later half is a question. Where items are ranked, a question is a user
who has events in a piece of the log between two cuts: the list is made without what the user had before the piece, and
the items of the piece are to be found on it. With repeats, everything is on the list, and whatever the user takes in
the piece is to be found. Of these, a seeded sample is asked: first pieces, then users of each.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.evaluation import GROUPS, Log, Metric, RankingHoldout, UserSums, group_masks, ranks_items
from fastmf.metrics.errors import terms

__all__ = ["SHOTS", "Answers", "Questions", "questions_of"]

Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

SHOTS = (0, 1, 2, 5, 10, 20)  # events of a new user so far, from which a point of the k-shot curve begins
PER_PIECE = 50  # rankings asked for in a piece, where not all are
CONFIDENCE = 0.9  # of the intervals whose coverage is counted


class Answers(NamedTuple):
    """How good the answers to all questions are.

    Attributes
    ----------
    losses : ndarray of float64, shape (1 or 1 + len(GROUPS), questions)
        The term that each question adds to the metric; for rankings, further rows count only the items of a group. NaN
        where the question was not asked, or nothing is to be found.
    covered : ndarray of float64, shape (questions,)
        1 where a value lay within its interval of 90 %, 0 where not, NaN where there was no interval.
    """

    losses: Floats
    covered: Floats

    @classmethod
    def none(cls, rows: int, size: int) -> Answers:
        """No answers yet."""
        return cls(np.full((rows, size), np.nan), np.full(size, np.nan))


class Questions(NamedTuple):
    """Questions in order of time.

    Attributes
    ----------
    metric : str
    log : Log
        The whole log.
    positions : ndarray of int64, shape (n,)
        Where in the log each is asked: what comes before has happened.
    users : ndarray of int64, shape (n,)
        Code of the user of each.
    shots : ndarray of int64, shape (n,)
        Events so far of a user who has none in the first half; -1 for the other users.
    groups : dict of str to ndarray of bool, shape (n,)
        By the first half: new users and items have no event there. Empty where items are ranked.
    asked : list of (first question, RankingHoldout)
        Of each piece in which rankings are asked for.
    all : int
        Number of questions of which these are a sample.
    """

    metric: Metric
    log: Log
    positions: Codes
    users: Codes
    shots: Codes
    groups: dict[str, Mask]
    asked: list[tuple[int, RankingHoldout]]
    all: int

    def __len__(self) -> int:
        return self.positions.size

    @property
    def empty(self) -> Answers:
        """Room for the answers of a strategy."""
        return Answers.none(1 + len(GROUPS) * ranks_items(self.metric), len(self))

    def between(self, start: int, end: int) -> slice:
        """The questions that are asked from one position up to another."""
        first, last = np.searchsorted(self.positions, [start, end])
        return slice(int(first), int(last))

    def ask(self, model: Any, start: int, end: int, into: Answers, intervals: bool = False) -> None:
        """Ask a model all questions from one position up to another; it is told users and items, and no values."""
        rows = self.between(start, end)
        if rows.start == rows.stop:
            return
        if ranks_items(self.metric):
            self._rank(model, rows, into)
            return
        at = self.positions[rows]
        users, items = self.log.user_ids[self.log.users[at]], self.log.item_ids[self.log.items[at]]
        values = self.log.values[at]
        if intervals:
            found, low, high = model.predict(users, items, interval=CONFIDENCE)
            into.covered[rows] = (low <= values) & (values <= high)
        else:
            found = model.predict(users, items)
        into.losses[0, rows] = terms(self.metric, values, found)[0]

    def _rank(self, model: Any, rows: slice, into: Answers) -> None:
        for first, piece in self.asked:
            if rows.start <= first < rows.stop:
                sums = piece.sums(model)
                totals, counts = sums.totals[:, piece.query_users], sums.counts[:, piece.query_users]
                here = slice(first, first + piece.query_users.size)
                into.losses[:, here] = np.where(counts > 0, totals, np.nan)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the questions in each group; where items are ranked, of the items to be found."""
        if self.groups:
            return {name: float(mask.mean()) for name, mask in self.groups.items()}
        masks = [piece.masks for _, piece in self.asked]
        return {name: float(np.concatenate([one[name] for one in masks]).mean()) for name in GROUPS}

    def row_and_mask(self, group: str | None) -> tuple[int, Mask]:
        """The row of answers, and the questions in it, that tell about a group; None for all events."""
        everything = np.ones(len(self), np.bool_)
        if group is None:
            return 0, everything
        return (0, self.groups[group]) if self.groups else (1 + GROUPS.index(group), everything)

    def sums(self, losses: Floats) -> UserSums:
        """Sums per user of the answers to all questions, for a bootstrap."""
        sums, known = UserSums.empty(self.metric, self.log.user_ids.size), ~np.isnan(losses)
        sums.totals[0] = np.bincount(self.users[known], losses[known], minlength=sums.totals.shape[1])
        sums.counts[0] = np.bincount(self.users[known], minlength=sums.totals.shape[1])
        return sums


def questions_of(
    log: Log, metric: Metric, start: int, cuts: Codes, queries: int, seed: int, repeats: bool = False
) -> Questions:
    """Make the questions about the events of a log from position `start`.

    Parameters
    ----------
    log : Log
        In order of time.
    metric : str
    start : int
    cuts : ndarray of int64
        All positions at which any strategy brings its model up to date, ascending from `start`.
    queries : int
        Of rankings, ask for about as many.
    seed : int
        Of the sample.
    repeats : bool
        Whether what a user had before is ranked, and asked about again.

    Returns
    -------
    Questions

    Raises
    ------
    DataError
        If there is nothing to ask about.
    """
    if ranks_items(metric):
        return _rankings(log, metric, start, cuts, queries, seed, repeats)
    positions = np.arange(start, log.users.size)
    before = _events_before(log.users)
    old = np.bincount(log.users[:start], minlength=log.user_ids.size) > 0
    shots = np.where(old[log.users[positions]], -1, before[positions])
    groups = group_masks(log.part(slice(0, start)), log.part(positions))
    return Questions(metric, log, positions, log.users[positions], shots, groups, [], positions.size)


def _rankings(log: Log, metric: Metric, start: int, cuts: Codes, queries: int, seed: int, repeats: bool) -> Questions:
    wanted = _last_times(log, start, cuts) if repeats else _first_times(log)
    wanted = wanted[wanted >= start]
    if not wanted.size:
        why = "no value is positive" if repeats else "every pair has been there before"
        raise DataError(f"events: the later half holds nothing to ask about: {why}")
    width = log.user_ids.size
    keys = (np.searchsorted(cuts, wanted, side="right") - 1) * width + log.users[wanted]  # a user in a piece
    everything = np.unique(keys)
    rows = _sample(everything, width, queries, np.random.default_rng(seed))
    chosen = np.isin(keys, rows)
    wanted, keys = wanted[chosen], keys[chosen]
    users, positions = rows % width, cuts[rows // width]
    begun = _Begun.of(log)
    theirs = [begun.before(user, int(position)) for user, position in zip(users, positions, strict=True)]
    old = np.bincount(log.users[:start], minlength=width) > 0
    shots = np.where(old[users], -1, [events.size for events in theirs])
    asked, past = [], log.part(slice(0, start))
    bounds = np.flatnonzero(np.diff(rows // width, prepend=-1, append=-1))
    for first, last in pairwise(bounds.tolist()):
        found = log.part(wanted[(keys >= rows[first]) & (keys <= rows[last - 1])])
        seen = [np.unique(log.items[events][: 0 if repeats else None]) for events in theirs[first:last]]
        excluded = np.repeat(np.arange(last - first), [some.size for some in seen]), np.concatenate(seen)
        query_users = users[first:last]
        at = np.searchsorted(query_users, found.users)
        asked.append((first, RankingHoldout(metric, found, group_masks(past, found), at, query_users, excluded, 10)))
    return Questions(metric, log, positions, users, shots, {}, asked, everything.size)


def _first_times(log: Log) -> Codes:
    """Positions of the events with a positive value whose pair has not been there before, ascending."""
    first = np.sort(np.unique(log.users * log.item_ids.size + log.items, return_index=True)[1])
    found: Codes = first[log.values[first] > 0]
    return found


def _last_times(log: Log, start: int, cuts: Codes) -> Codes:
    """Positions of the last event of each pair in each piece of the later half, if its value is positive, ascending."""
    places = np.arange(start, log.users.size)[::-1]
    pieces, pairs = np.searchsorted(cuts, places, side="right"), log.users * log.item_ids.size + log.items
    _, number = np.unique(pairs[places], return_inverse=True)
    latest = np.unique(pieces * (number.max(initial=0) + 1) + number, return_index=True)[1]
    found: Codes = np.sort(places[latest])
    return found[log.values[found] > 0]


def _sample(keys: Codes, width: int, queries: int, random: np.random.Generator) -> Codes:
    """About as many of the keys as are to be asked: in some pieces, a few users each."""
    if keys.size <= queries:
        return keys
    pieces = np.unique(keys // width)
    most = max(1, round(queries / min(PER_PIECE, keys.size / pieces.size)))
    if pieces.size > most:  # a random one of each of `most` runs of pieces
        edges = np.arange(most + 1) * pieces.size // most
        pieces = pieces[random.integers(edges[:-1], edges[1:])]
    keys = keys[np.isin(keys // width, pieces)]
    kept = random.random(keys.size) < queries / keys.size
    return keys[kept] if kept.any() else keys


class _Begun(NamedTuple):
    """The events of each user, in order of time."""

    order: Codes
    bounds: Codes

    @classmethod
    def of(cls, log: Log) -> _Begun:
        order = np.argsort(log.users, kind="stable")
        return cls(order, np.searchsorted(log.users[order], np.arange(log.user_ids.size + 1)))

    def before(self, user: int, position: int) -> Codes:
        theirs = self.order[self.bounds[user] : self.bounds[user + 1]]
        return theirs[: np.searchsorted(theirs, position)]


def _events_before(users: Codes) -> Codes:
    """How many events the user of each event has before it."""
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], users[order])
    before = np.empty(users.size, np.int64)
    before[order] = np.arange(users.size) - starts
    return before
