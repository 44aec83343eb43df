"""Lanes: a row of factors as one SIMD vector.

``Lanes(width, size)`` is a Numba type of `width` float32 numbers in one LLVM vector. The first `size` lanes are in use;
the others are padding, which is and stays zero. Usage in kernels and value methods:

    p = load(table, u, 0, width, size)        # row u of a table
    score = (p * q).total()                   # dot product
    p = p - rate * gradient                   # element-wise, with lanes or a scalar
    store(table, u, 0, p)

Fast-math flags are not used: sums are evaluated as a fixed tree, so that serial and parallel code give bitwise equal
results. :class:`Row` implements the same operations in plain Python.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, overload, overload_method, register_model

from fastmf.kernels.core.borrowed import address

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)


class Lanes(types.Type):
    """Numba type of a row: `width` float32 lanes, of which `size` are in use."""

    def __init__(self, width: int, size: int) -> None:
        self.width = width
        self.size = size
        super().__init__(f"Lanes({width}, {size})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, ir.VectorType(_FLOAT, lanes.width))


# --- arithmetic ----------------------------------------------------------------------------------------------------


def broadcast(builder: Any, number: Any, width: int) -> Any:
    vector = ir.VectorType(_FLOAT, width)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(_INT, width), [0] * width))


def _as_vector(context: Any, builder: Any, kind: Any, value: Any, width: int) -> Any:
    if isinstance(kind, Lanes):
        return value
    return broadcast(builder, context.cast(builder, value, kind, types.float32), width)


def _elementwise(instruction: str) -> Any:
    @intrinsic
    def apply(typing: Any, left: Any, right: Any) -> Any:
        lanes = left if isinstance(left, Lanes) else right

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            vectors = [
                _as_vector(context, builder, kind, value, lanes.width)
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            return getattr(builder, instruction)(*vectors)

        return lanes(left, right), generate

    return apply


def _register(operation: Any, instruction: str) -> None:
    apply = _elementwise(instruction)

    @overload(operation)
    def _typed(left, right):
        if isinstance(left, Lanes) and isinstance(right, Lanes) and left != right:
            raise TypingError(f"{left} and {right} have different shapes")
        if isinstance(left, Lanes) or isinstance(right, Lanes):
            return lambda left, right: apply(left, right)
        return None


for _operation, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register(_operation, _instruction)


@intrinsic
def fma(typing: Any, lanes: Any, factor: Any, added: Any) -> Any:
    """Fused multiply-add ``lanes * factor + added``, element-wise; `factor` and `added` are lanes or scalars."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_FLOAT, lanes.width)
        name = f"llvm.fma.v{lanes.width}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        vectors = [
            _as_vector(context, builder, kind, value, lanes.width)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        return builder.call(function, vectors)

    return lanes(lanes, factor, added), generate


@intrinsic
def _rsqrt(typing: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_FLOAT, lanes.width)
        name = f"llvm.sqrt.v{lanes.width}f32"
        sqrt = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
        one = ir.Constant(vector, [1.0] * lanes.width)
        return builder.fdiv(one, builder.call(sqrt, [arguments[0]]))

    return lanes(lanes), generate


@overload_method(Lanes, "rsqrt")
def _rsqrt_method(self):
    return lambda self: _rsqrt(self)


