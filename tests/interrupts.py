"""Ctrl-C at any line: a call is interrupted at the first line of fastmf, at the second, ..., until it gets through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import fastmf

_ROOT = str(Path(fastmf.__file__).parent)


def interrupted_at(line: int, call: Callable[[], Any], inside: str | None = None) -> bool:
    """Interrupt a call before its line number `line` of those that fastmf runs; whether it came so far.

    With `inside`, only lines count that run while a function of this name does.
    """
    left, depth = [line], [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_ROOT):
            return None
        if frame.f_code.co_name == inside:
            depth[0] += 1
        return traced

    def traced(frame: FrameType, event: str, _: Any) -> Any:
        if event == "return" and frame.f_code.co_name == inside:
            depth[0] -= 1
        if event == "line" and (inside is None or depth[0]):
            if not left[0]:
                sys.settrace(None)
                raise KeyboardInterrupt
            left[0] -= 1
        return traced

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
