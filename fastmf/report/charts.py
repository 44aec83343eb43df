"""Charts of a comparison as SVG, coloured by CSS variables of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import accumulate
from typing import NamedTuple

from fastmf.comparison import Comparison
from fastmf.evaluation import sign
from fastmf.report.text import METRIC_NAMES, number, seconds

__all__ = ["Axis", "cost_chart", "drawn", "gain_chart", "line", "quality_chart"]

OTHERS = "10 3", "5 3", "3 3", "8 3 2 3", "8 3 2 3 2 3"  # dashes of models other than the first, in turn
DASHES = {"frozen": "2 5", "update": "", "warm": "7 5", "full": "12 4 2 4", "popularity": "1 3 6 3"}
WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 42


class Axis(NamedTuple):
    """A linear scale from values to pixels, with ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float]

    def __call__(self, value: float) -> float:
        """The pixel coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, marks: int = 5) -> Axis:
        """An axis that covers `values`, with about `marks` ticks at round numbers."""
        low, high = _spread(values)
        rough = (high - low) / marks
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
        ticks = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
        return cls(low, high, start, end, ticks)


def drawn(comparison: Comparison) -> dict[str, str]:
    """Contestants whose lines are drawn, with their dashes: all of the first model, and the updates of the others."""
    others = [f"update ({model})" for model in comparison.models[1:]]
    dashes = {name: DASHES.get(name, "") for name in comparison.contestants if name == kind_of(name)}
    return dashes | {name: OTHERS[place % len(OTHERS)] for place, name in enumerate(others)}


def kind_of(name: str) -> str:
    """What a contestant does: its name without that of its model."""
    return name.partition(" (")[0]


def quality_chart(comparison: Comparison) -> str:
    """The metric of every contestant, by block."""
    series = {name: comparison.contestants[name].by_block for name in drawn(comparison)}
    return _line_chart(
        series, f"{METRIC_NAMES[comparison.metric]} of each contestant, block by block", drawn(comparison)
    )


def gain_chart(comparison: Comparison) -> str:
    """The gain of every contestant over the frozen model, as the running mean over blocks."""
    better = sign(comparison.metric)
    frozen = comparison.contestants["frozen"].by_block
    series = {
        name: _running_mean(
            [
                None if value is None or base is None else better * (value - base)
                for value, base in zip(comparison.contestants[name].by_block, frozen, strict=True)
            ]
        )
        for name in drawn(comparison)
    }
    title = "Gain of each contestant over the frozen model, mean of the blocks so far"
    return _line_chart(series, title, drawn(comparison))


def _line_chart(series: dict[str, list[float | None]], title: str, dashes: dict[str, str]) -> str:
    known = [value for values in series.values() for value in values if value is not None]
    blocks = max(len(values) for values in series.values())
    down = Axis.over(known, HEIGHT - BOTTOM, TOP)
    across = Axis(0.5, blocks + 0.5, LEFT, WIDTH - RIGHT, _whole_ticks(blocks))
    marks = [_grid(across, down, "block", lambda tick: f"{tick:.0f}")]
    for name, values in series.items():
        points = [(across(block), down(value)) for block, value in enumerate(values, 1) if value is not None]
        marks.append(line(points, name, dashes[name]))
    return _svg(marks, title)


def cost_chart(comparison: Comparison) -> str:
    """The metric against CPU seconds on a logarithmic scale."""
    results = comparison.contestants
    timed = {name: result for name, result in results.items() if result.cpu_seconds > 0}
    powers = [math.log10(result.cpu_seconds) for result in timed.values()]
    low, high = math.floor(min(powers, default=0.0) - 0.15), math.ceil(max(powers, default=1.0) + 0.15)
    across = Axis(low, high, LEFT, WIDTH - RIGHT, [float(tick) for tick in range(low, high + 1)])
    down = Axis.over([result.value for result in results.values()], HEIGHT - BOTTOM, TOP)
    marks = [_grid(across, down, "CPU seconds", lambda tick: f"{10.0**tick:g}")]
    level = down(results["frozen"].value)
    marks.append(line([(LEFT, level), (WIDTH - RIGHT, level)], "frozen", DASHES["frozen"]))
    marks.append(_label(WIDTH - RIGHT, level - 7, "frozen", "end"))
    for name, result in timed.items():
        x, y = across(math.log10(result.cpu_seconds)), down(result.value)
        tip = f"{name}: {number(result.value)}, {seconds(result.cpu_seconds)} CPU seconds"
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="var(--{kind_of(name)})">'
        marks.append(f"{dot}<title>{escape(tip)}</title></circle>")
        below = abs(y - 12 - level) < 16  # keep the label off the line of "frozen"
        marks.append(_label(x, y + 22 if below else y - 12, name, "middle"))
    return _svg(marks, "CPU seconds against quality")


def _grid(across: Axis, down: Axis, title: str, spell: Callable[[float], str]) -> str:
    places = max(0, -math.floor(math.log10(down.ticks[1] - down.ticks[0]) + 1e-9))
    parts = []
    for tick in down.ticks:
        y = down(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.{places}f}</text>')
    for tick in across.ticks:
        x = across(tick)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{spell(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(title)}</text>')
    return "".join(parts)


def line(points: Sequence[tuple[float, float]], name: str, dashes: str) -> str:
    """An SVG polyline in the colour of a contestant."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline class="mark" stroke="var(--{kind_of(name)})"{dash} points="{path}"/>'


def _label(x: float, y: float, name: str, anchor: str) -> str:
    style = f'style="fill: var(--{kind_of(name)})"'
    return f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(name)}</text>'


def _svg(marks: Iterable[str], title: str) -> str:
    body = "".join(marks)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _running_mean(values: Sequence[float | None]) -> list[float | None]:
    sums = accumulate(value or 0.0 for value in values)
    counts = accumulate(value is not None for value in values)
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]


def _whole_ticks(last: int) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, last) if last / step <= 10)
    return [1.0, *(float(tick) for tick in range(step, last + 1, step) if tick > 1)]


def _spread(values: Iterable[float]) -> tuple[float, float]:
    known = list(values)
    low, high = min(known, default=0.0), max(known, default=1.0)
    pad = 0.06 * (high - low) or abs(high) * 0.01 or 1.0
    return low - pad, high + pad
