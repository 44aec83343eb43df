"""Copies and pickles of a model's ids and lists: as large as what they hold, and right afterwards."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import FACTORS, assert_same, bits, fitted, some_events

import fastmf
from fastmf import MF, IdMap, Interactions
from fastmf.errors import CapacityError, DataError, StaleDelta
from fastmf.lists import Lists
from fastmf.model.ids import Ids

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose


def through(protocol: int) -> Callable[[Any], Any]:
    return lambda one: pickle.loads(pickle.dumps(one, protocol=protocol))


WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle 2": through(2),
    "pickle 5": through(5),
}


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")


# ----------------------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ids_are_copied_as_they_are(way: Callable[[Any], Any], text: bool) -> None:
    model = fitted(text)
    for side in (model.users, model.items):
        expected, kept = list(side), way(side)
        assert type(kept) is Ids
        assert (list(kept), kept.kind, len(kept)) == (expected, side.kind, len(expected))
        assert kept.rows(kept.values).tolist() == list(range(len(expected)))
        assert kept.ids(np.array([3, 0])).tolist() == [expected[3], expected[0]]
        assert all(one in kept for one in expected)
        model.update(Interactions(["new"], ["new"]) if text else Interactions([999], [999]))
        assert len(side) == len(expected) + 1  # the view keeps up with the model, what was copied does not
        assert list(kept) == expected
        model.rollback(to=0)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("ids", [[], [5], ["", "ü\0"], [-(2**63), 2**63 - 1]], ids=str)
def test_maps_are_copied_and_grow_on_their_own(ids: list[Any], way: Callable[[Any], Any]) -> None:
    first = IdMap(1 << 20)
    first.extend(np.array(ids, object if ids and isinstance(ids[0], str) else np.int64))
    kept = way(first)
    assert (type(kept), list(kept), kept.kind) == (IdMap, ids, first.kind)
    more = np.array(["x"], object) if first.kind == "str" else np.array([77])
    for one in (kept, first):
        one.extend(more)
        assert list(one) == [*ids, *more]
    kept.truncate(len(ids))
    assert (list(kept), len(first)) == (ids, len(ids) + 1)


def test_the_limits_of_a_map_are_copied_too() -> None:
    for limits in ({"budget": 800}, {"rows": 100}):
        kept = copy.deepcopy(IdMap(**limits))
        kept.extend(np.arange(100))
        with pytest.raises(CapacityError):
            kept.extend(np.array([100]))


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
def test_pickles_of_ids_are_as_large_as_the_ids(text: bool) -> None:
    size = {}
    for count in (100, 10_000):
        names = [f"{one:07}" for one in range(count)] if text else np.arange(count)
        model = MF(factors=FACTORS)
        model.update(Interactions(names, names))
        assert len(pickle.dumps(model.users)) == len(pickle.dumps(copy.deepcopy(model.users)))
        size[count] = len(pickle.dumps(model.users))
    assert 8 * 9_900 <= size[10_000] - size[100] <= 16 * 9_900
    assert size[100] < 16 * 100 + 1_000


# -------------------------------------------------------------------------------------------------- ids as a view


def test_a_model_cannot_be_changed_by_its_ids() -> None:
    model = fitted()
    before = bits(model)
    for side in (model.users, model.items):
        for name in ("extend", "truncate", "prepare", "keys", "tables", "stage"):
            assert not hasattr(side, name)
        for name in ("kind", "values", "other"):
            with pytest.raises(AttributeError):
                setattr(side, name, 3)
        for array in (side.values, side.ids(np.arange(3)), np.asarray(side), side.rows(side.values)):
            array[:] = 0
        with pytest.raises(TypeError):
            side[0] = 3  # type: ignore[index]
    assert_same(bits(model), before)


def test_what_ids_tell() -> None:
    model = MF(factors=FACTORS)
    model.update(Interactions(["ann", "bob"], [7, 8]))
    assert (repr(model.users), repr(model.items)) == ("<2 str ids>", "<2 int ids>")
    assert np.asarray(model.items).tolist() == [7, 8]
    assert np.array(model.users).dtype == object
    assert ("bob" in model.users, "eve" in model.users, 7 in model.users) == (True, False, False)
    ids = model.users
    model.fit(some_events(), epochs=1)
    assert list(ids) == ["ann", "bob"]  # of what the model was before this fit
    assert model.users.kind == "int"


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (np.array([9, 5]), r"row 1: .*5.* is known already"),
        (np.array([9, 8, 9]), r"row 2: .*9.* is there twice"),
        (np.array(["x"], object), "'x' is str, but the known ids are int"),
    ],
    ids=["known", "twice", "kind"],
)
def test_a_map_takes_no_id_twice(ids: np.ndarray, told: str) -> None:
    known = IdMap(1 << 20)
    known.extend(np.array([4, 5]))
    with pytest.raises(DataError, match=told):
        known.extend(ids)
    assert (list(known), known.rows(np.array([4, 5, 9])).tolist()) == ([4, 5], [0, 1, -1])
    known.extend(np.array([9]))
    assert list(known) == [4, 5, 9]
    text = IdMap(1 << 20)
    with pytest.raises(DataError, match="row 1: 'a' is there twice"):
        text.extend(np.array(["a", "a"], object))
    assert (len(text), text.kind) == (0, None)


@pytest.mark.parametrize("count", [-1, 3, 1.0])
def test_a_map_is_cut_where_it_has_rows(count: Any) -> None:
    known = IdMap(1 << 20)
    known.extend(np.array([4, 5]))
    with pytest.raises(ValueError, match="count must be an integer from 0 to 2"):
        known.truncate(count)
    assert list(known) == [4, 5]


# --------------------------------------------------------------------------------------------------------------- lists


def lists_of(text: bool, some: bool) -> tuple[MF, Lists]:
    model = fitted(text)
    asked = (["u3", "nobody", "u1"] if text else [3, 999, 1]) if some else None
    return model, model.lists(k=4, users=asked)


@pytest.mark.parametrize("some", [False, True], ids=["all", "some"])
@pytest.mark.parametrize("text", [False, True], ids=["int", "str"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_lists_are_copied_as_they_are(way: Callable[[Any], Any], text: bool, some: bool) -> None:
    model, lists = lists_of(text, some)
    kept = way(lists)
    assert isinstance(kept, Lists)
    expected = {name: getattr(lists, name).tolist() for name in ("users", "ids", "scores")}
    lists.refresh(model.update(some_events(50, seed=3) if not text else Interactions(["u3"], ["i5"], [1.0])))
    again = way(kept)
    for one in (kept, again):
        assert {name: getattr(one, name).tolist() for name in expected} == expected
        assert (len(one), one.version, repr(one)) == (
            len(expected["users"]),
            0,
            repr(lists).replace("version 1", "version 0"),
        )
        for place, user in enumerate(expected["users"]):
            assert one[user].ids.tolist() == expected["ids"][place]
            assert one[user].scores.tolist() == expected["scores"][place]
        with pytest.raises(KeyError):
            one["stranger" if text else 12_345]
        for array in (one.users, one.ids, one.scores):
            with pytest.raises(ValueError, match="read-only"):
                array[:1] = array[:1]
    assert lists.version == 1
    assert lists.ids.tolist() == model.recommend(lists.users, k=4).ids.tolist()


def test_a_copy_of_lists_is_not_refreshed() -> None:
    """It has no model to ask; whoever copies a model and its lists together gets a model and such a copy."""
    model, lists = lists_of(False, False)
    twins = copy.deepcopy({"model": model, "lists": lists})
    delta = model.update(some_events(20, seed=3))
    twins["model"].apply(delta)
    for kept in (twins["lists"], pickle.loads(pickle.dumps(lists)), copy.copy(lists)):
        before = kept.ids.tolist()
        with pytest.raises(StaleDelta, match="a copy, without a model"):
            kept.refresh(delta)
        assert (kept.ids.tolist(), kept.version) == (before, 0)
    lists.refresh(delta)
    assert twins["model"].lists(k=4).ids.tolist() == lists.ids.tolist()


def test_pickles_of_lists_are_as_large_as_the_lists() -> None:
    model = MF(factors=FACTORS).fit(some_events(4_000, users=1_000, items=200), epochs=1)
    few, all_of_them = (len(pickle.dumps(model.lists(k=5, users=some))) for some in (np.arange(10), None))
    count = len(model.users)
    assert few < 10 * (8 + 5 * 12 + 4) + 1_500
    assert count * (8 + 5 * 12) <= all_of_them <= count * (8 + 5 * 12 + 4) + 1_500
    assert len(pickle.dumps(copy.deepcopy(model.lists(k=5)))) <= all_of_them + 100


@linux
def test_ids_and_lists_are_read_where_little_memory_is_granted(tmp_path: Path) -> None:
    """By a process that knows nothing; half a gigabyte is all that it may reserve beyond its own."""
    views, (_, lists) = [fitted(text).users for text in (False, True)], lists_of(True, False)
    (tmp_path / "pickle").write_bytes(b"".join(pickle.dumps(one) for one in (*views, lists)))
    program = """
