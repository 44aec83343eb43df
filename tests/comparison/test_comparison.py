"""The comparison: who is asked what and when, what is counted, and what the reports say of it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from fastmf import MF, datasets, metrics, optimizers
from fastmf.comparison import CONTESTANTS, Settings, compare, contestants
from fastmf.comparison.contestants import Popularity, regime, warm_recipe
from fastmf.comparison.replay import Stream, choose_epochs
from fastmf.errors import DataError
from fastmf.evaluation import GROUPS, METRICS, Log, bootstrap, evaluate, group_masks, holdout
from fastmf.interactions import Interactions
from fastmf.parameters.ids import IdMap
from fastmf.report import page, table, write

FIELDS = {"dataset", "metric", "block", "events", "seeds", "machine", "contestants"}
FIGURES = {
    "value",
    "interval",
    "recovery",
    "recovery_best",
    "cpu_seconds",
    "wall_seconds",
    "speedup",
    "rows_moved",
    "by_group",
    "by_block",
}


class Means:
    """A model of item means, slow to believe them: more epochs believe more. It notes all that it is told."""

    def __init__(self, seed=0, notes=None):
        self.seed, self.notes = seed, [] if notes is None else notes
        self.users, self.items = IdMap(), IdMap()
        self.sums, self.counts, self.trust = np.zeros(0), np.zeros(0), 1.0

    def copy(self):
        twin = type(self)(self.seed, self.notes)
        twin._know(self)
        twin.sums, twin.counts, twin.trust = self.sums.copy(), self.counts.copy(), self.trust
        return twin

    def _know(self, other):
        for side in ("users", "items"):
            ids = getattr(other, side)
            ids = np.unique(ids.values if isinstance(ids, IdMap) else ids)
            getattr(self, side).extend(getattr(self, side).stage(ids).fresh)

    def _count(self, events):
        self._know(events)
        more = len(self.items) - self.sums.size
        self.sums, self.counts = np.pad(self.sums, (0, more)), np.pad(self.counts, (0, more))
        rows = self.items.rows(events.items)
        self.sums += np.bincount(rows, events.values - 3, minlength=len(self.items))
        self.counts += np.bincount(rows, minlength=len(self.items))

    def fit(self, events, epochs=1, progress=None):
        self.notes.append(("fit", len(events), epochs))
        self.trust = min(epochs, 8) / 8
        self._count(events)
        return self

    def update(self, events, recipe=None, **overrides):
        self.notes.append(("update", len(events), recipe, overrides))
        self._count(events)
        return SimpleNamespace(rows_moved=np.unique(events.users).size + np.unique(events.items).size)

    @property
    def item_biases(self):
        return (self.trust * self.sums / (self.counts + 1)).astype(np.float32)

    @property
    def user_factors(self):
        return np.zeros((len(self.users), 2), np.float32)

    @property
    def unknown_user(self):
        return np.zeros(2, np.float32)

    @property
    def item_factors(self):
        return np.zeros((len(self.items), 2), np.float32)

    def predict(self, users, items):
        rows = self.items.rows(items)
        return np.where(rows >= 0, 3 + self.item_biases[rows], 3).astype(np.float32)


class Drifting(Means):
    """A model that gets worse with every event."""

    def predict(self, users, items):
        return np.full(len(users), 3 + self.counts.sum() / 1_000, np.float32)


@pytest.fixture(scope="module")
def log():
    return datasets.synthetic(events=4_000, users=150, items=200, seed=2)


@pytest.fixture(scope="module")
def result(log):
    return compare(log, Settings(block=0.05, seeds=2), "a <small> log", build=Means)


class TestGroups:
    PAST = Interactions([1, 1, 2, 2, 2, 3], ["a", "b", "a", "a", "c", "a"])
    NEXT = Interactions([1, 9, 2, 9], ["a", "a", "b", "z"])

    @pytest.fixture(scope="class")
    @classmethod
    def masks(cls):
        log = Log.of(cls.PAST, cls.NEXT)
        return group_masks(log.part(slice(0, 6)), log.part(slice(6, None)))

    def test_users(self, masks):
        assert masks["returning-user"].tolist() == [True, False, True, False]
        assert masks["new-user"].tolist() == [False, True, False, True]

    def test_items(self, masks):
        assert masks["head"].tolist() == [True, True, False, False]  # "a" holds 4 of 6 events
        assert masks["tail"].tolist() == [False, False, True, False]
        assert masks["new-item"].tolist() == [False, False, False, True]

    def test_head_is_the_smallest_set_with_half_of_the_events(self):
        items = np.repeat(np.arange(6), [6, 5, 4, 3, 2, 1])
        past = Log.of(Interactions(np.zeros(items.size, int), items))
        asked = past.part(np.searchsorted(items, np.arange(6)))
        assert group_masks(past, asked)["head"].tolist() == [True, True, False, False, False, False]


class TestEvaluate:
    def test_rmse_by_hand(self):
        past = Interactions([1, 2], [10, 11], [5.0, 3.0])
        later = Interactions([1, 3], [11, 12], [4.0, 1.0])
        answer = evaluate(Means().fit(past, epochs=8), later, past=past)
        assert answer.value == pytest.approx(np.sqrt((1 + 4) / 2))  # predictions 3 (mean of item 11) and 3 (unknown)
        assert answer.by_group["returning-user"] == pytest.approx(1)
        assert answer.by_group["new-item"] == pytest.approx(2)
        assert answer.shares == pytest.approx(
            {"returning-user": 0.5, "new-user": 0.5, "new-item": 0.5, "head": 0.0, "tail": 0.5}
        )
        assert answer.interval[0] <= answer.value <= answer.interval[1]

    def test_without_a_past_there_are_no_groups(self):
        past = Interactions([1, 2], [10, 11], [5.0, 3.0])
        answer = evaluate(Means().fit(past), past)
        assert answer.by_group == {}
        assert answer.shares == {}

    def test_ndcg_hides_what_was_seen_and_counts_a_pair_once(self):
        past = Interactions([1, 2, 3, 4], ["best", "good", "bad", "good"], [5.0, 4.0, 1.0, 4.0])
        later = Interactions([1, 1, 1], ["best", "good", "good"], [5.0, 4.0, 4.0])
        answer = evaluate(Means().fit(past, epochs=8), later, metric="ndcg", past=past)
        assert answer.value == pytest.approx(1)

    def test_ndcg_of_a_model_without_opinions_is_no_better_than_the_last_place(self):
        past = Interactions(np.arange(50), np.arange(50), np.full(50, 3.0))
        later = Interactions([0], [1], [5.0])
        assert evaluate(Means().fit(past), later, metric="ndcg", past=past).value == 0.0

    @pytest.mark.parametrize("metric", METRICS[4:])
    def test_rankings_by_hand(self, log, metric):
        """Each is the mean over users of the function of that name, on the scores of what a user has not seen."""
        past, later = log.split_by_time(0.8)
        model = Means().fit(past, epochs=8)
        values, seen = [], set(zip(past.users, past.items, strict=True))
        for user in np.unique(later.users):
            scores = model.item_biases.copy()
            scores[[row for row, item in enumerate(model.items.values) if (user, item) in seen]] = -np.inf
            asked = later[later.users == user]
            asked = asked[np.array([(user, item) not in seen for item in asked.items])]
            rows = model.items.rows(asked.items)
            scores = np.append(scores, np.full((rows < 0).sum(), -np.inf))  # items that the model does not know
            columns = np.where(rows < 0, scores.size - np.cumsum(rows < 0), rows)
            gains = () if metric == "auc" else (5,)
            one = getattr(metrics, metric)(scores[None], np.zeros(rows.size, int), columns, asked.values, *gains)
            values += [] if np.isnan(one) else [one]
        assert evaluate(model, later, metric, past, k=5).value == pytest.approx(np.mean(values))

    @pytest.mark.parametrize("metric", METRICS[:4])
    def test_predictions_by_hand(self, metric):
        past, later = Interactions([1, 2], [10, 11], [5.0, 3.0]), Interactions([1, 3, 1], [11, 12, 10], [1.0, 0.5, 0.0])

        class Chances(Means):
            def predict(self, users, items):
                return np.where(items == 11, 0.75, 0.25).astype(np.float32)

        answer = evaluate(Chances().fit(past), later, metric, past)
        assert answer.value == pytest.approx(getattr(metrics, metric)([1.0, 0.5, 0.0], [0.75, 0.25, 0.25]))
        assert answer.by_group["new-item"] == pytest.approx(getattr(metrics, metric)([0.5], [0.25]))
        assert answer.interval[0] <= answer.value <= answer.interval[1]

    def test_unknown_items_are_never_found(self):
        past = Interactions([1, 2], [10, 11], [5.0, 3.0])
        later = Interactions([1, 2], [12, 10], [5.0, 5.0])
        answer = evaluate(Means().fit(past), later, metric="ndcg", past=past)
        assert answer.by_group["new-item"] == 0.0
        assert answer.by_group["head"] == 1.0

    @pytest.mark.parametrize("metric", ["rmse", "ndcg"])
    def test_str_and_int_ids_give_the_same(self, log, metric):
        def value(events):
            past, later = events.split_by_time(0.8)
            return evaluate(Means().fit(past), later, metric=metric, past=past)

        text = Interactions(log.users.astype(str), log.items.astype(str), log.values, log.times)
        assert value(log).value == pytest.approx(value(text).value)

    def test_many_askers_are_answered_in_parts(self, log, monkeypatch):
        past, later = log.split_by_time(0.8)
        model = Means().fit(past)
        whole = evaluate(model, later, metric="ndcg", past=past)
        monkeypatch.setattr("fastmf.metrics.positions._CHUNK", 100_000)
        assert evaluate(model, later, metric="ndcg", past=past) == whole

    def test_bad_questions(self, log):
        model = Means().fit(log)
        with pytest.raises(DataError, match="none to evaluate"):
            evaluate(model, log[:0])
        with pytest.raises(DataError, match="metric: 'mse'"):
            evaluate(model, log, metric="mse")
        with pytest.raises(DataError, match="in the past already"):
            evaluate(model, log, metric="ndcg", past=log)
        with pytest.raises(DataError, match="outside \\[0, 1\\]"):
            evaluate(model, log, metric="logloss")
        with pytest.raises(DataError, match="add up to anything positive"):
            evaluate(model, Interactions([1], [2], [0.0]), metric="calibration")
        with pytest.raises(ValueError, match="k must be"):
            evaluate(model, log, metric="ndcg", k=0)

    def test_bootstrap_is_paired_and_covers(self, log):
        past, later = log.split_by_time(0.5)
        coded = Log.of(past, later)
        held_out = holdout(coded.part(slice(0, len(past))), coded.part(slice(len(past), None)), "rmse")
        sums = [held_out.sums(Means().fit(past, epochs=epochs)) for epochs in (8, 8, 1)]
        drawn = bootstrap(sums, draws=200)
        np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
        assert drawn[:, 0].std() > (drawn[:, 0] - drawn[:, 2]).std() > 0
        low, high = np.quantile(drawn[:, 0], [0.025, 0.975])
        assert low < sums[0].value() < high


class TestProtocol:
    def test_blocks_follow_the_first_half_in_the_order_of_time(self, log):
        shuffled = log[np.random.default_rng(0).permutation(len(log))]
        stream = Stream.of(shuffled, 0.05)
        assert (len(stream.past(-1)), len(stream.block(0)), stream.steps) == (2_000, 200, 9)
        for step in range(stream.steps):
            start = 2_000 + 200 * step
            np.testing.assert_array_equal(stream.block(step).times, log.times[start : start + 200])
            np.testing.assert_array_equal(stream.past(step).times, log.times[: start + 200])
            asked = stream.holdout(step, "rmse").events
            np.testing.assert_array_equal(asked.user_ids[asked.users], stream.events.users[start + 200 : start + 400])

    def test_without_times_rows_are_in_order(self):
        events = Interactions(np.arange(100), np.arange(100))
        assert Stream.of(events, 0.1).block(0).users.tolist() == list(range(50, 60))

    @pytest.mark.parametrize("block", [0.0, -1.0, 0.3, float("nan")])
    def test_impossible_blocks(self, log, block):
        with pytest.raises(DataError, match="block"):
            Stream.of(log, block)

    def test_too_few_events(self):
        with pytest.raises(DataError, match="too few"):
            Stream.of(Interactions([1, 2, 3], [1, 2, 3]), 0.1)

    def test_each_contestant_is_told_what_its_name_says(self, log):
        notes = []
        compare(log, Settings(block=0.1, seeds=1), build=lambda seed: Means(seed, notes))
        updates = [note for note in notes if note[0] == "update"][2:]  # two of the warm-up come first
        warm = warm_recipe(MF(solver=optimizers.AdaGrad()))
        assert [size for _, size, recipe, _ in updates if recipe != warm] == [400] * 4
        assert [size for _, size, recipe, _ in updates if recipe == warm] == [2_400, 2_800, 3_200, 3_600]
        assert [note[1] for note in notes if note[0] == "fit"][-4:] == [2_400, 2_800, 3_200, 3_600]

    def test_a_fit_that_stops_by_itself_is_not_given_epochs(self, log):
        built = []

        def build(seed):
            built.append(MF(4, seed=seed))
            return built[-1]

        assert choose_epochs(build, log, "rmse") is None
        assert len(built) == 1
        result = compare(log, Settings(block=0.1, seeds=1), build=build)
        assert set(result.contestants) == {"frozen", "update", "warm", "full"}
        moved = {name: one.rows_moved for name, one in result.contestants.items()}
        assert moved["frozen"] == 0 < moved["update"] < moved["warm"]
        again = compare(log, Settings(block=0.1, seeds=1, preset="fast"), build=build).contestants["update"]
        assert again.value == result.contestants["update"].value  # no passes of it are repeated

    def test_epochs_are_the_cheapest_close_to_the_best(self, log):
        past, asked = log[:3_600], log[3_600:]
        choices = regime("rmse").epochs
        values = [evaluate(Means().fit(past, epochs=epochs), asked, past=past).value for epochs in choices]
        close = [e for e, value in zip(choices, values, strict=True) if value <= 1.002 * min(values)]
        assert choose_epochs(Means, log, "rmse") == close[0]
        notes = []
        choose_epochs(lambda seed: Means(seed, notes), log, "rmse")
        assert notes == [("fit", 3_600, epochs) for epochs in choices]

    def test_unknown_presets_list_the_known_ones(self, log):
        with pytest.raises(DataError, match="default"):
            compare(log, Settings(preset="magic"), build=Means)
        with pytest.raises(DataError, match="seeds"):
            compare(log, Settings(seeds=0), build=Means)


class TestOutcomes:
    def test_frozen_is_zero_and_full_is_one(self, result):
        frozen, full = result.contestants["frozen"], result.contestants["full"]
        assert (frozen.recovery, full.recovery) == (0.0, 1.0)
        assert (frozen.cpu_seconds, frozen.rows_moved, frozen.speedup) == (0.0, 0.0, None)
        assert full.speedup == 1.0
        assert full.difference_interval == (0.0, 0.0)

    def test_knowing_more_helps(self, result):
        values = {name: outcome.value for name, outcome in result.contestants.items()}
        assert values["update"] < values["frozen"]
        assert values["full"] < values["frozen"]
        assert values["update"] == pytest.approx(values["full"])  # counting means is the same either way

    def test_recovery_against_the_best(self, result):
        best = min(result.contestants[name].value for name in ("full", "warm"))
        frozen = result.contestants["frozen"].value
        for outcome in result.contestants.values():
            assert outcome.recovery_best == pytest.approx((frozen - outcome.value) / (frozen - best))

    def test_pooled_value_is_that_of_all_blocks(self, result):
        for outcome in result.contestants.values():
            assert len(outcome.by_block) == result.blocks == 9
            squares = np.square(outcome.by_block)  # all blocks have as many events
            assert outcome.value == pytest.approx(np.sqrt(squares.mean()))
            assert outcome.interval[0] < outcome.value < outcome.interval[1]

    def test_groups_cover_the_events(self, result):
        shares = result.shares
        assert shares["returning-user"] + shares["new-user"] == pytest.approx(1)
        assert shares["head"] + shares["tail"] + shares["new-item"] == pytest.approx(1)
        assert set(result.contestants["full"].by_group) == set(GROUPS)

    def test_no_recovery_where_full_is_no_better(self):
        """Item means of pure noise: the more a model believes them, the worse."""
        random = np.random.default_rng(0)
        pairs = random.integers(0, 300, (2, 2_000))
        noise = Interactions(*pairs, random.normal(3, 1, 2_000))
        result = compare(noise, Settings(block=0.1, seeds=1), build=Drifting)
        assert result.contestants["full"].value > result.contestants["frozen"].value
        assert {outcome.recovery for outcome in result.contestants.values()} == {None}
        assert "no better" in page(result)

    @pytest.mark.parametrize("metric", ["mae", "ndcg", "recall", "auc"])
    def test_other_metrics_run_too(self, log, metric):
        result = compare(log, Settings(metric=metric, block=0.1, seeds=1), build=Means)
        assert 0 < result.contestants["full"].value < 1
        assert tuple(result.contestants) == contestants(metric)
        name = {"mae": "MAE", "ndcg": "NDCG@10", "recall": "recall@10", "auc": "AUC"}[metric]
        assert name in table(result)
        assert name in page(result)

    def test_logloss_races_models_of_labels(self, log):
        liked = Interactions(log.users, log.items, log.values > 3, log.times)
        result = compare(liked, Settings(metric="logloss", block=0.2, seeds=1, factors=8))
        assert 0 < result.contestants["update"].value < 1

    def test_of_two_calibrations_neither_is_better(self, log):
        with pytest.raises(DataError, match="calibration"):
            compare(log, Settings(metric="calibration"), build=Means)

    def test_blocks_are_what_suits_the_metric(self, log):
        assert compare(log, Settings(metric="ndcg", seeds=1), build=Means).blocks == 9
        assert compare(log, Settings(metric="mae", seeds=1), build=Means).blocks == 49


class TestPopularity:
    def test_counts_live(self):
        popularity = Popularity.of(Interactions([1, 2, 3, 3], ["a", "b", "b", "b"]))
        assert popularity.update(Interactions([1, 1, 4], ["c", "a", "c"])) == 2
        assert popularity.items.values.tolist() == ["a", "b", "c"]
        assert popularity.item_biases.tolist() == [2, 3, 2]

    def test_ranks_what_was_not_seen_and_loses_ties(self):
        past = Interactions([1, 1, 2, 2, 3, 4, 5], [10, 20, 10, 20, 10, 30, 40])
        popularity = Popularity.of(past)
        answer = evaluate(popularity, Interactions([3, 4, 4, 9], [20, 20, 50, 30]), "mrr", past)
        # 3: 20 comes first of 20, 30, 40. 4: 10 is before 20, 50 is not known. 9: 10, 20, 40, and then 30.
        assert answer.value == pytest.approx(np.mean([1, 1 / 2, 1 / 4]))
        assert answer.by_group["new-user"] == pytest.approx(1 / 4)

    def test_races_where_items_are_ranked(self, log):
        result = compare(log, Settings(metric="ndcg", block=0.1, seeds=2), build=Means)
        popular = result.contestants["popularity"]
        assert popular.by_seed[0] == popular.by_seed[1] == pytest.approx(popular.value)
        stream = Stream.of(log, 0.1)
        wanted = [
            evaluate(Popularity.of(stream.past(n)), stream.block(n + 1), "ndcg", stream.past(n)).value for n in range(4)
        ]
        assert popular.by_block == pytest.approx(wanted)
        assert popular.cpu_seconds > 0
        assert "popularity" in page(result)
        lines = table(result).splitlines()
        assert lines[2].split() == [*CONTESTANTS, "popularity"]
        assert max(map(len, lines[1:-1])) <= 120


class TestReports:
    def test_json_has_the_fields_and_round_trips(self, result, tmp_path):
        path = write(result, tmp_path / "new" / "folder")
        assert path == tmp_path / "new" / "folder" / "index.html"
        read = json.loads((path.parent / "compare.json").read_text())
        assert set(read) >= FIELDS
        assert set(read["contestants"]) == set(CONTESTANTS)
        for name, outcome in read["contestants"].items():
            assert set(outcome) >= FIGURES
            assert outcome["value"] == result.contestants[name].value
        assert read["seeds"] == [0, 1]
        assert read["events"] == 4_000

    def test_table_fits_a_terminal(self, result):
        lines = table(result).splitlines()
        assert max(map(len, lines[1:])) <= 120
        assert lines[2].split() == list(CONTESTANTS)
        for word in (
            "RMSE",
            "returning users",
            "tail items",
            "recovery",
            "CPU seconds",
            "speed-up",
            "rows moved",
        ):
            assert any(word in line for line in lines)

    def test_a_gap_that_may_be_nothing_is_called_so(self, result):
        assert "not clear of zero" not in table(result)
        frozen = result.contestants["frozen"]._replace(difference_interval=(-0.1, 0.1))
        unsure = result._replace(contestants=result.contestants | {"frozen": frozen})
        assert "not clear of zero" in table(unsure)
        assert "not clear of zero" in page(unsure)

    def test_a_model_that_loses_to_popularity_is_called_so(self, result):
        popular = result.contestants["full"]
        for value, said in ((2.0, True), (0.1, False)):
            contestants = result.contestants | {"popularity": popular._replace(value=value)}
            ranked = result._replace(metric="ndcg", contestants=contestants)
            assert ("Live popularity ranks better" in table(ranked)) == said
            assert ("Live popularity ranks better" in page(ranked)) == said

    def test_page_is_self_contained_and_well_formed(self, result):
        text = page(result)
        assert not re.search(r"<script|https?://|src=|@import|url\(", text)
        assert "prefers-color-scheme: dark" in text
        assert text.count("<svg") == 3 + 2 * len(CONTESTANTS)  # pictures, and the keys of two of them
        assert "a &lt;small&gt; log" in text
        assert "<small>" not in text
        assert not re.search(r"\bnan\b|\binf\b", text)
        _Balanced().feed(text)

    def test_lines_have_a_point_per_block(self, result):
        lines = re.findall(r'<polyline class="mark" stroke="var\(--update\)" points="([^"]*)"', page(result))
        assert [len(points.split()) for points in lines if points.count(" ") > 1] == [result.blocks] * 2


class _Balanced(HTMLParser):
    """Fails where a tag is closed that is not the last one opened."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
