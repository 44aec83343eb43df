"""Saving over what is there, and that whatever can be saved can be loaded: permissions, links, classes, records."""

from __future__ import annotations

import errno
import os
import pickle
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from strategies import FACTORS, assert_same, bits, content, fitted, some_events, stepping

import fastmf
from fastmf import MF, Options, files, losses, optimizers, regularizers, samplers
from fastmf.errors import CapacityError, DataError, DeviceError, DivergenceError, FileFormatError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes of POSIX")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to other users")
NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with other bytes than those of any model."""
    (tmp_path / "model").write_bytes(b"old")
    return tmp_path / "model"


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --------------------------------------------------------------------------------------------------------- permissions


@posix
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o664, 0o640, 0o755, 0o2770, 0o777, 0o200])
def test_the_new_file_has_the_mode_of_the_old_one(mode: int, path: Path) -> None:
    path.chmod(mode)
    fitted().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert_same(bits(fastmf.load(path)), bits(fitted()))


@posix
def test_a_new_file_goes_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "model", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


@posix
def test_nobody_reads_the_bytes_of_a_private_file_while_they_are_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.chmod(0o600)
    seen, fsync = [], os.fsync

    def look(descriptor: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    files.write(path, b"new")
    assert seen[0] == 0o600


@root
def test_the_new_file_belongs_to_whom_the_old_one_belonged(path: Path) -> None:
    os.chown(path, 1_234, 5_678)
    path.chmod(0o640)
    files.write(path, b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1_234, 5_678, 0o640)


@posix
def test_where_the_group_cannot_be_kept_another_group_gets_no_more_than_anybody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    path.chmod(0o4775)
    monkeypatch.setattr(os, "fchown", refused)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


@posix
def test_the_access_list_of_a_file_is_kept(path: Path) -> None:
    entries = [(0x01, 6, 2**32 - 1), (0x02, 4, 4_321), (0x04, 0, 2**32 - 1), (0x10, 4, 2**32 - 1), (0x20, 0, 2**32 - 1)]
    given = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + may.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, may, who in entries
    )
    name = "system.posix_acl_access"
    try:
        os.setxattr(path, name, given)
    except (OSError, AttributeError):
        pytest.skip("this disk keeps no access lists")
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.getxattr(path, name) == given


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A folder of an ordinary user, who this is for as long."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


@posix
def test_a_file_that_may_not_be_written_is_not_replaced(anybody: Path) -> None:
    path = anybody / "model"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=re.escape(repr(str(path)))):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert left(anybody) == ["model"]


@posix
def test_a_folder_that_takes_no_new_files_is_named_by_the_path(anybody: Path) -> None:
    path = anybody / "model"
    path.write_bytes(b"old")
    anybody.chmod(0o555)
    with pytest.raises(PermissionError, match=re.escape(repr(str(path)))):
        files.write(path, b"new")
    anybody.chmod(0o333)  # into this one files can be put, and it cannot be listed
    files.write(path, b"new")
    anybody.chmod(0o755)
    assert path.read_bytes() == b"new"
    assert left(anybody) == ["model"]


# --------------------------------------------------------------------------------------------------------------- links


@posix
def test_a_link_stays_and_the_file_that_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    real = tmp_path / "versions" / "v1"
    fitted().save(real)
    real.chmod(0o660)
    (tmp_path / "current").symlink_to("versions/v1")
    (tmp_path / "first").symlink_to(tmp_path / "current")
    model = fitted()
    model.update(some_events(20, seed=3))
    for link in ("current", "first"):
        model.update(some_events(20, seed=4))
        model.save(tmp_path / link)
        assert (tmp_path / link).is_symlink()
        assert not real.is_symlink()
        assert stat.S_IMODE(real.stat().st_mode) == 0o660
        assert_same(bits(fastmf.load(real)), bits(model))
    assert left(tmp_path) == ["current", "first", "versions"]
    assert left(tmp_path / "versions") == ["v1"]


@posix
def test_a_link_to_nothing_yet_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("three")
    files.write(tmp_path / "one", b"new")
    assert (tmp_path / "three").read_bytes() == b"new"
    assert [(tmp_path / name).is_symlink() for name in ("one", "two", "three")] == [True, True, False]


@posix
def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "far").symlink_to("nowhere/model")
    with pytest.raises(OSError, match=r"one'$") as caught:
        files.write(tmp_path / "one", b"new")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileNotFoundError, match=r"far'$"):
        files.write(tmp_path / "far", b"new")
    assert left(tmp_path) == ["far", "one", "two"]


@posix
def test_the_temporary_file_is_beside_the_file_that_a_link_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rename works within one disk only, and a link may lead to another."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/model")
    renamed, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda one, other: (renamed.append((one, other)), replace(one, other)))
    files.write(tmp_path / "link", b"new")
    assert [Path(name).parent for name in renamed[0]] == [tmp_path / "disk"] * 2


@posix
def test_another_hard_link_keeps_the_old_bytes(path: Path) -> None:
    os.link(path, path.with_name("backup"))
    files.write(path, b"new")
    assert (path.read_bytes(), path.with_name("backup").read_bytes()) == (b"new", b"old")


# ------------------------------------------------------------------------------------------------- names, and no files


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 230, ".", ".."], ids=["255", "bytes", "230", ".", ".."])
def test_names_of_any_length_that_the_system_allows(name: str, tmp_path: Path) -> None:
    if name.startswith("."):
        with pytest.raises(IsADirectoryError):
            files.write(tmp_path / name / "", b"new")
        return
    for new in (b"one", b"two"):
        files.write(tmp_path / name, new)
        assert (tmp_path / name).read_bytes() == new
    assert left(tmp_path) == [name]


def test_what_goes_wrong_is_told_with_the_name_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("n" * 256, "nowhere/model"):
        with pytest.raises(OSError, match=re.escape(repr(str(tmp_path / name)))) as caught:
            fitted().save(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'nowhere/model'$"):
        fitted().save("nowhere/model")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EBUSY, errno.EXDEV])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_and_no_other(
    call: str, number: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*names: Any) -> None:
        raise OSError(number, os.strerror(number), *names[:1], *([None, *names[1:]] if len(names) > 1 else []))

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match=re.escape(f"[Errno {number}] {os.strerror(number)}: {str(path)!r}")):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert left(path.parent) == ["model"]


@posix
def test_a_device_is_written_to_and_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted()  # before: kernels that are compiled are written to disk, too
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("a device was to be replaced"))
    model.save("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    if os.path.exists("/dev/full"):
        with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
            model.save("/dev/full")


@posix
def test_a_pipe_gets_the_bytes_where_somebody_reads_it(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"a pipe that nobody reads: .*pipe'$"):
        fitted().save(pipe)
    there = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # a reader, before the writer comes
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    sent = bytes(300_000)  # more than a pipe holds at once
    files.write(pipe, sent)
    reader.join(30)
    os.close(there)
    assert got == [sent]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert left(tmp_path) == ["pipe"]


@posix
def test_sockets_and_folders_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")  # the path of a socket is short
        with pytest.raises(OSError, match="neither a file, a pipe nor a character device: 'socket'"):
            fitted().save("socket")
    for name in ("folder", "link", "folder/"):
        with pytest.raises(IsADirectoryError, match=name):
            fitted().save(name)
    assert left(tmp_path) == ["folder", "link", "socket"]
    assert left(tmp_path / "folder") == []


# --------------------------------------------------------------------------------------------------------- own classes


class Squared(NamedTuple):
    """A loss that is called like one of fastmf, and is another: twice as steep."""

    scale: float = 2.0
    kind = "pointwise"
    domain = (-np.inf, np.inf)

    def value(self, score: Any, target: Any) -> Any:
        return self.scale * (score - target) * (score - target)

    def slope(self, score: Any, target: Any) -> Any:
        return 2 * self.scale * (score - target)

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: Any) -> Any:
        return values.mean() if values.size else 0.0

    def check(self, values: Any) -> None:
        pass


class SGD(NamedTuple):
    """A solver whose memory goes below zero: momentum."""

    rate: float = 0.02

    def state(self, k: int) -> int:
        return 1

    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        return row - self.rate * gradient, 0.5 * memory - (gradient + gradient * gradient).mean(memory)

    def check(self) -> None:
        pass


class L2(NamedTuple):
    """A regularizer that is called like one of fastmf."""

    weight: float = 0.3

    def gradient(self, row: Any, anchor: Any) -> Any:
        return self.weight * row

    def check(self) -> None:
        pass


class Uniform(NamedTuple):
    """A sampler that is called like one of fastmf."""

    power: float = 0.5
    source = "events"

    def acceptance(self, count: Any) -> Any:
        return count ** (self.power - 1)

    def check(self) -> None:
        pass


OWN: dict[str, tuple[dict[str, Any], type]] = {
    "loss": ({"loss": Squared(3.0)}, Squared),
    "solver": ({"solver": SGD(0.01)}, SGD),
    "regularizer": ({"solver": optimizers.AdaGrad(), "regularizer": L2(0.1)}, L2),
    "sampler": ({"loss": losses.BPR(Uniform(0.25))}, Uniform),
}


@pytest.mark.parametrize(("settings", "own"), OWN.values(), ids=OWN)
def test_a_class_that_is_called_like_one_of_fastmf_is_not_taken_for_it(
    settings: dict[str, Any], own: type, tmp_path: Path
) -> None:
    model = MF(factors=FACTORS, **settings).fit(some_events(), epochs=2)
    model.save(tmp_path / "model")
    told = rf"it uses '{own.__name__}', which is {own.__module__}\.{own.__name__}, not a class of fastmf"
    for classes in ((), [losses.Huber]):
        with pytest.raises(FileFormatError, match=told):
            fastmf.load(tmp_path / "model", classes)
    models = fastmf.load(tmp_path / "model", classes=[own, own]), pickle.loads(pickle.dumps(model)), model.copy()
    model.update(some_events(40, users=60, seed=7))
    for twin in models:
        for name, value in settings.items():
            assert type(getattr(twin, name)) is type(value)
            assert getattr(twin, name) == value
        if own is Uniform:
            assert type(twin.loss.sampler) is Uniform
        twin.update(some_events(40, users=60, seed=7))
        assert_same(bits(twin), bits(model))


def test_a_class_of_fastmf_is_not_replaced_by_one_that_is_given(tmp_path: Path) -> None:
    MF(factors=FACTORS, loss=losses.BPR()).save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model", classes=[Squared, SGD, L2, Uniform])
    assert [type(one) for one in (loaded.loss, loaded.loss.sampler, loaded.solver, loaded.regularizer)] == [
        losses.BPR,
        samplers.Uniform,
        optimizers.AdaGrad,
        regularizers.ScaledL2,
    ]


def test_a_file_states_its_solver_whatever_the_default_is(tmp_path: Path) -> None:
    """So that files from when another solver was the default are loaded as they were."""
    model = stepping()
    model.save(tmp_path / "model")
    _, metadata = files.read(tmp_path / "model")
    assert metadata["settings"]["solver"] == {"class": "AdaGrad", "fields": {"rate": 0.04, "initial": 100.0}}
    twin = fastmf.load(tmp_path / "model")
    assert twin.solver == optimizers.AdaGrad()
    assert_same(bits(twin), bits(model))


def test_classes_of_one_name_are_told_apart_by_their_full_names(tmp_path: Path) -> None:
    other = type("Squared", (Squared,), {"__module__": "elsewhere"})
    MF(factors=FACTORS, loss=Squared()).save(tmp_path / "model")
    assert type(fastmf.load(tmp_path / "model", classes=[other, Squared]).loss) is Squared
    assert type(fastmf.load(tmp_path / "model", classes=[other]).loss) is other  # it may have moved since
    twin = type("Squared", (Squared,), {"__module__": Squared.__module__, "__qualname__": "Squared"})
    with pytest.raises(FileFormatError, match="several classes could be that one"):
        fastmf.load(tmp_path / "model", classes=[twin, Squared])


def test_a_file_that_does_not_say_whose_its_classes_are(tmp_path: Path) -> None:
    """As files were at first."""
    MF(factors=FACTORS, solver=optimizers.AdaGrad(), regularizer=Mine()).save(tmp_path / "model")
    arrays, metadata = files.read(tmp_path / "model")
    del metadata["settings"]["regularizer"]["own"]
    files.write(tmp_path / "model", files.pack(arrays, metadata))
    with pytest.raises(FileFormatError, match=r"it uses 'Mine'; pass that class to load"):
        fastmf.load(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model", classes=[Mine])
    assert (type(loaded.regularizer), type(loaded.loss)) == (Mine, losses.Squared)


class Mine(NamedTuple):
    weight: float = 0.3
    gradient = L2.gradient
    check = L2.check


@pytest.mark.parametrize("classes", [Squared, [Squared()], ["Squared"], "Squared", 5], ids=repr)
def test_classes_are_classes(classes: Any, tmp_path: Path) -> None:
    MF(factors=FACTORS).save(tmp_path / "model")
    with pytest.raises(TypeError, match=r"class|iterable"):
        fastmf.load(tmp_path / "model", classes=classes)


# ------------------------------------------------------------------------------- whatever can be saved can be loaded


def test_a_memory_below_zero_comes_back(tmp_path: Path) -> None:
    model = MF(factors=FACTORS, solver=SGD()).fit(some_events(), epochs=2)
    assert (model._state.users.table.records[:, 1] < 0).any()
    model.save(tmp_path / "model")
    twin = fastmf.load(tmp_path / "model", classes=[SGD])
    assert_same(bits(model), bits(twin))
    for one in (model, twin):
        one.update(some_events(40, users=60, seed=7))
    assert_same(bits(model), bits(twin))


def test_a_memory_that_a_solver_cannot_have_made_harms_nothing(tmp_path: Path) -> None:
    model = stepping()
    model._state.users.table.records[:, 1] = -1_000.0  # under the root of AdaGrad
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model")
    before = bits(loaded)
    with pytest.raises(DivergenceError):
        loaded.update(some_events(10))
    assert_same(bits(loaded), before)


KEPT: dict[str, tuple[Any, Any]] = {
    "NumPy numbers": ([np.float32(0.5), np.int64(3), np.bool_(True), np.str_("a")], [0.5, 3, True, "a"]),
    "infinite": ([float("inf"), -np.inf, np.float32(np.inf)], [np.inf, -np.inf, np.inf]),
    "an array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "an array of no dimension": (np.array(2.5), 2.5),
    "a tuple": ((1, (2, None)), [1, [2, None]]),
    "nested": ({"ndcg": {"warm": np.float64(0.5), "cold": -np.inf}}, {"ndcg": {"warm": 0.5, "cold": -np.inf}}),
    "text": ("\ud800 ü \0", "\ud800 ü \0"),
    "large": (2**200, 2**200),
}


@pytest.mark.parametrize(("given", "expected"), KEPT.values(), ids=KEPT)
def test_what_callbacks_put_into_records_is_kept(given: Any, expected: Any, tmp_path: Path) -> None:
    model = MF(factors=FACTORS)
    model.fit(some_events(), epochs=2, callbacks=[lambda record: record.update(extra=given)])
    model.save(tmp_path / "model")
    for twin in (fastmf.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        found = [record["extra"] for record in twin.history_]
        assert found == [expected] * 2
        assert type(found[0]) is type(expected)
        assert [record["loss"] for record in twin.history_] == [record["loss"] for record in model.history_]
        twin.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_record_that_is_not_a_number_comes_back(tmp_path: Path) -> None:
    model = fitted()
    model.history_[0]["extra"] = np.float32("nan")
    model.save(tmp_path / "model")
    assert np.isnan(fastmf.load(tmp_path / "model").history_[0]["extra"])


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "an object": (object, r"history_\[1\]\['extra'\] cannot be kept in a file: <object"),
    "a set": (lambda: {3}, r"history_\[1\]\['extra'\] cannot be kept in a file: \{3\}"),
    "bytes": (lambda: [b"x"], r"history_\[1\]\['extra'\]\[0\] cannot be kept in a file: b'x' \(bytes\)"),
    "complex": (lambda: np.complex64(1j), r"cannot be kept in a file: 1j \(complex\)"),
    "a date": (lambda: np.datetime64("2020-01-01"), "cannot be kept in a file: datetime"),
    "keys that are no text": (lambda: {3: 4}, r"cannot be kept in a file: \{3: 4\} \(dict\)"),
    "a key that files use": (lambda: {"__float__": "inf"}, "cannot be kept in a file"),
    "a circle": (circle, "recursion"),
    "too many digits": (lambda: 10**5_000, "digits"),
}


@pytest.mark.parametrize(("make", "told"), ODD.values(), ids=ODD)
def test_what_cannot_be_kept_is_refused_before_the_old_file_is_touched(
    make: Callable[[], Any], told: str, path: Path
) -> None:
    model = fitted()
    model.history_[1]["extra"] = make()
    for call in (lambda: model.save(path), lambda: pickle.dumps(model)):
        with pytest.raises(FileFormatError, match=told):
            call()
    assert path.read_bytes() == b"old"
    assert left(path.parent) == ["model"]
    del model.history_[1]["extra"]
    model.save(path)
    assert_same(bits(fastmf.load(path)), bits(fitted()))


@pytest.mark.parametrize("records", [5, None, ["a"], [{}, 3], {}], ids=repr)
def test_a_history_of_another_kind_is_refused(records: Any, path: Path) -> None:
    model = fitted()
    model.history_ = records
    with pytest.raises(FileFormatError, match="history_ is no list of records"):
        model.save(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["factors", "records"])
def test_rows_that_are_not_finite_are_refused(part: str, number: float, path: Path) -> None:
    """Nothing in fastmf makes them; that they could not be loaded would be noticed too late."""
    model = fitted()
    getattr(model._state.items.table, part)[3, 1] = number
    with pytest.raises(FileFormatError, match=rf"items\.{part}, row 3: a number is not finite"):
        model.save(path)
    assert path.read_bytes() == b"old"


class Fickle(NamedTuple):
    """A regularizer that is made by one argument and kept by another."""

    weight: float = 0.3
    gradient = L2.gradient
    check = L2.check


class Made(Fickle):
    def __new__(cls, strength: float) -> Made:
        return super().__new__(cls, strength)


def test_a_value_that_its_fields_do_not_make_again_is_refused(path: Path) -> None:
    model = MF(factors=FACTORS, solver=optimizers.AdaGrad(), regularizer=Made(0.3))
    with pytest.raises(FileFormatError, match="unexpected keyword argument 'weight'"):
        model.save(path)
    assert path.read_bytes() == b"old"


def test_options_of_numpy_come_back(tmp_path: Path) -> None:
    options = Options(threads=np.int64(2), deterministic=np.bool_(True), memory=np.int64(10**8))  # type: ignore[arg-type]
    MF(factors=FACTORS, options=options).save(tmp_path / "model")
    assert fastmf.load(tmp_path / "model").options == options


# -------------------------------------------------------------------------------------------------------- other options


def test_options_that_are_given_go_before_those_of_the_file(tmp_path: Path) -> None:
    model = fitted(options=Options(threads=1, deterministic=True, memory=10**8))
    model.save(tmp_path / "model")
    for options in (Options(), Options(threads=2), Options(memory=10**7)):
        loaded = fastmf.load(tmp_path / "model", options=options)
        assert loaded.options is options
        assert_same(bits(loaded), bits(model), but=("settings",))
        loaded.apply(model.copy().update(some_events(30, seed=3)))
        loaded.save(tmp_path / "again")
        assert fastmf.load(tmp_path / "again").options == options


def test_a_file_of_options_that_cannot_be_honoured_here_is_loaded_with_others(tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    arrays, metadata = files.read(tmp_path / "model")
    metadata["settings"]["options"]["device"] = "cuda"
    files.write(tmp_path / "model", files.pack(arrays, metadata))
    with pytest.raises(DeviceError, match="cuda"):
        fastmf.load(tmp_path / "model")
    assert_same(content(fastmf.load(tmp_path / "model", options=Options())), content(fitted()))


@pytest.mark.parametrize("options", [3, {"threads": 2}, Options(threads=0), Options(storage="float8")], ids=repr)
def test_options_are_checked_before_the_file_is_read(options: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"[Oo]ptions"):
        fastmf.load(tmp_path / "nothing", options=options)


def test_a_budget_that_does_not_hold_the_file_is_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    with pytest.raises(CapacityError, match="memory budget"):
        fastmf.load(tmp_path / "model", options=Options(memory=100))


@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "float32")])
@pytest.mark.parametrize("loss", [losses.Squared(), losses.Confidence()], ids=["Squared", "Confidence"])
def test_another_storage_makes_another_model(loss: Any, before: str, after: str, tmp_path: Path) -> None:
    model = fitted(loss=loss, options=Options(storage=before))
    model.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model", options=Options(storage=after))
    assert loaded.options.storage == after
    for name in ("user_factors", "item_factors"):
        found = getattr(loaded, name)
        assert found.dtype == after
        np.testing.assert_array_equal(found, getattr(model, name).astype(after))
    np.testing.assert_array_equal(loaded.item_biases, model.item_biases)
    assert (loaded.version, list(loaded.users)) == (model.version, list(model.users))
    assert loaded.lineage != model.lineage
    with pytest.raises(fastmf.errors.StaleDelta):
        loaded.apply(model.update(some_events(20, seed=3)))
    loaded.save(tmp_path / "again")
    again = fastmf.load(tmp_path / "again")
    for one in (loaded, again):
        one.update(some_events(20, seed=3))
    assert_same(bits(loaded), bits(again))


def test_a_factor_that_is_too_large_for_the_storage_is_named(tmp_path: Path) -> None:
    MF.from_factors([[1.0, 65_504.0]], [[1.0, 2.0], [-1e5, 3.0]]).save(tmp_path / "model")
    with pytest.raises(DataError, match=r"items\.factors, row 1, column 0: -100000\.0 is too large for float16"):
        fastmf.load(tmp_path / "model", options=Options(storage="float16"))


FOREIGN = """
import pathlib, resource, warnings
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
import fastmf, pickle
warnings.simplefilter("error")
for model in (
    fastmf.load("large"),
    pickle.loads(pathlib.Path("pickle").read_bytes()),
    fastmf.load("large", options=fastmf.Options(memory=10**7)),
    fastmf.load("small"),
):
    print(model.options.memory, model.user_factors.tobytes().hex())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_a_budget_of_a_larger_machine(tmp_path: Path) -> None:
    """The budget of a file is a limit of growth: what is in the file needs little, whatever this machine has."""
    large, small = (fitted(options=Options(memory=memory)) for memory in (64 << 30, 10**7))
    large.save(tmp_path / "large")
    small.save(tmp_path / "small")
    (tmp_path / "pickle").write_bytes(pickle.dumps(large))
    done = subprocess.run([sys.executable, "-c", FOREIGN], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    factors = [model.user_factors.tobytes().hex() for model in (large, large, large, small)]
    budgets = [64 << 30, 64 << 30, 10**7, 10**7]
    found = [line.split() for line in done.stdout.splitlines()]
    assert found == [[str(budget), row] for budget, row in zip(budgets, factors, strict=True)]
