"""Bar and line charts of a run as SVG, legible on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import product
from typing import Any, NamedTuple

from benchmarks.peers.found import Found, label, number

WIDTH, BAR, GAP, LEFT, TOP = 720, 16, 12, 190, 44
RIGHT = 90
COLOURS = ("#c2410c", "#64748b", "#0f766e", "#7c3aed", "#a16207", "#be185d")
STYLE = "text{font:13px system-ui,sans-serif;fill:#334155}@media(prefers-color-scheme:dark){text{fill:#cbd5e1}}"


class Bar(NamedTuple):
    """One bar."""

    value: float
    colour: str


class Group(NamedTuple):
    """Bars that are compared with each other."""

    name: str
    bars: Sequence[Bar]


def plots(results: list[dict[str, Any]]) -> dict[str, str]:
    """All charts that the results allow, by file name."""
    drawn = {
        "peers-training.svg": training(results),
        "peers-top-10.svg": topk(results),
        "peers-ranking.svg": ranking(results),
    }
    return {name: picture for name, picture in drawn.items() if picture}


def training(results: list[dict[str, Any]]) -> str:
    """fastmf and LIBMF by factors and threads, on the largest log."""
    found = Found(results, "explicit")
    cells = found.keys("shape", "factors", "threads", contestant="libmf")
    if not cells:
        return ""
    shape, shown = cells[-1][0], ("fastmf", "libmf")
    groups = []
    for _, factors, threads in (cell for cell in cells if cell[0] == shape):
        where = {"shape": shape, "factors": factors, "threads": threads}
        rates = [found.value(who, "rate", **where) or 0.0 for who in shown]
        bars = [Bar(rate, colour) for rate, colour in zip(rates, COLOURS, strict=False)]
        groups.append(Group(f"{factors} factors, {threads} thread{'s' * (threads > 1)}", bars))
    legend = [(label(who), colour) for who, colour in zip(shown, COLOURS, strict=False)]
    return _bars(f"Training on {shape}: million ratings per second", groups, legend)


def topk(results: list[dict[str, Any]]) -> str:
    """Users per second of every contestant."""
    found, groups = Found(results, "topk"), []
    for shape, threads in found.keys("shape", "threads"):
        groups += _contest(found, {"shape": shape, "threads": threads}, f", {threads}")
    return _bars("Top 10 of all items: users per second, by threads", groups, []) if groups else ""


def ranking(results: list[dict[str, Any]]) -> str:
    """Positives per second of every contestant, on the smallest log with the fewest factors."""
    found, groups = Found(results, "ranking"), []
    cells = found.keys("shape", "factors")[:1]
    for (shape, factors), (threads,) in product(cells, found.keys("threads")):
        groups += _contest(found, {"shape": shape, "factors": factors, "threads": threads}, f", {threads}")
    title = "".join(f"Training for ranking on {shape}, {factors} factors" for shape, factors in cells)
    return _bars(f"{title}: million positives per second, by threads", groups, []) if groups else ""


def _contest(found: Found, where: dict[str, Any], suffix: str) -> list[Group]:
    """One bar per contestant, with those of fastmf in a colour of their own."""
    groups = []
    for who in found.contestants(**where):
        ours = who.startswith("fastmf")
        name = "fastmf" if who == "fastmf" else label(who)  # its optimizer does not matter here
        bar = Bar(found.value(who, "rate", **where) or 0.0, COLOURS[0] if ours else COLOURS[1])
        groups.append(Group(name + suffix, [bar]))
    return groups


def _bars(title: str, groups: Sequence[Group], legend: Sequence[tuple[str, str]]) -> str:
    most = max(bar.value for group in groups for bar in group.bars)
    marks, y = [_text(8, 20, title, "font-weight='600'")], float(TOP)
    for name, colour in legend:
        place = WIDTH - 150 * (len(legend) - [one for one, _ in legend].index(name))
        marks += [f"<rect x='{place}' y='10' width='11' height='11' fill='{colour}'/>", _text(place + 16, 20, name)]
    for group in groups:
        height = BAR * len(group.bars)
        marks.append(_text(LEFT - 8, y + height / 2 + 4, group.name, "text-anchor='end'"))
        for bar in group.bars:
            length = (WIDTH - LEFT - RIGHT) * bar.value / most
            marks.append(f"<rect x='{LEFT}' y='{y:g}' width='{length:.1f}' height='{BAR - 2}' fill='{bar.colour}'/>")
            marks.append(_text(LEFT + length + 6, y + BAR - 5, number(bar.value)))
            y += BAR
        y += GAP
    size = f"width='{WIDTH}' height='{y:g}' viewBox='0 0 {WIDTH} {y:g}'"
    body = "\n".join(marks)
    opening = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'><title>{escape(title)}</title>"
    return f"{opening}\n<style>{STYLE}</style>\n{body}\n</svg>\n"


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f"<text x='{x:g}' y='{y:g}' {more}>{escape(words)}</text>"
