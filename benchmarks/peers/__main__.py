"""fastmf against other libraries, on the same data in one run; writes a Markdown table, results.json and plots."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import data, plan, readme, tables
from benchmarks.peers.running import ROOT, Library, Runner, find
from fastmf import Interactions
from fastmf.comparison.outcome import describe_machine


def arguments() -> argparse.Namespace:
    whole = plan.Scope()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--suites", nargs="+", choices=plan.SUITES, default=list(plan.SUITES))
    parser.add_argument("--shapes", nargs="+", choices=data.SHAPES, help="smallest first; ml1m and ml20m by default")
    parser.add_argument("--factors", nargs="+", type=int, choices=whole.factors, default=whole.factors)
    parser.add_argument("--threads", nargs="+", type=int, default=whole.threads)
    parser.add_argument("--rounds", type=int, default=whole.rounds, help="turns of every contestant; medians are shown")
    parser.add_argument("--quick", action="store_true", help="one round on the 100K shape: does everything run?")
    parser.add_argument("--peers-python", nargs="+", default=[], metavar="PATH", help="interpreters that have peers")
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH", help="the interpreter for one peer")
    parser.add_argument("--libmf", default=os.environ.get("LIBMF_SO"), help="LIBMF's shared library")
    parser.add_argument("--data", type=Path, default=data.default_folder(), help="folder of the generated logs")
    parser.add_argument("--ratings", nargs="+", default=[], type=Path, help="Parquet files of user, item and rating")
    parser.add_argument("--out", type=Path, default=Path("results.json"))
    parser.add_argument("--show", type=Path, metavar="RESULTS", help="measure nothing: print the tables of an old run")
    parser.add_argument("--readme", action="store_true", help="renew the table of the README and the plots in docs/")
    return parser.parse_args()


def scope_of(given: argparse.Namespace) -> plan.Scope:
    if given.quick:
        return plan.Scope(given.shapes or ["ml100k"], given.factors, given.threads, rounds=1, quick=True)
    return plan.Scope(given.shapes or plan.Scope().shapes, given.factors, given.threads, given.rounds)


def ratings_of(path: Path) -> data.Ratings:
    """The ratings of a file, with ids numbered from 0."""
    events = Interactions.from_parquet(path, user="user", item="item", value="rating")
    users, items = (np.unique(ids, return_inverse=True)[1].astype(np.int32) for ids in (events.users, events.items))
    return data.Ratings(users, items, events.values.astype(np.float32))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Run the plan; returns all results."""
    scope, began = scope_of(given), time.perf_counter()
    for shape in scope.shapes:
        data.prepare(given.data, shape)
    for path in given.ratings:
        data.prepare_file(given.data, path.parent.name, ratings_of(path))
    scope = scope._replace(files=[path.parent.name for path in given.ratings])
    libraries = find(given.peers_python, dict(pair.split("=", 1) for pair in given.python))
    if given.libmf:
        libraries["libmf"] = Library(libraries["fastmf"].python, "")
    runner = Runner(libraries, given.data.absolute(), given.libmf and str(Path(given.libmf).absolute()))
    try:
        plan.carry_out(given.suites, scope, runner.run)
    except KeyboardInterrupt:
        print("stopped; this is what was measured so far")
    return {
        "machine": describe_machine(),
        "versions": {name: library.version for name, library in libraries.items()},
        "missing": sorted(runner.missing),
        "seconds": time.perf_counter() - began,
        "results": runner.results,
        "failures": runner.failures,
    }


def main() -> None:
    given = arguments()
    if given.show:
        found = json.loads(given.show.read_text())
    else:
        found = measure(given)
        given.out.write_text(json.dumps(found, indent=1))
    print("\n" + tables.report(found))
    if given.readme:
        readme.renew(ROOT, found)


if __name__ == "__main__":
    main()
