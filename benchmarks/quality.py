"""Test RMSE of models of ratings on random splits of a file, and the time of their fits, by solver."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import Figure, show
from fastmf import MF, Interactions, optimizers
from fastmf.metrics import rmse


def figures(events: Interactions, name: str, seeds: int = 5, factors: int = 32) -> list[Figure]:
    """Fit on 90 % and test on 10 %, once per seed of the split and of the model, with AdaGrad and with Variational."""
    splits = [events.split_random(0.9, seed=seed) for seed in range(seeds)]
    what = f"{name}, {len(events):,} events, random 90/10, {factors} factors, {seeds} seeds: "
    found = []
    for solver in (optimizers.AdaGrad(), optimizers.Variational()):
        MF(factors, solver=solver).fit(splits[0][0], epochs=1, progress=False)  # compile
        errors, seconds = [], []
        for seed, (train, test) in enumerate(splits):
            began = time.perf_counter()
            model = MF(factors, solver=solver, seed=seed).fit(train, progress=False)
            seconds.append(time.perf_counter() - began)
            errors.append(rmse(test.values, model.predict(test.users, test.items)))
        value = f"{np.mean(errors):.4f} ({min(errors):.4f} to {max(errors):.4f})"
        by = "" if isinstance(solver, optimizers.AdaGrad) else f", {type(solver).__name__}"
        found += [
            Figure(what + "test RMSE, mean (lowest to highest)" + by, value),
            Figure(what + "fit, compiled before, median" + by, f"{np.median(seconds):.3f} s"),
        ]
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments that name a file and its columns."""
    parser.add_argument("--data", type=Path, help="a Parquet or CSV file of ratings, named in the table by its folder")
    for column, default in (("user", "user"), ("item", "item"), ("value", "rating")):
        parser.add_argument(f"--{column}", default=default, help=f"its column ({default})")


def read(given: argparse.Namespace) -> Interactions:
    """The events of the file named on the command line."""
    read_file = Interactions.from_csv if given.data.suffix == ".csv" else Interactions.from_parquet
    return read_file(given.data, user=given.user, item=given.item, value=given.value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    add_arguments(parser)
    given = parser.parse_args()
    if given.data is None:
        parser.error("--data is required")
    show(figures(read(given), given.data.parent.name))


if __name__ == "__main__":
    main()
