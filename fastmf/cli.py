"""The command `fastmf`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastmf import __version__
from fastmf.comparison import Settings, compare
from fastmf.datasets import NAMES, load
from fastmf.errors import DataError, FastMFError
from fastmf.evaluation import METRICS
from fastmf.interactions import Interactions
from fastmf.report import table, write

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0, or 2 where the input cannot be used, with one line on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        run_compare(options)
    except (FastMFError, OSError) as error:
        print(f"fastmf: {error}", file=sys.stderr)
        return 2
    return 0


def run_compare(options: argparse.Namespace) -> None:
    """`fastmf compare`: race the contestants, print the table, write the page."""
    name = options.dataset if options.data is None else options.data.stem
    events = _events(options)
    settings = Settings(options.metric, options.block, options.preset, options.seeds, options.factors)
    comparison = compare(events, settings, name)
    print(table(comparison))
    page = write(comparison, options.out)
    print(f"\nwrote {page} and {page.with_name('compare.json')}")


def _events(options: argparse.Namespace) -> Interactions:
    if options.data is None:
        return load(options.dataset)
    if options.metric == "rmse" and options.value is None:
        raise DataError("rmse compares values: name their column with --value")
    parquet = options.data.suffix.lower() in (".parquet", ".pq")
    read = Interactions.from_parquet if parquet else Interactions.from_csv
    return read(options.data, user=options.user, item=options.item, value=options.value, time=options.time)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastmf", description="Matrix factorisation that stays current.")
    parser.add_argument("--version", action="version", version=f"fastmf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "compare",
        help="race updating against full retraining",
        description="Race updating against never updating, warm starts and full retraining.",
    )
    default = Settings()
    is_default = "default: %(default)s"
    command.add_argument("dataset", nargs="?", default="synthetic", choices=NAMES, help=is_default)
    command.add_argument("--metric", choices=METRICS, default=default.metric, help=is_default)
    command.add_argument(
        "--block", type=float, default=default.block, help=f"share of the events in a block; {is_default}"
    )
    command.add_argument("--preset", default=default.preset, help=f"recipe of the updates; {is_default}")
    command.add_argument("--factors", type=int, default=default.factors, metavar="K", help=is_default)
    command.add_argument("--seeds", type=int, default=default.seeds, metavar="N", help=f"repetitions; {is_default}")
    command.add_argument("--out", type=Path, default=Path("fastmf-compare"), metavar="DIR", help=is_default)
    own = command.add_argument_group("events of your own")
    own.add_argument("--data", type=Path, metavar="FILE", help="Parquet, or CSV with a header")
    own.add_argument("--user", default="user", metavar="COLUMN", help=is_default)
    own.add_argument("--item", default="item", metavar="COLUMN", help=is_default)
    own.add_argument("--value", metavar="COLUMN", help="default: every event counts 1")
    own.add_argument("--time", metavar="COLUMN", help="default: rows are in the order of time")
    return parser
