"""Similar rows: those of the highest cosine, of their factors or of their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmf.kernels.rank import scores
from fastmf.memory import aligned
from fastmf.parameters.features import features_name
from fastmf.parameters.table import Table
from fastmf.ranking import Pool, Ranking, padded_ids, rank_rows
from fastmf.state import State

__all__ = ["most_alike", "most_similar"]


def most_similar(state: State, side: str, rows: np.ndarray, k: int, threads: int) -> Ranking:
    """Find the rows of a side with the highest cosine to each given row, without itself, and the cosines."""
    group = state.side(side)
    kept = group.table
    lengths = np.empty(kept.count, np.float32)  # rows added meanwhile are not part of this query
    scores.lengths(kept.shape)(kept.factors, lengths)
    usual = _of_usual_length(kept, lengths)
    table = kept if usual else _Directions.of(kept, lengths.size)
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0) if usual else None
    each, nothing = np.arange(rows.size), np.zeros(rows.size, np.int64)
    itself = (each, np.ones(rows.size, np.int32), each, nothing, nothing, rows), each.astype(np.int32)
    best, cosines = rank_rows((table.factors, rows), table, (scale, None), Pool.of(lengths.size), itself, k, threads)
    np.minimum(cosines, 1, out=cosines)  # rounding may exceed the range
    np.maximum(cosines, -1, out=cosines, where=best >= 0)
    return Ranking(padded_ids(group.ids, best), cosines)


def most_alike(state: State, side: str, rows: np.ndarray, k: int) -> Ranking:
    """Find the rows of a side whose features have the highest cosine to those of each given row, without itself.

    Raises
    ------
    ValueError
        If the rows of the side are not drawn to features.
    """
    features, group = state.groups.get(features_name(side)), state.side(side)
    if features is None:
        raise ValueError(f'by="content": the {side} of this model have no priors.Map')
    table = features.gather(np.arange(group.count, dtype=np.int32))  # type: ignore[attr-defined]
    lengths = np.sqrt(np.einsum("nd,nd->n", table, table, dtype=np.float64)).astype(np.float32)
    there = np.flatnonzero(lengths)
    units, width = table[there] / lengths[there, None], min(k, group.count)
    best = np.full((rows.size, width), -1, np.int32)
    cosines = np.full((rows.size, width), -np.inf, np.float32)
    _nearest(units, there, rows, best, cosines)
    return Ranking(padded_ids(group.ids, best), cosines)


def _nearest(units: np.ndarray, there: np.ndarray, rows: np.ndarray, best: np.ndarray, cosines: np.ndarray) -> None:
    """Write the rows among `there`, whose directions are `units`, nearest to each row; ties by row number."""
    places = np.minimum(np.searchsorted(there, rows), max(there.size - 1, 0))
    for n in np.flatnonzero(there[places] == rows) if there.size else ():
        found = units @ units[places[n]]
        found[places[n]] = -np.inf
        count = min(best.shape[1], there.size - 1)
        if count:
            least = np.partition(found, found.size - count)[found.size - count]
            order = np.flatnonzero(found >= least)
            order = order[np.argsort(-found[order], kind="stable")][:count]
            best[n, :count], cosines[n, :count] = there[order], np.clip(found[order], -1, 1)


def _of_usual_length(table: Table, lengths: np.ndarray) -> bool:
    """Whether products of any two rows fit float32; those of zero rows do, and of any rows stored as float16."""
    low, high = lengths.min(initial=1), lengths.max(initial=1)
    if table.layout.storage == "float16" or (low >= scores.SHORTEST and high <= scores.LONGEST):
        return True
    odd = np.flatnonzero((lengths < scores.SHORTEST) | ~(lengths <= scores.LONGEST))
    return not table.factors[odd].any()


@dataclass(frozen=True)
class _Directions:
    """The rows of a table scaled to unit length: products of very short or very long rows may not fit float32."""

    shape: Any
    factors: np.ndarray
    count: int

    @classmethod
    def of(cls, table: Table, count: int) -> _Directions:
        units = aligned(count, table.shape.width)
        scores.directions(table.shape)(table.factors, units)
        return cls(table.shape, units, count)
