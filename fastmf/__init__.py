"""fastmf keeps a recommender current: an update moves only the rows that new events concern."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmf import comparison as comparison
    from fastmf import datasets as datasets
    from fastmf import delta as delta
    from fastmf import devices as devices
    from fastmf import errors as errors
    from fastmf import evaluation as evaluation
    from fastmf import followers as followers
    from fastmf import integrations as integrations
    from fastmf import interactions as interactions
    from fastmf import learners as learners
    from fastmf import lists as lists
    from fastmf import losses as losses
    from fastmf import metrics as metrics
    from fastmf import model as model
    from fastmf import optimizers as optimizers
    from fastmf import parameters as parameters
    from fastmf import priors as priors
    from fastmf import protocols as protocols
    from fastmf import ranking as ranking
    from fastmf import recipes as recipes
    from fastmf import regularizers as regularizers
    from fastmf import report as report
    from fastmf import samplers as samplers
    from fastmf import warmup as warmup
    from fastmf.delta import Delta
    from fastmf.interactions import Interactions
    from fastmf.interactions.features import Features
    from fastmf.model import MF, Options, load
    from fastmf.parameters.ids import IdMap
    from fastmf.popularity import Popularity
    from fastmf.recipes import Update

__version__ = "0.1.0"

_HOMES = {
    "Delta": "fastmf.delta",
    "IdMap": "fastmf.parameters.ids",
    "Features": "fastmf.interactions.features",
    "Interactions": "fastmf.interactions",
    "MF": "fastmf.model",
    "Options": "fastmf.model",
    "Popularity": "fastmf.popularity",
    "Update": "fastmf.recipes",
    "load": "fastmf.model",
}
__all__ = [
    "MF",
    "Delta",
    "Features",
    "IdMap",
    "Interactions",
    "Options",
    "Popularity",
    "Update",
    "comparison",
    "datasets",
    "errors",
    "evaluation",
    "integrations",
    "lists",
    "load",
    "losses",
    "metrics",
    "optimizers",
    "priors",
    "protocols",
    "ranking",
    "recipes",
    "regularizers",
    "report",
    "samplers",
    "warmup",
]
# Not for `import *`: whoever writes that has a `model` of their own.
_ROOMS = {"delta", "devices", "followers", "interactions", "learners", "model", "parameters"}

if not TYPE_CHECKING:  # checkers would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """Public names are imported when they are first used, so that ``import fastmf`` is instant."""
        if name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
        elif name in __all__ or name in _ROOMS:
            value = importlib.import_module(f"fastmf.{name}")
        else:
            raise AttributeError(f"module 'fastmf' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "Any", "annotations", "importlib"})
