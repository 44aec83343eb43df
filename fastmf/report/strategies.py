"""A comparison of cadences as plain text: the advice, and a line for each strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fastmf.comparison import Cadences, Comparison, StrategyOutcome
from fastmf.comparison.cadence import length
from fastmf.evaluation import METRIC_NAMES, ranks_items
from fastmf.report.text import NOTHING, count, number, percent, seconds

__all__ = ["age", "asked", "columns", "notes", "strategy_table"]


class Column(NamedTuple):
    """A column of the table: its head, and a cell for each strategy."""

    head: str
    cell: Callable[[StrategyOutcome], str]


def columns(comparison: Comparison) -> list[Column]:
    """The columns of the table of strategies; those about which nothing is known are left out."""
    cadences = cadences_in(comparison)
    found = cadences.strategies.values()
    all_of_them = [
        Column(METRIC_NAMES[comparison.metric], lambda one: number(one.value)),
        Column("95 %", lambda one: f"{one.interval[0]:.4f}…{one.interval[1]:.4f}"),
        Column("model's age", age),
        Column("CPU s", lambda one: seconds(one.cpu_seconds)),
        Column("recovery", lambda one: percent(one.recovery)),
        Column("cheaper", lambda one: number(one.speedup, ",.1f", " x") if one.kind != "full" else NOTHING),
        Column("forgets", lambda one: NOTHING if one.forgetting is None else f"{100 * one.forgetting:+.1f} %"),
        Column("coverage", lambda one: percent(one.coverage)),
    ]
    return [column for column in all_of_them if {column.cell(one) for one in found} != {NOTHING}]


def strategy_table(comparison: Comparison) -> str:
    """The comparison as a fixed-width text table, below its advice.

    Parameters
    ----------
    comparison : Comparison
        One of cadences.

    Returns
    -------
    str
        Lines of at most about 120 characters.
    """
    cadences, shown = cadences_in(comparison), columns(comparison)
    names = {name: label(name, one) for name, one in cadences.strategies.items()}
    left = max(map(len, names.values()))
    cells = [[column.cell(one) for column in shown] for one in cadences.strategies.values()]
    widths = [max(map(len, [column.head, *(row[n] for row in cells)])) + 2 for n, column in enumerate(shown)]
    head = " " * left + "".join(f"{column.head:>{width}}" for column, width in zip(shown, widths, strict=True))
    body = [
        f"{name:<{left}}" + "".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for name, row in zip(names.values(), cells, strict=True)
    ]
    title = f"{comparison.dataset}: {asked(comparison)}"
    return "\n".join([title, cadences.advice.sentence, "", head, *body, *notes(comparison)])


def label(name: str, one: StrategyOutcome) -> str:
    """The name of a strategy with its marks."""
    return f"{'*' if one.front else ' '} {name}{' ~' if one.sampled else ''}"


def asked(comparison: Comparison) -> str:
    """What was asked, in one line."""
    cadences = cadences_in(comparison)
    half = f"{comparison.events:,} events; the later half is asked about"
    if not ranks_items(comparison.metric):
        return f"{half}, each event before anybody learns it ({cadences.questions:,})"
    some = "" if cadences.asked == cadences.questions else f" of {cadences.questions:,}"
    again = ", repeats included" if comparison.repeats else ""
    return f"{half} before anybody learns it ({cadences.asked:,}{some} rankings{again})"


def notes(comparison: Comparison) -> list[str]:
    """What the marks in the table mean."""
    found = cadences_in(comparison).strategies.values()
    front = "* no other is better and cheaper."
    sampled = [one for one in found if one.sampled]
    about = f" ~ estimated from {count(max(one.made for one in sampled), 'retrain')} each." if sampled else ""
    recovery = "recovery, cheaper: against retraining as often."
    forgets = (
        " forgets: on old events held out, against the first model." if any(one.forgetting for one in found) else ""
    )
    return [front + about, recovery + forgets]


def age(one: StrategyOutcome) -> str:
    """The mean age of the model that answers, in time if there are times."""
    if one.age_seconds is None:
        return count(round(one.age_events), "event")
    return length(one.age_seconds)


def cadences_in(comparison: Comparison) -> Cadences:
    """The cadences of a comparison that has some."""
    assert comparison.cadences is not None
    return comparison.cadences
