"""Console output to standard output and standard error, which may be a terminal, a file, closed, or None.

Programs without a console have ``sys.stderr = None``, and output to a file uses the encoding of the machine, which may
be ASCII. Neither may raise an error that would end a long run.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO

__all__ = ["progress_bar", "say", "show"]

_PLAIN = str.maketrans({"…": "..", "–": "-", "→": "->", "·": "|"})


def show(text: str) -> None:
    """Print lines to standard output, if there is any."""
    _print(text, sys.stdout)


def say(text: str) -> None:
    """Print lines to standard error, if there is any."""
    _print(text, sys.stderr)


def _print(text: str, file: TextIO | None) -> None:
    if file is None:  # `print` would write to standard output instead
        return
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    _Forgiving(file).write(f"{text}\n")
    _Forgiving(file).flush()


class _Forgiving:
    """A file that ignores failed writes: it may be closed, a broken pipe, or lack every method but `write`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(AttributeError, OSError, ValueError):
            self._file.flush()


def progress_bar(progress: bool | None, **settings: Any) -> Any:
    """Make a tqdm progress bar; disabled if `progress` is False, by default without a terminal, and without stderr."""
    from tqdm import tqdm  # costs more to import than most commands take

    file = sys.stderr
    if file is None or getattr(file, "closed", False):
        return tqdm(disable=True, **settings)
    return tqdm(disable=None if progress is None else not progress, file=_Forgiving(file), **settings)
