"""Models of other libraries beside those of this one, where they are installed."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from fastmf import datasets
from fastmf.cli import main
from fastmf.comparison import PEERS, Settings, compare, peers_of
from fastmf.comparison.peers import Implicit, LightFM, River
from fastmf.errors import DataError, MissingExtraError
from fastmf.interactions import Interactions

MISSING = [name for name in PEERS if find_spec(name) is None]
METRIC = {"river": "rmse", "implicit": "ndcg", "lightfm": "ndcg"}
PACKAGE = {"lightfm": "rectools-lightfm"}


@pytest.fixture(scope="module")
def log():
    return datasets.synthetic(events=1_500, users=80, items=100, seed=2)


@pytest.mark.parametrize(
    ("text", "metric", "message"),
    [
        ("surprise", "rmse", "peers: 'surprise' is none of river, implicit, lightfm"),
        ("river", "ndcg", "peers: river predicts values, and ndcg ranks items"),
        ("implicit", "rmse", "peers: implicit ranks items, and rmse compares values"),
    ],
)
def test_names_are_checked(text, metric, message):
    with pytest.raises(DataError, match=message):
        peers_of(text, metric, 8)


@pytest.mark.parametrize("name", PEERS)
def test_a_library_that_is_not_there(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("fastmf.comparison.peers.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=f"{name} is not installed: pip install {PACKAGE.get(name, name)}"):
        peers_of(name, METRIC[name], 8)
    assert main(["compare", "synthetic", "--metric", METRIC[name], "--peers", name, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"fastmf: peers: {name} is not installed: pip install {PACKAGE.get(name, name)}\n"


@pytest.mark.parametrize("every", [[], ["--every", "10%,20%"]])
@pytest.mark.parametrize("name", PEERS)
def test_command_line(name, every, log, tmp_path):
    pytest.importorskip(name)
    path = tmp_path / "log.csv"
    rows = np.stack([log.users, log.items, log.values], axis=1)
    np.savetxt(path, rows, fmt="%d", delimiter=",", header="user,item,value", comments="")
    command = ["compare", "--data", str(path), "--value", "value", "--seeds", "1", "--factors", "4", "--block", "0.1"]
    assert main([*command, *every, "--metric", METRIC[name], "--peers", name, "--out", str(tmp_path)]) == 0
    read = json.loads((tmp_path / "compare.json").read_text())
    assert read["models"] == ["default", name]
    assert (read["contestants"][f"update ({name})"]["rows_moved"] > 0) == (name != "lightfm")
    assert read["contestants"][f"full ({name})"]["value"] > 0


def test_river_learns_each_event_once(log):
    reco = pytest.importorskip("river.reco")
    mine, theirs = River(4, 0), reco.BiasedMF(n_factors=4, seed=0)
    mine.fit(log[:1_000])
    mine.update(log[1_000:1_200])
    for user, item, value in zip(log.users[:1_200], log.items[:1_200], log.values[:1_200], strict=True):
        theirs.learn_one(int(user), int(item), float(value))
    asked = log[1_200:1_300]
    wanted = [theirs.predict_one(int(user), int(item)) for user, item in zip(asked.users, asked.items, strict=True)]
    assert mine.predict(asked.users, asked.items) == pytest.approx(np.array(wanted), rel=1e-5)


class TestImplicit:
    @staticmethod
    def solved(vectors, pairs, confidence, regularization):
        """The row of least squares over all rows of the other side, with target 1 for pairs that occur."""
        weights, target = np.ones(len(vectors)), np.zeros(len(vectors))
        weights[pairs], target[pairs] = confidence, 1
        gram = vectors.T @ (weights[:, None] * vectors) + regularization * np.eye(vectors.shape[1])
        return np.linalg.solve(gram, vectors.T @ (weights * target))

    def test_an_update_solves_users_and_then_items_from_their_history(self, log):
        pytest.importorskip("implicit")
        again = Interactions(log.users[:40], log.items[:40], log.values[:40])  # pairs that occur twice
        new = Interactions([10_000, 10_000], [int(log.items[0]), 20_000], [2.0, 3.0])
        model = Implicit(4, 0, regularization=0.1)
        model.fit(log)
        before = model.ranked_by(log.users[:1])[1].astype(float)
        for batch in (again, new):
            model.update(batch)
            if batch is again:
                theirs = log.users == log.users[0]
                items, totals = log.items[theirs].tolist(), log.values[theirs].astype(float)
                totals[[items.index(item) for item in again.items[again.users == log.users[0]]]] *= 2
                wanted = self.solved(before, model.items.rows(np.array(items)), 1 + totals, 0.1)
                assert model.ranked_by(log.users[:1])[0][0] == pytest.approx(wanted, abs=1e-4)
        queries, items, _ = model.ranked_by(np.array([10_000, 30_000]))
        assert len(items) == len(model.items) == np.unique(log.items).size + 1
        assert not queries[1].any()
        assert queries[0].any()
        everyone = np.append(np.unique(log.users), 10_000)
        vectors = model.ranked_by(everyone)[0].astype(float)
        assert items[model.items.row_of(20_000)] == pytest.approx(self.solved(vectors, [-1], 4.0, 0.1), abs=1e-4)


@pytest.mark.parametrize("name", ["implicit", "lightfm"])
def test_rankings_are_better_than_nothing(name, log):
    pytest.importorskip(name)
    settings = Settings("ndcg", block=0.1, seeds=1, factors=8)
    found = compare(log, settings, contestants=peers_of(name, "ndcg", 8)).contestants
    assert found[f"update ({name})"].value > 0.5 * found["popularity"].value


def test_lightfm_goes_over_what_is_new_and_starts_new_rows(log):
    lightfm, sparse = pytest.importorskip("lightfm"), pytest.importorskip("scipy.sparse")
    theirs, mine = lightfm.LightFM(4, loss="warp", random_state=0), LightFM(4, 0, epochs=3)
    mine.fit(log)
    users, items = np.unique(log.users), mine.items
    order = list(dict.fromkeys(log.users.tolist()))
    pairs = [order.index(user) for user in log.users.tolist()], items.rows(log.items)
    theirs.fit_partial(sparse.coo_matrix((np.ones(len(log), np.float32), pairs)), epochs=3, num_threads=1)
    np.testing.assert_array_equal(mine.ranked_by(np.array(order))[0], theirs.user_embeddings)
    np.testing.assert_array_equal(mine.ranked_by(users)[2], theirs.item_biases)
    before = mine.ranked_by(users)[0]
    someone = users[3]
    mine.update(Interactions([someone, 10_000], [20_000, int(log.items[0])], [1.0, 1.0]))
    queries, vectors, added = mine.ranked_by(users)
    assert len(vectors) == len(added) == len(items) == np.unique(log.items).size + 1
    moved = (queries != before).any(axis=1)
    assert not moved[users != someone].any()
    assert mine.ranked_by(np.array([10_000]))[0].any()
    assert not mine.ranked_by(np.array([30_000]))[0].any()
