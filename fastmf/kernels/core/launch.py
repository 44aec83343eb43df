"""The one place where parallel kernels start.

Two Python threads that launch at once abort the process under Numba's `workqueue` layer, and a child forked after a
launch is killed under GNU OpenMP. So launches are serialised, the thread count is set and restored around each, and a
forked child, a single thread and small work run the serial compilation of the same body.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba

_T, _R = TypeVar("_T"), TypeVar("_R")
_lock = threading.Lock()
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def usable_threads(threads: int | None) -> int:
    """How many threads a launch would use: as many as asked for, or as Numba may start, or one in a forked child."""
    limit = int(numba.config.NUMBA_NUM_THREADS)
    return 1 if _forked else max(1, min(threads or limit, limit))


def launch(serial: Callable[[], Any], parallel: Callable[[], Any], threads: int, *args: Any) -> Any:
    """Run a kernel on `args`: ``serial()`` and ``parallel()`` give its two compilations, so that only one is made."""
    if threads <= 1 or _forked:
        return serial()(*args)
    kernel = parallel()
    with _lock: return _on(threads, kernel, args)  # fmt: skip  # noqa: E701 - no line on which to be interrupted at its end


def _on(threads: int, kernel: Any, args: tuple[Any, ...]) -> Any:
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(threads)
        return kernel(*args)
    finally:
        numba.set_num_threads(before)


def parallel_map(work: Callable[[_T], _R], parts: Sequence[_T], threads: int) -> list[_R]:
    """``work(part)`` for every part, on several threads where there are; for kernels without threads of their own."""
    if threads <= 1 or _forked:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))
