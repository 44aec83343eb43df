"""Arrays that grow without ever moving: address space is reserved, memory comes page by page as rows are written.

A reserved array is a NumPy array as long as the budget allows. It reads as zero and costs nothing until it is written,
so that growth copies nothing, pointers stay valid, and the cost of a new row is the cost of writing it.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

import numpy as np

from fastmf.errors import CapacityError

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_HUGE_PAGE = 2 << 20
_LARGEST_ROW = 2**31 - 2  # rows are numbered by int32
_BUDGETS = 16  # all arrays of a model together reserve less than so many times its budget
_MODELS = 4  # that are to find room for copies of themselves where address space is limited
_NO_RESERVE = 0x4000 if sys.platform.startswith("linux") else 0  # MAP_NORESERVE: address space is no claim on memory
# What mmap is told, where it can be told anything.
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE if hasattr(mmap, "MAP_ANONYMOUS") else None


def default_budget() -> int:
    """Half the physical memory of the machine, in bytes; less where the system grants too little address space."""
    budget = 8 << 30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        budget = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    while budget > _HUGE_PAGE and not _granted(_MODELS * _BUDGETS * budget):
        budget //= 2
    return budget


def row_capacity(budget: int, row_bytes: int) -> int:
    """How many rows of `row_bytes` bytes a budget allows."""
    return max(1, min(budget // row_bytes, _LARGEST_ROW))


def reserve(rows: int, dtype: np.typing.DTypeLike, width: int | None = None) -> np.ndarray:
    """A zero array of `rows` rows (of `width` elements each), aligned to 64 bytes, that takes memory where written.

    Raises
    ------
    CapacityError
        Where the system does not grant so much address space.
    """
    element = np.dtype(dtype)
    size = rows * element.itemsize * (width or 1)
    try:
        pages = _anonymous(max(size, 1))
    except OSError as error:
        raise CapacityError(
            f"the system does not grant {size} bytes of address space; Options(memory=...) asks for less"
        ) from error
    return np.ndarray(rows if width is None else (rows, width), element, buffer=pages)


def use_huge_pages(array: np.ndarray, stop: int) -> None:
    """Ask for large pages under the first `stop` rows of a reserved array that is about to be filled at once."""
    pages: Any = array.base
    size = stop * array.strides[0] // _HUGE_PAGE * _HUGE_PAGE
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_HUGEPAGE") and size:
        pages.madvise(mmap.MADV_HUGEPAGE, 0, size)


def discard(array: np.ndarray, start: int, stop: int) -> None:
    """Give the memory of elements [start, stop) of a reserved array back to the system; they read as zero again.

    Whole pages only: what shares a page with other elements stays as it is.
    """
    pages: Any = array.base
    if not (isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED")):
        return
    first = -(-start * array.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
    last = stop * array.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
    if last > first:
        pages.madvise(mmap.MADV_DONTNEED, first, last - first)


def _granted(size: int) -> bool:
    try:
        _anonymous(size).close()
    except OSError:
        return False
    return True


def _anonymous(size: int) -> mmap.mmap:
    if _FLAGS is None:
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=_FLAGS)


def aligned(rows: int, width: int, dtype: np.typing.DTypeLike = np.float32) -> np.ndarray:
    """An uninitialised array of shape [rows, width] that starts on 64 bytes."""
    element = np.dtype(dtype)
    size = rows * width * element.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.__array_interface__["data"][0] % ALIGNMENT
    return buffer[start : start + size].view(element).reshape(rows, width)
