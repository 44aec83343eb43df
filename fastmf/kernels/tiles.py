"""Tiles: sixteen dot products at once, each with the very bits of ``(query * row).total()``.

Four queries meet four rows, or one query meets sixteen. Products are added in the order of a total (see lanes.py),
chunks of 16 lanes from the left and the rest by halving; only, sixteen such sums are halved together, which takes
fifteen vector additions instead of sixty. So a pair of rows has one score, whatever it is scored among.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastmf.kernels.lanes import Lanes, _slice

SIDE = 4  # queries and rows of a square tile
TILE = SIDE * SIDE

_FLOAT, _INT, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, TILE)
_LANES = Lanes(TILE, TILE)


def _shuffle(builder: Any, one: Any, other: Any, mask: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_INT, len(mask)), mask))


def _totals(builder: Any, sums: list[Any]) -> Any:
    """The totals of sixteen vectors, as one: vectors n and n + half are halved into one that holds lanes of both."""
    lanes = TILE
    while len(sums) > 1:
        half, apart = lanes // 2, len(sums) // 2
        starts = [start + vector for start in range(0, TILE, lanes) for vector in (0, TILE)]
        left = [start + lane for start in starts for lane in range(half)]
        right = [lane + half for lane in left]
        sums = [
            builder.fadd(_shuffle(builder, *pair, left), _shuffle(builder, *pair, right))
            for pair in zip(sums[:apart], sums[apart:], strict=True)
        ]
        lanes = half
    return sums[0]


def _dots(builder: Any, queries: list[Any], width: int, address: Any) -> Any:
    """Totals of each query with the float32 rows that follow each other at an address: query after query."""
    start = builder.inttoptr(address, _FLOAT.as_pointer())
    sums: list[Any] = [None] * TILE
    each = TILE // len(queries)
    for chunk in range(0, width, TILE):
        parts = [query if width == TILE else _slice(builder, query, chunk, TILE) for query in queries]
        for row in range(each):
            pointer = builder.gep(start, [_LONG(row * width + chunk)])
            loaded = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=64)
            for query, part in enumerate(parts):
                product, place = builder.fmul(part, loaded), query * each + row
                sums[place] = builder.fadd(sums[place], product) if chunk else product
    return _totals(builder, sums)


@intrinsic
def square(typing: Any, p: Any, q: Any, r: Any, s: Any, address: Any) -> Any:
    """Lane 4 n + m: the dot product of the n-th of four queries and the m-th of four rows at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _dots(builder, list(arguments[:SIDE]), p.width, arguments[SIDE])

    return _LANES(p, q, r, s, types.int64), generate


@intrinsic
def strip(typing: Any, query: Any, address: Any) -> Any:
    """Lane m: the dot product of a query and the m-th of sixteen rows at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _dots(builder, [arguments[0]], query.width, arguments[1])

    return _LANES(query, types.int64), generate


@intrinsic(prefer_literal=True)
def column(typing: Any, records: Any, first: Any, width: Any) -> Any:
    """Lane m: the first number of record first + m; `width`, a compile-time constant, is the length of a record."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    stride = width.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        layout = context.make_array(records)(context, builder, arguments[0])
        pointer = builder.gep(layout.data, [builder.mul(arguments[1], _LONG(stride))])
        vector = builder.load(builder.bitcast(pointer, ir.VectorType(_FLOAT, TILE * stride).as_pointer()), align=4)
        return _shuffle(builder, vector, vector, list(range(0, TILE * stride, stride)))

    return _LANES(records, types.int64, width), generate


def _spread(count: int, mask: list[int]) -> Any:
    """The intrinsic that loads `count` neighbours of a float32 array into the lanes that `mask` says."""

    @intrinsic
    def spread(typing: Any, array: Any, first: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            layout = context.make_array(array)(context, builder, arguments[0])
            pointer = builder.gep(layout.data, [arguments[1]])
            vector = builder.load(builder.bitcast(pointer, ir.VectorType(_FLOAT, count).as_pointer()), align=4)
            return _shuffle(builder, vector, vector, mask)

        return _LANES(array, types.int64), generate

    return spread


by_query = _spread(SIDE, [lane // SIDE for lane in range(TILE)])  # of a square tile: a number of each query
by_row = _spread(SIDE, [lane % SIDE for lane in range(TILE)])  # of a square tile: a number of each row
in_all = _spread(1, [0] * TILE)  # of a strip: the query's number
in_line = _spread(TILE, list(range(TILE)))  # of a strip: a number of each row


@intrinsic
def above(typing: Any, scores: Any, limits: Any) -> Any:
    """Bit n: whether lane n of `scores` is greater than that of `limits`; NaN is not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        greater = builder.fcmp_ordered(">", *arguments)
        return builder.zext(builder.bitcast(greater, ir.IntType(TILE)), _LONG)

    return types.int64(_LANES, _LANES), generate


@intrinsic
def lowest(typing: Any, bits: Any) -> Any:
    """The place of the lowest bit set; there must be one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate
