"""Strategies at several cadences: nobody sees an event before it is asked about it, and figures are what they say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from contestants import Counts, Memory, ndcg

from fastmf import datasets
from fastmf.cli import main
from fastmf.comparison import NEVER, Budget, Settings, StrategyOutcome, cadences_of, compare
from fastmf.comparison.advice import advise
from fastmf.comparison.cadence import Cadence, length
from fastmf.comparison.contestants import default_build
from fastmf.comparison.prequential import hold_out_old
from fastmf.comparison.sampling import Sample, estimate
from fastmf.comparison.strategies import Strategy
from fastmf.errors import DataError
from fastmf.evaluation import Log
from fastmf.interactions import Interactions
from fastmf.recipes import presets
from fastmf.report import page, table, write

OLD_NAMES = {"dataset", "metric", "block", "events", "seeds", "machine", "contestants"}
EVERYTHING = Budget(retrains=10_000, queries=1_000_000)


class Recent:
    """Says of every pair the mean of all values so far, and 1,000 where it has none."""

    def __init__(self, seed=0):
        self.values = []

    def fit(self, events):
        self.values = list(events.values)

    def update(self, events):
        self.values += list(events.values)

    def predict(self, users, items):
        return np.full(len(users), np.mean(self.values) if self.values else 1_000, np.float32)


@pytest.fixture(scope="module")
def telltale():
    """Every pair occurs once, and its value tells the event: who predicts one has seen it."""
    size = 400
    return Interactions(np.arange(size) % 20, np.arange(size) // 20, 1.0 + np.arange(size), times=np.arange(size))


@pytest.fixture(scope="module")
def log():
    return datasets.synthetic(events=3_000, users=150, items=200, seed=2)


def settings(every, metric="rmse", budget=EVERYTHING, **more):
    return Settings(metric, seeds=more.pop("seeds", 1), every=every, budget=budget, **more)


class TestCadence:
    def test_shares_numbers_and_times(self):
        events = Interactions(np.zeros(20, int), np.arange(20), times=np.arange(20) * 1_800)
        assert Cadence.parse("10%").cuts(events, 10).tolist() == [10, 12, 14, 16, 18]
        assert Cadence.parse("3").cuts(events, 10).tolist() == [10, 13, 16, 19]
        assert Cadence.parse("1h").cuts(events, 10).tolist() == [10, 12, 14, 16, 18]

    def test_datetimes_are_counted_in_microseconds(self):
        times = np.datetime64("2024-01-01T00:00") + np.arange(20) * np.timedelta64(30, "m")
        events = Interactions(np.zeros(20, int), np.arange(20), times=times)
        assert Cadence.parse("1h").cuts(events, 10).tolist() == [10, 12, 14, 16, 18]

    def test_hours_in_which_nothing_happened_bring_nothing_up_to_date(self):
        events = Interactions(np.zeros(6, int), np.arange(6), times=[0, 1, 2, 3, 90_000, 90_001])
        assert Cadence.parse("1h").cuts(events, 2).tolist() == [2, 4]

    @pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1y", "30%", "1.5", "1%%", "nan", "1%,,5%", "1%,1.0%"])
    def test_nonsense(self, text):
        with pytest.raises(DataError, match="every: "):
            cadences_of(text)

    def test_what_a_log_does_not_allow(self):
        plain = Interactions(np.zeros(20, int), np.arange(20))
        late = Interactions(np.zeros(20, int), np.arange(20), times=np.arange(20) + 1_700_000_000_000)
        for text, events, message in (
            ("1h", plain, "have none"),
            ("1h", late, r"times: 1700000000019 is not in Unix seconds"),
            ("0.1%", plain, "less than one event"),
            ("11", plain, "longer than the later half"),
        ):
            with pytest.raises(DataError, match=message):
                Cadence.parse(text).cuts(events, 10)

    def test_lengths(self):
        assert [length(seconds) for seconds in (5, 60, 90_000)] == ["5 seconds", "1 minute", "1.04 days"]


class TestProtocol:
    def test_nobody_sees_an_event_before_it_is_asked_about_it(self, telltale):
        found = compare(telltale, settings("1,7,5%"), build=Memory).cadences
        wanted = np.sqrt(np.mean(telltale.values[200:] ** 2.0))  # everybody said 0 of every event
        assert {one.kind for one in found.strategies.values()} == {"frozen", "update", "full", "update + full"}
        for one in found.strategies.values():
            assert one.value == pytest.approx(wanted)

    def test_a_model_that_cheats_by_one_event_is_caught(self, telltale):
        class Cheat(Memory):
            def update(self, events):
                ahead = int(events.values[-1])  # the position of the next event: values are positions + 1
                super().update(telltale[int(events.values[0]) - 1 : ahead + 1])

        honest = compare(telltale, settings("10"), build=Memory).cadences.strategies["update every 10"]
        found = compare(telltale, settings("10"), build=Cheat).cadences.strategies["update every 10"]
        # of 200 events the first of each ten was known, and of the first ten too: the fit ends with an update
        assert found.value < honest.value
        squares = np.arange(201, 401) ** 2.0
        squares[::10] = 0
        assert found.value == pytest.approx(np.sqrt(squares.mean()))

    def test_values_are_those_of_a_naive_replay(self, log):
        found = compare(log, settings("2%,10%"), build=Recent).cadences.strategies
        half, mask = len(log) // 2, hold_out_old(Log.of(log), len(log) // 2, "rmse", 0)[0]
        values = log.values.astype(np.float64)
        trained = np.flatnonzero(~mask)

        def mean_before(position):
            return np.float32(np.mean(log.values[trained[trained < position]]))

        for every, size in (("2%", 60), ("10%", 300)):
            told = [mean_before(half + (place - half) // size * size) for place in range(half, len(log))]
            wanted = np.sqrt(np.mean((np.array(told, np.float64) - values[half:]) ** 2))
            for kind in ("update", "retrain"):
                assert found[f"{kind} every {every}"].value == pytest.approx(wanted, rel=1e-6)
        frozen = np.sqrt(np.mean((values[half:] - float(mean_before(half))) ** 2))
        assert found["never updated"].value == pytest.approx(frozen, rel=1e-6)

    def test_each_recipe_is_a_strategy(self, log):
        found = compare(log, settings("5%", preset="fast,balanced", factors=4), progress=False).cadences.strategies
        build, cut = default_build(4, "rmse"), len(log) // 2
        old = np.flatnonzero(hold_out_old(Log.of(log), cut, "rmse", 0)[0])
        past = log[np.setdiff1d(np.arange(cut), old)]
        by_recipe = {"update every 5%": "fast", "update (balanced) every 5%": "balanced"}
        for name, recipe in by_recipe.items():
            model, squares = build(0).fit(past, progress=False), []
            for first in range(cut, len(log), 150):
                some = log[first : first + 150]
                squares.append((model.predict(some.users, some.items) - some.values) ** 2)
                model.update(some, presets[recipe])
            assert found[name].value == pytest.approx(np.sqrt(np.concatenate(squares).mean()), rel=1e-6)
            assert found[name].preset == (None if recipe == "fast" else recipe)
        assert found["update every 5%"].value != found["update (balanced) every 5%"].value

    def test_recipes_that_cannot_be_compared(self, log):
        for preset, every, said in (
            ("fast,magic", "5%", "'magic' is none of"),
            ("fast,fast", "5%", "fast occurs twice"),
            ("default,fast", None, "cadences only"),
        ):
            with pytest.raises(DataError, match=said):
                compare(log, settings(every, preset=preset), progress=False)

    def test_rankings_are_those_of_a_naive_replay(self):
        log = datasets.synthetic(events=600, users=30, items=60, seed=5)
        found = compare(log, settings("5%,20%", "ndcg"), build=Counts).cadences
        half, mask = 300, hold_out_old(Log.of(log), 300, "ndcg", 0)[0]
        values = []
        for piece in range(10):
            start, end = half + 30 * piece, half + 30 * (piece + 1)
            model = Counts()
            model.update(log[np.flatnonzero(~mask[:start])])
            for user in np.unique(log.users[start:end]):
                seen = log.items[:start][log.users[:start] == user]
                new = [i for i in range(start, end) if log.users[i] == user and log.items[i] not in seen]
                if not new:
                    continue
                catalogue = np.unique(np.concatenate([model.items.values, log.items[new]]))
                rows = model.items.rows(catalogue)
                scores = np.where(rows >= 0, model.item_biases[rows], -np.inf)
                scores[np.isin(catalogue, seen)] = -np.inf
                columns = np.searchsorted(catalogue, log.items[new])
                values.append(ndcg(scores, columns, log.values[new].astype(float)))
        assert found.questions == found.asked == len(values)
        assert found.strategies["update every 5%"].value == pytest.approx(np.mean(values))
        assert found.strategies["retrain every 5%"].value == pytest.approx(np.mean(values))
        assert found.strategies["popularity every 5%"].value == pytest.approx(np.mean(values))

    def test_old_events_are_of_users_who_never_came_back_and_are_not_learned(self, log):
        told = []

        class Told(Recent):
            def update(self, events):
                told.append(events)
                super().update(events)

            def fit(self, events):
                told.append(events)
                super().fit(events)

        coded, half = Log.of(log), len(log) // 2
        mask, old = hold_out_old(coded, half, "rmse", 0)
        result = compare(log, settings("5%"), build=Told)
        assert result.cadences.old_events == mask.sum() == old.events.users.size > 10
        assert not mask[half:].any()
        assert not np.isin(log.users[mask], log.users[half:]).any()
        held = set(zip(log.users[mask], log.items[mask], strict=True))
        for events in told:
            assert not held & set(zip(events.users, events.items, strict=True))
        strategies = result.cadences.strategies
        first, last = (np.float32(np.mean(told[0].values)), np.float32(np.mean(told[-1].values)))
        values = [np.sqrt(np.mean((log.values[mask] - float(mean)) ** 2)) for mean in (first, last)]
        assert strategies[NEVER].forgetting == 0.0
        assert strategies["retrain every 5%"].old_value == pytest.approx(values[1])
        assert strategies["retrain every 5%"].forgetting == pytest.approx(values[1] / values[0] - 1, abs=1e-6)

    def test_a_closed_panel_has_no_old_events(self, telltale):
        result = compare(telltale, settings("10%"), build=Recent).cadences
        assert result.old_events == 0
        assert {one.forgetting for one in result.strategies.values()} == {None}

    def test_new_users_by_their_events_so_far(self):
        users = np.repeat([1, 2, 3], [6, 4, 2])
        log = Interactions(users, np.arange(12), np.arange(12.0))
        found = compare(log, settings("1"), build=Recent).cadences
        # 2 and 3 have no event among the first six; 2 has one after each of 6, 7, 8, and 3 after 10
        assert found.shot_questions == [2, 2, 2, 0, 0, 0]
        shots = found.strategies["update every 1"].by_shot
        errors = [place - np.mean(np.arange(max(place, 6))) for place in range(12)]
        wanted = [np.sqrt((errors[a] ** 2 + errors[b] ** 2) / 2) for a, b in ((6, 10), (7, 11), (8, 9))]
        assert shots[:3] == pytest.approx(wanted)
        assert shots[3:] == [None] * 3

    def test_age_is_what_has_happened_since(self, telltale):
        found = compare(telltale, settings("1,10%"), build=Recent).cadences.strategies
        assert found["update every 1"].age_events == 0
        assert found["retrain every 10%"].age_events == found["retrain every 10%"].age_seconds == 19.5
        assert found["update every 1, retrain every 10%"].age_events == 0
        assert found["never updated"].age_events == 99.5


class TestSampling:
    def losses(self, random, segments=60, size=7):
        where = np.repeat(np.arange(segments), random.integers(1, size, segments))
        control = random.gamma(2, 1, where.size)
        level = np.linspace(0, 0.5, segments)[where] + random.normal(0, 0.2, segments)[where]
        return where, control, control + level

    def test_estimates_are_unbiased_and_their_variance_is_right(self):
        random = np.random.default_rng(0)
        where, control, losses = self.losses(random)
        everything, found = np.ones(where.size, bool), []
        for seed in range(400):
            sample = Sample.of(np.arange(1, 60), 10, seed)
            known = np.isin(where, np.append(sample.segments, 0))
            found.append(estimate(np.where(known, losses, np.nan), sample, where, control, everything))
        means, variances = np.array(found).T
        assert means.mean() == pytest.approx(losses.mean(), abs=4 * means.std() / 20)
        assert variances.mean() == pytest.approx(means.var(), rel=0.25)

    def test_all_are_taken_where_there_are_few(self):
        sample = Sample.of(np.arange(1, 8), 10, 0)
        assert sample.segments.tolist() == list(range(1, 8))
        assert sample.complete
        assert sample.weights.tolist() == [1.0] * 7

    def test_two_of_each_stratum(self):
        sample = Sample.of(np.arange(1, 101), 10, 3)
        assert sample.segments.size == 10
        assert np.bincount((sample.segments - 1) // 20).tolist() == [2] * 5
        assert sample.weights.sum() == pytest.approx(100)

    def test_sampled_retrains_against_all_of_them(self, log):
        name = "retrain every 1%"
        full = compare(log, settings("1%"), build=Recent).cadences.strategies[name]
        some = compare(log, settings("1%", budget=Budget(retrains=10)), build=Recent).cadences.strategies[name]
        assert (full.made, full.times, some.made, some.times) == (49, 49, 10, 49)
        assert some.interval[0] <= full.value <= some.interval[1]
        assert some.value == pytest.approx(full.value, rel=1e-3)

    def test_rankings_of_a_sample_of_users(self, log):
        found = compare(log, settings("2%,10%", "ndcg", Budget(queries=100)), build=Counts).cadences
        assert 60 < found.asked < 150 < found.questions == 283

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [1, 2])
    def test_sampled_retrains_of_a_factorisation(self, seed):
        log = datasets.synthetic(events=10_000, users=500, items=300, seed=seed)
        name = "retrain every 1%"
        full = compare(log, settings("1%", factors=8)).cadences.strategies[name]
        some = compare(log, settings("1%", budget=Budget(retrains=10), factors=8)).cadences.strategies[name]
        assert some.interval[0] <= full.value <= some.interval[1]


THREE = {"never": (1.0, 0.0, False), "update": (0.9, 1.0, False), "warm": (0.899, 10.0, False)}


class TestAdvice:
    """Of outcomes by hand, the cheapest is advised that keeps 95 % of the best one's gain."""

    @staticmethod
    def found(**values):
        kinds = {"never": "frozen", "update": "update", "warm": "warm", "full": "full", "mixed": "update + full"}
        names = {kind: Strategy(kinds[kind], "1%", "5%" if kind == "mixed" else None).name for kind in values}
        names |= {"never": NEVER}
        nothing = dict.fromkeys(StrategyOutcome._fields)
        return {
            names[kind]: StrategyOutcome(
                **nothing
                | {"kind": kinds[kind], "every": None if kind == "never" else "1%", "value": value, "cpu_seconds": cpu}
                | {"retrain_every": "5%" if kind == "mixed" else None, "sampled": unsure}
                | {"interval": (value - 0.01, value + 0.01), "front": False}
            )
            for kind, (value, cpu, unsure) in values.items()
        }

    def test_the_cheapest_that_is_nearly_as_good(self):
        advice = advise(self.found(**THREE, full=(0.898, 500.0, False)), "rmse", lambda *_: True)
        assert (advice.chosen, advice.best, advice.retrain) == (
            "update every 1%",
            "retrain every 1%",
            "retrain every 1%",
        )
        assert advice.sentence == (
            "Update every 1%: RMSE 0.9000, 1.0000 if never updated; 0.2% worse than the best retraining (every 1%: "
            "0.8980), 500 times cheaper."
        )

    def test_a_dear_one_that_is_much_better(self):
        advice = advise(self.found(**THREE, full=(0.8, 5.0, False)), "rmse", lambda *_: True)
        assert advice.sentence == "Retrain every 1%: RMSE 0.8000, 1.0000 if never updated, for 5 CPU seconds."

    def test_an_estimate_has_to_be_clearly_better(self):
        found = self.found(**THREE, mixed=(0.85, 2.0, True), full=(0.8, 5.0, True))
        advice = advise(found, "rmse", lambda one, other: other == NEVER)
        assert (advice.best, advice.chosen) == ("warm every 1%", "update every 1%")
        assert "as good as the best retraining (every 1%: 0.8000 ± 0.0100), 5.0 times cheaper." in advice.sentence
        advice = advise(found, "rmse", lambda *_: True, {"1%": "1% (7 events)"})
        assert advice.best == advice.chosen == "retrain every 1%"
        assert advice.sentence.startswith("Retrain every 1% (7 events): RMSE 0.8000")

    def test_a_cheap_one_that_is_not_clearly_worse(self):
        found = self.found(**THREE | {"update": (0.95, 1.0, False)}, full=(0.898, 500.0, False))
        names = {"update every 1%", "retrain every 1%"}
        assert advise(found, "rmse", lambda *_: True).chosen == "warm every 1%"
        assert advise(found, "rmse", lambda one, other: {one, other} != names).chosen == "update every 1%"

    def test_more_is_better_in_rankings(self):
        found = self.found(never=(0.1, 0.0, False), update=(0.2, 1.0, False), full=(0.19, 0.5, False))
        advice = advise(found, "ndcg", lambda *_: True)
        assert advice.chosen == "update every 1%"
        assert advice.sentence.endswith("better than the best retraining (every 1%: 0.1900), 2.0 times the CPU.")

    def test_where_nothing_helps(self):
        found = self.found(**THREE, full=(1.1, 5.0, False))
        advice = advise(found, "rmse", lambda *_: False)
        assert advice.chosen == NEVER
        assert advice.sentence == (
            "Leave the model alone: nothing is clearly better than never updating (RMSE 1.0000)."
        )


