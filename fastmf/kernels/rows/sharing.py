"""What workers of one kernel tell each other: who takes what, and what is done.

Numbers are int64 in arrays that all workers see. What was written to memory before a `write` is seen by whoever has
read its number.
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


def _place(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    if isinstance(kind, Borrowed):
        return builder.gep(cgutils.create_struct_proxy(kind)(context, builder, value=array).data, [place])
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


@intrinsic
def fetch_add(typing: Any, counter: Any) -> Any:
    """The number in ``counter[0]``, which becomes one more: no two workers get the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, counter, arguments[0], _LONG(0))
        return builder.atomic_rmw("add", pointer, _LONG(1), "monotonic")

    return types.int64(counter), generate


@intrinsic
def read(typing: Any, numbers: Any, place: Any) -> Any:
    """``numbers[place]`` as it is now."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, numbers, *arguments), "acquire", 8)

    return types.int64(numbers, types.int64), generate


@intrinsic
def write(typing: Any, numbers: Any, place: Any, number: Any) -> Any:
    """numbers[place] = number, for all to see."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _place(context, builder, numbers, *arguments[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.int64, types.int64), generate


@intrinsic
def yield_core(typing: Any) -> Any:
    """Let another thread have the core: the one that is waited for may need it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _CAN_YIELD:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), generate


# --- blocks that share no row -----------------------------------------------------------------------------------------


@njit
def start_blocks(blocks):
    """What workers on some blocks share: the next to take, and how many strata each band of users and items has done.

    blocks = (bounds, order, bands, first, last): block b is events bounds[b] to bounds[b + 1]; those to train on are
    order[first:last], `bands` to a stratum, no two of which share a movable row.
    """
    return np.full(1, blocks[3]), np.zeros(blocks[2], np.int64), np.zeros(blocks[2], np.int64)


@njit
def take_block(blocks, progress):
    """The next block and its item band, once those of the stratum before that share its users or items are done.

    So rows see their events in one order whatever the number of workers, and nobody waits for a whole stratum. The
    block is -1 where there is none left.
    """
    _, order, bands, first, last = blocks
    taken, done_users, done_items = progress
    place = fetch_add(taken)
    if place >= last:
        return -1, -1
    block, stratum = order[place], (place - first) // bands
    item_band = (block % bands + block // bands) % bands
    while read(done_users, block % bands) < stratum or read(done_items, item_band) < stratum:
        yield_core()
    return block, item_band


@njit
def finish_block(blocks, progress, block, item_band):
    """Let the next stratum have the bands of a block: each stratum has one block of every band."""
    _, done_users, done_items = progress
    stratum = read(done_items, item_band) + 1
    write(done_users, block % blocks[2], stratum)
    write(done_items, item_band, stratum)


# --- what changes beside questions: the count of a Gate ---------------------------------------------------------------


@njit
def begin(changes):
    """Make the count odd, unless whoever calls the kernel has; whether it was done here."""
    if read(changes, 0) % 2:
        return False
    turn(changes)
    return True


@njit
def end(changes, begun):
    """Make the count even again, if it was made odd here."""
    if begun:
        turn(changes)


@intrinsic
def turn(typing: Any, counter: Any) -> Any:
    """Make ``counter[0]`` one more. Nothing that is written before or after is seen on the other side of it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, counter, arguments[0], _LONG(0))
        builder.atomic_rmw("add", pointer, _LONG(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(counter), generate
