"""Choice of live popularity's part in rankings, by what users have just gone on to take.

Before a batch is learned, some of its users are asked: with each half-life and each weight, from none to popularity
alone, their new items are ranked among all that they have not had. With g the NDCG@10 of an expert, summed over
questions, of which those before a batch of n questions are multiplied by ``exp(-n / 3000)``, the best mean is served
once it is better than that of what is served by more than 2 %. Users without events, with few and with more are told
apart, but learn from each other: users without events as much as from 20 questions of their own, the others as much as
from 200.

Weights are shares of the mean standard deviation of a user's scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmf.followers.popular import KINDS, LivePopularity, Served, column_of, kinds_of, ladder, served_by
from fastmf.kernels.rank import popular
from fastmf.learners.job import UpdateJob
from fastmf.log.events import Events
from fastmf.parameters.groups import DenseGroup
from fastmf.parameters.moves import DenseMove
from fastmf.state import State

__all__ = ["chosen", "group_of"]

_SHARES = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])  # of the spread of scores, that one unit of the term weighs
_LEAST, _MOST = 32, 200  # questions of a batch: fewer are not worth preparing, and are asked of some batches only
_SOLVED, _STEPPED = 120.0, 60.0  # rows scored in questions for each event of a batch: what is cheap is asked less
_LIFE = 3000.0  # questions after which old ones count by 1 / e
_GAIN = 1.02  # by which another expert must be better
_FEWEST = 20.0  # questions before anything changes
_OTHERS = 20.0, 200.0, 200.0  # questions of their own that those of other users count as
_ALONE = _SHARES.size
_TOLD = ("users without events", "users with few events", "users with more events")


def group_of(popularity: Any) -> DenseGroup:
    """What is known of the experts, as parameters of a model."""
    columns = len(ladder(0, popularity.half_life))
    served = np.tile(Served(popularity.half_life or math.inf, popularity.weight or 0.0, False).numbers, (KINDS, 1))
    values = {"gains": np.zeros((KINDS, columns, _SHARES.size + 1)), "asked": np.zeros(KINDS), "at": np.zeros(1)}
    return DenseGroup(values | {"spread": np.zeros(1), "served": served, "share": np.zeros(KINDS)})


class _Questions(NamedTuple):
    """Users with events in a batch, and the known items in it; what they have had before is not asked about.

    Those of user n are targets[bounds[n]:bounds[n + 1]]. The row of a new user is -1.
    """

    users: np.ndarray
    bounds: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, state: State, batch: Events, most: int, turn: float) -> _Questions:
        """At most so many, of users evenly among those of the batch; from one batch to the next they take turns."""
        known, count = (batch.items < state.items.count) & (batch.values > 0), state.items.count
        who, what = batch.users[known].astype(np.int64), batch.items[known]
        everybody = np.unique(who)
        if everybody.size > most:
            step = everybody.size / most
            everybody = everybody[((np.arange(most) + turn) * step).astype(np.int64)]
            asked = everybody[np.minimum(np.searchsorted(everybody, who), most - 1)] == who
            who, what = who[asked], what[asked]
        pairs = np.unique(who * count + what)
        who, what = pairs // count, (pairs % count).astype(np.int32)
        who = np.where(who < state.users.count, who, -1 - who)  # a new user keeps a number of its own
        everybody, counts = np.unique(who, return_counts=True)
        bounds = np.concatenate([[0], np.cumsum(counts)])
        return cls(np.maximum(everybody, -1).astype(np.int32), bounds, what[np.argsort(who, kind="stable")])


def chosen(job: UpdateJob) -> tuple[dict[str, DenseMove], tuple[str, ...]]:
    """Ask the experts about a batch before it is learned; how what is known of them moves, and what is to be said."""
    state, trainable = job.state, job.recipe.trainable
    live = state.live
    if live is None or live.popularity.weight is not None or not state.items.count:
        return {}, ()
    if isinstance(trainable, Mapping) and not trainable.get("popularity", False):
        return {}, ()
    wanted = job.arrived.users.size * (_SOLVED if job.objective.alternating else _STEPPED) / state.items.count
    turn = (state.version * 0.618) % 1  # even over versions
    if turn * _LEAST >= wanted or not len(state.history):
        return {}, ()
    questions = _Questions.of(state, job.arrived, min(_MOST, max(_LEAST, int(wanted))), turn)
    if not questions.users.size:
        return {}, ()
    group: Any = state.groups["popularity"]
    live.catch_up(state)
    known = {name: value.copy() for name, value in group.values.items()}
    notes = _learn(state, live, questions, known)
    return ({}, ()) if notes is None else ({"popularity": group.move(known)}, notes)


def _learn(
    state: State, live: LivePopularity, questions: _Questions, known: dict[str, np.ndarray]
) -> tuple[str, ...] | None:
    """Learn from questions, and return what is to be said; None if their users have had everything before."""
    users, count, table = questions.users, state.items.count, state.users.table
    vectors = table.gather_or_unknown(users).factors
    if not known["spread"][0]:
        known["spread"][0] = _first_spread(state, vectors)
    gains = np.empty((users.size, live.logs.shape[1], _SHARES.size + 1))
    spreads, items = np.empty(users.size), state.items.table
    past, logs, weights = state.history.past("users"), live.logs[:count], _SHARES * known["spread"][0]
    orders = np.argsort(-logs.T, axis=1).astype(np.int32)
    content = items.factors, items.records, logs, orders, weights
    popular.judge(items.shape)(users, vectors, *content, past, questions.bounds, questions.targets, gains, spreads)
    asked = ~np.isnan(spreads)
    if not asked.any():
        return None
    users, gains, spreads = users[asked], gains[asked], spreads[asked]
    kinds, fading = kinds_of(state, users), math.exp(-users.size / _LIFE)
    _move_on(known, live, len(state.history))
    known["gains"] *= fading
    known["asked"] *= fading
    np.add.at(known["gains"], kinds, gains)
    np.add.at(known["asked"], kinds, 1.0)
    known["spread"] *= fading
    known["spread"] += (1 - fading) * spreads.mean()
    return tuple(note for kind in range(KINDS) if (note := _served(kind, known, live, len(state.history))))


def _move_on(known: dict[str, np.ndarray], live: LivePopularity, events: int) -> None:
    """Where half-lives have doubled with the log, what is known of each goes with it."""
    before, now = (
        [rung.half_life for rung in ladder(count, live.popularity.half_life)] for count in (int(known["at"][0]), events)
    )
    known["at"][0] = events
    if before != now:
        longest = max(len(before) - 2, 0)  # of those that end
        columns = [before.index(one) if one in before else longest for one in now]
        known["gains"] = known["gains"][:, columns].copy()


def _first_spread(state: State, vectors: np.ndarray) -> float:
    """The standard deviation of scores, from the first few users and some items."""
    size, table = state.users.table.shape.size, state.items.table
    rows = np.linspace(0, table.count - 1, min(table.count, 1000)).astype(np.int32)
    image = table.gather(rows)
    scores = vectors[:8, :size] @ image.factors[:, :size].T + image.records[:, 0]
    return float(scores.std(axis=1).mean()) or 1.0


def _served(kind: int, known: dict[str, np.ndarray], live: LivePopularity, events: int) -> str:
    """Decide what is served to a kind of users; say so where that changes, else return ''."""
    gains, asked = known["gains"][kind], known["asked"][kind]
    others = known["asked"].sum() - asked
    if others:
        share = min(1.0, _OTHERS[kind] / others)
        gains, asked = gains + share * (known["gains"].sum(axis=0) - gains), asked + share * others
    if asked < _FEWEST:
        return ""
    rungs, served = ladder(events, live.popularity.half_life), served_by(known["served"])[kind]
    means, place = gains / asked, (column_of(rungs, served.half_life), int(known["share"][kind]))
    best = np.unravel_index(int(np.argmax(means)), means.shape)
    if means[best] <= _GAIN * means[place]:
        return ""
    column, share = int(best[0]), int(best[1])
    alone = share == _ALONE
    weight = 1.0 if alone else float(_SHARES[share] * known["spread"][0])
    found = Served(rungs[column].half_life, weight, alone)
    known["share"][kind], known["served"][kind] = share, found.numbers
    what = "popularity alone" if alone else f"popularity with a weight of {weight:.3g}" if share else "the model alone"
    return (
        f"{_TOLD[kind]} are served {what}, half-life {found.half_life:.6g} events: NDCG@10 {means[best]:.4f} lately, "
        f"{means[place]:.4f} with what was served"
    )
