"""Figures of strategies, from their answers: values and their intervals, groups, time, new users, forgetting."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.comparison.outcome import Outcome
from fastmf.comparison.prequential import Course, Stage
from fastmf.comparison.questions import SHOTS
from fastmf.comparison.results import StrategyOutcome
from fastmf.comparison.sampling import Estimate, estimate
from fastmf.comparison.strategies import Strategy
from fastmf.evaluation import GROUPS, bootstrap, sign

__all__ = ["Tally"]

Mask = NDArray[np.bool_]
Interval = tuple[float, float]

POINTS = 20  # of the curve over time


class Tally(NamedTuple):
    """All answers of all strategies.

    Attributes
    ----------
    stage : Stage
    strategies : dict of str to Strategy
        By name.
    courses : dict of str to list of Course
        By name; one for each seed.
    """

    stage: Stage
    strategies: dict[str, Strategy]
    courses: dict[str, list[Course]]

    def outcomes(self) -> dict[str, StrategyOutcome]:
        """The outcome of each strategy."""
        drawn = self.bootstrap()
        found = {name: self._outcome(name, drawn) for name in self.strategies}
        better = sign(self.stage.questions.metric)
        return {name: one._replace(front=_on_front(one, found.values(), better)) for name, one in found.items()}

    def mean(
        self, name: str, group: str | None = None, mask: Mask | None = None, seed: int | None = None
    ) -> Estimate | None:
        """The mean loss of a strategy over a group and a mask of the questions, pooled over seeds or with one."""
        row, chosen = self.stage.questions.row_and_mask(group)
        chosen = chosen if mask is None else chosen & mask
        strategy, found = self.strategies[name], []
        for number, course in enumerate(self.courses[name]):
            if seed in (None, number):
                control = self.courses[self._control(strategy)][number].answers.losses[row] if course.sample else None
                losses = course.answers.losses[row]
                found.append(estimate(losses, course.sample, self._segments_of(strategy), control, chosen))
        known = [one for one in found if one is not None]
        if len(known) < len(found) or not known:
            return None
        return Estimate(
            float(np.mean([one.mean for one in known])), sum(one.variance for one in known) / len(known) ** 2
        )

    def value(
        self, name: str, group: str | None = None, mask: Mask | None = None, seed: int | None = None
    ) -> float | None:
        """The metric of a strategy over a group and a mask of the questions."""
        found = self.mean(name, group, mask, seed)
        return None if found is None else self._finished(found.mean)

    def difference(self, name: str, other: str, drawn: dict[str, Any]) -> Interval:
        """95 % interval of the difference of two strategies' values on the same questions.

        Of one whose retrains are sampled, what depends on the users is taken from the strategy that is its control.
        """
        if name == other:
            return 0.0, 0.0
        if name in drawn and other in drawn:
            return _quantiles(drawn[name] - drawn[other])
        gap = (self.value(name) or 0.0) - (self.value(other) or 0.0)
        reach = math.hypot(*(0.0 if one in drawn else self._reach(one) for one in (name, other)))
        near = [one if one in drawn else self._control(self.strategies[one]) for one in (name, other)]
        users = 0.0 if near[0] == near[1] else 1.96 * float(np.std(drawn[near[0]] - drawn[near[1]]))
        return gap - math.hypot(reach, users), gap + math.hypot(reach, users)

    def outcome_at(self, every: str, names: dict[str, str], found: dict[str, StrategyOutcome]) -> dict[str, Outcome]:
        """The outcomes of contestants as of a comparison by blocks, given the strategy of each at one cadence."""
        drawn = self.bootstrap()
        places = [self.stage.questions.between(*bounds) for bounds in self.stage.segments(every)]
        results, better = {}, sign(self.stage.questions.metric)
        for contestant, name in names.items():
            one, strategy = found[name], self.strategies[name]
            full, warm = (strategy.other(kind, every).name for kind in ("full", "warm"))
            frozen, reference = found[strategy.other("frozen").name].value, found[full]
            best = max((found[other].value for other in (full, warm) if other in found), key=lambda v: better * v)
            results[contestant] = Outcome(
                value=one.value,
                interval=one.interval,
                difference=one.value - reference.value,
                difference_interval=self.difference(name, full, drawn),
                recovery=recovery(one.value, frozen, reference.value, better),
                recovery_best=recovery(one.value, frozen, best, better),
                cpu_seconds=one.cpu_seconds,
                wall_seconds=one.wall_seconds,
                speedup=reference.cpu_seconds / one.cpu_seconds if one.cpu_seconds else None,
                rows_moved=one.rows_moved,
                by_group=one.by_group,
                by_block=[self._plain(name, rows) for rows in places],
                by_seed=[self.value(name, seed=seed) for seed in range(len(self.courses[name]))],
            )
        return results

    # --- inside ------------------------------------------------------------------------------------------------------

    def _outcome(self, name: str, drawn: dict[str, Any]) -> StrategyOutcome:
        strategy, courses = self.strategies[name], self.courses[name]
        value, full, never = self._value_of(name), self._full(strategy), strategy.other("frozen").name
        age, seconds = self._age(strategy)
        cpu = float(np.mean([course.cost.cpu for course in courses]))
        reference = None if full is None else self._value_of(full)
        better = sign(self.stage.questions.metric)
        full_cpu = 0.0 if full is None else float(np.mean([course.cost.cpu for course in self.courses[full]]))
        period = strategy.retrain_every or strategy.every
        times = 0 if period is None else self.stage.cuts[period].size - 1
        covered = np.concatenate([course.answers.covered for course in courses])
        old, forgetting = self._forgetting(name)
        return StrategyOutcome(
            kind=strategy.kind,
            every=strategy.every,
            retrain_every=strategy.retrain_every,
            model=strategy.model,
            preset=strategy.preset,
            value=value,
            interval=self._interval(name, drawn),
            difference=None if reference is None else value - reference,
            difference_interval=None if full is None else self.difference(name, full, drawn),
            recovery=None if reference is None else recovery(value, self._value_of(never), reference, better),
            speedup=full_cpu / cpu if cpu and full_cpu else None,
            age_events=age,
            age_seconds=seconds,
            cpu_seconds=cpu,
            wall_seconds=float(np.mean([course.cost.wall for course in courses])),
            rows_moved=float(np.mean([course.cost.rows for course in courses])),
            times=times,
            made=times if courses[0].sample is None else courses[0].sample.segments.size,
            sampled=name not in drawn,
            old_value=old,
            forgetting=forgetting,
            coverage=None if np.isnan(covered).all() or courses[0].sample else float(np.nanmean(covered)),
            by_group={group: self.value(name, group) for group in GROUPS},
            by_time=self._by_time(name),
            by_shot=self._by_shot(name),
        )

    def _control(self, strategy: Strategy) -> str:
        """What was measured whole and fares most alike: updates at the same cadence, with rare retrains if any."""
        rare = strategy.other("update + full", strategy.every, list(self.stage.cuts)[-1]).name
        whole = all(course.sample is not None and course.sample.complete for course in self.courses.get(rare, ()))
        usable = strategy.kind == "full" and rare in self.courses and whole
        return rare if usable else strategy.other("update", strategy.every).name

    def _interval(self, name: str, drawn: dict[str, Any]) -> Interval:
        if name in drawn:
            return _quantiles(drawn[name])
        value, reach = self._value_of(name), self._reach(name)
        return value - reach, value + reach

    def _value_of(self, name: str) -> float:
        return self.value(name) or 0.0

    def _full(self, strategy: Strategy) -> str | None:
        """The strategy that retrains at the same cadence."""
        name = strategy.other("full", strategy.every).name
        return name if strategy.every is not None and name in self.strategies else None

    def _finished(self, mean: float) -> float:
        return math.sqrt(max(mean, 0.0)) if self.stage.questions.metric == "rmse" else mean

    def _reach(self, name: str) -> float:
        """Half the width of the 95 % interval that sampling leaves, on the scale of the metric."""
        from scipy.special import stdtrit  # which takes long to import

        found, sample = self.mean(name), self.courses[name][0].sample
        if found is None or sample is None or found.variance == 0:
            return 0.0
        slope = 0.5 / max(self._finished(found.mean), 1e-12) if self.stage.questions.metric == "rmse" else 1.0
        return float(stdtrit(sample.sizes.size * len(self.courses[name]), 0.975) * slope * math.sqrt(found.variance))

    def _segments_of(self, strategy: Strategy) -> NDArray[np.int64]:
        period, questions = strategy.retrain_every or strategy.every, self.stage.questions
        if period is None:
            return np.zeros(len(questions), np.int64)
        return np.searchsorted(self.stage.cuts[period], questions.positions, side="right") - 1

    def bootstrap(self) -> dict[str, Any]:
        """Bootstrap values of the strategies whose models were all made: the same users for all."""
        whole = {
            name: np.mean([course.answers.losses[0] for course in courses], axis=0)
            for name, courses in self.courses.items()
            if courses[0].sample is None or courses[0].sample.complete
        }
        drawn = bootstrap([self.stage.questions.sums(losses) for losses in whole.values()])
        return dict(zip(whole, drawn.T, strict=True))

    def _age(self, strategy: Strategy) -> tuple[float, float | None]:
        """Mean age of the model at the events of the later half, in events and in seconds."""
        stage, places = self.stage, np.arange(self.stage.start, self.stage.end)
        cuts = stage.cuts[strategy.every] if strategy.every else np.array([stage.start])
        served = cuts[np.searchsorted(cuts, places, side="right") - 1]
        times = stage.training.times
        if times is None:
            return float((places - served).mean()), None
        unit = 1e-6 if stage.training.dated else 1.0
        ages = (times[places - stage.held] - times[served - stage.held]) * unit
        return float((places - served).mean()), float(ages.mean())

    def _forgetting(self, name: str) -> tuple[float | None, float | None]:
        """The metric on old events in the end, and how much worse it is than with the first model."""
        old, first = (
            _mean_known([course.old_value for course in self.courses[one]])
            for one in (name, self.strategies[name].other("frozen").name)
        )
        if old is None or not first:
            return old, None
        return old, sign(self.stage.questions.metric) * (first - old) / first + 0.0

    def _by_time(self, name: str) -> list[float | None]:
        edges = self.stage.start + np.arange(POINTS + 1) * (self.stage.end - self.stage.start) // POINTS
        return [
            self._plain(name, self.stage.questions.between(int(first), int(last))) for first, last in pairwise(edges)
        ]

    def _plain(self, name: str, rows: slice) -> float | None:
        """The metric over the questions of a range that were asked."""
        losses = np.concatenate([course.answers.losses[0, rows] for course in self.courses[name]])
        known = losses[~np.isnan(losses)]
        return self._finished(float(known.mean())) if known.size else None

    def _by_shot(self, name: str) -> list[float | None]:
        shots, last = self.stage.questions.shots, np.iinfo(np.int64).max
        edges = [*SHOTS, last]
        return [self.value(name, mask=(shots >= low) & (shots < high)) for low, high in pairwise(edges)]


def recovery(value: float, frozen: float, reference: float, better: float) -> float | None:
    """(frozen - value) / (frozen - reference), None where the reference is no better than frozen."""
    gap = better * (reference - frozen)
    return better * (value - frozen) / gap + 0.0 if gap > 0 else None


def _on_front(one: StrategyOutcome, all_of_them: Any, better: float) -> bool:
    quality = better * one.value
    return not any(
        better * other.value >= quality
        and other.cpu_seconds <= one.cpu_seconds
        and (better * other.value, -other.cpu_seconds) != (quality, -one.cpu_seconds)
        for other in all_of_them
    )


def _quantiles(drawn: Any) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _mean_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) and known else None
