"""Time to quality: seconds, including set-up, until the test RMSE is within 1 % of the best that LIBMF reaches.

Both libraries start from arrays of ids with compiled code; each number of epochs is a separate fit, so that nothing
else is timed. LIBMF's errors are those that it prints after every epoch. Predictions are not clipped to the range of
ratings. Both libraries use their best number of epochs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.clocks import timed
from benchmarks.peers.data import load

WITHIN = 1.01
MOST_EPOCHS = 30  # maximum for LIBMF
TRIED = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20)


def libmf_errors(folder: Path, shape: str, factors: int, threads: int) -> dict[str, Any]:
    """The best error of LIBMF, and the first of its epochs within 1 % of it."""
    from benchmarks.peers.libmf import LibMF, Settings

    split = load(folder, shape)
    errors = LibMF().errors(split.train, split.test, split.size, Settings(factors, threads), MOST_EPOCHS)
    best = min(errors)
    return {
        "best": best,
        "target": best * WITHIN,
        "epochs": next(n for n, e in enumerate(errors, 1) if e <= best * WITHIN),
        "curve": [[n, error] for n, error in enumerate(errors, 1)],
    }


def fastmf_errors(folder: Path, shape: str, factors: int, threads: int, target: float) -> dict[str, Any]:
    """The first number of epochs that reaches the target, if any, and the best error over all."""
    curve = {epochs: _fitted(folder, shape, factors, threads, epochs)[1] for epochs in TRIED}
    reached = next((epochs for epochs, error in curve.items() if error <= target), None)
    return {"best": min(curve.values()), "epochs": reached, "curve": sorted(curve.items())}


def libmf(folder: Path, shape: str, factors: int, threads: int, epochs: int) -> dict[str, Any]:
    """Seconds of training for `epochs` epochs."""
    from benchmarks.peers.libmf import LibMF, Settings

    library, split = LibMF(), load(folder, shape)
    took = timed(lambda: library.train(split.train, split.size, Settings(factors, threads), epochs))[1]
    return {"seconds": took.wall, "cores": took.cores}


def fastmf(folder: Path, shape: str, factors: int, threads: int, epochs: int) -> dict[str, Any]:
    """Seconds of a fit with `epochs` epochs."""
    took, _ = _fitted(folder, shape, factors, threads, epochs)
    return {"seconds": took.wall, "cores": took.cores}


def _fitted(folder: Path, shape: str, factors: int, threads: int, epochs: int) -> tuple[Any, float]:
    from benchmarks.peers import ours

    split = load(folder, shape)
    ours.warm_up(split.train, factors, threads)
    model = ours.model(factors, threads, **ours.QUALITY.get(shape, {}))
    _, took = timed(lambda: model.fit(ours.events(split.train), epochs, progress=False))
    predicted = model.predict(split.test.users, split.test.items, clip=False)
    return took, float(np.sqrt(np.mean((predicted - split.test.values) ** 2, dtype=np.float64)))


CONTESTANTS: dict[str, Callable[..., dict[str, Any]]] = {
    "libmf errors": libmf_errors,
    "fastmf errors": fastmf_errors,
    "libmf": libmf,
    "fastmf": fastmf,
}