@pytest.fixture(scope="module")
def result(log):
    return compare(log, settings("1d,28d", factors=8, budget=Budget(retrains=4)), "a <small> log")


class TestReports:
    def test_one_cadence_is_that_of_the_contestants(self, result):
        strategies, contestants = result.cadences.strategies, result.contestants
        assert list(contestants) == ["frozen", "update", "warm", "full"]
        assert result.cadences.contestants_every == "28d"
        for name, kind in (("update every 28d", "update"), ("retrain every 28d", "full"), (NEVER, "frozen")):
            one, other = contestants[kind], strategies[name]
            assert (one.value, one.cpu_seconds, one.interval) == (other.value, other.cpu_seconds, other.interval)
        assert (contestants["frozen"].recovery, contestants["full"].difference) == (0.0, 0.0)
        assert len(contestants["update"].by_block) == result.blocks

    def test_a_block_adds_a_cadence(self, log):
        result = compare(log, settings("5%,20%", block=0.1), build=Recent)
        assert result.cadences.every == ["5%", "10%", "20%"]
        assert (result.cadences.contestants_every, result.block, result.blocks) == ("10%", pytest.approx(0.1), 5)
        assert result.block_events == 300

    def test_no_other_is_better_and_cheaper_than_the_front(self, result):
        found = result.cadences.strategies.values()
        for one in found:
            beaten = [o for o in found if o.value < one.value and o.cpu_seconds < one.cpu_seconds]
            assert one.front == (not beaten)

    def test_nine_of_ten_values_are_in_their_intervals(self, result):
        for one in result.cadences.strategies.values():
            assert one.coverage is None or 0.8 < one.coverage < 0.98
        assert result.cadences.strategies["update every 1d"].coverage is not None

    def test_json_has_the_old_names_and_the_new_ones(self, result, tmp_path):
        path = write(result, tmp_path)
        read = json.loads(path.with_name("compare.json").read_text())
        assert set(read) >= OLD_NAMES | {"every", "strategies", "advice", "questions"}
        assert read["advice"]["chosen"] in read["strategies"]
        assert read["every"] == ["1d", "28d"]
        blocks = compare(datasets.synthetic(events=1_000, users=50, items=80), Settings(block=0.2, seeds=1, factors=8))
        assert set(blocks.as_dict()) & set(read) == set(read) - {
            "every", "sizes", "contestants_every", "questions", "asked", "old_events", "shots", "shot_questions",
            "strategies", "advice",
        }  # fmt: skip
        assert set(blocks.as_dict()) <= set(read)

    def test_table_has_the_advice_and_fits_a_terminal(self, result):
        lines = table(result).splitlines()
        assert lines[0].startswith("a <small> log: 3,000 events; the later half")
        assert lines[1] == result.cadences.advice.sentence
        assert max(map(len, lines[2:])) <= 120
        named = [line[2:].split("  ")[0].removesuffix(" ~") for line in lines[4 : 4 + len(result.cadences.strategies)]]
        assert named == list(result.cadences.strategies)
        assert any(line.startswith(("  retrain every 1d ~ ", "* retrain every 1d ~ ")) for line in lines)

    def test_page_is_self_contained(self, result):
        text = page(result)
        assert not re.search(r"<script|https?://|src=|@import|url\(", text)
        assert not re.search(r"\bnan\b|\binf\b", text)
        assert "a &lt;small&gt; log" in text
        assert "<small>" not in text
        assert text.count('class="wide"') == text.count('class="narrow"') == 3
        for word in ("Quality against cost", "Quality over time", "New users", "What moved", "Every 28d, in detail"):
            assert word in text

    def test_command_line(self, log, tmp_path, capsys):
        path = tmp_path / "log.csv"
        rows = np.stack([log.users, log.items, log.values, log.times], axis=1)
        np.savetxt(path, rows, fmt="%d", delimiter=",", header="user,item,value,time", comments="")
        command = ["compare", "--data", str(path), "--value", "value", "--time", "time", "--factors", "8"]
        assert main([*command, "--every", "7d,20%", "--out", str(tmp_path / "out")]) == 0
        printed = capsys.readouterr()
        assert printed.err.startswith("log: reading the log\n")
        assert "log: 3,000 events; the later half" in printed.out
        read = json.loads((tmp_path / "out" / "compare.json").read_text())
        assert read["seeds"] == [0]
        assert set(read["contestants"]) == {"frozen", "update", "warm", "full"}
        assert main([*command, "--every", "7x", "--out", str(tmp_path / "none")]) == 2
        printed = capsys.readouterr()
        assert printed.err == (
            "fastmf: every: '7x' is no share (1%), number of events (1000) or time (1h, 7d) above zero\n"
        )
        assert not (tmp_path / "none").exists()
