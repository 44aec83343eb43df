"""Synchronisation: atomic counters, block scheduling for the workers of a parallel kernel, and the sequence lock.

Shared numbers are int64 array elements. `read` and `write` have acquire and release semantics: memory written before a
`write` is visible to a thread that has `read` the value.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastmf.kernels.core.borrowed import Borrowed

_LONG = ir.IntType(64)
_CAN_YIELD = hasattr(os, "sched_yield")
PATIENCE = 50  # looks for a block of its own, after which a worker takes from others


def _place(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    if isinstance(kind, Borrowed):
        return builder.gep(cgutils.create_struct_proxy(kind)(context, builder, value=array).data, [place])
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


@intrinsic
def fetch_add(typing: Any, counter: Any) -> Any:
    """Atomically increment ``counter[0]``; returns its previous value, unique to each caller."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, counter, arguments[0], _LONG(0))
        return builder.atomic_rmw("add", pointer, _LONG(1), "monotonic")

    return types.int64(counter), generate


@intrinsic
def read(typing: Any, numbers: Any, place: Any) -> Any:
    """Load ``numbers[place]`` with acquire ordering."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, numbers, *arguments), "acquire", 8)

    return types.int64(numbers, types.int64), generate


@intrinsic
def write(typing: Any, numbers: Any, place: Any, number: Any) -> Any:
    """Store `number` to ``numbers[place]`` with release ordering."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _place(context, builder, numbers, *arguments[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, types.int64), generate


@intrinsic
def claim(typing: Any, numbers: Any, place: Any, number: Any) -> Any:
    """Replace ``numbers[place]`` by `number` + 1 if it is `number`, atomically; returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, numbers, *arguments[:2])
        following = builder.add(arguments[2], _LONG(1))
        return builder.extract_value(builder.cmpxchg(pointer, arguments[2], following, "acq_rel", "monotonic"), 1)

    return types.boolean(numbers, types.int64, types.int64), generate


@intrinsic
def yield_core(typing: Any) -> Any:
    """Yield the processor to another thread (``sched_yield``), where the system supports it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _CAN_YIELD:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


# --- blocks that share no row -----------------------------------------------------------------------------------------


@njit
def start_blocks(blocks):
    """Progress shared by the workers: strata taken per user band, strata completed per user band and per item band.

    And the worker that each item band was with last. blocks = (bounds, order, bands, first, last): block b is events
    bounds[b] to bounds[b + 1]; those to process are order[first:last], `bands` per stratum, in order of user bands; no
    two blocks of a stratum share a movable row.
    """
    bands = blocks[2]
    return np.zeros(bands, np.int64), np.zeros(bands, np.int64), np.zeros(bands, np.int64), np.full(bands, -1)


@njit
def take_block(blocks, progress, worker, workers):
    """Take a block; returns it and its item band. Returns block -1 when none is left.

    A block may be taken once both its bands are done with the previous stratum. Each row thus sees its events in the
    same order for any number of workers, without a barrier between strata. User bands have a worker each, and of these
    blocks one is taken whose items this worker had last, if there is any: what moves from core to core costs as much as
    many events. A worker that has waited takes from others.
    """
    _, order, bands, first, last = blocks
    taken, done_users, done_items, kept_by = progress
    strata, waited, me = (last - first) // bands, 0, np.int64(worker)
    while True:
        best, chosen, chosen_stratum, left = np.int64(1) << 60, -1, 0, False
        for band in range(bands):
            stratum = read(taken, band)
            if stratum >= strata:
                continue
            left = True
            if band * workers // bands != me and waited < PATIENCE:
                continue
            item_band = _item_band(order[first + stratum * bands + band], bands)
            if read(done_users, band) < stratum or read(done_items, item_band) < stratum:
                continue
            cost = stratum if kept_by[item_band] == me or kept_by[item_band] < 0 else stratum + strata
            if cost < best:
                best, chosen, chosen_stratum = cost, band, stratum
        if not left:
            return -1, -1
        if chosen >= 0 and claim(taken, chosen, chosen_stratum):
            block = order[first + chosen_stratum * bands + chosen]
            kept_by[_item_band(block, bands)] = me
            return block, _item_band(block, bands)
        waited += 1
        if chosen < 0:
            yield_core()


@njit
def _item_band(block, bands):
    return (block % bands + block // bands) % bands


@njit
def finish_block(blocks, progress, block, item_band):
    """Mark a block as finished, which releases its user band and item band to the next stratum."""
    _, done_users, done_items, _ = progress
    stratum = read(done_items, item_band) + 1
    write(done_users, block % blocks[2], stratum)
    write(done_items, item_band, stratum)


# --- sequence lock: the change count of a Gate, see gate.py -----------------------------------------------------------


@njit
def begin(changes):
    """Make the count odd (a change is in progress), unless the caller already has; returns whether it was done here."""
    if read(changes, 0) % 2:
        return False
    turn(changes)
    return True


@njit
def end(changes, begun):
    """Make the count even again, if `begin` made it odd."""
    if begun:
        turn(changes)


@intrinsic
def turn(typing: Any, counter: Any) -> Any:
    """Increment ``counter[0]`` with sequentially consistent ordering: no memory access is reordered across it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, counter, arguments[0], _LONG(0))
        builder.atomic_rmw("add", pointer, _LONG(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(counter), generate
