"""Kinds of events (a view, a purchase) and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions.cells import fail, first, gather, is_missing

__all__ = ["checked_kinds", "kind_weights", "weighed"]

_LARGEST = float(np.finfo(np.float32).max)


def checked_kinds(event: object, weights: Mapping[Any, Any] | None) -> dict[Any, float]:
    """
    Check the weights of the kinds, and return them as floats; an empty dict if neither argument is given.

    Raises
    ------
    DataError
        If only one of the arguments is given, a kind is neither a string nor an integer, or a weight is not a finite
        float32 number, or is negative.
    """
    if (event is None) != (weights is None):
        given, lacking = ("event", "weights") if weights is None else ("weights", "event")
        raise DataError(f"{given} is given without {lacking}: the column of kinds and their weights go together")
    if weights is None:
        return {}
    if not isinstance(weights, Mapping) or not weights:
        raise DataError(f"weights must be a dict that has the weight of every kind, not {weights!r}")
    for kind, weight in weights.items():
        if not isinstance(kind, str | int | np.integer):
            raise DataError(f"weights: the kind {kind!r} is neither a string nor an integer")
        if not isinstance(weight, int | float | np.integer | np.floating) or not 0 <= weight <= _LARGEST:
            raise DataError(f"weights: {kind!r} weighs {weight!r}; a weight is a finite number, not below 0")
    return {kind: float(weight) for kind, weight in weights.items()}


def kind_weights(name: str, data: Any, weights: Mapping[Any, float]) -> NDArray[np.float64]:
    """
    Look up the weight of every row by its kind.

    Parameters
    ----------
    name : str
        Name of the column in errors.
    data : array_like, shape (n,)
        The kind of each row.
    weights : dict of str or int to float
        The weight of each kind.

    Returns
    -------
    ndarray of float64, shape (n,)
        The weight of each row.

    Raises
    ------
    DataError
        If a kind is not in `weights`; the message names the column, the first such row and the value.

    Examples
    --------
    >>> kind_weights("event", ["view", "buy", "view"], {"view": 0.1, "buy": 1.0})
    array([0.1, 1. , 0.1])
    """
    cells = gather(name, data)
    cells = cells if isinstance(cells, list) else cells.tolist()
    try:
        found = np.fromiter(map(weights.get, cells, repeat(np.nan)), np.float64, len(cells))
    except TypeError:  # some cell cannot be a key of any dict, such as a list
        found = np.array([_weight(cell, weights) for cell in cells])
    if (unknown := np.isnan(found)).any():
        row = first(unknown)
        told = "is missing" if is_missing(cells[row]) else "is of no known kind"
        fail(name, row, cells[row], f"{told}; weights has {list(weights)}")
    return found


def _weight(cell: Any, weights: Mapping[Any, float]) -> float:
    try:
        return weights.get(cell, np.nan)
    except TypeError:
        return np.nan


def weighed(name: str | None, weights: NDArray[np.float32] | None, kinds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Multiply the weights of the kinds by those of the column `name`, if there is one."""
    if weights is None:
        return kinds.astype(np.float32)
    product = weights * kinds
    if (beyond := product > _LARGEST).any():
        row = first(beyond)
        fail(str(name), row, weights[row], f"times {kinds[row]}, the weight of the kind, is beyond float32")
    return product.astype(np.float32)
