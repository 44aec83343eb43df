"""Rankings over time: models updated block by block, against live popularity at the best of five half-lives.

A log in order of time is cut into its first half, on which models are fitted, and ten blocks of 5 %. Each is asked
about (NDCG@10 of the items that its users have not had, among all of these, for at most 600 of its users) and then
learned. The first three blocks are not reported: choices that were made in building the library have seen them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Figure, show
from fastmf import MF, IdMap, Interactions, Options, losses
from fastmf.evaluation import Log, UserSums, holdout

FAMILIES = {
    "ALS": losses.Confidence(),
    "WARP": losses.WARP(),
    "SampledSoftmax": losses.SampledSoftmax(),
    "BPR": losses.BPR(),
    "Logistic, 4 negatives": losses.Logistic(negatives=4),
}
HALF_LIVES = (0.01, 0.02, 0.05, 0.1, None)  # shares of the log
BLOCKS, SKIPPED, ASKED = 10, 3, 600


class LivePopularity:
    """Ranks by recent events alone, the same for everybody."""

    def __init__(self, half_life: float | None) -> None:
        self.users, self.items, self._half_life = IdMap(), IdMap(), half_life
        self._counts = np.zeros(0)

    def update(self, events: Interactions) -> None:
        """Count events; all before them fade."""
        staged = self.items.stage(events.items)
        self.items.extend(staged.fresh)
        self._counts = np.pad(self._counts, (0, len(staged.fresh)))
        ages = np.arange(len(events))[::-1] / (self._half_life or np.inf)
        self._counts *= 0.5 ** (len(events) / (self._half_life or np.inf))
        np.add.at(self._counts, staged.rows, 0.5**ages)

    def ranked_by(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As of a model."""
        return np.zeros((len(users), 1)), np.zeros((self._counts.size, 1)), self._counts.astype(np.float32)


def fitted(loss: Any, past: Interactions, factors: int, seed: int) -> MF:
    """A model of the defaults, on one thread."""
    return MF(factors, loss, seed=seed, options=Options(threads=1)).fit(past, progress=False)


def some_users(events: Interactions, seed: int) -> Interactions:
    """The events of at most `ASKED` users."""
    everybody = np.unique(events.users)
    chosen = np.random.default_rng(seed).choice(everybody, min(ASKED, everybody.size), replace=False)
    return events[np.isin(events.users, chosen)]


def replay(log: Interactions, model: Any, seed: int) -> tuple[UserSums, float]:
    """Sums over the reported blocks, and the processor time of all updates."""
    cuts, sums, spent = (np.linspace(0.5, 1, BLOCKS + 1) * len(log)).astype(int), [], 0.0
    for block, (first, last) in enumerate(pairwise(cuts)):
        if block >= SKIPPED:
            both = Log.of(log[:first], some_users(log[first:last], seed + block))
            asked = holdout(both.part(slice(0, first)), both.part(slice(first, None)), "ndcg").sums(model)
            sums.append(asked._replace(totals=asked.totals.sum(1)[:, None], counts=asked.counts.sum(1)[:, None]))
        began = time.process_time()
        model.update(log[first:last])
        spent += time.process_time() - began
    total = sums[0]
    for one in sums[1:]:
        total = total.add(one)
    return total, spent


def measure(log: Interactions, factors: int, seed: int) -> list[Figure]:
    """Two figures per model, of its fit and of its updates, and one of popularity at its best half-life."""
    half = log[: len(log) // 2]
    for loss in FAMILIES.values():
        MF(factors, loss).fit(half, epochs=1, progress=False).update(log[len(half) : len(half) + 100])  # compile
    makers: dict[str, Callable[[], Any]] = {
        name: partial(fitted, loss, half, factors, seed) for name, loss in FAMILIES.items()
    }
    found = []
    for name, make in makers.items():
        began = time.process_time()
        model = make()
        spent = time.process_time() - began
        found.append(Figure(f"{name}, fitted", f"{len(model.history_)} epochs, {spent:.1f} s"))
        found.append(Figure(f"{name}, updated", told(*replay(log, model, seed))))
    popular = {}
    for share in HALF_LIVES:
        model = LivePopularity(None if share is None else share * len(log))
        model.update(half)
        popular[share] = replay(log, model, seed)
    best = max(popular, key=lambda share: popular[share][0].value() or 0)
    name = "no half-life" if best is None else f"half-life {best:.0%} of the log, the best of five"
    return [*found, Figure(f"popularity alone, {name}", told(*popular[best]))]


def told(sums: UserSums, spent: float) -> str:
    """The metric for all users, returning ones and new ones, and the processor time."""
    groups = sums.by_group()
    parts = [f"{sums.value() or 0:.4f} all"] + [
        f"{groups[f'{kind}-user'] or 0:.4f} {kind}" for kind in ("returning", "new")
    ]
    return ", ".join([*parts, f"{spent:.2f} s"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a Parquet or CSV file of events")
    for column in ("user", "item", "time"):
        parser.add_argument(f"--{column}", default=column)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    read = Interactions.from_csv if given.data.suffix == ".csv" else Interactions.from_parquet
    log = read(given.data, user=given.user, item=given.item, time=given.time)
    assert log.times is not None
    log = log[np.argsort(log.times, kind="stable")]
    show(iter(measure(Interactions(log.users, log.items), given.factors, given.seed)))


if __name__ == "__main__":
    main()
