"""The measurements and their order: contestants take turns in rounds, so that noise affects all alike.

Each suite is a generator of tasks that is sent the result of the last task, since some tasks depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

LARGE = "ml20m"
SLOW_PEERS = ("cornac", "surprise", "torch", "river")
RATING_MODELS = ("fastmf Variational", "fastmf AdaGrad", "libmf", "surprise", "cornac", "myfm")
SLOW_FACTORS, MANY_FACTORS = 32, 128
RANKING = {  # by method for implicit feedback: the contestants, fastmf first, and the epochs compared
    "ALS": (("fastmf ALS", "implicit ALS", "buffalo ALS", "irspack iALS"), [1, 9]),
    "BPR": (("fastmf BPR", "implicit BPR"), [1, 7]),
    "WARP": (("fastmf WARP", "lightfm WARP"), [1, 4]),
}
RANKING_FACTORS = (SLOW_FACTORS, 64, MANY_FACTORS)  # of ALS; other methods have the first only
AT_MANY_FACTORS = ("fastmf ALS", "implicit ALS", "irspack iALS")
LIGHTFM_PART = 2_000_000  # positives of the large log; an epoch of all would take a minute
RANKING_EPOCHS = {  # tuned on the ml1m log
    "numpy popularity": 0,
    "fastmf ALS": 15,
    "implicit ALS": 15,
    "buffalo ALS": 15,
    "irspack iALS": 15,
    "cmfrec iALS": 15,
    "fastmf BPR": 40,
    "implicit BPR": 15,
    "fastmf WARP": 15,
    "lightfm WARP": 15,
}


class Task(NamedTuple):
    """One measurement; the first word of the contestant is the name of its library."""

    suite: str
    contestant: str
    settings: dict[str, Any]
    round: int = 0
    limit: float = 300.0  # seconds

    @property
    def library(self) -> str:
        return self.contestant.split()[0]


class Scope(NamedTuple):
    """Which logs, numbers of factors, threads and rounds are measured."""

    shapes: Sequence[str] = ("ml1m", LARGE)
    factors: Sequence[int] = (16, 32, 64, 100, 128)
    threads: Sequence[int] = (1, 2)
    rounds: int = 3
    quick: bool = False
    files: Sequence[str] = ()

    @property
    def largest(self) -> str:
        return self.shapes[-1]

    def turns(self, shape: str) -> range:
        """The rounds on a log: one fewer on the large one, where long fits average out noise."""
        return range(max(1, self.rounds - (shape == LARGE)))


Steps = Generator[Task, dict[str, Any] | None, None]


def explicit(scope: Scope) -> Steps:
    """LIBMF and fastmf on all logs, with every variant; slow libraries on the first log only."""
    for shape, factors, threads in product(scope.shapes, scope.factors, scope.threads):
        large = shape == LARGE  # one round, except for one number of factors, since set-up dominates
        settings = {"shape": shape, "factors": factors, "threads": threads, "epochs": [2, 8] if large else [2, 42]}
        turns = len(scope.turns(shape)) if factors == SLOW_FACTORS else 1 if large else min(scope.rounds, 2)
        for turn in range(turns):
            yield Task("explicit", "libmf", settings, turn)
            yield Task("explicit", "fastmf", settings, turn)
            if not large or (turn == 0 and factors in (SLOW_FACTORS, MANY_FACTORS)):
                yield Task("explicit", "fastmf SGD", settings, turn)
            if turn == 0 and (not large or factors == MANY_FACTORS):
                yield Task("explicit", "fastmf float16", settings)
    for contestant in SLOW_PEERS:  # one round is enough: ratios are far from 1
        epochs = [2, 22] if contestant == "cornac" else [1, 3]
        settings = {"shape": scope.shapes[0], "factors": SLOW_FACTORS, "threads": 1, "epochs": epochs}
        yield Task("explicit", contestant, settings)


def ceiling(scope: Scope) -> Steps:
    """fastmf against C; turns are taken within one process."""
    for shape, threads in product(scope.shapes, scope.threads):
        settings = {
            "shape": shape,
            "factors": list(scope.factors),
            "threads": threads,
            "turns": 1 if shape == LARGE else 2 * scope.rounds,
        }
        yield Task("ceiling", "fastmf", settings)


def quality(scope: Scope) -> Steps:
    """First the target error and the number of epochs each library needs, then the time of that many epochs."""
    for shape in scope.shapes:
        settings = {"shape": shape, "factors": 32, "threads": 2 if shape == LARGE else 1}
        best = yield Task("quality", "libmf errors", settings)
        if best is None:
            continue
        ours = yield Task("quality", "fastmf errors", {**settings, "target": best["target"]}, limit=600)  # many fits
        epochs = {"libmf": best["epochs"], "fastmf": ours and ours["epochs"]}
        for turn, contestant in product(scope.turns(shape), epochs):
            if epochs[contestant]:
                yield Task("quality", contestant, {**settings, "epochs": epochs[contestant]}, turn)


def rating_quality(scope: Scope) -> Steps:
    """On the first log, and on the caller's own if there are any."""
    for shape, contestant in product([scope.shapes[0], *scope.files], RATING_MODELS):
        yield Task("rating_quality", contestant, {"shape": shape, "factors": SLOW_FACTORS}, limit=3_600)


