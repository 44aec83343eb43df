"""Ids: what a model shows of its IdMaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastmf.parameters.ids import IdMap

__all__ = ["Ids"]


def _at_once(question: Callable[[], Any]) -> Any:
    return question()


class Ids:
    """The ids of one side of a model, in row order: a read-only view that keeps up with the model until its next fit.

    Copies and pickles of it are of the ids as they are, and belong to no model.

    Parameters
    ----------
    ids : IdMap
    ask : callable, optional
        ``ask(question)``: what the question finds in one state, where the map may change meanwhile.

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
        """``"int"``, ``"str"``, or None while there is no id."""
        return self._map.kind

    @property
    def values(self) -> np.ndarray:
        """All ids in row order: int64, or an object array of str."""
        return self._ask(lambda: self._map.values)  # type: ignore[no-any-return]

    @property
    def padding(self) -> int | str | None:
        """What stands for no id in lists of them, as :attr:`IdMap.padding`."""
        return self._ask(lambda: self._map.padding)  # type: ignore[no-any-return]

    def require_kind(self, ids: np.ndarray, column: str = "ids") -> None:
        """Raise DataError where ids of one kind are put to a map of the other."""
        self._map.require_kind(ids, column)

    def rows(self, ids: Any) -> np.ndarray:
        """The row of each id, as :meth:`IdMap.rows`."""
        return self._ask(lambda: self._map.rows(ids))  # type: ignore[no-any-return]

    def ids(self, rows: Any) -> np.ndarray:
        """The ids of some rows, as :meth:`IdMap.ids`."""
        return self._ask(lambda: self._map.ids(rows))  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _frozen, (self._ask(lambda: {name: array.copy() for name, array in self._map.arrays().items()}),)


def _frozen(arrays: dict[str, np.ndarray]) -> Ids:
    """Ids that will not grow: room for more need not be reserved, whatever the machine they come from."""
    size = max(len(arrays["text"]), len(arrays["bounds"]) * 8) if "text" in arrays else len(arrays["ids"]) * 8
    return Ids(IdMap.from_arrays(arrays, max(size, 1)))
