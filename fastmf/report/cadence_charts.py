"""Charts of strategies as SVG: the front of quality against CPU time, quality over time, and new users.

Each is drawn twice, wide and narrow: an SVG that is scaled down to a phone would have letters too small to read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from fastmf.comparison import NEVER, Cadences, StrategyOutcome
from fastmf.report.charts import OTHERS, Axis
from fastmf.report.text import number, seconds

__all__ = ["Line", "front_chart", "key", "line_chart", "lines_of"]

DASHES = ("", "9 4", "3 4", "9 3 2 3", "1 4")
COLOURS = {"update + full": "mixed"}
Points = Sequence[tuple[float, float]]
Box = tuple[float, float, float]  # the middle of a label, and half its width


class Frame(NamedTuple):
    """The size of a chart, and of the letters' surroundings."""

    kind: str
    width: int
    height: int
    left: int = 56
    right: int = 14
    top: int = 16
    bottom: int = 44

    def across(self, low: float, high: float, ticks: Sequence[float]) -> Axis:
        """The horizontal axis."""
        return Axis(low, high, self.left, self.width - self.right, list(ticks))

    def down(self, values: Sequence[float]) -> Axis:
        """The vertical axis."""
        return Axis.over(values, self.height - self.bottom, self.top)

    def svg(self, marks: Sequence[str], title: str) -> str:
        """The chart as an element that is shown at its width."""
        body, box = "".join(marks), f"0 0 {self.width} {self.height}"
        return f'<svg class="{self.kind}" viewBox="{box}" role="img" aria-label="{escape(title)}">{body}</svg>'


FRAMES = Frame("wide", 760, 320), Frame("narrow", 360, 300, left=48, right=10)


class Line(NamedTuple):
    """A line of a chart: its name, colour, dashes, and a value or None for each place."""

    name: str
    colour: str
    dash: str
    values: Sequence[float | None]


def lines_of(cadences: Cadences, values: Callable[[StrategyOutcome], Sequence[float | None]]) -> list[Line]:
    """Lines of the strategies that tell most: never, the finest and coarsest cadence of each, and the advised one.

    Where retrains are sampled, there are too few of them in each part to draw.
    """
    ends = {cadences.every[0], cadences.every[-1]}
    chosen, found = [], cadences.strategies
    for name, one in found.items():
        shown = one.kind in ("frozen", "popularity") or (one.kind in ("update", "full") and one.every in ends)
        if one.model or one.preset:  # of further models and recipes, the finest updates
            shown = one.kind == "update" and one.every == cadences.every[0]
        if (shown or name == cadences.advice.chosen) and not one.sampled:
            chosen.append(name)
    others = [one for one in dict.fromkeys((one.model, one.preset) for one in found.values()) if any(one)]
    return [
        Line(name, colour(found[name]), _dash(cadences, found[name], others), values(found[name]))
        for name in chosen
        if sum(value is not None for value in values(found[name])) > 1
    ]


def colour(one: StrategyOutcome) -> str:
    """The CSS variable of a kind of strategies."""
    return f"var(--{COLOURS.get(one.kind, one.kind)})"


def key(lines: Sequence[Line]) -> str:
    """What each line is."""
    swatch = '<span><svg viewBox="0 0 28 10" aria-hidden="true">{}</svg>{}</span>'
    names = [swatch.format(_polyline([(1, 5), (27, 5)], one), escape(one.name)) for one in lines]
    return f'<div class="key">{"".join(names)}</div>'


def line_chart(lines: Sequence[Line], ticks: Sequence[str], labels: tuple[str, str]) -> str:
    """Lines over places that are evenly apart; `labels` are the title of the horizontal axis and that of the chart."""
    known = [value for one in lines for value in one.values if value is not None]

    def draw(frame: Frame) -> str:
        across, down = frame.across(-0.5, len(ticks) - 0.5, range(len(ticks))), frame.down(known)
        marks = [_grid(frame, across, down, labels[0], lambda tick: ticks[int(tick)])]
        for one in lines:
            points = [(across(n), down(value)) for n, value in enumerate(one.values) if value is not None]
            marks.append(_polyline(points, one))
        return frame.svg(marks, labels[1])

    return "".join(map(draw, FRAMES))


