"""Settings of fastmf in all measurements: the library's defaults, except for the constants below."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.data import Ratings
from fastmf import MF, Interactions, Options, Update, losses, optimizers, regularizers

SETTINGS: dict[str, Any] = {"solver": optimizers.AdaGrad()}  # arguments of MF
# For time to quality, where LIBMF's settings were tuned by hand for these logs too; tuned on logs of another seed.
QUALITY: dict[str, dict[str, Any]] = {
    "ml1m": {"solver": optimizers.AdaGrad(rate=0.07, initial=50), "regularizer": regularizers.L2(0.03)},
    "ml20m": {"solver": optimizers.AdaGrad(rate=0.1, initial=50), "regularizer": regularizers.L2(0.025)},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "fastmf": {},
    "fastmf SGD": {"solver": optimizers.SGD()},
    "fastmf float16": {},
    "fastmf ALS": {"loss": losses.Confidence(), "solver": optimizers.ALS(), "biases": False},
    # Tuned on a log of another seed, where BPR needs 40 epochs and WARP 15.
    "fastmf BPR": {"loss": losses.BPR(), "solver": optimizers.AdaGrad(0.1), "regularizer": regularizers.L2(0.002)},
    "fastmf WARP": {"loss": losses.WARP(), "solver": optimizers.AdaGrad(0.1), "regularizer": regularizers.L2(0.02)},
}
SINGLE_PASS = Update(epochs=1, history_epochs=0)  # preset "new-events", one pass
ENOUGH = 500_000  # events from which a fit uses several threads


def model(factors: int, threads: int, variant: str = "fastmf", **others: Any) -> MF:
    """An unfitted model."""
    storage = "float16" if variant.endswith("float16") else "float32"
    options = Options(threads=threads, storage=storage)
    return MF(factors=factors, options=options, **{**SETTINGS, **VARIANTS[variant], **others})


def events(ratings: Ratings) -> Interactions:
    """Ratings as Interactions."""
    return Interactions(ratings.users, ratings.items, values=ratings.values)


def positives(ratings: Ratings) -> Interactions:
    """Ratings as Interactions without values (implicit feedback)."""
    return Interactions(ratings.users, ratings.items)


def warm_up(ratings: Ratings, factors: int, threads: int, variant: str = "fastmf") -> None:
    """Compile all kernels of a fit."""
    some = ratings.take(slice(0, ENOUGH if threads > 1 else 1_000))
    model(factors, threads, variant).fit(events(some), epochs=1, progress=False)
