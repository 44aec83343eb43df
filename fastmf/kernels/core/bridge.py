"""The bridge between kernels and user-defined values (losses, optimizers, ...), JIT compilation, and its disk cache.

Inside a kernel, ``slope(loss, score, target)`` calls the plain Python method ``slope`` of the class of `loss`, compiled
by Numba. This is the only meta-programming in fastmf: losses, optimizers and regularizers never import Numba, and
kernels never import them. (Calls are written as functions because Numba drops the receiver of a method call if it is a
NamedTuple without fields.)

Numba's disk cache keys a kernel on its signature, bytecode and closure cells. It ignores JIT options and changes in
callees, globals or value classes, and would load stale machine code. Every kernel is therefore built by a factory
function with a closure variable `stamp`: a hash of all kernel sources, the JIT options, and the source files of the
value classes and their bases. (Modules imported by a value class are not tracked.)
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
    """The plain function behind a method of a value's class, without annotations, which Numba would reject."""
    if not isinstance(value, types.BaseNamedTuple):
        return None
    method = getattr(value.instance_class, name)
    return python_types.FunctionType(method.__code__, method.__globals__, name, None, method.__closure__)


def _bridged(name: str, parameters: tuple[str, ...]) -> Callable[..., Any]:
    """A function callable from kernels: it compiles the method of that name of the class of its first argument."""

    def call(value: Any, *arguments: Any) -> Any:
        return getattr(value, name)(*arguments)

    def typing(value: Any, *arguments: Any) -> Any:
        return _method(value, name)

    named = [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in ("self", *parameters)]
    typing.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]  # Numba compares parameter names
    call.__name__, call.__qualname__ = name, name
    overload(call)(typing)
    return call


# One function per compiled method of the protocols: value, slope, inverse_link, step, gradient, ...
globals().update({name: _bridged(name, parameters) for name, parameters in compiled_methods().items()})


@functools.cache
def _kernel_sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _class_source(kind: type) -> str | None:
    """The qualified name of a value class and a hash of its source files; None if it must not be cached.

    A class that cannot be imported (defined in a script, a function or an interactive session) is pickled by value, and
    is not equal to itself in another process.
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
    """The cache key of a kernel specialised on these value classes; None if it must not be cached."""
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
    """Prints a message, once per process, when the first compilation starts: it takes seconds."""

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
    """``njit`` with the options of every kernel: no fast-math, GIL released, cached on disk unless `key` is None."""
    _announce_compilation()

    def compile_later(function: Callable[..., Any]) -> Any:
        options = {"nogil": True, "parallel": parallel, "error_model": "numpy"}
        if key is None:
            return njit(**options)(function)
        # A cache index per key: an index that refers to a user's class cannot be unpickled where that class is missing.
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
    """The compiled function of a kernel for arguments of the types of `examples`, called without type dispatch.

    Numba's dispatcher infers the types of all arguments at every call, which takes longer than learning one event. The
    caller is responsible for passing arguments of exactly these types.
    """
    signature = tuple(typeof(example) for example in examples)
    kernel.compile(signature)
    return kernel.overloads[signature].entry_point  # type: ignore[no-any-return]
