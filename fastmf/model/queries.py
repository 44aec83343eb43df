"""Queries: predictions, recommendations and similar rows. Nothing here changes the model."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from fastmf.errors import DataError, require_choice, require_flag, require_integer
from fastmf.hints import hinted_methods, of_events
from fastmf.interactions import Interactions, columns
from fastmf.kernels.core.launch import usable_threads
from fastmf.learners.decay import numbered
from fastmf.learners.folding import fold_in
from fastmf.learners.job import Learner
from fastmf.lists import Lists
from fastmf.model.asked import checked_ids, pool_of, risk_of
from fastmf.model.learned import Learned
from fastmf.model.options import Options
from fastmf.model.predictions import Prediction, predicted, require_share
from fastmf.model.settings import Setting
from fastmf.model.vectors import vectors_of
from fastmf.objective import Objective
from fastmf.parameters.keys import numbered_alone
from fastmf.ranking import (
    FEWEST,
    Ranking,
    answer,
    best_for,
    best_items,
    in_pieces,
    leave_blank,
)
from fastmf.similar import most_alike, most_similar
from fastmf.uncertainty import COST, Wanted, best_by_beliefs

__all__ = ["Queries", "require_events"]


def require_events(name: str, given: Any) -> None:
    """Raise DataError, with a hint at the right call, unless `given` is Interactions."""
    if not isinstance(given, Interactions):
        raise DataError(f"{name} must be fastmf.Interactions, got {type(given).__name__}{of_events(given)}")


@hinted_methods("predict", "recommend", "fold_in", "lists", "similar_items", "similar_users")
class Queries(Learned):
    """Queries of a fitted model; each raises NotFittedError before the first fit or update."""

    __slots__ = ()
    options: Setting[Options]
    _lock: Any
    _learner: Learner
    _objective: Objective

    @overload
    def predict(self, users: Any, items: Any, clip: bool = True, interval: None = None) -> np.ndarray: ...
    @overload
    def predict(self, users: Any, items: Any, clip: bool = True, *, interval: float) -> Prediction: ...
    def predict(
        self, users: Any, items: Any, clip: bool = True, interval: float | None = None
    ) -> np.ndarray | Prediction:
        """Predict the value of (user, item) pairs.

        Parameters
        ----------
        users, items : array_like of ids, shape (n,)
            An unknown user or item contributes nothing: the prediction falls back to the global mean and the bias of
            the other side. With ``Variational`` or a prior it stands at the prior.
        clip : bool
            Clip predictions to the range of values seen so far. Predictions of ranking losses are scores, and are
            never clipped.
        interval : float, optional
            A probability, such as 0.9, with which a new value lies between two bounds; for ``Logistic``, with which the
            probability that is predicted does. Needs ``Variational``.

        Returns
        -------
        ndarray of float32, shape (n,), or Prediction
            On the scale of the values: the scores, passed through the loss's inverse link (with ``Logistic`` and
            ``Variational``, its mean over what the score may be). With `interval` (mean, low, high), three such arrays.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If `users` and `items` differ in length, or hold invalid ids or ids of another kind than the model's.
        ValueError
            If `clip` is not a bool, or `interval` no number between 0 and 1, or the solver is not ``Variational``.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]], users=["ann"], items=[7, 8])
        >>> model.predict(["ann", "ann"], [7, 8])
        array([11., 17.], dtype=float32)
        """
        state = self._fitted()
        asked = columns.ids("users", users), columns.ids("items", items)
        if asked[0].size != asked[1].size:
            raise DataError(f"items: {asked[1].size} rows, but users has {asked[0].size}")
        clip = require_flag("clip", clip) and self._objective.on_scale
        share = None if interval is None else require_share(interval, self._objective)
        return state.ask(lambda: predicted(state, asked, clip, self._objective, share))

    def recommend(
        self,
        users: Any,
        k: int = 10,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        risk: float | None = None,
        explore: str | None = None,
    ) -> Ranking:
        """Recommend the k items with the highest scores to each user.

        Parameters
        ----------
        users : array_like of ids, shape (n,)
            An unknown user gets the items with the highest biases; with ``Variational`` or a prior, those of the prior.
            Where there is neither a prior nor a bias, all scores would be zero, and the list is empty.
        k : int
            Length of the lists, at least 1. They are never longer than the catalogue.
        exclude_seen : bool
            Exclude the items in the user's history.
        items : array_like of ids, optional
            Candidate items; all by default. Unknown ids are ignored.
        exclude : array_like of ids, optional
            Items excluded for every user.
        risk : float, optional
            Rank by the mean of each score minus `risk` times its standard deviation, that of the noise of values aside:
            items come first that the user surely likes. A negative number is optimism: items come first that the user
            may like most (UCB, [1]_). 0 is the usual answer. Needs ``Variational``.
        explore : {"thompson"}, optional
            Rank by scores that are drawn from the beliefs: an item comes first with the probability that it is best
            [2]_. The user's vector and bias are drawn, and the items' for each user anew; the noise of values is not.
            A draw depends on the seed and the version of the model, the number of its events, the user's id and the
            item: an answer can be repeated until the model changes, and is another one then. Needs ``Variational``.

        Returns
        -------
        Ranking
            ``(ids, scores)``, each of shape (n, min(k, number of items)), best first; of items with the same score the
            older one comes first. Scores are those ranked by, on the scale of predictions. Lists with fewer candidates
            are padded with an id that the model does not know and a score of -inf.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If ids are of another kind than the model's.
        ValueError
            If `k` is not an integer from 1, `exclude_seen` is not a bool, `risk` is not a finite number, or `explore`
            is unknown; if both of these are given, or one without ``Variational``.

        References
        ----------
        .. [1] Auer (2002), Using confidence bounds for exploitation-exploration trade-offs.
        .. [2] Thompson (1933), On the likelihood that one unknown probability exceeds another in view of the evidence
           of two samples.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 0.0]], [[0.1, 0.0], [0.3, 0.0], [0.2, 0.0]], items=["a", "b", "c"])
        >>> best = model.recommend([0], k=2)
        >>> best.ids, best.scores
        (array([['b', 'c']], dtype=object), array([[0.3, 0.2]], dtype=float32))
        """
        state, asked, loss = self._fitted(), columns.ids("users", users), self._objective.loss
        chosen, barred = checked_ids("items", items), checked_ids("exclude", exclude)
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)
        exclude_seen = require_flag("exclude_seen", exclude_seen)
        subtracted = risk_of(risk, explore, self._objective)

        def rank(some: np.ndarray) -> Ranking:
            pool = pool_of(state, chosen, barred)
            if subtracted != 0:
                return best_by_beliefs(state, loss, some, pool, Wanted(k, exclude_seen, threads, subtracted))
            return best_items(state, loss, state.rows("users", some), k, pool, exclude_seen, threads)

        return in_pieces(state, asked, FEWEST * threads, rank, 1 if subtracted == 0 else COST)

    def ranked_by(self, users: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vectors by whose products :meth:`recommend` ranks: for indexes of other libraries, and for evaluations.

        Parameters
        ----------
        users : array_like of ids, shape (n,)
            Unknown ones stand at the prior.

        Returns
        -------
        queries : ndarray of float32, shape (n, d)
            A vector per user.
        items : ndarray of float32, shape (items, d)
            In row order of :attr:`items`.
        added : ndarray of float32, shape (items,)
            ``queries @ items.T + added`` are the scores of a loss that ranks, less what is the same for all items of a
            user. With live popularity, d is the number of factors and 3.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If ids are of another kind than the model's.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0]], [[0.5], [2.0]], items=[10, 20])
        >>> queries, items, added = model.ranked_by([0])
        >>> queries @ items.T + added
        array([[0.5, 2. ]], dtype=float32)
        """
        state, asked = self._fitted(), columns.ids("users", users)
        return state.ask(lambda: vectors_of(state, state.rows("users", asked)))

    def fold_in(
        self, session: Interactions, k: int = 10, exclude_seen: bool = True, items: Any = None, exclude: Any = None
    ) -> Ranking:
        """Recommend items to visitors without an account, from the events of their session. Nothing is stored.

        Parameters
        ----------
        session : Interactions
            Events of one or more visitors. User ids only tell the visitors of this call apart; events with unknown
            items are ignored.
        k : int
            Length of the lists, at least 1. They are never longer than the catalogue.
        exclude_seen : bool
            Exclude the items of the session.
        items, exclude : array_like of ids, optional
            Candidate items and excluded items, as in :meth:`recommend`.

        Returns
        -------
        Ranking
            As of :meth:`recommend`, with a row per visitor in the order of their first events. A visitor without any
            known item gets the list of an unknown user.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If `session` is not Interactions, a value is outside the domain of the loss, or ids are of another kind than
            the model's.
        ValueError
            If `k` is not an integer from 1, or `exclude_seen` is not a bool.
        DivergenceError
            If the vector of a visitor would not be finite.
        CapacityError
            If the memory budget is too small.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 0.0]], [[1.0, 0.1], [0.9, 0.0], [0.0, 1.0]])
        >>> model.fold_in(fastmf.Interactions(["visitor"], [0]), k=2).ids
        array([[1, 2]])
        """
        require_events("session", session)
        state = self._fitted()
        self._objective.loss.check(session.values)
        lines, visitors = numbered_alone(session.users)
        chosen, barred = checked_ids("items", items), checked_ids("exclude", exclude)
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)
        exclude_seen = require_flag("exclude_seen", exclude_seen)

        def rank() -> Ranking:
            rows = state.rows("items", session.items)
            events = numbered(session, lines, rows)._replace(times=None).weighed().take(np.flatnonzero(rows >= 0))
            vectors = fold_in(state, events.contiguous(), visitors, self._learner, self._objective)
            best = best_for(state, vectors, events, k, pool_of(state, chosen, barred), exclude_seen, threads)
            blank = np.bincount(events.users, minlength=visitors) == 0
            leave_blank(state, self._objective.loss, blank, *best)
            return answer(state, self._objective.loss, np.full(visitors, -1, np.int32), *best)

        return state.ask(rank)

    def lists(self, k: int = 10, users: Any = None, exclude_seen: bool = True) -> Lists:
        """Make recommendation lists that :meth:`Lists.refresh` keeps up to date from one Delta to the next.

        Parameters
        ----------
        k : int
            Length of the lists, at least 1. They are never longer than the catalogue.
        users : array_like of ids, optional
            Users to keep lists for; by default all known users, and new ones as they arrive.
        exclude_seen : bool
            Exclude the items in the user's history.

        Returns
        -------
        fastmf.lists.Lists
            The list of a user is ``lists[user]``.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If ids are of another kind than the model's.
        ValueError
            If `k` is not an integer from 1, or `exclude_seen` is not a bool.
        """
        state = self._fitted()
        asked = None if users is None else columns.ids("users", users)
        if asked is not None:
            state.users.ids.require_kind(asked, "users")
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)
        unseen = require_flag("exclude_seen", exclude_seen)
        with self._lock:
            return Lists(state, self._objective.loss, k, asked, unseen, threads)

    def similar_items(self, items: Any, k: int = 10, by: str = "factors") -> Ranking:
        """Find the items most similar to each of `items`, by the cosine of their vectors or of what is known of them.

        Parameters
        ----------
        items : array_like of ids, shape (n,)
            Known items.
        k : int
            Length of the lists, at least 1. They are never longer than the catalogue.
        by : {"factors", "content"}
            What is compared: the items' vectors, or the features that their :class:`fastmf.priors.Map` reads, all views
            together. Items without features are in no list by content, and have empty ones.

        Returns
        -------
        Ranking
            ``(ids, scores)``, each of shape (n, min(k, number of items)), most similar first, without the item itself;
            scores are cosines, from -1 to 1.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If an id is not known.
        ValueError
            If `k` is not an integer from 1, or `by` is "content" and items have no map.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 0.0]], [[1.0, 0.1], [0.9, 0.0], [0.0, 1.0]])
        >>> model.similar_items([0], k=1).ids
        array([[1]])
        """
        return self._similar("items", items, k, require_choice("by", by, ("factors", "content")))

    def similar_users(self, users: Any, k: int = 10) -> Ranking:
        """Find the users most similar to each of `users`, by the cosine of their vectors.

        Parameters
        ----------
        users : array_like of ids, shape (n,)
            Known users.
        k : int
            Length of the lists, at least 1.

        Returns
        -------
        Ranking
            As of :meth:`similar_items`.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If an id is not known.
        ValueError
            If `k` is not an integer from 1.
        """
        return self._similar("users", users, k)

    def _similar(self, side: str, ids: Any, k: int, by: str = "factors") -> Ranking:
        state, asked = self._fitted(), columns.ids(side, ids)
        threads, k = usable_threads(self.options.threads), require_integer("k", k, 1)

        def rank() -> Ranking:
            rows = state.rows(side, asked)
            if (rows < 0).any():
                row = int(np.argmax(rows < 0))
                raise DataError(f"{side}, row {row}: {asked[row]!r} is not known")
            return most_alike(state, side, rows, k) if by == "content" else most_similar(state, side, rows, k, threads)

        return state.ask(rank)
