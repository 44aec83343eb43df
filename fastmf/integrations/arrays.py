"""Files of plain arrays: NumPy ``.npz`` and ``.safetensors``. Nothing in them is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.model import MF

PARTS = ("user_factors", "item_factors", "user_biases", "item_biases", "global_mean", "users", "items")
"""What a file may hold, each under its own name unless ``names`` says otherwise."""


def from_npz(
    path: str | PathLike[str],
    names: Mapping[str, str] | None = None,
    users: Any = None,
    items: Any = None,
    **settings: Any,
) -> MF:
    """Read pre-trained vectors from a NumPy ``.npz`` file.

    Parameters
    ----------
    path : str or path-like
        A file written by :func:`numpy.savez` or :func:`numpy.savez_compressed`.
    names : mapping of str to str, optional
        Names of the arrays in the file, as in ``{"user_factors": "P"}``, if they differ from ``user_factors``,
        ``item_factors`` (both of shape (rows, factors)), ``user_biases``, ``item_biases``, ``users``, ``items`` (all of
        shape (rows,)) and ``global_mean`` (one number). The file must hold both factor arrays, and every array named
        here.
    users, items : array_like of ids, shape (rows,), optional
        Ids of the rows; by default those in the file, or else row numbers.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``. By default the loss is
        ``Squared()`` and its solver ``AdaGrad()``, as in :meth:`fastmf.MF.from_factors`.

    Returns
    -------
    fastmf.MF
        A fitted model without history, whose predictions are not clipped.

    Raises
    ------
    DataError
        If the file cannot be read or lacks an array, the arrays do not fit each other or the ids, or hold a
        value that is not finite.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, numpy
    >>> from fastmf.integrations import from_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     numpy.savez(f"{folder}/vectors.npz", P=[[1.0, 2.0]], Q=[[3.0, 4.0]], users=["ann"], items=[7])
    ...     model = from_npz(f"{folder}/vectors.npz", names={"user_factors": "P", "item_factors": "Q"})
    >>> model.predict(["ann"], [7]).tolist()
    [11.0]
    """
    with open(path, "rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{fspath(path)} is not a complete .npz file: {error}") from error
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{fspath(path)} holds a single array; save both sides with numpy.savez")
        with archive:
            parts = _read(path, archive.files, archive.__getitem__, names, {"users": users, "items": items})
    return _build(parts, settings)


def from_safetensors(
    path: str | PathLike[str],
    names: Mapping[str, str] | None = None,
    users: Any = None,
    items: Any = None,
    **settings: Any,
) -> MF:
    """Read pre-trained vectors from a ``.safetensors`` file.

    Parameters
    ----------
    path : str or path-like
        A file written by any ``safetensors`` library.
    names : mapping of str to str, optional
        Names of the arrays in the file, as in :func:`from_npz`.
    users, items : array_like of ids, shape (rows,), optional
        Ids of the rows; by default those in the file, or else row numbers. The format holds numbers only, so ``str``
        ids must be given here.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``. By default the loss is
        ``Squared()`` and its solver ``AdaGrad()``, as in :meth:`fastmf.MF.from_factors`.

    Returns
    -------
    fastmf.MF
        A fitted model without history, whose predictions are not clipped.

    Raises
    ------
    DataError
        If the file cannot be read or lacks an array, the arrays do not fit each other or the ids, or hold a
        value that is not finite.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import tempfile, numpy
    >>> from safetensors.numpy import save_file
    >>> from fastmf.integrations import from_safetensors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/vectors.safetensors"
    ...     save_file({"P": numpy.array([[1.0, 2.0]]), "Q": numpy.array([[3.0, 4.0]])}, path)
    ...     names = {"user_factors": "P", "item_factors": "Q"}
    ...     model = from_safetensors(path, names, users=["ann"], items=[7])
    >>> model.predict(["ann"], [7]).tolist()
    [11.0]
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(fspath(path), framework="np") as file:
            parts = _read(path, file.keys(), file.get_tensor, names, {"users": users, "items": items})
    except SafetensorError as error:
        raise DataError(f"{fspath(path)} is not a complete .safetensors file: {error}") from error
    return _build(parts, settings)


def _read(
    path: str | PathLike[str],
    stored: Iterable[str],
    read: Callable[[str], NDArray[Any]],
    names: Mapping[str, str] | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Read the parts of a model from a file; those ``given`` by the caller are not read."""
    names, stored = names or {}, list(stored)
    if unknown := sorted(set(names) - set(PARTS)):
        raise DataError(f"names: {unknown[0]!r} is no part of a model; the parts are {', '.join(PARTS)}")
    parts = {part: ids for part, ids in given.items() if ids is not None}
    for part in PARTS:
        name = names.get(part, part)
        if part in parts:
            continue
        if name in stored:
            parts[part] = _array(path, name, read)
        elif part in names or part.endswith("factors"):
            raise DataError(f"{fspath(path)} has no array {name!r} for {part}; it holds {', '.join(stored)}")
    return parts


def _array(path: str | PathLike[str], name: str, read: Callable[[str], NDArray[Any]]) -> NDArray[Any]:
    try:
        return read(name)
    except (TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:  # bfloat16, objects, damage
        raise DataError(f"{fspath(path)}: the array {name!r} cannot be read: {error}") from error


def _build(parts: dict[str, Any], settings: Mapping[str, Any]) -> MF:
    mean = np.asarray(parts.pop("global_mean", 0.0))
    if mean.size != 1 or mean.dtype.kind not in "iuf":
        raise DataError(f"global_mean: expected one number, got {mean.dtype} of shape {mean.shape}")
    return MF.from_factors(**parts, global_mean=float(mean.reshape(())), **settings)
