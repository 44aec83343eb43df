"""IdMap: from the ids of the outside world to row numbers, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError, DataError, require_integer
from fastmf.interactions import columns
from fastmf.kernels.rows import hashing
from fastmf.memory import default_budget, discard, reserve, row_capacity, use_huge_pages
from fastmf.parameters.keys import NO_BOUNDS, NO_TEXT, SMALLEST_TABLE, Keys, decode, encode, number

__all__ = ["IdMap", "one_id"]

_MINUS_ONE, _EMPTY = np.array([-1]), np.array([""], object)
_LARGEST = 2**31 - 2  # rows are numbered by int32
_RELEASED_AT_ONCE = 1 << 15  # pairs: half a megabyte


def one_id(one: object) -> int | str | None:
    """What may be an id as the id that it is; None for anything else."""
    try:
        return columns.ids("ids", [one]).tolist()[0]  # type: ignore[no-any-return]
    except DataError:
        return None


class _Tables(NamedTuple):
    """A hash table, the one that it is taking over from (or an empty array), and how far: see kernels/rows/hashing.py.

    Replaced as a whole, so that whoever reads it, or is interrupted, has tables that belong together.
    """

    slots: np.ndarray
    older: np.ndarray
    progress: np.ndarray

    @classmethod
    def of(cls, size: int, older: np.ndarray = NO_BOUNDS, count: int = 0) -> _Tables:
        """An empty table of `size` pairs, which takes over from one with so many ids."""
        return cls(reserve(2 * size, np.int64), older, np.array([count, 0, count]))


class Staged(NamedTuple):
    """A batch of ids as rows, before anything is added: row ``len(ids) + n`` stands for the new id ``fresh[n]``."""

    rows: np.ndarray
    fresh: np.ndarray


class IdMap:
    """The ids of one side, in row order: int64 or str, decided by the first ids added.

    It only grows (and shrinks from its end when a Delta is rolled back). Adding n ids costs O(n), whatever its size.

    Parameters
    ----------
    budget : int, optional
        The bytes that keys, and text, may grow to; half the machine's memory by default.
    rows : int, optional
        The ids that the map may grow to, where that is less than the budget allows.

    Examples
    --------
    >>> ids = IdMap()
    >>> ids.extend(np.array([30, -4]))
    >>> ids.rows(np.array([-4, 5])), 30 in ids, len(ids)
    (array([ 1, -1], dtype=int32), True, 2)
    """

    def __init__(self, budget: int | None = None, rows: int | None = None) -> None:
        self._asked = (budget, rows)
        self._budget = default_budget() if budget is None else budget
        self._capacity = min(row_capacity(self._budget, 8), rows or _LARGEST)
        self._keys = reserve(self._capacity, np.int64)
        self._blob, self._offsets = NO_TEXT, NO_BOUNDS
        self._kind: str | None = None
        self._count = 0
        self._released = 0  # pairs of the older table whose memory has been given back
        self._tables = _Tables.of(SMALLEST_TABLE)
        self.moved = np.zeros(1, np.int64)  # how often kernels that know the tables by address have had to look again

    # --- reading --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._count

    @property
    def kind(self) -> str | None:
        """``"int"``, ``"str"``, or None while there is no id."""
        return self._kind

    @property
    def keys(self) -> np.ndarray:
        """For kernels: what the hash table holds of each row, which is the id itself where ids are int."""
        return self._keys

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """For kernels: the hash table and the one that it is taking over from, or an empty array."""
        return self._tables[:2]

    @property
    def values(self) -> np.ndarray:
        """All ids in row order: int64, or an object array of str."""
        return self.take(np.arange(self._count))

    @property
    def padding(self) -> int | str | None:
        """What stands for no id in lists of them: -1 or ``""``; where that is an id, the least free integer or None."""
        if self._kind == "str":
            return "" if self.find(_EMPTY)[0] < 0 else None
        if self.find(_MINUS_ONE)[0] < 0:
            return -1
        return next(one for one in range(-(1 << 63), 0) if self.row_of(one) < 0)

    def ids(self, rows: Any) -> np.ndarray:
        """The ids of some rows, in their order.

        Parameters
        ----------
        rows : array_like of int, [n]

        Returns
        -------
        ndarray, [n]
            int64, or object of `str`.

        Raises
        ------
        DataError
            For a row that is no integer, or that is not there, such as the -1 that :meth:`rows` has for an id that is
            not known.

        Examples
        --------
        >>> ids = IdMap()
        >>> ids.extend(np.array([30, -4]))
        >>> ids.ids([1, 0, 1])
        array([-4, 30, -4])
        """
        return self.take(columns.rows("rows", rows, self._count))

    def rows(self, ids: Any) -> np.ndarray:
        """The row of each id.

        Parameters
        ----------
        ids : array_like of ids, [n]

        Returns
        -------
        int32[n]
            -1 for an id that is not known.

        Raises
        ------
        DataError
            For what is no id, and for ids of another kind than the known ones.

        Examples
        --------
        >>> ids = IdMap()
        >>> ids.extend(np.array(["ann", "bob"], object))
        >>> ids.rows(["bob", "eve"])
        array([ 1, -1], dtype=int32)
        """
        checked = columns.ids("ids", ids)
        self.require_kind(checked)
        return self.find(checked)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """:meth:`ids` of rows that need no check."""
        if self._kind != "str":
            return np.asarray(self._keys[: self._count][rows])
        start, end = self._offsets[rows], self._offsets[np.asarray(rows) + 1]
        found = np.empty(np.shape(rows), object)
        for position, (begin, stop) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
            found[position] = self._blob[begin:stop].tobytes().decode()
        return found

    def find(self, ids: np.ndarray) -> np.ndarray:
        """:meth:`rows` of ids that have passed :func:`fastmf.interactions.columns.ids`, and are of the known kind."""
        return self._look_up(encode(ids))[0]

    def row_of(self, one: object) -> int:
        """The row of one id; -1 where it is not known, be it an id at all or not."""
        key = one_id(one)
        if key is None or self._kind != ("str" if isinstance(key, str) else "int"):
            return -1
        return int(self.find(np.array([key], object if isinstance(key, str) else np.int64))[0])

    def __contains__(self, one: object) -> bool:
        return self.row_of(one) >= 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())

    def __repr__(self) -> str:
        return f"IdMap({self._count} {self._kind or 'no'} ids)"

    def require_kind(self, ids: np.ndarray, column: str = "ids") -> None:
        """Raise DataError where ids of one kind are put to a map of the other."""
        kind = "str" if ids.dtype == object else "int"
        if self._kind not in (None, kind) and ids.size:
            raise DataError(f"{column}, row 0: {ids[:1].tolist()[0]!r} is {kind}, but the known ids are {self._kind}")

    # --- growing --------------------------------------------------------------------------------------------------

    def stage(self, ids: np.ndarray, column: str = "ids", rows: np.ndarray | None = None) -> Staged:
        """Rows of a batch of ids; new ones count on from ``len(self)`` in order of appearance. Changes nothing.

        The rows are written to the int32 array given, if any.
        """
        self.require_kind(ids, column)
        batch = encode(ids)
        rows, unknown = self._look_up(batch, rows)
        fresh = ids[number(batch, rows, self._count)] if unknown else ids[:0].copy()  # no view of the caller's array
        return Staged(rows, fresh)

    def prepare(self, fresh: np.ndarray) -> None:
        """Do all that can fail of adding these ids; the map still means what it did.

        Raises
        ------
        CapacityError
            Where the memory budget does not allow them.
        """
        if self._count + len(fresh) > self._capacity:
            raise CapacityError(f"{self._count + len(fresh)} ids exceed the memory budget of {self._budget} bytes")
        if len(fresh) and fresh.dtype == object:
            if not self._offsets.size:  # once and for all: others may be reading
                blob, offsets = reserve(self._budget, np.uint8), reserve(self._capacity + 1, np.int64)
                self._blob, self._offsets = blob, offsets
            text = int(self._offsets[self._count]) + sum(len(one.encode()) for one in fresh)
            if text > self._blob.size:
                raise CapacityError(f"{text} bytes of ids exceed the memory budget of {self._budget} bytes")
        self._make_room(len(fresh))

    def extend(self, fresh: np.ndarray, checked: bool = False) -> None:
        """Append ids that are distinct and not yet known.

        Parameters
        ----------
        fresh : int64 array, or object array of str
        checked : bool
            That they are new is known already, as of what :meth:`stage` returned.

        Raises
        ------
        DataError
            For an id that is known, or is there twice.
        CapacityError
            Where the memory budget does not allow them. The map is as it was before, then too.
        """
        if not len(fresh):
            return
        if not checked:
            self._require_new(fresh)
        self.prepare(fresh)
        self.insert(self._count, fresh)

    def insert(self, first: int, fresh: np.ndarray) -> None:
        """Add ids that are prepared as rows from `first` on, the next.

        Whoever was interrupted calls it again with the same `first`.
        """
        if not len(fresh):
            return
        batch, end = encode(fresh), first + len(fresh)
        if batch.bounds.size:
            self._append_text(batch, first)
        self._keys[first:end] = batch.keys
        self._kind = "str" if batch.bounds.size else "int"
        self.moved[0] += first == 0  # the kind was not known
        hashing.insert(*self._tables, batch.keys, first)
        self._count = end
        self._release_carried()

    def truncate(self, count: int) -> None:
        """Forget the rows from `count` on."""
        count = require_integer("count", count, 0, max(self._count, 0))
        # Whoever was interrupted in `insert` may have more in the tables than are counted.
        hashing.remove(*self._tables, self._keys[count : int(self._tables.progress[0])], count)
        self._count = count
        if not count:
            self._kind = None
            self._replace(_Tables.of(SMALLEST_TABLE))

    def copy(self) -> IdMap:
        """Make an independent map with the same ids.

        Returns
        -------
        IdMap
        """
        other = IdMap(self._budget, self._capacity)
        other.extend(self.values, checked=True)
        return other

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickles and deep copies carry the ids, not the room that is reserved for more."""
        return IdMap.from_arrays, ({name: array.copy() for name, array in self.arrays().items()}, *self._asked)

    # --- files ----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """The ids as arrays for a file: int64 ``ids``, or UTF-8 ``text`` and its ``bounds``."""
        if self._kind != "str":
            return {"ids": self._keys[: self._count]}
        bounds = self._offsets[: self._count + 1]
        return {"text": self._blob[: bounds[-1]], "bounds": bounds}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], budget: int | None = None, rows: int | None = None) -> IdMap:
        """The map that :meth:`arrays` came from; ValueError where they are not consistent."""
        ids = decode(arrays)
        made = cls(budget, rows)
        if len(made.stage(ids).fresh) != len(ids):
            raise ValueError("an id is there twice")
        made.extend(ids, checked=True)
        return made

    # --- inside ---------------------------------------------------------------------------------------------------

    def _require_new(self, ids: np.ndarray) -> None:
        staged = self.stage(ids)
        if len(staged.fresh) < len(ids):
            row = int(np.argmax(staged.rows != np.arange(self._count, self._count + len(ids))))
            known = "is known already" if staged.rows[row] < self._count else "is there twice"
            raise DataError(f"ids, row {row}: {ids[row]!r} {known}")

    def _look_up(self, batch: Keys, rows: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        rows = np.empty(len(batch.keys), np.int32) if rows is None else rows
        if not self._count:
            rows.fill(-1)
            return rows, rows.size
        if not batch.bounds.size:
            return rows, hashing.lookup(*self.tables, batch.keys, rows)
        return rows, hashing.lookup_text(*self.tables, *batch, self._blob, self._offsets, rows)

    def _append_text(self, batch: Keys, first: int) -> None:
        end = int(self._offsets[first])
        self._blob[end : end + batch.text.size] = batch.text
        self._offsets[first + 1 : first + 1 + len(batch.keys)] = end + batch.bounds[1:]

    def _release_carried(self) -> None:
        """Free the old table piece by piece: freeing it at once takes as long as the table is large.

        A piece ends at a pair that was always free, since no search for a key behind it starts before it.
        """
        older, cursor = self._tables.older, int(self._tables.progress[1])
        if not older.size:
            return
        if 2 * cursor >= older.size:
            self._replace(self._tables._replace(older=NO_BOUNDS))
        elif cursor - self._released >= _RELEASED_AT_ONCE:
            free = np.flatnonzero(older[2 * cursor - 1023 : 2 * cursor : 2] == 0)
            if free.size:
                border = cursor - 512 + int(free[-1])
                discard(older, 2 * self._released, 2 * border)
                self._released = border

    def _make_room(self, new: int) -> None:
        """Let a larger table take over before the present one is more than half full."""
        present, older, progress = self._tables
        if 4 * (int(progress[2]) + new) <= present.size:
            return
        if older.size or 2 * new > self._count:  # a bulk load: the batch pays for the whole table at once
            tables = _Tables.of(_table_size(self._count + new))
            use_huge_pages(tables.slots, tables.slots.size)
            hashing.insert(*tables, self._keys[: self._count], 0)
        else:  # what was taken back fills a table too: it is twice as large only where that is needed
            size = present.size if 8 * self._count > present.size else present.size // 2
            tables = _Tables.of(size, present, self._count)
        self._released = 0
        self._replace(tables)

    def _replace(self, tables: _Tables) -> None:
        self._tables = tables
        self.moved[0] += 1


def _table_size(count: int) -> int:
    """The power of two that keeps a table of `count` ids between a quarter and half full."""
    return max(SMALLEST_TABLE, 1 << (2 * count - 1).bit_length())
