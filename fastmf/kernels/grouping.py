"""Grouping: which rows a batch names, and its events row by row. Everything is O(events)."""

from __future__ import annotations

import numpy as np

from fastmf.kernels.bridge import jit, stamp


def _localize(stamp):
    @jit(stamp)
    def localize(rows, marks, unique, local):
        """Number the distinct `rows` in order of first appearance.

        ``unique[l]`` is the row with local number l and ``unique[local[e]] == rows[e]``. `marks` has a zero for every
        row of the model, before and after. Returns how many are distinct.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        count = 0
        for event in range(rows.size):
            row = rows[event]
            if marks[row] == 0:
                unique[count] = row
                count += 1
                marks[row] = count
            local[event] = marks[row] - 1
        for number in range(count):
            marks[unique[number]] = 0
        return count

    return localize


def _order_by(stamp):
    @jit(stamp)
    def order_by(keys, count, order, starts):
        """A stable counting sort: ``keys[order]`` ascends, key k at ``order[starts[k]:starts[k + 1]]``."""
        stamp  # noqa: B018
        starts[:] = 0
        for event in range(keys.size):
            starts[keys[event] + 1] += 1
        for key in range(count):
            starts[key + 1] += starts[key]
        for event in range(keys.size):
            key = keys[event]
            order[starts[key]] = event
            starts[key] += 1
        for key in range(count, 0, -1):
            starts[key] = starts[key - 1]
        starts[0] = 0

    return order_by


_localize_kernel, _order_kernel = _localize(stamp()), _order_by(stamp())


def localize(rows: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows in order of first appearance (int32), and the place of every event's row among them (int32)."""
    unique, local = np.empty(rows.size, np.int32), np.empty(rows.size, np.int32)
    count = _localize_kernel(rows, marks, unique, local)
    return unique[:count], local


def order_by(keys: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The stable order (int64) that sorts `keys`, integers below `count`, and the start of each key in it."""
    order, starts = np.empty(keys.size, np.int64), np.empty(count + 1, np.int64)
    _order_kernel(keys, count, order, starts)
    return order, starts
