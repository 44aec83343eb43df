"""CSV files made safe for every reader: blank lines are removed, and duplicated column names refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastmf.errors import DataError

__all__ = ["refuse_twice", "without_blank_lines"]

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"x\x01", b"x\x9c", b"x\xda")
_LEADING = re.compile(rb"(?:[ \t\r]*\n)*")
_BLANK = re.compile(rb"\n[ \t\r]*(?=\n|\Z)")
_PIECE = 1 << 24  # bytes


@contextmanager
def without_blank_lines(path: Path) -> Iterator[Path]:
    """Yield the path of the file, or of a copy without its blank lines, which CSV readers interpret differently."""
    with open(path, "rb") as file:
        kept = _kept(file) if path.stat().st_size else None
        if kept is None:
            yield path
            return
    with TemporaryDirectory() as folder:
        copy = Path(folder, "events.csv")
        with open(path, "rb") as source, open(copy, "wb") as target:
            for start, stop in kept:
                source.seek(start)
                for first in range(start, stop, _PIECE):
                    target.write(source.read(min(_PIECE, stop - first)))
        yield copy


def _kept(file: Any) -> list[tuple[int, int]] | None:
    """Find the spans of the file between blank lines; None if there are none, or the file is compressed."""
    with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content[:8].startswith(_COMPRESSED):
            return None
        leading = _LEADING.match(content)
        start = leading.end() if leading else 0
        parts, counted, quotes = [], start, 0
        for blank in _BLANK.finditer(content, start):
            if blank.end() == len(content) and blank[0] == b"\n":  # the end of the last line
                break
            for first in range(counted, blank.start(), _PIECE):
                quotes += content[first : min(first + _PIECE, blank.start())].count(b'"')
            counted = blank.start()
            if quotes % 2 == 0:  # otherwise the blank line is inside a quoted cell
                parts.append((start, blank.start()))
                start = blank.end()
        return [*parts, (start, len(content))] if start else None


def refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Raise DataError if the header has one of these names twice: CSV readers would rename one of the columns."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):  # compressed, or not CSV: the reader raises the error
        return
    for name in names:
        if header.count(name) > 1:
            raise DataError(f"there are two columns {name!r}; the columns are {header}")
