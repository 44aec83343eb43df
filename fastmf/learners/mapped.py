"""Rows that are drawn to what a map makes of their features: the maps of a state, and how they follow the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from fastmf.equations import Drawn
from fastmf.kernels.core.shape import Shape
from fastmf.learners.job import UpdateJob
from fastmf.learners.working import WorkingSet
from fastmf.memory import aligned
from fastmf.parameters.features import FeatureTable, features_name
from fastmf.parameters.groups import Group
from fastmf.parameters.ids import Staged
from fastmf.parameters.maps import Maps
from fastmf.parameters.moves import Image, Move
from fastmf.parameters.ridge import Sums, Validated, shares_of_events
from fastmf.state import State

__all__ = [
    "FittedMap",
    "add_features",
    "begin_rows",
    "drawn_to_features",
    "maps_groups",
    "maps_moved",
    "maps_of",
    "recount",
    "refuse_single",
    "staged_with",
]


def maps_of(state: State) -> Maps | None:
    """The maps of a state, if it has any."""
    found = state.groups.get("maps")
    return found if isinstance(found, Maps) else None


def maps_groups(objective: Any, shape: Shape, budget: int) -> dict[str, Group]:
    """The groups of the maps and of the features that they read, if there are any."""
    if not objective.mapped:
        return {}
    found: dict[str, Group] = {"maps": Maps(shape, objective.mapped)}
    for side, prior in objective.mapped.items():
        found[features_name(side)] = FeatureTable(side, prior.views, budget)
    return found


def refuse_single(user: int, item: int, value: float) -> NoReturn:
    """Refuse a single event."""
    raise ValueError("learn_one solves no rows of a model with priors.Map; update a batch of one event")


# --- ids with features ------------------------------------------------------------------------------------------------


def staged_with(state: State, side: str, ids: np.ndarray, views: tuple[Any, ...]) -> tuple[Staged, Move | None]:
    """The rows of ids, those of the views being known from then on, and the move of their features."""
    group = state.side(side)
    if not views:
        return group.stage(ids, side), None
    table = state.groups[features_name(side)]
    assert isinstance(table, FeatureTable)
    named = table.named(views)
    group.ids.require_kind(ids, side)
    for view in views:
        group.ids.require_kind(view.ids, f"features of {side}")
    every = [one for one in (ids, *(view.ids for view in named.values())) if len(one)]
    staged = group.stage(np.concatenate(every) if every else ids, side)
    bounds = np.cumsum([len(ids), *map(len, named.values())])
    parts = np.split(staged.rows, bounds[:-1])
    given = dict(zip(named, zip(parts[1:], named.values(), strict=True), strict=True))
    move = table.changed(given)
    return Staged(parts[0], staged.fresh), move if move.rows.size else None


def add_features(state: State, side: str, views: tuple[Any, ...]) -> None:
    """Add the ids of views to a state that is about to be fitted, and their features."""
    group, table = state.side(side), state.groups[features_name(side)]
    known = group.count
    staged, move = staged_with(state, side, group.ids.take(np.arange(0)), views)
    group.prepare(staged.fresh)
    group.grow(known, staged.fresh)
    if move is not None:
        table.require(move, group.count)
        table.write(move)


def recount(state: State) -> None:
    """Bring the equations of maps, and the rows without events, in line with rows that have been rounded."""
    maps = maps_of(state)
    if maps is None:
        return
    for side in maps.priors:
        table, sums = state.side(side).table, Sums.zeros(maps.priors[side].width, maps.shape.size)
        features = maps.features(side).gather(np.arange(table.count, dtype=np.int32))
        shares = shares_of_events(state.history.counts(side, slice(table.count)))
        sums.of_rows(features, shares, table.whole().factors)
        maps.sums(side).array[:] = sums.array
        state.followers["derived"].write(state, side, np.flatnonzero(shares == 0))


# --- fit --------------------------------------------------------------------------------------------------------------


class FittedMap:
    """The map of a side while rows are fitted.

    Rows without events are zero meanwhile, so that they count for nothing.
    """

    def __init__(self, state: State, maps: Maps, side: str) -> None:
        self._maps, self._side, count = maps, side, state.side(side).count
        self._features = maps.features(side).gather(np.arange(count, dtype=np.int32))
        events = state.history.counts(side, slice(count))
        self._idle = np.flatnonzero(events == 0)
        self._validated = Validated(self._features, shares_of_events(events), maps.shape.size)
        self.drawn = Drawn(aligned(count, maps.shape.width), float(maps.priors[side].strength))
        maps.derived(side, self._features, self.drawn.rows)

    @classmethod
    def of(cls, state: State, side: str) -> FittedMap | None:
        """That of a side, if it has one; the same until the fit is over."""
        maps = maps_of(state)
        if maps is None or side not in maps.priors:
            return None
        if side not in maps.fitted:
            maps.fitted[side] = cls(state, maps, side)
        found: FittedMap = maps.fitted[side]
        return found

    def leave_out(self, rows: np.ndarray) -> None:
        """Make rows without events zero."""
        rows[self._idle] = 0

    def learn(self, rows: np.ndarray) -> None:
        """Learn the map to all rows, and what they are drawn to from now on."""
        weights = self._validated.learn(rows)
        self._maps.put(self._side, weights, self._validated.sums, self._validated.penalty)
        self._maps.derived(self._side, self._features, self.drawn.rows)
        self.leave_out(rows)

    def settle(self, state: State) -> None:
        """Learn the map to the rows of a state, and make those without events."""
        self.learn(state.side(self._side).table.whole().factors)
        self._maps.values["noise"][:] = 0
        del self._maps.fitted[self._side]
        state.followers["derived"].write(state, self._side, self._idle.astype(np.int32))


# --- update -----------------------------------------------------------------------------------------------------------


def _features_of(job: UpdateJob, side: str, rows: np.ndarray) -> np.ndarray:
    """The features of rows once the batch has been learned, float32[n, d]."""
    maps, move = maps_of(job.state), job.features.get(side)
    assert maps is not None
    found = maps.features(side).gather(rows)
    if move is not None:
        places = np.minimum(np.searchsorted(move.rows, rows), move.rows.size - 1)
        given = move.rows[places] == rows
        found[given] = move.after[0][places[given]]
    return found


def _priors_of(job: UpdateJob, side: str, rows: np.ndarray) -> np.ndarray:
    maps = maps_of(job.state)
    assert maps is not None
    return maps.derived(side, _features_of(job, side, rows))


def drawn_to_features(job: UpdateJob, side: str, working: WorkingSet) -> Drawn | None:
    """What the movable rows of a batch are drawn to; None if the side has no map."""
    maps = maps_of(job.state)
    if maps is None or side not in maps.priors:
        return None
    rows = working.rows[side][: working.movable[side]]
    return Drawn(_priors_of(job, side, rows), float(maps.priors[side].strength))


def begin_rows(job: UpdateJob, working: WorkingSet) -> None:
    """Let new rows begin as the rows of the prior, if they are drawn to features."""
    maps = maps_of(job.state)
    for side in () if maps is None else maps.priors:
        fresh = np.flatnonzero(working.rows[side] >= job.state.side(side).count)
        if fresh.size:
            begin, movable = _priors_of(job, side, working.rows[side][fresh]), fresh < working.movable[side]
            working.now[side].factors[fresh] = begin
            working.before[side].factors[fresh[movable]] = begin[movable]


class _Others(NamedTuple):
    """Rows that may not move, but have new events or new features; new ones begin as rows of the prior.

    Attributes
    ----------
    rows : int32[n]
    image : Image
    left : bool[n]
        Which are new and have events.
    """

    rows: np.ndarray
    image: Image
    left: np.ndarray

    @classmethod
    def of(cls, job: UpdateJob, working: WorkingSet, side: str, named: np.ndarray) -> _Others:
        """Those of a side, of which the batch names rows."""
        group, move = job.state.side(side), job.features.get(side)
        every = named if move is None else np.union1d(named, move.rows)
        rows = np.setdiff1d(every, working.rows[side][: working.movable[side]], assume_unique=True).astype(np.int32)
        image, new = group.gather(rows), rows >= group.count
        if new.any():
            image.factors[new] = _priors_of(job, side, rows[new])
        return cls(rows, image, new & np.isin(rows, named))

    def moves(self, working: WorkingSet, side: str) -> dict[str, Move]:
        """The move of a side with the values of new rows that may not move, if there are any."""
        if not self.left.any():
            return {}
        begun, movable = self.image.take(self.left), working.movable[side]
        images = working.before[side], working.now[side].head(movable)
        before, after = (Image.concatenate([image, begun]) for image in images)
        return {side: Move(np.concatenate([working.rows[side][:movable], self.rows[self.left]]), before, after)}


def maps_moved(job: UpdateJob, working: WorkingSet) -> dict[str, Any]:
    """How maps follow an update, and the features that came with it.

    A map moves unless its prior is not trainable, or ``trainable`` is a dict without ``"maps": True``. New rows that
    have events and may not move are those of the prior; their values are part of the Delta.
    """
    maps, trainable = maps_of(job.state), job.recipe.trainable
    if maps is None:
        return {}
    found: dict[str, Any] = {features_name(side): move for side, move in job.features.items()}
    after: dict[str, np.ndarray] = {}
    frozen = isinstance(trainable, Mapping) and not trainable.get("maps", False)
    for side, prior in maps.priors.items():
        named = np.unique(getattr(job.arrived, side), return_counts=True)
        others = _Others.of(job, working, side, named[0])
        found |= others.moves(working, side)
        sums = _sums_after(job, maps, side, (working, others), named)
        if sums is not None:
            after |= maps.moved(side, sums, held=frozen or not prior.trainable)
    return found | ({"maps": maps.move(after)} if after else {})


def _sums_after(
    job: UpdateJob,
    maps: Maps,
    side: str,
    moved: tuple[WorkingSet, _Others],
    named: tuple[np.ndarray, np.ndarray],
) -> Sums | None:
    """The normal equations after an update that names rows, so many times each; None if they stay as they are."""
    (working, others), group, size, movable = moved, job.state.side(side), maps.shape.size, moved[0].movable[side]
    rows = np.concatenate([working.rows[side][:movable], others.rows])
    known, hits = rows < group.count, np.zeros(rows.size, np.int64)
    places = np.minimum(np.searchsorted(named[0], rows), max(named[0].size - 1, 0))
    if named[0].size:
        hits = np.where(named[0][places] == rows, named[1][places], 0)
    events = np.where(known, job.state.history.counts(side, np.where(known, rows, 0)), 0)
    counted = np.flatnonzero(events + hits)
    if not counted.size:
        return None
    images = (image.factors for image in (working.before[side], working.now[side].head(movable)))
    before, after = (np.concatenate([image, others.image.factors])[counted, :size] for image in images)
    if group.table.layout.storage == "float16":
        after = after.astype(np.float16)
    less, more = shares_of_events(events[counted]), shares_of_events((events + hits)[counted])
    gone, come = less[:, None] * before.astype(np.float64), more[:, None] * after.astype(np.float64)
    rows = rows[counted]
    sums, new = maps.sums(side).copy(), _features_of(job, side, rows)
    if side not in job.features:
        sums.add(new, more - less, come - gone)
        return sums
    old = maps.features(side).gather(rows)
    same = (old == new).all(axis=1)
    sums.add(new[same], (more - less)[same], (come - gone)[same])
    sums.add(old[~same], -less[~same], -gone[~same])
    sums.add(new[~same], more[~same], come[~same])
    return sums
