"""IdMap: a map from user or item ids to row numbers, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import CapacityError, DataError, require_integer
from fastmf.interactions import columns
from fastmf.kernels.rows import hashing
from fastmf.memory import default_budget, discard, grown, row_capacity, use_huge_pages, zeros
from fastmf.parameters.keys import NO_BOUNDS, NO_TEXT, SMALLEST_TABLE, Keys, decode, encode, number

__all__ = ["IdMap", "one_id"]

_MINUS_ONE, _EMPTY = np.array([-1]), np.array([""], object)
_LARGEST = 2**31 - 2  # rows are numbered by int32
_RELEASED_AT_ONCE = 1 << 15  # pairs: half a megabyte


def one_id(one: object) -> int | str | None:
    """Return a value as a valid id, int or str; None if it is not one."""
    try:
        return columns.ids("ids", [one]).tolist()[0]  # type: ignore[no-any-return]
    except DataError:
        return None


class _Tables(NamedTuple):
    """A hash table, the older table that it replaces step by step (or an empty array), and the progress of that.

    The tuple is replaced as a whole, so that concurrent readers always see tables that belong together. See
    kernels/rows/hashing.py.
    """

    slots: np.ndarray
    older: np.ndarray
    progress: np.ndarray

    @classmethod
    def of(cls, size: int, older: np.ndarray = NO_BOUNDS, count: int = 0) -> _Tables:
        """Make an empty table of `size` pairs, which replaces an older one with `count` ids."""
        return cls(zeros(2 * size, np.int64), older, np.array([count, 0, count]))  # a power of two: exactly as long


class Staged(NamedTuple):
    """Rows of a batch of ids before new ones are added: row ``len(ids) + n`` stands for the new id ``fresh[n]``."""

    rows: np.ndarray
    fresh: np.ndarray


class IdMap:
    """Map from ids to consecutive row numbers. All ids are int64, or all are str; the first ids added decide.

    The map only grows, except that a rollback removes ids from its end. Adding n ids takes O(n) time, whatever the size
    of the map.

    Parameters
    ----------
    budget : int, optional
        Maximum size in bytes of the keys, and of the text; by default half of the machine's memory.
    rows : int, optional
        Maximum number of ids, if that is less than the budget allows.

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
        self._keys = zeros(0, np.int64)
        self._blob, self._offsets = NO_TEXT, NO_BOUNDS
        self._kind: str | None = None
        self._count = 0
        self._released = 0  # pairs of the older table whose memory has been released
        self._tables = _Tables.of(SMALLEST_TABLE)
        self.moved = np.zeros(1, np.int64)  # counts replacements of arrays, for kernels that hold addresses

    # --- reading --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._count

    @property
    def kind(self) -> str | None:
        """Type of the ids: ``"int"``, ``"str"``, or None if there are no ids yet."""
        return self._kind

    @property
    def keys(self) -> np.ndarray:
        """For kernels: the hash table's key of each row; for int ids, the id itself."""
        return self._keys

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """For kernels: the hash table, and the older one that it replaces, or an empty array."""
        return self._tables[:2]

    @property
    def values(self) -> np.ndarray:
        """All ids in row order: int64, or an object array of str."""
        return self.take(np.arange(self._count))

    @property
    def padding(self) -> int | str | None:
        """Filler of short lists: -1 or ``""``; if that is an id, the smallest int64 that is not, or None."""
        if self._kind == "str":
            return "" if self.find(_EMPTY)[0] < 0 else None
        if self.find(_MINUS_ONE)[0] < 0:
            return -1
        return next(one for one in range(-(1 << 63), 0) if self.row_of(one) < 0)

    def ids(self, rows: Any) -> np.ndarray:
        """Return the ids of rows.

        Parameters
        ----------
        rows : array_like of int, shape (n,)
            Row numbers, from 0 to ``len(self) - 1``.

        Returns
        -------
        ndarray, shape (n,)
            int64, or object holding `str`.

        Raises
        ------
        DataError
            If a row is not an integer, or is out of range, such as the -1 of :meth:`rows` for an unknown id.

        Examples
        --------
        >>> ids = IdMap()
        >>> ids.extend(np.array([30, -4]))
        >>> ids.ids([1, 0, 1])
        array([-4, 30, -4])
        """
        return self.take(columns.rows("rows", rows, self._count))

    def rows(self, ids: Any) -> np.ndarray:
        """Return the row number of each id.

        Parameters
        ----------
        ids : array_like of ids, shape (n,)
            Known or unknown ids.

        Returns
        -------
        ndarray of int32, shape (n,)
            Row numbers; -1 for an unknown id.

        Raises
        ------
        DataError
            If a value is not an id, or the ids are of another kind than those of the map.

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
        """Return the ids of rows as :meth:`ids` does, without checks."""
        if self._kind != "str":
            return np.asarray(self._keys[: self._count][rows])
        start, end = self._offsets[rows], self._offsets[np.asarray(rows) + 1]
        found = np.empty(np.shape(rows), object)
        for position, (begin, stop) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
            found[position] = self._blob[begin:stop].tobytes().decode()
        return found

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Return the rows of ids as :meth:`rows` does, without checks."""
        return self._look_up(encode(ids))[0]

    def row_of(self, one: object) -> int:
        """Return the row of one id; -1 if it is unknown, or not a valid id."""
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
        """Raise DataError, naming `column`, if ids are of another kind than those of the map."""
        kind = "str" if ids.dtype == object else "int"
        if self._kind not in (None, kind) and ids.size:
            raise DataError(f"{column}, row 0: {ids[:1].tolist()[0]!r} is {kind}, but the known ids are {self._kind}")

    # --- growing --------------------------------------------------------------------------------------------------

    def stage(self, ids: np.ndarray, column: str = "ids", rows: np.ndarray | None = None) -> Staged:
        """Return the rows of a batch of ids, without adding any; new ids are numbered from ``len(self)`` on.

        The rows are written to the int32 array `rows`, if it is given.
        """
        self.require_kind(ids, column)
        batch = encode(ids)
        rows, unknown = self._look_up(batch, rows)
        fresh = ids[number(batch, rows, self._count)] if unknown else ids[:0].copy()  # no view of the caller's array
        return Staged(rows, fresh)

    def prepare(self, fresh: np.ndarray) -> None:
        """Do everything about adding these ids that can fail; the content of the map does not change.

        Raises
        ------
        CapacityError
            If the memory budget is too small.
        """
        end = self._count + len(fresh)
        if end > self._capacity:
            raise CapacityError(f"{end} ids exceed the memory budget of {self._budget} bytes")
        if len(fresh) and fresh.dtype == object:
            text = int(self._offsets[self._count]) if self._count else 0
            text += sum(len(one.encode()) for one in fresh)
            if text > self._budget:
                raise CapacityError(f"{text} bytes of ids exceed the memory budget of {self._budget} bytes")
            self._blob, self._offsets = grown(self._blob, text), grown(self._offsets, end + 1)
        self._keys = grown(self._keys, end)
        self._make_room(len(fresh))

    def extend(self, fresh: np.ndarray, checked: bool = False) -> None:
        """Append new ids.

        Parameters
        ----------
        fresh : ndarray of int64, or of object (str)
            Distinct ids that are not in the map.
        checked : bool
            Skip the check that they are new, as for the ids that :meth:`stage` returned.

        Raises
        ------
        DataError
            If an id is in the map already, occurs twice, or is of another kind.
        CapacityError
            If the memory budget is too small. On any error the map is unchanged.
        """
        if not len(fresh):
            return
        if not checked:
            self._require_new(fresh)
        self.prepare(fresh)
        self.insert(self._count, fresh)

    def insert(self, first: int, fresh: np.ndarray) -> None:
        """Add prepared ids as rows from `first` on, the next free row.

        It is idempotent: after an interrupt it is called again with the same `first`.
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
        """Remove the ids of the rows from `count` on."""
        count = require_integer("count", count, 0, max(self._count, 0))
        # After an interrupt in `insert` the tables may hold more ids than are counted.
        hashing.remove(*self._tables, self._keys[count : int(self._tables.progress[0])], count)
        self._count = count
        if not count:
            self._kind = None
            self._replace(_Tables.of(SMALLEST_TABLE))

    def copy(self) -> IdMap:
        """Return an independent copy.

        Returns
        -------
        IdMap
            A map with the same ids and the same limits.
        """
        other = IdMap(self._budget, self._capacity)
        other.extend(self.values, checked=True)
        return other

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Pickle the ids, without the room for more of them."""
        return IdMap.from_arrays, ({name: array.copy() for name, array in self.arrays().items()}, *self._asked)

    # --- files ----------------------------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the ids as arrays for a file: int64 ``ids``, or UTF-8 ``text`` and its ``bounds``."""
        if self._kind != "str":
            return {"ids": self._keys[: self._count]}
        bounds = self._offsets[: self._count + 1]
        return {"text": self._blob[: bounds[-1]], "bounds": bounds}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], budget: int | None = None, rows: int | None = None) -> IdMap:
        """Make a map from what :meth:`arrays` returned; ValueError if the arrays are inconsistent."""
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
        known = self._count, self._blob, self._offsets  # in this order: another thread may add ids in between
        return rows, hashing.lookup_text(*self.tables, *batch, known[1], known[2], known[0], rows)

    def _append_text(self, batch: Keys, first: int) -> None:
        end = int(self._offsets[first])
        self._blob[end : end + batch.text.size] = batch.text
        self._offsets[first + 1 : first + 1 + len(batch.keys)] = end + batch.bounds[1:]

    def _release_carried(self) -> None:
        """Free the old table piece by piece, since the time to free it at once grows with its size.

        A piece ends at a pair that was never used, so that no search for a key beyond it starts before it.
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
        """Start to replace the table by a larger one before it is more than half full."""
        present, older, progress = self._tables
        if 4 * (int(progress[2]) + new) <= present.size:
            return
        if older.size or 2 * new > self._count:  # a bulk load: the whole table is rebuilt at once
            tables = _Tables.of(_table_size(self._count + new))
            use_huge_pages(tables.slots, tables.slots.size)
            hashing.insert(*tables, self._keys[: self._count], 0)
        else:  # removed ids occupy the table too: double its size only if the present ids require it
            size = present.size if 8 * self._count > present.size else present.size // 2
            tables = _Tables.of(size, present, self._count)
        self._released = 0
        self._replace(tables)

    def _replace(self, tables: _Tables) -> None:
        self._tables = tables
        self.moved[0] += 1


def _table_size(count: int) -> int:
    """Return the power of two that keeps a table of `count` ids between a quarter and half full."""
    return max(SMALLEST_TABLE, 1 << (2 * count - 1).bit_length())
