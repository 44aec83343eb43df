"""A pre-trained model of another tool scores as it did there. Stand-ins carry what those tools document."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmf import Interactions, integrations, losses
from fastmf.errors import DataError, DataWarning, NotFittedError
from fastmf.integrations import (
    from_implicit,
    from_lightfm,
    from_npz,
    from_safetensors,
    from_surprise,
    from_torch,
)

USERS, ITEMS, FACTORS = 7, 5, 3
NAMES = np.array(["ann", "bob", "cem", "dua", "eve", "fay", "gus"], dtype=object)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {
        "user_factors": (USERS, FACTORS),
        "item_factors": (ITEMS, FACTORS),
        "user_biases": (USERS,),
        "item_biases": (ITEMS,),
    }
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def scores(
    user_factors: np.ndarray,
    item_factors: np.ndarray,
    user_biases: Any = 0.0,
    item_biases: Any = 0.0,
    global_mean: float = 0.0,
) -> np.ndarray:
    """Every user's score for every item, in float64."""
    product = np.asarray(user_factors, float) @ np.asarray(item_factors, float).T
    return global_mean + np.reshape(user_biases, (-1, 1)) + np.asarray(item_biases) + product


def check(model: Any, expected: np.ndarray, users: Any = None, items: Any = None) -> None:
    """The model's predictions for all pairs, asked for by id, are the expected matrix."""
    users = np.arange(expected.shape[0]) if users is None else np.asarray(users)
    items = np.arange(expected.shape[1]) if items is None else np.asarray(items)
    found = model.predict(np.repeat(users, len(items)), np.tile(items, len(users)), clip=False)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-5, atol=1e-5)


# Files of arrays


@pytest.fixture(params=["npz", "safetensors"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Callable[..., Any], Any]]:
    """A reader, and what writes the arrays it reads."""
    path = tmp_path / f"vectors.{request.param}"

    def save(**parts: Any) -> Path:
        if request.param == "npz":
            np.savez(path, **parts)
        else:
            from safetensors.numpy import save_file

            save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, path)
        return path

    return (from_npz if request.param == "npz" else from_safetensors), save


def test_file_with_every_part(write, arrays):
    load, save = write
    users, items = np.arange(USERS) * 10, np.arange(ITEMS) - 2
    path = save(**arrays, global_mean=np.float64(3.5), users=users, items=items)
    check(load(path), scores(**arrays, global_mean=3.5), users, items)
    check(load(str(path), users=NAMES), scores(**arrays, global_mean=3.5), NAMES, items)


def test_file_with_factors_only_numbers_the_rows(write, arrays):
    load, save = write
    factors = {name: arrays[name].astype(np.float64) for name in ("user_factors", "item_factors")}
    check(load(save(**factors)), scores(**factors))


def test_file_with_other_names(write, arrays):
    load, save = write
    path = save(P=arrays["user_factors"], Q=arrays["item_factors"], b=arrays["user_biases"], mean=np.ones(1))
    names = {"user_factors": "P", "item_factors": "Q", "user_biases": "b", "global_mean": "mean"}
    arrays.pop("item_biases")
    check(load(path, names), scores(**arrays, global_mean=1.0))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"user_factors": "P"}, "has no array 'P' for user_factors; it holds .*item_factors"),
        ({"user_biases": "b"}, "has no array 'b' for user_biases"),
        ({"biases": "b"}, "'biases' is no part of a model"),
        ({"global_mean": "user_biases"}, "global_mean: expected one number"),
    ],
)
def test_file_without_what_was_named(write, arrays, names, message):
    load, save = write
    with pytest.raises(DataError, match=message):
        load(save(**arrays), names)


def test_file_with_bad_arrays(write, arrays):
    load, save = write
    with pytest.raises(DataError, match="users"):
        load(save(**arrays), users=[1, 2])
    with pytest.raises(DataError, match="item_factors"):
        load(save(**{**arrays, "item_factors": arrays["item_factors"][:, 1:]}))
    arrays["user_biases"][4] = np.nan
    with pytest.raises(DataError, match="user_biases"):
        load(save(**arrays))


