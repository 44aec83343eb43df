"""MF: the door."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Unpack

import numpy as np

from fastmf import files, losses, optimizers, regularizers
from fastmf.errors import CapacityError, DataError, require_flag, require_integer
from fastmf.gate import Gate
from fastmf.hints import hinted_methods
from fastmf.interactions import columns
from fastmf.learners import learner_of
from fastmf.memory import default_budget
from fastmf.model import saving
from fastmf.model.imported import ImportedFactors
from fastmf.model.learning import Learning
from fastmf.model.options import Options, Settings, require_options
from fastmf.model.settings import Setting, differing, following, require_changeable
from fastmf.protocols import Loss, Objective, Optimizer, Regularizer
from fastmf.state import State

__all__ = ["MF", "load"]

_LARGEST_ROW = 1024  # factors: a row is one vector, and compile time grows with it


@hinted_methods("__init__")
class MF(Learning):
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
        False drops b, c and the mean: predictions are exactly ``inverse_link(p_u . q_i)``.
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

    # A typo raises.
    __slots__ = ("__weakref__", "_settings")

    factors = Setting[int]()
    loss = Setting[Any]()
    solver = Setting[Any]()
    regularizer = Setting[Any]()
    biases = Setting[bool]()
    seed = Setting[int]()
    options = Setting[Options]()

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
        suited = _suited(loss)
        self._settings: dict[str, Any] = {
            "factors": require_integer("factors", factors, 1, _LARGEST_ROW),
            "loss": loss,
            "solver": suited["solver"] if solver is None else solver,
            "regularizer": suited["regularizer"] if regularizer is None else regularizer,
            "biases": require_flag("biases", biases),
            "seed": require_integer("seed", seed, 0, 2**63 - 1),
            "options": require_options(options),
        }
        self._objective = Objective.of(self.loss, self.solver, self.regularizer)
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
        given = ImportedFactors((user_factors, item_factors), (user_biases, item_biases), global_mean, (users, items))
        tables = given.tables(settings.get("options", Options()))
        settings.setdefault("biases", user_biases is not None or item_biases is not None)
        model = cls(factors=tables["users"].shape[1], **settings)
        mean = columns.numbers("global_mean", [global_mean])[0]
        if model._objective.loss.kind == "all-pairs" and (mean or user_biases is not None or item_biases is not None):
            raise DataError(f"{type(model.loss).__name__} has no biases and no global_mean: leave them out")
        model._state = given.fill(model._empty(float(mean), 0.0), tables)
        return model

    def copy(self) -> MF:
        """An independent model at the same version, to which the same Deltas apply."""
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
        """Write the whole model, history included, to one safetensors file. An old file is replaced in one step.

        The new file has the permissions of the old one, and a symbolic link goes on leading to it.

        Parameters
        ----------
        path : path-like
            The folder must exist, and new files be allowed in it.

        Raises
        ------
        FileFormatError
            Where what would be written could not be loaded again: a number that is not finite, or something in
            ``history_`` that JSON has no form for. The old file is as it was, then and on any other failure.
        OSError
            Where the system refuses, the old file may not be written, or `path` is a folder, a disk, a socket, or a
            pipe that nobody reads.
        """
        with self._lock:
            files.write(path, saving.packed(self, self._state and self._fitted()))

    def __reduce__(self) -> tuple[Any, tuple[bytes, tuple[type, ...]]]:
        with self._lock:
            return _unpickled, (saving.packed(self, self._state and self._fitted()), saving.own_classes(self))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that make a model like this one, unfitted.

        Parameters
        ----------
        deep : bool
            Of no effect, there for scikit-learn: losses, solvers and regularizers are parameters as a whole.

        Returns
        -------
        dict
            By name; the solver and the regularizer are those in use, whether they were given or came with the loss.
        """
        return dict(self._settings)

    def set_params(self, **params: Any) -> MF:
        """Change parameters, all or none.

        Before a model has learned anything every parameter may change. Afterwards these may: the regularizer, the
        fields of the solver, and of the options ``threads`` and ``deterministic``. For others, make a new model, or
        load a file of this one with other options.

        Parameters
        ----------
        **params
            As in :class:`MF`. With a new loss come its solver and its regularizer, unless they are given too, or
            others than the old loss had brought are in use.

        Returns
        -------
        MF
            The model itself.

        Raises
        ------
        ValueError, TypeError
            Where there is no such parameter, or a value is not allowed.

        Examples
        --------
        >>> import fastmf
        >>> model = fastmf.MF(factors=8).set_params(loss=fastmf.losses.BPR())
        >>> model.solver
        AdaGrad(rate=0.1, initial=100.0)
        """
        with self._lock:
            new = MF(**following(self._settings, params, _suited(self.loss)))
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
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items() if name != "options")
        if self._state is None:
            return f"MF({settings})"
        state = self._state
        known = f"{state.users.count} users, {state.items.count} items, {len(state.history)} events"
        return f"MF({settings}) <{known}, version {state.version}>"

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
            model = cls(**saving.settings(content[1], classes, options))
            model.history_ = saving.records(content[1])
        if options is not None:
            content = saving.converted(content, options.storage)
        try:
            model._fill(*content, name)
        except CapacityError:
            if options is not None or (model.options.memory or 0) <= default_budget():
                raise
        else:
            return model
        warnings.warn(
            f"{name}: this machine does not grant its Options.memory of {model.options.memory} bytes; the default "
            "takes the place of that, and load(path, options=...) sets another",
            RuntimeWarning,
            stacklevel=3,
        )
        model.set_params(options=model.options._replace(memory=None))
        model._fill(*content, name)
        return model

    def _fill(self, arrays: dict[str, np.ndarray], metadata: dict[str, Any], name: str) -> None:
        """Take up what a file has of a state, if anything."""
        if arrays or "lineage" in metadata:
            with saving.consistent(name):
                centre = float(metadata["numbers"]["centre"])  # where rows that are new later start
                self._state = saving.filled(self._empty(0.0, centre), arrays, metadata)


def _suited(loss: Any) -> dict[str, Any]:
    """The solver and the regularizer that a loss brings."""
    return {
        "solver": getattr(loss, "solver", optimizers.AdaGrad()),
        "regularizer": getattr(loss, "regularizer", regularizers.L2()),
    }


def load(path: str | os.PathLike[str], classes: Sequence[type] = (), options: Options | None = None) -> MF:
    """The model that :meth:`MF.save` wrote to `path`.

    Parameters
    ----------
    path : path-like
    classes : sequence of types
        Your own loss, solver, regularizer and sampler classes, where the model uses any: a file cannot name code to
        run.
    options : Options, optional
        How to run, in place of the options that the file has. Another ``storage`` makes another model of it, whose
        lineage is new.

    Returns
    -------
    MF

    Raises
    ------
    FileFormatError
        Where the file is damaged or not consistent, or a class is missing.
    CapacityError
        Where the memory budget does not allow what is in the file. Where it is that of the file and this machine does
        not grant it, there is a warning instead, and the budget is the default one.
    DataError
        Where a factor is too large for the ``storage`` asked for.
    """
    if isinstance(classes, type) or not all(isinstance(kind, type) for kind in classes):
        raise TypeError(f"classes must be a list of classes, got {classes!r}")
    if options is not None:
        require_options(options)
    return MF._restored(files.read(path), tuple(classes), str(path), options)


def _unpickled(content: bytes, classes: Sequence[type]) -> MF:
    """The model in the bytes that a pickle carries: the same safe format, and the classes of your own by name."""
    return MF._restored(files.unpack(content), classes, "the pickle")
