"""Interactions: a table of events, checked once when it is made and trusted everywhere else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, brief
from fastmf.hints import hinted_methods
from fastmf.interactions import columns, readers
from fastmf.interactions.cuts import Cuts
from fastmf.interactions.kinds import checked_kinds, kind_weights, weighed

__all__ = ["Interactions"]


@hinted_methods("__init__", "from_frame", "from_parquet", "from_csv")
@dataclass(frozen=True, init=False, repr=False, eq=False, slots=True)
class Interactions(Cuts):
    """
    Table of events: a user, an item, a value, and optionally a time and a weight.

    All columns are checked and copied when the object is made, and are read-only. Repeated (user, item) pairs are
    separate events. A column may be a NumPy array, a list, a pandas or polars Series, or an Arrow array.

    Parameters
    ----------
    users, items : array_like, shape (n,)
        Ids: either integers that fit int64 or strings, the same kind for all users and for all items. Bools, floats
        and bytes are refused.
    values : array_like, shape (n,), optional
        Ratings, labels or counts: finite real numbers; 1 by default.
    times : array_like, shape (n,), optional
        Integers in any unit, or datetimes, which become microseconds since 1970-01-01 UTC.
    weights : array_like, shape (n,), optional
        Weights of the events in the loss: finite and not negative; 1 by default.

    Attributes
    ----------
    users, items : ndarray, shape (n,)
        Ids: int64, or object holding str.
    values : ndarray of float32, shape (n,)
        Values.
    times : ndarray of int64, shape (n,), or None
        Times, if they were given.
    weights : ndarray of float32, shape (n,), or None
        Weights, if they were given.
    dated : bool
        Whether the times were given as dates or datetimes, and so are in microseconds.

    Raises
    ------
    DataError
        If a column is invalid; the message names the column, the row (counted from 0) and the value.

    Examples
    --------
    >>> events = Interactions(users=[7, 7, 9], items=["a", "b", "a"], values=[5, 3, 4], times=[30, 10, 20])
    >>> events
    Interactions(3 events, int users, str items, with times)
    >>> past, later = events.split_by_time(2 / 3)
    >>> past.items, later.items
    (array(['b', 'a'], dtype=object), array(['a'], dtype=object))
    >>> Interactions(users=[7, 7.5], items=["a", "b"])
    Traceback (most recent call last):
        ...
    fastmf.errors.DataError: column 'users', row 1: 7.5 is of type float; ids of one side are ...
    """

    users: NDArray[Any]
    items: NDArray[Any]
    values: NDArray[np.float32]
    times: NDArray[np.int64] | None
    weights: NDArray[np.float32] | None
    dated: bool = field(init=False)

    def __init__(self, users: Any, items: Any, values: Any = None, times: Any = None, weights: Any = None) -> None:
        arrays, dated = columns.checked(columns.FIELDS, (users, items, values, times, weights))
        self._set(*arrays, dated=dated)

    def _set(self, *arrays: NDArray[Any] | None, dated: bool) -> None:
        object.__setattr__(self, "dated", dated)
        for name, array in zip(columns.FIELDS, arrays, strict=True):
            if array is not None:
                array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def _trusted(cls, *arrays: NDArray[Any] | None, dated: bool = False) -> Interactions:
        """Make Interactions without checks, of contiguous columns in the order of the fields."""
        events = object.__new__(cls)
        events._set(*arrays, dated=dated)
        return events

    # ------------------------------------------------------------------------------------------ other sources

    @classmethod
    def from_frame(  # noqa: PLR0913 - a name for every column there can be
        cls,
        df: Any,
        user: Hashable = "user",
        item: Hashable = "item",
        value: Hashable | None = None,
        time: Hashable | None = None,
        weight: Hashable | None = None,
        event: Hashable | None = None,
        weights: Mapping[Any, float] | None = None,
    ) -> Interactions:
        """
        Make Interactions from the rows of a data frame.

        Parameters
        ----------
        df : data frame
            A pandas, polars (eager or lazy), pyarrow or duckdb frame, any other that narwhals reads or that exports an
            Arrow stream, or a dict of arrays. Only the columns named here are read.
        user, item : str or other column label
            Columns of the ids. Labels need not be strings: a file read without a header may have 0 and 1.
        value, time, weight : str or other column label, optional
            Columns of the values, times and weights; by default there are none, and every value is 1.
        event : str or other column label, optional
            Column of the kind of each event, strings or integers. Give it together with `weights`.
        weights : dict of str or int to float, optional
            Weight of an event of each kind, such as ``{"view": 0.1, "buy": 1}``: finite and not negative. If `weight`
            is given too, the two weights of an event are multiplied.

        Returns
        -------
        Interactions
            One event per row, in the order of the rows.

        Raises
        ------
        DataError
            If a column is missing, duplicated or invalid, a kind is not in `weights`, or only one of `event` and
            `weights` is given.
        MissingExtraError
            If reading the frame needs a package that is not installed.

        Examples
        --------
        >>> df = {"who": [1, 2], "film": ["Alien", "Brazil"], "stars": [4.5, 5.0]}
        >>> Interactions.from_frame(df, user="who", item="film", value="stars")
        Interactions(2 events, int users, str items)
        >>> df = {"user": [1, 2], "item": [5, 6], "event": ["view", "buy"]}
        >>> Interactions.from_frame(df, event="event", weights={"view": 0.1, "buy": 1}).weights
        array([0.1, 1. ], dtype=float32)
        """
        names, kinds = (user, item, value, time, weight, event), checked_kinds(event, weights)
        return cls._named(names, readers.frame_columns(df, columns.named(names)), kinds)

    @classmethod
    def from_parquet(  # noqa: PLR0913 - as from_frame
        cls,
        path: str | PathLike[str],
        user: str = "user",
        item: str = "item",
        value: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        event: str | None = None,
        weights: Mapping[Any, float] | None = None,
    ) -> Interactions:
        """
        Make Interactions from the rows of a Parquet file.

        Parameters
        ----------
        path : str or path-like
            A Parquet file.
        user, item, value, time, weight, event : str, optional
            Names of columns, as in :meth:`from_frame`.
        weights : dict of str or int to float, optional
            Weight of an event of each kind, as in :meth:`from_frame`.

        Returns
        -------
        Interactions
            One event per row, in the order of the rows.

        Raises
        ------
        DataError
            If the file is not Parquet, or as for :meth:`from_frame`.
        MissingExtraError
            If none of polars, pyarrow, duckdb and pandas is installed.
        OSError
            If the file cannot be opened.
        """
        names, kinds = (user, item, value, time, weight, event), checked_kinds(event, weights)
        return cls._named(names, readers.parquet_columns(path, columns.named(names)), kinds)

    @classmethod
    def from_csv(  # noqa: PLR0913 - as from_frame
        cls,
        path: str | PathLike[str],
        user: str = "user",
        item: str = "item",
        value: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        event: str | None = None,
        weights: Mapping[Any, float] | None = None,
    ) -> Interactions:
        r"""
        Make Interactions from the rows of a CSV file with a header.

        Only empty cells are missing values, and blank lines are skipped. A column whose cells are all integers is read
        as integers, so the id `007` becomes 7. Times may also be in ISO 8601 format. To apply other rules, read the
        file with another library and call :meth:`from_frame`.

        Parameters
        ----------
        path : str or path-like
            A CSV file, with the names of the columns in its first line.
        user, item, value, time, weight, event : str, optional
            Names of columns, as in :meth:`from_frame`.
        weights : dict of str or int to float, optional
            Weight of an event of each kind, as in :meth:`from_frame`.

        Returns
        -------
        Interactions
            One event per row, in the order of the rows.

        Raises
        ------
        DataError
            If the file is not CSV, a time is not in ISO 8601 format, or as for :meth:`from_frame`.
        MissingExtraError
            If none of polars, pyarrow, duckdb and pandas is installed.
        OSError
            If the file cannot be opened.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "events.csv")
        ...     size = path.write_text("user,item,stars\n7,a,5\n9,b,4\n")
        ...     events = Interactions.from_csv(path, value="stars")
        >>> events.users, events.values
        (array([7, 9]), array([5., 4.], dtype=float32))
        """
        names, kinds = (user, item, value, time, weight, event), checked_kinds(event, weights)
        return cls._named(names, readers.csv_columns(path, columns.named(names), time), kinds)

    @classmethod
    def _named(cls, names: Sequence[Any], data: dict[Any, Any], kinds: Mapping[Any, float]) -> Interactions:
        """Make Interactions of the named columns; the last name is that of the kinds, the one before of the weights."""
        *names, event = names
        labels = [ours if name is None else name for name, ours in zip(names, columns.FIELDS, strict=True)]
        arrays, dated = columns.checked(labels, [None if name is None else data[name] for name in names])
        if event is not None:
            of_kinds = kind_weights(event, data[event], kinds)
            columns.require_lengths([labels[0], event], [arrays[0], of_kinds])
            arrays[-1] = weighed(names[-1], arrays[-1], of_kinds)
        return cls._trusted(*arrays, dated=dated)

    @classmethod
    def from_sparse(cls, matrix: Any, users: Any = None, items: Any = None) -> Interactions:
        """
        Make Interactions from a sparse matrix with one row per user and one column per item.

        Every stored entry is an event, including explicit zeros and duplicates. In the format `dia`, which stores
        diagonals in full, zeros are not events.

        Parameters
        ----------
        matrix : sparse matrix or array of scipy.sparse, shape (n_users, n_items)
            A matrix in any sparse format; its entries are the values.
        users, items : array_like, shapes (n_users,) and (n_items,), optional
            Ids of the rows and of the columns; by default 0, 1, 2, ...

        Returns
        -------
        Interactions
            One event per stored entry, in the order of storage.

        Raises
        ------
        DataError
            If `matrix` is not a 2-d sparse matrix, its index arrays are malformed, the ids are invalid or of the wrong
            length, or a value is invalid.

        Examples
        --------
        >>> import scipy.sparse
        >>> events = Interactions.from_sparse(scipy.sparse.csr_array([[0, 5], [3, 0]]), users=["ann", "bob"])
        >>> events.users, events.items, events.values
        (array(['ann', 'bob'], dtype=object), array([1, 0]), array([5., 3.], dtype=float32))
        """
        rows, positions, values = readers.entries(matrix)
        user_ids = columns.ids_of_axis("users", users, matrix.shape[0])
        item_ids = columns.ids_of_axis("items", items, matrix.shape[1])
        return cls._trusted(user_ids[rows], item_ids[positions], columns.numbers("matrix.data", values), None, None)

    @classmethod
    def concatenate(cls, parts: Sequence[Interactions]) -> Interactions:
        """
        Concatenate several Interactions.

        Parameters
        ----------
        parts : sequence of Interactions
            At least one. If only some have weights, the events of the others get the weight 1.

        Returns
        -------
        Interactions
            The events of all parts, in order.

        Raises
        ------
        DataError
            If there are no parts, or if parts that are not empty have ids of different kinds, or only some of them
            have times.

        Examples
        --------
        >>> Interactions.concatenate([Interactions([1], [2]), Interactions([3, 4], [5, 6])])
        Interactions(3 events, int users, int items)
        """
        if not isinstance(parts, Sequence) or not all(isinstance(part, Interactions) for part in parts):
            raise DataError(f"parts must be a sequence of Interactions, got {brief(parts)}")
        if not parts:
            raise DataError("there is nothing to concatenate")
        parts = [part for part in parts if len(part)] or parts[:1]
        for side in ("users", "items"):
            if len({getattr(part, side).dtype for part in parts}) > 1:
                raise DataError(f"the parts have {side} of different kinds, int and str")
        if len({part.times is None for part in parts}) > 1:
            raise DataError("some parts have times and some have none")
        if any(part.weights is not None for part in parts):
            parts = [part if part.weights is not None else part._weighing_one() for part in parts]
        joined = map(columns.joined, zip(*(part._arrays() for part in parts), strict=True))
        return cls._trusted(*joined, dated=all(part.dated for part in parts))

    # ------------------------------------------------------------------------------------------------- access

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        extras = [name for name in ("times", "weights") if getattr(self, name) is not None]
        kinds = f"{columns.kind(self.users)} users, {columns.kind(self.items)} items"
        return f"Interactions({len(self)} events, {kinds}{', with ' if extras else ''}{' and '.join(extras)})"

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> Interactions:
        """Select events by a slice (which shares memory), by an array of positions, or by a mask."""
        if not isinstance(rows, slice):
            rows = columns.positions(rows)
        some = (None if a is None else np.ascontiguousarray(a[rows]) for a in self._arrays())
        return self._trusted(*some, dated=self.dated)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _unpickled, (*self._arrays(), self.dated)

    def _arrays(self) -> tuple[NDArray[Any] | None, ...]:
        return self.users, self.items, self.values, self.times, self.weights

    def _weighing_one(self) -> Interactions:
        return self._trusted(*self._arrays()[:4], np.ones(len(self), np.float32), dated=self.dated)


def _unpickled(*columns_and_dated: Any) -> Interactions:
    """Rebuild Interactions with all checks: unpickled columns are writable, and may hold anything."""
    *arrays, dated = columns_and_dated
    events = Interactions(*arrays)
    object.__setattr__(events, "dated", bool(dated))
    return events
