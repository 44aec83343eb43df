"""Speed by number of factors, against the line between the neighbouring powers of two.

Rows are padded to 16 factors. A number of factors whose padded width lies between two powers of two should be about as
fast as the straight line between the speeds of these, read at that width: the ratio is printed beside each speed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.measuring import Figure, random_model, show
from fastmf import MF, Interactions, Options, losses, optimizers, regularizers
from fastmf.datasets import synthetic
from fastmf.kernels.core.shape import shape_of

FACTORS = (8, 16, 20, 32, 50, 64, 100, 128, 200, 256, 300, 500, 512)
EPOCHS, ITEMS, QUERIES = 3, 26_744, 512
SOLVERS: dict[str, tuple[Any, Any]] = {
    "AdaGrad": (losses.Squared(), optimizers.AdaGrad()),
    "SGD": (losses.Squared(), optimizers.SGD(0.01)),
    "BPR": (losses.BPR(), optimizers.AdaGrad(0.1)),
    "WARP": (losses.WARP(), optimizers.AdaGrad(0.1)),
    "ALS cg": (losses.Confidence(), optimizers.ALS("cg")),
    "ALS cholesky": (losses.Confidence(), optimizers.ALS("cholesky")),
    "ALS eals": (losses.Confidence(), optimizers.ALS("eals", steps=1)),
}
METHODS = (*SOLVERS, "top-10")


def padded(factors: int) -> int:
    """The number of factors of a stored row."""
    return shape_of(factors, optimizers.SGD(), True).width


def events_of(method: str) -> Interactions:
    """A million ratings, or fewer for ALS, whose work per row grows with the cube of the factors."""
    solved = method.startswith("ALS")
    log = synthetic(*(60_000, 1_200, 600) if solved else (1_000_000, 6_000, 3_700))
    return log if method in ("AdaGrad", "SGD") else Interactions(log.users, log.items)


def speed(method: str, log: Interactions | None, factors: int) -> float:
    """Events or users per second, the fastest of several passes."""
    return speed_of_lists(factors) if log is None else speed_of_fit(method, log, factors)


def speed_of_fit(method: str, log: Interactions, factors: int) -> float:
    """Events per second of the fastest epoch after the first."""
    loss, solver = SOLVERS[method]
    model = MF(factors, loss, solver, regularizers.L2(0.01), options=Options(threads=1))
    model.fit(log, EPOCHS, progress=False)
    return len(log) / float(min(record["seconds"] for record in model.history_[1:]))


def speed_of_lists(factors: int) -> float:
    """Users per second whose best ten of all items are found, the faster of two calls."""
    model = random_model(np.arange(QUERIES), ITEMS, factors).set_params(options=Options(threads=1))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        model.recommend(np.arange(QUERIES))
        took.append(time.perf_counter() - began)
    return QUERIES / min(took[1:])


def line_at(width: int, speeds: dict[int, float]) -> float:
    """The line between the speeds of the neighbouring powers of two at a padded width."""
    below, above = 1 << width.bit_length() - 1, 1 << (width - 1).bit_length()
    if below == above:
        return speeds[below]
    return speeds[below] + (width - below) / (above - below) * (speeds[above] - speeds[below])


def measure(method: str, factors: list[int], rounds: int) -> Iterator[Figure]:
    """The median speed of a method for every number of factors, in interleaved rounds."""
    powers = {1 << bits for one in factors for bits in ((padded(one) - 1).bit_length(), padded(one).bit_length() - 1)}
    asked = sorted({*factors, *powers})
    log = None if method == "top-10" else events_of(method)
    turns = [[speed(method, log, one) for one in asked] for _ in range(rounds)]
    speeds = dict(zip(asked, np.median(turns, axis=0).tolist(), strict=True))
    unit = "users/s" if method == "top-10" else "events/s"
    for one in asked:
        share = speeds[one] / line_at(padded(one), speeds)
        yield Figure(f"{method}, {one} factors", f"{speeds[one]:,.0f} {unit}, {share:.2f} of the line")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.widths", description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--factors", nargs="+", type=int, default=FACTORS)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    show(figure for method in given.methods for figure in measure(method, given.factors, given.rounds))


if __name__ == "__main__":
    main()
