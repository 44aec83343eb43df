"""The summary of a run in the README, between ``<!-- peers -->`` and ``<!-- /peers -->``, with its plots in docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.found import Found, label, number, share, table, times
from benchmarks.peers.plots import plots
from benchmarks.peers.quality import TRIED
from benchmarks.peers.tables import absent, machine, quiet, threads_of

BLOCK = re.compile(r"<!-- peers -->\n.*?<!-- /peers -->", re.DOTALL)
HEAD = ("measure", "fastmf", "peers", "fastmf to them")
Row = Sequence[str]


def renew(root: Path, run: dict[str, Any]) -> None:
    """Write table and plots."""
    pictures = plots(run["results"])
    for name, picture in pictures.items():
        (root / "docs" / name).write_text(picture, encoding="utf-8")
    links = (f"![{name.removesuffix('.svg').replace('-', ' ')}](docs/{name})" for name in pictures)
    block = "\n\n".join([f"<!-- peers -->\n{summary(run)}", *links]) + "\n<!-- /peers -->"
    page = root / "README.md"
    text = page.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SystemExit("README.md has no block <!-- peers --> ... <!-- /peers -->")
    page.write_text(BLOCK.sub(lambda _: block, text), encoding="utf-8")


def summary(run: dict[str, Any]) -> str:
    """One table, a line for each thing that a reader may want to know."""
    results = run["results"]
    parts = (_training, _ceiling, _quality, _online, _topk, _memory)
    rows = [row for part in parts for row in part(results)]
    title = "### Side by side\n\nfastmf and others in one run, on the same data ([how](benchmarks/README.md)):"
    above = f"`python -m benchmarks.peers` on {machine(run)} {quiet(results)}".strip()
    return "\n\n".join([title, above, table(HEAD, rows), *absent(run)])


def _training(results: list[dict[str, Any]]) -> Iterator[Row]:
    """A line for each log, number of threads and optimizer, over all numbers of factors that were measured."""
    found = Found(results, "explicit")
    for shape, threads in found.keys("shape", "threads", contestant="libmf"):
        where = {"shape": shape, "threads": threads}
        for ours in ("fastmf", "fastmf SGD"):
            measured = found.keys("shape", "threads", "factors", contestant=ours)
            factors = [size for *place, size in measured if place == [shape, threads]]
            rates = [
                _joined(number(found.value(who, "rate", factors=size, **where)) for size in factors)
                for who in (ours, "libmf")
            ]
            ratios = _joined(times(found.ratio(ours, "libmf", "rate", factors=size, **where)) for size in factors)
            name = f"training, {label(ours).removeprefix('fastmf, ')}, million ratings/s"
            yield f"{name}, {_place(shape, threads, factors)}", rates[0], f"LIBMF {rates[1]}", ratios


def _ceiling(results: list[dict[str, Any]]) -> Iterator[Row]:
    for result in Found(results, "ceiling").rows:
        for solver in ("SGD", "AdaGrad"):
            cells = [one for one in result["rows"] if one["solver"] == solver]
            ours = _joined(number(one["rate"]) for one in cells)
            same = _joined(number(one["same"]["rate"]) for one in cells)
            shares = _joined(share(one["same"]["share"]) for one in cells)
            place = _place(result["shape"], result["threads"], [one["factors"] for one in cells])
            yield f"kernel of {solver}, million ratings/s, {place}", ours, f"the same work in C {same}", shares


def _quality(results: list[dict[str, Any]]) -> Iterator[Row]:
    found = Found(results, "quality")
    for shape, threads in found.keys("shape", "threads", contestant="libmf errors"):
        where = {"shape": shape, "threads": threads}
        place = _place(shape, threads, [32])
        best, ours = (found.one(f"{who} errors", **where) or {} for who in ("libmf", "fastmf"))
        yield f"test RMSE, {place}", f"{ours.get('best', 0):.4f}", f"LIBMF's best {best['best']:.4f}", ""
        name = f"seconds until within 1 % of LIBMF's best, {place}"
        if ours.get("epochs"):
            yield _compared(found, name, "seconds", ["libmf"], where, lower=True)
        else:
            yield name, f"not in {TRIED[-1]} epochs", f"LIBMF {number(found.value('libmf', 'seconds', **where))}", ""


def _online(results: list[dict[str, Any]]) -> Iterator[Row]:
    found = Found(results, "online")
    for (shape,) in found.keys("shape"):
        peers, where = [who for who in found.contestants(shape=shape) if who != "fastmf"], {"shape": shape}
        yield _compared(found, f"one event learned, µs, median, {shape}", "learn.p50", peers, where, lower=True)
        river = [who for who in peers if who == "river"]  # the others have no call for one prediction
        yield _compared(found, f"one value predicted, µs, median, {shape}", "predict.p50", river, where, lower=True)
        yield _compared(found, f"batches of 10,000 learned, events/s, {shape}", "batch", peers, where)


def _topk(results: list[dict[str, Any]]) -> Iterator[Row]:
    found = Found(results, "topk")
    for shape, threads in found.keys("shape", "threads"):
        where = {"shape": shape, "threads": threads}
        peers = [who for who in found.contestants(**where) if who != "fastmf"]
        yield _compared(found, f"top 10, users/s, {shape}, {threads_of(threads)}", "rate", peers, where)


def _memory(results: list[dict[str, Any]]) -> Iterator[Row]:
    found = Found([row | {"each": row["grown"] / row["events"]} for row in results if "grown" in row], "memory")
    for (shape,) in found.keys("shape"):
        name = f"growth of memory in a fit, bytes an event, {shape}"
        yield _compared(found, name, "each", ["libmf"], {"shape": shape}, lower=True)


def _compared(
    found: Found, name: str, field: str, peers: Sequence[str], where: dict[str, Any], lower: bool = False
) -> Row:
    """fastmf beside peers; a ratio above 1 is in its favour, whether more is better or less."""
    pairs = [(peer, "fastmf") if lower else ("fastmf", peer) for peer in peers]
    theirs = "; ".join(f"{label(peer)} {number(found.value(peer, field, **where))}" for peer in peers)
    ratios = "; ".join(times(found.ratio(*pair, field, **where)) for pair in pairs)
    return name, number(found.value("fastmf", field, **where)), theirs, ratios


def _place(shape: str, threads: int, factors: Sequence[int]) -> str:
    return f"{shape}, {threads_of(threads)}, {_joined(factors)} factors"


def _joined(cells: Any) -> str:
    return " / ".join(map(str, cells))
