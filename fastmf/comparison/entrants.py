"""Who takes part in a comparison: families of models by name, contestants from elsewhere, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastmf.comparison.contestants import FAMILIES, Build, build_of, default_build
from fastmf.comparison.guests import Guest, require_guest
from fastmf.errors import DataError, brief, names_in
from fastmf.evaluation import Metric, ranks_items
from fastmf.model import MF
from fastmf.recipes import Update, presets

__all__ = ["MODELS", "Builds", "Entry", "entrants", "models_of", "recipes_of"]

Builds = dict[str | None, Build]
"""How the models of each entrant are built; None is the first, whose rows have plain names."""

MODELS = tuple(FAMILIES)
"""Families of models that rank, by name."""


class Entry(NamedTuple):
    """A contestant: what is done, and with which model.

    Attributes
    ----------
    kind : {"frozen", "update", "warm", "full", "popularity"}
    model : str or None
        None for the first model.
    """

    kind: str
    model: str | None = None

    @property
    def name(self) -> str:
        """The name in tables and files.

        Examples
        --------
        >>> Entry("update").name, Entry("update", "warp").name
        ('update', 'update (warp)')
        """
        return self.kind if self.model is None else f"{self.kind} ({self.model})"


def models_of(text: str | None, metric: Metric) -> tuple[str, ...]:
    """Read a list of families such as ``"als,warp"``; without any, there are none.

    Raises
    ------
    DataError
        If one is unknown or occurs twice, or the metric does not rank.

    Examples
    --------
    >>> models_of("als, warp", "ndcg")
    ('als', 'warp')
    """
    if text is None:
        return ()
    if not ranks_items(metric):
        raise DataError(f"models: {brief(text)} rank items, and {metric} compares values")
    return tuple(names_in("models", text, MODELS))


def recipes_of(text: str, several: bool) -> dict[str | None, Update | None]:
    """Read the names of recipes such as ``"default,balanced"``; the name of the first one becomes None.

    Raises
    ------
    DataError
        If one is unknown or occurs twice, or there are several where they cannot be compared.

    Examples
    --------
    >>> list(recipes_of("default, balanced", several=True))
    [None, 'balanced']
    """
    names = names_in("preset", text, tuple(presets))
    if len(names) > 1 and not several:
        raise DataError(f"preset: {brief(text)} names several, which are compared at cadences only (every)")
    return {name if place else None: _recipe(name) for place, name in enumerate(names)}


def _recipe(name: str) -> Update | None:
    """A recipe by name; None for the default, which is the model's own."""
    return None if name == "default" else presets[name]


def entrants(
    metric: Metric, factors: int, models: tuple[str, ...], build: Build | None, guests: Mapping[str, Any] | None
) -> Builds:
    """How the models of each entrant are built.

    Parameters
    ----------
    metric : str
    factors : int
    models : tuple of str
        Names of families; the first one's rows have plain names.
    build : callable or None
        ``build(seed)`` returns the first model.
    guests : dict of str to callable, or None
        ``factory(seed)`` returns an unfitted contestant.

    Returns
    -------
    dict of (str or None) to callable

    Raises
    ------
    DataError
        If both `models` and `build` are given, a name is taken, or a contestant lacks a method.
    """
    if models and build is not None:
        raise DataError("models: give them or build, not both")
    first = build or (build_of(FAMILIES[models[0]], factors) if models else default_build(factors, metric))
    found: Builds = {None: first, **{name: build_of(FAMILIES[name], factors) for name in models[1:]}}
    for name, factory in (guests or {}).items():
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"contestants: {brief(name)} is no name")
        if name in found or name in models:
            raise DataError(f"contestants: {brief(name)} is a model that is compared already")
        found[name] = _invited(name, factory, metric)
    return found


def _invited(name: str, factory: Any, metric: Metric) -> Build:
    if not callable(factory):
        raise DataError(
            f"contestants: {brief(name)} is {brief(factory)}, not a function of a seed that returns a model"
        )
    model = factory(0)
    require_guest(name, model, metric)
    if isinstance(model, MF):
        return factory  # type: ignore[no-any-return]
    return lambda seed: Guest(factory(seed))  # type: ignore[return-value]
