"""Options: run-time settings of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

from fastmf.errors import DeviceError, brief, require_choice, require_flag, require_integer
from fastmf.hints import hinted_methods
from fastmf.optimizers import ALS, Variational
from fastmf.popularity import Popularity
from fastmf.priors import Map, Mean, Zero
from fastmf.protocols import Loss, Optimizer, Regularizer

__all__ = ["ImportSettings", "Options", "Settings", "require_options"]


@hinted_methods("__new__")
class Options(NamedTuple):
    """Run-time settings of a model: threads, determinism, storage, device and memory.

    The options are checked by :class:`fastmf.MF` and :func:`fastmf.load`, and by :meth:`check`.

    Parameters
    ----------
    threads : int, optional
        Maximum number of threads for bulk ranking, and for fits and updates of 500,000 events or more; all cores by
        default. Everything else runs in one thread.
    deterministic : bool
        Give bit-identical results for the same seed, whatever the number of threads. Pointwise losses do so in any
        case. Losses with negatives then draw them from a subset of the items, a different one in every epoch.
    storage : {"float32", "float16"}
        Dtype in which factors are stored; training always uses float32.
    device : {"cpu"}
        Device to train on.
    memory : int, optional
        Memory budget in bytes: the size that each table may grow to; half of the machine's memory by default.

    Examples
    --------
    >>> import fastmf
    >>> fastmf.MF(options=fastmf.Options(threads=1)).options.threads
    1
    """

    threads: int | None = None
    deterministic: bool = False
    storage: str = "float32"
    device: str = "cpu"
    memory: int | None = None

    def check(self) -> None:
        """Check the options.

        Raises
        ------
        ValueError
            If an option is out of range.
        DeviceError
            If `device` is not available.
        """
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
    """Return the options after a check; ValueError or DeviceError if they are invalid."""
    if not isinstance(options, Options):
        raise ValueError(f"options must be fastmf.Options, got {brief(options)} ({type(options).__name__})")
    options.check()
    return options


class Settings(TypedDict, total=False):
    """The parameters of a model that ``from_factors`` accepts, for type checkers."""

    loss: Loss
    solver: Optimizer | ALS | Variational | None
    regularizer: Regularizer | None
    priors: Mapping[str, Zero | Mean | Map] | None
    popularity: Popularity | None
    biases: bool
    seed: int
    options: Options


class ImportSettings(Settings, total=False):
    """What ``from_factors`` accepts besides arrays, for type checkers."""

    counts: Any
    history: Any
