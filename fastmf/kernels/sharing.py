"""What workers of one kernel tell each other: who takes what, and what is done.

Numbers are int64 in arrays that all workers see. What was written to memory before a `write` is seen by whoever has
read its number.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_LONG = ir.IntType(64)
_CAN_YIELD = hasattr(os, "sched_yield")


def _place(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [place])


@intrinsic
def draw_number(typing: Any, counter: Any) -> Any:
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
