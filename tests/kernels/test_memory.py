"""Arrays that grow: small ones by a copy, large ones in place, and what that means for models."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastmf
from fastmf import memory
from fastmf.errors import CapacityError

SMALL, LARGE = 1 << 10, 1 << 14  # rows of int64: 8 kB and 128 kB
mapped = pytest.mark.skipif(memory._system is None, reason="this system maps no memory at given addresses")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def maps() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.parametrize("rows", [0, 1, SMALL, LARGE])
@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("viewed", [False, True])
def test_an_array_is_zero_and_aligned_and_has_the_room_asked_for(rows: int, width: int | None, viewed: bool) -> None:
    array = memory.zeros(rows, np.int64, width, viewed=viewed)
    assert array.ctypes.data % memory.ALIGNMENT == 0
    assert array.shape[1:] == (() if width is None else (3,))
    room = len(array)
    assert rows <= room <= max(2 * rows, mmap.PAGESIZE)
    assert not array[:room].any()
    array[:room] = 1


@pytest.mark.parametrize("rows", [1, SMALL, LARGE])
@pytest.mark.parametrize("more", [2, 100])
@pytest.mark.parametrize("viewed", [False, True])
def test_a_grown_array_has_the_same_rows_and_then_zeros(rows: int, more: int, viewed: bool) -> None:
    array = memory.zeros(rows, np.int64, viewed=viewed)
    room = len(array)
    array[:room] = np.arange(room)
    larger = memory.grown(array, more * room)
    assert len(larger) >= more * room
    assert (larger[:room] == np.arange(room)).all()
    assert not larger[room:].any()
    assert memory.grown(larger, more * room) is larger


@mapped
@pytest.mark.parametrize("rows", [1, LARGE])
def test_views_of_a_mapped_array_follow_it_as_it_grows(rows: int) -> None:
    array = memory.zeros(rows, np.int64, viewed=True)
    view, address = array[:rows], array.ctypes.data
    for _ in range(5):
        array = memory.grown(array, 4 * len(array))
        assert array.ctypes.data == address
    array[0] = 7
    assert view[0] == 7


@mapped
def test_where_something_is_behind_an_array_it_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    array = memory.zeros(LARGE, np.int64)
    room = len(array)
    array[:room] = np.arange(room)
    monkeypatch.setattr(memory, "_mapped_at", lambda address, size: False)
    larger = memory.grown(array, room + 1)
    assert larger is not array
    assert (larger[:room] == np.arange(room)).all()
    larger[0] = 7
    assert array[0] == 0  # what was handed out stays readable


@mapped
def test_memory_that_is_not_granted_is_refused_and_the_array_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    array = memory.zeros(LARGE, np.int64)
    monkeypatch.setattr(memory, "_map", lambda address, size: None)
    with pytest.raises(CapacityError, match="the system does not grant 134217728 bytes of memory"):
        memory.grown(array, 1 << 24)
    assert len(array) >= LARGE
    array[LARGE - 1] = 1


@linux
def test_pages_are_unmapped_with_the_last_view() -> None:
    gc.collect()
    before = maps()
    arrays = [memory.zeros(1, np.float32, viewed=True) for _ in range(50)]
    grown = [memory.grown(array, 1 << 20) for array in arrays]
    views = [array[:1] for array in grown]
    del arrays, grown
    gc.collect()
    assert maps() >= before + 50
    del views
    gc.collect()
    assert maps() <= before + 5


@linux
def test_discarded_elements_read_as_zero_and_others_stay() -> None:
    column = memory.zeros(1 << 16, np.int64)
    column[:] = 7
    memory.discard(column, 1000, 9000)
    kept, page = np.flatnonzero(column), mmap.PAGESIZE // 8
    given_back = range(-(-1000 // page) * page, 9000 // page * page)
    assert kept.tolist() == [one for one in range(1 << 16) if one not in given_back]
    small = memory.zeros(SMALL, np.int64)
    small[:] = 7
    memory.discard(small, 0, SMALL)
    assert small.all()


@pytest.mark.parametrize(("limit", "budget"), [("1000000000", 500_000_000), ("max", None), ("", None)])
def test_the_default_budget_is_half_of_the_memory_of_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, budget: int | None
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "memory.max"), str(tmp_path / "missing")))
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    assert memory.default_budget() == (budget or machine)


def test_a_model_that_outgrows_its_arrays_has_the_bits_of_one_that_had_the_room() -> None:
    """A model that grows event by event, and its twin whose ids and events came at once, agree after the same steps."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 3_000, 20_000), rng.integers(0, 900, 20_000)
    first = fastmf.Interactions([0, 1], [0, 1], values=[1.0, 2.0])
    one, other = (fastmf.MF(factors=4).fit(first, epochs=1, progress=False) for _ in range(2))
    factors, version = other.user_factors, 0
    everybody = fastmf.Interactions(users, items, values=np.ones(users.size))
    staged = {name: len(set(getattr(everybody, name).tolist())) for name in ("users", "items")}
    other._state.make_room(staged, users.size)
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        one.learn_one(user, item, 3.0)
        other.learn_one(user, item, 3.0)
        version = max(version, one.version)
    assert (one.user_factors == other.user_factors).all()
    assert (one.users.ids(np.arange(len(one.users))) == other.users.ids(np.arange(len(other.users)))).all()
    assert one.version == other.version == version
    assert (factors == other.user_factors[:2]).all()  # a view from before any growth
    assert one.recommend(one.users, k=5).ids.tolist() == other.recommend(one.users, k=5).ids.tolist()


@linux
def test_many_models_fit_a_process_and_a_model_fits_a_limit() -> None:
    """Hundreds of models on a server of 1 TB take no more than their content, and little address space."""
    program = """
        import os, resource
        asked = os.sysconf
        os.sysconf = lambda name: (1 << 40) // 4096 if name == "SC_PHYS_PAGES" else asked(name)
        import fastmf
        events = fastmf.Interactions(list(range(100)), [n % 30 for n in range(100)])
        fastmf.MF(factors=8).fit(events, epochs=1, progress=False).learn_one(1, 1000, 1.0)
        pages = lambda place: int(open("/proc/self/statm").read().split()[place]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (pages(0) + (400 << 20),) * 2)
        before, models = pages(1), []
        for _ in range(300):
            models.append(fastmf.MF(factors=8).fit(events, epochs=1, progress=False))
            models[-1].learn_one(1, 1000, 1.0)
        print((pages(1) - before) // 300)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= 150_000  # bytes a model, with a journal
