"""Nonsense that can be seen: one line of warning that says what to do, and none where there is nothing to say."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmf
from fastmf import MF, Interactions, Update, losses, optimizers
from fastmf.errors import DataError, DataWarning
from fastmf.learners.decay import clock
from fastmf.log.history import History

COUNT, DAY = 2_000, 86_400
YEAR = 365 * DAY
MONTH = 30.0 * DAY
RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.integers(0, 60, COUNT), RNG.integers(0, 40, COUNT)
VALUES = RNG.integers(1, 6, COUNT)
TIMES = np.sort(RNG.integers(0, YEAR, COUNT)) + 1_700_000_000
DATES = TIMES.astype("datetime64[s]")
PAST = slice(0, 1_800)
NEXT = slice(1_800, 1_900)


def events(part: slice = slice(None), values: Any = VALUES, times: Any = TIMES, weights: Any = None) -> Interactions:
    columns = (None if one is None else one[part] for one in (USERS, ITEMS, values, times, weights))
    return Interactions(*columns)


def fitted(some: Interactions | None = None, loss: Any = losses.Squared(), solver: Any = None, **schedule: Any) -> MF:
    some = events(PAST) if some is None else some
    return MF(factors=8, loss=loss, solver=solver).fit(some, epochs=2, progress=False, **schedule)


def said(call: Callable[[], Any]) -> list[str]:
    """What a call warns of, each at a line of this file."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    assert all(one.category is DataWarning and one.filename == __file__ for one in found)
    lines = [str(one.message) for one in found]
    assert not any("\n" in line for line in lines)
    return lines


# ------------------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("loss", [losses.Squared(), losses.Huber(), losses.Logistic(), losses.Poisson()])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_values_that_are_all_one_are_told(loss: Any, value: float) -> None:
    batch = events(slice(0, 200), np.full(COUNT, value))
    ways = {
        "fit": lambda: fitted(batch, loss),
        "update": lambda: MF(8, loss).update(batch),
        "partial_fit": lambda: MF(8, loss).partial_fit(batch),
    }
    for call in ways.values():
        (line,) = said(call)
        assert f"all 200 events have the value {value:g}" in line
        assert type(loss).__name__ in line
        assert "losses.Confidence()" in line
        assert "losses.BPR()" in line


def test_values_without_weight_do_not_make_a_difference() -> None:
    weights = np.where(VALUES == 3, 1.0, 0.0)
    (line,) = said(lambda: fitted(events(weights=weights)))
    assert "the value 3" in line
    assert said(lambda: MF(8).update(events(slice(0, 100), weights=weights)))
    assert not said(lambda: fitted(events(weights=1 - weights)))


def test_single_events_that_are_all_one_are_told_when_they_are_flushed() -> None:
    model = MF(8)

    def stream() -> None:
        for user, item in zip(USERS[:30].tolist(), ITEMS[:30].tolist(), strict=True):
            model.learn_one(user, item)

    assert not said(stream)
    assert "all 30 events" in said(model.flush)[0]
    assert not said(model.flush)  # nothing since


@pytest.mark.parametrize("loss", [losses.Confidence(), losses.BPR(), losses.Logistic(negatives=2), losses.WARP()])
def test_losses_for_events_without_values_want_none(loss: Any) -> None:
    model = MF(8, loss).fit(events(PAST, None), epochs=1, progress=False)
    assert not said(lambda: model.update(events(NEXT, None)))


def test_a_batch_of_one_value_is_nothing_to_say_where_others_are_known() -> None:
    model = fitted()
    assert not said(lambda: model.update(events(NEXT, None)))
    clicks = fitted(events(PAST, VALUES > 3), losses.Logistic())
    for label in (0.0, 1.0):
        assert not said(lambda label=label: clicks.update(events(NEXT, np.full(COUNT, label))))


def test_a_few_events_may_agree() -> None:
    assert not said(lambda: MF(8).update(events(slice(0, 9), None)))
    assert said(lambda: MF(8).update(events(slice(0, 10), None)))
    model = MF(8)
    assert not said(lambda: model.update(events(slice(0, 5), None)))
    assert said(lambda: model.update(events(slice(5, 10), None)))  # it has seen ten by now


def test_a_warning_made_an_error_leaves_everything_as_it_was() -> None:
    model = fitted()
    before = model.user_factors.copy()
    with pytest.raises(DataWarning):
        model.fit(events(PAST, None))
    with pytest.raises(DataWarning):
        model.update(events(NEXT, VALUES * 1000))
    with pytest.raises(DataWarning):
        model.update(events(NEXT, times=TIMES * 1000))
    assert (model.version, len(model.history_)) == (0, 2)
    np.testing.assert_array_equal(model.user_factors, before)
    single = MF(8)
    for item in range(12):
        single.learn_one(1, item)
    with pytest.raises(DataWarning):
        single.flush()
    assert single.version == 0
    single.learn_one(1, 1, 2.0)
    assert single.flush().events == 13


