"""fastmf's kernel against the same work in C, in one process, on the same plan and the same tables, turn by turn.

The C (ceiling.c) is compiled when it is needed, for the machine at hand. It is run with as many events in flight as the
plan says, for the ratio, and with 1, 2 and 4, for the best that this layout allows.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clocks import Time, timed
from fastmf import losses, optimizers, regularizers
from fastmf.engine import Objective, WorkingSet, freeze, shape_of
from fastmf.factors import SIDES, Factors
from fastmf.history import Events
from fastmf.memory import default_budget
from fastmf.plan import Plan

SOURCE = Path(__file__).with_name("ceiling.c")
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC"]
FLIGHTS = (1, 2, 4)
SOLVERS = {"SGD": optimizers.SGD(), "AdaGrad": optimizers.AdaGrad()}
COLUMNS = (np.int32, np.int32, np.float32, np.float32)


class Work(ctypes.Structure):
    """`Work` of ceiling.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("users", "items", "values", "weights")),
        *((name, ctypes.c_void_p) for name in ("user_rows", "user_records", "item_rows", "item_records")),
        *((name, ctypes.c_float) for name in ("mean", "rate", "initial", "penalty")),
    ]


def compiler() -> str | None:
    """The system's C compiler."""
    return shutil.which("cc")


def compile_source() -> ctypes.CDLL:
    """The library that ceiling.c makes on this machine."""
    command = [compiler() or "cc", *FLAGS, str(SOURCE), "-lm", "-o"]
    with tempfile.TemporaryDirectory() as folder:  # a loaded library outlives its file
        target = Path(folder) / f"{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
        subprocess.run([*command, str(target)], check=True, capture_output=True)
        library = ctypes.CDLL(str(target))
    library.epoch.restype = ctypes.c_double
    library.epoch.argtypes = [ctypes.POINTER(Work), *[ctypes.c_void_p] * 3, ctypes.c_long, *[ctypes.c_int] * 4]
    return library


class Pass(NamedTuple):
    """One pass of training, ready to be done by either side."""

    plan: Plan
    working: WorkingSet
    objective: Objective
    threads: int

    @classmethod
    def over(cls, plan: Plan, counts: tuple[int, int], factors: int, solver: Any, threads: int) -> Pass:
        """From the start vectors of a fit with the default loss and regularizer."""
        objective = Objective(
            freeze(losses.Squared(), "loss"), freeze(solver, "solver"), freeze(regularizers.L2(), "regularizer")
        )
        tables = Factors(shape_of(factors, solver, True), float(plan.events.values.mean()), "float32",
                         default_budget(), 0, 0.0)  # fmt: skip
        for side, count in zip(SIDES, counts, strict=True):
            tables.tables[side].fill(count, tables.start(side))
        return cls(plan, WorkingSet.over(tables), objective, threads)

    def kernel(self) -> float:
        """Let fastmf do it."""
        return self.working.run(self.plan, self.objective, self.working.movable, None, self.threads)

    def compiled(self, library: ctypes.CDLL, flight: int) -> float:
        """Let the C do it."""
        plan, solver = self.plan, self.objective.solver
        order = np.arange(len(plan.bounds) - 1)
        columns = [np.ascontiguousarray(column, kind) for column, kind in zip(plan.events, COLUMNS, strict=False)]
        arrays = [*columns, *self.working.now["users"], *self.working.now["items"]]
        work = Work(
            *(array.ctypes.data for array in arrays),
            self.working.mean,
            solver.rate,
            getattr(solver, "initial", 1.0),
            self.objective.regularizer.weight,
        )
        blocks = [array.astype(np.int64, copy=False) for array in (plan.bounds, order, plan.strata)]
        numbers = (len(plan.strata) - 1, self.working.shape.width, flight, hasattr(solver, "initial"), self.threads)
        return float(library.epoch(ctypes.byref(work), *(array.ctypes.data for array in blocks), *numbers))


def make_plan(train: data.Ratings, counts: tuple[int, int], threads: int) -> Plan:
    """The plan that a fit on these ratings has."""
    events = Events(*train, np.ones(train.users.size, np.float32))
    return Plan.blocked(events, *counts, 1 if threads == 1 else 4 * threads, seed=0)


def measure(folder: Path, shape: str, factors: list[int], threads: int, rounds: int, epochs: int) -> dict[str, Any]:
    """Million ratings per second of both sides, in turn, for every number of factors and both solvers."""
    split, library, rows = data.load(folder, shape), compile_source(), []
    counts = (split.size.users, split.size.items)
    plan = make_plan(split.train, counts, threads)
    for size in factors:
        for name, solver in SOLVERS.items():
            one = Pass.over(plan, counts, size, solver, threads)
            one.kernel()  # compiles
            contest = {"fastmf": one.kernel} | {f"C {n}": lambda n=n: one.compiled(library, n) for n in FLIGHTS}
            took: dict[str, list[Time]] = {contestant: [] for contestant in contest}
            for _ in range(rounds * epochs):
                for contestant, run in contest.items():
                    took[contestant].append(timed(run)[1])
            rates = {who: split.train.users.size / np.median([t.wall for t in times]) / 1e6 for who, times in took.items()}
            cores = float(np.median([t.cores for t in took["fastmf"]]))
            rows.append({"factors": size, "solver": name, "flight": plan.in_flight, "cores": cores, "rates": rates})
    return {"rows": rows}


CONTESTANTS = {"fastmf": measure}
