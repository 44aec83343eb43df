"""Exact top-k search for few queries, pruned by upper bounds from an 8-bit quantized copy of the rows.

A single query is limited by memory bandwidth. It therefore scans the quantized copy, a quarter of the size,

    q_r = step[r] * code[r] + e_r,    p = s * c + d

and reads an original row only if its score may exceed the k-th best, by the Cauchy-Schwarz bound

    p . q_r <= s * step[r] * (c . code[r]) + |p| * slack[r],    slack[r] >= |e_r| + |d| |q_r| / |p| + rounding

The integer dot product is exact. Rows that pass are scored as in tiles.py, so that lists are bitwise equal to those of
topk.py. A bound that is NaN excludes nothing.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rank.tiles import LANES, LONG, TILE, VECTOR, column, lowest, passes, shuffle, totals
from fastmf.kernels.rank.topk import aligned_rows, bar_past, barred, finish, new_mask, sink

STEPS = 127  # the largest absolute code of a row
# Beyond these, float32 products overflow or underflow and the bound is invalid: such rows and queries are not pruned.
_SMALLEST_STEP, _LONGEST, _UNDERFLOW = np.float32(1e-30), 1e18, np.float32(4e-36)
_CHUNK = 32


def code_width(width: int) -> int:
    """The number of codes in a row of `width` factors, padded to whole vectors."""
    return -(-width // _CHUNK) * _CHUNK


def _most(width: int) -> int:
    """The largest code of a query for which its dot product with a row fits 32 bits."""
    return min(2**15 - 1, 2**31 // (STEPS * width) - 1)


@intrinsic(prefer_literal=True)
def _products(typing: Any, point: Any, codes: Any, first: Any, width: Any) -> Any:
    """Lane m: the dot product of 16-bit codes with row first + m of the 8-bit codes, as float32."""
    if not isinstance(width, types.IntegerLiteral):
        return None
    count, wide = width.literal_value, ir.VectorType(ir.IntType(32), _CHUNK)

    def read(builder: Any, pointer: Any, bits: int) -> Any:
        kind = ir.VectorType(ir.IntType(bits), _CHUNK)
        return builder.sext(builder.load(builder.bitcast(pointer, kind.as_pointer()), align=bits // 8), wide)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        own = context.make_array(point)(context, builder, arguments[0]).data
        start = builder.gep(
            context.make_array(codes)(context, builder, arguments[1]).data, [builder.mul(arguments[2], LONG(count))]
        )
        sums: list[Any] = [None] * TILE
        for chunk in range(0, count, _CHUNK):
            part = read(builder, builder.gep(own, [LONG(chunk)]), 16)
            for row in range(TILE):
                product = builder.mul(part, read(builder, builder.gep(start, [LONG(row * count + chunk)]), 8))
                even, odd = (shuffle(builder, product, product, list(range(n, _CHUNK, 2))) for n in (0, 1))
                pairs = builder.add(even, odd)  # fused with the multiplication into pmaddwd
                sums[row] = builder.add(sums[row], pairs) if chunk else pairs
        return builder.sitofp(totals(builder, sums, "add"), VECTOR)

    return LANES(point, codes, types.int64, width), generate


@functools.cache
def encode(shape: Shape) -> Any:
    """The kernel that quantizes rows to 8 bits."""
    return _encode(shape.size, shape.width, _most(shape.width), stamp())


def _encode(size, width, most, stamp):
    @jit(stamp)
    def encode(rows, table, codes, steps, slack):
        """Write codes[r], steps[r] and slack[r] for the rows `rows` of a table."""
        stamp  # noqa: B018 - the cache key, see bridge
        buffer, rest = aligned_rows(1, width), np.float64(width) ** 0.5 / most + 1e-5
        for n in range(rows.size):
            row = np.int64(rows[n])
            store(buffer, 0, 0, load(table, row, 0, width, size))
            largest = 0.0
            for f in range(size):
                largest = max(largest, abs(np.float64(buffer[0, f])))
            step, error, length = np.float32(largest / STEPS), 0.0, 0.0
            for f in range(size):
                factor, code = np.float64(buffer[0, f]), 0.0
                if step > _SMALLEST_STEP:
                    code = min(max(np.rint(factor / step), -STEPS), STEPS)
                codes[row, f] = np.int8(code)
                error += (factor - code * step) ** 2
                length += factor**2
            steps[row], length = step, math.sqrt(length)
            slack[row] = np.float32(1.001 * (math.sqrt(error) + rest * length)) if length < _LONGEST else np.inf

    return encode


@functools.cache
def rank_few(shape: Shape) -> Any:
    """The kernel that finds the best rows of each of a few queries."""
    return _rank_few(
        shape.size, shape.width, code_width(shape.width), record_width(shape.memory), _most(shape.width), stamp()
    )


def _rank_few(size, width, code_width, fields, most, stamp):
    @jit(stamp)
    def rank_few(queries, query_rows, rows, added, copy, candidates, n_candidates, shared, past, owners, best, scores):
        """As topk.rank without `scale`, for candidates 0 to `n_candidates` - 1; copy = (codes, steps, slack)."""
        stamp  # noqa: B018
        codes, steps, slack = copy
        points, coded = aligned_rows(1, width), np.zeros(code_width, np.int16)
        mask = np.empty((n_candidates + 63) // 64, np.int64)
        top, whole = min(best.shape[1], n_candidates), n_candidates - n_candidates % TILE
        for q in range(query_rows.size):
            if query_rows[q] >= 0:
                store(points, 0, 0, load(queries, np.int64(query_rows[q]), 0, width, size))
            else:
                points[0, :] = 0
            largest, length = 0.0, 0.0
            for f in range(size):
                factor = np.float64(points[0, f])
                largest, length = max(largest, abs(factor)), length + factor**2
            step, length = np.float32(largest / most), math.sqrt(length)
            usual = step > _SMALLEST_STEP and length < _LONGEST
            for f in range(size):
                coded[f] = np.int16(np.rint(points[0, f] / step)) if usual else 0
            reach = np.float32(1.001 * length if usual or length == 0 else np.inf)
            new_mask(mask, shared, n_candidates)
            if owners[q] >= 0:
                bar_past(mask, owners[q], past, candidates)
            best[q, :], scores[q, :] = -1, -np.inf
            point, limit = load(points, 0, 0, width, size), np.float32(-np.inf)
            for start in range(0, n_candidates, TILE):
                hits = np.int64((1 << TILE) - 1)
                if start < whole:
                    bound = _products(coded, codes, start, code_width) * (column(steps, start, 1) * step)
                    bound = bound + column(slack, start, 1) * reach + _UNDERFLOW
                    bound = bound + column(added, start, fields)
                    hits = passes(bound, limit)
                while hits:
                    place = start + lowest(hits)
                    hits &= hits - 1
                    if place < n_candidates and not barred(mask, place):
                        score = (point * load(rows, place, 0, width, size)).total() + added[place, 0]
                        if score > limit:
                            sink(best, scores, q, top, place, score)
                            limit = scores[q, 0]
            finish(best, scores, q, top, candidates)

    return rank_few
