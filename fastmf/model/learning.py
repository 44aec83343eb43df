"""Learning: what changes a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, Unpack

import numpy as np

from fastmf.delta import Delta
from fastmf.errors import DataError, StaleDelta, require_flag, require_integer
from fastmf.gate import Gate
from fastmf.hints import hinted_methods
from fastmf.interactions import Interactions, columns
from fastmf.journal import Journal
from fastmf.kernels.core.launch import parallel_map, usable_threads
from fastmf.kernels.core.shape import shape_of
from fastmf.learners import learner_of
from fastmf.learners.decay import numbered, require_history_times, require_times
from fastmf.learners.fitting import Schedule, train
from fastmf.learners.nonsense import judge_values
from fastmf.learners.updating import make_delta
from fastmf.log.events import SIDES
from fastmf.log.history import History
from fastmf.memory import default_budget, row_capacity
from fastmf.model.queries import Queries, require_events
from fastmf.model.settings import Setting
from fastmf.pairs import Pairs
from fastmf.parameters.groups import Group, RowGroup, named
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table
from fastmf.plan import PARALLEL_FROM
from fastmf.protocols import Follower
from fastmf.recipes import HalfLife, Overrides, Update
from fastmf.state import State

__all__ = ["Learning"]

_PLAIN = Update()


@hinted_methods("fit", "partial_fit", "rollback")
class Learning(Queries):
    """Changes of a state; one at a time, whatever the thread."""

    __slots__ = ("_learner", "_lock", "_objective", "_state", "history_")
    factors: Setting[int]
    solver: Setting[Any]
    biases: Setting[bool]
    seed: Setting[int]
    history_: list[dict[str, Any]]

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        events: Interactions,
        epochs: int = 20,
        validation: float = 0.0,
        batch_size: int = 1,
        progress: bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
        half_life: HalfLife | None = None,
    ) -> Self:
        """Learn from zero; all events become the model's history. To go on from where the model is, :meth:`update`.

        Parameters
        ----------
        events : Interactions
        epochs : int
            Passes at most.
        validation : float
            Share of the events held out; training stops when their loss has not improved for two epochs, and the best
            epoch is kept.
        batch_size : int
            As in :class:`fastmf.Update`.
        progress : bool, optional
            Show a bar; by default where standard error is a terminal.
        callbacks : sequence of callables
            Each gets the record of every epoch, as in ``history_``.
        half_life : float or timedelta, optional
            The age at which an event counts half, in the unit of the times; as in :class:`fastmf.Update`.

        Raises
        ------
        DataError
            Where there are no events, a value is outside the domain of the loss, or `half_life` meets events without
            times.
        DivergenceError
            Where the loss or a row stops being finite. The model is as it was before, then and on any other failure.
        """
        self._require_events(events)
        if not len(events):
            raise DataError("events: there are none; a fit needs at least one")
        schedule = Schedule(epochs, validation, batch_size, progress, callbacks, half_life)
        schedule.check()
        if half_life is not None:
            require_times(events)
        with self._lock:
            threads = self._threads_for(len(events))
            state = self._begin(events.values)
            state.history.require_room(len(events))
            rows = parallel_map(lambda side: _start_rows(state, side, getattr(events, side)), SIDES, threads)
            state.history.build(numbered(events, *rows), state.users.count, state.items.count, threads=threads)
            del rows
            state.see(events.values)
            state.range[2] = float(events.dated)
            self._train(state, schedule, threads)
        return self

    def refit(
        self,
        epochs: int = 20,
        warm: bool = False,
        validation: float = 0.0,
        progress: bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
        half_life: HalfLife | None = None,
    ) -> Self:
        """Learn again from the model's own history: nobody has to keep the log beside the model.

        Ids keep their rows. As after :meth:`fit`, versions count from 0 and older Deltas do not fit any more.

        Parameters
        ----------
        epochs, validation, progress, callbacks, half_life
            As in :meth:`fit`.
        warm : bool
            Go on from the rows as they are; by default all start anew, which is a fit on all events so far.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        NotFittedError
            Where the model has learned nothing yet.
        DataError
            Where it has no history, as a model that was made from factors, or `half_life` meets events without times.
        DivergenceError
            Where the loss or a row stops being finite. The model is as it was before, then and on any other failure.

        Examples
        --------
        >>> import numpy as np
        >>> import fastmf
        >>> rng = np.random.default_rng(0)
        >>> events = fastmf.Interactions(rng.integers(0, 9, 200), rng.integers(0, 7, 200), rng.integers(1, 6, 200))
        >>> model = fastmf.MF(factors=4).fit(events[:150], epochs=5)
        >>> model.partial_fit(events[150:]).refit(epochs=5).version
        0
        >>> bool((model.user_factors == fastmf.MF(factors=4).fit(events, epochs=5).user_factors).all())
        True
        """
        schedule = Schedule(epochs, validation, 1, progress, callbacks, half_life)
        schedule.check()
        warm = require_flag("warm", warm)
        with self._lock:
            state = self._again(warm, half_life is not None)
            self._train(state, schedule, self._threads_for(len(state.history)))
        return self

    def _again(self, warm: bool, timed: bool) -> State:
        """A new state with the history of the present one, and its rows too if `warm`."""
        old = self._fitted()
        log, known = old.history.events, old.history
        if not log.users.size:
            raise DataError("events: the model has no history to learn from; fit with events")
        if timed:
            require_history_times(known)
        if warm:
            state = old.copy(Gate(self._lock))
            state.rename()
            return state
        state = self._begin(log.values)
        for side in SIDES:
            state.side(side).start(old.side(side).ids.values)
        state.history.require_room(log.users.size)
        state.history.build(log, old.users.count, old.items.count, known.untimed or 0, known.unweighted or 0)
        state.see(log.values)
        state.range[2] = old.range[2]
        return state

    def update(self, batch: Interactions, recipe: Update | None = None, **overrides: Unpack[Overrides]) -> Delta:
        """Learn from new events, moving only the rows that they concern. All or nothing.

        On an unfitted model it starts one, whose mean is that of the batch.

        Parameters
        ----------
        batch : Interactions
            New events; ids that the model does not know come in.
        recipe : Update, optional
            How to update; by default as suits the model's loss and solver.
        **overrides
            Fields of the recipe to replace for this call, such as ``trainable="users"`` or ``loss=losses.Huber(1.0)``.

        Returns
        -------
        Delta

        Raises
        ------
        DataError
            Where an id or a value cannot be used.
        DivergenceError, CapacityError
            Where a row would not be finite, or memory runs out. The model is as it was before, then too.
        """
        self._require_events(batch)
        recipe = _PLAIN if recipe is None else recipe
        if not isinstance(recipe, Update):
            raise TypeError(f"recipe must be a fastmf.Update, got {type(recipe).__name__}")
        if overrides:
            recipe = replace(recipe, **overrides)
        objective = self._objective.override(recipe.loss, recipe.regularizer)
        if recipe.loss is not None:  # the model's own has checked them already
            objective.loss.check(batch.values)
        with self._lock:
            if self._state is None and not len(batch):
                raise DataError("events: there are none; the first batch of a model needs at least one")
            state = self._begin(batch.values) if self._state is None else self._fitted()
            threads = usable_threads(self.options.threads)
            delta, flush = make_delta(state, batch, recipe, learner_of(objective), objective, threads), state.flush()
            if flush is not None:
                delta = replace(delta, parent=flush.delta.head)
            state.advance(delta, flush)
            self._state = state
        return delta

    def partial_fit(self, batch: Interactions) -> Self:
        """:meth:`update` with the default recipe, in scikit-learn's spelling; returns the model."""
        self.update(batch)
        return self

    def learn_one(self, user: int | str, item: int | str, value: float = 1.0) -> None:
        """Take one step on one event, at once: what ``update`` does with ``epochs=1, history_epochs=0``.

        The event happens now, so that no half-life would make it count less. A model whose solver is ALS solves the two
        rows instead, from a past that counts as it was logged: where that should decay, `update` with one event.

        The rows move in place; :meth:`flush` turns what happened since into one Delta. Every other change of the model
        flushes first, and so does an event that finds more than 4,096 rows of a side moved.

        Raises
        ------
        DataError
            Where an id or the value cannot be used; nothing has changed then.
        DivergenceError
            Where the step is not finite; nothing has changed then.
        ValueError
            Where the loss compares events with negatives.
        """
        lock = self._lock
        try:  # what a `with` would do takes twice as long
            lock.acquire()
            state = self._state
            journal = None if state is None else state.journal
            if journal is None or not journal.learn(user, item, value):
                self._learn_one(user, item, value)
        finally:
            if lock._is_owned():  # an interrupt may come first
                lock.release()

    def _learn_one(self, user: int | str, item: int | str, value: float) -> None:
        """The same where there is no journal yet, or one that is full."""
        if self._state is not None and self._state.journal is not None:
            self.flush()
        journal = self._open_journal(value)
        if not journal.learn(user, item, value):
            self.flush()
            self._open_journal(value).learn(user, item, value)
        self._state = journal.state

    def predict_one(self, user: int | str, item: int | str, clip: bool = True) -> float:
        """The prediction for one pair, as :meth:`predict` gives it for many."""
        state = self._state
        pairs = None if state is None else state.pairs
        if pairs is None:
            state = self._fitted()
            state.pairs = pairs = Pairs(state, self._objective)
        return pairs.predict(user, item, clip)

    def flush(self) -> Delta:
        """What :meth:`learn_one` did since the last change of version, as one Delta."""
        with self._lock:
            journal = self._fitted().journal or self._open_journal(None)
            if journal.events:
                judge_values(journal.state, self._objective)
            return journal.close()

    # --- change as a value --------------------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> Self:
        """Repeat a change that another copy of this model made.

        Raises
        ------
        StaleDelta
            Unless the model is at the version that the Delta starts from.
        """
        with self._lock:
            state = self._fitted()
            state.check(delta)
            state.advance(delta)
        return self

    def rollback(self, delta: Delta | None = None, *, to: int | None = None) -> Delta:
        """Undo the newest update, to the bit; or all updates after version `to`.

        Parameters
        ----------
        delta, to : Delta or int
            The newest update that has not been taken back, or a version that the present state came from.

        Returns
        -------
        Delta
            The inverse, to apply to other copies.

        Raises
        ------
        StaleDelta
            Where `delta` is not the newest, or older Deltas than the model still keeps would be needed.
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
                inverse = state.inverse_of(delta)
                state.advance(inverse)
        return inverse

    def attach(self, name: str, follower: Follower) -> Self:
        """Let a follower be told of every change from now on, until the next fit.

        Parameters
        ----------
        name : str
            Its own; a follower that goes by it already is replaced.
        follower : fastmf.protocols.Follower

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        ValueError
            Where the name is that of a follower that the model itself needs.
        """
        with self._lock:
            state = self._fitted()
            if name in state.needed:
                raise ValueError(f"{name!r} is a follower that the model needs; choose another name")
            state.followers[name] = follower
        return self

    # --- inside -------------------------------------------------------------------------------------------------------

    def _open_journal(self, value: Any) -> Journal:
        """A journal for single events; of a new state, with the mean of this value, where the model is unfitted."""
        with self._lock:
            if self._state is None and value is not None:
                values = columns.numbers("value", [value])
                self._objective.loss.check(values)
                state = self._begin(values)
            else:
                state = self._fitted()
            if state.journal is None:
                journal = state.closed
                if journal is None:
                    journal = Journal(state, self._learner, self._objective)
                else:
                    journal.open()
                state.journal = journal
            return state.journal  # type: ignore[no-any-return]

    def _require_events(self, events: Any) -> None:
        require_events("events", events)
        self._objective.loss.check(events.values)

    def _threads_for(self, events: int) -> int:
        """What a fit of so many events runs on."""
        return usable_threads(self.options.threads) if events >= PARALLEL_FROM else 1

    def _train(self, state: State, schedule: Schedule, threads: int) -> None:
        """Train a state, which becomes that of the model once all went well."""
        records = train(state, self._learner, self._objective, schedule, threads, self.options.deterministic)
        self._state, self.history_ = state, records

    def _begin(self, values: np.ndarray) -> State:
        """An empty state for a model whose first values these are."""
        prior = float(self._objective.loss.prior(values))
        return self._empty(prior, 0.0) if self.biases else self._empty(0.0, prior)

    def _empty(self, mean: float, centre: float) -> State:
        shape, budget = shape_of(self.factors, self.solver, self.biases), self.options.memory or default_budget()
        layout, gate = Layout(shape, self.options.storage), Gate(self._lock)
        groups: dict[str, Group] = {}
        for stream, side in enumerate(SIDES):
            start = HashedStart.of(self.seed, stream, self.factors, centre)
            groups[side] = RowGroup(Table(layout, start, budget))
        groups |= named(self._learner.groups(self.factors, self.seed, budget))
        history = History(row_capacity(budget, layout.row_bytes), budget, gate)
        return State(groups, history, gate, self.seed, float(np.float32(mean)), centre)


def _start_rows(state: State, side: str, ids: np.ndarray) -> np.ndarray:
    """Let the first ids of a side in; returns the row of each, where the history will keep it."""
    group = state.side(side)
    staged = group.ids.stage(ids, side, state.history.room(side, len(ids)))
    group.start(staged.fresh)
    return staged.rows