def test_damaged_file(write, arrays):
    load, save = write
    path = save(**arrays)
    whole = path.read_bytes()
    for damaged in (b"", b"no such format at all", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="vectors"):
            load(path)
    with pytest.raises(FileNotFoundError):
        load(path.with_name("absent"))


def test_npz_holds_str_ids_and_is_never_unpickled(arrays, tmp_path):
    path = tmp_path / "vectors.npz"
    np.savez(path, **arrays, users=NAMES.astype("U"))
    check(from_npz(path), scores(**arrays), NAMES)
    np.savez(path, **arrays, users=NAMES)  # an object array: pickled
    with pytest.raises(DataError, match="'users' cannot be read"):
        from_npz(path)
    np.save(tmp_path / "single.npy", arrays["user_factors"])
    with pytest.raises(DataError, match="single array"):
        from_npz(tmp_path / "single.npy")


def test_bfloat16_safetensors_are_refused_by_name(tmp_path):
    path = tmp_path / "vectors.safetensors"
    header = b'{"user_factors":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f")
    with pytest.raises(DataError, match=r"'user_factors' cannot be read: .*bfloat16"):
        from_safetensors(path)


# implicit


def column(values: Any) -> np.ndarray:
    return np.reshape(values, (-1, 1)).astype(np.float32)


def implicit_model(kind: str, parts: dict[str, np.ndarray], gpu: bool = False) -> SimpleNamespace:
    """What implicit.als, .bpr and .lmf leave behind: biases are columns against ones on the other side."""
    p, q = parts["user_factors"], parts["item_factors"]
    if kind == "bpr":
        p, q = np.hstack([p, column(np.ones(USERS))]), np.hstack([q, column(parts["item_biases"])])
    if kind == "lmf":
        p = np.hstack([p, column(np.ones(USERS)), column(parts["user_biases"])])
        q = np.hstack([q, column(parts["item_biases"]), column(np.ones(ITEMS))])
    if gpu:
        return SimpleNamespace(factors=FACTORS, user_factors=OnGPU(p), item_factors=OnGPU(q))
    return SimpleNamespace(factors=FACTORS, user_factors=p, item_factors=q)


class OnGPU:
    """As implicit.gpu.Matrix: no array interface, only a copy to the host."""

    def __init__(self, values: np.ndarray) -> None:
        self.to_numpy = values.copy


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize(("kind", "biases"), [("als", ()), ("bpr", ("item",)), ("lmf", ("user", "item"))])
def test_implicit(arrays, kind, biases, gpu):
    source = implicit_model(kind, arrays, gpu)
    with told_of_no_history(kind):
        model = from_implicit(source, users=NAMES)
    for side in ("user", "item"):
        expected = arrays[f"{side}_biases"] if side in biases else np.zeros_like(arrays[f"{side}_biases"])
        np.testing.assert_array_equal(getattr(model, f"{side}_biases"), expected)
        np.testing.assert_array_equal(getattr(model, f"{side}_factors"), arrays[f"{side}_factors"])
    dense = implicit_model(kind, arrays)
    expected = scores(dense.user_factors, dense.item_factors)
    check(model, expected if kind != "lmf" else 1.0 / (1.0 + np.exp(-expected)), NAMES)
    assert type(model.loss) is {"als": losses.Confidence, "bpr": losses.BPR, "lmf": losses.Logistic}[kind]


def told_of_no_history(kind: str) -> Any:
    """What solves rows from their events says that there are none."""
    return pytest.warns(DataWarning, match="pass history=") if kind == "als" else nullcontext()


def test_implicit_with_its_settings_and_its_events(arrays):
    source = implicit_model("als", arrays)
    source.alpha, source.regularization = 2.0, 0.3
    events = Interactions(["bob", "ann", "bob"], [1, 2, 3])
    model = from_implicit(source, users=NAMES, history=events)
    assert (model.loss.alpha, model.solver.nu, model.regularizer.weight) == (2.0, 0, 0.3)
    assert model.version == 0
    np.testing.assert_array_equal(model.user_factors, arrays["user_factors"])
    assert not {1, 3} & set(model.recommend(["bob"], k=ITEMS).ids[0].tolist())
    plain = from_implicit(source, users=NAMES, history=events[:1])
    for one in (model, plain):
        one.update(Interactions(["bob"], [0]), trainable="users")
    assert not np.allclose(model.user_factors[1], plain.user_factors[1], atol=0.01)  # the past counts