import pathlib, pickle, resource
import fastmf.model, fastmf.lists, fastmf.kernels.rows.hashing
size = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29),) * 2)
with open("pickle", "rb") as file:
    for ids in (pickle.load(file), pickle.load(file)):
        print(list(ids), ids.rows(ids.values).tolist() == list(range(len(ids))))
    lists = pickle.load(file)
print(lists["u3"].ids.tolist(), len(lists), lists.version)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = [*(f"{list(one)} True" for one in views), f"{lists['u3'].ids.tolist()} {len(lists)} 0"]
    assert done.stdout.splitlines() == expected


# -------------------------------------------------------------------------------------------------------------- models


def test_a_deep_copy_shares_no_record() -> None:
    model = fitted()
    model.history_[0]["extra"] = [1, {"a": 2}]
    twin = copy.deepcopy(model)
    twin.history_[0]["extra"][1]["a"] = 5
    assert model.history_[0]["extra"] == [1, {"a": 2}]
    both = copy.deepcopy([model, model])
    assert both[0] is both[1]
    assert both[0] is not model


CROWD = """
import resource
from concurrent.futures import ThreadPoolExecutor

resource.setrlimit(resource.RLIMIT_AS, (16_000_000_000, 16_000_000_000))
import numpy as np
import fastmf

rng = np.random.default_rng(0)
events = fastmf.Interactions(rng.integers(0, 50, 500), rng.integers(0, 40, 500))
model = fastmf.MF(factors=8, loss=fastmf.losses.Confidence()).fit(events, epochs=1)
copies = [model.copy() for _ in range(3)]
session = fastmf.Interactions(["v"] * 3, [1, 2, 3])
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: model.fold_in(session, k=3).ids.tolist(), range(100)))
print(len(copies), all(one == found[0] for one in found))
"""


@linux
def test_copies_and_visitors_where_address_space_is_limited() -> None:
    done = subprocess.run([sys.executable, "-c", CROWD], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[-2] == "3 True", done.stderr


def test_nothing_of_fastmf_is_pickled_but_names_and_arrays() -> None:
    """A pickle of ids or lists calls what is named here; nothing else could be made to run by fastmf's own doing."""
    import pickletools

    model = fitted()
    for one in (model.users, model.lists(k=2), IdMap(1 << 20)):
        names = [arg for code, arg, _ in pickletools.genops(pickle.dumps(one, protocol=2)) if code.name == "GLOBAL"]
        rooms = {name.split()[0].split(".")[0] for name in names}
        assert rooms <= {"fastmf", "numpy", "_codecs", "__builtin__"}
    assert fastmf.IdMap is IdMap
