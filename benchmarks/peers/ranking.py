"""Implicit feedback: million positives per second of each epoch (a sweep over users and items), excluding set-up.

Every library reports the end of each epoch, so one fit has both times. The better WARP ranks, the longer it searches
for negatives, so contestants are compared over the same epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.peers.clocks import Time, between
from benchmarks.peers.data import load
from benchmarks.peers.recommenders import RECOMMENDERS, Recommender


def measure(
    recommender: Recommender,
    folder: Path,
    shape: str,
    factors: int,
    threads: int,
    epochs: list[int],
    positives: int | None = None,
) -> dict[str, float]:
    """Speed of the epochs from the first number to the second; on the first `positives` positives if given."""
    split, ticks = load(folder, shape), list[Time]()
    split = split._replace(train=split.train.take(slice(0, positives)))
    recommender(split, factors, threads, epochs[1], lambda: ticks.append(Time.now()))
    first, second = (ticks[count].since(ticks[0]) for count in epochs)
    return between(first, second, split.train.users.size, *epochs)


CONTESTANTS: dict[str, Callable[..., dict[str, float]]] = {
    name: partial(measure, recommender) for name, recommender in RECOMMENDERS.items()
}
