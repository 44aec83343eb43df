"""Training on events and sampled negatives on the CPU."""

from __future__ import annotations

import functools
from typing import Any

from fastmf.devices.registry import register
from fastmf.kernels.core.launch import launch
from fastmf.kernels.train import pairwise

__all__ = ["compare", "compare_in_blocks"]


@register("compare", "cpu")
def compare(form: tuple[Any, ...], scope: int, workers: int, *args: Any) -> None:
    """Train on runs of events with negatives from `scope`; form = (shape, classes, listwise).

    Other arguments are those of kernels/train/pairwise.py, ``epoch``.
    """
    kernel = functools.partial(pairwise.epoch, *form, scope)
    launch(lambda: kernel(False), lambda: kernel(True), workers, *args)


@register("compare in blocks", "cpu")
def compare_in_blocks(form: tuple[Any, ...], workers: int, *args: Any) -> None:
    """Train on blocks of events with negatives from the item band of each; form = (shape, classes, listwise).

    Other arguments are those of kernels/train/pairwise.py, ``epoch_in_bands``.
    """
    kernel = functools.partial(pairwise.epoch_in_bands, *form)
    launch(lambda: kernel(False), lambda: kernel(True), workers, *args)
