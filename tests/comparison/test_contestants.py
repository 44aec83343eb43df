"""Models beside each other: families by name, and contestants from elsewhere, who can't know what they are asked."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from contestants import Memory

from fastmf import MF, Options, datasets, losses
from fastmf.cli import main
from fastmf.comparison import MODELS, NEVER, Budget, Contestant, Settings, compare
from fastmf.comparison.contestants import Popularity
from fastmf.errors import DataError
from fastmf.evaluation import METRICS, Log, holdout
from fastmf.interactions import Interactions
from fastmf.report import page, table, write

EVERYTHING = Budget(retrains=10_000, queries=1_000_000)


class Lists:
    """Counts events, and ranks by lists: as popularity does, ties included."""

    def __init__(self, seed=0):
        self.counts = {}

    def fit(self, events):
        self.counts = {}
        self.update(events)

    def update(self, events):
        for item in events.items.tolist():
            self.counts[item] = self.counts.get(item, 0) + 1

    def recommend(self, users, k):
        best = sorted(self.counts, key=lambda item: -self.counts[item])[:k]
        scores = [self.counts[item] for item in best]
        return np.tile(np.array(best), (len(users), 1)), np.tile(np.array(scores, float), (len(users), 1))


class Filled(Lists):
    """The same, with lists of the length asked for: what is beyond the catalogue has the score -inf."""

    def recommend(self, users, k):
        ids, scores = super().recommend(users, k)
        short = k - ids.shape[1]
        filler = "" if ids.dtype.kind == "U" else -1
        ids = np.pad(ids, ((0, 0), (0, short)), constant_values=filler)
        return ids.tolist(), np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf).tolist()


class Predicts:
    """Counts events, and says how many there were of an item."""

    def __init__(self, seed=0):
        self.inner = Lists()
        self.fit, self.update = self.inner.fit, self.inner.update

    def copy(self):
        twin = type(self)()
        twin.inner.counts = dict(self.inner.counts)
        return twin

    def predict(self, users, items):
        return [self.inner.counts.get(item, 0) for item in np.asarray(items).tolist()]


class Vectors(Predicts):
    """The same by vectors of one number."""

    @property
    def items(self):
        return list(self.inner.counts)

    def ranked_by(self, users):
        counts = np.array(list(self.inner.counts.values()), float)
        return np.ones((len(users), 1)), counts[:, None] / 2, counts / 2


KINDS = [Lists, Filled, Predicts, Vectors]


@pytest.fixture(scope="module")
def shop():
    random, size = np.random.default_rng(3), 800
    users = random.integers(0, 40, size)
    items = (users // 4 + random.geometric(0.1, size)) % 40
    return Interactions(users, items, random.integers(1, 5, size), times=np.arange(size))


@pytest.fixture(scope="module")
def telltale():
    """Every pair occurs once, and its value tells the event: who predicts one has seen it."""
    size = 400
    return Interactions(np.arange(size) % 20, np.arange(size) // 20, 1.0 + np.arange(size), times=np.arange(size))


class TestRankings:
    @pytest.mark.parametrize("repeats", [False, True])
    @pytest.mark.parametrize(
        ("metric", "kind"),
        [*((metric, Lists) for metric in METRICS[4:]), *(("auc", kind) for kind in KINDS[1:]), ("ndcg", Vectors)],
    )
    def test_all_ways_to_rank_give_what_counts_give(self, shop, metric, kind, repeats):
        """Popularity has many ties: lists are long enough to see them all."""
        settings = Settings(metric, block=0.2, seeds=1, factors=4, repeats=repeats)
        found = compare(shop, settings, build=Popular, contestants={"mine": kind}).contestants
        for mine in ("update (mine)", "full (mine)"):
            assert found[mine].by_block == pytest.approx(found["popularity"].by_block)
            assert found[mine].by_group == pytest.approx(found["popularity"].by_group)
        assert found["frozen (mine)"].by_block != found["update (mine)"].by_block or metric != "ndcg"

    @pytest.mark.parametrize("kind", KINDS)
    def test_at_cadences_too(self, shop, kind):
        settings = Settings("ndcg", seeds=1, every="5%,20%", budget=EVERYTHING)
        found = compare(shop, settings, build=Popular, contestants={"mine": kind}).cadences.strategies
        for mine in ("update (mine) every 5%", "retrain (mine) every 5%"):
            assert found[mine].value == pytest.approx(found["popularity every 5%"].value)
        assert found["update (mine) every 5%, retrain every 20%"].value == pytest.approx(
            found["popularity every 5%"].value
        )
        assert found["never updated (mine)"].value != found["update (mine) every 5%"].value
        assert {one.model for one in found.values()} == {None, "mine"}
        assert "warm (mine) every 5%" not in found

    @pytest.mark.parametrize("kind", KINDS)
    def test_many_users_are_asked_in_parts(self, shop, kind, monkeypatch):
        settings = Settings("auc", block=0.2, seeds=1, factors=4)
        whole = compare(shop, settings, build=Popular, contestants={"mine": kind}).contestants["update (mine)"]
        monkeypatch.setattr("fastmf.evaluation.ranked.AT_ONCE", 130)
        parts = compare(shop, settings, build=Popular, contestants={"mine": kind}).contestants["update (mine)"]
        assert parts.by_block == whole.by_block

    @pytest.mark.parametrize("kind", KINDS)
    def test_text_ids(self, shop, kind):
        text = Interactions(shop.users.astype(str), shop.items.astype(str), shop.values, shop.times)
        settings = Settings("ndcg", block=0.2, seeds=1, factors=4)
        one, other = (
            compare(log, settings, build=Popular, contestants={"mine": kind}).contestants["update (mine)"].value
            for log in (shop, text)
        )
        assert one == pytest.approx(other)

    @pytest.mark.parametrize("repeats", [False, True])
    def test_a_list_with_one_score_finds_nothing(self, shop, repeats):
        """Nor where no list is longer than it would be for a user who had nothing."""

        class Flat(Lists):
            def recommend(self, users, k):
                ids, scores = super().recommend(users, k)
                return ids, np.ones_like(scores)

        settings = Settings("recall", block=0.2, seeds=1, repeats=repeats)
        found = compare(shop, settings, build=Popular, contestants={"flat": Flat})
        assert found.contestants["update (flat)"].value == 0.0

    def test_what_a_list_lacks_is_not_found_and_what_nobody_knows_is_ranked(self):
        whole = Log.of(Interactions([1, 1, 2, 2, 2], [10, 20, 30, 10, 20]))
        past, later = whole.part(slice(0, 3)), whole.part(slice(3, 5))

        class Odd:
            def recommend(self, users, k):
                assert (users.tolist(), k) == ([2], 13)
                return [[99, 30, 20]], [[3, 2, 1]]

        assert holdout(past, later, "recall").sums(Odd()).value() == 0.5
        assert holdout(past, later, "mrr").sums(Odd()).value() == 0.5  # 99, then 20: 30 is left out


class Popular(Popularity):
    """Popularity as the first model, for a replay by blocks."""

    def __init__(self, seed=0):
        super().__init__()

    def fit(self, events, epochs=1, progress=None):
        self.update(events)
        return self

    def update(self, events, recipe=None, **overrides):
        return _Moved(super().update(events))

    def copy(self):
        twin = type(self)()
        twin.items, twin._counts = self.items.copy(), self._counts.copy()
        return twin


class _Moved(int):
    @property
    def rows_moved(self):
        return int(self)


class Prying(Memory):
    """Looks for the rest of the log in the memory that the arrays of events are parts of."""

    def update(self, events):
        columns = []
        for name in ("users", "items", "values"):
            array = getattr(events, name)
            while isinstance(array.base, np.ndarray):
                array = array.base
            columns.append(array)
        super().update(events)
        self.known |= dict(zip(zip(*columns[:2], strict=True), columns[2], strict=True))


class Ahead(Memory):
    """Has the log from elsewhere, and is one event ahead."""

    def update(self, events):
        super().update(events)
        place = int(max(self.known.values()))  # the position of the next event: values are positions + 1
        if place < 400:
            self.known[place % 20, place // 20] = place + 1.0


class TestNobodyKnowsTheAnswer:
    @pytest.fixture(scope="class")
    @classmethod
    def asked(cls, telltale):
        guests = {"honest": Memory, "prying": Prying, "ahead": Ahead}
        blocks = compare(telltale, Settings(block=0.1, seeds=1, factors=2), contestants=guests).contestants
        settings = Settings(seeds=1, every="10%", factors=2, budget=EVERYTHING)
        cadences = compare(telltale, settings, contestants=guests).cadences.strategies
        return blocks, cadences

    def test_slices_lead_to_the_whole_log(self, telltale):
        model = Prying()
        model.update(telltale[:10])
        assert len(model.known) == 400  # handed slices, it would know everything

    @pytest.mark.parametrize("name", ["honest", "prying"])
    def test_what_is_asked_has_not_been_handed(self, asked, telltale, name):
        blocks, cadences = asked
        for kind in ("frozen", "update", "full"):
            one = blocks[f"{kind} ({name})"]
            assert one.value == pytest.approx(np.sqrt(np.mean(telltale.values[240:] ** 2.0)))
        for one in (f"never updated ({name})", f"update ({name}) every 10%", f"retrain ({name}) every 10%"):
            assert cadences[one].value == pytest.approx(np.sqrt(np.mean(telltale.values[200:] ** 2.0)))

    def test_one_event_ahead_is_seen(self, asked):
        blocks, cadences = asked
        squares = np.arange(201, 401) ** 2.0
        squares[::40] = 0
        assert cadences["update (ahead) every 10%"].value == pytest.approx(np.sqrt(squares.mean()))
        assert blocks["update (ahead)"].value == pytest.approx(np.sqrt(squares[40:].mean()))
        assert blocks["update (ahead)"].value < blocks["update (honest)"].value

    def test_rankings_are_asked_for_users_and_whole_catalogues(self, shop):
        told = []

        class Told(Predicts):
            def predict(self, users, items):
                told.append((len(np.unique(items)) * len(np.unique(users)), len(users)))
                assert set(np.unique(items)) == set(self.inner.counts)
                return super().predict(users, items)

        compare(shop, Settings("ndcg", seeds=1, every="10%"), build=Popular, contestants={"told": Told})
        assert told
        assert all(product == asked for product, asked in told)

    def test_the_same_events_at_the_same_moments(self, shop):
        sizes = []

        class Told(Lists):
            def update(self, events):
                sizes.append(len(events))
                super().update(events)

            def fit(self, events):
                sizes.append(-len(events))
                self.counts = {}

        compare(shop, Settings("ndcg", block=0.1, seeds=1), build=Popular, contestants={"told": Told})
        assert sizes[:3] == [-360, 40, -400]  # once before the clock starts, and the first model
        assert sorted(sizes[3:]) == sorted([80, -480, 80, -560, 80, -640, 80, -720])


class TestModels:
    @pytest.fixture(scope="class")
    @classmethod
    def ranked(cls):
        return datasets.synthetic(events=1_500, users=80, items=100, seed=2)

    @pytest.mark.parametrize("every", [None, "10%"])
    def test_each_is_what_it_is_alone(self, ranked, every):
        settings = Settings("ndcg", block=0.1, seeds=1, factors=4, every=every)

        def alone(loss):
            build = None if loss is None else lambda seed: MF(4, loss=loss, seed=seed, options=Options(threads=1))
            return compare(ranked, settings, build=build)

        both = compare(ranked, settings._replace(models="als,warp"), contestants={"pop": Lists})
        assert both.models == ["als", "warp", "pop"]
        for one, suffix in ((alone(None), ""), (alone(losses.WARP()), " (warp)")):
            for kind in ("frozen", "update", "warm", "full"):
                mine, theirs = both.contestants[kind + suffix], one.contestants[kind]
                assert (mine.value, mine.recovery, mine.by_group) == (theirs.value, theirs.recovery, theirs.by_group)
                assert mine.difference_interval == theirs.difference_interval
                assert mine.rows_moved == theirs.rows_moved
        assert "warm (pop)" not in both.contestants
        if every:
            names = list(both.cadences.strategies)
            assert names[0] == NEVER
            assert "update (warp) every 10%" in names
            assert both.cadences.advice.chosen in names

    @pytest.mark.parametrize("every", [None, "10%"])
    def test_reports(self, ranked, every, tmp_path):
        settings = Settings("ndcg", block=0.1, seeds=1, factors=4, every=every, models="als,bpr")
        result = compare(ranked, settings, "a log", contestants={"a <b>": Lists})
        text, html = table(result), page(result)
        assert max(map(len, text.splitlines()[2:-1])) <= 120
        assert "update (bpr)" in text
        assert "update (a &lt;b&gt;)" in html
        assert "(a <b>)" not in html
        assert not re.search(r"var\(--[a-z]* \(", html)
        assert "its own retraining" in html
        read = json.loads(write(result, tmp_path).with_name("compare.json").read_text())
        assert read["models"] == ["als", "bpr", "a <b>"]
        assert {"frozen", "update", "warm", "full", "popularity", "update (bpr)"} <= set(read["contestants"])

    def test_a_model_of_other_settings_is_a_contestant(self, ranked):
        def more(seed):
            return MF(8, loss=losses.Confidence(), seed=seed, options=Options(threads=1))

        settings = Settings("ndcg", block=0.2, seeds=1, factors=4)
        found = compare(ranked, settings, contestants={"more factors": more}).contestants
        assert (
            found["update (more factors)"].value
            == compare(ranked, settings._replace(factors=8)).contestants["update"].value
        )
        assert found["warm (more factors)"].rows_moved > 0

    @pytest.mark.parametrize("name", MODELS)
    def test_every_family_runs(self, ranked, name):
        found = compare(ranked, Settings("ndcg", block=0.25, seeds=1, factors=4, models=name))
        assert found.models == [name]
        assert 0 < found.contestants["update"].value < 1

    def test_on_the_command_line(self, shop, tmp_path, capsys):
        path = tmp_path / "log.csv"
        np.savetxt(
            path, np.stack([shop.users, shop.items], 1), fmt="%d", delimiter=",", header="user,item", comments=""
        )
        command = ["compare", "--data", str(path), "--seeds", "1", "--factors", "4", "--block", "0.2"]
        assert main([*command, "--models", "bpr,als", "--out", str(tmp_path)]) == 0
        read = json.loads((tmp_path / "compare.json").read_text())
        assert read["models"] == ["bpr", "als"]
        assert "Of the models updated, " in capsys.readouterr().out
        assert main([*command, "--models", "als,svd", "--out", str(tmp_path)]) == 2
        assert capsys.readouterr().err == "fastmf: models: 'svd' is none of als, warp, bpr, softmax\n"


class TestErrors:
    @pytest.mark.parametrize(
        ("models", "guests", "metric", "message"),
        [
            ("als,als", {}, "ndcg", "models: als occurs twice"),
            ("als", {}, "rmse", "models: 'als' rank items, and rmse compares values"),
            ("als,warp", {"warp": Lists}, "ndcg", "contestants: 'warp' is a model that is compared already"),
            (None, {"": Lists}, "ndcg", "contestants: '' is no name"),
            (None, {"mine": 3}, "ndcg", "contestants: 'mine' is 3, not a function"),
            (None, {"mine": Lists}, "rmse", "contestants: 'mine' has no method predict"),
            (
                None,
                {"mine": lambda seed: object()},
                "ndcg",
                "contestants: 'mine' has no method fit and no method update",
            ),
        ],
    )
    def test_before_anything_takes_time(self, shop, models, guests, metric, message):
        with pytest.raises(DataError, match=re.escape(message)):
            compare(shop, Settings(metric, models=models), contestants=guests)

    def test_models_and_build(self, shop):
        with pytest.raises(DataError, match="give them or build, not both"):
            compare(shop, Settings("ndcg", models="als"), build=Popular)

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ([1, 2], r"returned list, not \(ids, scores\)"),
            (([[1, 2]], [[1.0, 2.0]]), "one row for each of 2 users"),
            (([[1], [2]], [[1.0, 2.0], [3.0, 4.0]]), r"scores of shape \(2, 2\), not \(2, 1\)"),
            (([[1], [2]], [[1.0], [np.nan]]), "a score that is NaN"),
            (([["a"], ["b"]], [[1.0], [2.0]]), "returned <U1 ids"),
            (([[1.0], [2.0]], [[1.0], [2.0]]), "returned float64 ids"),
        ],
    )
    def test_malformed_lists(self, answer, message):
        class Odd:
            def recommend(self, users, k):
                return answer

        log = Log.of(Interactions([1, 2], [10, 20]))
        with pytest.raises(DataError, match=f"Odd.recommend .*{message}"):
            holdout(log.part(slice(0, 0)), log, "ndcg").sums(Odd())

    def test_malformed_vectors_and_nothing_at_all(self):
        class Odd:
            items = (10, 20)

            def ranked_by(self, users):
                return np.ones((len(users), 2)), np.ones((3, 2)), np.zeros(3)

        log = Log.of(Interactions([1, 2], [10, 20]))
        held_out = holdout(log.part(slice(0, 0)), log, "ndcg")
        with pytest.raises(DataError, match="2 queries and 3 items, for 2 users and 2 ids"):
            held_out.sums(Odd())
        with pytest.raises(DataError, match="object ranks nothing"):
            held_out.sums(object())


def test_the_protocol_is_what_type_checkers_read():
    model: Contestant = Lists()
    assert callable(model.update)
