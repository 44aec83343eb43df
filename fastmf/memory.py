"""Arrays that grow in place: address space is reserved, and memory is allocated page by page as rows are written.

A reserved array is a NumPy array of the length that the budget allows. It reads as zero and takes no memory until it is
written, so that growth copies nothing, pointers stay valid, and a new row costs only the time to write it.
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
_BUDGETS = 16  # all arrays of a model together reserve less than 16 times its budget
_MODELS = 4  # models, such as copies, that should fit a limited address space
_NO_RESERVE = 0x4000 if sys.platform.startswith("linux") else 0  # MAP_NORESERVE: do not count reserved memory as used
# Flags for mmap, on systems that have them.
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE if hasattr(mmap, "MAP_ANONYMOUS") else None


def default_budget() -> int:
    """Return half of the physical memory of the machine, in bytes; less if the address space is limited."""
    budget = 8 << 30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        budget = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    while budget > _HUGE_PAGE and not _granted(_MODELS * _BUDGETS * budget):
        budget //= 2
    return budget


def row_capacity(budget: int, row_bytes: int) -> int:
    """Return the number of rows of `row_bytes` bytes that a budget allows."""
    return max(1, min(budget // row_bytes, _LARGEST_ROW))


def reserve(rows: int, dtype: np.typing.DTypeLike, width: int | None = None) -> np.ndarray:
    """Reserve a zeroed array of `rows` rows (of `width` elements each), aligned to 64 bytes.

    It takes memory only where it is written.

    Raises
    ------
    CapacityError
        If the system does not grant enough address space.
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
    """Request huge pages for the first `stop` rows of a reserved array that is about to be filled."""
    pages: Any = array.base
    size = stop * array.strides[0] // _HUGE_PAGE * _HUGE_PAGE
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_HUGEPAGE") and size:
        pages.madvise(mmap.MADV_HUGEPAGE, 0, size)


def discard(array: np.ndarray, start: int, stop: int) -> None:
    """Release the memory of elements [start, stop) of a reserved array; they read as zero again.

    Only whole pages are released: elements that share a page with others keep their values.
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
    """Return an uninitialised array of shape (rows, width), aligned to 64 bytes."""
    element = np.dtype(dtype)
    size = rows * width * element.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.__array_interface__["data"][0] % ALIGNMENT
    return buffer[start : start + size].view(element).reshape(rows, width)
