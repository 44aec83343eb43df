"""Incremental ALS: latency of single events, and updates with a block of events against full retraining.

Single events: the rows of the event's user and item are solved. fastmf receives the event and keeps the history itself;
implicit receives both whole rows, whose extraction from the matrix is not timed, in its favour.

Blocks: fit on the first 90 % of the log, update with the next 5 %, and evaluate the ranking of the last 5 %, for users
already known. The retrained model is a fit on the 95 % with as many sweeps as the first. Compute is processor time. A
variant of the update leaves items fixed and solves users only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.clocks import Time, latencies, timed
from benchmarks.peers.data import Ratings, Split, load, load_log
from benchmarks.peers.ranking_quality import evaluate
from benchmarks.peers.recommenders import IMPLICIT_ALS, Vectors, matrix, vectors_of

VARIANT = "fastmf ALS"
LONG = 1_000  # rows with more events are long
CALLS, SLOW_CALLS = 5_000, 300
WARM_UP, SLOW_WARM_UP = 1_000, 10  # untimed calls
ASKED = 2_000  # maximum number of users evaluated


# --- one event ------------------------------------------------------------------------------------------------------


def events_of(split: Split) -> dict[str, list[tuple[int, int]]]:
    """Test events by kind: both rows short, or one of them long; kinds with too few events are omitted."""
    lengths = [
        np.bincount(known, minlength=count)[new]
        for known, new, count in zip(split.train[:2], split.test[:2], split.size[:2], strict=True)
    ]
    long = np.maximum(*lengths) > LONG
    kinds = {"short": split.test.take(~long), "long": split.test.take(long)}
    pairs = {kind: list(zip(*(column.tolist() for column in some[:2]), strict=True)) for kind, some in kinds.items()}
    return {kind: some for kind, some in pairs.items() if len(some) >= SLOW_CALLS}


def fastmf(folder: Path, shape: str, factors: int, threads: int) -> dict[str, Any]:
    from benchmarks.peers import ours

    split = load(folder, shape)
    model = ours.model(factors, threads, VARIANT).fit(ours.positives(split.train), epochs=1, progress=False)
    found = {}
    for kind, pairs in events_of(split).items():
        warm_up = min(WARM_UP, len(pairs) // 3)
        for pair in pairs[:warm_up]:  # compile
            model.learn_one(*pair)
        model.flush()
        found[kind] = latencies(model.learn_one, pairs[warm_up : warm_up + CALLS])
        model.flush()
    return found


def implicit(folder: Path, shape: str, factors: int, threads: int) -> dict[str, Any]:
    split = load(folder, shape)
    by_user = matrix(split.train, split)
    by_item = by_user.T.tocsr()
    model = _implicit(factors, threads, epochs=1)
    model.fit(by_user, show_progress=False)

    def learn(user: int, user_row: Any, item: int, item_row: Any) -> None:
        model.partial_fit_users([user], user_row)
        model.partial_fit_items([item], item_row)

    found = {}
    for kind, pairs in events_of(split).items():
        calls = [(user, by_user[user], item, by_item[item]) for user, item in pairs[: SLOW_WARM_UP + SLOW_CALLS]]
        for call in calls[:SLOW_WARM_UP]:
            learn(*call)
        found[kind] = latencies(learn, calls[SLOW_WARM_UP:])
    return found


def _implicit(factors: int, threads: int, epochs: int) -> Any:
    from implicit.als import AlternatingLeastSquares

    return AlternatingLeastSquares(
        factors=factors, iterations=epochs, num_threads=threads, use_gpu=False, random_state=1, **IMPLICIT_ALS
    )


# --- a block --------------------------------------------------------------------------------------------------------


class Timeline(NamedTuple):
    """A log split in time; `known` and `asked` are the parts needed to evaluate the ranking of `asked`."""

    past: Ratings
    block: Ratings
    both: Ratings
    known: Ratings
    asked: Ratings

    @classmethod
    def of(cls, log: Ratings) -> Timeline:
        ends = [int(share * log.users.size) for share in (0.9, 0.95)]
        past, block, both, after = (
            log.take(slice(*bounds)) for bounds in ((0, ends[0]), ends, (0, ends[1]), (ends[1], None))
        )
        users = np.intersect1d(after.users, both.users)
        users = np.random.default_rng(3).permutation(users)[:ASKED]
        known, asked = (part.take(np.isin(part.users, users)) for part in (both, after))
        return cls(past, block, both, known, asked)

    def outcome(self, stages: dict[str, Vectors], update: Time, retrain: Time) -> dict[str, Any]:
        """NDCG@10 before the update, after it and after retraining, and the cost of both."""
        ranked = {stage: evaluate(vectors, self.known, self.asked) for stage, vectors in stages.items()}
        found = {stage: one["ndcg"] for stage, one in ranked.items()}
        return {
            **found,
            "users": ranked["updated"]["users"],
            "events": self.block.users.size,
            "quality": found["updated"] / found["retrained"],
            "update": update.cpu,
            "retrain": retrain.cpu,
            "less": retrain.cpu / update.cpu,
        }


def fastmf_block(
    folder: Path, shape: str, factors: int, threads: int, epochs: int, trainable: str = "both"
) -> dict[str, Any]:
    from benchmarks.peers import ours

    split, line = load(folder, shape), Timeline.of(load_log(folder, shape))

    def fit(positives: Ratings) -> Any:
        model = ours.model(factors, threads, VARIANT)
        return model.fit(ours.positives(positives), epochs, progress=False)

    model = fit(line.past)
    stages = {"before": vectors_of(model, split)}
    model.copy().update(ours.positives(line.block), trainable=trainable)  # compile
    _, update = timed(lambda: model.update(ours.positives(line.block), trainable=trainable))
    stages["updated"] = vectors_of(model, split)
    fresh, retrain = timed(lambda: fit(line.both))
    return line.outcome(stages | {"retrained": vectors_of(fresh, split)}, update, retrain)


def implicit_block(folder: Path, shape: str, factors: int, threads: int, epochs: int) -> dict[str, Any]:
    split, line = load(folder, shape), Timeline.of(load_log(folder, shape))
    past, both = matrix(line.past, split), matrix(line.both, split)
    users, items = np.unique(line.block.users), np.unique(line.block.items)
    user_rows, item_rows = both[users], both.T.tocsr()[items]

    def fit(rows: Any) -> Any:
        model = _implicit(factors, threads, epochs)
        model.fit(rows, show_progress=False)
        return model

    def update() -> None:
        model.partial_fit_users(users, user_rows)
        model.partial_fit_items(items, item_rows)

    def vectors(of: Any) -> Vectors:
        return Vectors(of.user_factors.copy(), of.item_factors.copy())

    model = fit(past)
    stages = {"before": vectors(model)}
    _, took = timed(update)
    stages["updated"] = vectors(model)
    fresh, retrain = timed(lambda: fit(both))
    return line.outcome(stages | {"retrained": vectors(fresh)}, took, retrain)


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "fastmf ALS": fastmf,
    "implicit ALS": implicit,
    "fastmf ALS block": fastmf_block,
    "fastmf ALS users block": partial(fastmf_block, trainable="users"),
    "implicit ALS block": implicit_block,
}
