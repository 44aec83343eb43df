"""fastmf's SGD kernel against equivalent C code, alternately in one process, on the same plan and the same tables.

The C code (ceiling.c) is compiled on demand for the present machine. It is run on the kernel's own plan, for the ratio
of speeds, and on plans with 1, 2, 4 and 8 events in flight, for the best speed that blocks allow.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import data
from benchmarks.peers.clocks import Time, timed
from fastmf import losses, optimizers, regularizers
from fastmf.devices import runner
from fastmf.gate import Gate
from fastmf.kernels.core.shape import Shape, shape_of
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.log.history import History
from fastmf.log.sorting import sort_by_user
from fastmf.memory import default_budget
from fastmf.objective import Objective
from fastmf.parameters.groups import RowGroup
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table
from fastmf.plan import Plan, deal
from fastmf.protocols import freeze
from fastmf.state import State

SOURCE = Path(__file__).with_name("ceiling.c")
FLAGS = ["-O3", "-march=native", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC"]
FLIGHTS = (1, 2, 4, 8)
RECORD = 2  # floats per record: bias and optimizer memory
SOLVERS = {"SGD": optimizers.SGD(), "AdaGrad": optimizers.AdaGrad()}
COLUMNS = (np.int32, np.int32, np.float32, np.float32)


class Work(ctypes.Structure):
    """The struct `Work` of ceiling.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("users", "items", "values", "weights")),
        *((name, ctypes.c_void_p) for name in ("user_rows", "user_records", "item_rows", "item_records")),
        *((name, ctypes.c_float) for name in ("mean", "rate", "initial", "penalty")),
    ]


def compiler() -> str | None:
    """The system's C compiler."""
    return shutil.which("cc")


def compile_source() -> ctypes.CDLL:
    """The shared library compiled from ceiling.c."""
    command = [compiler() or "cc", *FLAGS, str(SOURCE), "-lm", "-o"]
    with tempfile.TemporaryDirectory() as folder:  # a loaded library may outlive its file
        target = Path(folder) / f"{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
        subprocess.run([*command, str(target)], check=True, capture_output=True)
        library = ctypes.CDLL(str(target))
    library.epoch.restype = ctypes.c_double
    library.epoch.argtypes = [ctypes.POINTER(Work), *[ctypes.c_void_p] * 3, ctypes.c_long, *[ctypes.c_int] * 4]
    return library


class Pass(NamedTuple):
    """One pass of training that either implementation can run."""

    plan: Plan
    working: WorkingSet
    objective: Objective
    threads: int

    @classmethod
    def over(cls, plan: Plan, counts: tuple[int, int], factors: int, solver: Any, threads: int) -> Pass:
        """Start from the initial vectors of a fit with the default loss and regularizer."""
        values = {"loss": losses.Squared(), "solver": solver, "regularizer": regularizers.L2()}
        objective = Objective(*(freeze(value, role) for role, value in values.items()))
        shape, mean = shape_of(factors, solver, True), float(plan.events.values.mean())
        gate, groups = Gate(), {}
        for stream, (side, count) in enumerate(zip(("users", "items"), counts, strict=True)):
            groups[side] = RowGroup(Table(Layout(shape), HashedStart.of(0, stream, factors), default_budget(), count))
            groups[side].start(np.arange(count))
        state = State(groups, History(max(counts), default_budget(), gate), gate, global_mean=mean)
        return cls(plan, WorkingSet.over(state), objective, threads)

    def kernel(self) -> float:
        """Run the pass with fastmf's kernel."""
        return float(runner("steps")(self.working, self.plan, self.objective, self.working.movable, None, self.threads))

    def compiled(self, library: ctypes.CDLL, plan: Plan | None = None) -> float:
        """Run the pass with the C code, on another plan if one is given."""
        plan, solver = plan or self.plan, self.objective.solver
        order = np.arange(len(plan.bounds) - 1)
        columns = [np.ascontiguousarray(column, kind) for column, kind in zip(plan.events, COLUMNS, strict=False)]
        arrays = [*columns, *self.working.now["users"], *self.working.now["items"]]
        if any(rows.records.shape[1] != RECORD for rows in self.working.now.values()):
            raise RuntimeError(f"ceiling.c knows records of {RECORD} numbers")
        work = Work(
            *(array.ctypes.data for array in arrays),
            self.working.mean,
            solver.rate,
            getattr(solver, "initial", 1.0),
            self.objective.regularizer.weight,
        )
        blocks = [array.astype(np.int64, copy=False) for array in (plan.bounds, order, plan.strata)]
        numbers = (
            len(plan.strata) - 1,
            self.working.shape.width,
            plan.in_flight,
            hasattr(solver, "initial"),
            self.threads,
        )
        return float(library.epoch(ctypes.byref(work), *(array.ctypes.data for array in blocks), *numbers))


def make_plans(train: data.Ratings, counts: tuple[int, int], shape: Shape) -> tuple[Plan, dict[int, Plan]]:
    """The plan of a fit on these ratings, and plans with every other number of events in flight, by that number."""
    events = Events(*train, np.ones(train.users.size, np.float32))
    by_user, starts = sort_by_user(events, counts[0])
    own = Plan.whole(events, *counts, shape, seed=0)
    others = [flight for flight in FLIGHTS if flight != own.in_flight]
    bands = len(own.strata) - 1
    return own, {own.in_flight: own} | {
        n: Plan.blocked(by_user, starts, deal(counts[1], bands, 0), bands, n) for n in others
    }


def measure(folder: Path, shape: str, factors: list[int], threads: int, turns: int) -> dict[str, Any]:
    """Measure every number of factors with both solvers, on the same plans."""
    split, library, rows = data.load(folder, shape), compile_source(), []
    counts = (split.size.users, split.size.items)
    for size in factors:
        form = shape_of(size, optimizers.SGD(), True)
        own, plans = make_plans(split.train, counts, form)
        for name, solver in SOLVERS.items():
            one = Pass.over(own, counts, size, solver, threads)
            rows.append({"factors": size, "solver": name, **_contest(one, plans, library, turns)})
    return {"rows": rows}


def _contest(one: Pass, plans: dict[int, Plan], library: ctypes.CDLL, turns: int) -> dict[str, Any]:
    """Million ratings per second of the kernel and of the C code, and their ratio within each turn."""
    one.kernel()  # compile
    contest: dict[str, Callable[[], Any]] = {"fastmf": one.kernel}
    contest |= {f"C {flight}": partial(one.compiled, library, plan) for flight, plan in plans.items()}
    took: dict[str, list[Time]] = {contestant: [] for contestant in contest}
    for _ in range(turns):
        for contestant, run in contest.items():
            took[contestant].append(timed(run)[1])
    ratings = one.plan.events.users.size / 1e6
    rates = {contestant: ratings / median(time.wall for time in times) for contestant, times in took.items()}
    best = max(FLIGHTS, key=lambda flight: rates[f"C {flight}"])

    def share(flight: int) -> float:
        return median(c.wall / own.wall for c, own in zip(took[f"C {flight}"], took["fastmf"], strict=True))

    return {
        "rate": rates["fastmf"],
        "same": {
            "flight": one.plan.in_flight,
            "rate": rates[f"C {one.plan.in_flight}"],
            "share": share(one.plan.in_flight),
        },
        "best": {"flight": best, "rate": rates[f"C {best}"], "share": share(best)},
        "cores": median(time.cores for time in took["fastmf"]),
    }


CONTESTANTS = {"fastmf": measure}
