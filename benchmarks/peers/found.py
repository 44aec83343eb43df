"""Queries on results: medians over rounds, ratios within rounds, and number formats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

ENOUGH = 0.85  # minimum share of the requested cores
LABELS = {
    "libmf": "LIBMF",
    "fastmf": "fastmf, AdaGrad",
    "fastmf SGD": "fastmf, SGD",
    "fastmf float16": "fastmf, AdaGrad, float16",
    "numpy matmul": "bare matrix product",
    "surprise": "Surprise",
    "cornac": "cornac",
    "torch": "PyTorch, SparseAdam",
    "river": "river, BiasedMF",
    "lightfm": "LightFM, WARP",
    "implicit": "implicit, ALS",
    "faiss": "faiss, seen removed",
    "faiss seen kept": "faiss, seen kept",
    "numpy popularity": "popularity",
    "fastmf ALS": "fastmf, ALS",
    "fastmf ALS users": "fastmf, ALS, users alone",
    "fastmf BPR": "fastmf, BPR",
    "fastmf WARP": "fastmf, WARP",
    "implicit ALS": "implicit, ALS",
    "implicit BPR": "implicit, BPR",
    "lightfm WARP": "LightFM, WARP",
    "buffalo ALS": "buffalo, ALS",
    "irspack iALS": "irspack, iALS",
    "cmfrec iALS": "cmfrec, iALS",
}


class Found:
    """The results of one suite."""

    def __init__(self, results: Iterable[dict[str, Any]], suite: str) -> None:
        self.rows = [row for row in results if row["suite"] == suite]

    def keys(self, *names: str, contestant: str | None = None) -> list[tuple[Any, ...]]:
        """The distinct combinations of some settings, in order of appearance."""
        rows = [row for row in self.rows if contestant in (None, row["contestant"])]
        return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))

    def contestants(self, **settings: Any) -> list[str]:
        """The contestants measured with these settings."""
        return list(dict.fromkeys(row["contestant"] for row in self.rows if _matches(row, settings)))

    def one(self, contestant: str, **settings: Any) -> dict[str, Any] | None:
        """The first result of a contestant."""
        return next((row for row in self.rows if _matches(row, {"contestant": contestant, **settings})), None)

    def value(self, contestant: str, field: str, **settings: Any) -> float | None:
        """The median over rounds."""
        values = self._by_round(contestant, field, settings) or self._by_round(contestant, field, settings, busy=True)
        return median(values.values()) if values else None

    def ratio(self, above: str, below: str, field: str, **settings: Any) -> float | None:
        """The ratio of contestant `above` to contestant `below`: the median of the ratios within each round.

        If no undisturbed round has both, the ratio of their medians over undisturbed rounds; if one has no undisturbed
        round, all rounds are used.
        """
        quiet, every = (
            [self._by_round(contestant, field, settings, busy) for contestant in (above, below)]
            for busy in (False, True)
        )
        ratios = _ratios(*quiet)
        if not ratios and all(quiet):
            return median(quiet[0].values()) / median(quiet[1].values())
        ratios = ratios or _ratios(*every)
        return median(ratios) if ratios else None

    def _by_round(self, contestant: str, field: str, settings: dict[str, Any], busy: bool = False) -> dict[int, float]:
        """The value of each round; disturbed rounds, in which other processes used the machine, only if `busy`."""
        rows = [row for row in self.rows if _matches(row, {"contestant": contestant, **settings})]
        values = {row["round"]: _field(row, field) for row in rows if busy or not disturbed(row)}
        return {turn: value for turn, value in values.items() if value is not None}


def _ratios(tops: dict[int, float], bottoms: dict[int, float]) -> list[float]:
    return [tops[turn] / bottoms[turn] for turn in tops if turn in bottoms]


def disturbed(row: dict[str, Any]) -> bool:
    """Whether a measurement had fewer cores than its threads could use."""
    return bool(row.get("cores", math.inf) < ENOUGH * row.get("threads", 1))


def _matches(row: dict[str, Any], settings: dict[str, Any]) -> bool:
    return all(row.get(name) == value for name, value in settings.items())


def _field(row: dict[str, Any], path: str) -> float | None:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if value is not None else None
    return None if value is None else float(value)


def label(contestant: str) -> str:
    """The display name of a contestant."""
    return LABELS.get(contestant, contestant)


def number(value: float | None) -> str:
    """Three significant digits; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(value: float | None) -> str:
    """A formatted ratio."""
    return "–" if value is None else f"{value:.2f} x" if value < 10 else f"{value:,.0f} x"


def share(value: float | None) -> str:
    """A ratio as a percentage."""
    return "–" if value is None else f"{value:.0%}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
