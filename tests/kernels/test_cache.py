"""Compiled kernels on disk: found again by the next process, and never served for sources that have changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from fastmf.kernels.rows.grouping import order_by

ROOT = Path(__file__).resolve().parents[2]

LOSS = """
from typing import NamedTuple

class Mine(NamedTuple):
    kind, domain = "pointwise", (0.0, 9.0)
    def value(self, score, target): return abs(score - target)
    def slope(self, score, target): return score - target
    def inverse_link(self, score): return score * score - FACTOR * score
    def prior(self, values): return 0.0
    def check(self, values): pass
"""

# Prints the link of score 5, and whether the kernel came from the cache.
ASK = """
import sys
import numpy as np
from fastmf.protocols import freeze
from fastmf.kernels.core.shape import shape_of
from fastmf.kernels.rank import scores
from fastmf.memory import aligned
from fastmf.optimizers import SGD

def ask(loss):
    shape, nowhere, out = shape_of(2, SGD(), True), np.full(1, -1, np.int32), np.zeros(1, np.float32)
    table, loss = (aligned(1, 16), np.zeros((1, 4), np.float32)), freeze(loss, "loss")
    kernel = scores.predict(shape, type(loss))
    table[0][:] = 0
    kernel(nowhere, nowhere, *table, *table, (*table, *table), np.float32(5), (-np.inf, np.inf), loss, out)
    print(out[0], "hit" if kernel.stats.cache_hits else "miss")
"""
MINE = "sys.path.append('modules')\nimport mine\nask(mine.Mine())\n"  # which cannot be imported before that
SQUARED = "from fastmf.losses import Squared\nask(Squared())\n"
PLACE = """
from fastmf.kernels.rows.hashing import insert
slots = np.zeros(32, np.int64)
insert(slots, slots[:0], np.zeros(3, np.int64), np.array([5]), 0)
print(slots[1::2].nonzero()[0][0])
"""


class Workshop:
    """A folder with modules and a kernel cache, and processes that work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"

    def write(self, name: str, source: str) -> None:
        (self.folder / name).write_text(source)

    def run(self, script: str, *, package: Path = ROOT, **environment: str) -> list[str]:
        return self.process(script, package, **environment).stdout.splitlines()

    def process(self, script: str, package: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        # Python's own bytecode cache overlooks an edit within the same second.
        environment = {"NUMBA_CACHE_DIR": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        environment["PYTHONPATH"] = os.pathsep.join([str(package), str(self.folder)])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        command = [sys.executable, "-c", script]
        answer = subprocess.run(
            command, env=inherited | environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_a_kernel_is_compiled_once_and_again_after_an_edit(workshop: Workshop) -> None:
    """In a copy of the package. A process takes seconds to start, so that each asks for several kernels."""
    package, modules = workshop.folder / "package", workshop.folder / "modules"
    shutil.copytree(ROOT / "fastmf", package / "fastmf", ignore=shutil.ignore_patterns("__pycache__"))
    losses = package / "fastmf" / "losses" / "pointwise.py"
    hashing = package / "fastmf" / "kernels" / "rows" / "hashing.py"
    modules.mkdir()
    (modules / "base.py").write_text(LOSS.replace("FACTOR", "2"))
    (modules / "mine.py").write_text("import base\nclass Mine(base.Mine):\n    pass")
    *found, place = workshop.run(ASK + MINE + SQUARED + PLACE, package=package)
    assert found == ["15.0 miss", "5.0 miss"]
    # A process that cannot import a class has kernels of its own in the same folder.
    assert workshop.run(ASK + SQUARED + MINE, package=package) == ["5.0 hit", "15.0 hit"]
    # Edits of value classes, one outside the package and one in it.
    (modules / "base.py").write_text(LOSS.replace("FACTOR", "3"))
    losses.write_text(losses.read_text().replace("        return score\n", "        return score + score\n"))
    assert workshop.run(ASK + MINE + SQUARED + PLACE, package=package) == ["10.0 miss", "10.0 miss", place]
    # An edit of a function that a kernel calls.
    home = "np.uint64(mask))"
    hashing.write_text(hashing.read_text().replace(home, f"{home} ^ np.int64(1)", 1))
    assert workshop.run(ASK + SQUARED + PLACE, package=package) == ["10.0 miss", f"{int(place) ^ 1}"]


def test_classes_that_cannot_be_imported_are_not_cached(workshop: Workshop) -> None:
    """No other process would find them again. Two of one name are two."""
    body = "\n".join("    " + line for line in LOSS.splitlines())
    workshop.write("mine.py", f"def make(FACTOR):{body}\n    return Mine()")
    script = (
        ASK + LOSS.replace("FACTOR", "4") + "import mine\nfor loss in (mine.make(2), mine.make(3), Mine()): ask(loss)"
    )
    assert workshop.run(script) == ["15.0 miss", "10.0 miss", "5.0 miss"]
    assert not list(workshop.cache.rglob("scores*"))


def test_bounds_are_checked_when_asked_for_whatever_is_cached(workshop: Workshop) -> None:
    """In the suite's own cache, which holds the kernel without checks from now on."""
    assert order_by(np.array([0, 1], np.int32), 4)[0].tolist() == [0, 1]
    script = """
import numpy as np
from fastmf.kernels.rows.grouping import order_by
try:
    print(order_by(np.array([0, 4], np.int32), 4)[0].tolist())
except IndexError:
    print("IndexError")
"""
    found = workshop.run(script, NUMBA_CACHE_DIR=config.CACHE_DIR, NUMBA_BOUNDSCHECK="1")
    assert found == ["IndexError"]


def test_without_a_writable_folder_there_is_one_notice(workshop: Workshop) -> None:
    workshop.write("file", "")
    answer = workshop.process(
        ASK + "from fastmf.kernels.rows import hashing\n" + SQUARED,
        NUMBA_CACHE_DIR=str(workshop.folder / "file" / "cache"),
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
        PYTHONWARNINGS="always",
    )
    assert answer.stdout == "5.0 miss\n"
    assert answer.stderr.count("RuntimeWarning: kernels are compiled anew") == 1
    assert "set NUMBA_CACHE_DIR" in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["Variational", "AdaGrad"])
def test_after_a_warm_up_nothing_is_left_to_compile(solver: str, workshop: Workshop) -> None:
    warm_up = f"""
import fastmf
from fastmf import losses, optimizers
from fastmf.warmup import warm_up
print(len(list(warm_up([8], [(losses.Squared(), optimizers.{solver}())]))))
"""
    use = f"""
import fastmf
log = fastmf.datasets.synthetic(events=3_000, users=200, items=5_000)
model = fastmf.MF(8, solver=fastmf.optimizers.{solver}()).fit(log[:2_000])
model.update(log[2_000:])
model.learn_one(3, 4, 5.0)
model.predict([3], [4]), model.predict_one(3, 4), model.recommend([3]), model.recommend(model.users)
for _ in range(20):
    model.recommend([3])
model.fold_in(log[:9]), model.similar_items([4]), model.lists(users=[3])
model.rollback(to=0)
model.copy().refit(warm=True)
young = fastmf.MF(8, solver=fastmf.optimizers.{solver}())
young.learn_one(3, 4, 5.0)
young.update(log)
"""
    first, second, used = (workshop.process(script) for script in (warm_up, warm_up, use))
    assert first.stdout == second.stdout == "1\n"
    assert "compiling" in first.stderr
    assert not second.stderr
    assert not used.stderr
