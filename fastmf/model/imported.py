"""Import of vectors that were trained elsewhere: checks, and the copy into tables."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError, brief
from fastmf.hints import of_events
from fastmf.interactions import Interactions, columns
from fastmf.learners.decay import numbered
from fastmf.log.events import SIDES
from fastmf.model.asked import require_beliefs
from fastmf.model.options import Options
from fastmf.parameters.ids import IdMap
from fastmf.parameters.moves import Image
from fastmf.parameters.table import Table
from fastmf.state import State

__all__ = ["ImportedFactors", "counts_of", "remember"]

_PIECE = 1 << 16  # rows
_USUAL_COUNT = 20.0  # events that a row is taken to have learned


class ImportedFactors(NamedTuple):
    """The arguments of ``MF.from_factors``; pairs are those of (users, items)."""

    factors: tuple[Any, Any]
    biases: tuple[Any, Any]
    mean: Any
    ids: tuple[Any, Any]

    def tables(self, options: Any) -> dict[str, np.ndarray]:
        """Check the factors of both sides and return them as float32."""
        half = isinstance(options, Options) and options.storage == "float16"
        largest = float(np.finfo(np.float16 if half else np.float32).max)
        users, items = (
            _matrix(f"{side[:-1]}_factors", one, largest) for side, one in zip(SIDES, self.factors, strict=True)
        )
        if items.shape[1] != users.shape[1]:
            raise DataError(f"item_factors has {items.shape[1]} columns, user_factors has {users.shape[1]}")
        return {"users": users, "items": items}

    def fill(self, state: State, tables: dict[str, np.ndarray]) -> State:
        """Fill an empty state with the checked factors, the biases and the ids."""
        state.range[:2] = -np.inf, np.inf
        for side, outside, biases in zip(SIDES, self.ids, self.biases, strict=True):
            count = len(tables[side])
            group = state.side(side)
            group.ids.extend(_distinct_ids(side, outside, count), checked=True)
            _fill(group.table, tables[side], _vector(f"{side[:-1]}_biases", biases, count))
        state.make_room({}, 0)
        return state


def remember(state: State, given: Any, loss: Any) -> None:
    """Make past events the history of a state that has rows for them; DataError for an id that has none."""
    if not isinstance(given, Interactions):
        raise DataError(f"history must be fastmf.Interactions, got {type(given).__name__}{of_events(given)}")
    loss.check(given.values)
    rows = [state.rows(side, getattr(given, side), f"history, {side}") for side in SIDES]
    for side, found in zip(SIDES, rows, strict=True):
        if (found < 0).any():
            row = int(np.argmax(found < 0))
            one = getattr(given, side)[row : row + 1].tolist()[0]
            raise DataError(f"history, {side}, row {row}: {one!r} has no factors")
    state.history.require_room(len(given))
    state.history.build(numbered(given, *rows), state.users.count, state.items.count)
    state.range[2] = float(given.dated)


def counts_of(given: Any, tables: dict[str, np.ndarray], objective: Any) -> dict[str, np.ndarray] | None:
    """The events that each row has learned, float64; None where rows are not distributions.

    ValueError if counts are given then, DataError if they are invalid.
    """
    if given is not None:
        require_beliefs("counts", objective)
    elif not objective.variational:
        return None
    sides = given if isinstance(given, Mapping) else dict.fromkeys(SIDES, given)
    unknown = [brief(name) for name in sides if name not in SIDES]
    if unknown:
        raise DataError(f"counts has {', '.join(unknown)}; it may have users and items")
    found = {}
    for side in SIDES:
        one, rows = sides.get(side), len(tables[side])
        name = f"counts[{side!r}]" if isinstance(given, Mapping) else "counts"
        if one is None:
            one = _USUAL_COUNT
        if isinstance(one, Real):
            found[side] = np.full(rows, columns.numbers(name, [one], signed=False)[0], np.float64)
            continue
        if not isinstance(given, Mapping):
            raise DataError('counts must be a number, or {"users": ..., "items": ...}, with a number per row or one')
        found[side] = columns.numbers(name, one, signed=False).astype(np.float64)
        if found[side].size != rows:
            raise DataError(f"{name} has {found[side].size} rows, {side[:-1]}_factors has {rows}")
    return found


def _matrix(name: str, given: Any, largest: float) -> np.ndarray:
    """Check factors, [rows, k], none beyond `largest`; return them as float32, without a copy if they are float32."""
    try:
        found = np.asarray(given)
    except MemoryError:
        raise
    except Exception as error:  # arrays of other libraries raise what they like
        raise DataError(f"{name} must be a matrix with a column per factor: {error}") from error
    if found.ndim != 2 or found.shape[1] == 0:
        raise DataError(f"{name} must be a matrix with a column per factor, got shape {found.shape}")
    if not (np.issubdtype(found.dtype, np.number) and np.isrealobj(found)):
        raise DataError(f"{name} must hold real numbers, got dtype {found.dtype}")
    with np.errstate(over="ignore"):
        numbers = found.astype(np.float32, copy=False)
    for first in range(0, len(numbers), _PIECE):  # piece by piece: a mask of the whole would be large
        bad = ~(np.abs(numbers[first : first + _PIECE]) <= largest)
        if bad.any():
            row, column = (int(place) for place in np.argwhere(bad)[0])
            value = found[first + row, column]
            raise DataError(
                f"{name}, row {first + row}, column {column}: {value} is not finite, or too large to be kept"
            )
    return numbers


def _vector(name: str, given: Any, count: int) -> np.ndarray:
    """Check a vector of `count` numbers and return it as float32; zeros if not given."""
    if given is None:
        return np.zeros(count, np.float32)
    numbers = columns.numbers(name, given)
    if numbers.size != count:
        raise DataError(f"{name} has {numbers.size} rows, its factors have {count}")
    return numbers


def _distinct_ids(side: str, given: Any, count: int) -> np.ndarray:
    """Check the ids of a side, which must be distinct; 0, 1, 2, ... if not given."""
    if given is None:
        return np.arange(count)
    ids = columns.ids(side, given)
    if ids.size != count:
        raise DataError(f"{side} has {ids.size} ids, its factors have {count} rows")
    staged = IdMap(rows=count).stage(ids, side)
    if staged.fresh.size != count:
        row = int(np.argmax(staged.rows != np.arange(count)))
        raise DataError(f"{side}, row {row}: {ids[row]!r} is there twice")
    return ids


def _fill(table: Table, factors: np.ndarray, biases: np.ndarray) -> None:
    """Copy vectors and biases into an empty table, in pieces that bound the memory of the copy."""
    count = len(factors)
    table.make_room(count)
    for first in range(0, count, _PIECE):
        last = min(first + _PIECE, count)
        rows = Image(np.zeros((last - first, width), np.float32) for width in table.layout.widths).copy()
        rows.factors[:, : table.shape.size] = factors[first:last]
        rows.records[:, 0] = biases[first:last]
        table.scatter(np.arange(first, last, dtype=np.int32), rows)
    table.count = count
