"""Parallel launches: from two Python threads at once, in forked children, and with the thread count put back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numba
import pytest

from fastmf.kernels.core import launch as launching
from fastmf.kernels.core.launch import launch, usable_threads

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def two_threads() -> object:
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


def parallel() -> int:
    return numba.get_num_threads()


def serial() -> int:
    return -1


def test_one_thread_runs_the_serial_compilation_and_makes_no_other() -> None:
    def never() -> None:
        raise AssertionError("compiled in vain")

    assert launch(lambda: lambda one, two: one + two, never, 1, 20, 22) == 42
    assert launch(never, lambda: lambda one, two: one + two, 2, 20, 22) == 42


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("before", [1, 2])
def test_thread_count_is_set_and_put_back(before: int) -> None:
    numba.set_num_threads(before)
    assert launch(lambda: serial, lambda: parallel, 2) == 2
    assert numba.get_num_threads() == before

    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        launch(lambda: serial, lambda: fails, 2)
    assert numba.get_num_threads() == before
    assert launch(lambda: serial, lambda: parallel, 2) == 2  # the lock is free


def test_launches_follow_each_other() -> None:
    inside, most, lock = [0], [0], threading.Lock()
    both = threading.Barrier(2)

    def kernel() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.05)
        with lock:
            inside[0] -= 1

    def work() -> None:
        both.wait()
        launch(lambda: kernel, lambda: kernel, 2)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1


def test_usable_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = numba.config.NUMBA_NUM_THREADS
    assert usable_threads(None) == limit
    assert usable_threads(1) == 1
    assert usable_threads(10_000) == limit
    monkeypatch.setattr(launching, "_forked", True)
    assert usable_threads(None) == usable_threads(2) == 1
    assert launch(lambda: serial, lambda: parallel, 2) == -1


# What follows kills the process where it goes wrong, so it runs in one of its own.

SCRIPT = """
import os, sys, threading
import numba, numpy as np
from fastmf.kernels.rank import topk
from fastmf.kernels.core.launch import launch, usable_threads
from fastmf.memory import aligned
from fastmf.kernels.core.shape import shape_of
from fastmf.optimizers import SGD

shape, rng = shape_of(16, SGD(), True), np.random.default_rng(0)
rows, queries = aligned(2000, 16), aligned(200, 16)
rows[:], queries[:] = rng.normal(0, 1, rows.shape), rng.normal(0, 1, queries.shape)
each, none = np.arange(200, dtype=np.int32), np.empty(0, np.int64)
past = none, none.astype(np.int32), none, none, none, none.astype(np.int32)

def rank(threads=2):
    best, values = np.empty((200, 5), np.int32), np.empty((200, 5), np.float32)
    launch(
        lambda: topk.rank(shape, False, False), lambda: topk.rank(shape, False, True), threads,
        queries, each, rows, None, None, past[1], 2000, none, past, np.full(200, -1, np.int32), threads, best, values,
    )
    return best

expected = rank(1)
assert (rank() == expected).all()
assert numba.threading_layer() == sys.argv[1], numba.threading_layer()
"""

THREADS = """
answers, start = [], threading.Barrier(4)

def work():
    start.wait()
    answers.extend([rank() for _ in range(30)])

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(answers) == 120 and all((answer == expected).all() for answer in answers)
"""

FORKS = """
import multiprocessing

def child(queue=None):
    good = usable_threads(2) == 1 and bool((rank() == expected).all())
    if queue is not None:
        queue.put(good)
    return good

pid = os.fork()
if pid == 0:
    os._exit(0 if child() else 3)
assert os.waitpid(pid, 0)[1] == 0

context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
process = context.Process(target=child, args=(queue,))
process.start()
process.join(60)
assert process.exitcode == 0 and queue.get()

# A fork while another thread launches: the child gets a lock of its own.
busy = threading.Thread(target=lambda: [rank() for _ in range(300)])
busy.start()
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if child() else 3)
    assert os.waitpid(pid, 0)[1] == 0
busy.join()
assert usable_threads(2) == 2 and (rank() == expected).all()
"""


def run(script: str, layer: str) -> None:
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT + script, layer]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if "No threading layer could be loaded" in answer.stderr:
        pytest.skip(f"this machine has no {layer}")
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_python_threads_may_launch_at_once_and_a_forked_child_goes_on_alone(layer: str) -> None:
    run(THREADS + FORKS if hasattr(os, "fork") else THREADS, layer)
