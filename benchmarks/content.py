"""New items by what is known of them: hit@100 and NDCG@10 over time, with a map from features and without.

A log in order of time is cut into its first half, on which models are fitted, and ten blocks of 5 %: each is asked
about and then learned, and the first three are not reported. For each returning user the whole catalogue is ranked
without what they have had, ties against the model. New items have at most five events so far. Features are the vectors
of texts, genres, and the year or the price. Lists are those of the model alone, without live popularity.
"""

from __future__ import annotations

import argparse
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measuring import Figure, show, spread
from fastmf import MF, Features, Interactions, Options, Popularity, losses, priors
from fastmf.learners.mapped import maps_of
from fastmf.parameters.ridge import Sums

SETS = ("ml-100k", "online-retail", "movietweetings-100k")
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # quantiles between the classes of a number
BLOCKS, SKIPPED, FEW, NEAR, TOP = 10, 3, 5, 100, 10
KINDS = {"mean": "the mean item", "map": "a map from text, genres and year or price"}


class Found(NamedTuple):
    """Sums over questions: hits, questions about new items, NDCG, users, seconds of updates."""

    hits: float = 0.0
    new: float = 0.0
    ndcg: float = 0.0
    users: float = 0.0
    seconds: float = 0.0

    def plus(self, *more: float) -> Found:
        """The sums with those of another block."""
        return Found(*(one + other for one, other in zip(self, more, strict=True)))


def read(folder: Path) -> tuple[Interactions, np.ndarray, tuple[Features, ...]]:
    """The log, without times, all items, and views of them: text, genres, and the year or the price."""
    log = Interactions.from_parquet(folder / "interactions.parquet", time="timestamp")
    assert log.times is not None
    log = log[np.argsort(log.times, kind="stable")]
    import pyarrow.parquet

    items = pyarrow.parquet.read_table(folder / "items.parquet")
    ids = items["item"].to_numpy()
    views = [Features.from_npy(folder / "item_text_emb64.npy", ids)]
    if "genres" in items.column_names:
        views.append(Features.from_frame({"item": ids, "genres": items["genres"].to_pylist()}, tags=["genres"]))
        years = [re.search(r"\((\d{4})\)", title or "") for title in items["title"].to_pylist()]
        number = np.array([np.nan if year is None else float(year[1]) for year in years])
    else:
        number = np.log1p(items["median_price"].to_numpy().astype(float))
    classes = np.searchsorted(np.nanquantile(number, SHARES), number).tolist()
    known = [None if missing else one for one, missing in zip(classes, np.isnan(number).tolist(), strict=True)]
    table = {"item": ids, "number": number, "class": known}
    views.append(Features.from_frame(table, numbers=["number"], categories=["class"], name="number"))
    return Interactions(log.users, log.items), ids, tuple(views)


def model_of(kind: str, views: tuple[Features, ...], exposure: float, past: Interactions) -> MF:
    """A model of the defaults but for the prior of items, on one thread."""
    drawn: dict[str, Any] = {"users": priors.Mean(3), "items": priors.Map(views) if kind == "map" else priors.Mean(3)}
    settings: dict[str, Any] = {"priors": drawn, "popularity": Popularity(weight=0), "options": Options(threads=1)}
    return MF(32, losses.Confidence(exposure=exposure), **settings).fit(past, progress=False)


def asked(model: MF, past: Interactions, block: Interactions, catalogue: np.ndarray) -> tuple[float, ...]:
    """Hits, questions about new items, NDCG and users of a block."""
    place = {one: column for column, one in enumerate(catalogue.tolist())}
    counts = np.zeros(catalogue.size, np.int64)
    seen: dict[int, list[int]] = {}
    for user, item in zip(past.users.tolist(), past.items.tolist(), strict=True):
        seen.setdefault(user, []).append(place[item])
        counts[place[item]] += 1
    wanted: dict[int, set[int]] = {}
    for user, item in zip(block.users.tolist(), block.items.tolist(), strict=True):
        if user in seen and place[item] not in seen[user]:
            wanted.setdefault(user, set()).add(place[item])
    hits = new = ndcg = 0.0
    for user, targets in wanted.items():
        scores = model.predict(np.full(catalogue.size, user), catalogue).astype(np.float64)
        scores[seen[user]] = -np.inf
        ranks = np.array([np.count_nonzero(scores >= scores[one]) - 1 for one in targets])
        fresh = counts[list(targets)] <= FEW
        hits, new = hits + np.count_nonzero(ranks[fresh] < NEAR), new + np.count_nonzero(fresh)
        best = (1 / np.log2(np.arange(min(len(targets), TOP)) + 2)).sum()
        ndcg += (1 / np.log2(ranks[ranks < TOP] + 2)).sum() / best
    return hits, new, ndcg, float(len(wanted))


def replay(kind: str, folder: Path, exposure: float) -> Found:
    """The sums over the reported blocks."""
    log, catalogue, views = read(folder)
    cuts, found = (np.linspace(0.5, 1, BLOCKS + 1) * len(log)).astype(int), Found()
    model = model_of(kind, views, exposure, log[: cuts[0]])
    for block, (first, last) in enumerate(pairwise(cuts)):
        sums = asked(model, log[:first], log[first:last], catalogue) if block >= SKIPPED else (0.0,) * 4
        began = time.process_time()
        model.update(log[first:last])
        spent = time.process_time() - began
        found = found.plus(*sums, spent if block >= SKIPPED else 0.0)
    return found


def upkeep(items: int = 100_000, moved: int = 500, width: int = 96, factors: int = 32) -> Figure:
    """The cost of keeping a map current, sums and solution."""
    rng, taken = np.random.default_rng(0), np.empty(200)
    log = Interactions(rng.integers(0, 20_000, 300_000), rng.integers(0, items, 300_000))
    views = Features(np.arange(items), rng.normal(size=(items, width)))
    maps = maps_of(model_of("map", (views,), 0.05, log)._fitted())
    assert maps is not None
    for number in range(taken.size):
        features = maps.features("items").gather(rng.integers(0, items, moved).astype(np.int32))
        shares, targets = rng.random(moved), rng.normal(size=(moved, factors))
        began = time.perf_counter_ns()
        sums: Sums = maps.sums("items").copy()
        sums.add(features, shares, targets)
        maps.moved("items", sums, held=False)
        taken[number] = time.perf_counter_ns() - began
    what = f"upkeep of a map, {items:,} items, {moved} moved, {width} features (median / 99 % / most)"
    return Figure(what, spread(taken, "ms"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.content", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with a folder of each set")
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--exposure", type=float, nargs="*", default=[0.002, 0.05])
    given = parser.parse_args()
    figures = [upkeep()]
    for name in given.sets:
        for exposure in given.exposure:
            for kind, told in KINDS.items():
                replay(kind, given.data / name, exposure) if not figures[1:] else None  # compile
                one = replay(kind, given.data / name, exposure)
                value = f"hit@{NEAR} of new items {one.hits / one.new:.4f}, NDCG@{TOP} {one.ndcg / one.users:.4f}, "
                value += f"{1e3 * one.seconds / (BLOCKS - SKIPPED):.1f} ms an update"
                figures.append(Figure(f"{name}, exposure {exposure}, {told}", value))
    show(figures)


if __name__ == "__main__":
    main()
