"""Warnings about suspicious input: valid data from which little or nothing can be learned.

Each check costs O(size of the new data) and runs before anything is changed, so that a caller who turns warnings into
errors finds the model unchanged.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np

from fastmf.errors import DataError, warn
from fastmf.interactions import Interactions
from fastmf.learners.decay import GONE, clock
from fastmf.log.events import Events
from fastmf.log.history import History
from fastmf.state import State

__all__ = ["judge_batch", "judge_fading", "judge_fit", "judge_losses", "judge_values"]

_ENOUGH = 10  # minimum number of events; fewer may be equal, or far apart, by chance
_RECENT = 64  # newest events, from which typical times and values of a history are taken
_LIVES = float(np.log2(100))  # half-lives after which 1 % of a weight is left
_SHARE = 0.01  # of the events; if fewer keep their weight, nearly all are gone
_MEAN_LIFE = float(1 / np.log(2))  # half-lives: a uniform stream weighs in total what this much of it weighs undecayed
_EPOCH = 1e8  # times from here on are timestamps; smaller ones may be days or sequence numbers
_OTHER_UNIT = 100  # ratio of times: larger than between two dates of one log, smaller than between units
_OTHER_SCALE = 10  # ratio to the largest value so far
_WORSE = 3  # ratio of the loss after to the loss before
_UNITS = {10.0**power: f"about {10**power:,} times" for power in (3, 6, 9, 12)}


# --- values -----------------------------------------------------------------------------------------------------------


def judge_values(state: State, objective: Any) -> None:
    """Warn if all values so far are equal and the loss predicts values."""
    value = state.value
    if value is not None and len(state.history) >= _ENOUGH and objective.on_scale:
        _warn_alike(len(state.history), value, objective)


def _warn_alike(count: int, value: float, objective: Any) -> None:
    warn(
        f"values: all {count} events have the value {value:g}, and that is all there is to learn under "
        f"{type(objective.loss).__name__}; for events without values take loss=losses.Confidence() or losses.BPR()"
    )


def _alike(values: np.ndarray, weights: np.ndarray | None) -> bool:
    """Whether all values with nonzero weight are equal."""
    if weights is not None:
        values = values[weights > 0]
    return values.size > 0 and bool((values == values[0]).all())


def _median(values: np.ndarray) -> float:
    return float(np.median(values.astype(np.float64)))  # the mean of the middle two may overflow float32


def _judge_values_of_batch(state: State, batch: Interactions, objective: Any) -> None:
    history, (low, high), values = state.history, state.seen, batch.values
    if not objective.on_scale or len(history) + len(batch) < _ENOUGH or not len(batch):
        return
    other = _OTHER_SCALE * max(abs(low), abs(high))
    if 0 < other < np.inf and abs(float(values[len(values) // 2])) > other and abs(_median(values)) > other:
        warn(
            f"values: their median is {_median(values):.3g}, and the model has seen values from {low:g} to {high:g}; "
            "on another scale they spoil the rows that they move: bring them to that scale, or fit anew"
        )
    elif (low == -np.inf or low >= high) and _alike(values, batch.weights):  # else the model has seen several
        value = float(values[0] if batch.weights is None else values[batch.weights > 0][0])
        if low == -np.inf:  # imported vectors: the range of their training values is unknown
            known = history.recent(_RECENT).values
            low, high = (float(known.min()), float(known.max())) if known.size else (np.inf, -np.inf)
        if (low, high) in ((value, value), (np.inf, -np.inf)):
            _warn_alike(len(history) + len(batch), value, objective)


# --- times ------------------------------------------------------------------------------------------------------------


def _far(one: float, other: float) -> bool:
    """Whether two times are too far apart to be in the same unit."""
    small, large = sorted((abs(one), abs(other)))
    return large >= _EPOCH and large >= _OTHER_UNIT * max(small, 1)


def _ends(times: np.ndarray) -> tuple[int, int]:
    """The oldest and the newest time."""
    return int(np.minimum.reduce(times)), int(np.maximum.reduce(times))


def _usual(times: np.ndarray) -> int:
    """A typical time: the median of a sample."""
    some = np.linspace(0, times.size - 1, min(times.size, 1001)).astype(np.int64)
    return int(np.sort(times[some])[some.size // 2])


def _usual_of(history: History, times: np.ndarray) -> int:
    """A typical time of the newest events of the history, or of the new events where it has none."""
    known = history.recent(_RECENT).times
    return _usual(times if known is None or not known.size else known)


def _judge_units(times: np.ndarray, usual: int, whose: str) -> bool:
    """Warn about times that can hardly be in the unit of most; returns whether there are any."""
    sizes = np.abs(times.astype(np.float64))
    large, small = np.maximum(sizes, abs(usual)), np.maximum(np.minimum(sizes, abs(usual)), 1)
    strange = (large >= _EPOCH) & (large >= _OTHER_UNIT * small)
    if not strange.any():
        return False
    row = int(np.argmax(strange))
    ratio = float(large[row] / small[row])
    told = next((word for size, word in _UNITS.items() if 0.4 < ratio / size < 2.5), "many times")
    warn(
        f"times, row {row}: {times[row]} is {told} as {'large' if sizes[row] > abs(usual) else 'small'} as {usual}, "
        f"around which {whose} are, and {int(strange.sum())} of {times.size} events are like that; "
        "bring all times to one unit"
    )
    return True


def _require_possible(now: int, usual: int) -> None:
    """Raise DataError if times in another unit would make all other events decay to nothing."""
    if now > usual and _far(now, usual):
        raise DataError(
            f"half_life counts age from the newest time, {now}, and next to it events around {usual} would be gone: "
            "they can hardly be of one unit; bring all times to one"
        )


# --- half-lives -------------------------------------------------------------------------------------------------------


def _spelled(length: float, dated: bool) -> str:
    """A duration with its unit, as text."""
    if not dated:
        return f"{length:.3g}"
    return f"{length:.3g} microseconds ({timedelta(microseconds=round(min(length, 8e19)))})"


def _advice(span: float, dated: bool) -> str:
    unit = "microseconds" if dated else "the unit of the times"
    return f"their times span {_spelled(span, dated)}; give a half_life in {unit}, such as {_spelled(span / 4, dated)}"


def _kept(times: np.ndarray, now: int, half_life: float, lives: float = _LIVES) -> int:
    """The number of events less than `lives` half-lives old; by default those with over 1 % of their weight."""
    return int(np.count_nonzero(times > max(now - math.ceil(min(lives * half_life, 2.0**63)), -(2**63))))


def _nearly_all_gone(kept: int, count: int) -> bool:
    return count >= _ENOUGH and kept - 1 < _SHARE * (count - 1)


def _warn_gone(kept: int, count: int, half_life: float, span: float, dated: bool) -> None:
    warn(
        f"half_life={half_life:g}: of {count} events only {kept} keep more than 1 % of their weight; "
        + _advice(span, dated)
    )


def _judge_ahead(times: np.ndarray, now: int) -> None:
    ahead = times > now
    if ahead.any():
        row = int(np.argmax(ahead))
        warn(
            f"times, row {row}: {times[row]} is so far ahead of all others that next to it nothing else would count; "
            f"{int(ahead.sum())} of {times.size} events are like that, and half_life counts age from {now} instead"
        )


def judge_fit(events: Events, objective: Any, state: State, half_life: float | None) -> None:
    """Warn about data from which a fit will learn little."""
    if state.value is None and objective.on_scale and _alike(events.values, events.weights):
        _warn_alike(events.users.size, float(events.values[np.argmax(events.weights > 0)]), objective)  # type: ignore[operator]
    else:
        judge_values(state, objective)
    times = events.times
    if times is None or not times.size:
        return
    times = times[state.history.untimed or 0 :]
    usual, (low, high) = _usual(times), _ends(times)
    strange = (_far(low, usual) or _far(high, usual)) and _judge_units(times, usual, "most")
    if half_life is None:
        return
    now, dated = clock(state.history, half_life), state.dated
    _require_possible(now, usual)
    if not strange:
        _judge_ahead(times, now)
    kept, count, span = _kept(times, now, half_life), times.size, float(now - low)
    lonely = 2 * kept < count and kept == _kept(times, now, half_life, GONE)  # followed by a gap
    if _nearly_all_gone(kept, count) or (lonely and count >= _ENOUGH):
        _warn_gone(kept, count, half_life, span, dated)
    elif count >= _ENOUGH and span * 1e4 < half_life:
        warn(f"half_life={half_life:g}: no event loses 0.01 % of its weight; {_advice(span, dated)}")


def judge_batch(state: State, batch: Interactions, objective: Any) -> None:
    """Warn about values and times of a batch that do not match those the model has seen."""
    _judge_values_of_batch(state, batch, objective)
    times, last = batch.times, state.history.last_time
    if times is None or not times.size:
        return
    low, high = _ends(times)
    last = low if last is None else last
    if _far(low, last) or _far(high, last):
        _judge_units(times, _usual_of(state.history, times), "those of the model" if len(state.history) else "most")


def judge_fading(state: State, batch: Interactions, half_life: float, dated: bool, reads_history: bool) -> None:
    """Warn if almost none of the batch, or of the history, would count under a half-life; DataError if units differ."""
    times, history = batch.times, state.history
    assert times is not None
    now, (low, high) = clock(history, half_life, times), _ends(times)
    if high > now or _far(now, low if history.last_time is None else history.last_time):
        usual = _usual_of(history, times)
        _require_possible(now, usual)
        if not _far(high, usual):
            _judge_ahead(times, now)
    kept, count = _kept(times, now, half_life), times.size
    if not kept:
        warn(
            f"half_life={half_life:g}: none of {count} events counts, for the newest, of time {high}, is "
            f"{(now - high) / half_life:.3g} half-lives older than {now}, the newest time of the model"
        )
        return
    oldest = low if history.oldest is None else min(low, history.oldest)
    everything, span = len(history) + count, float(now - oldest)
    if _nearly_all_gone(kept, count):
        _warn_gone(kept, count, half_life, span, dated)
    elif (
        reads_history
        and everything >= _ENOUGH
        and _MEAN_LIFE * half_life * everything < span * min(_ENOUGH, _SHARE * everything)
    ):
        warn(
            f"half_life={half_life:g}: of the {everything} events of the model next to none counts any more; "
            + _advice(span, dated)
        )


# --- losses -----------------------------------------------------------------------------------------------------------


def judge_losses(before: float, after: float, state: State, batch: Interactions, objective: Any) -> None:
    """Warn if an update made the loss on its own events much worse, and worse than a constant prediction."""
    if after <= _WORSE * max(before, 0.0) or not len(batch) or objective.alternating:  # ALS fits all events
        return
    if after > _of_a_constant(state, batch, objective):
        advice = "take a smaller rate, or the loss that the vectors were made for, such as losses.Confidence()"
        warn(
            f"the update took the loss of its own events from {before:.3g} to {after:.3g}: the values, or the vectors, "
            f"are on another scale than {type(objective.loss).__name__} and its steps expect; roll it back, and "
            + ("look for values that are wrong" if objective.variational else advice)
        )


def _of_a_constant(state: State, batch: Interactions, objective: Any) -> float:
    """The largest loss of an event so far under a constant prediction."""
    if not objective.on_scale:  # no values: the loss of a random list is a few units at most
        return 10.0
    score = float(state.global_mean) + state.numbers["centre"]
    targets = (*state.seen, float(batch.values.min()), float(batch.values.max()))
    return 1e-6 + max(float(objective.loss.value(score, target)) for target in targets if np.isfinite(target))
