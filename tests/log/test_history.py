"""The event log against plain lists: appending, rolling back, a row's past, and the merging of its tail."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import fastmf.log.history
from fastmf.errors import CapacityError
from fastmf.gate import Gate
from fastmf.kernels.rows import log
from fastmf.kernels.rows.grouping import Numbering, order_by
from fastmf.kernels.rows.log import MERGED_FROM
from fastmf.log.events import Events
from fastmf.log.history import Batch, History, Wanted

COUNTS = {"users": 5, "items": 3}  # few rows, so that their tails grow long
PIECE = fastmf.log.history._PIECE


def random_events(count: int, seed: int, timed: bool = False, weighted: bool = True) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        rng.integers(0, COUNTS["users"], count).astype(np.int32),
        rng.integers(0, COUNTS["items"], count).astype(np.int32),
        rng.random(count, np.float32),
        rng.random(count, np.float32) if weighted else None,
        rng.integers(-100, 100, count) if timed else None,
    )


def append(history: History, events: Events) -> None:
    history.make_room(*COUNTS.values(), events.users.size)
    history.append_at(len(history), events)


def concatenated(parts: list[Events]) -> Events:
    """One log of several; an event without a time has that of the event before it, and 0 before the first time.

    Without any weight no event has one, else those of other parts weigh 1.
    """
    if not parts:
        return random_events(0, 0, weighted=False)
    columns = [np.concatenate(column) for column in zip(*(part[:3] for part in parts), strict=True)]
    weights: list[float] = []
    for part in parts:
        weights += [1.0] * part.users.size if part.weights is None else part.weights.tolist()
    given = any(part.weights is not None and part.weights.size for part in parts)
    columns.append(np.array(weights, np.float32) if given else None)
    if all(part.times is None or not part.times.size for part in parts):
        return Events(*columns)
    times: list[int] = []
    for part in parts:
        unknown = [times[-1] if times else 0] * part.users.size
        times += unknown if part.times is None else part.times.tolist()
    return Events(*columns, np.array(times))


def assert_same(history: History, expected: Events) -> None:
    assert len(history) == expected.users.size
    for name, found, column in zip(Events._fields, history.events, expected, strict=True):
        if column is None:
            assert found is None, name
        else:
            np.testing.assert_array_equal(found, column, name)


def assert_reads(history: History, log: Events, side: str, rows: np.ndarray, limit: int | None) -> None:
    """What the history tells of some rows is what the log has on them, oldest first."""
    found, bounds = history.of(side, rows, limit)
    column = getattr(log, side)
    positions = [np.flatnonzero(column == row)[-limit if limit else None :] for row in rows]
    positions = [one[:0] if limit == 0 else one for one in positions]
    assert bounds.tolist() == np.cumsum([0, *map(len, positions)]).tolist()
    expected = log.weighed().take(np.concatenate([np.empty(0, np.int64), *positions]))
    positions = np.repeat(np.arange(len(rows)), np.diff(bounds))
    expected = expected._replace(**{side: positions})
    for name, one, other in zip(Events._fields, found, expected, strict=True):
        np.testing.assert_array_equal(one, other, name)


class HistoryAgainstLists(RuleBasedStateMachine):
    """`parts` are the events appended, batch by batch."""

    @initialize(count=st.integers(1, 60), seed=st.integers(0, 99), built=st.booleans(), weighted=st.booleans())
    def start(self, count: int, seed: int, built: bool, weighted: bool) -> None:
        fastmf.log.history._PIECE = 16  # so that there are many
        self.history, self.parts = History(max(COUNTS.values()), 40 * 2000, Gate()), []
        if built:
            self.parts = [random_events(count, seed, weighted=weighted)]
            self.history.build(self.parts[0], *COUNTS.values())

    @rule(count=st.integers(0, 60), seed=st.integers(0, 99), timed=st.booleans(), weighted=st.booleans())
    def append(self, count: int, seed: int, timed: bool, weighted: bool) -> None:
        events = random_events(count, seed, timed, weighted)
        append(self.history, events)
        self.parts.append(events)

    @precondition(lambda self: self.parts)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        kept = data.draw(st.integers(0, len(self.parts)))
        self.parts = self.parts[:kept]
        self.history.truncate(sum(part.users.size for part in self.parts))

    @rule(side=st.sampled_from(sorted(COUNTS)), limit=st.none() | st.integers(0, 40), data=st.data())
    def read(self, side: str, limit: int | None, data: st.DataObject) -> None:
        """Also rows more than once, as in a batch of questions."""
        rows = np.array(data.draw(st.lists(st.integers(0, COUNTS[side] - 1), max_size=6)), np.int32)
        assert_reads(self.history, concatenated(self.parts), side, rows, limit)

    @rule()
    def read_everything(self) -> None:
        for side, count in COUNTS.items():
            assert_reads(self.history, concatenated(self.parts), side, np.arange(count, dtype=np.int32), None)

    @rule()
    def ask_for_the_newest_time(self) -> None:
        """Of those that have one; others have that of an event before them."""
        timed = [n for n, part in enumerate(self.parts) if part.times is not None and part.times.size]
        times = concatenated(self.parts[timed[0] :]).times if timed else None
        assert self.history.newest == (None if times is None else times.max())

    def teardown(self) -> None:
        fastmf.log.history._PIECE = PIECE

    @invariant()
    def the_log_is_all_there(self) -> None:
        assert_same(self.history, concatenated(self.parts))


TestHistory = HistoryAgainstLists.TestCase


def test_reading_lays_tails_out_at_a_constant_price() -> None:
    """However often rows are read while they grow, no more than three positions are written for each event."""
    history, count = History(5, 40 * 20_000, Gate()), 0
    for seed in range(1000):
        append(history, random_events(10, seed))
        count += 10
        for side, rows in COUNTS.items():
            history.of(side, np.arange(rows, dtype=np.int32))
            used = history._sides[side].used
            assert used <= 3 * count
    assert used > count  # so there were merges
    for side, rows in COUNTS.items():
        assert history._sides[side].tailed[:rows].max() < history._sides[side].based[:rows].max() + MERGED_FROM


def test_a_base_that_is_full_leaves_tails_as_they_are() -> None:
    history, users = History(5, 40 * 300, Gate()), np.arange(5, dtype=np.int32)
    for seed in range(40):
        events = random_events(250, seed)
        append(history, events)
        assert_reads(history, events, "users", users, None)
        history.truncate(0)
    assert 250 < history._sides["users"].used <= 3 * 250


def test_the_newest_time_costs_what_is_new() -> None:
    """Whole pieces of the log are looked at once, whatever comes in or is taken off behind them."""
    history = History(5, 40 * 4 * PIECE, Gate())
    old = random_events(3 * PIECE, 0, timed=True)
    history.build(old, *COUNTS.values())
    assert history.newest == old.times.max()
    history.events.times[: 3 * PIECE] = 1_000  # not looked at again
    append(history, random_events(10, 1, timed=True)._replace(times=np.full(10, 500)))
    assert history.newest == 500
    history.truncate(3 * PIECE)
    assert history.newest == old.times.max()
    history.truncate(3 * PIECE - 1)  # now the last piece is not whole
    assert history.newest == 1_000


def test_a_full_log_refuses() -> None:
    history = History(5, 40 * 100, Gate())
    append(history, random_events(90, 0))
    history.require_room(10)
    with pytest.raises(CapacityError, match="101 events exceed the memory budget of 4000 bytes"):
        history.require_room(11)


def test_rolling_back_the_first_times_forgets_that_there_were_any() -> None:
    history, past = History(5, 40 * 1000, Gate()), random_events(20, 0)
    history.build(past, *COUNTS.values())
    append(history, random_events(10, 1, timed=True))
    assert history.events.times is not None
    history.truncate(20)
    assert_same(history, past)
    later = random_events(10, 2), random_events(5, 3, timed=True)
    for events in later:
        append(history, events)
    assert_same(history, concatenated([past, *later]))
    assert history.events.times[:30].tolist() == [0] * 30


def test_weights_are_kept_from_the_first_event_that_has_one() -> None:
    history, past = History(5, 40 * 1000, Gate()), random_events(20, 0, weighted=False)
    history.build(past, *COUNTS.values())
    later = random_events(10, 1), random_events(5, 2, weighted=False)
    for events in later:
        append(history, events)
    assert not history._log.weights[:20].any()
    expected = concatenated([past, *later])
    for first, last in ((0, 35), (0, 20), (15, 25), (20, 35), (32, 35)):
        found = history.between(first, last).weighed().weights
        assert found.tolist() == expected.weights[first:last].tolist()
    history.truncate(20)
    assert_same(history, past)
    assert history.unweighted is None


def test_rows_written_where_the_log_keeps_them_are_kept() -> None:
    history, events = History(5, 40 * 1000, Gate()), random_events(30, 0)
    history.make_room(0, 0, 30)
    rows = {side: history.room(side, 30) for side in COUNTS}
    for side, column in rows.items():
        column[:] = getattr(events, side)
    assert len(history) == 0
    history.build(events._replace(**rows), *COUNTS.values())
    assert_same(history, events)
    for side, count in COUNTS.items():
        assert_reads(history, events, side, np.arange(count, dtype=np.int32), None)


def test_an_event_without_a_time_has_that_of_the_newest() -> None:
    history = History(5, 40 * 1000, Gate())
    assert history.times_of(None, 3) is None
    append(history, random_events(4, 0)._replace(times=np.array([3, 1, 4, 1])))
    append(history, random_events(2, 1)._replace(times=np.array([5, 9])))
    assert history.times_of(None, 3).tolist() == [9, 9, 9]
    assert history.times_of(np.array([2, 6]), 2).tolist() == [2, 6]
    history.truncate(3)
    assert history.times_of(None, 2).tolist() == [4, 4]
    history.truncate(0)
    assert history.times_of(None, 1) is None


def test_columns_that_do_not_fit_are_refused() -> None:
    good = random_events(10, 0, timed=True)
    good.require(*COUNTS.values())
    good._replace(weights=None, times=None).require(*COUNTS.values())
    for name, column, message in (
        ("values", good.values.astype(np.float64), "values are not a column of float32"),
        ("items", good.items[:9], "items are not a column of int32"),
        ("weights", good.weights.astype(np.float64), "weights are not a column of float32"),
        ("weights", -good.weights, "a weight is negative"),
        ("weights", good.weights * np.float32(np.inf), "not all finite"),
        ("values", good.values + np.float32(np.nan), "not all finite"),
        ("users", np.full(10, 5, np.int32), "users beyond the 5"),
        ("items", np.full(10, -1, np.int32), "items beyond the 3"),
    ):
        with pytest.raises(ValueError, match=message):
            good._replace(**{name: column}).require(*COUNTS.values())


# --- rows with what is new ------------------------------------------------------------------------------------------


def recalled(history: History, side: str, new: Events, limit: int, value: float | None = None) -> list[Events]:
    """Of every row of a side what it has met, once `new` is in; of the other side, rows."""
    other, rows = "items" if side == "users" else "users", np.arange(COUNTS[side], dtype=np.int32)
    order, starts = order_by(getattr(new, side), rows.size)
    bounds = np.concatenate([[0], np.cumsum(np.minimum(history.counts(side, rows), limit) + np.diff(starts))])
    named, marks = np.arange(1, dtype=np.int32), np.zeros(COUNTS[other], np.int32)
    numbering = Numbering.of(named, marks, COUNTS[other])
    local = {0: 0}  # the batch names row 0 of the other side alone, so that the others get their numbers as they come
    numbers = np.array([local[row] for row in getattr(new, other).tolist()], np.int32)
    times = np.empty(0, np.int64) if new.times is None else new.times
    batch = Batch((numbers, new.values, new.weights, times), order, starts)
    limits, wanted = np.full(rows.size, limit), Wanted(new.times is not None, value)
    found = history.recall(side, rows, bounds, limits, numbering, batch, wanted)
    met = numbering.end()
    assert not marks.any()
    assert sorted(met.tolist()) == sorted({0, *getattr(history.events, other).tolist()})
    columns = found._replace(**{side: np.repeat(rows, np.diff(bounds)), other: met[getattr(found, other)]})
    return [columns.take(slice(*pair)) for pair in itertools.pairwise(bounds)]


@given(past=st.integers(0, 1 << 40), new=st.integers(1, 1 << 20), few=st.sampled_from([0, 1, 64]))
@example(past=128, new=1, few=64)
@example(past=129, new=7, few=64)
@example(past=135, new=1, few=64)
def test_rows_that_grow_little_are_read_in_part(past: int, new: int, few: int) -> None:
    limit = log.limit_of.py_func(past, new, 1_000, few)
    step = max(2 ** (past.bit_length() - 1) // 16, 1) if past else 1
    grows = any(past < multiple <= past + new for multiple in range((past // step + 1) * step, past + new + 1, step))
    assert limit == (few if few and past > 2 * few and not grows else 1_000)
    limits = np.empty(1, np.int64)
    log.choose_limits(np.array([past]), np.array([new]), 1_000, few, limits)
    assert limits[0] == limit


@pytest.mark.parametrize("side", sorted(COUNTS))
@pytest.mark.parametrize("timed", [False, True])
def test_rows_are_recalled_with_what_is_new_behind_their_past(side: str, timed: bool) -> None:
    log = History(8, 1 << 20, Gate())
    parts = [random_events(60, seed, timed) for seed in (0, 1)]
    log.build(parts[0], *COUNTS.values())
    append(log, parts[1])
    new, other = random_events(12, 2, timed), "items" if side == "users" else "users"
    new = new._replace(**{other: np.zeros(12, np.int32)})
    whole = concatenated([*parts, new])
    for row, found in enumerate(recalled(log, side, new, 1_000)):
        expected = whole.take(np.flatnonzero(getattr(whole, side) == row))
        for name, column, wanted in zip(Events._fields, found, expected, strict=True):
            assert (column is None) == (wanted is None)
            if column is not None:
                np.testing.assert_array_equal(column, wanted, name)


def test_a_long_row_is_recalled_by_its_newest_events_and_a_sample_that_stands_for_the_others() -> None:
    log, past = History(8, 1 << 20, Gate()), random_events(400, 0, weighted=False)
    log.build(past, *COUNTS.values())
    new = random_events(10, 1)._replace(users=np.zeros(10, np.int32))
    for row, found in enumerate(recalled(log, "items", new, 10)):
        mine, more = past.take(past.items == row), np.count_nonzero(new.items == row)
        np.testing.assert_array_equal(found.values[5:10], mine.values[-5:])
        np.testing.assert_array_equal(found.weights[5:10], 1)
        np.testing.assert_array_equal(found.values[10:], new.values[new.items == row])
        assert set(found.values[:5].tolist()) <= set(mine.values[: mine.users.size // 2].tolist())
        assert found.weights[:10].sum() == pytest.approx(mine.users.size)
        assert found.users.size == 10 + more


def test_a_value_that_all_share_is_not_read() -> None:
    log = History(8, 1 << 20, Gate())
    log.build(random_events(60, 0), *COUNTS.values())
    new = random_events(5, 1)._replace(items=np.zeros(5, np.int32))
    for found in recalled(log, "users", new, 1_000, value=2.5):
        past = found.users.size - np.count_nonzero(new.users == (found.users[0] if found.users.size else -1))
        assert (found.values[:past] == 2.5).all()


def test_an_index_made_late_is_that_made_at_once() -> None:
    """The events of a fit are indexed when first asked for, perhaps after others came or went, perhaps by threads."""
    first, later = random_events(400, 1), random_events(60, 2)
    for gone in (0, 30, 200):
        early, late = (History(5, 40 * 1_000, Gate()) for _ in range(2))
        for one in (early, late):
            one.build(first, *COUNTS.values())
        for side in COUNTS:
            early.of(side, np.arange(COUNTS[side], dtype=np.int32))
        for one in (early, late):
            append(one, later)
            one.truncate(len(one) - gone)  # 200: some of the first too
        for side, count in COUNTS.items():
            rows = np.arange(count, dtype=np.int32)
            with ThreadPoolExecutor(4) as pool:
                found = list(pool.map(late.of, [side] * 4, [rows] * 4))
            for events, bounds in found:
                expected, expected_bounds = early.of(side, rows)
                np.testing.assert_array_equal(bounds, expected_bounds)
                for column, wanted in zip(events[:4], expected[:4], strict=True):
                    np.testing.assert_array_equal(column, wanted)
