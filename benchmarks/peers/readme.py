"""The summary of a run in the README, between ``<!-- peers -->`` and ``<!-- /peers -->``, with its plots in docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.peers.found import Found, label, number, share, table, times
from benchmarks.peers.plots import plots
from benchmarks.peers.tables import machine, quiet, threads_of

BLOCK = re.compile(r"<!-- peers -->\n.*?<!-- /peers -->", re.DOTALL)


def renew(root: Path, found: dict[str, Any]) -> None:
    """Write table and plots."""
    pictures = plots(found["results"])
    for name, picture in pictures.items():
        (root / "docs" / name).write_text(picture, encoding="utf-8")
    links = "\n\n".join(f"![{name.removesuffix('.svg').replace('-', ' ')}](docs/{name})" for name in pictures)
    block = f"<!-- peers -->\n{summary(found)}\n\n{links}\n<!-- /peers -->"
    page = root / "README.md"
    text = page.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise SystemExit("README.md has no block <!-- peers --> ... <!-- /peers -->")
    page.write_text(BLOCK.sub(lambda _: block, text), encoding="utf-8")


def summary(found: dict[str, Any]) -> str:
    """One table, a line for each thing that a reader may want to know."""
    results = found["results"]
    rows = [*_training(results), *_ceiling(results), *_quality(results), *_online(results), *_topk(results),
            *_memory(results)]  # fmt: skip
    head = ["measure", "fastmf", "peer", "fastmf is better by"]
    return f"Measured on: {machine(found)} {quiet(results)}\n\n`python -m benchmarks.peers`:\n\n{table(head, rows)}"


def _training(results: list[dict[str, Any]]) -> list[list[str]]:
    found, rows = Found(results, "explicit"), []
    for shape, factors, threads in found.keys("shape", "factors", "threads", contestant="libmf")[-8:]:
        where = {"shape": shape, "factors": factors, "threads": threads}
        name = f"training on {shape}, {factors} factors, {threads_of(threads)}, million ratings/s"
        values = [number(found.value(who, "rate", **where)) for who in ("fastmf", "libmf")]
        rows.append([name, values[0], f"LIBMF {values[1]}", times(found.ratio("fastmf", "libmf", "rate", **where))])
    return rows


def _ceiling(results: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for result in Found(results, "ceiling").rows[-2:]:
        for solver in ("SGD", "AdaGrad"):
            shares = [one["same"]["share"] for one in result["rows"] if one["solver"] == solver]
            name = f"{solver} kernel on {result['shape']}, {threads_of(result['threads'])}, against the same work in C"
            factors = " / ".join(str(one["factors"]) for one in result["rows"] if one["solver"] == solver)
            rows.append([f"{name}, {factors} factors", " / ".join(map(share, shares)), "100%", ""])
    return rows


def _quality(results: list[dict[str, Any]]) -> list[list[str]]:
    found, rows = Found(results, "quality"), []
    for shape, threads in found.keys("shape", "threads", contestant="libmf errors"):
        where = {"shape": shape, "threads": threads}
        best, ours = (found.one(f"{who} errors", **where) or {} for who in ("libmf", "fastmf"))
        name = f"{shape}, 32 factors, {threads_of(threads)}"
        seconds = [number(found.value(who, "seconds", **where)) for who in ("fastmf", "libmf")]
        ratio = times(found.ratio("libmf", "fastmf", "seconds", **where))
        rows.append(
            [f"seconds until within 1 % of LIBMF's best RMSE, {name}", seconds[0], f"LIBMF {seconds[1]}", ratio]
        )
        rows.append([f"test RMSE, {name}", f"{ours.get('final', 0):.4f}", f"LIBMF {best['best']:.4f}", ""])
    return rows


def _online(results: list[dict[str, Any]]) -> list[list[str]]:
    found, rows = Found(results, "online"), []
    measures = {"learn.p50": "one event learned, µs", "predict.p50": "one prediction, µs"}
    for (shape,) in found.keys("shape"):
        for field, name in measures.items():
            for peer in ("river",) if field.startswith("predict") else found.contestants(shape=shape):
                if peer != "fastmf":
                    values = [number(found.value(who, field, shape=shape)) for who in ("fastmf", peer)]
                    ratio = times(found.ratio(peer, "fastmf", field, shape=shape))
                    rows.append([f"{name}, p50, {shape}", values[0], f"{label(peer)} {values[1]}", ratio])
        batch = number(found.value("fastmf", "batch", shape=shape))
        rows.append([f"batches of 10,000 in a single pass, events/s, {shape}", batch, "", ""])
    return rows


def _topk(results: list[dict[str, Any]]) -> list[list[str]]:
    found, rows = Found(results, "topk"), []
    for shape, threads in found.keys("shape", "threads"):
        where = {"shape": shape, "threads": threads}
        for peer in (who for who in found.contestants(**where) if who != "fastmf"):
            values = [number(found.value(who, "rate", **where)) for who in ("fastmf", peer)]
            ratio = times(found.ratio("fastmf", peer, "rate", **where))
            rows.append(
                [f"top 10, users/s, {shape}, {threads_of(threads)}", values[0], f"{label(peer)} {values[1]}", ratio]
            )
    return rows


def _memory(results: list[dict[str, Any]]) -> list[list[str]]:
    found = {row["contestant"]: row["grown"] / row["events"] for row in Found(results, "memory").rows}
    if "fastmf" not in found:
        return []
    peer = f"LIBMF {number(found['libmf'])}" if "libmf" in found else ""
    ratio = times(found["libmf"] / found["fastmf"]) if "libmf" in found else ""
    return [["growth of memory in a fit, bytes an event", number(found["fastmf"]), peer, ratio]]