def online(scope: Scope) -> Steps:
    """LightFM and implicit on the first log only: each of their calls costs O(size of the table)."""
    for shape in scope.shapes:
        peers = ("lightfm", "implicit") if shape == scope.shapes[0] else ()
        for turn, contestant in product(scope.turns(shape), ("river", "fastmf", *peers)):
            yield Task("online", contestant, {"shape": shape, "factors": 32}, turn)


def topk(scope: Scope) -> Steps:
    contestants = ("numpy matmul", "fastmf", "implicit", "faiss seen kept", "faiss")
    for threads, turn, contestant in product(scope.threads, scope.turns(scope.largest), contestants):
        users = 2_000 if scope.quick else 20_000
        settings = {"shape": scope.largest, "factors": 64, "threads": threads, "users": users}
        yield Task("topk", contestant, settings, turn)


def memory(scope: Scope) -> Steps:
    for contestant in ("libmf", "fastmf"):
        yield Task("memory", contestant, {"shape": scope.largest, "factors": 32, "threads": 1})


def ranking(scope: Scope) -> Steps:
    """A single round on the large log and for other numbers of factors, without buffalo, which reads logs as text."""
    for shape, threads, method in product(scope.shapes, scope.threads, RANKING):
        large, (contestants, epochs) = shape == LARGE, RANKING[method]
        thrifty = method != "ALS" or (large and threads < max(scope.threads))
        for factors in RANKING_FACTORS[:1] if thrifty else RANKING_FACTORS:
            settings = {"shape": shape, "factors": factors, "threads": threads, "epochs": [1, 2] if large else epochs}
            whole = not large and factors == SLOW_FACTORS
            for turn, contestant in product(range(min(2, scope.rounds) if whole else 1), contestants):
                part = {"positives": LIGHTFM_PART} if large and contestant == "lightfm WARP" else {}
                if factors in scope.factors and (whole or contestant != "buffalo ALS"):
                    yield Task("ranking", contestant, settings | part, turn)


def ranking_quality(scope: Scope) -> Steps:
    """On the first log; with many factors some defaults diverge."""
    cells = [(SLOW_FACTORS, who) for who in RANKING_EPOCHS] + [(MANY_FACTORS, who) for who in AT_MANY_FACTORS]
    for factors, contestant in cells:
        settings = {"shape": scope.shapes[0], "factors": factors, "threads": max(scope.threads)}
        yield Task("ranking_quality", contestant, settings | {"epochs": RANKING_EPOCHS[contestant]})


def incremental(scope: Scope) -> Steps:
    """Blocks of implicit on the first log only: its two fits of the large log would take minutes."""
    for shape in scope.shapes:
        settings = {"shape": shape, "factors": SLOW_FACTORS}
        for contestant in ("fastmf ALS", "implicit ALS"):
            yield Task("incremental", contestant, settings | {"threads": 1})
        whole = settings | {"threads": 1, "epochs": RANKING_EPOCHS["fastmf ALS"]}  # a waiting thread costs too
        peers = ["implicit ALS block"] if shape == scope.shapes[0] else []
        for contestant in ("fastmf ALS block", "fastmf ALS users block", *peers):
            yield Task("incremental", contestant, whole)


SUITES: dict[str, Callable[[Scope], Steps]] = {
    suite.__name__: suite
    for suite in (
        explicit,
        ceiling,
        quality,
        rating_quality,
        online,
        topk,
        memory,
        ranking,
        ranking_quality,
        incremental,
    )
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
