"""Features: what is accepted, how it is scaled, and what is refused with its place."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from fastmf import Features
from fastmf.errors import DataError
from fastmf.parameters.features import scaled, scales_of


class Tensor:
    """Of PyTorch, as far as it is asked."""

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)

    def detach(self) -> Tensor:
        return self

    cpu = detach

    def float(self) -> Tensor:
        return Tensor(self._array.astype(np.float32))

    def numpy(self) -> np.ndarray:
        return self._array


@pytest.mark.parametrize(
    "vectors",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.array([[1, 2], [3, 4]], np.float16),
        np.array([[1, 2], [3, 4]], np.int8).T.copy().T,
        Tensor([[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_vectors_of_any_library(vectors: Any) -> None:
    found = Features(["a", "b"], vectors)
    assert (found.vectors.dtype, found.vectors.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert found.ids.tolist() == ["a", "b"]
    assert not found.vectors.flags.writeable


def test_what_is_given_is_copied() -> None:
    ids, vectors = np.arange(3), np.zeros((3, 2), np.float32)
    found = Features(ids, vectors)
    ids[0], vectors[:] = 7, 1
    assert (found.ids[0], found.vectors.max()) == (0, 0)
    with pytest.raises(AttributeError, match="cannot be changed"):
        found.name = "other"


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, 2, 1], np.zeros((3, 1)), "column 'ids', row 2: 1 is there twice"),
        (["a", "b", "a"], np.zeros((3, 1)), "column 'ids', row 2: 'a' is there twice"),
        ([1.5, 2.0], np.zeros((2, 1)), "ids"),
        ([1, "a"], np.zeros((2, 1)), "ids"),
        ([1, 2], [[0.0, 1.0], [np.inf, 2.0]], r"column 'vectors\[:, 0\]', row 1: inf is infinite"),
        ([1, 2], [[0.0, 1.0], [2.0, 1e39]], r"column 'vectors\[:, 1\]', row 1: 1e\+39 is beyond float32"),
        ([1, 2], [[0.0], [1.0], [2.0]], "'vectors' has 3 rows, column 'ids' has 2"),
        ([1, 2], [0.0, 1.0], "a row per id"),
        ([1, 2], np.zeros((2, 0)), "at least one column"),
        ([1, 2], [["a"], ["b"]], "real numbers"),
        ([1, 2], [[1], [2, 3]], "cannot become a NumPy array"),
        ([1, 2], np.zeros((2, 1), complex), "real numbers"),
        ([1], [[None]], "real numbers"),
    ],
)
def test_what_is_invalid_is_named(ids: Any, vectors: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Features(ids, vectors)


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(DataError, match="name must be a text"):
        Features([1], [[1.0]], name=name)


@given(arrays.arrays(np.float32, (7, 3), elements=st.sampled_from([0.0, 1.0, -2.5, 3e4, np.nan])))
def test_rows_are_centred_and_have_a_mean_square_of_one(vectors: np.ndarray) -> None:
    found = Features(np.arange(7), vectors)
    rows, missing = scaled(found.vectors, *scales_of(found)).astype(np.float64), np.isnan(vectors)
    assert not rows[missing].any()
    there = ~missing.all(axis=1)
    assert np.abs(rows.sum(axis=0)).max() <= 1e-4
    square = (rows[there] ** 2).sum(axis=1).mean() if there.any() else 0.0
    assert square == pytest.approx(1.0, rel=1e-4) or not rows.any()


FRAME = {
    "item": ["a", "b", "c", "d"],
    "price": [1.0, 2.0, None, 4.0],
    "colour": ["red", "blue", "red", None],
    "tags": ["x|y", "", None, "y|z|y"],
}


@pytest.mark.parametrize("library", ["dict", "pandas", "polars", "pyarrow"])
def test_columns_of_frames(library: str) -> None:
    frame: Any = FRAME
    if library != "dict":
        module = pytest.importorskip(library)
        frame = module.table(FRAME) if library == "pyarrow" else module.DataFrame(FRAME)
    found = Features.from_frame(frame, ids="item", numbers=["price"], categories=["colour"], tags=["tags"])
    assert found.columns == ("price", "colour=red", "tags=y")
    nan = np.nan
    expected = [[1, 1, 1], [2, 0, 0], [nan, 1, nan], [4, nan, 1]]
    np.testing.assert_array_equal(found.vectors, np.array(expected, np.float32))
    rows = scaled(found.vectors, *scales_of(found))
    assert rows[:, 0].std() > 0
    assert rows[2, 0] == rows[2, 2] == rows[3, 1] == 0


def test_lists_of_tags_and_other_categories() -> None:
    frame = {"item": [1, 2, 3], "tags": [["u", "v"], {"u"}, np.array(["v"], object)], "kind": [7, 7, True]}
    found = Features.from_frame(frame, tags=["tags"], categories=["kind"])
    assert found.columns == ("kind=7", "tags=u", "tags=v")
    assert found.vectors.tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("frame", "columns", "message"),
    [
        (FRAME, {}, "no column is named"),
        (FRAME, {"numbers": ["cost"]}, "no column 'cost'"),
        (FRAME, {"numbers": ["colour"]}, "column 'colour', row 0: 'red'"),
        ({"item": [1, 1], "n": [1, 2]}, {"numbers": ["n"]}, "column 'item', row 1: 1 is there twice"),
        ({"item": [1, 2], "n": [1.0, np.inf]}, {"numbers": ["n"]}, "column 'n', row 1: inf is not finite"),
        ({"item": [1, 2], "n": [1.0]}, {"numbers": ["n"]}, "has 1 rows, the ids have 2"),
        ({"item": [1, 2], "t": [["a"], 3]}, {"tags": ["t"]}, "column 't', row 1: 3 is no text"),
        ({"item": [1, 2], "t": [["a"], [3]]}, {"tags": ["t"]}, r"column 't', row 1: \[3\] is no text"),
        ({"item": [1, 2], "k": [1.5, 2.5]}, {"categories": ["k"]}, "column 'k', row 0: 1.5 is of type float"),
        ({"item": [1, 2], "k": ["a", "b"]}, {"categories": ["k"]}, "no category and no tag is that of two rows"),
    ],
)
def test_invalid_columns_are_named(frame: Any, columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Features.from_frame(frame, ids="item", **columns)


def test_files_of_vectors(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    np.save(path, np.eye(3, dtype=np.float16))
    assert Features.from_npy(path, [1, 2, 3]).vectors.tolist() == np.eye(3).tolist()
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"vectors.npy"):
        Features.from_npy(path, [1])
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"vectors.npy"):
        Features.from_npy(path, [1])
    with pytest.raises(OSError, match="absent"):
        Features.from_npy(tmp_path / "absent.npy", [1])


def test_tensors_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.safetensors"
    save_file({"text": np.eye(3, dtype=np.float16)}, path)
    assert Features.from_safetensors(path, [1, 2, 3]) == Features([1, 2, 3], np.eye(3))
    save_file({"text": np.eye(3), "images": 2 * np.eye(2)}, path)
    assert Features.from_safetensors(path, [1, 2], "images", "seen").vectors.tolist() == [[2, 0], [0, 2]]
    for tensor, said in ((None, "name one of its tensors: images, text"), ("sound", "no tensor 'sound': images, text")):
        with pytest.raises(DataError, match=said):
            Features.from_safetensors(path, [1, 2], tensor)
    with pytest.raises(DataError, match="column 'vectors' has 2 rows"):
        Features.from_safetensors(path, [1], "images")
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"vectors\.safetensors"):
        Features.from_safetensors(path, [1])
    with pytest.raises(FileNotFoundError):
        Features.from_safetensors(tmp_path / "absent", [1])


def test_copies_are_equal() -> None:
    one = Features.from_frame(FRAME, numbers=["price"], tags=["tags"])
    for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), copy.copy(one)):
        assert other == one
        assert hash(other) == hash(one)
        assert (other.columns, other.numbers) == (("price", "tags=y"), 1)
    assert one != Features(one.ids, one.vectors, name="columns")
    assert one != FRAME
