"""The page of a comparison of cadences: its advice, the front, quality over time, new users, what moved."""

from __future__ import annotations

from html import escape

from fastmf.comparison import NEVER, Comparison
from fastmf.evaluation import GROUPS, METRIC_NAMES, sign
from fastmf.report.cadence_charts import front_chart, key, line_chart, lines_of, shot_ticks
from fastmf.report.html import contestant_table, definitions, figure, grid, others
from fastmf.report.strategies import age, asked, cadences_in, columns, label, notes
from fastmf.report.text import GROUP_NAMES, NOTHING, count, number, percent

__all__ = ["strategy_cover", "strategy_sections"]


def strategy_sections(comparison: Comparison) -> list[str]:
    """The sections of the page of a comparison of cadences.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    list of str
        HTML.
    """
    cadences, metric = cadences_in(comparison), METRIC_NAMES[comparison.metric]
    better, corner = ("higher", "upper") if sign(comparison.metric) > 0 else ("lower", "lower")
    over_time = lines_of(cadences, lambda one: one.by_time)
    new_users = lines_of(cadences, lambda one: one.by_shot)
    parts = [str(n + 1) if n % 5 == 4 or n == 0 else "" for n in range(20)]
    return [
        f"<h1>{escape(cadences.advice.sentence)}</h1>",
        f'<p class="soft">{escape(f"{comparison.dataset}: {asked(comparison)}. {_settings(comparison)}")}</p>',
        tiles(comparison),
        "<h2>Quality against cost</h2>",
        figure(
            front_chart(cadences, metric),
            f"{metric} over the later half, and CPU seconds of keeping the model current: the best place is at the "
            f"{corner} left. The line joins the strategies that no other one beats in both; labels are cadences. Dots "
            "with a hole are estimates from sampled retrains.",
        ),
        _colours(comparison),
        "<h2>Quality over time</h2>",
        key(over_time),
        figure(
            line_chart(over_time, parts, ("twentieths of the later half", f"{metric} over time")),
            f"{metric} on each twentieth of the later half, each event asked about before it is learned; {better} is "
            "better.",
        ),
        "<h2>New users</h2>",
        key(new_users),
        figure(
            line_chart(new_users, shot_ticks(cadences.shots), ("events of a new user so far", f"{metric}, new users")),
            f"{metric} for users without an event in the first half, by how many they have had. "
            f"Questions: {', '.join(f'{n:,}' for n in cadences.shot_questions)}.",
        )
        if any(cadences.shot_questions)
        else "<p>No user is new in the later half.</p>",
        "<h2>All strategies</h2>",
        _strategies(comparison),
        f'<p class="soft">{escape(" ".join(notes(comparison)))}</p>',
        "<h2>Groups</h2>",
        _groups(comparison),
        "<h2>What moved</h2>",
        _moved(comparison),
        f"<h2>Every {escape(cadences.contestants_every)}, in detail</h2>",
        contestant_table(comparison),
        "<h2>How to read it</h2>",
        definitions(_explanation(comparison)),
        "<h2>Machine</h2>",
        definitions(comparison.machine),
    ]


def strategy_cover(comparison: Comparison) -> list[str]:
    """The sections about one comparison on a page of several."""
    return [
        f"<p>{escape(cadences_in(comparison).advice.sentence)}</p>",
        f'<p class="soft">{escape(asked(comparison))}.</p>',
        tiles(comparison),
        _strategies(comparison),
    ]


def tiles(comparison: Comparison) -> str:
    """The advised strategy in four numbers."""
    cadences, metric = cadences_in(comparison), METRIC_NAMES[comparison.metric]
    chosen, never = cadences.strategies[cadences.advice.chosen], cadences.strategies[NEVER]
    retrain = cadences.strategies[cadences.advice.retrain]
    ratio = retrain.cpu_seconds / chosen.cpu_seconds if chosen.cpu_seconds else None
    cheaper = NOTHING if ratio is None else number(ratio, ",.0f" if ratio >= 10 else ".1f", " ×")
    cells = [
        (number(chosen.value), f"{metric} of the advice; {number(never.value)} if never updated"),
        (cheaper, f"less CPU time than the best retraining, every {retrain.every} ({number(retrain.value)})"),
        (age(chosen), "mean age of the model that answers"),
        (
            _forgets(chosen.forgetting),
            f"worse than at first for old users who stayed away; {_forgets(retrain.forgetting)} after a retrain",
        ),
    ]
    tile = '<div class="tile"><b>{}</b><span>{}</span></div>'
    return f'<div class="tiles">{"".join(tile.format(escape(big), escape(small)) for big, small in cells)}</div>'


def _forgets(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:+.1f} %"


