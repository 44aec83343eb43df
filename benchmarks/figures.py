"""Run all benchmarks and print one Markdown table, with a description of the machine above it."""

from __future__ import annotations

import argparse

from benchmarks import online, quality, scale, start, topk
from benchmarks.measuring import show

PARTS = {"start": start.figures, "online": online.figures, "topk": topk.figures, "scale": scale.figures}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="leave the others out")
    quality.add_arguments(parser)
    given = parser.parse_args()
    found = [figure for part in given.only for figure in PARTS[part]()]
    if given.data is not None:
        found += quality.figures(quality.read(given), given.data.parent.name)
    show(found)


if __name__ == "__main__":
    main()
