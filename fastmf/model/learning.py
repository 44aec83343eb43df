"""Learning: fits, updates and single events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, Unpack

from fastmf.delta import Delta
from fastmf.errors import DataError, require_flag
from fastmf.hints import hinted_methods
from fastmf.interactions import Interactions
from fastmf.kernels.core.launch import usable_threads
from fastmf.learners import learner_of
from fastmf.learners.decay import require_times
from fastmf.learners.fitting import Schedule, train
from fastmf.learners.updating import Arrived, make_delta, suited
from fastmf.model.beginning import again, arriving, begun
from fastmf.model.queries import require_events
from fastmf.model.versions import Versions
from fastmf.pairs import Pairs
from fastmf.plan import PARALLEL_FROM
from fastmf.recipes import HalfLife, Overrides, Update
from fastmf.state import State

__all__ = ["Learning"]

_PLAIN = Update()


@hinted_methods("fit", "partial_fit")
class Learning(Versions):
    """Methods that train a model. Calls from several threads run one after the other."""

    __slots__ = ("_learner", "_lock", "_objective", "_state", "history_")
    history_: list[dict[str, Any]]

    def fit(
        self,
        events: Interactions,
        epochs: int | None = None,
        validation: float = 0.0,
        batch_size: int = 1,
        progress: bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
        half_life: HalfLife | None = None,
    ) -> Self:
        """Train from scratch; the events become the model's history. To train further, :meth:`update`.

        Parameters
        ----------
        events : Interactions
            Training events, at least one.
        epochs : int, optional
            Maximum number of passes over the events, from 0. By default a fit ends by itself: see the notes.
        validation : float
            Share of the events held out, in [0, 1). Training stops when their loss has not improved for two epochs, and
            the rows of the best epoch are kept.
        batch_size : int
            Events per step, as in :class:`fastmf.Update`.
        progress : bool, optional
            Show a progress bar; by default only if standard error is a terminal.
        callbacks : sequence of callables
            Called after every epoch with its record, as in ``history_``.
        half_life : float or timedelta, optional
            Age at which the weight of an event has halved, in the unit of the times; as in :class:`fastmf.Update`.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        DataError
            If there are no events, a value is outside the domain of the loss, or `half_life` is given and the events
            have no times.
        ValueError
            If `epochs`, `validation`, `batch_size`, `progress`, `callbacks` or `half_life` is invalid, or the solver
            (``Variational``, ``ALS``) or the loss does not support a `batch_size` other than 1.
        DivergenceError
            If the loss or a row becomes infinite or NaN.
        CapacityError
            If the memory budget is too small.

        Notes
        -----
        On any error the model stays as it was.

        Without `epochs`, ``Variational`` (always) and ``ALS`` end when a sweep changes little, after at most 60 and 20.
        Gradient steps are judged by held-out events, at most 2 % of all and 10,000 (with negatives, the latest of some
        users): they end after 20 to 100 epochs, once the loss of these events (``"validation"`` in ``history_``, every
        second epoch) has not improved for a quarter of them. The rows of the best epoch then have one pass over all
        events, the last record. Logs of less than 10,000 events have 20 epochs, as has ``refit(warm=True)``.

        Examples
        --------
        >>> import fastmf
        >>> events = fastmf.Interactions(users=[1, 1, 2], items=[10, 20, 10], values=[5, 3, 4])
        >>> model = fastmf.MF(factors=4).fit(events, epochs=3)
        >>> len(model.users), len(model.items), len(model.history_)
        (2, 2, 3)
        """
        self._require_events(events)
        if not len(events):
            raise DataError("events: there are none; a fit needs at least one")
        schedule = Schedule(epochs, validation, batch_size, progress, callbacks, half_life).checked()
        if half_life is not None:
            require_times(events)
        with self._lock:
            threads = self._threads_for(len(events))
            state = begun(self._begin(events.values, fits=True), events, self._objective.mapped, threads)
            self._train(state, schedule, threads)
        return self

    def refit(
        self,
        epochs: int | None = None,
        warm: bool = False,
        validation: float = 0.0,
        progress: bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
        half_life: HalfLife | None = None,
    ) -> Self:
        """Train again on the model's own history, so that the log need not be kept beside the model.

        Ids keep their rows. As after :meth:`fit`, versions count from 0, and older Deltas are refused.

        Parameters
        ----------
        epochs, validation, progress, callbacks, half_life
            As in :meth:`fit`.
        warm : bool
            Start from the current rows. By default rows are initialised anew: a full fit on all events so far.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If the model has no history (it was made from factors), or `half_life` is given and there are no times.
        ValueError
            If an argument is invalid, as for :meth:`fit`, or `warm` is not a bool.
        DivergenceError
            If the loss or a row becomes infinite or NaN. The model stays as it was, as on any other error.

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
        warm = require_flag("warm", warm)
        schedule = Schedule(epochs, validation, 1, progress, callbacks, half_life, warm).checked()
        with self._lock:
            state = again(self, self._fitted(), warm, half_life is not None)
            self._train(state, schedule, self._threads_for(len(state.history)))
        return self

    def update(
        self,
        batch: Interactions,
        recipe: Update | None = None,
        features: Mapping[str, Any] | None = None,
        **overrides: Unpack[Overrides],
    ) -> Delta:
        """Train on new events, moving only the rows that they concern; all or nothing.

        An unfitted model is initialised by its first batch, whose mean becomes the global mean.

        Parameters
        ----------
        batch : Interactions
            New events. Unknown users and items get new rows.
        recipe : Update, optional
            How to update; by default what suits the model's loss and solver.
        features : dict of str to Features or tuple of Features, optional
            What has become known of ``"users"`` or ``"items"``, for a side that has a ``priors.Map``: views of its
            names and widths. New ids become rows of the model, with or without events in the batch, which may be
            empty; what is known of other ids is replaced.
        **overrides
            Fields of the recipe to replace for this call, such as ``trainable="users"``.

        Returns
        -------
        Delta
            The change: which rows moved and how, new ids, loss before and after, seconds. :meth:`rollback` undoes it,
            :meth:`apply` repeats it on a copy.

        Raises
        ------
        DataError
            If an id or a value is invalid, features do not fit, or a half-life is set and events have no times.
        TypeError
            If `recipe` is not an :class:`fastmf.Update`, or an override is not one of its fields.
        ValueError
            If a field of the recipe is invalid, or does not apply to the model's solver or loss, or there are features
            of a side without a map.
        DivergenceError
            If a row would become infinite or NaN.
        CapacityError
            If the memory budget is too small.

        Notes
        -----
        On any error the model stays as it was.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=4).fit(fastmf.Interactions([1, 2], [10, 20], values=[5, 3]), epochs=1)
        >>> delta = model.update(fastmf.Interactions([1, 3], [20, 20], values=[4, 2]))
        >>> delta.events, delta.new_users, model.version
        (2, array([3]), 1)
        """
        self._require_events(batch)
        recipe = _PLAIN if recipe is None else recipe
        if not isinstance(recipe, Update):
            raise TypeError(f"recipe must be a fastmf.Update, got {type(recipe).__name__}")
        recipe = suited(recipe, self._learner)
        if overrides:
            recipe = replace(recipe, **overrides)
        given = Arrived(batch, arriving(features, self._objective.mapped))
        objective = self._objective.override(recipe.loss, recipe.regularizer)
        if recipe.loss is not None:  # the model's own has checked them already
            objective.loss.check(batch.values)
        with self._lock:
            if self._state is None and not len(batch):
                raise DataError("events: there are none; the first batch of a model needs at least one")
            state = self._begin(batch.values, fits=False) if self._state is None else self._fitted()
            threads = usable_threads(self.options.threads)
            flush = state.flush()
            delta = make_delta(state, given, recipe, learner_of(objective), objective, threads, flush)
            state.advance(delta, flush)
            self._state = state
        return delta

    def partial_fit(self, batch: Interactions) -> Self:
        """Call :meth:`update` with the default recipe, as scikit-learn's incremental estimators do.

        Parameters
        ----------
        batch : Interactions
            New events, as in :meth:`update`.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        DataError, DivergenceError, CapacityError
            As for :meth:`update`.
        """
        self.update(batch)
        return self

    def learn_one(self, user: int | str, item: int | str, value: float = 1.0) -> None:
        """Learn one event immediately: one step, as ``update`` takes with a batch of it.

        (With gradient steps, as with ``epochs=1, history_epochs=0``.) With ALS the rows of the user and the item are
        solved instead, from their whole history; past events count as they were logged. For a half-life, call
        :meth:`update` with one event.

        Rows move in place; :meth:`flush` returns all single events since the last change of version as one Delta. Every
        other change of the model flushes first, as does an event that arrives when more than 4,096 rows of a side have
        moved.

        Parameters
        ----------
        user, item : int or str
            Ids of the kind that the model has. Unknown ones get new rows.
        value : float
            Rating, label or count, in the domain of the loss.

        Raises
        ------
        DataError
            If an id or the value is invalid.
        DivergenceError
            If a row would become infinite or NaN.
        ValueError
            If the loss compares events with negatives: use :meth:`update` with one event instead.
        CapacityError
            If the memory budget is too small.

        Notes
        -----
        On any error the model stays as it was.
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
        """Learn an event where there is no journal yet, or the journal is full."""
        if self._state is not None and self._state.journal is not None:
            self.flush()
        journal = self._open_journal(value)
        if not journal.learn(user, item, value):
            self.flush()
            self._open_journal(value).learn(user, item, value)
        self._state = journal.state

    def predict_one(self, user: int | str, item: int | str, clip: bool = True) -> float:
        """Predict the value of one (user, item) pair.

        Parameters
        ----------
        user, item : int or str
            A user id and an item id; unknown ones are handled as in :meth:`predict`.
        clip : bool
            Clip the prediction to the range of values seen so far, as in :meth:`predict`.

        Returns
        -------
        float
            The prediction that :meth:`predict` makes for the pair.

        Raises
        ------
        NotFittedError
            If the model has not learned anything yet.
        DataError
            If an id is invalid, or of another kind than the model's.
        ValueError
            If `clip` is not a bool.
        """
        if clip is not True:
            clip = require_flag("clip", clip)
        state = self._state
        pairs = None if state is None else state.pairs
        if pairs is None:
            state = self._fitted()
            state.pairs = pairs = Pairs(state, self._objective)
        return pairs.predict(user, item, clip)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _require_events(self, events: Any) -> None:
        require_events("events", events)
        self._objective.loss.check(events.values)

    def _threads_for(self, events: int) -> int:
        """The number of threads of a fit of so many events."""
        return usable_threads(self.options.threads) if events >= PARALLEL_FROM else 1

    def _train(self, state: State, schedule: Schedule, threads: int) -> None:
        """Train a state; it replaces that of the model if training succeeds."""
        records = train(state, self._learner, self._objective, schedule, threads, self.options.deterministic)
        self._state, self.history_ = state, records