def test_the_line_that_called_is_shown() -> None:
    with pytest.warns(DataWarning) as found:
        fastmf.MF(8).fit(events(PAST, None), epochs=1, progress=False)  # this very line
    text = Path(found[0].filename).read_text().splitlines()[found[0].lineno - 1]
    assert "this very line" in text


# ------------------------------------------------------------------------------------------------------ exploding


def imported(scale: float = 1.0, **settings: Any) -> MF:
    """Vectors of a model of implicit feedback, as they come from elsewhere."""
    source = fitted(events(PAST, None), losses.Confidence())
    ids = {"users": source.users.values, "items": source.items.values}
    return MF.from_factors(scale * source.user_factors, scale * source.item_factors, **ids, **settings)


def test_events_without_values_are_told_to_a_model_of_vectors() -> None:
    model = imported()
    for _ in range(2):  # what it was trained on it never knows
        assert "losses.Confidence()" in said(lambda: model.update(events(NEXT, None)))[0]
    assert not said(lambda: model.update(events(NEXT)))
    assert not said(lambda: model.update(events(NEXT, None)))  # by now it has seen values
    assert not said(lambda: imported(loss=losses.Confidence()).update(events(NEXT, None), epochs=3))


def test_an_update_that_made_its_own_events_worse_by_far_is_told() -> None:
    model = fitted(solver=optimizers.AdaGrad())
    (line,) = said(lambda: model.update(events(NEXT), rate=1.0))
    assert "the update took the loss of its own events from" in line
    assert "roll it back" in line
    assert not said(lambda: fitted(solver=optimizers.AdaGrad()).update(events(NEXT), rate=0.01))
    assert not said(lambda: fitted(solver=optimizers.AdaGrad()).update(events(NEXT), epochs=0))
    assert not said(lambda: fitted().update(events(NEXT)))


def test_values_on_another_scale_are_told() -> None:
    (line,) = said(lambda: fitted().update(events(NEXT, VALUES * 100)))
    assert "the model has seen values from 1 to 5" in line
    for factor in (1, 2, 0.1):
        assert not said(lambda factor=factor: fitted().update(events(NEXT, VALUES * factor)))


# ---------------------------------------------------------------------------------------------- units of the times


@pytest.mark.parametrize("factor", [10**3, 10**6, 10**9])
def test_times_in_another_unit_than_those_of_the_model_are_told(factor: int) -> None:
    (line,) = said(lambda: fitted().update(events(NEXT, times=TIMES * factor)))
    assert f"row 0: {TIMES[1800] * factor} is about {factor:,} times as large" in line
    assert "100 of 100 events" in line
    finer = fitted(events(PAST, times=TIMES * factor))
    (line,) = said(lambda: finer.update(events(NEXT)))
    assert f"about {factor:,} times as small" in line


def test_times_in_several_units_are_told_in_a_fit() -> None:
    times = TIMES.copy()
    times[[7, 40]] *= 1000
    (line,) = said(lambda: fitted(events(times=times)))
    assert line.startswith(f"times, row 7: {times[7]} is about 1,000 times as large")
    assert "2 of 2000 events" in line


def test_times_in_seconds_after_dates_are_told() -> None:
    (line,) = said(lambda: fitted(events(PAST, times=DATES)).update(events(NEXT)))
    assert "about 1,000,000 times as small" in line


@pytest.mark.parametrize("times", [np.arange(COUNT), np.arange(COUNT) ** 2, np.arange(COUNT) - 10**9])
def test_times_of_one_unit_are_nothing_to_say(times: np.ndarray) -> None:
    model = fitted(events(PAST, times=times))
    assert not said(lambda: model.update(events(NEXT, times=times)))
    assert not said(lambda: model.update(events(slice(1900, None), times=times)))


def test_times_in_another_unit_are_refused_where_all_others_would_fade() -> None:
    model = fitted(half_life=MONTH)
    with pytest.warns(DataWarning), pytest.raises(DataError, match="can hardly be of one unit"):
        model.update(events(NEXT, times=TIMES * 1000), half_life=MONTH)
    times = TIMES.copy()
    times[::3] *= 1000
    with pytest.warns(DataWarning), pytest.raises(DataError, match="can hardly be of one unit"):
        model.fit(events(times=times), half_life=MONTH)
    assert model.version == 0
    assert not said(lambda: model.update(events(NEXT), half_life=MONTH))


