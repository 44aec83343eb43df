"""The door of IdMap: from ids to rows and back, with what people have at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions
from fastmf.errors import DataError
from fastmf.parameters.ids import IdMap

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def filled(*ids: Any) -> IdMap:
    made = IdMap()
    made.extend(np.array(ids, object if isinstance(ids[0], str) else np.int64))
    return made


NUMBERS, NAMES = filled(30, -4, 7), filled("ann", "bob")


@pytest.mark.parametrize(
    "given", [[7, 5], (7, 5), np.array([7, 5]), np.array([7, 5], np.int8), pd.Series([7, 5])], ids=str
)
def test_rows_of_int_ids(given: Any) -> None:
    found = NUMBERS.rows(given)
    assert found.tolist() == [2, -1]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    "given",
    [["bob", "eve"], np.array(["bob", "eve"]), np.array(["bob", "eve"], object), pl.Series(["bob", "eve"])],
    ids=lambda given: type(given).__name__,
)
def test_rows_of_str_ids(given: Any) -> None:
    assert NAMES.rows(given).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.array([[30, 7], [7, 30]]), "must be 1-d"),
        (7, "must be a 1-d array"),
        ("7", "must be a 1-d array"),
        (np.array([True, False]), "row 0: True is of type bool"),
        ([30, True], "row 1: True is of type bool"),
        (np.array([30.0]), "row 0: 30.0 is of type float64"),
        ([30, 7.0], "row 1: 7.0 is of type float"),
        ([30, None], "row 1: None is missing"),
        ([30, 2**63], "row 1: 9223372036854775808 does not fit int64"),
        (np.array([2**63], np.uint64), "row 0: 9223372036854775808 does not fit int64"),
        (["ann"], "row 0: 'ann' is str, but the known ids are int"),
        ([30, "ann"], "row 1: 'ann' is of type str"),
        ([b"ann"], r"row 0: b'ann' is of type bytes"),
    ],
)
def test_what_is_no_id_is_named(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"ids.*{message}"):
        NUMBERS.rows(given)


def test_ids_of_the_other_kind() -> None:
    with pytest.raises(DataError, match="row 0: 3 is int, but the known ids are str"):
        NAMES.rows([3])
    assert IdMap().rows([3, 4]).tolist() == IdMap().rows(["a", "b"]).tolist() == [-1, -1]
    assert NUMBERS.rows([]).tolist() == NAMES.rows([]).tolist() == []


@pytest.mark.parametrize(
    "given", [[1, 0, 1], np.array([1, 0, 1]), np.array([1, 0, 1], np.uint8), pd.Index([1, 0, 1])], ids=str
)
def test_ids_of_rows(given: Any) -> None:
    assert NUMBERS.ids(given).tolist() == [-4, 30, -4]
    assert NAMES.ids(given).tolist() == ["bob", "ann", "bob"]
    assert NUMBERS.ids([]).tolist() == NAMES.ids(np.empty(0)).tolist() == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.array([-1]), "row 0: -1 is none of the"),
        ([0, -1], "row 1: -1 is none of the"),
        (np.array([0, 7]), "row 1: 7 is none of the"),
        ([3], "row 0: 3 is none of the"),
        ([2**70], "row 0: 1180591620717411303424 is none of the"),
        (np.array([2**63], np.uint64), "row 0: 9223372036854775808 is none of the"),
        (np.array([0.0]), "row 0: 0.0 is of type float64"),
        ([True], "row 0: True is of type bool"),
        (np.array([True, False, True]), "row 0: True is of type bool"),
        (["ann"], "row 0: 'ann' is of type str"),
        ([None], "row 0: None is missing"),
        (np.array([[0]]), "must be 1-d"),
        (0, "must be a 1-d array"),
        (slice(1), "must be a 1-d array"),
    ],
)
@pytest.mark.parametrize("known", [NUMBERS, NAMES], ids=["int", "str"])
def test_what_is_no_row_is_named(known: IdMap, given: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"'rows'.*{message}"):
        known.ids(given)


@pytest.mark.parametrize(
    "one",
    [True, 1.0, 30.0, None, 2**70, -(2**70), "eve", "\ud800", b"ann", [30], (30,), {}, np.array([30]), float("nan")],
    ids=repr,
)
def test_what_is_not_in(one: Any) -> None:
    known = filled(1, 30)
    assert one not in known
    assert one not in NAMES
    assert one not in IdMap()
    for lists in (
        MF.from_factors([[1.0]] * 2, [[1.0]], users=[1, 30]).lists(k=1),
        MF.from_factors([[1.0]], [[1.0]], users=["ann"]).lists(users=["ann"]),
    ):
        with pytest.raises(KeyError):
            lists[one]


@pytest.mark.parametrize("one", [30, np.int64(30), np.uint8(30)])
def test_what_is_in(one: Any) -> None:
    assert one in NUMBERS
    assert np.str_("ann") in NAMES
    model = MF.from_factors([[1.0]] * 2, [[1.0]], users=[1, 30])
    for lists in (model.lists(k=1), model.lists(k=1, users=[30])):
        assert lists[one].ids.tolist() == [0]


def test_known_ids_can_be_asked_about() -> None:
    for users in ([3, 1, 2], ["c", "a", "b"]):
        model = MF(factors=8).fit(Interactions(users, [1, 2, 3]), epochs=1, progress=False)
        for asked in (model.users, list(model.users), model.users.values, np.asarray(model.users)):
            assert model.recommend(asked, k=1).ids.shape == (3, 1)
            assert model.users.rows(asked).tolist() == [0, 1, 2]
        assert list(model.users) == model.users.values.tolist() == users
        assert model.lists(k=1, users=model.users).users.tolist() == users
        assert model.recommend(users[:1], items=model.items, exclude=model.items).lengths.tolist() == [0]


@pytest.mark.parametrize("apart", [1, 1_000_003])
@pytest.mark.parametrize("low", [-3_000, 0, -(1 << 63), (1 << 63) - 5_000])
def test_many_new_ids_are_numbered_by_appearance(low: int, apart: int) -> None:
    """Ids close together are numbered without a hash table, with the same result; known ones keep their rows."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 5_000, 12_000)
    ids = (low + apart * steps.astype(object)).clip(-(1 << 63), (1 << 63) - 1).astype(np.int64)
    known = IdMap()
    known.extend(np.array([5, *dict.fromkeys(ids[:100].tolist())]))
    staged = known.stage(ids)
    rows = {one: row for row, one in enumerate(known)}
    expected = [rows.setdefault(one, len(rows)) for one in ids.tolist()]
    assert staged.rows.tolist() == expected
    assert staged.fresh.tolist() == list(rows)[len(known) :]