@pytest.mark.parametrize(
    ("history", "told"),
    [
        (Interactions(["bob", "nobody"], [1, 2]), r"history, users, row 1: 'nobody' has no factors"),
        (Interactions(["bob"], [99]), r"history, items, row 0: 99 has no factors"),
        ([("bob", 1)], r"history must be fastmf.Interactions, got list"),
    ],
)
def test_a_history_of_others_is_refused(arrays, history, told):
    with pytest.raises(DataError, match=told):
        from_implicit(implicit_model("bpr", arrays), users=NAMES, history=history)


def test_implicit_keeps_columns_that_are_no_ones(arrays):
    source = implicit_model("als", arrays)
    for factors in (FACTORS - 1, FACTORS - 2):  # as wide as BPR or logistic factors, but not made by them
        source.factors = factors
        with told_of_no_history("als"):
            model = from_implicit(source)
        assert model.user_factors.shape == (USERS, FACTORS)
        check(model, scores(source.user_factors, source.item_factors))


def test_implicit_unfitted():
    with pytest.raises(NotFittedError, match="has no user_factors"):
        from_implicit(SimpleNamespace(factors=3, user_factors=None, item_factors=None))


# lightfm


class LightFM:
    """As lightfm.LightFM: one embedding and one bias a feature; without features a row is a feature."""

    def __init__(self, user_factors, item_factors, user_biases, item_biases):
        self.user_embeddings, self.item_embeddings = user_factors, item_factors
        self.user_biases, self.item_biases = user_biases, item_biases

    def get_user_representations(self, features=None):
        identity = np.eye(len(self.user_biases), dtype=np.float32) if features is None else features
        return identity @ self.user_biases, identity @ self.user_embeddings

    def get_item_representations(self, features=None):
        identity = np.eye(len(self.item_biases), dtype=np.float32) if features is None else features
        return identity @ self.item_biases, identity @ self.item_embeddings


def test_lightfm(arrays):
    check(from_lightfm(LightFM(**arrays), items=[5, 6, 7, 8, 9]), scores(**arrays), items=[5, 6, 7, 8, 9])


def test_lightfm_with_features(arrays):
    features = np.random.default_rng(1).random((4, USERS), dtype=np.float32)  # four users of seven features
    p, b = features @ arrays["user_factors"], features @ arrays["user_biases"]
    model = from_lightfm(LightFM(**arrays), users=NAMES[:4], user_features=features)
    check(model, scores(p, arrays["item_factors"], b, arrays["item_biases"]), NAMES[:4])


def test_lightfm_unfitted():
    with pytest.raises(NotFittedError, match="has no user_embeddings"):
        from_lightfm(LightFM(None, None, None, None))


# surprise


def surprise_algo(parts: dict[str, np.ndarray], users: list[Any], items: list[Any]) -> SimpleNamespace:
    """What surprise.SVD leaves behind, in float64 as there."""
    trainset = SimpleNamespace(global_mean=3.5, to_raw_uid=users.__getitem__, to_raw_iid=items.__getitem__)
    p, q, b, c = (part.astype(np.float64) for part in parts.values())
    return SimpleNamespace(pu=p, qi=q, bu=b, bi=c, biased=True, trainset=trainset)


@pytest.mark.parametrize("users", [list(NAMES), [3, -1, 4, 1, 5, 9, 2], list(np.arange(USERS))])
def test_surprise(arrays, users):
    items = ["10", "20", "30", "40", "50"]
    algo = surprise_algo(arrays, users, items)
    check(from_surprise(algo), scores(**arrays, global_mean=3.5), users, items)
    algo.biased, algo.bu, algo.bi = False, np.zeros(USERS), np.zeros(ITEMS)
    model = from_surprise(algo)
    check(model, scores(algo.pu, algo.qi), users, items)
    assert not model.biases  # and none will be learned


