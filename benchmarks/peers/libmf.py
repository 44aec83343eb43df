"""LIBMF through ctypes: passes NumPy arrays to its shared library, without text files.

The library is built from LIBMF's own source (``-DUSEAVX -DUSEOMP -mavx -march=native -O3 -fopenmp``); the environment
variable LIBMF_SO or ``--libmf`` gives its path. The structs follow the public header, mf.h.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.data import Ratings, Size

RATING = np.dtype([("user", "i4"), ("item", "i4"), ("value", "f4")])


class _Problem(ctypes.Structure):
    _fields_ = [("m", ctypes.c_int), ("n", ctypes.c_int), ("nnz", ctypes.c_longlong), ("R", ctypes.c_void_p)]


class _Parameter(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("fun", "k", "nr_threads", "nr_bins", "nr_iters")),
        *((f"lambda_{name}", ctypes.c_float) for name in ("p1", "p2", "q1", "q2")),
        *((name, ctypes.c_float) for name in ("eta", "alpha", "c")),
        *((name, ctypes.c_bool) for name in ("do_nmf", "quiet", "copy_data")),
    ]


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("fun", "m", "n", "k")),
        ("b", ctypes.c_float),
        *((name, ctypes.POINTER(ctypes.c_float)) for name in ("P", "Q")),
    ]


class Settings(NamedTuple):
    """Training settings: LIBMF's defaults for squared error, except for the regularization."""

    factors: int
    threads: int
    bins: int = 20
    rate: float = 0.1
    penalty: float = 0.05


class Problem(NamedTuple):
    """Ratings as LIBMF's structs, and the array that they point to."""

    structure: _Problem
    rows: np.ndarray

    @classmethod
    def of(cls, ratings: Ratings, size: Size) -> Problem:
        rows = np.empty(ratings.users.size, RATING)
        rows["user"], rows["item"], rows["value"] = ratings
        return cls(_Problem(size.users, size.items, rows.size, rows.ctypes.data), rows)


class LibMF:
    """The library at $LIBMF_SO."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LIBMF_SO"])
        self._library.mf_get_default_param.restype = _Parameter
        self._library.mf_train_with_validation.restype = ctypes.POINTER(_Model)
        self._library.mf_train_with_validation.argtypes = [*[ctypes.POINTER(_Problem)] * 2, _Parameter]

    def train(self, ratings: Ratings, size: Size, settings: Settings, epochs: int) -> None:
        """Train from NumPy arrays, and discard the model."""
        self.train_on(Problem.of(ratings, size), settings, epochs)

    def train_on(self, problem: Problem, settings: Settings, epochs: int) -> None:
        """Train from ratings in LIBMF's structs, and discard the model."""
        self._run(problem, settings, epochs, None)

    def errors(self, ratings: Ratings, test: Ratings, size: Size, settings: Settings, epochs: int) -> list[float]:
        """Test RMSE after every epoch, as printed by LIBMF."""
        given, asked = Problem.of(ratings, size), Problem.of(test, size)
        printed = _captured(lambda: self._run(given, settings, epochs, asked))
        rows = [line.split() for line in printed.splitlines()]
        return [float(row[2]) for row in rows if row and row[0].isdigit()]

    def predict(self, ratings: Ratings, pairs: Ratings, size: Size, settings: Settings, epochs: int) -> np.ndarray:
        """Train, and predict pairs; the mean for users or items without ratings."""

        def predicted(model: _Model) -> np.ndarray:
            p, q = (
                np.ctypeslib.as_array(table, (rows, model.k))
                for table, rows in ((model.P, model.m), (model.Q, model.n))
            )
            scores = (p[pairs.users] * q[pairs.items]).sum(axis=1)
            return np.where(np.isfinite(scores), scores, model.b)

        found: np.ndarray = self._run(Problem.of(ratings, size), settings, epochs, None, predicted)
        return found

    def _run(
        self, given: Problem, settings: Settings, epochs: int, asked: Problem | None, use: Callable[[Any], Any] = id
    ) -> Any:
        parameter = self._library.mf_get_default_param()
        parameter.fun, parameter.k, parameter.nr_threads = 0, settings.factors, settings.threads
        parameter.nr_bins, parameter.nr_iters, parameter.eta = settings.bins, epochs, settings.rate
        parameter.lambda_p2 = parameter.lambda_q2 = settings.penalty
        parameter.quiet, parameter.copy_data = asked is None, False
        test = asked.structure if asked is not None else None
        model = self._library.mf_train_with_validation(given.structure, test, parameter)
        found = use(model.contents)
        self._library.mf_destroy_model(ctypes.byref(model))
        return found


def _captured(call: Callable[[], Any]) -> str:
    """What C++ code writes to standard output during a call."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            call()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode()
