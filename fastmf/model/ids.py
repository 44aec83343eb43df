"""Ids: what a model shows of its IdMaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmf.parameters.ids import IdMap

__all__ = ["Ids"]


class Ids:
    """The ids of one side of a model, in row order: a read-only view that keeps up with the model until its next fit.

    Copies and pickles of it are of the ids as they are, and belong to no model.

    Parameters
    ----------
    ids : IdMap

    Examples
    --------
    >>> import fastmf
    >>> users = fastmf.MF.from_factors([[1.0], [2.0]], [[3.0]], users=["ann", "bob"]).users
    >>> list(users), len(users), "bob" in users
    (['ann', 'bob'], 2, True)
    """

    __slots__ = ("__weakref__", "_map")

    def __init__(self, ids: IdMap) -> None:
        self._map = ids

    def __len__(self) -> int:
        return len(self._map)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._map)

    def __contains__(self, one: object) -> bool:
        return one in self._map

    def __repr__(self) -> str:
        return f"<{len(self)} {self.kind or 'no'} ids>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    @property
    def kind(self) -> str | None:
        """``"int"``, ``"str"``, or None while there is no id."""
        return self._map.kind

    @property
    def values(self) -> np.ndarray:
        """All ids in row order: int64, or an object array of str."""
        return self._map.values

    def require_kind(self, ids: np.ndarray, column: str = "ids") -> None:
        """Raise DataError where ids of one kind are put to a map of the other."""
        self._map.require_kind(ids, column)

    def rows(self, ids: Any) -> np.ndarray:
        """The row of each id, as :meth:`IdMap.rows`."""
        return self._map.rows(ids)

    def ids(self, rows: Any) -> np.ndarray:
        """The ids of some rows, as :meth:`IdMap.ids`."""
        return self._map.ids(rows)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _frozen, ({name: array.copy() for name, array in self._map.arrays().items()},)


def _frozen(arrays: dict[str, np.ndarray]) -> Ids:
    """Ids that will not grow: room for more need not be reserved, whatever the machine they come from."""
    size = max(len(arrays["text"]), len(arrays["bounds"]) * 8) if "text" in arrays else len(arrays["ids"]) * 8
    return Ids(IdMap.from_arrays(arrays, max(size, 1)))
