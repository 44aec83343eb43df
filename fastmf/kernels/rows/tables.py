"""Copying rows between a model's tables and a working set (gather, scatter), and initialising new rows."""

from __future__ import annotations

import functools

import numpy as np

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.rng import draw, uniform


@functools.cache
def gather(width: int, size: int):
    """The kernel that copies rows of `size` factors padded to `width` to a float32 working set."""
    return _gather(width, size, stamp())


def _gather(width, size, stamp):
    @jit(stamp)
    def gather(table, records, rows, known, start, working, working_records):
        """Copy rows to a working set: working[l] = table[rows[l]] for rows < `known`, else an initial vector.

        start = (seed, side, centre, spread): factor f of a new row is centre + spread * (uniform(0, 1) - 1/2), hashed
        from (seed, side, row, f). Records are copied likewise; that of a new row is zero.
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
    """The compiled `scatter` kernel: writes rows of a working set to a table."""
    return _scatter(width, size, stamp())


def _scatter(width, size, stamp):
    @jit(stamp)
    def scatter(table, records, rows, working, working_records):
        """Write table[rows[l]] = working[l], rounded if the table is float16, and the records likewise."""
        stamp  # noqa: B018
        for local in range(rows.size):
            row = np.int64(rows[local])
            store(table, row, 0, load(working, local, 0, width, size))
            for field in range(records.shape[1]):
                records[row, field] = working_records[local, field]

    return scatter


@functools.cache
def gather_part(width: int):
    """The compiled `gather` kernel of a further part of rows, as wide as their factors."""
    return _gather_part(width, stamp())


def _gather_part(width, stamp):
    @jit(stamp)
    def gather(part, rows, known, first, working):
        """Copy rows to a working set: working[l] = part[rows[l]] for rows < `known`, else first[0]."""
        stamp  # noqa: B018
        for local in range(rows.size):
            row = np.int64(rows[local])
            if row < known:
                store(working, local, 0, load(part, row, 0, width, width))
            else:
                store(working, local, 0, load(first, 0, 0, width, width))

    return gather


@functools.cache
def scatter_part(width: int):
    """The compiled `scatter` kernel of a further part of rows, as wide as their factors."""
    return _scatter_part(width, stamp())


def _scatter_part(width, stamp):
    @jit(stamp)
    def scatter(part, rows, working):
        """Write part[rows[l]] = working[l]."""
        stamp  # noqa: B018
        for local in range(rows.size):
            store(part, np.int64(rows[local]), 0, load(working, local, 0, width, width))

    return scatter
