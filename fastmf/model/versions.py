"""Versions: flush single events into one Delta, apply Deltas, and roll them back."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from fastmf.admission import check, inverse_of
from fastmf.delta import Delta
from fastmf.errors import StaleDelta, require_integer
from fastmf.followers.derived import DerivedRows
from fastmf.followers.popular import LivePopularity
from fastmf.gate import Gate
from fastmf.hints import hinted_methods
from fastmf.interactions import columns
from fastmf.journal import Journal
from fastmf.kernels.core.shape import shape_of
from fastmf.learners.choice import group_of
from fastmf.learners.nonsense import judge_values
from fastmf.log.events import SIDES
from fastmf.log.history import History
from fastmf.memory import default_budget, row_capacity
from fastmf.model.queries import Queries
from fastmf.model.settings import Setting
from fastmf.parameters.groups import Group, RowGroup, named
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table
from fastmf.popularity import Popularity
from fastmf.protocols import Follower
from fastmf.state import State

__all__ = ["Versions"]


@hinted_methods("rollback")
class Versions(Queries):
    """Methods that change a model by Deltas. Calls from several threads run one after the other."""

    __slots__ = ()
    factors: Setting[int]
    solver: Setting[Any]
    popularity: Setting[Popularity]
    biases: Setting[bool]
    seed: Setting[int]

    def flush(self) -> Delta:
        """Turn the single events since the last change of version into one Delta.

        Returns
        -------
        Delta
            The change that the single events made; with 0 events if there were none.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=4).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
        >>> model.learn_one(1, 20, 4.0)
        >>> model.flush().events, model.version
        (1, 1)
        """
        with self._lock:
            journal = self._fitted().journal or self._open_journal(None)
            if journal.events:
                judge_values(journal.state, self._objective)
            return journal.close()

    def apply(self, delta: Delta) -> Self:
        """Apply a Delta that a copy of this model made; both are then equal to the bit.

        Parameters
        ----------
        delta : Delta
            A change that starts from the present state of this model: ``delta.parent == model.head``.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        StaleDelta
            If the Delta starts from another state, belongs to another model, or the model has single events that are
            not flushed yet.
        ValueError
            If the Delta is malformed or does not fit the tables of the model.
        TypeError
            If `delta` is not a Delta.
        CapacityError
            If the memory budget is too small.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=4).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
        >>> replica = model.copy()
        >>> replica.apply(model.update(fastmf.Interactions([1], [20], values=[4]))).version
        1
        >>> bool((replica.user_factors == model.user_factors).all())
        True
        """
        with self._lock:
            state = self._fitted()
            check(state, delta)
            state.advance(delta)
        return self

    def rollback(self, delta: Delta | None = None, *, to: int | None = None) -> Delta:
        """Undo the newest update, or all updates after a version; every bit is restored.

        Parameters
        ----------
        delta : Delta, optional
            The newest update that has not been undone.
        to : int, optional
            The version to return to, one that the present state came from. Give either `delta` or `to`.

        Returns
        -------
        Delta
            The inverse change, to apply to copies.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        StaleDelta
            If `delta` is not the newest update, `to` is not a version that the present state came from, there is
            nothing to undo, or Deltas are needed that the model no longer keeps.
        ValueError
            Unless exactly one of `delta` and `to` is given, and `to` is an integer.
        TypeError
            If `delta` is not a Delta.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=4).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
        >>> before = model.predict_one(1, 20)
        >>> delta = model.update(fastmf.Interactions([1], [20], values=[4]))
        >>> inverse = model.rollback(delta)
        >>> model.predict_one(1, 20) == before, model.version
        (True, 2)
        """
        if (delta is None) == (to is None):
            raise ValueError("rollback takes a Delta or to=version")
        with self._lock:
            state = self._fitted()
            if delta is None:
                deltas, flush = state.trail.since(require_integer("to", to, -(2**63))), state.flush()
                if flush is not None:
                    deltas.append(flush.delta)
                if not deltas:
                    raise StaleDelta(f"there is nothing to undo after version {to}")
                parent = state.head if flush is None else flush.delta.head
                inverse = Delta.merge(deltas).inverse(parent, state.next_version)
                state.advance(inverse, flush)
            else:
                inverse = inverse_of(state, delta)
                state.advance(inverse)
        return inverse

    def attach(self, name: str, follower: Follower) -> Self:
        """Attach a follower, which is called with every change until the next fit.

        Parameters
        ----------
        name : str
            Name of the follower; one that is attached under the same name is replaced.
        follower : fastmf.protocols.Follower
            Its ``prepare``, ``abort`` and ``follow`` are called as the protocol describes.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        ValueError
            If the name is that of a follower which the model itself needs.
        TypeError
            If `name` is not a str.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a str, got {type(name).__name__}")
        with self._lock:
            state = self._fitted()
            if name in state.needed:
                raise ValueError(f"{name!r} is a follower that the model needs; choose another name")
            state.followers[name] = follower
        return self

    # --- inside -------------------------------------------------------------------------------------------------------

    def _open_journal(self, value: Any) -> Journal:
        """Open a journal for single events; an unfitted model gets a new state, initialised with this value."""
        with self._lock:
            if self._state is None and value is not None:
                values = columns.numbers("value", [value])
                self._objective.loss.check(values)
                state = self._begin(values, fits=False)
            else:
                state = self._fitted()
            if state.journal is None:
                journal = state.closed
                if journal is None or self._objective.sized:
                    journal = Journal(state, self._learner, self._objective)
                else:
                    journal.open()
                state.journal = journal
            return state.journal  # type: ignore[no-any-return]

    def _begin(self, values: np.ndarray, fits: bool) -> State:
        """Make an empty state for a model that starts with these values, by a fit or by learning them as new events."""
        prior = float(self._objective.loss.prior(values))
        state = self._empty(prior, 0.0) if self.biases else self._empty(0.0, prior)
        with np.errstate(over="ignore"):  # what values beyond float32 lead to is refused when it is trained
            self._learner.begin(state, values, self._objective, fits)
        return state

    def _empty(self, mean: float, centre: float) -> State:
        shape, budget = shape_of(self.factors, self.solver, self.biases), self.options.memory or default_budget()
        layout, gate = Layout(shape, self.options.storage, self._learner.further_widths(shape)), Gate(self._lock)
        groups: dict[str, Group] = {}
        for stream, side in enumerate(SIDES):
            start = HashedStart.of(self.seed, stream, self.factors, centre)
            groups[side] = RowGroup(Table(layout, start, budget))
        groups |= named(self._learner.groups(self._objective, shape, self.seed, budget))
        followers: dict[str, Any] = {"derived": DerivedRows(self._objective.mapped)} if self._objective.mapped else {}
        if not self.popularity.off:
            groups["popularity"], followers["popularity"] = group_of(self.popularity), LivePopularity(self.popularity)
        history = History(row_capacity(budget, layout.row_bytes), budget, gate)
        return State(groups, history, gate, self.seed, float(np.float32(mean)), centre, followers)