def test_surprise_svdpp(arrays):
    algo = surprise_algo(arrays, list(NAMES), [*range(ITEMS)])
    del algo.biased  # SVD++ always has biases
    algo.yj = np.random.default_rng(2).normal(size=(ITEMS, FACTORS))
    algo.trainset.ur = {user: [(item, 4.0) for item in range(1 + user % ITEMS)] for user in range(USERS)}
    for user, rated in algo.trainset.ur.items():
        arrays["user_factors"][user] += sum(algo.yj[item] for item, _ in rated) / np.sqrt(len(rated))
    check(from_surprise(algo), scores(**arrays, global_mean=3.5), NAMES)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([1, "2", 3, 4, 5, 6, 7], "users.*row 1: '2' is of type str"),
        (["1", 2, 3, 4, 5, 6, 7], "users.*row 1: 2 is of type int"),
        ([1, 2.5, 3, 4, 5, 6, 7], "users.*row 1: 2.5 is of type float"),
        ([True, False, 3, 4, 5, 6, 7], "users.*row 0: True is of type bool"),
        ([1, 2**70, 3, 4, 5, 6, 7], "users.*row 1: .* does not fit int64"),
    ],
)
def test_surprise_refuses_mixed_ids(arrays, users, message):
    with pytest.raises(DataError, match=message):
        from_surprise(surprise_algo(arrays, users, list(range(ITEMS))))


def test_surprise_unfitted():
    with pytest.raises(NotFittedError, match="has no pu"):
        from_surprise(SimpleNamespace(trainset=None))


# torch


class Tensor:
    """The methods asked of a torch tensor; numpy() works only on what is detached, on the host, float32."""

    def __init__(self, values: Any, state: tuple[str, ...] = ()) -> None:
        self.values, self.state = values, state

    def detach(self) -> Tensor:
        return Tensor(self.values, (*self.state, "detach"))

    def cpu(self) -> Tensor:
        return Tensor(self.values, (*self.state, "cpu"))

    def float(self) -> Tensor:
        return Tensor(np.asarray(self.values, np.float32), (*self.state, "float"))

    def numpy(self) -> Any:
        assert set(self.state) == {"detach", "cpu", "float"}
        return self.values


def test_torch_stand_in(arrays):
    p, q, b, c = arrays.values()
    embedding = SimpleNamespace(weight=Tensor(p), max_norm=None)
    model = from_torch(embedding, Tensor(q), Tensor(b), Tensor(column(c)), 2.0)
    check(model, scores(**arrays, global_mean=2.0))
    check(from_torch(Tensor(p), Tensor(q), users=NAMES), scores(p, q), NAMES)


def test_torch_refuses_what_is_no_tensor(arrays):
    with pytest.raises(DataError, match="item_embedding: expected a torch tensor or embedding, got ndarray"):
        from_torch(Tensor(arrays["user_factors"]), arrays["item_factors"])


# What is imported is a model like any other


def test_settings_are_those_of_the_model(arrays):
    model = from_lightfm(LightFM(**arrays), loss=losses.Logistic(), seed=7)
    assert model.seed == 7
    check(model, 1.0 / (1.0 + np.exp(-scores(**arrays))))  # through the link


def test_imported_model_goes_on_learning(arrays):
    model = from_implicit(implicit_model("bpr", arrays), users=NAMES)
    delta = model.update(Interactions(users=["bob", "zoe"], items=[0, 9]))
    assert (list(delta.new_users), list(delta.new_items)) == (["zoe"], [9])
    np.testing.assert_array_equal(model.user_factors[2:USERS], arrays["user_factors"][2:])
    np.testing.assert_array_equal(model.item_biases[1:ITEMS], arrays["item_biases"][1:])
    assert np.all(model.user_factors[1] != arrays["user_factors"][1])
    assert model.item_biases[0] != arrays["item_biases"][0]


# The tools themselves, where they are installed


