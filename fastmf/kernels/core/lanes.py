"""Lanes: a row of factors as SIMD vectors.

``Lanes(width, size)`` is a Numba type of `width` float32 numbers. The first `size` lanes are in use; the others are
padding, which is and stays zero. Usage in kernels and value methods:

    p = load(table, u, 0, width, size)        # row u of a table
    score = (p * q).total()                   # dot product
    p = p - rate * gradient                   # element-wise, with lanes or a scalar
    store(table, u, 0, p)

Fast-math flags are not used: sums are evaluated as a fixed tree, so that serial and parallel code give bitwise equal
results. :class:`Row` implements the same operations in plain Python.

A row is kept in LLVM vectors whose lengths are powers of two: 112 lanes are 64 + 32 + 16. A vector of any other length
is not a legal type, and the compiler takes it apart lane by lane, which is several times slower.
"""

from __future__ import annotations

import functools
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
_LONGEST = 128  # lanes of a vector


class Lanes(types.Type):
    """Numba type of a row: `width` float32 lanes, of which `size` are in use."""

    def __init__(self, width: int, size: int) -> None:
        self.width = width
        self.size = size
        super().__init__(f"Lanes({width}, {size})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        vectors = [ir.VectorType(_FLOAT, count) for _, count in _parts(lanes.width)]
        super().__init__(manager, lanes, vectors[0] if len(vectors) == 1 else ir.LiteralStructType(vectors))


# --- vectors of a row ----------------------------------------------------------------------------------------------


def _parts(width: int) -> list[tuple[int, int]]:
    """The first lane and the length of each vector of a row."""
    found, start = [], 0
    while start < width:
        found.append((start, min(_LONGEST, 1 << (width - start).bit_length() - 1)))
        start = sum(found[-1])
    return found


def _vectors(builder: Any, row: Any) -> list[Any]:
    if isinstance(row.type, ir.VectorType):
        return [row]
    return [builder.extract_value(row, part) for part in range(len(row.type.elements))]


def _row_of(builder: Any, vectors: list[Any]) -> Any:
    if len(vectors) == 1:
        return vectors[0]
    row = ir.Constant(ir.LiteralStructType([vector.type for vector in vectors]), ir.Undefined)
    for part, vector in enumerate(vectors):
        row = builder.insert_value(row, vector, part)
    return row


def broadcast(builder: Any, number: Any, width: int) -> Any:
    """A row of equal lanes."""
    vectors = []
    for _, count in _parts(width):
        undefined = ir.Constant(ir.VectorType(_FLOAT, count), ir.Undefined)
        single = builder.insert_element(undefined, number, _INT(0))
        mask = ir.Constant(ir.VectorType(_INT, count), [0] * count)
        vectors.append(builder.shuffle_vector(single, single, mask))
    return _row_of(builder, vectors)


def lanes_of(builder: Any, row: Any, start: int, count: int) -> Any:
    """Some lanes of a row as one vector; those past its end are zero."""
    vectors, width = _vectors(builder, row), 0
    for vector in vectors:
        first = start - width
        width += vector.type.count
        if first >= 0 and start + count <= width:
            mask = ir.Constant(ir.VectorType(_INT, count), list(range(first, first + count)))
            return vector if count == vector.type.count else builder.shuffle_vector(vector, vector, mask)
    found = ir.Constant(ir.VectorType(_FLOAT, count), [0.0] * count)
    for vector, (first, length) in zip(vectors, _parts(width), strict=True):
        for lane in range(max(start, first), min(start + count, first + length)):
            number = builder.extract_element(vector, _INT(lane - first))
            found = builder.insert_element(found, number, _INT(lane - start))
    return found


# --- arithmetic ----------------------------------------------------------------------------------------------------


def _as_vectors(context: Any, builder: Any, kind: Any, value: Any, width: int) -> list[Any]:
    if not isinstance(kind, Lanes):
        value = broadcast(builder, context.cast(builder, value, kind, types.float32), width)
    return _vectors(builder, value)


def _by_vector(context: Any, builder: Any, signature: Any, arguments: Any, width: int, apply: Any) -> Any:
    """The row of ``apply(vectors)`` for each part of the arguments, lanes or scalars."""
    rows = [
        _as_vectors(context, builder, kind, value, width) for kind, value in zip(signature.args, arguments, strict=True)
    ]
    return _row_of(builder, [apply(*vectors) for vectors in zip(*rows, strict=True)])


def _llvm(builder: Any, name: str, *vectors: Any) -> Any:
    """Call an LLVM intrinsic on vectors."""
    kind = vectors[0].type
    form = ir.FunctionType(kind, [kind] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, form, f"llvm.{name}.v{kind.count}f32")
    return builder.call(function, vectors)


def _elementwise(instruction: str) -> Any:
    @intrinsic
    def apply(typing: Any, left: Any, right: Any) -> Any:
        lanes = left if isinstance(left, Lanes) else right

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _by_vector(context, builder, signature, arguments, lanes.width, getattr(builder, instruction))

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
        fused = functools.partial(_llvm, builder, "fma")
        return _by_vector(context, builder, signature, arguments, lanes.width, fused)

    return lanes(lanes, factor, added), generate


@intrinsic
def _rsqrt(typing: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def inverted(vector: Any) -> Any:
            return builder.fdiv(ir.Constant(vector.type, [1.0] * vector.type.count), _llvm(builder, "sqrt", vector))

        return _by_vector(context, builder, signature, arguments, lanes.width, inverted)

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


def _tree_sum(builder: Any, row: Any, width: int) -> Any:
    """The sum of all lanes: chunks of 16 are added left to right, the remaining 16 (or fewer) by recursive halving."""
    chunk = min(16, 1 << (width - 1).bit_length())
    total = lanes_of(builder, row, 0, chunk)
    for start in range(chunk, width, chunk):
        total = builder.fadd(total, lanes_of(builder, row, start, chunk))
    while chunk > 1:
        chunk //= 2
        total = builder.fadd(lanes_of(builder, total, 0, chunk), lanes_of(builder, total, chunk, chunk))
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
        first = builder.extract_element(_vectors(builder, arguments[0])[0], _INT(0))
        return broadcast(builder, first, lanes.width)

    return lanes(memory, lanes), generate


@overload_method(Lanes, "mean")
def _mean_method(self, memory):
    return lambda self, memory: _mean(self, memory)


@overload_method(Lanes, "spread")
def _spread_method(self, row):
    return lambda self, row: _spread(self, row)


# --- memory --------------------------------------------------------------------------------------------------------


def _literal(kind: Any) -> int | None:
    """The value of a compile-time constant, or None."""
    return kind.literal_value if isinstance(kind, types.IntegerLiteral) else None


def _column(start: Any) -> Any:
    """The type that the first column is passed as: a constant keeps its own, which knows the alignment."""
    return start if isinstance(start, types.IntegerLiteral) else types.int64


def _half(table_type: Any) -> bool:
    """Whether the table stores float16 numbers (as bit patterns, uint16) rather than float32."""
    if table_type.dtype not in (types.float32, types.uint16):
        raise TypingError(f"lanes are kept in float32 or uint16 tables, not {table_type}")
    return bool(table_type.dtype == types.uint16)


def _pointers(context: Any, builder: Any, table: Any, arguments: Any, start: Any, width: int) -> list[Any]:
    """A pointer to each vector of lanes in ``table[row]``, and its alignment in bytes; arguments = (table, row, start).

    Tables are 64-byte aligned, and so are rows to their largest power of two.
    """
    element, itemsize = (ir.HalfType(), 2) if _half(table) else (_FLOAT, 4)
    found = []
    for first, count in _parts(width):
        column = builder.add(arguments[2], ir.IntType(64)(first))
        pointer = address(context, builder, table, *arguments[:2], column)
        aligned = (width | first | 64) * itemsize if _literal(start) == 0 else itemsize
        vector = ir.VectorType(element, count)
        found.append((builder.bitcast(pointer, vector.as_pointer()), min(64, aligned & -aligned)))
    return found


@intrinsic(prefer_literal=True)
def load(typing: Any, table: Any, row: Any, start: Any, width: Any, size: Any) -> Any:
    """Lanes from ``table[row, start:start + width]``; `width` and `size` are compile-time constants."""
    if _literal(width) is None or _literal(size) is None:
        return None
    lanes, half = Lanes(width.literal_value, size.literal_value), _half(table)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = _pointers(context, builder, table, arguments[:3], start, lanes.width)
        vectors = [builder.load(pointer, align=alignment) for pointer, alignment in pointers]
        if half:
            vectors = [builder.fpext(vector, ir.VectorType(_FLOAT, vector.type.count)) for vector in vectors]
        return _row_of(builder, vectors)

    return lanes(table, types.int64, _column(start), width, size), generate


@intrinsic(prefer_literal=True)
def store(typing: Any, table: Any, row: Any, start: Any, lanes: Any) -> Any:
    """Write `lanes` to ``table[row, start:start + width]``, rounded if the table is float16."""
    half = _half(table)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = _pointers(context, builder, table, arguments[:3], start, lanes.width)
        for vector, (pointer, alignment) in zip(_vectors(builder, arguments[3]), pointers, strict=True):
            stored = builder.fptrunc(vector, pointer.type.pointee) if half else vector
            builder.store(stored, pointer, align=alignment)
        return context.get_dummy_value()

    return types.void(table, types.int64, _column(start), lanes), generate


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
