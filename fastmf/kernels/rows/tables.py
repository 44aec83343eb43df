"""Rows between the tables of a model and a working set: gather, start new ones, scatter."""

from __future__ import annotations

import functools

import numpy as np

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.rng import draw, uniform


@functools.cache
def gather(width: int, size: int):
    """The kernel that copies rows into a float32 working set, for rows of `size` factors padded to `width`."""
    return _gather(width, size, stamp())


def _gather(width, size, stamp):
    @jit(stamp)
    def gather(table, records, rows, known, start, working, working_records):
        """working[l] = table[rows[l]] for known rows, else the start vector of that row; the same for records.

        `start` is (seed, side, centre, spread): factor f of a new row is centre + spread * (uniform(0, 1) - 1/2).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        seed, side, centre, spread = start
        for local in range(rows.size):
            row = np.int64(rows[local])
            if row < known:
                store(working, local, 0, load(table, row, 0, width, size))
                for field in range(records.shape[1]):
                    working_records[local, field] = records[row, field]
            else:
                for factor in range(size):
                    noise = uniform(draw(seed, side, row * width + factor)) - np.float32(0.5)
                    working[local, factor] = centre + spread * noise
                for factor in range(size, width):
                    working[local, factor] = 0.0
                for field in range(records.shape[1]):
                    working_records[local, field] = 0.0

    return gather


@functools.cache
def scatter(width: int, size: int):
    """The kernel that writes rows of a working set back."""
    return _scatter(width, size, stamp())


def _scatter(width, size, stamp):
    @jit(stamp)
    def scatter(table, records, rows, working, working_records):
        """table[rows[l]] = working[l], rounded where the table is half precision; the same for records."""
        stamp  # noqa: B018
        for local in range(rows.size):
            row = np.int64(rows[local])
            store(table, row, 0, load(working, local, 0, width, size))
            for field in range(records.shape[1]):
                records[row, field] = working_records[local, field]

    return scatter
