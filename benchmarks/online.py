"""Latency of single events (learn_one) and single predictions (predict_one), called from Python with int ids."""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.measuring import Figure, clock_cost, durations, random_beliefs, random_model, show, spread


def figures(calls: int = 200_000, users: int = 100_000, items: int = 10_000, factors: int = 32) -> list[Figure]:
    """Measure learn_one and predict_one on random pairs, including the flushes that a full journal triggers."""
    rng = np.random.default_rng(0)
    model, beliefs = (make(np.arange(users), items, factors) for make in (random_model, random_beliefs))
    pairs = list(zip(rng.integers(0, users, calls).tolist(), rng.integers(0, items, calls).tolist(), strict=True))
    events = [(*pair, value) for pair, value in zip(pairs, rng.uniform(1, 5, calls).tolist(), strict=True)]
    for warm_up in range(1_000):
        model.learn_one(*events[warm_up])
        model.predict_one(*pairs[warm_up])
        beliefs.learn_one(*events[warm_up])
    model.flush()
    beliefs.flush()
    name = f"one call of {calls:,}, {factors} factors, int ids, p50 / p99 / max: "
    return [
        Figure(name + "learn_one", spread(durations(model.learn_one, events), "µs")),
        Figure(name + "learn_one, Variational", spread(durations(beliefs.learn_one, events), "µs")),
        Figure(name + "predict_one", spread(durations(model.predict_one, pairs), "µs")),
        Figure("the clock around one call, included above", f"{clock_cost() / 1e3:.2g} µs"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.online", description=__doc__)
    parser.add_argument("--calls", type=int, default=200_000)
    show(figures(parser.parse_args().calls))


if __name__ == "__main__":
    main()
