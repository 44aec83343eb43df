"""IdMap and its hash table against a list: growth while a larger table takes over, rollback, collisions, borders."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastmf.errors import CapacityError, DataError
from fastmf.kernels.rows import hashing
from fastmf.parameters.ids import IdMap

BORDERS = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**31, 2**32, 2**63 - 1]


def as_ids(numbers: Any, kind: str) -> np.ndarray:
    """Numbers as a column of ids; text ids share lengths and beginnings, and most are not ASCII."""
    if kind == "int":
        return np.array(numbers, np.int64)
    ids = np.empty(len(numbers), object)
    ids[:] = [f"{'é' * (n % 3)}{n}" if n else "" for n in map(int, numbers)]
    return ids


def add(ids: IdMap, batch: np.ndarray) -> None:
    ids.extend(ids.stage(batch).fresh)


class IdsAgainstList(RuleBasedStateMachine):
    """`known` is the list of ids in row order."""

    kind = "int"

    @initialize()
    def start(self) -> None:
        self.ids, self.known, self.next = IdMap(1 << 24), [], 1000

    @rule(numbers=st.lists(st.sampled_from([*BORDERS, *range(2, 60)]), max_size=30))
    def arrive(self, numbers: list[int]) -> None:
        self.extend(as_ids(numbers, self.kind))

    @rule(count=st.integers(1, 900), again=st.integers(0, 30))
    def arrive_in_numbers(self, count: int, again: int) -> None:
        """New ids one after the other, among them old ones and repetitions."""
        new = np.arange(self.next, self.next + count)
        self.next += count
        old = np.arange(1000, self.next)[:: 1 + self.next // 50][:again]
        self.extend(as_ids(np.concatenate([new[: count // 2], old, new, old]), self.kind))

    def extend(self, batch: np.ndarray) -> None:
        positions = {one: row for row, one in enumerate(self.known)}
        expected = [positions.setdefault(one, len(positions)) for one in batch.tolist()]
        rows = np.full(len(batch), 7, np.int32)
        staged = self.ids.stage(batch, rows=rows)
        assert staged.rows is rows
        assert len(self.ids) == len(self.known)
        assert staged.rows.tolist() == expected
        assert staged.fresh.tolist() == list(positions)[len(self.known) :]
        self.ids.prepare(staged.fresh)
        self.check_all()  # it means what it did
        self.ids.extend(staged.fresh)
        self.known = list(positions)

    @precondition(lambda self: self.known)
    @rule(kept=st.floats(0, 1) | st.floats(0.9, 1))
    def roll_back(self, kept: float) -> None:
        count = int(kept * len(self.known))
        self.ids.truncate(count)
        gone, self.known = self.known[count:], self.known[:count]
        if gone:
            assert (self.ids.rows(self.column(gone)) == -1).all() if self.known else self.ids.kind is None

    @rule()
    def replace_by_copy(self) -> None:
        self.ids = self.ids.copy()

    @rule()
    def replace_by_file(self) -> None:
        self.ids = IdMap.from_arrays({name: array.copy() for name, array in self.ids.arrays().items()}, 1 << 24)

    def column(self, ids: list[Any]) -> np.ndarray:
        found = np.empty(len(ids), np.int64 if self.kind == "int" else object)
        found[:] = ids
        return found

    @invariant()
    def check_all(self) -> None:
        assert len(self.ids) == len(self.known)
        assert self.ids.values.tolist() == self.known
        if self.known:
            assert self.ids.kind == self.kind
            assert self.ids.rows(self.column(self.known)).tolist() == list(range(len(self.known)))
        absent = as_ids([10**9, 10**9 + 1], self.kind)
        assert self.ids.rows(absent).tolist() == [-1, -1]


class TextIdsAgainstList(IdsAgainstList):
    kind = "str"


TestIntIds = IdsAgainstList.TestCase
TestTextIds = TextIdsAgainstList.TestCase
TestIntIds.settings = TestTextIds.settings = settings(stateful_step_count=25)


@pytest.mark.parametrize("kind", ["int", "str"])
def test_growth_by_takeovers_and_rollback(kind: str) -> None:
    """Small batches through several takeovers of the table, each rolled back once; no table is rebuilt at once."""
    ids, takeovers = IdMap(1 << 27), 0
    add(ids, as_ids(range(400), kind))
    while len(ids) < 100_000:
        count = len(ids)
        batch = as_ids(range(count, count + count // 20), kind)
        for column in (batch, batch[::-1]):
            ids.truncate(count)
            assert (ids.rows(batch) == -1).all()
            present = ids.tables[0]
            add(ids, column)
            if ids.tables[0] is not present:
                takeovers += 1
                assert ids.tables[1] is present
        expected = np.arange(len(ids))[::-1][: len(batch)]
        assert (ids.rows(batch) == expected).all()
        assert (ids.rows(as_ids(range(400), kind)) == np.arange(400)).all()
    assert takeovers > 7
    assert (ids.rows(ids.values) == np.arange(len(ids))).all()


def test_rolling_back_again_and_again_does_not_grow_the_table() -> None:
    ids = IdMap(1 << 27)
    add(ids, np.arange(1000))
    for attempt in range(300):
        add(ids, np.arange(100) + 1000 * (attempt + 2))
        ids.truncate(1000)
    assert ids.tables[0].size <= 4 * 2 * 1024 * 2
    assert (ids.rows(np.arange(1000)) == np.arange(1000)).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands released pages back as zeros")
def test_memory_of_an_old_table_is_released_in_pieces() -> None:
    """What has been carried across is given back while the rest of the old table is still being read."""
    ids, count, partly = IdMap(1 << 30), 520_000, 0
    add(ids, np.arange(count))
    while count < 680_000:
        add(ids, np.arange(count, count + 4_000))
        count += 4_000
        older = ids.tables[1]
        if older.size:
            partly += np.flatnonzero(older[1::2])[0] > 1 << 14
            assert (ids.rows(np.arange(count)) == np.arange(count)).all()
    assert partly > 10
    assert (ids.rows(np.arange(count)) == np.arange(count)).all()


def test_ids_that_collide() -> None:
    """Hundreds of ids whose search starts at one slot, the last of the table, so that probing wraps around."""
    slots = np.zeros(2 * 1024, np.int64)
    crowd = np.array([one for one in range(300_000) if hashing.home(slots.size // 2 - 1, one) == 1023])
    assert crowd.size > 200
    ids = IdMap(1 << 20)
    add(ids, crowd[:200])
    assert (ids.rows(crowd[:200]) == np.arange(200)).all()
    assert (ids.rows(crowd[200:]) == -1).all()
    ids.truncate(50)
    add(ids, crowd[120:180])
    assert (ids.rows(crowd[:50]) == np.arange(50)).all()
    assert (ids.rows(crowd[50:120]) == -1).all()
    assert (ids.rows(crowd[120:180]) == np.arange(50, 110)).all()


def test_text_ids_of_equal_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "hash_text", lambda text, bounds, keys: keys.fill(-5))
    ids = IdMap(1 << 20)
    batch = as_ids([*range(150), *range(70, 90)], "str")
    staged = ids.stage(batch)
    assert staged.rows.tolist() == [*range(150), *range(70, 90)]
    ids.extend(staged.fresh)
    assert (ids.rows(batch[:150]) == np.arange(150)).all()
    ids.truncate(100)
    add(ids, batch[120:130])
    assert ids.rows(batch[[99, 100, 119, 120, 129, 130]]).tolist() == [99, -1, -1, 100, 109, -1]
    for count in (300, 400, 500, 600):  # through a takeover
        add(ids, as_ids(range(1000, 1000 + count), "str"))
    assert (ids.rows(ids.values) == np.arange(len(ids))).all()


@pytest.mark.parametrize(
    "pattern",
    [
        np.arange(20_000),
        -np.arange(20_000) * 3,
        np.arange(20_000) << 20,
        np.arange(20_000) << 32,
        np.arange(20_000) << 48,
        np.arange(20_000) * 1_000_003,
        np.arange(20_000, dtype=np.float64).view(np.int64),
    ],
    ids=["counting", "negative", "20 zeros", "32 zeros", "48 zeros", "stride", "floats"],
)
def test_regular_ids_are_spread(pattern: np.ndarray) -> None:
    ids = IdMap(1 << 24)
    add(ids, pattern)
    slots = ids.tables[0]
    taken = np.flatnonzero(slots[1::2])
    homes = np.array([hashing.home(slots.size // 2 - 1, key) for key in slots[2 * taken]])
    assert ((taken - homes) % (slots.size // 2)).mean() < 1.5


def test_borders_of_int64() -> None:
    ids = IdMap(1 << 20)
    add(ids, np.array(BORDERS))
    assert ids.rows(np.array(BORDERS)).tolist() == list(range(len(BORDERS)))
    assert all(one in ids for one in BORDERS)
    assert np.uint64(2**63 - 1) in ids
    for stranger in (2**63, -(2**63) - 1, np.uint64(2**63), 2**64 - 1, 5, True, 1.0, "1", None, b"1"):
        assert stranger not in ids
    assert list(ids) == BORDERS


def test_text_ids() -> None:
    texts = ["", "a", "ab", "b", "a\0", "\0", "ß", "日本", "a" * 5000]
    column = np.empty(len(texts), object)
    column[:] = texts
    ids = IdMap(1 << 20)
    add(ids, column)
    assert list(ids) == texts
    assert all(text in ids for text in texts)
    assert not any(stranger in ids for stranger in ("aa", "ba", "s", "日", "a" * 4999, 1, None))


def test_kinds_do_not_mix() -> None:
    ids = IdMap(1 << 20)
    assert ids.kind is None
    assert 3 not in ids
    add(ids, np.array([3]))
    with pytest.raises(DataError, match=r"users, row 0: 'x' is str, but the known ids are int"):
        ids.stage(np.array(["x"], object), "users")
    with pytest.raises(DataError, match="is str, but the known ids are int"):
        ids.rows(np.array(["x"], object))
    assert ids.rows(np.empty(0, object)).size == 0
    assert repr(ids) == "IdMap(1 int ids)"


@pytest.mark.parametrize("kind", ["int", "str"])
def test_a_full_map_refuses_and_stays_as_it_is(kind: str) -> None:
    ids = IdMap(8 * 100)
    add(ids, as_ids(range(90), kind))
    before = ids.values.tolist()
    for _ in range(3):
        with pytest.raises(CapacityError, match="memory budget of 800 bytes"):
            add(ids, as_ids(range(200, 300), kind))
    assert ids.values.tolist() == before
    add(ids, as_ids(range(90, 95), kind))
    assert (ids.rows(ids.values) == np.arange(95)).all()


def test_text_beyond_the_budget_is_refused() -> None:
    ids = IdMap(800)
    add(ids, np.array(["a", "bc"], object))
    with pytest.raises(CapacityError, match="801 bytes of ids exceed the memory budget of 800 bytes"):
        add(ids, np.array(["x" * 790, "12345678"], object))
    assert list(ids) == ["a", "bc"]
    add(ids, np.array(["x" * 797], object))
    assert "x" * 797 in ids


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": np.array([1, 2, 1])}, "twice"),
        ({"ids": np.array([1.0])}, "int64"),
        ({"text": np.frombuffer(b"aa", np.uint8), "bounds": np.array([0, 1, 2])}, "twice"),
        ({"text": np.frombuffer(b"ab", np.uint8), "bounds": np.array([0, 2, 1])}, "cover"),
        ({"text": np.frombuffer(b"ab", np.uint8), "bounds": np.array([0, 3])}, "cover"),
        ({"text": np.frombuffer(b"ab", np.uint8), "bounds": np.array([0, 3, 1, 2])}, "cover"),
        ({"text": np.frombuffer(b"\xff", np.uint8), "bounds": np.array([0, 1])}, "utf-8"),
    ],
)
def test_damaged_arrays_are_refused(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IdMap.from_arrays(arrays, 1 << 20)
