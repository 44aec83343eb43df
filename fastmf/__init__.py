"""fastmf keeps a recommender current: new events come in, and only the rows they concern move."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Delta": "fastmf.delta",
    "IdMap": "fastmf.parameters.ids",
    "Interactions": "fastmf.interactions",
    "MF": "fastmf.model",
    "Options": "fastmf.model",
    "Update": "fastmf.recipes",
    "load": "fastmf.model",
}
__all__ = [
    "MF",
    "Delta",
    "IdMap",
    "Interactions",
    "Options",
    "Update",
    "datasets",
    "errors",
    "evaluation",
    "integrations",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "samplers",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that ``import fastmf`` is instant."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in __all__:
        value = importlib.import_module(f"fastmf.{name}")
    else:
        raise AttributeError(f"module 'fastmf' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
