"""Columns of a table as features: numbers, and an indicator for each category and tag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions.cells import Cells, fail, gather, is_missing

__all__ = ["named_columns"]

_FEWEST = 2  # rows that an indicator needs: what is known of one alone tells nothing of others
_BETWEEN = "|"  # tags in one text


def named_columns(
    wanted: dict[str, list[Any]], data: dict[Any, Any], count: int
) -> tuple[NDArray[np.float32], list[str]]:
    """Numbers, then indicators of categories, then of tags, as float32[count, d]; and the names of these columns."""
    blocks: list[NDArray[np.float32]] = []
    names: list[str] = []
    for label in wanted["numbers"]:
        blocks.append(_numbers(str(label), data[label], count)[:, None])
        names.append(str(label))
    for kind, split in (("categories", _category), ("tags", _tags)):
        for label in wanted[kind]:
            cells = list(gather(str(label), data[label]))
            _require_length(str(label), cells, count)
            sets = [split(str(label), row, cell) for row, cell in enumerate(cells)]
            seen = Counter(one for found in sets if found for one in found)
            kept = sorted(one for one, rows in seen.items() if rows >= _FEWEST)
            blocks.append(_indicators(sets, kept))
            names += [f"{label}={one}" for one in kept]
    found = np.concatenate(blocks, axis=1)
    if not found.shape[1]:
        raise DataError("no category and no tag is that of two rows: there is nothing to learn from them")
    return found, names


def _require_length(name: str, cells: Cells, count: int) -> None:
    if len(cells) != count:
        raise DataError(f"column {name!r} has {len(cells)} rows, the ids have {count}")


def _numbers(name: str, data: Any, count: int) -> NDArray[np.float32]:
    cells = gather(name, data)
    _require_length(name, cells, count)
    if isinstance(cells, list):
        cells = np.array([np.nan if is_missing(cell) else _number(name, row, cell) for row, cell in enumerate(cells)])
    elif cells.dtype.kind not in "biuf":
        fail(name, 0, cells[0], f"is of type {cells.dtype}; this column holds real numbers")
    with np.errstate(over="ignore"):
        found = cells.astype(np.float32)
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        fail(name, row, cells[row], "is not finite, or beyond float32")
    return found


def _number(name: str, row: int, cell: Any) -> float:
    try:
        return float("x" if isinstance(cell, str | bytes) else cell)
    except (TypeError, ValueError, OverflowError):
        fail(name, row, cell, f"is of type {type(cell).__name__}; this column holds real numbers")


def _category(name: str, row: int, cell: Any) -> list[str] | None:
    """The category of a row; None if it is missing."""
    if is_missing(cell):
        return None
    if not isinstance(cell, str | int | np.integer | np.bool_):
        fail(name, row, cell, f"is of type {type(cell).__name__}; categories are strings, integers or bools")
    return [str(cell)]


def _tags(name: str, row: int, cell: Any) -> set[str] | None:
    """The tags of a row; None if they are missing."""
    if is_missing(cell):
        return None
    if isinstance(cell, str):
        return {tag for tag in cell.split(_BETWEEN) if tag}
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if not isinstance(cell, Collection) or not all(isinstance(tag, str) for tag in cell):
        fail(name, row, cell, "is no text and no list of texts")
    return set(cell)


def _indicators(sets: list[Any], kept: list[str]) -> NDArray[np.float32]:
    place, found = {one: column for column, one in enumerate(kept)}, np.zeros((len(sets), len(kept)), np.float32)
    for row, tags in enumerate(sets):
        if tags is None:
            found[row] = np.nan
            continue
        found[row, [place[one] for one in tags if one in place]] = 1
    return found
