"""Gate: questions beside changes, without a lock.

A count is odd while something changes. Whoever asks looks at the count before and after, and asks again where it has
moved: a change never waits, and an interrupted question leaves nothing behind.

Reference: Boehm (2012), Can Seqlocks Get Along with Programming Language Memory Models?
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

__all__ = ["Gate"]

_T = TypeVar("_T")
_CHANGED = object()  # the answer to a question that a change came between
_TRIES = 4  # before changes are locked out
_LONG = 1e-3  # seconds that tries may take: changes that are as frequent will not leave a gap for the next one
_PATIENCE = 2e-3  # seconds to wait for the lock, which training holds for long: it changes nothing until it is done


class Gate:
    """Who may change a state, and who is told of a change.

    Attributes
    ----------
    lock : RLock
        Held by whoever changes the state, training included.
    changes : int64[1]
        Odd while the state changes. Kernels that change it in place turn it themselves.
    """

    def __init__(self, lock: threading.RLock | None = None) -> None:
        self.lock = threading.RLock() if lock is None else lock
        self.changes = np.zeros(1, np.int64)
        self._count = memoryview(self.changes)  # type: ignore[arg-type]  # is read in a third of the time

    def begin(self) -> None:
        """Mark the begin of a change; idempotent, for a change that was interrupted and is resumed."""
        self.changes[0] |= 1

    def end(self) -> None:
        """Mark the end of a change."""
        self.changes[0] += self.changes[0] & 1

    def ask(self, question: Callable[[], _T], finish: Callable[[], object]) -> _T:
        """What a question finds in one state; `finish` completes a change whose maker was interrupted."""
        answer = self._try(question)
        return self._ask_again(question, finish) if answer is _CHANGED else answer  # type: ignore[return-value]

    def _try(self, question: Callable[[], _T]) -> _T | object:
        """The answer, or _CHANGED; what went wrong counts only where it did so in one state."""
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
        if _mine(self.lock):
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
            try:  # Ctrl-C may come as soon as the lock is held
                if self.lock.acquire(timeout=_PATIENCE):
                    finish()
                    return question()
            finally:
                if _mine(self.lock):
                    self.lock.release()


def _mine(lock: threading.RLock) -> bool:
    """Whether this thread holds a lock."""
    return lock._is_owned()  # type: ignore[attr-defined, no-any-return]
