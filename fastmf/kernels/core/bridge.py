"""What kernels and values have to know of each other: the method bridge, and the key of the kernel cache.

``slope(loss, score, target)`` inside a kernel means the plain method ``slope`` of the class of `loss`. That is the
only meta-programming in fastmf. Losses, optimizers and regularizers never import Numba; kernels never import them.
(Calls are functions, not methods, because Numba drops the receiver of a method when it is a NamedTuple without fields.)

Numba's disk cache keys a kernel on its signature, bytecode and closure cells. It does not see JIT options, nor edits in
callees, globals or value classes, and would serve stale machine code. Every kernel is therefore built in a factory with
a closure cell `stamp`, which names the sources of this folder, the options and the files of the value classes of the
call and of their bases. (What a value imports from elsewhere is not seen.)
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types as python_types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit, typeof
from numba.core import config, event, types
from numba.extending import overload

from fastmf.console import say
from fastmf.protocols import compiled_methods


def _method(value: Any, name: str) -> Any:
    """The plain method of a value's class, without annotations: Numba would hold them against us."""
    if not isinstance(value, types.BaseNamedTuple):
        return None
    method = getattr(value.instance_class, name)
    return python_types.FunctionType(method.__code__, method.__globals__, name, None, method.__closure__)


def _bridged(name: str, parameters: tuple[str, ...]) -> Callable[..., Any]:
    """A function that kernels may call: it compiles the method of that name of its first argument's class."""

    def call(value: Any, *arguments: Any) -> Any:
        return getattr(value, name)(*arguments)

    def typing(value: Any, *arguments: Any) -> Any:
        return _method(value, name)

    named = [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in ("self", *parameters)]
    typing.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]  # Numba compares parameter names
    call.__name__, call.__qualname__ = name, name
    overload(call)(typing)
    return call


# One function for each compiled method of the protocols, such as value, slope, inverse_link, step, pull.
globals().update({name: _bridged(name, parameters) for name, parameters in compiled_methods().items()})


@functools.cache
def _kernel_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _class_source(kind: type) -> str | None:
    """A digest of the files that define a value class, or None where no other process could find the class in a cache.

    Classes that cannot be imported (of a script, a function, an interactive session) are pickled by value, and never
    equal to themselves in the next process.
    """
    importable = getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    if kind.__module__ == "__main__" or not importable:
        return None
    digest = hashlib.sha256()
    for base in kind.__mro__:
        if base.__module__ != "builtins":
            try:
                digest.update(Path(inspect.getsourcefile(base) or "").read_bytes())
            except (OSError, TypeError):
                return None
    return f"{kind.__module__}.{kind.__qualname__}:{digest.hexdigest()[:16]}"


def stamp(*classes: type, parallel: bool = False) -> str | None:
    """The cache key of a kernel called with values of these classes; None where it must not be cached."""
    sources = [_class_source(kind) for kind in classes]
    if None in sources:
        return None
    options = f"parallel={parallel}, boundscheck={bool(config.BOUNDSCHECK)}"
    return "|".join([_kernel_sources(), options, *map(str, sources)])


@functools.cache
def _warn_uncached() -> None:
    warnings.warn(
        "kernels are compiled anew in every process, since no folder for them is writable; "
        "set NUMBA_CACHE_DIR to one that is",
        RuntimeWarning,
        stacklevel=2,
    )


class _Notice(event.Listener):
    """Says once in a process that compilation has begun: it takes seconds, and silence would look like a hang."""

    def __init__(self) -> None:
        self._told = False

    def on_start(self, started: Any) -> None:
        ours = started.data["dispatcher"].py_func.__module__.startswith("fastmf.")
        if ours and not self._told:
            self._told = True
            say("fastmf: compiling for this machine (a few seconds; later processes reuse it)")

    def on_end(self, ended: Any) -> None:
        return


@functools.cache
def _announce_compilation() -> None:
    event.register("numba:compile", _Notice())


def jit(key: str | None, parallel: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """``njit`` with the options of every kernel: no fast-math flag, no GIL, cached unless `key` is None."""
    _announce_compilation()

    def compile_later(function: Callable[..., Any]) -> Any:
        options = {"nogil": True, "parallel": parallel, "error_model": "numpy"}
        if key is None:
            return njit(**options)(function)
        # An index of its own for every key: an index that names a class of somebody else's cannot be read without it.
        function.__qualname__ = f"{function.__name__}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            _warn_uncached()
            return njit(**options)(function)

    return compile_later


def entry_point(kernel: Any, *examples: Any) -> Callable[..., Any]:
    """The compiled code of a kernel for arguments of these types, called without dispatch.

    Dispatch finds the types of all arguments anew in every call, which takes longer than one event. The caller vouches
    for the types.
    """
    signature = tuple(typeof(example) for example in examples)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point  # type: ignore[no-any-return]
