"""Options: how a model runs."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

from fastmf.errors import DeviceError, brief, require_choice, require_flag, require_integer
from fastmf.hints import hinted_methods
from fastmf.optimizers import ALS
from fastmf.protocols import Loss, Optimizer, Regularizer

__all__ = ["Options", "Settings", "require_options"]


@hinted_methods("__new__")
class Options(NamedTuple):
    """How a model runs, none of which changes what it means.

    Parameters
    ----------
    threads : int, optional
        Threads of bulk ranking, and of fits and updates of half a million events or more; all cores by default. All
        else uses one.
    deterministic : bool
        Same seed, same bits, whatever the number of threads. Losses of single events keep to this anyway; those that
        compare events with negatives then draw them from a part of the items, another one in every epoch.
    storage : {"float32", "float16"}
        How factors are kept; training is always float32.
    device : {"cpu"}
        Where to train.
    memory : int, optional
        The bytes that a table may grow to; half the machine's memory by default.
    """

    threads: int | None = None
    deterministic: bool = False
    storage: str = "float32"
    device: str = "cpu"
    memory: int | None = None

    def check(self) -> None:
        """Raise ValueError or DeviceError for an option that cannot be honoured."""
        if self.threads is not None:
            require_integer("Options.threads", self.threads, 1)
        require_flag("Options.deterministic", self.deterministic)
        require_choice("Options.storage", self.storage, ("float32", "float16"))
        if not isinstance(self.device, str) or self.device != "cpu":
            raise DeviceError(
                f'this version trains on the CPU only; use Options(device="cpu"), not {brief(self.device)}'
            )
        if self.memory is not None:
            require_integer("Options.memory", self.memory, 1)


def require_options(options: Any) -> Options:
    """The options; ValueError or DeviceError unless they are some that can be honoured."""
    if not isinstance(options, Options):
        raise ValueError(f"options must be fastmf.Options, got {brief(options)} ({type(options).__name__})")
    options.check()
    return options


class Settings(TypedDict, total=False):
    """Those of a model that its vectors do not settle, for type checkers."""

    loss: Loss
    solver: Optimizer | ALS | None
    regularizer: Regularizer | None
    biases: bool
    seed: int
    options: Options
