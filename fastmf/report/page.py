"""A comparison as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from fastmf.comparison import Comparison
from fastmf.evaluation import sign
from fastmf.report.cadence_page import strategy_cover, strategy_sections
from fastmf.report.charts import cost_chart, drawn, gain_chart, line, quality_chart
from fastmf.report.html import contestant_table, definitions, figure, others, whole_page
from fastmf.report.text import METRIC_NAMES, count, describe, doubt, number, percent, summary

__all__ = ["cover", "page"]


def page(comparison: Comparison) -> str:
    """The comparison as a self-contained HTML page: no scripts or external files, with light and dark colours.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
    """
    if comparison.cadences is not None:
        return whole_page(f"{comparison.dataset} · fastmf compare", strategy_sections(comparison))
    metric = METRIC_NAMES[comparison.metric]
    better, corner = ("higher", "upper") if sign(comparison.metric) > 0 else ("lower", "lower")
    sections = [
        f"<h1>{escape(summary(comparison))}</h1>",
        f'<p class="soft">{escape(comparison.dataset)}: {escape(describe(comparison))}.</p>',
        _tiles(comparison),
        "<h2>Quality over time</h2>",
        _key(comparison),
        figure(quality_chart(comparison), f"{metric} on the block that comes next; {better} is better."),
        "<h2>Gain over never updating</h2>",
        _key(comparison),
        figure(
            gain_chart(comparison),
            f"How much better than the frozen model in {metric}, as the mean of the blocks so far; higher is "
            "better. Blocks differ more than contestants do, so this shows what the first picture hides.",
        ),
        "<h2>Cost against quality</h2>",
        figure(
            cost_chart(comparison),
            f"CPU seconds for all blocks, on a logarithmic scale, and {metric}: the best place is at the {corner} "
            "left. The frozen model costs nothing.",
        ),
        "<h2>All figures</h2>",
        contestant_table(comparison),
        "<h2>How to read it</h2>",
        definitions(_explanation(comparison)),
        "<h2>Machine</h2>",
        definitions(comparison.machine),
    ]
    return whole_page(f"{comparison.dataset} · fastmf compare", sections)


def cover(comparisons: Sequence[Comparison]) -> str:
    """An index page of several comparisons, linking to their pages in subfolders named after the data sets.

    Parameters
    ----------
    comparisons : sequence of Comparison

    Returns
    -------
    str
    """
    sections = ["<h1>Updating against full retraining</h1>"]
    for one in comparisons:
        name, target = escape(one.dataset), escape(quote(one.dataset))
        sections.append(f'<h2><a href="{target}/index.html">{name}</a></h2>')
        if one.cadences is not None:
            sections += strategy_cover(one)
            continue
        sections += [
            f"<p>{escape(summary(one))}</p>",
            f'<p class="soft">{escape(describe(one))}.</p>',
            _tiles(one),
            contestant_table(one),
        ]
    return whole_page("fastmf compare", sections)


def _tiles(comparison: Comparison) -> str:
    update, full = comparison.contestants["update"], comparison.contestants["full"]
    metric, per_block = METRIC_NAMES[comparison.metric], 1000 * update.cpu_seconds / comparison.blocks
    tiles = [
        (percent(update.recovery), f"of the gap between frozen and full closed by updating{doubt(comparison)}"),
        (number(update.speedup, ",.0f", " ×"), "less CPU time than full retraining"),
        (number(update.value), f"{metric} when updated; {number(full.value)} when retrained"),
        (f"{per_block:,.1f} ms", f"CPU time of an update with {comparison.block_events:,} events"),
    ]
    tile = '<div class="tile"><b>{}</b><span>{}</span></div>'
    cells = "".join(tile.format(escape(big), escape(small)) for big, small in tiles)
    return f'<div class="tiles">{cells}</div>'


def _key(comparison: Comparison) -> str:
    swatch = '<span><svg viewBox="0 0 28 10" aria-hidden="true">{}</svg>{}</span>'
    lines = {name: line([(1, 5), (27, 5)], name, dashes) for name, dashes in drawn(comparison).items()}
    names = [swatch.format(mark, escape(name)) for name, mark in lines.items()]
    return f'<div class="key">{"".join(names)}</div>'


def _explanation(comparison: Comparison) -> dict[str, str]:
    protocol = (
        "Events are sorted by time. The first half trains one model, from which all start. The rest is cut "
        f"into blocks of {comparison.block_events:,} events. Each contestant is brought up to date with a "
        "block and then asked about the next one."
    )
    full = (
        "A new model fitted to everything so far, until it settles."
        if comparison.epochs is None
        else f"A new model fitted to everything so far, for {count(comparison.epochs, 'epoch')}: the fewest that "
        "come within 0.2 % of the best on the last tenth of the first half."
    )
    popularity = "Items by the number of their events so far, counted on with each block: the same for every user."
    recovery = (
        "(frozen - value) / (frozen - full). 0 % is never updating, 100 % is full retraining, more is better "
        "than full retraining. Not defined where full is no better than frozen."
    )
    seconds = (
        "Sums over all blocks, means of the seeds, on one thread, after compilation. Neither asking nor "
        "training the first model is counted."
    )
    groups = (
        "New users and new items have no event before the block that is asked about. Head items are the most "
        "popular ones, which together hold half of the events so far; tail items are the other known ones."
    )
    return {
        "protocol": protocol,
        "frozen": "The first model, never touched.",
        "update": f"One update per block, with the recipe {comparison.preset}.",
        "warm": "Its own last model, and one pass over everything so far.",
        "full": full,
        **({"popularity": popularity} if "popularity" in comparison.contestants else {}),
        **others(comparison),
        "recovery": recovery,
        "against the best": "The same with the better of full and warm in place of full.",
        "seconds": seconds,
        "rows moved": "User and item rows that were changed, over all blocks, mean of the seeds.",
        "groups": groups,
        "intervals": "95 %, from resampling whole users: the events of one user are not independent.",
    }