def front_chart(cadences: Cadences, metric: str) -> str:
    """The metric of each strategy against its CPU seconds, on a logarithmic scale; the front is joined by a line."""
    timed = {name: one for name, one in cadences.strategies.items() if one.cpu_seconds > 0}
    powers = [math.log10(one.cpu_seconds) for one in timed.values()]
    low, high = math.floor(min(powers, default=0.0) - 0.2), math.ceil(max(powers, default=1.0) + 0.2)
    never = cadences.strategies[NEVER]

    def draw(frame: Frame) -> str:
        across = frame.across(low, high, [float(tick) for tick in range(low, high + 1)])
        down = frame.down([one.value for one in cadences.strategies.values()])
        marks = [_grid(frame, across, down, "CPU seconds", lambda tick: f"{10.0**tick:g}")]
        level = down(never.value)
        marks.append(_polyline([(frame.left, level), (frame.width - frame.right, level)], _plain("frozen", "2 5")))
        marks.append(_text(frame.width - frame.right, level - 7, NEVER, "var(--frozen)", "end"))
        front = sorted((one for one in timed.values() if one.front), key=lambda one: one.cpu_seconds)
        points = [(across(math.log10(one.cpu_seconds)), down(one.value)) for one in front]
        marks.append(_polyline(points, _plain("line", "")))
        taken = [(frame.width - frame.right - 48.0, level - 7, 50.0)]
        taken += [(across(math.log10(one.cpu_seconds)), down(one.value) + 4, 6.0) for one in timed.values()]
        for name, one in sorted(timed.items(), key=lambda pair: not pair[1].front):
            marks.append(_dot(name, one, (across(math.log10(one.cpu_seconds)), down(one.value)), taken))
        return frame.svg(marks, f"CPU seconds against {metric}")

    return "".join(map(draw, FRAMES))


def _dot(name: str, one: StrategyOutcome, at: tuple[float, float], taken: list[Box]) -> str:
    """A dot with its cadence beside it, where no other label is."""
    x, y = at
    tip = f"{name}: {number(one.value)}, {seconds(one.cpu_seconds)} CPU seconds"
    fill = colour(one) if not one.sampled else "var(--paper)"
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour(one)}" stroke-width="2">'
    label = f"{one.every}" if one.retrain_every is None else f"{one.every} + {one.retrain_every}"
    label = " ".join(filter(None, (one.model, one.preset, label)))
    half = 4.0 * len(label)
    places = [(x, y - 11), (x, y + 20), (x + half + 10, y + 4), (x - half - 10, y + 4)]
    text = ""
    for spot in places:
        if all(abs(spot[0] - a) > half + b_half or abs(spot[1] - b) > 13 for a, b, b_half in taken):
            taken.append((*spot, half))
            text = _text(*spot, label, colour(one), "middle")
            break
    return f"{dot}<title>{escape(tip)}</title></circle>{text}"


def _grid(frame: Frame, across: Axis, down: Axis, title: str, spell: Callable[[float], str]) -> str:
    places = max(0, -math.floor(math.log10(down.ticks[1] - down.ticks[0]) + 1e-9)) if len(down.ticks) > 1 else 3
    parts = []
    for tick in down.ticks:
        y = down(tick)
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{frame.left - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:.{places}f}</text>')
    for tick in across.ticks:
        at = f'x="{across(tick):.1f}" y="{frame.height - frame.bottom + 18}"'
        parts.append(f'<text {at} text-anchor="middle">{escape(spell(tick))}</text>')
    middle = (frame.left + frame.width - frame.right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{frame.height - 6}" text-anchor="middle">{escape(title)}</text>')
    return "".join(parts)


def _polyline(points: Points, one: Line) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f' stroke-dasharray="{one.dash}"' if one.dash else ""
    return f'<polyline class="mark" stroke="{one.colour}"{dash} points="{path}"/>'


def _plain(name: str, dash: str) -> Line:
    return Line(name, f"var(--{name})", dash, [])


def _text(x: float, y: float, text: str, fill: str, anchor: str) -> str:
    style = f'style="fill: {fill}"'
    return f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def _dash(cadences: Cadences, one: StrategyOutcome, others: Sequence[tuple[str | None, str | None]]) -> str:
    if one.every is None or one.kind == "popularity":
        return "2 5"
    if one.model or one.preset:
        return OTHERS[others.index((one.model, one.preset)) % len(OTHERS)]
    return DASHES[min(cadences.every.index(one.every), len(DASHES) - 1)]


def shot_ticks(shots: Sequence[int]) -> list[str]:
    """Names of the ranges of events so far."""
    ranges = [str(a) if b == a + 1 else f"{a}–{b - 1}" for a, b in pairwise(shots)]
    return [*ranges, f"{shots[-1]}+"]
