"""Reports of a comparison: a table for the terminal, JSON, and a self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fastmf import files
from fastmf.comparison import Comparison
from fastmf.report.page import cover, page
from fastmf.report.strategies import strategy_table
from fastmf.report.text import table as block_table

__all__ = ["page", "table", "write"]


def table(comparison: Comparison) -> str:
    """The comparison as a fixed-width text table: of strategies if cadences were compared, else of contestants.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str
        Lines of at most about 120 characters.
    """
    return block_table(comparison) if comparison.cadences is None else strategy_table(comparison)


def write(comparison: Comparison, folder: str | Path, others: Sequence[Comparison] = ()) -> Path:
    """Write `compare.json` and `index.html`.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        Created if it does not exist.
    others : sequence of Comparison
        Comparisons on other data sets. With any, the files of each comparison are written to a subfolder named after
        its data set, `compare.json` is that of the first one with the paths of the others under "also", and
        `index.html` links to all of them.

    Returns
    -------
    Path
        The path of `index.html`.
    """
    folder = Path(folder)
    if not others:
        return _write(folder, comparison.as_dict(), page(comparison))
    for one in (comparison, *others):
        _write(folder / one.dataset, one.as_dict(), page(one))
    also = [f"{one.dataset}/compare.json" for one in others]
    return _write(folder, comparison.as_dict() | {"also": also}, cover([comparison, *others]))


def _write(folder: Path, figures: dict[str, object], text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    json_text = json.dumps(figures, indent=1, allow_nan=False)
    files.write(folder / "compare.json", f"{json_text}\n".encode())
    target = folder / "index.html"
    files.write(target, text.encode(errors="replace"))  # data sets may be named after files: any bytes
    return target
