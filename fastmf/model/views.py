"""Priors in files: their fields as JSON, and the features that maps read as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf import priors
from fastmf.interactions.features import Features
from fastmf.parameters.ids import IdMap

__all__ = ["described_map", "revived_map", "views_in", "without_views"]

_ROOM = "views."


def described_map(prior: priors.Map) -> dict[str, Any]:
    """Describe a map by its fields, and the names of its views; :func:`views_in` has their ids and vectors."""
    views = [{"name": view.name, "columns": view.columns, "numbers": view.numbers} for view in prior.views]
    fields = {"strength": float(prior.strength), "trainable": bool(prior.trainable)}
    return {"class": "Map", "fields": fields, "views": views, "several": isinstance(prior.features, tuple)}


def views_in(given: dict[str, Any]) -> dict[str, np.ndarray]:
    """The ids and vectors of all views of the priors of a model, as named arrays for a file."""
    found: dict[str, np.ndarray] = {}
    for side, prior in given.items():
        for number, view in enumerate(prior.views if isinstance(prior, priors.Map) else ()):
            ids, missing, start = IdMap(rows=max(len(view), 1)), np.isnan(view.vectors), f"{_ROOM}{side}.{number}."
            ids.extend(view.ids)
            parts = ids.arrays() | {"vectors": np.where(missing, np.float32(0), view.vectors)}
            if missing.any():
                parts["missing"] = missing.astype(np.uint8)
            found |= {start + name: array for name, array in parts.items()}
    return found


def without_views(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other arrays of a file."""
    return {name: array for name, array in arrays.items() if not name.startswith(_ROOM)}


def revived_map(side: str, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> priors.Map:
    """Make a map of what a file tells; KeyError, TypeError or ValueError if that is inconsistent."""
    views = []
    for number, view in enumerate(told["views"]):
        start = f"{_ROOM}{side}.{number}."
        parts = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
        vectors, missing = parts.pop("vectors"), parts.pop("missing", None)
        if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise ValueError(f"{start}vectors are {vectors.dtype}{list(vectors.shape)}, or not all finite")
        if missing is not None:
            if missing.dtype != np.uint8 or missing.shape != vectors.shape:
                raise ValueError(f"{start}missing is {missing.dtype}{list(missing.shape)}")
            vectors = np.where(missing > 0, np.float32(np.nan), vectors)
        names, numbers = view["columns"], int(view["numbers"])
        if names is not None and (len(names) != vectors.shape[1] or not 0 <= numbers <= len(names)):
            raise ValueError(f"{start}vectors have {vectors.shape[1]} columns, of which {len(names)} have a name")
        views.append(Features.trusted(IdMap.from_arrays(parts).values, vectors, view["name"], names, numbers))
    return priors.Map(tuple(views) if told["several"] else views[0], **told["fields"])
