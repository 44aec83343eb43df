"""Launching parallel kernels: the only place that does.

Two Python threads that launch concurrently abort the process under Numba's `workqueue` threading layer, and a forked
child is killed under GNU OpenMP if its parent has launched before. Launches are therefore serialised by a lock, the
thread count is set and restored around each, and forked children, single-threaded calls and small inputs use the serial
compilation of the same function.
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
    """The number of threads a launch would use: `threads` or Numba's limit, whichever is less; 1 in a forked child."""
    limit = int(numba.config.NUMBA_NUM_THREADS)
    return 1 if _forked else max(1, min(threads or limit, limit))


def launch(serial: Callable[[], Any], parallel: Callable[[], Any], threads: int, *args: Any) -> Any:
    """Call a kernel with `args`; ``serial()`` and ``parallel()`` return its two versions, and only one is compiled."""
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
    """``[work(part) for part in parts]``, in a thread pool if `threads` > 1; `work` must launch no parallel kernel."""
    if threads <= 1 or _forked:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))
