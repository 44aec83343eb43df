"""Lists: stored recommendation lists; after an update, only those that it can have changed are recomputed."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.delta import Delta
from fastmf.errors import StaleDelta
from fastmf.followers.derived import moved_by
from fastmf.gate import Gate
from fastmf.log.events import SIDES
from fastmf.parameters.ids import one_id
from fastmf.ranking import KEPT, LOST, Pool, Ranking, answer_users, best_rows, renew, widened, width_of
from fastmf.state import State

__all__ = ["Lists"]

_NOTHING = np.empty(0, np.int32)
_LIVE = ("_state", "_loss", "_touched", "_users", "_positions", "_gate")  # attributes that a copy lacks, or makes anew


class Lists:
    """Recommendation lists of some or all users, kept up to date from one version of a model to the next.

    Create them with :meth:`fastmf.MF.lists` and call :meth:`refresh` with the Delta of each update. The lists are then
    bit-identical to the answer of :meth:`fastmf.MF.recommend` for the same users. Single events (``learn_one``) are
    taken into account with the Delta of the next ``flush``.

    A copy (``copy.copy``, ``copy.deepcopy`` or a pickle) is a snapshot of the lists without the model; it cannot be
    refreshed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmf
    >>> rng = np.random.default_rng(0)
    >>> users, items = rng.integers(0, 100, 3000), rng.integers(0, 80, 3000)
    >>> events = fastmf.Interactions(users, items, values=rng.normal(size=3000))
    >>> model = fastmf.MF(factors=8).fit(events[:2990], epochs=2)
    >>> lists = model.lists(k=5)
    >>> renewed = lists.refresh(model.update(events[2990:]))
    >>> set(events.users[2990:]) <= set(renewed)
    True
    >>> bool((lists.ids == model.recommend(model.users.values, k=5).ids).all())
    True
    """

    def __init__(self, state: State, loss: Any, k: int, users: np.ndarray | None, unseen: bool, threads: int) -> None:
        self._state, self._loss, self._k, self._unseen, self._threads = state, loss, k, unseen, threads
        self._users = users
        self._positions = None if users is None else {one: place for place, one in enumerate(users.tolist())}
        self._at = state.identity
        self._counts = {side: state.side(side).count for side in SIDES}
        self._touched = dict.fromkeys(SIDES, _NOTHING)  # rows, ascending
        self._key: tuple[Any, ...] = ()  # of live popularity
        self._whole, self._gate = False, Gate(state.gate.lock)
        self._queries = np.empty(0, np.int32)  # the user row of each list
        self._width, self._padding = 0, state.items.ids.padding
        user, item = (object if state.side(side).ids.kind == "str" else np.int64 for side in SIDES)
        kinds = {"rows": np.int32, "raw": np.float32, "ids": item, "scores": np.float32}
        self._held: dict[str, np.ndarray] = {name: np.empty((0, 0), kind) for name, kind in kinds.items()}
        self._held["users"] = np.empty(0, user)
        self._renew()

    def __len__(self) -> int:
        return self._queries.size

    def __repr__(self) -> str:
        return f"<Lists: {len(self)} users, {self._width} items each, version {self.version}>"

    def __getitem__(self, user: int | str) -> Ranking:
        """Return the list of one user, ``(ids, scores)``, each of shape (k,); KeyError for a user without a list."""
        return self._gate.ask(lambda: self._list_of(user), self._finish)

    def _list_of(self, user: int | str) -> Ranking:
        place = self._row_of(user) if self._positions is None else self._positions.get(one_id(user), -1)
        if not 0 <= place < len(self) or self.users[place] != user:  # the model may be ahead of the lists
            raise KeyError(user)
        return Ranking(self.ids[place].copy(), self.scores[place].copy())

    def _row_of(self, user: int | str) -> int:
        return self._state.ask(lambda: self._state.users.ids.row_of(user))

    @property
    def version(self) -> int:
        """Version of the model that the lists correspond to."""
        return self._at.version

    @property
    def users(self) -> np.ndarray:
        """Users of the lists, shape (users,): the ids asked for, or all known users in row order; a read-only view."""
        return self._view("users") if self._users is None else self._users

    @property
    def ids(self) -> np.ndarray:
        """Item ids, shape (users, k), best first, padded as in :class:`fastmf.ranking.Ranking`; a read-only view."""
        return self._view("ids")

    @property
    def scores(self) -> np.ndarray:
        """Scores of the items, float32, shape (users, k); a read-only view."""
        return self._view("scores")

    def refresh(self, delta: Delta) -> np.ndarray:
        """Bring the lists up to date with a change that was made to the model.

        Only some lists are recomputed: those of users whose row changed, and those that contain a changed item or that
        a changed item now enters. This scores each user against the changed items, and ranks the whole catalogue only
        for changed users, and for lists that an item has left without a known successor.

        Parameters
        ----------
        delta : Delta
            The Delta that follows the version of the lists; for single events, the one returned by ``flush``. If the
            model has changed further since, the Delta is noted and the lists are recomputed with the one that leads to
            the present state.

        Returns
        -------
        ndarray of ids, shape (m,)
            Users whose lists were recomputed (they may be equal to the old ones).

        Raises
        ------
        StaleDelta
            If the Delta belongs to another model, does not follow the version of the lists, or was not applied to the
            model; or if the lists are a copy, which has no model.
        TypeError
            If `delta` is not a Delta.
        """
        if not isinstance(delta, Delta):
            raise TypeError(f"expected a Delta, got {type(delta).__name__}")
        if delta.lineage != self._state.lineage:
            raise StaleDelta(f"the Delta belongs to model {delta.lineage[:8]}, the lists to {self._state.lineage[:8]}")
        with self._state.gate.lock:
            self._state.finish()
            self._require_next(delta)
            if delta.head != self._at.head:  # else the Delta was noted by a call that was interrupted
                self._note(delta)
            if delta.head != self._state.head:
                return self.users[:0]
            return self._renew()

    def _require_next(self, delta: Delta) -> None:
        """Raise StaleDelta unless the Delta starts at the version of the lists and was applied to the model."""
        if delta.reached == self._at and not self._whole:
            return
        if delta.parent != self._at.head:
            raise StaleDelta(f"the Delta starts from version {delta.parent_version}, the lists are at {self.version}")
        if delta.version > self._state.version:
            raise StaleDelta(f"the Delta leads to version {delta.version}, the model is at {self._state.version}")
        if not self._state.trail.passed(delta.head):
            raise StaleDelta(f"the Delta leads to a version {delta.version} that this model has not been through")

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._gate.ask(self._copied, self._finish)

    def _copied(self) -> tuple[Any, tuple[Any, ...]]:
        kept = {name: value for name, value in vars(self).items() if name not in _LIVE}
        kept["_held"] = {name: self._view(name).copy() for name in Ranking._fields}
        return _Copied, (kept, self.users.copy())

    # --- inside ------------------------------------------------------------------------------------------------------

    def _view(self, name: str) -> np.ndarray:
        if not self._whole:
            with self._state.gate.lock:
                self._finish()
        view = self._held[name][: len(self)] if name == "users" else self._held[name][: len(self), : self._width]
        view.flags.writeable = False
        return view

    def _note(self, delta: Delta) -> None:
        """Record what a Delta touched: rows that moved, were added or removed, and users whose seen items changed."""
        counts, touched, live = {}, {}, self._state.live is not None
        for side in SIDES:
            new, known = len(delta.new_ids[side]), self._counts[side]
            first = known if delta.restores is None else known - new
            counts[side] = known + new if delta.restores is None else first
            more = [moved_by(self._state, delta, side), np.arange(first, first + new, dtype=np.int32)]
            if side == "users" or live:  # live popularity changes with every event
                more.append(getattr(delta.log, side))
            touched[side] = np.union1d(self._touched[side], np.concatenate(more))  # at most all rows of a side
        self._counts, self._touched, self._at = counts, touched, delta.reached

    def _renew(self) -> np.ndarray:
        """Recompute the lists for the present state where needed; return the users whose lists were recomputed."""
        state = self._state
        users, items = (self._touched[side] for side in SIDES)
        self._gate.begin()
        fates = self._ask(users)
        self._whole = False  # until done: after an interrupt halfway all lists are recomputed
        owners = self._queries if self._unseen else np.full(len(self), -1, np.int32)
        rows, raw = self._held["rows"][: len(self)], self._held["raw"][: len(self)]
        if (fates == KEPT).any():
            renew(state, self._queries, owners, items, (rows, raw, fates), self._threads)
        lost = np.flatnonzero(fates == LOST)
        pool = Pool.of(state.items.count)
        best = best_rows(state, self._queries[lost], self._k, pool, owners[lost], self._threads)
        rows[lost], raw[lost] = (widened(*found, rows.shape[1]) for found in zip(best, (-1, -np.inf), strict=True))
        renewed = np.flatnonzero(fates != KEPT)
        found = answer_users(state, self._loss, self._queries[renewed], rows[renewed], raw[renewed])
        if self._users is None:
            self._held["users"][lost] = state.users.ids.take(lost)
        for name in Ranking._fields:
            self._held[name][renewed] = getattr(found, name)
        if self._padding != state.items.ids.padding:  # the filler has become the id of an item, or is free again
            self._padding = state.items.ids.padding
            self._held["ids"][: len(self)][rows < 0] = self._padding
        self._width = width_of(self._k, state.items.table)
        self._touched, self._whole = dict.fromkeys(SIDES, _NOTHING), True
        self._gate.end()
        return self.users[renewed]

    def _finish(self) -> None:
        """Recompute all lists for the present state if an interrupt has left them unfinished."""
        if not self._whole:
            self._state.finish()
            self._at, self._counts = self._state.identity, {side: self._state.side(side).count for side in SIDES}
            self._renew()
        self._gate.end()

    def _ask(self, touched: np.ndarray) -> np.ndarray:
        """Look up the user row of each list; return the fates: LOST where the row is new, another one, or touched."""
        known = self._state.users.ids
        if self._users is None:
            queries = np.arange(len(known), dtype=np.int32)
        else:
            known.require_kind(self._users, "users")
            queries = known.find(self._users)
        before, self._queries = self._queries, queries
        self._make_room(queries.size)
        live, key = self._state.live, self._key
        self._key = () if live is None else live.key(self._state)
        if not self._whole or self._key != key:
            return np.full(queries.size, LOST, np.uint8)
        fates = np.full(queries.size, KEPT, np.uint8)
        fates[np.isin(queries, touched)] = LOST
        if self._state.users.table.start.row is not None:  # unknown users stand at the prior, which is in no table
            fates[queries < 0] = LOST
        shared = min(before.size, queries.size)
        fates[:shared][queries[:shared] != before[:shared]] = LOST
        fates[shared:] = LOST
        return fates

    def _make_room(self, count: int) -> None:
        """Grow the arrays to hold so many lists of full width.

        They grow by at least a quarter, so that a new user costs amortised constant time.
        """
        items, held = self._state.items.table, self._held
        if held["rows"].shape[1] < width_of(self._k, items):
            width = min(self._k, items.count + items.count // 4 + 1)
            for name, filler in (("rows", -1), ("raw", -np.inf), ("ids", self._padding), ("scores", -np.inf)):
                held[name] = widened(held[name], filler, width)
        for name, array in held.items():
            if count > len(array):
                larger = np.empty((max(count, len(array) + len(array) // 4), *array.shape[1:]), array.dtype)
                larger[: len(array)] = array
                held[name] = larger


class _Copied(Lists):
    """A snapshot of lists, without their model."""

    def __init__(self, kept: dict[str, Any], users: np.ndarray) -> None:
        vars(self).update(kept)
        users.flags.writeable = False
        self._users, self._positions = users, {one: place for place, one in enumerate(users.tolist())}
        self._gate = Gate()

    def refresh(self, delta: Delta) -> np.ndarray:
        """Refuse to refresh: a snapshot has no model.

        Parameters
        ----------
        delta : Delta
            Ignored.

        Raises
        ------
        StaleDelta
            Always.
        """
        raise StaleDelta("these lists are a copy, without a model: refresh those of the model, or make new ones")
