"""MF: the model class, its construction, copies, files and parameters."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Unpack, cast

import numpy as np

from fastmf import files, losses, optimizers
from fastmf.errors import DataError, require_flag, require_integer
from fastmf.gate import Gate
from fastmf.hints import hinted_methods
from fastmf.interactions import columns
from fastmf.learners import learner_of
from fastmf.learners.mapped import recount
from fastmf.learners.presumed import presume
from fastmf.model import saving
from fastmf.model.imported import ImportedFactors, counts_of, remember
from fastmf.model.learning import Learning
from fastmf.model.options import ImportSettings, Options, Settings, require_options
from fastmf.model.settings import Setting, differing, following, require_changeable
from fastmf.model.views import without_views
from fastmf.objective import Objective, popularity_of, priors_of, suited_to
from fastmf.popularity import Popularity
from fastmf.priors import Map, Mean, Zero
from fastmf.protocols import Loss, Optimizer, Regularizer
from fastmf.state import State

__all__ = ["MF"]

_LARGEST_ROW = 1024  # factors: compile time grows with them


@hinted_methods("__init__")
class MF(Learning):
    """Matrix factorisation model that is fitted once and then updated with new events.

    The score of a user and an item is ``global_mean + b_u + c_i + p_u . q_i``; the loss's inverse link maps it to a
    prediction. Any method may be called from any thread.

    Parameters
    ----------
    factors : int
        Length of the vectors p and q, from 1 to 1,024.
    loss : fastmf.protocols.Loss
        An instance of one of :mod:`fastmf.losses`, or of your own class.
    solver : fastmf.protocols.Optimizer, ALS or Variational, optional
        An instance of one of :mod:`fastmf.optimizers`, or of your own class; by default the loss's own ``solver``
        (``Variational()`` for ratings and labels), or ``AdaGrad()`` if it has none.
    regularizer : fastmf.protocols.Regularizer, optional
        As for the solver; by default the loss's own ``regularizer``, or ``L2()`` if it has none. ``Variational``
        learns priors in place of one, and refuses any other.
    priors : dict of str to fastmf.priors.Zero, Mean or Map, optional
        What the rows of ``"users"`` and of ``"items"`` are drawn to, and what stands for ids without events, for
        ``losses.Confidence``: zero, their mean, or what a map makes of their features; by default the loss's own
        ``priors``, or ``Zero()``, as for a side that is left out.
    popularity : fastmf.Popularity, optional
        What the recent events of items add to rankings; by default the loss's own ``live``, or nothing.
    biases : bool
        False drops b, c and the global mean: predictions are exactly ``inverse_link(p_u . q_i)``.
    seed : int
        Seed of everything random, from 0 to 2**63 - 1.
    options : Options
        Memory budget, threads, storage and device.

    Attributes
    ----------
    history_ : list of dict
        Records of the last fit, by epoch: ``epoch`` (from 1), ``loss`` (mean training loss, each event before its step;
        with ``Variational`` before items are solved), ``validation`` (held-out loss, or None), ``seconds``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or parameters do not go together.
    TypeError
        If the loss, the solver, the regularizer or a prior does not follow its protocol.
    DeviceError
        If ``options.device`` is not available.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmf
    >>> rng = np.random.default_rng(0)
    >>> u, i = rng.integers(0, 50, 2000), rng.integers(0, 40, 2000)
    >>> events = fastmf.Interactions(u, i, values=3.0 + (u % 2) - (i % 2) + rng.normal(0, 0.3, 2000))
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

    # Assigning to a misspelled attribute raises AttributeError.
    __slots__ = ("__weakref__", "_settings")

    factors = Setting[int]()
    loss = Setting[Any]()
    solver = Setting[Any]()
    regularizer = Setting[Any]()
    priors = Setting[Any]()
    popularity = Setting[Popularity]()
    biases = Setting[bool]()
    seed = Setting[int]()
    options = Setting[Options]()

    def __init__(  # noqa: PLR0913
        self,
        factors: int = 64,
        loss: Loss = losses.Squared(),
        solver: Optimizer | optimizers.ALS | optimizers.Variational | None = None,
        regularizer: Regularizer | None = None,
        biases: bool = True,
        seed: int = 0,
        options: Options = Options(),
        priors: Mapping[str, Zero | Mean | Map] | None = None,
        popularity: Popularity | None = None,
    ) -> None:
        suited = suited_to(loss)
        self._settings: dict[str, Any] = {
            "factors": require_integer("factors", factors, 1, _LARGEST_ROW),
            "loss": loss,
            "solver": suited["solver"] if solver is None else solver,
            "regularizer": suited["regularizer"] if regularizer is None else regularizer,
            "priors": priors_of(suited["priors"] if priors is None else priors),
            "popularity": suited["popularity"] if popularity is None else popularity,
            "biases": require_flag("biases", biases),
            "seed": require_integer("seed", seed, 0, 2**63 - 1),
            "options": require_options(options),
        }
        self._objective = Objective.of(self.loss, self.solver, self.regularizer, self.priors)
        popularity_of(self.popularity, self._objective)
        self._learner = learner_of(self._objective)
        self._lock = threading.RLock()  # of whoever changes the model
        self._state: State | None = None
        self.history_: list[dict[str, Any]] = []

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
        **settings: Unpack[ImportSettings],
    ) -> MF:
        """Create a model from vectors that were trained elsewhere.

        Parameters
        ----------
        user_factors, item_factors : array_like, shape (users, k) and (items, k)
            Finite numbers.
        user_biases, item_biases : array_like, shape (users,) and (items,), optional
            If neither is given, ``biases=False`` unless the settings say otherwise.
        global_mean : float
            Added to every score.
        users, items : array_like of distinct ids, optional
            The ids of the rows; by default 0, 1, 2, ...
        **settings
            Parameters of :class:`MF`: loss, solver, regularizer, priors, popularity, biases, seed, options; and for
            ``Variational`` `counts`, the number of events that rows have learned: a number for all, or
            ``{"users": ..., "items": ...}`` with a number or one per row; by default 20. Without `counts`, the solver
            is ``AdaGrad()`` for losses whose default is ``Variational()``. `history`, the Interactions that the vectors
            were trained on, becomes the history of the model, without any training.

        Returns
        -------
        MF
            A fitted model, without history unless it was given. Its predictions are never clipped: the range of the
            values is not known.
            With ``Variational``, how sure rows are is an approximation: the priors are the means and variances of the
            rows given, the noise of values has the variance of the scores times 0.65 / 0.35 (1 / the weight of the
            event, where the loss does not learn it), and the variance of a row follows from these and `counts`.

        Raises
        ------
        DataError
            If an array is invalid; the message names the array, the row and the value.
        ValueError, TypeError
            If a setting is invalid, as for :class:`MF`.
        CapacityError
            If the memory budget is too small.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF.from_factors([[1.0, 2.0]], [[3.0, 4.0]], users=["ann"], items=[7])
        >>> model.predict(["ann"], [7])
        array([11.], dtype=float32)
        """
        given = ImportedFactors((user_factors, item_factors), (user_biases, item_biases), global_mean, (users, items))
        tables = given.tables(settings.get("options", Options()))
        settings.setdefault("biases", user_biases is not None or item_biases is not None)
        counts, history = settings.pop("counts", None), settings.pop("history", None)
        if settings.get("solver") is None and counts is None:
            usual = suited_to(settings.get("loss", losses.Squared()))["solver"]
            settings["solver"] = optimizers.AdaGrad() if isinstance(usual, optimizers.Variational) else usual
        model = cls(factors=tables["users"].shape[1], **cast(Settings, settings))
        events = counts_of(counts, tables, model._objective)
        mean = columns.numbers("global_mean", [global_mean])[0]
        if model._objective.loss.kind == "all-pairs" and (mean or user_biases is not None or item_biases is not None):
            raise DataError(f"{type(model.loss).__name__} has no biases and no global_mean: leave them out")
        state = given.fill(model._empty(float(mean), 0.0), tables)
        if history is not None:
            remember(state, history, model._objective.loss)
        if events is not None:
            presume(state, model._objective.loss, events)
        model._learner.settle(state)
        model._state = state
        return model

    def copy(self) -> MF:
        """Return an independent copy at the same version, to which the same Deltas apply.

        Returns
        -------
        MF
            It shares no memory with this model, and keeps no Deltas: earlier updates cannot be undone on it.
        """
        other = MF(**self.get_params())
        with self._lock:
            other.history_ = [dict(record) for record in self.history_]
            if self._state is not None:
                other._state = self._fitted().copy(Gate(other._lock))
        return other

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> MF:
        other = self.copy()
        other.history_ = deepcopy(self.history_, memo)
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the model with its history as one safetensors file, replacing an existing file atomically.

        The new file has the permissions of the old one. If `path` is a symbolic link, its target is written.

        Parameters
        ----------
        path : str or path-like
            The file to write, usually ``*.safetensors``. Its folder must exist and be writable.

        Raises
        ------
        FileFormatError
            If the file could not be loaded again: a number is not finite, or ``history_`` holds a value that JSON
            cannot represent. An existing file is left unchanged, as on any other error.
        OSError
            If the system refuses, the existing file is read-only, or `path` is a folder, a disk, a socket, or a pipe
            that nobody reads.
        """
        with self._lock:
            files.write(path, saving.packed(self, self._state and self._fitted()))

    def __reduce__(self) -> tuple[Any, tuple[bytes, tuple[type, ...]]]:
        with self._lock:
            return _unpickled, (saving.packed(self, self._state and self._fitted()), saving.own_classes(self))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the model; ``MF(**model.get_params())`` is an unfitted model like it.

        Parameters
        ----------
        deep : bool
            Ignored; present for compatibility with scikit-learn: values have no sub-parameters.

        Returns
        -------
        dict of str to object
            Names and values of the parameters of :class:`MF`, those in use, whether given or chosen by the loss.
        """
        return dict(self._settings)

    def set_params(self, **params: Any) -> MF:
        """Set parameters; on an error none is changed.

        On an unfitted model any may be set. On a fitted one: the regularizer, the fields of the solver, ``threads`` and
        ``deterministic``. To change anything else, create a new model, or load a saved one with other options.

        Parameters
        ----------
        **params
            Parameters of :class:`MF`. A new loss also sets its default solver, regularizer, priors and popularity,
            unless they are given too, or the present ones differ from the defaults of the old loss.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        ValueError, TypeError
            If there is no such parameter, or a value is not allowed.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=8).set_params(loss=fastmf.losses.BPR())
        >>> model.solver
        AdaGrad(rate=0.1, initial=100.0)
        """
        with self._lock:
            new = MF(**following(self._settings, params, suited_to(self.loss)))
            state = self._state
            if state is not None:
                require_changeable(self._settings, new._settings)
                if differing(self._settings, new._settings, ("solver", "regularizer")):
                    self._fitted()
                    if (flush := state.flush()) is not None:
                        state.absorb(flush)
                    state.journal = state.closed = None  # its kernels know the old ones
            self._settings, self._objective, self._learner = new._settings, new._objective, new._learner
        return self

    def __repr__(self) -> str:
        hidden = {"options"} if self._objective.drawn else {"options", "priors"}
        hidden |= set() if any(self.popularity) else {"popularity"}
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items() if name not in hidden)
        if self._state is None:
            return f"MF({settings})"
        users, items, events = self._state.users.count, self._state.items.count, len(self._state.history)
        return f"MF({settings}) <{users} users, {items} items, {events} events, version {self._state.version}>"

    # --- inside ------------------------------------------------------------------------------------------------------

    @classmethod
    def _restored(
        cls,
        content: tuple[dict[str, np.ndarray], dict[str, Any]],
        classes: Sequence[type],
        name: str,
        options: Options | None = None,
    ) -> MF:
        with saving.consistent(name):
            model = cls(**saving.settings(content[1], classes, options, content[0]))
            model.history_ = saving.records(content[1])
        content = without_views(content[0]), content[1]
        stored = content if options is None else saving.converted(content, options.storage)
        model._fill(*stored, name)
        if stored is not content and model._state is not None:
            recount(model._state)
        return model

    def _fill(self, arrays: dict[str, np.ndarray], metadata: dict[str, Any], name: str) -> None:
        """Restore the state from the content of a file, if it has one."""
        if arrays or "lineage" in metadata:
            with saving.consistent(name):
                centre = float(metadata["numbers"]["centre"])  # where rows that are new later start
                self._state = saving.filled(self._empty(0.0, centre), arrays, metadata)


def _unpickled(content: bytes, classes: Sequence[type]) -> MF:
    """Rebuild a model from a pickle: the content has the file format, and own classes are pickled by reference."""
    return MF._restored(files.unpack(content), classes, "the pickle")
