"""Borrowed arrays: views without reference counting, passed by kernels to the functions they call.

Numba increments an atomic reference count for every array passed to a call, even an inlined one, at a cost comparable
to a hash look-up or a gradient step. A borrowed array is a plain struct of the data address and the row stride in bytes
and is not reference-counted; the caller must keep the array alive. It has no shape, and access is not bounds-checked.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

_BYTE, _INT = ir.IntType(8).as_pointer(), ir.IntType(32)


class Borrowed(types.Type):
    """Numba type of a borrowed array of one or two dimensions whose rows are contiguous."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(f"Borrowed({dtype})")


@register_model(Borrowed)
class _BorrowedModel(models.StructModel):
    def __init__(self, manager: Any, borrowed: Borrowed) -> None:
        super().__init__(manager, borrowed, [("data", types.CPointer(borrowed.dtype)), ("stride", types.intp)])


def _make(context: Any, builder: Any, borrowed: Borrowed, data: Any, stride: Any) -> Any:
    view = cgutils.create_struct_proxy(borrowed)(context, builder)
    view.data, view.stride = data, stride
    return view._getvalue()


@intrinsic
def borrow(typing: Any, array: Any) -> Any:
    """A borrowed view of a NumPy array."""
    borrowed = Borrowed(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        layout = context.make_array(array)(context, builder, arguments[0])
        if array.ndim == 1 and array.layout == "C":  # a constant stride is folded into the addressing mode
            stride = ir.IntType(64)(context.get_abi_sizeof(context.get_data_type(array.dtype)))
        else:
            stride = builder.extract_value(layout.strides, 0)
        return _make(context, builder, borrowed, layout.data, stride)

    return borrowed(array), generate


@intrinsic
def row_of(typing: Any, array: Any, row: Any) -> Any:
    """Row `row` of a two-dimensional borrowed array, as a one-dimensional borrowed array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = address(context, builder, array, *arguments, ir.IntType(64)(0))
        data = context.get_data_type(array.dtype)
        stride = ir.IntType(64)(context.get_abi_sizeof(data))
        return _make(context, builder, array, builder.bitcast(found, data.as_pointer()), stride)

    return array(array, types.int64), generate


@intrinsic
def borrow_at(typing: Any, address: Any, dtype: Any, width: Any) -> Any:
    """A borrowed array of `dtype` at a memory address, with rows of `width` contiguous elements."""
    borrowed = Borrowed(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = builder.inttoptr(arguments[0], context.get_data_type(borrowed.dtype).as_pointer())
        size = context.get_abi_sizeof(context.get_data_type(borrowed.dtype))
        return _make(context, builder, borrowed, data, builder.mul(arguments[2], ir.IntType(64)(size)))

    return borrowed(types.int64, dtype, types.int64), generate


@intrinsic
def narrow(typing: Any, array: Any, width: Any) -> Any:
    """The same memory as rows of `width` elements; the array must be contiguous."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = cgutils.create_struct_proxy(array)(context, builder, value=arguments[0])
        size = context.get_abi_sizeof(context.get_data_type(array.dtype))
        return _make(context, builder, array, view.data, builder.mul(arguments[1], ir.IntType(64)(size)))

    return array(array, types.int64), generate


def address(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
    """LLVM pointer (to bytes) to element [row, column] of a NumPy or borrowed array."""
    view = (
        cgutils.create_struct_proxy(kind)(context, builder, value=array)
        if isinstance(kind, Borrowed)
        else context.make_array(kind)(context, builder, array)
    )
    stride = view.stride if isinstance(kind, Borrowed) else builder.extract_value(view.strides, 0)
    size = stride.type(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    offset = builder.add(builder.mul(row, stride), builder.mul(column, size))
    return builder.gep(builder.bitcast(view.data, _BYTE), [offset])


def _pointer(context: Any, builder: Any, kind: Borrowed, array: Any, place: Any) -> Any:
    """Typed pointer to an element; `place` is an index, or a (row, column) tuple."""
    row, column = (place, ir.IntType(64)(0)) if place.type == ir.IntType(64) else cgutils.unpack_tuple(builder, place)
    found = address(context, builder, kind, array, row, column)
    return builder.bitcast(found, context.get_data_type(kind.dtype).as_pointer())


def _place(place: Any) -> Any:
    return types.UniTuple(types.int64, 2) if isinstance(place, types.BaseTuple) else types.int64


@intrinsic
def _get(typing: Any, array: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, array, *arguments))

    return array.dtype(array, _place(place)), generate


@intrinsic
def _set(typing: Any, array: Any, place: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, array, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(array, _place(place), array.dtype), generate


@overload(operator.getitem)
def _getitem(array, place):
    return (lambda array, place: _get(array, place)) if isinstance(array, Borrowed) else None


@overload(operator.setitem)
def _setitem(array, place, value):
    return (lambda array, place, value: _set(array, place, value)) if isinstance(array, Borrowed) else None


def _fetchers(write: int) -> tuple[Any, Any]:
    """Two prefetch intrinsics: for the cache line of an element, and for a whole row of `width` float32 numbers."""

    def fetch(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: int) -> None:
        found = address(context, builder, kind, array, row, ir.IntType(64)(column))
        form = ir.FunctionType(ir.VoidType(), [_BYTE, _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0i8")
        builder.call(function, [found, _INT(write), _INT(3), _INT(1)])

    @intrinsic
    def of_element(typing: Any, array: Any, place: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            fetch(context, builder, array, *arguments, 0)
            return context.get_dummy_value()

        return types.void(array, types.int64), generate

    @intrinsic(prefer_literal=True)
    def of_row(typing: Any, array: Any, row: Any, width: Any) -> Any:
        if not isinstance(width, types.IntegerLiteral):
            return None

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            for column in range(0, width.literal_value, 16):
                fetch(context, builder, array, *arguments[:2], column)
            return context.get_dummy_value()

        return types.void(array, types.int64, width), generate

    return of_element, of_row


prefetch, prefetch_row = _fetchers(write=0)
prefetch_write, prefetch_write_row = _fetchers(
    write=1
)  # prefetch for writing: invalidates the line in other cores' caches ahead of the store
