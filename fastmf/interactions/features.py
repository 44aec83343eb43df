"""Features: vectors that are known of users or items, such as embeddings of texts, or columns of a table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from os import PathLike, fsdecode
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, brief
from fastmf.interactions import columns, readers
from fastmf.interactions.cells import fail
from fastmf.interactions.indicators import named_columns

__all__ = ["Features", "distinct_ids"]


class Features:
    """
    Vectors that are known of users or of items: one view of them, such as the embedding of a title.

    All rows are checked and copied when the object is made, and are read-only. NaN stands for what is missing: a cell,
    or a whole row. Ids that are left out are missing too.

    Parameters
    ----------
    ids : array_like, shape (n,)
        Distinct ids: integers that fit int64, or strings.
    vectors : array_like of real numbers, shape (n, d)
        One row per id: whatever NumPy makes an array of, or a tensor of PyTorch. Infinite numbers are refused.
    name : str
        Name of the view. Features that arrive later are told apart by it.

    Attributes
    ----------
    ids : ndarray, shape (n,)
        int64, or object holding str.
    vectors : ndarray of float32, shape (n, d)
        The rows, NaN where something is missing.
    name : str
        Name of the view.
    columns : tuple of str or None
        Names of the columns, if the view was made from a table.
    numbers : int
        How many of the columns, the first ones, are numbers of a table: a model scales each to unit variance.

    Raises
    ------
    DataError
        If an id or a number is invalid, or an id is there twice; the message names the column, the row and the value.

    Examples
    --------
    >>> text = Features(["a", "b"], [[0.1, 0.9], [0.8, 0.3]], name="text")
    >>> text
    Features(2 str ids, 2 columns, name='text')
    >>> Features([7, 7], [[1.0], [2.0]])
    Traceback (most recent call last):
        ...
    fastmf.errors.DataError: column 'ids', row 1: 7 is there twice
    """

    __slots__ = ("columns", "ids", "name", "numbers", "vectors")

    ids: NDArray[Any]
    vectors: NDArray[np.float32]
    name: str
    columns: tuple[str, ...] | None
    numbers: int

    def __init__(self, ids: Any, vectors: Any, name: str = "text") -> None:
        self._set(distinct_ids("ids", ids), _matrix(vectors), name)

    def _set(
        self,
        ids: NDArray[Any],
        vectors: NDArray[np.float32],
        name: Any,
        names: tuple[str, ...] | None = None,
        numbers: int = 0,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise DataError(f"name must be a text that is not empty, got {brief(name)}")
        if len(vectors) != len(ids):
            raise DataError(f"column 'vectors' has {len(vectors)} rows, column 'ids' has {len(ids)}")
        ids.flags.writeable = vectors.flags.writeable = False
        made = {"ids": ids, "vectors": vectors, "name": name, "columns": names, "numbers": numbers}
        for field, value in made.items():
            object.__setattr__(self, field, value)

    @classmethod
    def trusted(
        cls, ids: NDArray[Any], vectors: NDArray[np.float32], name: str, names: Any = None, numbers: int = 0
    ) -> Features:
        """
        Make Features of arrays that have been checked, without a copy.

        Parameters
        ----------
        ids : ndarray, shape (n,)
            int64, or object holding str; distinct.
        vectors : ndarray of float32, shape (n, d)
            The rows, none of them infinite.
        name : str
            Name of the view.
        names : sequence of str, optional
            Names of the columns.
        numbers : int
            How many of these, the first ones, are numbers.

        Returns
        -------
        Features
            They hold the arrays themselves, which become read-only.
        """
        made = object.__new__(cls)
        made._set(ids, vectors, name, None if names is None else tuple(names), numbers)
        return made

    # ------------------------------------------------------------------------------------------ other sources

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        ids: Hashable = "item",
        numbers: Sequence[Hashable] = (),
        categories: Sequence[Hashable] = (),
        tags: Sequence[Hashable] = (),
        name: str = "columns",
    ) -> Features:
        """
        Make Features from the columns of a data frame with one row per id.

        Parameters
        ----------
        frame : data frame
            As in :meth:`fastmf.Interactions.from_frame`: pandas, polars, pyarrow, duckdb, or a dict of arrays.
        ids : str or other column label
            Column of the ids, which must be distinct.
        numbers : sequence of column labels
            Columns of numbers; one column each. A model scales each of them to unit variance.
        categories : sequence of column labels
            Columns of one category per row: strings, integers or bools. One column per category, 0 or 1.
        tags : sequence of column labels
            Columns of any number of tags per row: lists or sets of strings, or strings with ``"|"`` between tags. One
            column per tag, 0 or 1.
        name : str
            Name of the view.

        Returns
        -------
        Features
            Categories and tags of a single row have no column. What is missing in the frame is NaN.

        Raises
        ------
        DataError
            If a column is missing or invalid, or none is named.
        MissingExtraError
            If reading the frame needs a package that is not installed.

        Examples
        --------
        >>> films = {"item": [1, 2, 3], "year": [1979, 1982, None], "genres": ["Horror|Sci-Fi", "Sci-Fi", "Horror"]}
        >>> found = Features.from_frame(films, numbers=["year"], tags=["genres"])
        >>> found.columns
        ('year', 'genres=Horror', 'genres=Sci-Fi')
        >>> found.vectors[2]
        array([nan,  1.,  0.], dtype=float32)
        """
        wanted = {"numbers": list(numbers), "categories": list(categories), "tags": list(tags)}
        every = [label for labels in wanted.values() for label in labels]
        if not every:
            raise DataError("no column is named: give numbers, categories or tags")
        data = readers.frame_columns(frame, [ids, *every])
        rows = distinct_ids(str(ids), data[ids])
        vectors, names = named_columns(wanted, data, len(rows))
        return cls.trusted(rows, vectors, name, names, len(numbers))

    @classmethod
    def from_npy(cls, path: str | PathLike[str], ids: Any, name: str = "text") -> Features:
        """
        Make Features from an array in a file of NumPy.

        Parameters
        ----------
        path : str or path-like
            An ``.npy`` file of an array of shape (n, d).
        ids, name
            As for :class:`Features`.

        Returns
        -------
        Features
            One row per id, in the order of the file.

        Raises
        ------
        DataError
            If the file is not such an array, or as for :class:`Features`.
        OSError
            If the file cannot be opened.
        """
        try:
            return cls(ids, np.load(fsdecode(path), allow_pickle=False), name)
        except (ValueError, EOFError) as error:
            raise DataError(f"{fsdecode(path)}: {error}") from error

    @classmethod
    def from_safetensors(
        cls, path: str | PathLike[str], ids: Any, tensor: str | None = None, name: str = "text"
    ) -> Features:
        """
        Make Features from a tensor in a file of safetensors.

        Parameters
        ----------
        path : str or path-like
            A file written by any ``safetensors`` library.
        ids
            As for :class:`Features`.
        tensor : str, optional
            Name of the tensor in the file, of shape (n, d); by default the only one that there is.
        name : str
            Name of the view.

        Returns
        -------
        Features
            One row per id, in the order of the tensor.

        Raises
        ------
        DataError
            If the file cannot be read or has no such tensor, or several where none is named, or as for
            :class:`Features`. (A tensor of bfloat16 has to be converted before.)
        FileNotFoundError
            If there is no such file.
        """
        from safetensors import SafetensorError, safe_open

        path = fsdecode(path)
        try:
            with safe_open(path, framework="np") as file:
                known = sorted(file.keys())
                wanted = known[0] if tensor is None and len(known) == 1 else tensor
                if wanted not in known:
                    which = "name one of its tensors" if tensor is None else f"it has no tensor {brief(tensor)}"
                    raise DataError(f"{path}: {which}: {', '.join(known)}")
                vectors = file.get_tensor(wanted)
        except (SafetensorError, TypeError) as error:
            raise DataError(f"{path}: {error}") from error
        return cls(ids, vectors, name)

    @classmethod
    def of(cls, model: Any, side: str, ids: Any = None, name: str = "rows") -> Features:
        """
        Make Features of the rows of another model: what is known of users or items from another domain.

        Parameters
        ----------
        model : fastmf.MF
            A fitted model. Its rows are those of the moment.
        side : {"users", "items"}
            Whose rows.
        ids : array_like of ids, optional
            Only these, such as the rows that an update has moved; by default all. Those without events are left out.
        name : str
            Name of the view.

        Returns
        -------
        Features
            A row per id that has events in the model (per id, if the model was imported and has no events at all).

        Raises
        ------
        DataError
            If an id is invalid, of another kind than the model's, or there twice.
        NotFittedError
            If the model has not learned anything yet.
        ValueError
            If `side` is neither of the two.

        Examples
        --------
        >>> import fastmf
        >>> books = fastmf.MF.from_factors([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0]], users=["ann", "bob"], items=[7])
        >>> Features.of(books, "users")
        Features(2 str ids, 2 columns, name='rows')
        """
        known, rows = model.experienced(side)
        if ids is not None:
            wanted = distinct_ids(side, ids)
            if wanted.size and len(known) and wanted.dtype != known.dtype:
                kinds = columns.kind(wanted), columns.kind(known)
                fail(side, 0, wanted[0], f"is {kinds[0]}, but the known ids are {kinds[1]}")
            chosen = np.isin(known, wanted)
            known, rows = known[chosen], rows[chosen]
        return cls.trusted(known, rows, name)

    # ------------------------------------------------------------------------------------------------- access

    def __len__(self) -> int:
        return len(self.ids)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Features cannot be changed: make new ones, instead of setting {name}")

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Features):
            return self is other
        named = (self.name, self.columns, self.numbers) == (other.name, other.columns, other.numbers)
        return (
            named
            and np.array_equal(self.ids, other.ids)
            and np.array_equal(self.vectors, other.vectors, equal_nan=True)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.columns, self.vectors.shape))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Features.trusted, (self.ids, self.vectors, self.name, self.columns, self.numbers)

    def __repr__(self) -> str:
        kind, width = columns.kind(self.ids), self.vectors.shape[1]
        return f"Features({len(self)} {kind} ids, {width} columns, name={self.name!r})"


def distinct_ids(name: str, data: Any) -> NDArray[Any]:
    """Check a column of ids, which must be distinct."""
    found = columns.ids(name, data)
    _, firsts = np.unique(found, return_index=True)
    if firsts.size < found.size:
        again = np.ones(found.size, bool)
        again[firsts] = False
        fail(name, int(again.argmax()), found[again.argmax()], "is there twice")
    return found


def _matrix(data: Any) -> NDArray[np.float32]:
    """Check vectors."""
    if hasattr(data, "detach"):  # a tensor of PyTorch, wherever it is
        data = data.detach().cpu().float().numpy()
    try:
        array = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"vectors cannot become a NumPy array: {error}") from error
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"vectors must have a row per id and at least one column, their shape is {array.shape}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"vectors must be real numbers, they are {array.dtype}")
    with np.errstate(over="ignore"):
        found = array.astype(np.float32)
    if np.isinf(found).any():
        row, column = (int(place) for place in np.argwhere(np.isinf(found))[0])
        why = "is infinite" if np.isinf(array[row, column]) else "is beyond float32"
        fail(f"vectors[:, {column}]", row, array[row, column], why)
    return found
