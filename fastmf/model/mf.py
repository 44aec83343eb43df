"""MF: the door."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from fastmf import files, losses, optimizers, regularizers
from fastmf.delta import Delta
from fastmf.engine import shape_of
from fastmf.errors import DataError, StaleDelta, require_flag, require_integer
from fastmf.hints import hinted_methods
from fastmf.interactions import Interactions, columns
from fastmf.journal import Journal
from fastmf.kernels.core.launch import at_once, usable_threads
from fastmf.learners import Schedule, make_delta, numbered, require_times, train
from fastmf.memory import default_budget
from fastmf.model import saving
from fastmf.model.answers import Answers, require_events
from fastmf.model.given import Given
from fastmf.model.options import Options, Settings
from fastmf.parameters.table import SIDES, Factors
from fastmf.plan import PARALLEL_FROM
from fastmf.protocols import Loss, Objective, Optimizer, Regularizer
from fastmf.recipes import Overrides, Update, presets
from fastmf.state import State, commit

__all__ = ["MF", "load"]

_LARGEST_ROW = 1024  # factors: a row is one vector, and compile time grows with it


@hinted_methods("__init__", "fit", "partial_fit", "rollback")
class MF(Answers):
    """Matrix factorisation that is fitted once and then kept current.

    The score of a user and an item is ``global_mean + b_u + c_i + p_u . q_i``; the loss's link turns it into a
    prediction.

    Parameters
    ----------
    factors : int
        Length of the vectors p and q.
    loss
        A value of :mod:`fastmf.losses`, or your own.
    solver, regularizer : optional
        Values of :mod:`fastmf.optimizers` and :mod:`fastmf.regularizers`, or your own; by default those that suit the
        loss, its ``solver`` and ``regularizer``, or ``AdaGrad()`` and ``L2()`` where it names none.
    biases : bool
        False drops b, c and the mean: predictions are exactly ``link(p_u . q_i)``.
    seed : int
        Of everything random.
    options : Options
        How to run.

    Attributes
    ----------
    history_ : list of dict
        A record per epoch of the last fit: epoch, loss (mean, each event before its step), validation, seconds.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmf
    >>> rng = np.random.default_rng(0)
    >>> u, i = rng.integers(0, 50, 2000), rng.integers(0, 40, 2000)
    >>> events = fastmf.Interactions(u, i, values=3.0 + (u % 2) - (i % 2))
    >>> model = fastmf.MF(factors=8).fit(events[:1500])
    >>> delta = model.update(events[1500:])
    >>> delta.events, model.version
    (500, 1)
    >>> model.predict([3], [4]).round()
    array([4.], dtype=float32)

    References
    ----------
    Koren, Bell, Volinsky (2009), Matrix Factorization Techniques for Recommender Systems.
    """

    def __init__(
        self,
        factors: int = 64,
        loss: Loss = losses.Squared(),
        solver: Optimizer | optimizers.ALS | None = None,
        regularizer: Regularizer | None = None,
        biases: bool = True,
        seed: int = 0,
        options: Options = Options(),
    ) -> None:
        if not isinstance(options, Options):
            raise ValueError(f"options must be fastmf.Options, got {options!r} ({type(options).__name__})")
        options.check()
        self.factors = require_integer("factors", factors, 1, _LARGEST_ROW)
        self.biases = require_flag("biases", biases)
        self.seed = require_integer("seed", seed, 0, 2**63 - 1)
        self.options = options
        self.loss = loss
        self.solver = getattr(loss, "solver", optimizers.AdaGrad()) if solver is None else solver
        self.regularizer = getattr(loss, "regularizer", regularizers.L2()) if regularizer is None else regularizer
        self._objective = Objective.of(self.loss, self.solver, self.regularizer)
        self._state: State | None = None
        self._journal: Journal | None = None  # open while single events are learned
        self.history_: list[dict[str, Any]] = []

    # --- learning -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        events: Interactions,
        epochs: int = 20,
        validation: float = 0.0,
        batch_size: int = 1,
        progress: bool | None = None,
        callbacks: Sequence[Callable[[dict[str, Any]], None]] = (),
        half_life: float | None = None,
    ) -> MF:
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
        half_life : float, optional
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
        threads = usable_threads(self.options.threads) if len(events) >= PARALLEL_FROM else 1
        state = self._begin(events.values)
        state.history.require_room(len(events))
        rows = at_once(lambda side: state.start_rows(side, getattr(events, side)), SIDES, threads)
        state.history.build(numbered(events, *rows), *state.counts, threads=threads)
        del rows
        state.factors.see(events.values)
        records = train(state, self._objective, schedule, threads, self.options.deterministic)
        self._state, self._journal, self.history_ = state, None, records
        return self

    def update(self, batch: Interactions, recipe: Update | None = None, **overrides: Unpack[Overrides]) -> Delta:
        """Learn from new events, moving only the rows that they concern. All or nothing.

        On an unfitted model it starts one, whose mean is that of the batch.

        Parameters
        ----------
        batch : Interactions
            New events; ids that the model does not know come in.
        recipe : Update, optional
            How to update; by default ``presets["default"]``, or "solve" where rows are solved.
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
        if recipe is None:
            recipe = presets["solve" if self._objective.closed_form else "default"]
        if not isinstance(recipe, Update):
            raise TypeError(f"recipe must be a fastmf.Update, got {type(recipe).__name__}")
        if overrides:
            recipe = replace(recipe, **overrides)
        objective = self._objective.override(recipe.loss, recipe.regularizer)
        if recipe.loss is not None:  # the model's own has checked them already
            objective.loss.check(batch.values)
        self._settle()
        if self._state is None and not len(batch):
            raise DataError("events: there are none; the first batch of a model needs at least one")
        state = self._state if self._state is not None else self._begin(batch.values)
        delta = make_delta(state, batch, recipe, objective, usable_threads(self.options.threads))
        self._commit(state, delta)
        self._state = state
        return delta

    def partial_fit(self, batch: Interactions) -> MF:
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
        journal = self._journal or self._open_journal(value)
        if not journal.learn(user, item, value):
            self.flush()
            journal.learn(user, item, value)
        if self._journal is None:
            self._state, self._journal = journal.state, journal

    def predict_one(self, user: int | str, item: int | str, clip: bool = True) -> float:
        """The prediction for one pair, as :meth:`predict` gives it for many."""
        journal = self._journal = self._journal or self._open_journal(None)
        predicted = journal.predict(user, item)
        if not clip or not journal.on_scale:
            return predicted
        factors = journal.state.factors
        return min(max(predicted, factors.low), factors.high) if factors.low <= factors.high else predicted

    def flush(self) -> Delta:
        """What :meth:`learn_one` did since the last change of version, as one Delta."""
        journal = self._journal = self._journal or self._open_journal(None)
        return journal.close()

    # --- change as a value --------------------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> MF:
        """Repeat a change that another copy of this model made.

        Raises
        ------
        StaleDelta
            Unless the model is at the version that the Delta starts from.
        """
        self._settle()
        self._commit(self._fitted(), delta)
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
        self._settle()
        state = self._fitted()
        if delta is None:
            deltas = state.trail.since(require_integer("to", to, -(2**63)))
            if not deltas:
                raise StaleDelta(f"there is nothing to undo after version {to}")
        else:
            if not isinstance(delta, Delta):
                raise TypeError(f"expected a Delta, got {type(delta).__name__}")
            if delta.lineage != state.lineage or delta.version != state.trail.newest:
                raise StaleDelta(f"version {delta.version} is not the newest update, which is {state.trail.newest}")
            deltas = [delta]
        inverse = Delta.merge(deltas).inverse(state.version)
        self._commit(state, inverse)
        return inverse

    # --- making and copying -------------------------------------------------------------------------------------------

    @classmethod
    def from_factors(
        cls,
        user_factors: Any,
        item_factors: Any,
        user_biases: Any = None,
        item_biases: Any = None,
        global_mean: float = 0.0,
        users: Any = None,
        items: Any = None,
        **settings: Unpack[Settings],
    ) -> MF:
        """A model from vectors that were trained elsewhere.

        Parameters
        ----------
        user_factors, item_factors : array_like, [users, k] and [items, k]
            Finite numbers.
        user_biases, item_biases : array_like, optional
            One per row. Without either, ``biases=False`` unless the settings say otherwise.
        global_mean : float
            Added to every score.
        users, items : array_like of distinct ids, optional
            By default 0, 1, 2, ...
        **settings
            Of :class:`MF`: loss, solver, regularizer, biases, seed, options.

        Returns
        -------
        MF
            A fitted model without history, whose predictions are not clipped.

        Raises
        ------
        DataError
            Names the array, the row and the value that cannot be used.
        """
        given = Given((user_factors, item_factors), (user_biases, item_biases), global_mean, (users, items))
        tables = given.tables(settings.get("options", Options()))
        settings.setdefault("biases", user_biases is not None or item_biases is not None)
        model = cls(factors=tables["users"].shape[1], **settings)
        mean = columns.numbers("global_mean", [global_mean])[0]
        if model._objective.loss.kind == "whole" and (mean or user_biases is not None or item_biases is not None):
            raise DataError(f"{type(model.loss).__name__} has no biases and no global_mean: leave them out")
        model._state = given.fill(model._empty(float(mean), 0.0), tables)
        return model

    def copy(self) -> MF:
        """An independent model at the same version, to which the same Deltas apply."""
        other = MF(**self.get_params())
        other.history_ = [dict(record) for record in self.history_]
        self._settle()
        if self._state is not None:
            other._state = self._state.copy()
        return other

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> MF:
        return self.copy()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole model, history included, to one safetensors file. The old file is replaced in one step."""
        self._settle()
        files.write(path, saving.packed(self, self._state))

    def __reduce__(self) -> tuple[Any, tuple[bytes, tuple[type, ...]]]:
        self._settle()
        return _unpickled, (saving.packed(self, self._state), saving.own_classes(self))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that make a model like this one, unfitted."""
        return {name: getattr(self, name) for name in ("factors", *Settings.__annotations__)}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items() if name != "options")
        if self._state is None:
            return f"MF({settings})"
        state = self._state
        known = f"{len(state.ids['users'])} users · {len(state.ids['items'])} items · {len(state.history)} events"
        return f"MF({settings}) <{known} · version {state.version}>"

    # --- inside -------------------------------------------------------------------------------------------------------

    def _commit(self, state: State, delta: Delta) -> None:
        self._journal = None  # first: it holds addresses of tables that a commit may replace
        commit(state, delta)

    def _open_journal(self, value: Any) -> Journal:
        """A journal for single events; of a new state, with the mean of this value, where the model is unfitted."""
        if self._state is not None or value is None:
            return Journal(self._fitted(), self._objective)
        values = columns.numbers("value", [value])
        self._objective.loss.check(values)
        return Journal(self._begin(values), self._objective)

    def _settle(self) -> None:
        """Flush what single events did, if anything."""
        if self._journal is not None and self._journal.events:
            self.flush()

    def _require_events(self, events: Any) -> None:
        require_events("events", events)
        self._objective.loss.check(events.values)

    def _begin(self, values: np.ndarray) -> State:
        """An empty state for a model whose first values these are."""
        prior = float(self._objective.loss.prior(values))
        return self._empty(prior, 0.0) if self.biases else self._empty(0.0, prior)

    def _empty(self, mean: float, centre: float) -> State:
        shape, budget = shape_of(self.factors, self.solver, self.biases), self.options.memory or default_budget()
        return State.empty(Factors(shape, mean, self.options.storage, budget, self.seed, centre))

    @classmethod
    def _restored(cls, content: tuple[dict[str, np.ndarray], dict[str, Any]], classes: Sequence[type], name: str) -> MF:
        arrays, metadata = content
        with saving.consistent(name):
            model = cls(**saving.settings(metadata, classes))
            model.history_ = saving.records(metadata)
            if arrays or "lineage" in metadata:
                model._state = saving.filled(model._empty(0.0, 0.0), arrays, metadata)
        return model


def load(path: str | os.PathLike[str], classes: Sequence[type] = ()) -> MF:
    """The model that :meth:`MF.save` wrote to `path`.

    Parameters
    ----------
    path : path-like
    classes : sequence of types
        Your own loss, solver and regularizer classes, where the model uses any: a file cannot name code to run.

    Raises
    ------
    FileFormatError
        Where the file is damaged or not consistent.
    """
    return MF._restored(files.read(path), classes, str(path))


def _unpickled(content: bytes, classes: Sequence[type]) -> MF:
    """The model in the bytes that a pickle carries: the same safe format, and the classes of your own by name."""
    return MF._restored(files.unpack(content), classes, "the pickle")
