"""A comparison as a table for the terminal, as JSON, and as one HTML page that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from fastmf import files
from fastmf.comparison import Comparison
from fastmf.report.page import page
from fastmf.report.text import table

__all__ = ["page", "table", "write"]


def write(comparison: Comparison, folder: str | Path) -> Path:
    """Write `compare.json` and `index.html`.

    Parameters
    ----------
    comparison : Comparison
    folder : path
        Made where it does not exist.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(comparison.as_dict(), indent=1, allow_nan=False)
    files.write(folder / "compare.json", f"{text}\n".encode())
    target = folder / "index.html"
    files.write(target, page(comparison).encode())
    return target
