"""Registry of jobs by device.

A job is a function of NumPy arrays, looked up by its name and the name of a device. Tables on the host are
authoritative, and values (losses, optimizers, regularizers) are the same on every device. To add a device, write a
module that registers its jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastmf.errors import DeviceError

__all__ = ["register", "runner"]

_Job = TypeVar("_Job", bound=Callable[..., Any])
_RUNNERS: dict[tuple[str, str], Callable[..., Any]] = {}


def register(job: str, device: str) -> Callable[[_Job], _Job]:
    """Decorator that registers a function as the implementation of a job on a device.

    Parameters
    ----------
    job, device : str

    Returns
    -------
    callable
        The decorator; it returns the function unchanged.

    Examples
    --------
    >>> @register("answer", "abacus")
    ... def answer() -> int:
    ...     return 42
    >>> runner("answer", "abacus")()
    42
    """

    def known(run: _Job) -> _Job:
        _RUNNERS[job, device] = run
        return run

    return known


def runner(job: str, device: str = "cpu") -> Callable[..., Any]:
    """The implementation of a job on a device.

    Parameters
    ----------
    job, device : str

    Returns
    -------
    callable

    Raises
    ------
    DeviceError
        If none is registered.
    """
    try:
        return _RUNNERS[job, device]
    except KeyError:
        raise DeviceError(f"{job} cannot run on device {device!r}") from None
