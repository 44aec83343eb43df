"""What was taken before may be asked again: evaluations, replays by blocks and by cadences, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from contestants import Counts, ndcg

from fastmf import metrics
from fastmf.cli import main
from fastmf.comparison import Budget, Settings, compare
from fastmf.comparison.contestants import Popularity
from fastmf.comparison.prequential import hold_out_old
from fastmf.comparison.replay import Stream
from fastmf.errors import DataError
from fastmf.evaluation import METRICS, Log, evaluate
from fastmf.interactions import Interactions
from fastmf.report import page, table

EVERYTHING = Budget(retrains=10_000, queries=1_000_000)


@pytest.fixture(scope="module")
def shop():
    """Users who take a few things again and again; some events are returns, which have no positive value."""
    random, size = np.random.default_rng(3), 800
    users = random.integers(0, 25, size)
    items = (users * 3 + random.geometric(0.25, size)) % 40
    values = np.where(random.random(size) < 0.1, 0.0, random.integers(1, 5, size))
    return Interactions(users, items, values, times=np.arange(size))


def asked_of(events):
    """Item, and value of its last event, of everything taken in a piece, by user."""
    wanted = {}
    for user, item, value in zip(events.users, events.items, events.values, strict=True):
        wanted.setdefault(user, {})[item] = float(value)
    return {
        user: {item: value for item, value in theirs.items() if value > 0}
        for user, theirs in wanted.items()
        if any(value > 0 for value in theirs.values())
    }


def naive(counts, piece, past=None):
    """NDCG@10 of each user with events in a piece; without what is in the past, if that is given."""
    values = []
    for user, theirs in sorted(asked_of(piece).items()):
        seen = [] if past is None else past.items[past.users == user]
        theirs = {item: value for item, value in theirs.items() if item not in seen}
        if theirs:
            items, gains = np.array(list(theirs)), np.array(list(theirs.values()))
            catalogue = np.unique(np.concatenate([counts.items.values, items]))
            rows = counts.items.rows(catalogue)
            scores = np.where(rows >= 0, counts.item_biases[rows], -np.inf)
            scores[np.isin(catalogue, seen)] = -np.inf
            values.append(ndcg(scores, np.searchsorted(catalogue, items), gains))
    return values


class TestEvaluate:
    def test_by_hand(self):
        past = Interactions([1, 1, 2, 3], [10, 20, 10, 30])
        popular = Popularity.of(past)  # 10 twice; then 20 and 30, once each
        later = Interactions([1, 2, 2], [10, 20, 30])
        assert evaluate(popular, later, "mrr", past, exclude_seen=False).value == pytest.approx((1 + 1 / 2) / 2)
        assert evaluate(popular, later, "mrr", past).value == pytest.approx(1)  # only 2 is asked, without 10

    @pytest.mark.parametrize("exclude_seen", [True, False])
    def test_ndcg_of_a_naive_count(self, shop, exclude_seen):
        past, later, counts = shop[:600], shop[600:], Counts()
        counts.update(past)
        wanted = naive(counts, later, past if exclude_seen else None)
        found = evaluate(counts, later, "ndcg", past, exclude_seen=exclude_seen)
        assert found.value == pytest.approx(np.mean(wanted))
        assert len(naive(counts, later)) == 25 > len(naive(counts, later, past))

    @pytest.mark.parametrize("metric", METRICS[4:])
    def test_every_metric_ranks_the_whole_catalogue(self, shop, metric):
        past, later, counts = shop[:600], shop[600:], Counts()
        counts.update(past)
        values = []
        for theirs in asked_of(later).values():
            rows = counts.items.rows(np.array(list(theirs)))
            scores = np.append(counts.item_biases, np.full((rows < 0).sum(), -np.inf))
            columns = np.where(rows < 0, scores.size - np.cumsum(rows < 0), rows)
            more = () if metric == "auc" else (5,)
            gains = np.array(list(theirs.values()))
            order = np.argsort(gains, kind="stable")  # of equal scores, the least relevant comes first
            zeros = np.zeros(rows.size, int)
            values.append(getattr(metrics, metric)(scores[None], zeros, columns[order], gains[order], *more))
        found = evaluate(counts, later, metric, past, k=5, exclude_seen=False)
        assert found.value == pytest.approx(np.mean(values))

    def test_without_a_past_nothing_is_excluded_anyway(self, shop):
        counts = Counts()
        counts.update(shop)
        one, other = (evaluate(counts, shop, "recall", exclude_seen=flag).value for flag in (True, False))
        assert one == other

    def test_groups_keep_their_meaning(self, shop):
        past, later, counts = shop[:600], shop[600:], Counts()
        counts.update(past)
        found = evaluate(counts, later, "ndcg", past, exclude_seen=False)
        assert found.shares["returning-user"] == pytest.approx(1)
        assert found.by_group["returning-user"] == found.value

    def test_a_flag_is_true_or_false(self, shop):
        with pytest.raises(ValueError, match="exclude_seen must be True or False, got 'no'"):
            evaluate(Counts(), shop, "ndcg", exclude_seen="no")


class Copied(Counts):
    """Counts, for a replay by blocks."""

    def fit(self, events, epochs=1, progress=None):
        self.update(events)
        return self

    def update(self, events, recipe=None, **overrides):
        super().update(events)
        return self

    rows_moved = 0

    def copy(self):
        twin = type(self)()
        twin.items, twin.counts = self.items.copy(), self.counts.copy()
        return twin


class TestReplays:
    def test_by_blocks(self, shop):
        result = compare(shop, Settings("ndcg", block=0.1, seeds=1, repeats=True), build=Copied)
        stream, blocks = Stream.of(shop, 0.1), []
        for step in range(stream.steps):
            counts = Counts()
            counts.update(stream.past(step))
            blocks.append(naive(counts, stream.block(step + 1)))
        wanted = [np.mean(values) for values in blocks]
        for name in ("update", "full", "popularity"):
            assert result.contestants[name].by_block == pytest.approx(wanted)
        assert result.contestants["update"].value == pytest.approx(np.mean(np.concatenate(blocks)))

    def test_by_cadences(self, shop):
        found = compare(shop, Settings("ndcg", seeds=1, every="5%,20%", budget=EVERYTHING, repeats=True), build=Counts)
        mask, values = hold_out_old(Log.of(shop), 400, "ndcg", 0, True)[0], []
        for start in range(400, 800, 40):
            counts = Counts()
            counts.update(shop[np.flatnonzero(~mask[:start])])
            values += naive(counts, shop[start : start + 40])
        assert found.cadences.questions == found.cadences.asked == len(values)
        for name in ("update every 5%", "retrain every 5%", "popularity every 5%"):
            assert found.cadences.strategies[name].value == pytest.approx(np.mean(values))

    def test_old_events_may_be_repeats(self):
        users, items = np.repeat(np.arange(400), 5), np.tile(np.arange(4), 500)  # five events of four items each
        log = Log.of(Interactions(users, items))
        new, old = hold_out_old(log, 1_000, "recall", 0)[1], hold_out_old(log, 1_000, "recall", 0, True)[1]
        assert new.events.users.size < old.events.users.size
        assert new.excluded[0].size > 0 == old.excluded[0].size

    def test_more_is_asked_than_without(self, shop):
        settings = Settings("ndcg", seeds=1, every="10%", budget=EVERYTHING)
        new, every = (compare(shop, settings._replace(repeats=flag), build=Counts) for flag in (False, True))
        assert new.cadences.questions < every.cadences.questions
        assert every.as_dict()["repeats"] is True
        assert "repeats included" in table(every)
        assert "repeats included" in page(every)
        assert "repeats included" not in table(new) + page(new)

    def test_where_everything_was_taken_before(self):
        log = Interactions(np.arange(200) % 5, np.arange(200) % 5)
        with pytest.raises(DataError, match="every pair has been there before"):
            compare(log, Settings("ndcg", seeds=1, every="10%"), build=Counts)
        found = compare(log, Settings("ndcg", seeds=1, every="10%", repeats=True), build=Counts)
        assert 0 < found.cadences.strategies["update every 10%"].value < 1
        nothing = Interactions(log.users, log.items, np.repeat([1.0, 0.0], 100))
        with pytest.raises(DataError, match="no value is positive"):
            compare(nothing, Settings("ndcg", seeds=1, every="10%", repeats=True), build=Counts)

    def test_values_are_not_repeated(self, shop):
        with pytest.raises(DataError, match="repeats: rmse compares values"):
            compare(shop, Settings("rmse", repeats=True), build=Copied)


class TestCommand:
    @pytest.mark.parametrize("cadence", [["--block", "0.2"], ["--every", "20%"]])
    def test_flag(self, shop, tmp_path, capsys, cadence):
        rows = np.stack([shop.users, shop.items], axis=1)
        path = tmp_path / "log.csv"
        np.savetxt(path, rows, fmt="%d", delimiter=",", header="user,item", comments="")
        command = ["compare", "--data", str(path), "--seeds", "1", "--factors", "8", *cadence]
        asked = {}
        for flag in ([], ["--repeats"]):
            assert main([*command, *flag, "--out", str(tmp_path)]) == 0
            asked[bool(flag)] = json.loads((tmp_path / "compare.json").read_text())
        assert (asked[False]["repeats"], asked[True]["repeats"]) == (False, True)
        assert asked[False]["contestants"]["full"]["value"] != asked[True]["contestants"]["full"]["value"]
        assert "repeats" in capsys.readouterr().out

    def test_of_two_logs_the_one_that_is_ranked(self, shop, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("fastmf.cli.load", lambda name: shop)
        command = ["compare", "--seeds", "1", "--factors", "8", "--block", "0.2", "--out", str(tmp_path), "--repeats"]
        assert main(command) == 0
        assert json.loads((tmp_path / "compare.json").read_text())["dataset"] == "complete-journey"
        assert main([*command, "--metric", "rmse"]) == 2
        assert "repeats: rmse compares values" in capsys.readouterr().err
