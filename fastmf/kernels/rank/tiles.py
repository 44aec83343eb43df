"""Tiles: dot products of a query with sixteen rows at once, each bitwise equal to ``(query * row).total()``.

Products are summed in the order of `total` (see lanes.py), chunks of 16 lanes left to right and then by halving, but
the halving is done for sixteen sums together: fifteen vector additions instead of sixty. The score of a query and a row
therefore does not depend on what else is scored.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastmf.kernels.core.lanes import Lanes, broadcast, lanes_of

TILE = 16

_FLOAT, _INT, LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(_FLOAT, TILE)
LANES = Lanes(TILE, TILE)


def shuffle(builder: Any, one: Any, other: Any, mask: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INT, len(mask)), mask))


def totals(builder: Any, sums: list[Any], add: str = "fadd") -> Any:
    """The totals of sixteen vectors as one vector: pairs (n, n + half) are halved into one that holds lanes of both."""
    lanes = TILE
    while len(sums) > 1:
        half, apart = lanes // 2, len(sums) // 2
        starts = [start + vector for start in range(0, TILE, lanes) for vector in (0, TILE)]
        left = [start + lane for start in starts for lane in range(half)]
        right = [lane + half for lane in left]
        sums = [
            getattr(builder, add)(shuffle(builder, *pair, left), shuffle(builder, *pair, right))
            for pair in zip(sums[:apart], sums[apart:], strict=True)
        ]
        lanes = half
    return sums[0]


@intrinsic
def strip(typing: Any, query: Any, address: Any) -> Any:
    """Lane m: the dot product of a query with the m-th of sixteen contiguous float32 rows at an address."""
    width = query.width

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        point, start = arguments[0], builder.inttoptr(arguments[1], _FLOAT.as_pointer())
        sums: list[Any] = [None] * TILE
        for chunk in range(0, width, TILE):
            part = lanes_of(builder, point, chunk, TILE)
            for row in range(TILE):
                pointer = builder.gep(start, [LONG(row * width + chunk)])
                product = builder.fmul(part, builder.load(builder.bitcast(pointer, VECTOR.as_pointer()), align=64))
                sums[row] = builder.fadd(sums[row], product) if chunk else product
        return totals(builder, sums)

    return LANES(query, types.int64), generate


@intrinsic(prefer_literal=True)
def column(typing: Any, records: Any, first: Any, width: Any) -> Any:
    """Lane m: the first number of record first + m; `width`, a compile-time constant, is the length of a record."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    stride = width.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        layout = context.make_array(records)(context, builder, arguments[0])
        pointer = builder.gep(layout.data, [builder.mul(arguments[1], LONG(stride))])
        vector = builder.load(builder.bitcast(pointer, ir.VectorType(_FLOAT, TILE * stride).as_pointer()), align=4)
        return shuffle(builder, vector, vector, list(range(0, TILE * stride, stride)))

    return LANES(records, types.int64, width), generate


def _compared(instruction: str, relation: str = ">") -> Any:
    """An intrinsic that compares the lanes of `scores` with a number; bit m is the result of lane m."""

    @intrinsic
    def compare(typing: Any, scores: Any, limit: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            passed = getattr(builder, instruction)(relation, arguments[0], broadcast(builder, arguments[1], TILE))
            return builder.zext(builder.bitcast(passed, ir.IntType(TILE)), LONG)

        return types.int64(LANES, types.float32), generate

    return compare


above = _compared("fcmp_ordered")  # false for NaN
passes = _compared("fcmp_unordered")  # true for NaN
reaches = _compared("fcmp_ordered", ">=")  # false for NaN


@intrinsic
def at_least(typing: Any, scores: Any, limits: Any) -> Any:
    """Bit m: whether lane m of `scores` is at least that of `limits`; false for NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reached = builder.fcmp_ordered(">=", *arguments)
        return builder.zext(builder.bitcast(reached, ir.IntType(TILE)), LONG)

    return types.int64(LANES, LANES), generate


@intrinsic
def lowest(typing: Any, bits: Any) -> Any:
    """The index of the lowest set bit; `bits` must not be 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic
def ones(typing: Any, bits: Any) -> Any:
    """The number of set bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate
