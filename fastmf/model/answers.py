"""Answers: what a model that has learned something can be asked. Nothing here changes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.errors import DataError, NotFittedError, require_integer
from fastmf.hints import hinted_methods, of_events
from fastmf.interactions import Interactions, columns
from fastmf.kernels.core.launch import usable_threads
from fastmf.kernels.rank import scores
from fastmf.learners import numbered, visit
from fastmf.lists import Lists
from fastmf.model.options import Options
from fastmf.parameters.ids import IdMap
from fastmf.protocols import Objective
from fastmf.ranking import Pool, Ranking, answer, best_for, best_items, most_similar
from fastmf.state import State

__all__ = ["Answers", "require_events"]


def require_events(name: str, given: Any) -> None:
    """Raise DataError, with what to write instead, unless these are Interactions."""
    if not isinstance(given, Interactions):
        raise DataError(f"{name} must be fastmf.Interactions, got {type(given).__name__}{of_events(given)}")


@hinted_methods("predict", "recommend", "fold_in", "lists", "similar_items", "similar_users")
class Answers:
    """Questions to a state; every one raises NotFittedError where there is none."""

    options: Options
    _objective: Objective
    _state: State | None

    def predict(self, users: Any, items: Any, clip: bool = True) -> np.ndarray:
        """Predictions for pairs.

        Parameters
        ----------
        users, items : array_like of ids, [n]
            A user or item that is not known contributes nothing: the prediction falls back on the mean and the other
            side's bias.
        clip : bool
            Keep predictions within the values seen so far. Those of losses for ranking are scores, and never clipped.

        Returns
        -------
        float32[n]
        """
        state = self._fitted()
        user_rows, item_rows = self._rows("users", users), self._rows("items", items)
        if user_rows.size != item_rows.size:
            raise DataError(f"items: {item_rows.size} rows, but users has {user_rows.size}")
        factors, out = state.factors, np.empty(user_rows.size, np.float32)
        clip = clip and self._objective.on_scale and factors.low <= factors.high
        limits = (factors.low, factors.high) if clip else (-np.inf, np.inf)
        loss = self._objective.loss
        tables = (factors.users.factors, factors.users.records, factors.items.factors, factors.items.records)
        kernel = scores.predict(factors.shape, self._objective.classes[0])
        kernel(user_rows, item_rows, *tables, np.float32(factors.global_mean), limits, loss, out)
        return out

    def recommend(
        self, users: Any, k: int = 10, exclude_seen: bool = True, items: Any = None, exclude: Any = None
    ) -> Ranking:
        """The best items of each user.

        Parameters
        ----------
        users : array_like of ids, [n]
            An unknown user gets the ranking of item biases.
        k : int
            Length of the lists.
        exclude_seen : bool
            Leave out items in the user's history.
        items : array_like of ids, optional
            Rank these only; unknown ids are ignored.
        exclude : array_like of ids, optional
            Leave these out for every user.

        Returns
        -------
        Ranking
            ``(ids, scores)``, each [n, k], best first; ties go by age of the item. Scores pass through the loss's link.
        """
        state = self._fitted()
        rows = self._rows("users", users)
        pool = self._pool(items, exclude)
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)
        return best_items(state, self._objective.loss, rows, k, pool, exclude_seen, threads)

    def _pool(self, items: Any, exclude: Any) -> Pool:
        """What may be recommended."""
        chosen = None if items is None else self._rows("items", items)
        barred = None if exclude is None else self._rows("items", exclude, "exclude")
        return Pool.of(len(self._fitted().ids["items"]), chosen, barred)

    def fold_in(
        self, session: Interactions, k: int = 10, exclude_seen: bool = True, items: Any = None, exclude: Any = None
    ) -> Ranking:
        """The best items of visitors who are not known, from what they have met in this session. Nothing is stored.

        Single events that were learned are flushed first.

        Parameters
        ----------
        session : Interactions
            Events of one visitor or several. User ids tell the visitors apart, and mean nothing beyond that; events
            with unknown items are ignored.
        k : int
            Length of the lists.
        exclude_seen : bool
            Leave out the items of the session.
        items, exclude : array_like of ids, optional
            As in :meth:`recommend`.

        Returns
        -------
        Ranking
            A line per visitor, in order of their first events. A visitor none of whose items is known gets the ranking
            of item biases.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 0.0]], [[1.0, 0.1], [0.9, 0.0], [0.0, 1.0]])
        >>> model.fold_in(fastmf.Interactions(["visitor"], [0]), k=2).ids
        array([[1, 2]])
        """
        require_events("session", session)
        self._settle()
        state = self._fitted()
        self._objective.loss.check(session.values)
        staged, rows = IdMap().stage(session.users, "users"), self._rows("items", session.items)
        events = numbered(session, staged.rows, rows)._replace(times=None).weighed().take(np.flatnonzero(rows >= 0))
        vectors = visit(state, events.contiguous(), len(staged.fresh), self._objective)
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)
        best = best_for(state, vectors, events, k, self._pool(items, exclude), exclude_seen, threads)
        return answer(state, self._objective.loss, np.full(len(staged.fresh), -1, np.int32), *best)

    def lists(self, k: int = 10, users: Any = None, exclude_seen: bool = True) -> Lists:
        """Recommendation lists to keep: :meth:`Lists.refresh` takes them along with each Delta.

        Parameters
        ----------
        k : int
            Length of the lists.
        users : array_like of ids, optional
            Whose; by default all known users, and those that come in.
        exclude_seen : bool
            Leave out items in the user's history.

        Returns
        -------
        fastmf.lists.Lists
        """
        state = self._fitted()
        asked = None
        if users is not None:
            asked = columns.ids("users", users)
            state.ids["users"].require_kind(asked, "users")
        threads = usable_threads(self.options.threads)
        return Lists(state, self._objective.loss, require_integer("k", k, 1), asked, exclude_seen, threads)

    def similar_items(self, items: Any, k: int = 10) -> Ranking:
        """The items whose vectors have the highest cosine with those of `items`, themselves left out."""
        return self._similar("items", items, k)

    def similar_users(self, users: Any, k: int = 10) -> Ranking:
        """The users whose vectors have the highest cosine with those of `users`, themselves left out."""
        return self._similar("users", users, k)

    def _similar(self, side: str, ids: Any, k: int) -> Ranking:
        state, rows = self._fitted(), self._rows(side, ids)
        if (rows < 0).any():
            row = int(np.argmax(rows < 0))
            raise DataError(f"{side}, row {row}: {np.asarray(ids).ravel()[row]!r} is not known")
        return most_similar(state, side, rows, require_integer("k", k, 1), usable_threads(self.options.threads))

    # --- what was learned ---------------------------------------------------------------------------------------------

    @property
    def user_factors(self) -> np.ndarray:
        """User vectors, [users, factors]; a read-only view in row order of :attr:`users`."""
        return self._fitted().factors.users.values()

    @property
    def item_factors(self) -> np.ndarray:
        """Item vectors, [items, factors]; a read-only view in row order of :attr:`items`."""
        return self._fitted().factors.items.values()

    @property
    def user_biases(self) -> np.ndarray:
        """User biases, float32[users]; a read-only view."""
        return self._fitted().factors.users.biases()

    @property
    def item_biases(self) -> np.ndarray:
        """Item biases, float32[items]; a read-only view."""
        return self._fitted().factors.items.biases()

    @property
    def global_mean(self) -> float:
        """Added to every score; set by the fit."""
        return self._fitted().factors.global_mean

    @property
    def users(self) -> IdMap:
        """User ids in row order."""
        return self._fitted().ids["users"]

    @property
    def items(self) -> IdMap:
        """Item ids in row order."""
        return self._fitted().ids["items"]

    @property
    def version(self) -> int:
        """How many changes this model has seen since it was fitted."""
        return self._fitted().version

    @property
    def lineage(self) -> str:
        """The identity that copies of this model share."""
        return self._fitted().lineage

    # --- inside ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Let pending single events become a Delta; there are none where nothing learns."""

    def _fitted(self) -> State:
        if self._state is None:
            raise NotFittedError("this model has learned nothing yet: call fit, update or MF.from_factors first")
        return self._state

    def _rows(self, side: str, ids: Any, column: str | None = None) -> np.ndarray:
        """Rows of ids, -1 where unknown."""
        checked = columns.ids(column or side, ids)
        self._fitted().ids[side].require_kind(checked, column or side)
        return self._fitted().ids[side].rows(checked)