def _settings(comparison: Comparison) -> str:
    length = "until they settle" if comparison.epochs is None else f"for {count(comparison.epochs, 'epoch')}"
    seeds = count(len(comparison.seeds), "seed")
    return f"{seeds}, {comparison.factors} factors, {_recipes(comparison)}, fits {length}."


def _recipes(comparison: Comparison) -> str:
    """The recipes of the updates."""
    names = [part.strip() for part in comparison.preset.split(",")]
    return f"recipe{'' if len(names) == 1 else 's'} {' and '.join(names)}"


def _colours(comparison: Comparison) -> str:
    kinds = {one.kind: one for one in cadences_in(comparison).strategies.values() if one.every}
    names = {
        "update": "update",
        "update + full": "update, retrain now and then",
        "warm": "warm start",
        "full": "retrain",
        "popularity": "popularity",
    }
    circle = '<svg viewBox="0 0 12 12" aria-hidden="true"><circle cx="6" cy="6" r="5" fill="var(--{})"/></svg>'
    dot = f"<span>{circle}{{}}</span>"
    spans = [dot.format(kind.replace("update + full", "mixed"), escape(names[kind])) for kind in names if kind in kinds]
    return f'<div class="key dots">{"".join(spans)}</div>'


def _strategies(comparison: Comparison) -> str:
    shown = columns(comparison)
    lines = [
        ("" if one.front else "detail", label(name, one), [column.cell(one) for column in shown])
        for name, one in cadences_in(comparison).strategies.items()
    ]
    return grid([column.head for column in shown], lines)


def _groups(comparison: Comparison) -> str:
    names = [group for group in GROUPS if comparison.shares[group] > 0]
    heads = [f"{GROUP_NAMES[name]} ({percent(comparison.shares[name])})" for name in names]
    lines = [
        ("" if one.front else "detail", label(name, one), [number(one.by_group[group]) for group in names])
        for name, one in cadences_in(comparison).strategies.items()
    ]
    return grid(heads, lines)


def _moved(comparison: Comparison) -> str:
    lines = [
        (
            "" if one.front else "detail",
            label(name, one),
            [
                f"{one.times:,}",
                f"{one.rows_moved:,.0f}",
                f"{one.rows_moved / one.times:,.0f}" if one.times else NOTHING,
                f"{1_000 * one.cpu_seconds / one.times:,.1f} ms" if one.times else NOTHING,
            ],
        )
        for name, one in cadences_in(comparison).strategies.items()
    ]
    return grid(["times", "rows moved", "rows each time", "CPU each time"], lines)


def _explanation(comparison: Comparison) -> dict[str, str]:
    cadences, sampled = cadences_in(comparison), [o for o in cadences_in(comparison).strategies.values() if o.sampled]
    every = ", ".join(f"{name} ({size:,} events)" for name, size in zip(cadences.every, cadences.sizes, strict=True))
    some = (
        f"Of the retrains of a cadence, at most {max(one.made for one in sampled)} were made for each seed: two at "
        "random of each of several stretches of time. A retrain depends on no other one, so that these give an "
        "unbiased estimate of all. It uses how the updates fared on the same events, and its interval is what the "
        "sampling leaves open."
        if sampled
        else "Every retrain was made."
    )
    return {
        "protocol": "Events are sorted by time. The first half trains one model, from which all start. Each event of "
        "the later half is predicted, or ranked, by the model that a strategy serves at that moment, before anybody "
        "learns it. All strategies are asked the same.",
        "cadences": f"Mean numbers of events: {every}.",
        "never updated": "The first model, never touched.",
        "update": f"One update with the events since the last time, with the {_recipes(comparison)}.",
        "warm": "An update, and one pass over everything so far. Left out where this would take too long.",
        "retrain": "A new model fitted to everything so far.",
        **others(comparison),
        "~": some,
        "rankings": "The items that a user takes next, between two moments at which any model changes, among all "
        f"{'items, repeats included' if comparison.repeats else 'that they have not had'}. Where there are too many, "
        "a random sample of users is asked.",
        "95 %": "From resampling whole users; for ~, what the sampling leaves open.",
        "model's age": "Since the model that answers was brought up to date, mean over events.",
        "CPU s": f"Of keeping the model current, mean of {count(len(comparison.seeds), 'seed')}, on one thread, after "
        "compilation. Neither asking nor the first model is counted.",
        "recovery": "(never - value) / (never - retrain at the same cadence): 100 % is as good as retraining as often.",
        "cheaper": "CPU seconds of retraining at the same cadence, divided by those of this strategy.",
        "forgets": f"On {cadences.old_events:,} events of the first half, held out of all training, of users who never "
        "came back: how much worse at the end of the log than with the first model. Negative: what came later helped.",
        "coverage": "Share of the values within their intervals of 90 %.",
        "groups": "New users and new items have no event in the first half. Head items are the most popular ones that "
        "together hold half of its events; tail items are the other ones.",
    }
