"""A comparison as a plain-text table, and the labels and number formats shared by all reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastmf.comparison import Comparison, Outcome
from fastmf.evaluation import GROUPS, METRIC_NAMES, sign

__all__ = [
    "METRIC_NAMES",
    "Row",
    "count",
    "describe",
    "doubt",
    "interval",
    "number",
    "percent",
    "rows",
    "seconds",
    "summary",
    "table",
]

GROUP_NAMES = {
    "returning-user": "returning users",
    "new-user": "new users",
    "new-item": "new items",
    "head": "head items",
    "tail": "tail items",
}
NOTHING = "–"


class Row(NamedTuple):
    """One row of the table: a label and one cell per contestant."""

    label: str
    cells: list[str]
    detail: bool = False


def rows(comparison: Comparison) -> list[Row]:
    """The rows of the table."""
    results = list(comparison.contestants.values())

    def row(label: str, cell: Callable[[Outcome], str], detail: bool = False) -> Row:
        return Row(label, [cell(result) for result in results], detail)

    def group(name: str) -> Row:
        label = f"{GROUP_NAMES[name]} ({percent(comparison.shares[name])})"
        return row(label, lambda one: number(one.by_group[name]), detail=True)

    return [
        row(METRIC_NAMES[comparison.metric], lambda one: number(one.value)),
        row("95 % interval", lambda one: interval(one.interval), True),
        *map(group, GROUPS),
        row("difference from full", lambda one: number(one.difference or None, "+.4f")),
        row("95 % interval", lambda one: interval(one.difference_interval, "+.4f"), True),
        row("recovery", lambda one: percent(one.recovery)),
        row("against the best", lambda one: percent(one.recovery_best), True),
        row("CPU seconds", lambda one: seconds(one.cpu_seconds)),
        row("wall seconds", lambda one: seconds(one.wall_seconds)),
        row("speed-up (CPU)", lambda one: number(one.speedup, ",.1f", " x")),
        row("rows moved", lambda one: f"{one.rows_moved:,.0f}"),
    ]


def table(comparison: Comparison) -> str:
    """The comparison as a fixed-width text table.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        Lines of at most about 110 characters.
    """
    lines = rows(comparison)
    names = list(comparison.contestants)
    indent = {row.label: "  " * row.detail + row.label for row in lines}
    left = max(map(len, indent.values()))
    cells = max(len(cell) for row in lines for cell in row.cells) + 2
    pieces = []
    for some in _columns(names, comparison):
        width = max(cells, *(len(names[place]) + 2 for place in some))
        pieces.append(" " * left + "".join(f"{names[place]:>{width}}" for place in some))
        pieces += [
            f"{indent[row.label]:<{left}}" + "".join(f"{row.cells[place]:>{width}}" for place in some) for row in lines
        ]
        pieces.append("")
    return "\n".join([f"{comparison.dataset}: {describe(comparison)}", "", *pieces, summary(comparison)])


def _columns(names: list[str], comparison: Comparison) -> list[list[int]]:
    """The contestants of each table below the other: those of one model."""
    others = {f" ({model})" for model in comparison.models[1:]}
    of = [next((other for other in others if name.endswith(other)), "") for name in names]
    return [[place for place, one in enumerate(of) if one == model] for model in dict.fromkeys(of)]


def describe(comparison: Comparison) -> str:
    """The settings of a comparison in one line."""
    length = "until they settle" if comparison.epochs is None else f"for {count(comparison.epochs, 'epoch')}"
    return (
        f"{comparison.events:,} events, {comparison.blocks} blocks of {comparison.block_events:,} tested, "
        f"{count(len(comparison.seeds), 'seed')}, {comparison.factors} factors, recipe {comparison.preset}, "
        f"full retrains {length}{', repeats are asked about' if comparison.repeats else ''}"
    )


def summary(comparison: Comparison) -> str:
    """The result in one sentence, or two if popularity wins."""
    update, popular = comparison.contestants["update"], comparison.contestants.get("popularity")
    times = number(update.speedup, ",.0f" if (update.speedup or 0) >= 10 else ".1f")
    if update.recovery is None:
        result = f"Full retraining is no better here than never updating; updating takes {times} times less time."
    else:
        gain = f"Updating recovers {percent(update.recovery)} of what full retraining gains over never updating"
        result = f"{gain}{doubt(comparison)}, in {times} times less CPU time."
    wins = popular is not None and popular.value > update.value
    return f"{result} Live popularity ranks better." if wins else f"{result}{_best_update(comparison)}"


def _best_update(comparison: Comparison) -> str:
    """Which model is best when it is updated, if there are several."""
    if len(comparison.models) < 2:
        return ""
    updates = {comparison.models[0]: comparison.contestants["update"]}
    updates |= {model: comparison.contestants[f"update ({model})"] for model in comparison.models[1:]}
    best = max(updates, key=lambda model: sign(comparison.metric) * updates[model].value)
    values = ", ".join(f"{model} {one.value:.4f}" for model, one in updates.items())
    return f" Of the models updated, {best} is best: {values}."


def doubt(comparison: Comparison) -> str:
    """A remark if the gap between frozen and full, the denominator of recovery, may be zero; else an empty string."""
    low, high = comparison.contestants["frozen"].difference_interval
    return " (a gap that is not clear of zero)" if low <= 0 <= high else ""


def number(value: float | None, form: str = ".4f", unit: str = "") -> str:
    """A formatted number with its unit, or a dash for None."""
    return NOTHING if value is None else f"{value:{form}}{unit}"


def percent(share: float | None) -> str:
    """A share as a percentage, or a dash for None."""
    return NOTHING if share is None else f"{100 * share:,.0f} %"


def count(size: int, noun: str) -> str:
    """A number with its noun, in the plural unless 1."""
    return f"{size:,} {noun}{'' if size == 1 else 's'}"


def interval(bounds: tuple[float, float], form: str = ".4f") -> str:
    """The two bounds of an interval, or a dash if both are zero."""
    return f"{bounds[0]:{form}}…{bounds[1]:{form}}" if any(bounds) else NOTHING


def seconds(value: float) -> str:
    """Seconds with a sensible number of digits."""
    return "0" if value == 0 else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"
