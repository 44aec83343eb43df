"""The command line interface `fastmf`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastmf import __version__
from fastmf.comparison import COMPARED, MODELS, PEERS, Budget, Comparison, Settings, cadences_of, compare, peers_of
from fastmf.console import say, show
from fastmf.datasets import NAMES, PURCHASES, load
from fastmf.errors import DataError, FastMFError
from fastmf.evaluation import Metric, ranks_items
from fastmf.interactions import Interactions
from fastmf.report import table, write
from fastmf.warmup import warm_up

__all__ = ["main"]

_DEFAULT = "default: %(default)s"
_REAL_AND_SYNTHETIC = "complete-journey", "synthetic"


class _First(NamedTuple):
    """What is compared if nothing at all is asked for."""

    every: str
    preset: str
    budget: Budget


_FIRST = {  # by whether items are ranked; of ALS, both recipes solve the same rows
    True: _First("1d,28d", "default", Budget(retrains=6, queries=3_000, passes=1e7)),
    False: _First("1d,7d,28d", "default,balanced", Budget(retrains=20, passes=1e7)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0 on success, 2 for an error of the input, which is printed to standard error in one line.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (FastMFError, OSError) as error:
        say(f"fastmf: {error}")
        return 2
    return 0


def run_compare(options: argparse.Namespace) -> None:
    """Run `fastmf compare`: compare the contestants on each data set, print the tables and write the report."""
    races = _races(options)
    for _, metric in races:
        peers_of(options.peers, metric, options.factors)  # refused before anything takes time
    comparisons = [_compared(options, name, metric) for name, metric in races]
    page = write(comparisons[0], options.out, comparisons[1:])
    show(f"wrote {page} and {page.with_name('compare.json')}")


def _compared(options: argparse.Namespace, name: str, metric: Metric) -> Comparison:
    """Compare on one log, and print the table; cadences are compared, and soon, where nothing at all is asked for."""
    default = Settings()
    soon = all(getattr(options, name) is None for name in ("every", "dataset", "data", "block"))
    first = _FIRST[ranks_items(metric)] if soon else _First(options.every, default.preset, default.budget)
    every = first.every
    seeds = options.seeds if options.seeds is not None else default.seeds if every is None else 1
    if every is not None:
        cadences_of(every)
        say(f"{name}: reading the log")
    events = _events(options, name, metric)
    if every is not None:
        say(f"{name}: {len(events):,} events, models kept current every {', '.join(every.split(','))}")
    settings = Settings(
        metric,
        options.block,
        options.preset or first.preset,
        seeds,
        options.factors,
        every,
        first.budget,
        options.repeats,
        options.models,
    )
    peers = peers_of(options.peers, metric, options.factors)
    comparison = compare(events, settings, name, contestants=peers)
    show(f"{table(comparison)}\n")
    return comparison


def _races(options: argparse.Namespace) -> list[tuple[str, Metric]]:
    """Return the data sets and the metric of each: the one asked for, or what suits the events."""
    if options.data is not None and options.dataset is not None:
        raise DataError(f"compare takes the log {options.dataset} or --data {options.data}, not both")
    if options.data is not None:
        return [(options.data.stem, options.metric or ("rmse" if options.value else "ndcg"))]
    if options.dataset is not None:
        return [(options.dataset, options.metric or _natural(options.dataset))]
    natural = [(name, _natural(name)) for name in _REAL_AND_SYNTHETIC]
    if options.metric is None:
        return [
            (name, metric) for name, metric in natural if ranks_items(metric) or not (options.repeats or options.models)
        ]
    return [(name, options.metric) for name, metric in natural if ranks_items(metric) == ranks_items(options.metric)]


def _natural(name: str) -> Metric:
    return "ndcg" if name in PURCHASES else "rmse"


def run_warmup(options: argparse.Namespace) -> None:
    """Run `fastmf warmup`: compile and cache the kernels of common models."""
    for size, loss, solver, storage in warm_up(options.factors, storage=options.storage):
        show(f"{size} factors, {type(loss).__name__}, {type(solver).__name__}, {storage}")


def _events(options: argparse.Namespace, name: str, metric: Metric) -> Interactions:
    if options.data is None:
        return load(name)
    if options.value is None and not ranks_items(metric):
        raise DataError(f"{metric} compares values: name their column with --value")
    parquet = options.data.suffix.lower() in (".parquet", ".pq")
    read = Interactions.from_parquet if parquet else Interactions.from_csv
    return read(options.data, user=options.user, item=options.item, value=options.value, time=options.time)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastmf", description="Matrix factorisation that stays current.")
    parser.add_argument("--version", action="version", version=f"fastmf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_warmup(commands)
    return parser


def _add_warmup(commands: Any) -> None:
    command = commands.add_parser(
        "warmup",
        help="compile ahead for this machine",
        description="Compile the kernels of common models, so that no process has to wait for that. They are kept "
        "where Numba keeps them, or in the folder that NUMBA_CACHE_DIR names.",
    )
    command.add_argument("--factors", type=int, nargs="+", default=[16, 32, 64, 128], metavar="K", help=_DEFAULT)
    command.add_argument("--storage", nargs="+", default=["float32"], choices=["float32", "float16"], help=_DEFAULT)
    command.set_defaults(run=run_warmup)


def _add_compare(commands: Any) -> None:
    command = commands.add_parser(
        "compare",
        help="compare updating with full retraining",
        description="How often to update or retrain, at what cost, and what is lost: race updating against never "
        "updating, warm starts and full retraining.",
    )
    command.set_defaults(run=run_compare)
    default = Settings()
    command.add_argument("dataset", nargs="?", choices=NAMES, help=f"default: {' and then '.join(_REAL_AND_SYNTHETIC)}")
    command.add_argument("--metric", choices=COMPARED, help="default: rmse for ratings, ndcg for purchases")
    command.add_argument(
        "--every",
        metavar="LIST",
        help="how often to update or retrain: shares of the events, numbers of events or times, as in 0.1%%,1%%,5%% or "
        "1h,1d,7d; default: days and weeks if neither a log nor a block is named, and otherwise one block",
    )
    command.add_argument(
        "--block", type=float, help="share of the events in a block; default: 0.01, and 0.05 where items are ranked"
    )
    command.add_argument(
        "--models",
        metavar="LIST",
        help=f"models that rank, to compare beside each other: {','.join(MODELS)}; default: als",
    )
    command.add_argument(
        "--peers", metavar="LIST", help=f"models of other libraries, if installed, to compare beside: {','.join(PEERS)}"
    )
    command.add_argument(
        "--repeats",
        action="store_true",
        help="rank, and ask for, what users have had before too; default: only new items",
    )
    command.add_argument(
        "--preset", metavar="LIST", help=f"recipe of the updates, or with --every several; default: {default.preset}"
    )
    command.add_argument("--factors", type=int, default=default.factors, metavar="K", help=_DEFAULT)
    seeds = f"repetitions; default: {default.seeds}, and 1 where cadences are compared"
    command.add_argument("--seeds", type=int, metavar="N", help=seeds)
    command.add_argument("--out", type=Path, default=Path("fastmf-compare"), metavar="DIR", help=_DEFAULT)
    own = command.add_argument_group("events of your own")
    own.add_argument("--data", type=Path, metavar="FILE", help="Parquet, or CSV with a header")
    own.add_argument("--user", default="user", metavar="COLUMN", help=_DEFAULT)
    own.add_argument("--item", default="item", metavar="COLUMN", help=_DEFAULT)
    own.add_argument("--value", metavar="COLUMN", help="default: every event counts 1, and items are ranked")
    own.add_argument("--time", metavar="COLUMN", help="default: rows are in the order of time")
