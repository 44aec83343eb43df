"""Arrays that grow: what a model takes, of memory and of address space, is proportional to what it holds.

An array has the length that there is memory for. Its owner asks :func:`grown` for a longer one that starts with the
same rows, and takes that in its place. A small array is a plain NumPy array, and is copied. A large one is mapped where
a lot of address space is free behind it, and grows by mapping pages there: the longer array is at the same address,
nothing is copied, and every view of the former array is a view of the new one. (Places are spread over a part of the
address space that nothing else uses. Where something is behind an array all the same, it is copied like a small one.)
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from fastmf.errors import CapacityError

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_SMALL = 1 << 16  # bytes: larger arrays are mapped
_FEWEST = 16  # rows of the smallest array
_PAGE = mmap.PAGESIZE
_HUGE_PAGE = 2 << 20
_LARGEST_ROW = 2**31 - 2  # rows are numbered by int32
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container

# Addresses that no system uses by itself: 2^44 to 5 * 2^44, in steps of 1 GiB.
_FIRST, _STEP, _PLACES = 1 << 44, 1 << 30, 16
_TRIES = 16
_SCATTER, _SHIFTS = 40_503, 251  # of pages, or of huge pages
_NO_RESERVE = 0x4000 if sys.platform.startswith("linux") else 0  # MAP_NORESERVE: pages count when they are written


def default_budget() -> int:
    """Return half of the memory of the machine, or of the container, in bytes."""
    memory = 16 << 30
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _LIMITS:
        try:
            memory = min(memory, int(Path(path).read_text()))
        except (OSError, ValueError):  # there is no such file, or no limit: "max"
            continue
    return memory // 2


def row_capacity(budget: int, row_bytes: int) -> int:
    """Return the number of rows of `row_bytes` bytes that a budget allows."""
    return max(1, min(budget // row_bytes, _LARGEST_ROW))


def zeros(rows: int, dtype: np.typing.DTypeLike, width: int | None = None, viewed: bool = False) -> np.ndarray:
    """Return a zeroed array of at least `rows` rows (of `width` elements each), aligned to 64 bytes.

    Parameters
    ----------
    rows : int
        Rows that there must be room for.
    dtype : dtype
    width : int, optional
        Elements of a row; by default the array has one dimension.
    viewed : bool
        Map pages however small the array is, so that views of it are views of what it grows to.

    Raises
    ------
    CapacityError
        If the system does not grant the memory.
    """
    element = np.dtype(dtype)
    row_bytes = element.itemsize * (width or 1)
    if _system is None or not (viewed or rows * row_bytes > _SMALL):
        return _on_heap(max(rows, _FEWEST), element, width)
    return np.asarray(_Pages(max(rows, 1) * row_bytes, element, width))


def grown(array: np.ndarray, rows: int) -> np.ndarray:
    """Return an array of at least `rows` rows that starts with those of `array`, which :func:`zeros` returned.

    The new rows are zero. The cost is that of what is new, except where an array is copied: a small one, or one that
    has something else behind it.

    Raises
    ------
    CapacityError
        If the system does not grant the memory; the array is as before.
    """
    room, pages = len(array), array.base
    if rows <= room:
        return array
    mapped = isinstance(pages, _Pages)
    if mapped and pages.extend(rows * array.strides[0]):  # type: ignore[union-attr]
        return np.asarray(pages)
    larger = zeros(max(rows, 2 * room), array.dtype, array.shape[1] if array.ndim == 2 else None, mapped)
    larger[:room] = array
    return larger


def use_huge_pages(array: np.ndarray, stop: int) -> None:
    """Request huge pages for the first `stop` rows of an array that is about to be filled."""
    pages: Any = array.base
    size = stop * array.strides[0] // _HUGE_PAGE * _HUGE_PAGE
    if isinstance(pages, _Pages) and hasattr(mmap, "MADV_HUGEPAGE") and size:
        _system.madvise(pages.address, size, mmap.MADV_HUGEPAGE)


def discard(array: np.ndarray, start: int, stop: int) -> None:
    """Release the memory of elements [start, stop) of an array; they read as zero again.

    Only whole pages are released, of large arrays: other elements keep their values.
    """
    pages: Any = array.base
    if not (isinstance(pages, _Pages) and hasattr(mmap, "MADV_DONTNEED")):
        return
    first = -(-start * array.itemsize // _PAGE) * _PAGE
    last = stop * array.itemsize // _PAGE * _PAGE
    if last > first:
        _system.madvise(pages.address + first, last - first, mmap.MADV_DONTNEED)


def aligned(rows: int, width: int, dtype: np.typing.DTypeLike = np.float32) -> np.ndarray:
    """Return an uninitialised array of shape (rows, width), aligned to 64 bytes."""
    element = np.dtype(dtype)
    size = rows * width * element.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.__array_interface__["data"][0] % ALIGNMENT
    return buffer[start : start + size].view(element).reshape(rows, width)


def _on_heap(rows: int, element: np.dtype, width: int | None) -> np.ndarray:
    size = rows * (width or 1) * element.itemsize
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    start = -buffer.__array_interface__["data"][0] % ALIGNMENT
    found: np.ndarray = buffer[start : start + size].view(element)
    return found if width is None else found.reshape(rows, width)


class _Pages:
    """Pages mapped from an address on, which NumPy sees as an array.

    Attributes
    ----------
    address, mapped : int
        Where the array starts, and how many bytes are mapped.
    """

    def __init__(self, size: int, element: np.dtype, width: int | None) -> None:
        size = -(-size // _PAGE) * _PAGE
        self.address, self.mapped = _place(size), size
        self._element, self._width = element, width
        _free_with(self, self.address, size)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        rows = self.mapped // (self._element.itemsize * (self._width or 1))
        shape = (rows,) if self._width is None else (rows, self._width)
        return {"data": (self.address, False), "shape": shape, "typestr": self._element.str, "version": 3}

    def extend(self, size: int) -> bool:
        """Map pages behind the end until `size` bytes are mapped, or somewhat more; False where that is refused."""
        unit = _HUGE_PAGE if size >= 4 * _HUGE_PAGE else _PAGE
        wanted, least = (-(-end // _PAGE) * _PAGE for end in (max(size, self.mapped * 5 // 4 + unit), size))
        for more in (wanted - self.mapped, least - self.mapped):
            end = self.address + self.mapped
            if _mapped_at(end, more):
                _free_with(self, end, more)
                self.mapped += more
                return True
        return False


def _free_with(pages: _Pages, address: int, size: int) -> None:
    """Unmap when the array is collected, by one call, which an interrupt cannot cut in two; the exit frees all."""
    weakref.finalize(pages, _system.munmap, address, size).atexit = False


def _place(size: int) -> int:
    """Map `size` bytes where there is a lot of free address space behind them, and return their address."""
    unit = _HUGE_PAGE if size >= _HUGE_PAGE else _PAGE
    for number in itertools.islice(_numbers, _TRIES):
        address = _FIRST + _STEP * int(f"{number % (1 << _PLACES):0{_PLACES}b}"[::-1], 2)  # spread evenly, see below
        address += unit * (number * _SCATTER % _SHIFTS)  # arrays at the same low bits would compete for the same cache
        if _mapped_at(address, size):
            return address
    anywhere = _map(None, size)
    if anywhere is None:
        raise CapacityError(f"the system does not grant {size} bytes of memory")
    return anywhere


# Reversing the bits of 0, 1, 2, ... gives places that are spread evenly, however many there are (van der Corput).
_numbers = itertools.count()


def _mapped_at(address: int, size: int) -> bool:
    """Map bytes at an address; False, and nothing is mapped, where the system chooses another address."""
    found = _map(address, size)
    if found not in (None, address):
        _system.munmap(found, size)
    return found == address


def _map(address: int | None, size: int) -> int | None:
    found = _system.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, _FLAGS, -1, 0)
    return None if found == _FAILED else found


def _loaded() -> Any:
    """Return the C library of a system that maps memory at given addresses, or None."""
    if not hasattr(mmap, "MAP_ANONYMOUS") or sys.maxsize < 1 << 62:
        return None
    library = ctypes.CDLL(None)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype, library.mmap.argtypes = pointer, (pointer, size, number, number, number, ctypes.c_int64)
    library.munmap.argtypes, library.madvise.argtypes = (pointer, size), (pointer, size, number)
    return library


_system = _loaded()
_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE if hasattr(mmap, "MAP_ANONYMOUS") else 0
_FAILED = ctypes.c_void_p(-1).value
