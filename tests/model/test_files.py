"""Files: saving is all or nothing, and what is damaged is refused and never crashes."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import pickletools
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors
from strategies import FACTORS, ITEMS, USERS, as_text, assert_reads, assert_same, bits, content, fitted, some_events

import fastmf
from fastmf import MF, Interactions, Options, files, losses, optimizers, regularizers
from fastmf.errors import DivergenceError, FastMFError, FileFormatError

NEW = Interactions([3, 100, 3, 101], [5, 5, 70, 70], [1, 5, 4, 2], times=[3, 4, 5, 6], weights=[1, 2, 1, 1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a model that has learned, with int ids, times and weights."""
    model = fitted()
    model.update(NEW)
    model.save(tmp_path / "model")
    return tmp_path / "model"


# ------------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": losses.Huber(0.1), "solver": optimizers.SGD(0.1), "regularizer": regularizers.L2(0.3)},
        {"biases": False, "seed": 2**40},
        {"options": Options(threads=1, deterministic=True, storage="float16", memory=10**8)},
    ],
    ids=["values", "seed", "options"],
)
def test_everything_comes_back(settings: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(**settings)
    model.update(NEW)
    model.save(tmp_path / "model")
    twin = fastmf.load(tmp_path / "model")
    assert_same(bits(model), bits(twin))
    assert model.get_params() == twin.get_params()
    assert_reads(twin)
    model.update(some_events(40, users=60, seed=7))
    twin.update(some_events(40, users=60, seed=7))
    assert_same(bits(model), bits(twin))


def test_awkward_ids_come_back(tmp_path: Path) -> None:
    for ids in ([-(2**63), 2**63 - 1, 0], ["", "a\x00b", "中\U0001f600"]):
        model = MF(factors=FACTORS)
        model.update(Interactions(ids, ids[::-1]))
        model.save(tmp_path / "model")
        twin = fastmf.load(tmp_path / "model")
        assert list(twin.users) == ids
        assert_same(bits(model), bits(twin))


def test_a_saved_file_can_be_saved_again_to_the_same_bytes(path: Path, tmp_path: Path) -> None:
    fastmf.load(path).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_saving_takes_single_events_along(tmp_path: Path) -> None:
    model = fitted()
    model.learn_one(100, 5, 2.0)
    model.save(tmp_path / "model")
    assert model.version == 0
    again = fastmf.load(tmp_path / "model")
    assert_same(bits(model), bits(again))
    assert again.head != model.head
    assert 100 in again.users
    assert model.flush().events == 1


def test_a_model_without_rows_comes_back(tmp_path: Path) -> None:
    model = MF(factors=FACTORS)
    model.rollback(model.update(as_text(NEW)))
    model.save(tmp_path / "model")
    twin = fastmf.load(tmp_path / "model")
    assert_same(bits(model), bits(twin))
    twin.update(NEW)


def test_a_path_may_be_text_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fitted().save("model")
    assert_same(bits(fastmf.load("model")), bits(fitted()))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_pickle_carries_the_safe_format() -> None:
    """Only names and the bytes of the file: no arrays, no state, nothing else that could be made to run."""
    names = [
        argument
        for code, argument, _ in pickletools.genops(pickle.dumps(fitted(), protocol=2))
        if code.name == "GLOBAL"
    ]
    assert {name.split()[0].split(".")[0] for name in names} <= {"fastmf", "_codecs"}


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_a_saved_file_may_be_read_by_whoever_may_read_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    fitted().save(tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


# ------------------------------------------------------------------------------------------------------------- atomic


def failing(*_: Any, **__: Any) -> Any:
    raise OSError("no space left on device")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("failure", [failing, interrupted], ids=["full", "Ctrl-C"])
@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_a_save_that_is_stopped_leaves_the_old_file(
    name: str, failure: Callable[..., Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, model = path.read_bytes(), fitted()
    before = bits(model)
    monkeypatch.setattr(os, name, failure)
    with pytest.raises((OSError, KeyboardInterrupt)):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert [entry.name for entry in path.parent.iterdir()] == ["model"]
    assert_same(bits(model), before)
    model.save(path)
    assert_same(bits(fastmf.load(path)), before)


def test_the_new_bytes_are_on_the_disk_before_they_take_the_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    fitted().save(path)
    assert calls == ["fsync", "replace", "fsync"] if os.name == "posix" else ["fsync", "replace"]


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fitted().save(tmp_path / "nowhere" / "model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        fitted().save(tmp_path / "folder")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_not_there_is_just_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        fastmf.load(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------- damage to the bytes


def refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=path.name):
        fastmf.load(path)


def test_a_truncated_file_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1, *range(10, len(whole), 997)}:
        refuse(path, whole[:length])
    refuse(path, whole + b"\0")


def test_random_bytes_are_refused(path: Path) -> None:
    rng = np.random.default_rng(0)
    for length in (1, 8, 50, 3_000):
        refuse(path, rng.bytes(length))
        refuse(path, struct.pack("<Q", max(length - 8, 0)) + rng.bytes(length))
    refuse(path, pickle.dumps(fitted()))
    refuse(path, b"PK\x03\x04" + rng.bytes(100))
    refuse(path, struct.pack("<Q", 2**63) + b"{}")
    refuse(path, struct.pack("<Q", 20_000) + b"[" * 20_000)


def flipped(whole: bytes, count: int = 400) -> Iterator[tuple[int, bytes]]:
    """The file with one bit flipped: in each of its first bytes, and at random places behind them."""
    rng = np.random.default_rng(0)
    for place in [*range(60), *rng.integers(60, len(whole), count).tolist()]:
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        yield place, bytes(content)


def test_a_flipped_bit_never_crashes(path: Path) -> None:
    """Whatever it hits: the file is refused, or there is a model that answers and learns."""
    for place, damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            model = fastmf.load(path)
        except FileFormatError:
            continue
        try:
            model.predict(model.users.values[:1], model.items.values[:1])
            model.recommend(model.users.values[:1], k=3)
            assert_reads(model)
            model.update(NEW)
        except (FileFormatError, DivergenceError):
            pass
        except FastMFError as error:
            raise AssertionError(f"the bit at {place} came through") from error


def test_a_flipped_bit_is_noticed(path: Path) -> None:
    unnoticed = []
    for place, damaged in flipped(path.read_bytes()):
        path.write_bytes(damaged)
        try:
            fastmf.load(path)
        except FileFormatError:
            continue
        unnoticed.append(place)
    assert unnoticed == []


# --------------------------------------------------------------------------------------------- damage to the contents


def repacked(path: Path, change: Callable[[dict[str, np.ndarray], dict[str, Any]], Any]) -> None:
    """Change arrays and metadata of a file, and write it as a sound one with wrong contents."""
    arrays, metadata = files.read(path)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays, metadata)
    files.write(path, files.pack(arrays, metadata))


def put(name: str, place: Any, value: Any) -> Callable[..., None]:
    def change(arrays: dict[str, np.ndarray], _: Any) -> None:
        arrays[name][place] = value

    return change


def swap(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    def change(arrays: dict[str, np.ndarray], _: Any) -> None:
        arrays[name] = make(arrays[name])

    return change


def drop(name: str) -> Callable[..., None]:
    return lambda arrays, _: arrays.pop(name)


def say(*keys_and_value: Any) -> Callable[..., None]:
    """Set metadata at a path of keys."""
    *keys, last, value = keys_and_value

    def change(_: Any, metadata: dict[str, Any]) -> None:
        for key in keys:
            metadata = metadata[key]
        metadata[last] = value

    return change


def unsay(*keys: str) -> Callable[..., None]:
    def change(_: Any, metadata: dict[str, Any]) -> None:
        for key in keys[:-1]:
            metadata = metadata[key]
        del metadata[keys[-1]]

    return change


WRONG: dict[str, Callable[..., None]] = {
    "NaN among the factors": put("users.factors", (3, 2), np.nan),
    "infinity among the factors": put("items.factors", (0, 0), np.inf),
    "NaN among the biases": put("users.records", (3, 0), np.nan),
    "NaN in the memory of a row": put("items.records", (1, 1), np.nan),
    "factors of another width": swap("users.factors", lambda array: array[:, :-1]),
    "factors of too few rows": swap("users.factors", lambda array: array[:-1]),
    "factors of too many rows": swap("items.factors", lambda array: np.concatenate([array, array])),
    "factors in one dimension": swap("users.factors", np.ravel),
    "factors in double precision": swap("users.factors", lambda array: array.astype(np.float64)),
    "factors in half precision": swap("users.factors", lambda array: array.astype(np.float16)),
    "integer factors": swap("users.factors", lambda array: array.astype(np.int32)),
    "records of another width": swap("users.records", lambda array: array[:, :1]),
    "records of too few rows": swap("items.records", lambda array: array[:-1]),
    "no factors": drop("users.factors"),
    "no records": drop("items.records"),
    "no ids": drop("users.ids"),
    "an id twice": put("users.ids", 1, 3),
    "ids of 32 bits": swap("users.ids", lambda array: array.astype(np.int32)),
    "ids as floats": swap("items.ids", lambda array: array.astype(np.float64)),
    "ids in two dimensions": swap("items.ids", lambda array: array[:, None]),
    "an id too few": swap("users.ids", lambda array: array[:-1]),
    "no users in the history": drop("history.users"),
    "no values in the history": drop("history.values"),
    "a user row beyond those known": put("history.users", 7, USERS + 2),
    "a negative item row": put("history.items", 7, -1),
    "a huge item row": put("history.items", 7, 2**31 - 1),
    "history of unequal lengths": swap("history.values", lambda array: array[:-1]),
    "history rows of 64 bits": swap("history.users", lambda array: array.astype(np.int64)),
    "history in two dimensions": swap("history.weights", lambda array: array[:, None]),
    "NaN among the values of the history": put("history.values", 5, np.nan),
    "infinity among the values of the history": put("history.values", 5, np.inf),
    "NaN among the weights of the history": put("history.weights", 5, np.nan),
    "a negative weight in the history": put("history.weights", 5, -1.0),
    "times as floats": swap("history.times", lambda array: array.astype(np.float64)),
    "another format": say("format", 99),
    "no format": unsay("format"),
    "no settings": unsay("settings"),
    "settings of another kind": say("settings", [1, 2]),
    "an unknown setting": say("settings", "colour", "red"),
    "no solver": unsay("settings", "solver"),
    "an unknown class": say("settings", "loss", "class", "Hinge"),
    "a class of another kind": say("settings", "loss", "class", "SGD"),
    "a name that is no class": say("settings", "loss", "class", "require_domain"),
    "an unknown field": say("settings", "solver", "fields", {"speed": 1.0}),
    "a field that is no number": say("settings", "solver", "fields", {"rate": "fast"}),
    "a field out of range": say("settings", "solver", "fields", {"rate": -1.0}),
    "a field beyond float32": say("settings", "solver", "fields", {"rate": 1e300}),
    "other factors": say("settings", "factors", FACTORS + 1),
    "factors that are no number": say("settings", "factors", "8"),
    "no factors in the settings": unsay("settings", "factors"),
    "a seed that is no number": say("settings", "seed", "x"),
    "a seed beyond 64 bits": say("settings", "seed", 2**70),
    "a negative seed": say("settings", "seed", -1),
    "unknown options": say("settings", "options", {"speed": 9}),
    "unknown storage": say("settings", "options", "storage", "float8"),
    "other storage": say("settings", "options", "storage", "float16"),
    "threads that are no number": say("settings", "options", "threads", "all"),
    "no numbers": say("numbers", {}),
    "more events without a weight than there are": say("numbers", "unweighted", "100000"),
    "numbers of another kind": say("numbers", 5),
    "a mean that is not finite": say("numbers", "global_mean", "nan"),
    "a mean that is no number": say("numbers", "global_mean", "about 3"),
    "a centre that is infinite": say("numbers", "centre", "inf"),
    "a lower end that is NaN": say("numbers", "low", "nan"),
    "no version": unsay("version"),
    "a negative version": say("version", -1),
    "a version that is no number": say("version", "first"),
    "a version that is a fraction": say("version", 1.5),
    "no lineage": unsay("lineage"),
    "no epochs": unsay("history_"),
    "epochs of another kind": say("history_", 5),
    "epochs that are no records": say("history_", ["a", 3]),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_contents_that_do_not_fit_are_refused(change: Callable[..., None], path: Path) -> None:
    repacked(path, change)
    with pytest.raises(FileFormatError, match=path.name):
        fastmf.load(path)


WRONG_TEXT: dict[str, Callable[..., None]] = {
    "no bounds": drop("users.bounds"),
    "no text": drop("users.text"),
    "bounds that go back": put("users.bounds", 3, 0),
    "bounds beyond the text": put("users.bounds", -1, 10_000),
    "bounds short of the text": swap("users.text", lambda array: np.concatenate([array, array])),
    "bounds that start late": put("users.bounds", 0, 1),
    "negative bounds": put("users.bounds", 0, -5),
    "no bounds at all": swap("users.bounds", lambda array: array[:0]),
    "bounds of 32 bits": swap("users.bounds", lambda array: array.astype(np.int32)),
    "bytes that are no UTF-8": put("items.text", 0, 0xFF),
    "a text twice": lambda arrays, _: arrays["users.text"][: arrays["users.bounds"][2]].__setitem__(
        slice(None), np.tile(arrays["users.text"][: arrays["users.bounds"][1]], 2)
    ),
}


@pytest.mark.parametrize("change", WRONG_TEXT.values(), ids=WRONG_TEXT)
def test_text_ids_that_do_not_fit_are_refused(change: Callable[..., None], tmp_path: Path) -> None:
    events = some_events()
    names = [f"{user:02}" for user in events.users], [f"{item:02}" for item in events.items]
    model = MF(factors=FACTORS).fit(Interactions(*names, events.values), epochs=1)
    model.save(tmp_path / "model")
    repacked(tmp_path / "model", change)
    with pytest.raises(FileFormatError, match="model"):
        fastmf.load(tmp_path / "model")


def test_a_file_that_does_not_say_how_many_events_came_before_the_weights(path: Path) -> None:
    """As files were at first: with a weight for each event."""
    expected = fastmf.load(path)

    def change(arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
        metadata["numbers"].pop("unweighted")
        arrays.setdefault("history.weights", np.ones(len(arrays["history.users"]), np.float32))

    repacked(path, change)
    found = fastmf.load(path)
    before, after = (model._state.history.events.weighed().weights for model in (expected, found))
    assert after.tolist() == before.tolist()
    assert_reads(found)
    batch = some_events(30)
    assert found.update(batch).loss_after == expected.update(batch).loss_after


def test_weights_of_only_the_later_events_are_kept(tmp_path: Path) -> None:
    model = fitted()
    before = content(model)
    model.update(some_events(30, weights=np.linspace(0, 2, 30)))
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model")
    assert_same(bits(model), bits(loaded))
    undone = model.copy()
    assert_same(bits(model), bits(undone))
    model.rollback(to=0)
    assert_same(content(model), before)
    assert model._state.history.events.weights is None


def test_metadata_of_another_kind_is_refused(path: Path) -> None:
    arrays = read_tensors(path.read_bytes())
    for text in ("", "[]", "5", "null", '"x"', "{", '{"format": 1}', "[" * 100_000, '{"format": 1e999}'):
        refuse(path, write_tensors(arrays, {"fastmf": text}))
    refuse(path, write_tensors(arrays, {"other": "{}"}))
    refuse(path, write_tensors(arrays))


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "1" * 5_000])
@pytest.mark.parametrize("name", ["version", "format", "seed", "factors"])
def test_numbers_that_json_should_not_hold_are_refused(name: str, number: str, path: Path) -> None:
    arrays, metadata = files.read(path)
    metadata = copy.deepcopy(metadata)
    (metadata if name in metadata else metadata["settings"])[name] = "HERE"
    text = json.dumps(metadata).replace('"HERE"', number)
    refuse(path, write_tensors(arrays, {"fastmf": text}))


def test_a_file_of_other_tensors_is_refused(path: Path) -> None:
    refuse(path, write_tensors({"weight": np.ones((3, 4), np.float32)}, {"format": "pt"}))
    np.savez(buffer := io.BytesIO(), users=np.ones((3, 4)))
    refuse(path, buffer.getvalue())


def test_damaged_pickles_are_refused_in_the_same_way() -> None:
    function, (content, classes) = fitted().__reduce__()[:2]
    for damaged in (content[:-1], content[:50], b"", b"\0" * 100):
        with pytest.raises(FileFormatError):
            function(damaged, classes)
    assert isinstance(function(content, classes), MF)
    assert len(function(content, classes).items) == ITEMS
