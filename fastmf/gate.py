"""Gate: lock-free reads of a state that another thread may change, a sequence lock.

A counter is odd during a change. A reader compares the counter before and after a read, and reads again if it has
changed: writers never wait for readers, and an interrupted read leaves nothing behind.

Reference: Boehm (2012), Can Seqlocks Get Along with Programming Language Memory Models?
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

__all__ = ["Gate", "mine"]

_T = TypeVar("_T")
_CHANGED = object()  # the result of a read that a change has invalidated
_TRIES = 4  # lock-free reads before the lock is taken
_LONG = 1e-3  # seconds of lock-free reads: if changes are that frequent, the next read would fail as well
_PATIENCE = 2e-3  # seconds to wait for the lock; training holds it for long, but changes nothing until it is done


class Gate:
    """Sequence lock of a state.

    Attributes
    ----------
    lock : RLock
        Held by the thread that changes the state, also during training.
    changes : ndarray of int64, shape (1,)
        Counter, odd while the state changes. Kernels that change the state in place increment it themselves.
    """

    def __init__(self, lock: threading.RLock | None = None) -> None:
        self.lock = threading.RLock() if lock is None else lock
        self.changes = np.zeros(1, np.int64)
        self._count = memoryview(self.changes)  # type: ignore[arg-type]  # three times as fast to read

    def begin(self) -> None:
        """Mark the begin of a change; idempotent, for a change that was interrupted and is resumed."""
        self.changes[0] |= 1

    def end(self) -> None:
        """Mark the end of a change."""
        self.changes[0] += self.changes[0] & 1

    def ask(self, question: Callable[[], _T], finish: Callable[[], object]) -> _T:
        """Evaluate a function so that it sees one consistent state; `finish` completes an interrupted change."""
        answer = self._try(question)
        return self._ask_again(question, finish) if answer is _CHANGED else answer  # type: ignore[return-value]

    def _try(self, question: Callable[[], _T]) -> _T | object:
        """Return the result, or _CHANGED; an exception is raised only if the state did not change meanwhile."""
        before = self._count[0]
        if before & 1:
            return _CHANGED
        try:
            answer = question()
        except Exception:
            if self._count[0] == before:
                raise
            return _CHANGED
        return answer if self._count[0] == before else _CHANGED

    def _ask_again(self, question: Callable[[], _T], finish: Callable[[], object]) -> _T:
        if mine(self.lock):
            finish()
            return question()
        while True:
            began = time.perf_counter()
            for _ in range(_TRIES):
                if self._count[0] & 1:
                    time.sleep(0)
                    continue
                answer = self._try(question)
                if answer is not _CHANGED:
                    return answer  # type: ignore[return-value]
                if time.perf_counter() - began > _LONG:
                    break
            try:  # an interrupt may arrive as soon as the lock is held
                if self.lock.acquire(timeout=_PATIENCE):
                    finish()
                    return question()
            finally:
                if mine(self.lock):
                    self.lock.release()


def mine(lock: threading.RLock) -> bool:
    """Whether the current thread holds a lock."""
    return lock._is_owned()  # type: ignore[attr-defined, no-any-return]
