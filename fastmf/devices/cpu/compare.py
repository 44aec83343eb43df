"""Steps on events and sampled negatives, on the CPU."""

from __future__ import annotations

import functools
from typing import Any

from fastmf.devices.registry import register
from fastmf.kernels.core.launch import launch
from fastmf.kernels.train import pairwise

__all__ = ["compare", "compare_in_blocks"]


@register("compare", "cpu")
def compare(form: tuple[Any, ...], scope: int, workers: int, *args: Any) -> None:
    """Train on runs of events, negatives being drawn from what is in `scope`; form = (shape, classes, listwise)."""
    kernel = functools.partial(pairwise.epoch, *form, scope)
    launch(lambda: kernel(False), lambda: kernel(True), workers, *args)


@register("compare in blocks", "cpu")
def compare_in_blocks(form: tuple[Any, ...], workers: int, *args: Any) -> None:
    """Train on blocks of events, negatives being drawn from the block's own items."""
    kernel = functools.partial(pairwise.epoch_in_bands, *form)
    launch(lambda: kernel(False), lambda: kernel(True), workers, *args)
