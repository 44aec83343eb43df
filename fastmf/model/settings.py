"""Settings: the parameters of a model, which are read as attributes and changed only by ``set_params``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, overload

__all__ = ["NAMES", "Setting", "differing", "following", "require_changeable"]

T = TypeVar("T")

NAMES = ("factors", "loss", "solver", "regularizer", "priors", "popularity", "biases", "seed", "options")
_FIXED = ("factors", "loss", "priors", "popularity", "biases", "seed")  # of a fitted model
_SUITED = ("solver", "regularizer", "priors", "popularity")  # the loss has defaults for these
_FIXED_OPTIONS = ("storage", "memory")


class Setting(Generic[T]):
    """A read-only attribute of a model: its tables, kernels and files depend on the value."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, model: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, model: Any, owner: type) -> T: ...
    def __get__(self, model: Any, owner: type) -> Setting[T] | T:
        return self if model is None else model._settings[self._name]

    def __set__(self, model: Any, value: T) -> None:
        raise AttributeError(
            f"{self._name} cannot be assigned to: use model.set_params({self._name}=...), or make a new MF"
        )

    def __delete__(self, model: Any) -> None:
        raise AttributeError(f"{self._name} cannot be deleted")


def following(settings: dict[str, Any], params: dict[str, Any], suited: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with `params` applied; ValueError for an unknown name.

    A new loss resets the solver, the regularizer, the priors and popularity to its own defaults, if they are the
    defaults of the old loss (`suited`).
    """
    for name in params:
        if name not in NAMES:
            raise ValueError(f"MF has no parameter {name!r}; its parameters are {', '.join(NAMES)}")
    merged = {**settings, **params}
    if "loss" in params:
        merged |= {role: None for role in suited if role not in params and _same(settings[role], suited[role])}
    return merged


def differing(old: dict[str, Any], new: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Return those of the names whose settings differ."""
    return [name for name in names if not _same(old[name], new[name])]


def require_changeable(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raise ValueError for a change of settings that a fitted model does not allow."""
    for name in differing(old, new, _FIXED):
        suited = "".join(f", {one!r}: None" for one in _SUITED) if name == "loss" else ""  # its own defaults
        raise ValueError(
            f"{name} of a fitted model cannot change from {old[name]!r} to {new[name]!r}; "
            f"make a new model: MF(**model.get_params() | {{{name!r}: ...{suited}}})"
        )
    before, after = old["solver"], new["solver"]
    if type(before) is not type(after) or before.state(old["factors"]) != after.state(old["factors"]):
        raise ValueError(
            f"solver of a fitted model may change its fields alone, not from {before!r} to {after!r}: "
            "rows remember what the one has noted in them"
        )
    for name in _FIXED_OPTIONS:
        was, asked = getattr(old["options"], name), getattr(new["options"], name)
        if was != asked:
            raise ValueError(
                f"Options.{name} of a fitted model cannot change from {was!r} to {asked!r}; "
                "save it, and load(path, options=...)"
            )


def _same(one: Any, other: Any) -> bool:
    """Whether two settings are equal; tuples of different classes are not."""
    return type(one) is type(other) and bool(one == other)
