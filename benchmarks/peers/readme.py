"""Writes the summary of a run to the README, between ``<!-- peers -->`` and ``<!-- /peers -->``, and plots to docs/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.peers.found import Found, label, number, share, table, times
from benchmarks.peers.plan import RANKING
from benchmarks.peers.plots import plots
from benchmarks.peers.quality import TRIED
from benchmarks.peers.tables import absent, machine, ours_for, quiet, threads_of

BLOCK = re.compile(r"<!-- peers -->\n.*?<!-- /peers -->", re.DOTALL)
HEAD = ("measure", "fastmf", "peers", "fastmf to them")
Row = Sequence[str]


def renew(root: Path, run: dict[str, Any]) -> None:
    """Write the table and the plots."""
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
    """One table with the main results."""
    results = run["results"]
    parts = (_training, _ceiling, _quality, _online, _topk, _memory, _ranking, _ranking_quality, _incremental)
    rows = [row for part in parts for row in part(results)]
    title = "### Side by side\n\nfastmf and others in one run, on the same data ([how](benchmarks/README.md)):"
    above = f"`python -m benchmarks.peers` on {machine(run)} {quiet(results)}".strip()
    return "\n\n".join([title, above, table(HEAD, rows), *absent(run)])


def _training(results: list[dict[str, Any]]) -> Iterator[Row]:
    """A line per log, number of threads and optimizer, over all measured numbers of factors."""
    found = Found(results, "explicit")
    for shape, threads in found.keys("shape", "threads", contestant="libmf"):
        where = {"shape": shape, "threads": threads}
        for ours in ("fastmf", "fastmf SGD"):
            factors = _factors(found, ours, where)
            name = f"training, {label(ours).removeprefix('fastmf, ')}, million ratings/s"
            rates = [_rates(found, who, factors, where) for who in (ours, "libmf")]
            ratios = _ratios(found, ours, "libmf", factors, where)
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
        river = [who for who in peers if who == "river"]  # the others cannot predict a single pair
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


def _ranking(results: list[dict[str, Any]]) -> Iterator[Row]:
    """A line per log, number of threads and method, over all measured numbers of factors."""
    found = Found(results, "ranking")
    for (shape, threads), method in product(found.keys("shape", "threads"), RANKING):
        where, ours = {"shape": shape, "threads": threads}, f"fastmf {method}"
        factors = _factors(found, ours, where)
        peers = [who for who in found.contestants(**where) if ours_for(who) == ours != who]
        theirs = "; ".join(f"{label(who)} {_rates(found, who, factors, where)}" for who in peers)
        ratios = "; ".join(_ratios(found, ours, who, factors, where) for who in peers)
        if factors:
            name = f"training, {method}, million positives/s, {_place(shape, threads, factors)}"
            yield name, _rates(found, ours, factors, where), theirs, ratios


def _ranking_quality(results: list[dict[str, Any]]) -> Iterator[Row]:
    found = Found(results, "ranking_quality")
    for (shape, factors), method in product(found.keys("shape", "factors"), RANKING):
        where, ours = {"shape": shape, "factors": factors}, f"fastmf {method}"
        peers = [who for who in found.contestants(**where) if who != ours and ours_for(who) in (ours, "")]
        if found.one(ours, **where):
            yield _compared(found, f"NDCG@10, {method}, {shape}, {factors} factors", "ndcg", peers, where, ours=ours)


def _incremental(results: list[dict[str, Any]]) -> Iterator[Row]:
    found, ours = Found(results, "incremental"), "fastmf ALS"
    for (shape,) in found.keys("shape"):
        where, several = {"shape": shape}, found.contestants(shape=shape)
        for kind, rows in (("short", "of at most 1,000 events"), ("long", "one of them longer")):
            peers = [who for who in several if who != ours and found.value(who, f"{kind}.p50", **where)]
            if found.value(ours, f"{kind}.p50", **where):
                name = f"one event learned, ALS, rows {rows}, µs, median, {shape}"
                yield _compared(found, name, f"{kind}.p50", peers, where, lower=True, ours=ours)
        peers = [who for who in several if who == "implicit ALS block"]
        for block, moved in ((f"{ours} block", ""), (f"{ours} users block", ", users alone")):
            if block not in several:
                continue
            what = f"a block of 5 % taken in{moved}, against a retrain, {shape}"
            yield _compared(found, f"{what}: NDCG@10, updated to retrained", "quality", peers, where, ours=block)
            yield _compared(found, f"{what}: times less processor time", "less", peers, where, ours=block)


def _compared(
    found: Found,
    name: str,
    field: str,
    peers: Sequence[str],
    where: dict[str, Any],
    lower: bool = False,
    ours: str = "fastmf",
) -> Row:
    """fastmf against other libraries; a ratio above 1 favours fastmf, whether higher or lower values are better."""
    pairs = [(peer, ours) if lower else (ours, peer) for peer in peers]
    theirs = "; ".join(f"{_name(peer)} {number(found.value(peer, field, **where))}" for peer in peers)
    ratios = "; ".join(times(found.ratio(*pair, field, **where)) for pair in pairs)
    return name, number(found.value(ours, field, **where)), theirs, ratios


def _name(contestant: str) -> str:
    return label(contestant.removesuffix(" block"))


def _factors(found: Found, contestant: str, where: dict[str, Any]) -> list[int]:
    """The numbers of factors that a contestant was measured with."""
    rows = found.keys(*where, "factors", contestant=contestant)
    return [size for *place, size in rows if place == list(where.values())]


def _rates(found: Found, contestant: str, factors: Sequence[int], where: dict[str, Any]) -> str:
    return _joined(number(found.value(contestant, "rate", factors=size, **where)) for size in factors)


def _ratios(found: Found, above: str, below: str, factors: Sequence[int], where: dict[str, Any]) -> str:
    return _joined(times(found.ratio(above, below, "rate", factors=size, **where)) for size in factors)


def _place(shape: str, threads: int, factors: Sequence[int]) -> str:
    return f"{shape}, {threads_of(threads)}, {_joined(factors)} factors"


def _joined(cells: Any) -> str:
    return " / ".join(map(str, cells))
