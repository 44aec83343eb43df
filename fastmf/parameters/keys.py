"""Keys: the form of ids in kernels, 64-bit numbers and UTF-8 text."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from fastmf.kernels.rows import hashing

__all__ = ["NO_BOUNDS", "NO_TEXT", "SMALLEST_TABLE", "Keys", "decode", "encode", "number", "numbered_alone"]

NO_TEXT = np.empty(0, np.uint8)
NO_BOUNDS = np.empty(0, np.int64)
SMALLEST_TABLE = 1 << 7  # pairs of a hash table
_MANY = 1 << 12  # ids of a batch from which a table of marks pays off


class Keys(NamedTuple):
    """A batch of ids for kernels: 64-bit keys, and for text ids their concatenated UTF-8 bytes and bounds."""

    keys: np.ndarray
    text: np.ndarray
    bounds: np.ndarray


def encode(ids: np.ndarray) -> Keys:
    """Encode checked ids for kernels."""
    if ids.dtype != object:
        return Keys(ids, NO_TEXT, NO_BOUNDS)
    pieces = [text.encode() for text in ids]
    bounds = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), out=bounds[1:])
    text = np.frombuffer(b"".join(pieces), np.uint8)
    keys = np.empty(len(pieces), np.int64)
    hashing.hash_text(text, bounds, keys)
    return Keys(keys, text, bounds)


def number(batch: Keys, rows: np.ndarray, known: int) -> np.ndarray:
    """Number unknown ids (rows -1) from `known` on, in order of appearance; return the first position of each.

    The hash table grows with the number of distinct ids: one for as many ids as events would miss every cache.
    """
    if rows.size >= _MANY and not batch.bounds.size:
        low, high = int(batch.keys.min()), int(batch.keys.max())
        if high - low < rows.size:  # a table of marks needs no hash, and misses fewer caches
            marks, first = np.zeros(high - low + 1, np.int32), np.empty(high - low + 1, np.int64)
            return first[: hashing.number_close(batch.keys, low, rows, known, marks, first)]
    size, first = SMALLEST_TABLE, np.empty(0, np.int64)
    new = position = 0
    while position < rows.size:
        first = np.append(first, np.empty(size // 2 - first.size, np.int64))
        scratch = np.zeros(2 * size, np.int64)
        hashing.insert(scratch, NO_BOUNDS, np.zeros(3, np.int64), batch.keys[first[:new]], 0)
        position, new = hashing.number(*batch, rows, known, scratch, first, position, new)
        size *= 4
    return first[:new]


def numbered_alone(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """Number ids without a map, in order of appearance; return the numbers, and how many ids are distinct."""
    rows = np.full(len(ids), -1, np.int32)
    return rows, number(encode(ids), rows, 0).size


def decode(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Read ids from the arrays of a file: int64 ``ids``, or UTF-8 ``text`` and ``bounds``; ValueError otherwise."""
    if "ids" in arrays:
        ids = arrays["ids"]
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise ValueError("ids are not int64 in one column")
    else:
        text, bounds = arrays["text"], arrays["bounds"]
        if bounds.dtype != np.int64 or text.dtype != np.uint8 or bounds.ndim != 1 or text.ndim != 1:
            raise ValueError("text ids are not bytes with int64 bounds")
        if not bounds.size or bounds[0] != 0 or bounds[-1] != text.size or (np.diff(bounds) < 0).any():
            raise ValueError("bounds of text ids do not cover the text")
        content = text.tobytes()
        ids = np.empty(bounds.size - 1, object)
        ids[:] = [content[a:b].decode() for a, b in itertools.pairwise(bounds)]
    return ids
