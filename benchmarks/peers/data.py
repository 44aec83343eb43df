"""Synthetic rating logs shaped like MovieLens 100K, 1M and 20M, randomly split and cached in a folder.

The generative model:

* user activity: 20 events plus a capped log-normal number, summing to the exact number of ratings;
* item popularity: a stretched exponential of the rank, ``exp(-a * rank**0.454)``, as in MovieLens 20M;
* preferences of rank 16 with a decaying spectrum, biases, noise; values are rounded to 0.5, 1.0, ..., 5.0;
* exposure bias: the more a user likes an item, the more likely it is rated;
* drift: users and items enter over time, and preferences of users rotate slowly.

Only :func:`generate` needs Numba; interpreters of other libraries read the cached files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Size(NamedTuple):
    """Numbers of users, items and ratings, and the maximum number of ratings per user."""

    users: int
    items: int
    ratings: int
    cap: int


SHAPES = {
    "ml100k": Size(943, 1_682, 100_000, 737),
    "ml1m": Size(6_040, 3_706, 1_000_209, 2_314),
    "ml20m": Size(138_493, 26_744, 20_000_263, 9_254),
}
LEAST = 20  # minimum number of ratings per user
RANK = 16
SEED = 20_260
TEST_SHARE = 0.1


class Ratings(NamedTuple):
    """Columns of equal length: int32 ids from 0 on, float32 values."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray

    def take(self, rows: Any) -> Ratings:
        """A selection of the ratings."""
        return Ratings(*(column[rows] for column in self))


class Split(NamedTuple):
    """Nine tenths of a log for training, in random order, and the rest for testing."""

    size: Size
    train: Ratings
    test: Ratings


def default_folder() -> Path:
    """The default folder of cached logs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastmf-peers"


def prepare(folder: Path, shape: str) -> None:
    """Generate and split a log, unless it is cached in the folder."""
    whole, parts = _log_file(folder, shape), _split_file(folder, shape)
    if whole.exists() and parts.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    log = generate(SHAPES[shape])
    _save(whole, log._asdict())
    _save_split(folder, shape, log)


def _log_file(folder: Path, shape: str) -> Path:
    return folder / f"{shape}.log.npz"


def _split_file(folder: Path, shape: str) -> Path:
    return folder / f"{shape}.npz"


def _save(path: Path, columns: dict[str, np.ndarray]) -> None:
    unfinished = path.with_suffix(".partial.npz")
    np.savez(unfinished, **columns)
    unfinished.replace(path)


def load_log(folder: Path, shape: str) -> Ratings:
    """The whole log that :func:`prepare` generated, in order of time."""
    with np.load(_log_file(folder, shape)) as kept:
        return Ratings(*(kept[name] for name in Ratings._fields))


def load(folder: Path, shape: str) -> Split:
    """The split that :func:`prepare` made."""
    with np.load(_split_file(folder, shape)) as kept:
        train, test = (Ratings(*(kept[f"{part}_{name}"] for name in Ratings._fields)) for part in ("train", "test"))
    return Split(SHAPES[shape] if shape in SHAPES else _size_of(train, test), train, test)


def _size_of(*parts: Ratings) -> Size:
    users, items = (1 + max(int(part[side].max()) for part in parts) for side in (0, 1))
    return Size(users, items, sum(part.users.size for part in parts), 0)


def prepare_file(folder: Path, shape: str, log: Ratings) -> None:
    """Split ratings of the caller's own, whose ids count from 0, under a name of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_split(folder, shape, log)


def _save_split(folder: Path, shape: str, log: Ratings) -> None:
    train, test = split(log)
    named = {"train": train, "test": test}
    columns = {f"{part}_{name}": column for part in named for name, column in named[part]._asdict().items()}
    _save(_split_file(folder, shape), columns)


def split(log: Ratings) -> tuple[Ratings, Ratings]:
    """A random split; the training set is shuffled."""
    tested = np.random.default_rng(7).random(log.users.size) < TEST_SHARE
    kept = np.flatnonzero(~tested)
    np.random.default_rng(1).shuffle(kept)
    return log.take(kept), log.take(tested)


# --- the generator --------------------------------------------------------------------------------------------------


def generate(size: Size, seed: int = SEED) -> Ratings:
    """A log in order of time."""
    rng = np.random.default_rng(seed)
    counts = activity(rng, size)
    popularity = np.exp(-11.1 / size.items**0.454 * np.arange(size.items, dtype=np.float64) ** 0.454)
    popularity = popularity[rng.permutation(size.items)]  # ids are independent of popularity

    spectrum = (np.arange(RANK) + 1.0) ** -0.5
    spectrum *= np.sqrt(0.22 / np.sum(spectrum**2))  # sets the variance of inner products
    taste, turned, traits = (
        rng.standard_normal((rows, RANK)) * np.sqrt(spectrum) for rows in (size.users, size.users, size.items)
    )
    user_biases = rng.normal(0, 0.40, size.users)
    trend = np.log(popularity) - np.log(popularity).mean()
    item_biases = rng.normal(0, 0.40, size.items) + 0.10 * trend / np.log(popularity).std()

    arrival = np.where(rng.random(size.users) < 0.3, 0.0, rng.random(size.users))
    room = 1.0 - arrival
    short = rng.random(size.users) < 0.5
    stay = np.where(short, np.minimum(0.002, room), room * rng.random(size.users))
    birth = np.where(rng.random(size.items) < 0.6, 0.0, rng.random(size.items) * 0.98)

    from benchmarks.peers.events import draw_events

    columns = draw_events(
        seed,
        counts,
        (arrival, stay),
        (*alias_table(popularity), birth),
        (taste, turned, traits),
        (user_biases, item_biases),
    )
    order = np.argsort(columns[3], kind="stable")
    return Ratings(*(column[order] for column in columns[:3]))


def activity(rng: np.random.Generator, size: Size) -> np.ndarray:
    """The number of ratings of each user."""
    most, spare = size.cap - LEAST, size.ratings - LEAST * size.users
    wanted = rng.lognormal(0.0, 1.45, size.users)
    for _ in range(50):  # rescale to the total, below the cap
        wanted = np.minimum(wanted * spare / wanted.sum(), most)
        if abs(wanted.sum() - spare) < 1:
            break
    counts = np.floor(wanted).astype(np.int64)
    missing = int(spare - counts.sum())
    np.add.at(counts, rng.choice(np.flatnonzero(counts < most - 1), size=missing, replace=True), 1)
    counts = np.minimum(counts, most)
    turn, order = 0, rng.permutation(size.users)
    while counts.sum() < spare:  # redistribute what the cap cut off
        user = order[turn % size.users]
        counts[user] += counts[user] < most
        turn += 1
    return counts + LEAST


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias table: acceptance probabilities and aliases for drawing with these weights."""
    share = weights / weights.sum() * len(weights)
    accepted, alias = np.ones(len(weights)), np.arange(len(weights))
    small, large = list(np.flatnonzero(share < 1)), list(np.flatnonzero(share >= 1))
    while small and large:
        low, high = small.pop(), large.pop()
        accepted[low], alias[low] = share[low], high
        share[high] -= 1 - share[low]
        (small if share[high] < 1 else large).append(high)
    return accepted, alias