@pytest.fixture(scope="module")
def likes() -> Any:
    """A sparse matrix in which user 3 and item 4 have no events, as real ones do."""
    sparse = pytest.importorskip("scipy.sparse")
    matrix = (np.random.default_rng(3).random((30, 20)) < 0.3).astype(np.float32)
    matrix[3], matrix[:, 4] = 0.0, 0.0
    return sparse.csr_matrix(matrix)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("als", "AlternatingLeastSquares"),
        ("bpr", "BayesianPersonalizedRanking"),
        ("lmf", "LogisticMatrixFactorization"),
    ],
)
@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
def test_real_implicit(likes, module, name):
    kind = getattr(pytest.importorskip(f"implicit.{module}"), name)
    source = kind(factors=8, iterations=5, num_threads=1, random_state=0)
    source.fit(likes, show_progress=False)
    with told_of_no_history(module):
        model = from_implicit(source)
    assert model.user_factors.shape == (30, 8)
    assert bool(np.any(model.item_biases)) == (module != "als")
    assert bool(np.any(model.user_biases)) == (module == "lmf")
    expected = np.empty((30, 20))
    for user in range(30):
        ids, found = source.recommend(user, likes[user], N=20, filter_already_liked_items=False)
        expected[user, ids] = found
    check(model, expected if module != "lmf" else 1.0 / (1.0 + np.exp(-expected)))


def test_real_lightfm(likes):
    lightfm = pytest.importorskip("lightfm")
    source = lightfm.LightFM(no_components=8, loss="bpr", random_state=0)
    users, items = np.divmod(np.arange(30 * 20), 20)
    source.fit(likes.tocoo(), epochs=3)
    check(from_lightfm(source), source.predict(users, items).reshape(30, 20))

    features = likes[:, :6].copy()
    source = lightfm.LightFM(no_components=8, loss="warp", random_state=0)
    source.fit(likes.tocoo(), user_features=features, epochs=3)
    expected = source.predict(users, items, user_features=features)
    check(from_lightfm(source, user_features=features), expected.reshape(30, 20))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("SVD", {}), ("SVD", {"biased": False}), ("SVDpp", {}), ("NMF", {}), ("NMF", {"biased": True})],
)
@pytest.mark.parametrize("kind", [int, str])
def test_real_surprise(likes, name, settings, kind):
    surprise = pytest.importorskip("surprise")
    pandas = pytest.importorskip("pandas")
    cells = likes.tocoo()
    ratings = 1 + (cells.row + cells.col) % 5
    frame = pandas.DataFrame({"u": [kind(100 + row) for row in cells.row], "i": cells.col, "r": ratings})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    algo = getattr(surprise, name)(n_factors=6, n_epochs=4, random_state=0, **settings)
    algo.fit(data.build_full_trainset())
    users, items = frame["u"].unique(), frame["i"].unique()
    expected = [[algo.predict(user, item, clip=False).est for item in items] for user in users]
    check(from_surprise(algo), np.array(expected), users, items)


def test_real_torch(arrays):
    torch = pytest.importorskip("torch")
    users = torch.nn.Embedding(USERS, FACTORS, max_norm=1.5)
    items = torch.nn.Embedding(ITEMS, FACTORS).to(torch.bfloat16)
    user_biases, item_biases = torch.nn.Embedding(USERS, 1), torch.randn(ITEMS, dtype=torch.float64)
    with torch.no_grad():
        users.weight *= 2.0
    model = from_torch(users, items, user_biases, item_biases, global_mean=2.0)
    with torch.no_grad():  # a look-up scales the rows of `users` down in place, so it comes second
        u, i = users(torch.arange(USERS)), items(torch.arange(ITEMS)).float()
        expected = 2.0 + user_biases(torch.arange(USERS)) + item_biases + u @ i.T
    assert u.norm(dim=1).max() < 1.5 + 1e-5
    check(model, expected.numpy())


# The package


def test_every_name_is_there_and_documented():
    for name in integrations.__all__:
        assert callable(getattr(integrations, name))
        assert f"``{name}``" in integrations.__doc__
        assert name in dir(integrations)
    with pytest.raises(AttributeError, match="from_nothing"):
        integrations.from_nothing  # noqa: B018


def test_no_outside_tool_is_imported():
    code = "import sys, fastmf.integrations as i; [getattr(i, n) for n in i.__all__]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "implicit", "lightfm", "surprise"} & set(loaded.split())
