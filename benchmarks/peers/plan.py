"""What is measured, and in which order: rounds in which all contestants have a turn, so that noise hits them alike.

Each suite is a generator of tasks that is sent what the last task measured, since some tasks depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

LARGE = "ml20m"
SLOW_PEERS = ("cornac", "surprise", "torch", "river")
SLOW_FACTORS = 32


class Task(NamedTuple):
    """One measurement; the first word of the contestant is its library."""

    suite: str
    contestant: str
    settings: dict[str, Any]
    round: int = 0
    limit: float = 300.0  # seconds

    @property
    def library(self) -> str:
        return self.contestant.split()[0]


class Scope(NamedTuple):
    """How much of everything is measured."""

    shapes: Sequence[str] = ("ml1m", LARGE)
    factors: Sequence[int] = (16, 32, 64, 128)
    threads: Sequence[int] = (1, 2)
    rounds: int = 3
    quick: bool = False

    @property
    def largest(self) -> str:
        return self.shapes[-1]


Steps = Generator[Task, dict[str, Any] | None, None]


def explicit(scope: Scope) -> Steps:
    """LIBMF and fastmf everywhere, with every variant; slow peers on the first shape alone."""
    cells = product(scope.shapes, scope.factors, scope.threads)
    for (shape, factors, threads), turn in product(cells, range(scope.rounds)):
        epochs = [2, 10] if shape == LARGE else [2, 42]
        settings = {"shape": shape, "factors": factors, "threads": threads, "epochs": epochs}
        # A fit of the largest log is mostly set-up: variants have one turn there, with few and with many factors.
        thrifty = shape == LARGE and (turn > 0 or factors not in (32, 128))
        for contestant in ("libmf", "fastmf", *(() if thrifty else ("fastmf SGD", "fastmf float16"))):
            yield Task("explicit", contestant, settings, turn)
    for turn, contestant in product(range(scope.rounds), SLOW_PEERS):
        epochs = [2, 22] if contestant == "cornac" else [1, 3]
        settings = {"shape": scope.shapes[0], "factors": SLOW_FACTORS, "threads": 1, "epochs": epochs}
        yield Task("explicit", contestant, settings, turn)


def ceiling(scope: Scope) -> Steps:
    """Takes turns within one process."""
    for shape, threads in product(scope.shapes, scope.threads):
        settings = {
            "shape": shape,
            "factors": list(scope.factors),
            "threads": threads,
            "turns": scope.rounds if shape == LARGE else 3 * scope.rounds,
        }
        yield Task("ceiling", "fastmf", settings)


def quality(scope: Scope) -> Steps:
    """First what is to be reached and how many epochs that takes, then the seconds of so many."""
    for shape in scope.shapes:
        settings = {"shape": shape, "factors": 32, "threads": 2 if shape == LARGE else 1}
        best = yield Task("quality", "libmf errors", settings)
        if best is None:
            continue
        ours = yield Task("quality", "fastmf errors", {**settings, "target": best["target"]}, limit=600)  # many fits
        epochs = {"libmf": best["epochs"], "fastmf": ours and ours["epochs"]}
        for turn, contestant in product(range(scope.rounds), epochs):
            if epochs[contestant]:
                yield Task("quality", contestant, {**settings, "epochs": epochs[contestant]}, turn)


def online(scope: Scope) -> Steps:
    """LightFM and implicit on the first shape alone: on a large one each of their calls costs the whole table."""
    for shape, turn in product(scope.shapes, range(scope.rounds)):
        peers = ("lightfm", "implicit") if shape == scope.shapes[0] else ()
        for contestant in ("river", "fastmf", *peers):
            yield Task("online", contestant, {"shape": shape, "factors": 32}, turn)


def topk(scope: Scope) -> Steps:
    contestants = ("numpy matmul", "fastmf", "implicit", "faiss seen kept", "faiss")
    for threads, turn, contestant in product(scope.threads, range(scope.rounds), contestants):
        users = 2_000 if scope.quick else 20_000
        settings = {"shape": scope.largest, "factors": 64, "threads": threads, "users": users}
        yield Task("topk", contestant, settings, turn)


def memory(scope: Scope) -> Steps:
    for contestant in ("libmf", "fastmf"):
        yield Task("memory", contestant, {"shape": scope.largest, "factors": 32, "threads": 1})


SUITES: dict[str, Callable[[Scope], Steps]] = {
    suite.__name__: suite for suite in (explicit, ceiling, quality, online, topk, memory)
}


def carry_out(suites: Iterable[str], scope: Scope, run: Callable[[Task], dict[str, Any] | None]) -> None:
    """Run suites one after the other."""
    for suite in suites:
        steps = SUITES[suite](scope)
        task = next(steps, None)
        while task is not None:
            try:
                task = steps.send(run(task))
            except StopIteration:
                task = None
