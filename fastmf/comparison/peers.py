"""Contestants made of other libraries, where these are installed; each is imported when its first model is built.

============  ==================================================================================================
``river``     ``river.reco.BiasedMF``: predicts values, and learns one event at a time; a fit is one pass
``implicit``  ``implicit``'s alternating least squares on the CPU: ranks. An update solves the rows of the users and
              then of the items that the new events name, each from its whole history
``lightfm``   ``lightfm.LightFM`` with the loss WARP: ranks. An update is one pass of ``fit_partial`` over the new
              events, after rows for new ids have been added as a fit would start them
============  ==================================================================================================

All run on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, MissingExtraError, names_in
from fastmf.evaluation import Metric, ranks_items
from fastmf.interactions import Interactions
from fastmf.parameters.ids import IdMap

__all__ = ["PEERS", "Implicit", "LightFM", "River", "peers_of"]

Codes = NDArray[np.int64]


def peers_of(text: str | None, metric: Metric, factors: int) -> dict[str, Callable[[int], Any]]:
    """Read a list of libraries such as ``"river"``, as contestants of `fastmf.comparison.compare`.

    Parameters
    ----------
    text : str or None
        Names in `PEERS`, separated by commas.
    metric : str
    factors : int

    Returns
    -------
    dict of str to callable
        ``factory(seed)`` builds a model.

    Raises
    ------
    DataError
        If a name is unknown or occurs twice, or the library doesn't do what the metric measures.
    MissingExtraError
        If a library is not installed.

    Examples
    --------
    >>> peers_of(None, "rmse", 8)
    {}
    """
    found: dict[str, Callable[[int], Any]] = {}
    for name in () if text is None else names_in("peers", text, PEERS):
        kind = _KINDS[name]
        if kind.ranks != ranks_items(metric):
            what = "ranks items, and {} compares values" if kind.ranks else "predicts values, and {} ranks items"
            raise DataError(f"peers: {name} {what.format(metric)}")
        if find_spec(name) is None:
            raise MissingExtraError(f"peers: {name} is not installed: pip install {kind.package}")
        found[name] = _factory(kind, factors)
    return found


def _factory(kind: Any, factors: int) -> Callable[[int], Any]:
    return lambda seed: kind(factors, seed)


class River:
    """Biased matrix factorisation of `river`, by stochastic gradient descent over the stream.

    Parameters
    ----------
    factors, seed : int
    **settings
        Of ``river.reco.BiasedMF``.
    """

    ranks, package = False, "river"

    def __init__(self, factors: int, seed: int, **settings: Any) -> None:
        self._settings = {"n_factors": factors, "seed": seed} | settings
        self._model: Any = None

    def fit(self, events: Interactions) -> None:
        """Learn each event once, with a new model."""
        self._model = import_module("river.reco").BiasedMF(**self._settings)
        self.update(events)

    def update(self, events: Interactions) -> Moved:
        """Learn each event once."""
        for user, item, value in zip(events.users.tolist(), events.items.tolist(), events.values.tolist(), strict=True):
            self._model.learn_one(user, item, value)
        return Moved.by(events)

    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic]) -> NDArray[np.float32]:
        """Predict one pair after the other."""
        pairs = zip(users.tolist(), items.tolist(), strict=True)
        return np.array([self._model.predict_one(*pair) for pair in pairs], np.float32)


class Implicit:
    """Alternating least squares of `implicit`, with confidence 1 + value in the pairs that occur.

    Parameters
    ----------
    factors, seed : int
    **settings
        Of ``implicit.cpu.als.AlternatingLeastSquares``.
    """

    ranks, package = True, "implicit"

    def __init__(self, factors: int, seed: int, **settings: Any) -> None:
        self._settings = {"factors": factors, "random_state": seed, "num_threads": 1} | settings
        self._model: Any = None
        self._maps, self._past = (IdMap(), IdMap()), (_Past(), _Past())

    @property
    def items(self) -> IdMap:
        """The ids of the items, in the order of their rows."""
        return self._maps[1]

    def fit(self, events: Interactions) -> None:
        """Fit a new model."""
        self._maps, self._past = (IdMap(), IdMap()), (_Past(), _Past())
        self._learned(events)
        with _one_thread():
            self._model = import_module("implicit.cpu.als").AlternatingLeastSquares(**self._settings)
            self._model.fit(self._history(0, np.arange(len(self._maps[0]))), show_progress=False)

    def update(self, events: Interactions) -> Moved:
        """Solve the rows that the events name."""
        users, items = self._learned(events)
        self._model.user_factors = _grown(self._model.user_factors, len(self._maps[0]))
        self._model.item_factors = _grown(self._model.item_factors, len(self._maps[1]))
        with _one_thread():
            self._model.partial_fit_users(users, self._history(0, users))
            self._model.partial_fit_items(items, self._history(1, items))
        return Moved(users.size + items.size)

    def ranked_by(self, users: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """Rows of users, zeros for unknown ones, and those of all items."""
        rows = self._maps[0].rows(users)
        vectors = np.where(rows[:, None] >= 0, self._model.user_factors[rows], np.float32(0))
        return vectors, self._model.item_factors, np.zeros(len(self.items), np.float32)

    def _learned(self, events: Interactions) -> tuple[Codes, Codes]:
        """Note new ids and events; returns the rows that these name."""
        rows = [_noted(known, ids) for known, ids in zip(self._maps, (events.users, events.items), strict=True)]
        self._past[0].note(rows[0], rows[1], events.values)
        self._past[1].note(rows[1], rows[0], events.values)
        return np.unique(rows[0]), np.unique(rows[1])

    def _history(self, side: int, rows: Codes) -> Any:
        """Confidence in the pairs of some rows of one side."""
        return self._past[side].matrix(rows, len(self._maps[1 - side]))


class LightFM:
    """`lightfm`'s model with a row per user and item, for events with a positive value; each counts alike.

    Parameters
    ----------
    factors, seed : int
    epochs : int
        Passes of a fit.
    **settings
        Of ``lightfm.LightFM``.
    """

    ranks, package = True, "rectools-lightfm"  # a fork with the same module: lightfm 1.17 does not build today

    def __init__(self, factors: int, seed: int, epochs: int = 10, **settings: Any) -> None:
        self._settings = {"no_components": factors, "random_state": seed, "loss": "warp"} | settings
        self._epochs = epochs
        self._model: Any = None
        self._maps = IdMap(), IdMap()

    @property
    def items(self) -> IdMap:
        """The ids of the items, in the order of their rows."""
        return self._maps[1]

    def fit(self, events: Interactions) -> None:
        """Fit a new model."""
        self._maps, self._model = (IdMap(), IdMap()), self._empty()
        self._pass_over(events, self._epochs)

    def update(self, events: Interactions) -> None:
        """Go over the events once."""
        self._pass_over(events, 1)

    def ranked_by(self, users: NDArray[np.generic]) -> tuple[NDArray[np.float32], ...]:
        """Rows of users, zeros for unknown ones, and rows and biases of all items."""
        rows = self._maps[0].rows(users)
        vectors = np.where(rows[:, None] >= 0, self._model.user_embeddings[rows], np.float32(0))
        return vectors, self._model.item_embeddings, self._model.item_biases

    def _empty(self) -> Any:
        return import_module("lightfm").LightFM(**self._settings)

    def _pass_over(self, events: Interactions, epochs: int) -> None:
        from scipy import sparse  # which takes long to import

        rows = [_noted(known, ids) for known, ids in zip(self._maps, (events.users, events.items), strict=True)]
        self._grow()
        liked = events.values > 0
        pairs = rows[0][liked].astype(np.int32), rows[1][liked].astype(np.int32)
        shape = len(self._maps[0]), len(self._maps[1])
        table = sparse.coo_matrix((np.ones(pairs[0].size, np.float32), pairs), shape=shape)
        self._model.fit_partial(table, epochs=epochs, num_threads=1)

    def _grow(self) -> None:
        """Add rows for new ids, started as those of a new model: the library's own tables can't grow."""
        if self._model.item_embeddings is None:
            return
        fresh = self._empty()
        users, items = (
            len(known) - len(rows)
            for known, rows in zip(self._maps, (self._model.user_embeddings, self._model.item_embeddings), strict=True)
        )
        fresh.random_state = self._model.random_state  # other numbers for each batch
        fresh._initialize(fresh.no_components, items, users)
        for name, rows in vars(fresh).items():
            if isinstance(rows, np.ndarray):
                setattr(self._model, name, np.concatenate([getattr(self._model, name), rows]))


class Moved(NamedTuple):
    """What an update did."""

    rows_moved: int

    @classmethod
    def by(cls, events: Interactions) -> Moved:
        """The distinct users and items of events."""
        return cls(np.unique(events.users).size + np.unique(events.items).size)


class _Past:
    """The events of each row of one side: an update reads those of its own rows alone."""

    def __init__(self) -> None:
        self._events: dict[int, tuple[list[int], list[float]]] = {}

    def note(self, rows: Codes, others: Codes, values: NDArray[np.float32]) -> None:
        for row, other, value in zip(rows.tolist(), others.tolist(), values.tolist(), strict=True):
            columns, confidence = self._events.setdefault(row, ([], []))
            columns.append(other)
            confidence.append(value)

    def matrix(self, rows: Codes, width: int) -> Any:
        """A sparse matrix (rows, width) of 1 + the sum of the values of each pair."""
        from scipy import sparse  # which takes long to import

        found = [self._events[row] for row in rows.tolist()]
        bounds = np.cumsum([0, *(len(columns) for columns, _ in found)])
        table = sparse.csr_matrix(
            (_joined(c for _, c in found).astype(np.float32), _joined(c for c, _ in found).astype(np.int32), bounds),
            shape=(rows.size, width),
        )
        table.sum_duplicates()
        table.data += 1
        return table


def _noted(known: IdMap, ids: NDArray[Any]) -> Codes:
    """The rows of ids, new ones included."""
    staged = known.stage(ids)
    known.extend(staged.fresh, checked=True)
    return staged.rows.astype(np.int64)


def _joined(lists: Iterable[list[Any]]) -> NDArray[Any]:
    return np.array([one for some in lists for one in some])


def _grown(factors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Rows of zeros for new ids: `implicit` reads those of the other side without a check of their number."""
    return np.pad(factors, ((0, size - len(factors)), (0, 0)))


def _one_thread() -> Any:
    """The library's BLAS on one thread, so that CPU seconds of the calling thread are all of them."""
    return import_module("threadpoolctl").threadpool_limits(1)


_KINDS: dict[str, Any] = {"river": River, "implicit": Implicit, "lightfm": LightFM}
PEERS = tuple(_KINDS)
"""Libraries whose models take part by name."""
