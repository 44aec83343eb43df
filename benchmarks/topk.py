"""Speed of top-10 lists: all users against the bare matrix product, one user, after a single event, and kept lists."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice

import numpy as np

from benchmarks.measuring import Figure, durations, random_model, show, spread
from fastmf import MF, Interactions

ITEMS, FACTORS, SEEN, TILE = 26_744, 64, 145, 128


def populated(users: int) -> MF:
    """A random model whose users have seen 145 items each."""
    model, rng = random_model(np.arange(users), ITEMS, FACTORS), np.random.default_rng(0)
    seen = np.repeat(np.arange(users), SEEN), rng.integers(0, ITEMS, users * SEEN)
    model.update(Interactions(*seen), epochs=0, history_epochs=0)
    return model


def medians(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, in interleaved rounds after one warm-up round."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            took[name].append(time.perf_counter() - began)
    return {name: float(np.median(seconds[1:])) for name, seconds in took.items()}


def to_all(model: MF, users: int, rounds: int) -> list[Figure]:
    """Lists of all users without seen items, against scoring alone."""
    queries, items = model.user_factors.copy(), model.item_factors.copy()
    tile, options = np.empty((TILE, ITEMS), np.float32), model.options

    def multiply() -> None:
        for first in range(0, users, TILE):
            part = queries[first : first + TILE]
            np.dot(part, items.T, out=tile[: len(part)])

    def recommend(threads: int) -> None:
        model.set_params(options=options._replace(threads=threads))
        model.recommend(np.arange(users))
        model.set_params(options=options)

    calls = {"matmul": multiply, "one": lambda: recommend(1), "two": lambda: recommend(2)}
    took = medians(calls, rounds)
    rates = {name: f"{users * ITEMS / seconds / 1e6:,.0f} M scores/s" for name, seconds in took.items()}
    name = f"top-10 for {users:,} users of {ITEMS:,} items, {FACTORS} factors, seen left out, median of {rounds}: "
    return [
        Figure(name + f"matrix product alone, tiles of {TILE} users, 1 thread", rates["matmul"]),
        Figure(name + "recommend, 1 thread", f"{rates['one']}, {took['matmul'] / took['one']:.2f} of it"),
        Figure(name + "recommend, 2 threads", f"{rates['two']}, {took['one'] / took['two']:.2f} × one thread"),
    ]


def to_one(model: MF, users: int, calls: int) -> list[Figure]:
    """Lists of single users, and single events followed by a list."""
    rng = np.random.default_rng(1)
    asked, items = rng.integers(0, users, calls).tolist(), rng.integers(0, ITEMS, calls).tolist()

    def event(user: int, item: int) -> None:
        model.learn_one(user, item, 3.0)
        model.recommend([user])

    hits = rng.integers(0, ITEMS, 100)
    for user, item in islice(zip(asked, items, strict=True), 100):
        event(user, item)
    queries = [([user],) for user in asked]
    name = f"one user of {calls:,}, p50 / p99 / max: "
    found = [
        Figure(name + "recommend", spread(durations(model.recommend, queries), "µs")),
        Figure(
            name + "recommend among 100 search hits",
            spread(durations(lambda query: model.recommend(query, items=hits), queries), "µs"),
        ),
        Figure(name + "learn_one and recommend", spread(durations(event, list(zip(asked, items, strict=True))), "µs")),
    ]
    model.flush()
    return found


def kept(model: MF, users: int, rounds: int) -> list[Figure]:
    """Kept lists against lists computed anew."""
    rng, lists, found = np.random.default_rng(2), model.lists(), []
    anew = medians({"lists": model.lists}, 3)["lists"]
    for size in (1, 100, 1_000):
        took = []
        for _ in range(rounds + 1):
            batch = Interactions(rng.integers(0, users, size), rng.integers(0, ITEMS, size), np.full(size, 3.0))
            delta = model.update(batch)
            began = time.perf_counter()
            lists.refresh(delta)
            took.append(time.perf_counter() - began)
        middle = float(np.median(took[1:]))
        value = f"{1e3 * middle:.3g} ms, anew {1e3 * anew:.3g} ms: {anew / middle:,.0f} ×"
        found.append(Figure(f"lists of {users:,} users refreshed after an update of {size:,} events", value))
    return found


def figures(users: int = 4_096) -> list[Figure]:
    """Run the measurements in a separate process in which BLAS uses one thread."""
    single = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.topk", "--users", str(users), "--json"]
    done = subprocess.run(command, env={**os.environ, **single}, stdout=subprocess.PIPE, text=True, check=True)
    return [Figure(*pair) for pair in json.loads(done.stdout)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.topk", description=__doc__)
    parser.add_argument("--users", type=int, default=4_096)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.json:
        show(figures(given.users))
        return
    model = populated(given.users)
    found = to_all(model, given.users, 9) + to_one(model, given.users, 10_000) + kept(model, given.users, 9)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
