"""What is said on standard output and standard error, whatever they are: a terminal, a file, closed, or nothing at all.

Programs without a console have ``sys.stderr = None``; output that goes to a file is in the encoding of the machine,
which may know no more than ASCII. Neither may cost anybody their work.
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
    if file is None:  # to `print` that means standard output
        return
    encoding = getattr(file, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    _Forgiving(file).write(f"{text}\n")
    _Forgiving(file).flush()


class _Forgiving:
    """A file that may be closed, or a pipe that nobody reads any more, or lack what files have besides `write`."""

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
    """A bar of tqdm; silent where it is not wanted, or standard error is not there, or no terminal and not asked."""
    from tqdm import tqdm  # costs more to import than most commands take

    file = sys.stderr
    if file is None or getattr(file, "closed", False):
        return tqdm(disable=True, **settings)
    return tqdm(disable=None if progress is None else not progress, file=_Forgiving(file), **settings)