# ------------------------------------------------------------------------------------------------------ wrong clocks


@pytest.mark.parametrize("wrong", [1_700_000_000_000, 4_070_908_800], ids=["milliseconds", "the year 2099"])
@pytest.mark.parametrize("many", [1, 8])
def test_a_few_wrong_clocks_do_not_end_learning(wrong: int, many: int) -> None:
    """The weights are those of a fit in which these events are of the newest time of the others."""
    times, twin = TIMES.copy(), TIMES.copy()
    times[100 : 100 + many], twin[100 : 100 + many] = wrong, TIMES.max()
    (line,) = said(lambda: fitted(events(times=times), half_life=MONTH))
    assert line.startswith(f"times, row 100: {wrong} is ")
    assert f"{many} of 2000 events" in line
    with pytest.warns(DataWarning):
        model = fitted(events(times=times), half_life=MONTH)
    expected = fitted(events(times=twin), half_life=MONTH)
    np.testing.assert_array_equal(model.user_factors, expected.user_factors)
    after = [model.update(batch, half_life=MONTH) for batch in events(NEXT).batches(10)]
    assert all(delta.loss_before > 0 for delta in after)


@pytest.mark.parametrize("loss", [losses.Squared(), losses.Confidence(), losses.BPR()])
def test_a_wrong_clock_in_a_stream_does_not_end_learning(loss: Any) -> None:
    right, wrong = fitted(loss=loss), fitted(loss=loss)
    right.update(Interactions([0], [0], [3], [TIMES[1799]]), half_life=MONTH)
    lines = said(lambda: wrong.update(Interactions([0], [0], [3], [TIMES[1799] * 1000]), half_life=MONTH))
    assert len(lines) == 1
    assert "1 of 1 events" in lines[0]
    for batch in events(NEXT).batches(20):
        one, other = right.update(batch, half_life=MONTH), wrong.update(batch, half_life=MONTH)
        assert one.loss_before == pytest.approx(other.loss_before, rel=0.01)  # the one event goes on counting in full
        assert one.loss_before > 0


def test_many_wrong_clocks_are_told() -> None:
    times = TIMES.copy()
    times[::50] = 4_070_908_800
    (line,) = said(lambda: fitted(events(times=times), half_life=MONTH))
    assert "of 2000 events only 40 keep more than 1 % of their weight" in line


def test_a_stream_that_pauses_goes_on() -> None:
    """A few events after a long pause do not decide; more do."""
    model, later = fitted(half_life=MONTH), int(TIMES.max()) + 10 * YEAR
    for count in range(1, 9):
        assert len(said(lambda: model.update(Interactions([1], [1], [3], [later]), half_life=MONTH))) == 1
        assert clock(model._state.history, MONTH) == TIMES[1799], count  # type: ignore[union-attr]
    assert not said(lambda: model.update(Interactions([1], [1], [3], [later + DAY]), half_life=MONTH))
    assert clock(model._state.history, MONTH) == later + DAY  # type: ignore[union-attr]


def test_the_newest_time_decides_where_gaps_are_usual() -> None:
    model = fitted(events(slice(0, 40), times=np.arange(COUNT) * 1_000), half_life=100.0 * 1_000)
    history: History = model._state.history  # type: ignore[union-attr]
    assert clock(history, 1e5) == clock(history, 1.0) == 39_000
    assert clock(history, 1.0, np.array([50_000])) == 50_000


# -------------------------------------------------------------------------------------------------------- half-lives


@pytest.mark.parametrize("half_life", [30, MONTH], ids=["days", "seconds"])
@pytest.mark.parametrize("solver", [None, optimizers.AdaGrad()], ids=["beliefs", "steps"])
def test_a_half_life_in_too_large_a_unit_is_told(half_life: float, solver: Any) -> None:
    (line,) = said(lambda: fitted(events(times=DATES), solver=solver, half_life=half_life))
    assert f"half_life={half_life:g}: of 2000 events only 1 keep" in line
    assert "microseconds (364 days" in line  # how long it is, and what unit
    model = fitted(events(PAST, times=DATES), solver=solver)
    alone = [slice(1_800, 1_801)] if solver else []  # beliefs do not read the history, which would fade
    for part in (NEXT, *alone):
        (line,) = said(lambda part=part: model.copy().update(events(part, times=DATES), half_life=half_life))
        assert "give a half_life in microseconds, such as" in line
    assert said(lambda: model.refit(epochs=1, half_life=half_life, progress=False))


def test_a_half_life_in_too_small_a_unit_is_told() -> None:
    (line,) = said(lambda: fitted(half_life=MONTH * 1e6))
    assert "no event loses 0.01 % of its weight; their times span 3.15e+07" not in line  # of the past alone
    assert "no event loses 0.01 % of its weight; their times span" in line


