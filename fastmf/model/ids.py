"""Ids: the read-only view of a model's user ids or item ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmf.parameters.ids import IdMap

__all__ = ["Ids"]


def _at_once(question: Callable[[], Any]) -> Any:
    return question()


class Ids:
    """The user ids or item ids of a model, in row order: a read-only view that follows the model until its next fit.

    ``model.users`` and ``model.items`` are of this class. A copy or a pickle is a snapshot, independent of the model.

    Parameters
    ----------
    ids : IdMap
        The map to show.
    ask : callable, optional
        ``ask(question)`` evaluates a function without arguments so that it sees one consistent state, in case the map
        changes in another thread.

    Examples
    --------
    >>> import fastmf
    >>> users = fastmf.MF.from_factors([[1.0], [2.0]], [[3.0]], users=["ann", "bob"]).users
    >>> list(users), len(users), "bob" in users
    (['ann', 'bob'], 2, True)
    """

    __slots__ = ("__weakref__", "_ask", "_map")

    def __init__(self, ids: IdMap, ask: Callable[[Callable[[], Any]], Any] = _at_once) -> None:
        self._map, self._ask = ids, ask

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())

    def __contains__(self, one: object) -> bool:
        return bool(self._ask(lambda: one in self._map))

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind or 'no'} ids>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    @property
    def kind(self) -> str | None:
        """Type of the ids: ``"int"``, ``"str"``, or None if there are no ids yet."""
        return self._map.kind

    @property
    def values(self) -> np.ndarray:
        """All ids in row order: int64, or an object array of str."""
        return self._ask(lambda: self._map.values)  # type: ignore[no-any-return]

    @property
    def padding(self) -> int | str | None:
        """The filler of short recommendation lists, as :attr:`IdMap.padding`."""
        return self._ask(lambda: self._map.padding)  # type: ignore[no-any-return]

    def require_kind(self, ids: np.ndarray, column: str = "ids") -> None:
        """Check that ids are of the kind of the model's.

        Parameters
        ----------
        ids : ndarray of int64, or of object (str)
            Ids to check.
        column : str
            Name of the ids in the error message.

        Raises
        ------
        DataError
            If the model has int ids and these are str, or the reverse.
        """
        self._map.require_kind(ids, column)

    def rows(self, ids: Any) -> np.ndarray:
        """Return the row number of each id.

        Parameters
        ----------
        ids : array_like of ids, shape (n,)
            Known or unknown ids.

        Returns
        -------
        ndarray of int32, shape (n,)
            The rows in ``user_factors`` or ``item_factors``; -1 for an unknown id.

        Raises
        ------
        DataError
            If a value is not an id, or the ids are of another kind than the model's.
        """
        return self._ask(lambda: self._map.rows(ids))  # type: ignore[no-any-return]

    def ids(self, rows: Any) -> np.ndarray:
        """Return the ids of rows.

        Parameters
        ----------
        rows : array_like of int, shape (n,)
            Row numbers, from 0 to ``len(ids) - 1``.

        Returns
        -------
        ndarray, shape (n,)
            int64, or object holding str.

        Raises
        ------
        DataError
            If a row is not an integer, or out of range.
        """
        return self._ask(lambda: self._map.ids(rows))  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _frozen, (self._ask(lambda: {name: array.copy() for name, array in self._map.arrays().items()}),)


def _frozen(arrays: dict[str, np.ndarray]) -> Ids:
    """Rebuild ids from a pickle."""
    return Ids(IdMap.from_arrays(arrays))