@intrinsic
def single(typing: Any, number: Any) -> Any:
    """A float32 scalar as a row of one lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return broadcast(builder, arguments[0], 1)

    return Lanes(1, 1)(types.float32), generate


# --- sums ----------------------------------------------------------------------------------------------------------


def part_of(builder: Any, vector: Any, start: int, count: int) -> Any:
    mask = ir.Constant(ir.VectorType(_INT, count), list(range(start, start + count)))
    return builder.shuffle_vector(vector, vector, mask)


def _tree_sum(builder: Any, vector: Any, width: int) -> Any:
    """The sum of all lanes: chunks of 16 are added left to right, the remaining 16 (or fewer) by recursive halving."""
    whole = -(-width // 16) * 16 if width > 16 else 1 << (width - 1).bit_length()
    if whole > width:
        zero = ir.Constant(vector.type, [0.0] * width)
        mask = [min(lane, width) for lane in range(whole)]
        vector, width = builder.shuffle_vector(vector, zero, ir.Constant(ir.VectorType(_INT, whole), mask)), whole
    chunk = min(width, 16)
    total = part_of(builder, vector, 0, chunk) if width > chunk else vector
    for start in range(chunk, width, chunk):
        total = builder.fadd(total, part_of(builder, vector, start, chunk))
    while chunk > 1:
        chunk //= 2
        total = builder.fadd(part_of(builder, total, 0, chunk), part_of(builder, total, chunk, chunk))
    return builder.extract_element(total, _INT(0))


@intrinsic
def _total(typing: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _tree_sum(builder, arguments[0], lanes.width)

    return types.float32(lanes), generate


@overload_method(Lanes, "total")
def _total_method(self):
    return lambda self: _total(self)


@intrinsic
def _mean(typing: Any, lanes: Any, memory: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        share = ir.Constant(_FLOAT, float(np.float32(1.0 / lanes.size)))
        mean = builder.fmul(_tree_sum(builder, arguments[0], lanes.width), share)
        return broadcast(builder, mean, memory.width)

    return memory(lanes, memory), generate


@intrinsic
def _spread(typing: Any, memory: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return broadcast(builder, builder.extract_element(arguments[0], _INT(0)), lanes.width)

    return lanes(memory, lanes), generate


@overload_method(Lanes, "mean")
def _mean_method(self, memory):
    return lambda self, memory: _mean(self, memory)


@overload_method(Lanes, "spread")
def _spread_method(self, row):
    return lambda self, row: _spread(self, row)


# --- memory --------------------------------------------------------------------------------------------------------


def _row_pointer(context: Any, builder: Any, kind: Any, table: Any, row: Any, start: int) -> Any:
    return address(context, builder, kind, table, row, ir.IntType(64)(start))


def _half(table_type: Any) -> bool:
    """Whether the table stores float16 numbers (as bit patterns, uint16) rather than float32."""
    if table_type.dtype not in (types.float32, types.uint16):
        raise TypingError(f"lanes are kept in float32 or uint16 tables, not {table_type}")
    return bool(table_type.dtype == types.uint16)


def _alignment(width: int, start: int, itemsize: int) -> int:
    """The alignment of a load in bytes: tables are 64-byte aligned, and so are rows to their largest power of two."""
    return min(64, (width * itemsize) & -(width * itemsize)) if start == 0 else itemsize


@intrinsic(prefer_literal=True)
def load(typing: Any, table: Any, row: Any, start: Any, width: Any, size: Any) -> Any:
    """Lanes from ``table[row, start:start + width]``; `start`, `width` and `size` are compile-time constants."""
    if not all(isinstance(number, types.IntegerLiteral) for number in (start, width, size)):
        return None
    half = _half(table)
    first, lanes = start.literal_value, Lanes(width.literal_value, size.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = ir.HalfType() if half else _FLOAT
        pointer = _row_pointer(context, builder, table, arguments[0], arguments[1], first)
        pointer = builder.bitcast(pointer, ir.VectorType(element, lanes.width).as_pointer())
        vector = builder.load(pointer, align=_alignment(lanes.width, first, 2 if half else 4))
        return builder.fpext(vector, ir.VectorType(_FLOAT, lanes.width)) if half else vector

    return lanes(table, types.int64, start, width, size), generate


@intrinsic(prefer_literal=True)
def store(typing: Any, table: Any, row: Any, start: Any, lanes: Any) -> Any:
    """Write `lanes` to ``table[row, start:start + width]``, rounded if the table is float16; `start` is a constant."""
    if not isinstance(start, types.IntegerLiteral):
        return None
    half = _half(table)
    first = start.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector_type = ir.VectorType(ir.HalfType() if half else _FLOAT, lanes.width)
        vector = builder.fptrunc(arguments[3], vector_type) if half else arguments[3]
        pointer = _row_pointer(context, builder, table, arguments[0], arguments[1], first)
        pointer = builder.bitcast(pointer, vector_type.as_pointer())
        builder.store(vector, pointer, align=_alignment(lanes.width, first, 2 if half else 4))
        return context.get_dummy_value()

    return types.void(table, types.int64, start, lanes), generate


# --- plain Python --------------------------------------------------------------------------------------------------


class Row(np.ndarray):
    """Pure-Python equivalent of lanes: a float32 array with the same methods, without padding.

    Examples
    --------
    >>> row = Row.of([1.0, 2.0, 3.0])
    >>> float((row * row).total())
    14.0
    """

    @classmethod
    def of(cls, numbers: Any) -> Row:
        return np.atleast_1d(np.asarray(numbers, np.float32)).view(cls)

    def total(self) -> np.float32:
        return np.float32(np.sum(np.asarray(self), dtype=np.float32))

    def rsqrt(self) -> Row:
        return Row.of(np.float32(1) / np.sqrt(np.asarray(self)))

    def mean(self, memory: Row) -> Row:  # type: ignore[override]
        return Row.of(np.full(memory.size, np.asarray(self).mean(dtype=np.float32)))

    def spread(self, row: Row) -> Row:
        return Row.of(np.full(row.size, np.asarray(self)[0]))