def test_a_batch_that_comes_too_late_to_count_is_told() -> None:
    model = fitted(half_life=MONTH)
    (line,) = said(lambda: model.update(events(slice(0, 20)), half_life=MONTH))
    assert "none of 20 events counts" in line
    assert not said(lambda: model.update(events(slice(1_500, 1_520)), half_life=MONTH))  # late, and not too late


@pytest.mark.parametrize("days", [7, 60, 700])
def test_a_sensible_half_life_is_nothing_to_say(days: int) -> None:
    model = fitted(half_life=days * DAY)
    for size in (1, 10, 100):
        for batch in events(NEXT).batches(size):
            assert not said(lambda batch=batch: model.update(batch, half_life=days * DAY))


# -------------------------------------------------------------------------------------------------------- timedeltas

MONTHS = [timedelta(days=30), np.timedelta64(30, "D"), np.timedelta64(720, "h"), np.timedelta64(30 * DAY * 10**9, "ns")]


@pytest.mark.parametrize("month", MONTHS, ids=str)
def test_a_timedelta_is_its_microseconds(month: Any, tmp_path: Path) -> None:
    model, twin = (fitted(events(PAST, times=DATES), half_life=one) for one in (month, MONTH * 1e6))
    np.testing.assert_array_equal(model.user_factors, twin.user_factors)
    model.update(events(NEXT, times=DATES), half_life=month)
    twin.update(events(NEXT, times=DATES), Update(half_life=MONTH * 1e6))
    np.testing.assert_array_equal(model.user_factors, twin.user_factors)
    twin.save(tmp_path / "model")
    for other in (twin, copy.copy(twin), pickle.loads(pickle.dumps(twin)), fastmf.load(tmp_path / "model")):
        other.refit(epochs=2, half_life=month, progress=False)
        other.refit(epochs=1, half_life=month, warm=True, progress=False)
        np.testing.assert_array_equal(other.user_factors, twin.user_factors)


def test_a_timedelta_goes_with_dates_however_they_came() -> None:
    listed = Interactions(USERS, ITEMS, VALUES, DATES.tolist())
    parts = [listed[:900], listed[900:]]
    for some in (listed, Interactions.concatenate(parts), pickle.loads(pickle.dumps(listed)), listed.sort_by_time()):
        assert some.dated
        fitted(some, half_life=timedelta(30))
    assert not events().dated
    assert not Interactions([1], [1]).dated


@pytest.mark.parametrize(
    ("solver", "alone"), [(None, {}), (optimizers.AdaGrad(), {"history_epochs": 0})], ids=["beliefs", "steps"]
)
def test_a_model_that_starts_with_an_update_takes_the_unit_of_its_first_times(
    solver: Any, alone: dict[str, Any]
) -> None:
    model = MF(8, solver=solver)
    model.update(events(slice(0, 100), times=None))
    first = model.update(events(slice(100, 200), times=DATES), half_life=timedelta(30), **alone)
    assert model.update(events(slice(200, 300), times=DATES.astype("datetime64[us]").astype(int))).events == 100
    twin = model.copy()
    model.rollback(to=first.parent_version)
    with pytest.raises(DataError, match="timedelta"):
        model.update(events(slice(100, 200)), half_life=timedelta(30), **alone)
    twin.update(events(slice(300, 310), times=DATES), half_life=timedelta(30), **alone)


def test_a_timedelta_is_refused_where_the_unit_is_unknown() -> None:
    model = fitted()
    for call in (
        lambda: model.fit(events(), half_life=timedelta(30)),
        lambda: model.refit(half_life=timedelta(30)),
        lambda: model.update(events(NEXT), half_life=timedelta(30)),
        lambda: model.update(events(NEXT), half_life=np.timedelta64(30, "D")),
        lambda: model.update(events(NEXT, times=DATES.astype("datetime64[us]")), half_life=timedelta(30)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # seconds, then microseconds
            with pytest.raises(DataError, match=r"half_life is .*timedelta.*whose unit is not known"):
                call()
    assert model.version == 0


@pytest.mark.parametrize(
    "half_life",
    [timedelta(0), timedelta(-1), np.timedelta64("NaT"), np.timedelta64(1, "M"), np.timedelta64(3), "30d"],
    ids=repr,
)
def test_a_timedelta_that_is_no_length_is_refused(half_life: Any) -> None:
    for call in (lambda: fitted(half_life=half_life), lambda: Update(half_life=half_life)):
        with pytest.raises(ValueError, match="half_life must be a finite float32 number > 0, or a timedelta > 0"):
            call()
