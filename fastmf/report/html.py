"""Pieces of HTML that pages share."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from fastmf.comparison import Comparison
from fastmf.report.text import rows

__all__ = ["contestant_table", "definitions", "figure", "grid", "others", "whole_page"]

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def whole_page(title: str, sections: Sequence[str]) -> str:
    """A page of sections."""
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(sections))


def figure(chart: str, caption: str) -> str:
    """A chart and what it shows."""
    return f"<figure>{chart}<figcaption>{escape(caption)}</figcaption></figure>"


def grid(heads: Sequence[str], lines: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """A table: its heads, and for each line the class, the label and the cells. It scrolls if it is too wide."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = []
    for kind, label, cells in lines:
        mark = f' class="{kind}"' if kind else ""
        row = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        body.append(f'<tr{mark}><th scope="row">{escape(label)}</th>{row}</tr>')
    table = f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def contestant_table(comparison: Comparison) -> str:
    """The figures of the contestants of one cadence."""
    lines = [("detail" if row.detail else "", row.label, row.cells) for row in rows(comparison)]
    return grid(list(comparison.contestants), lines)


def others(comparison: Comparison) -> dict[str, str]:
    """What the names in brackets are, where several models are compared."""
    first, *more = comparison.models
    names = ", ".join(f"({name})" for name in more)
    about = f"Further models, brought up to date and asked like the first one ({first}), whose names are plain. "
    compared = "Recovery, speed-up and differences of each are against its own retraining and its own first model."
    return {names: about + compared} if more else {}


def definitions(pairs: dict[str, str]) -> str:
    """Terms and what they mean."""
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items()) + "</dl>"
