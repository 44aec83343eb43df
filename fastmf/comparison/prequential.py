"""Prequential replay of strategies: each question is answered by what a strategy serves at that moment [1]_.

Between two moments at which a strategy brings its model up to date, all questions are answered by the same model: one
call for each such segment. A strategy is handed slices of the log that end where its model is brought up to date, and
questions without answers, so that it cannot see an event before it is asked about it.

References
----------
.. [1] Gama, Sebastião, Rodrigues: On evaluating stream learning algorithms. Machine Learning 90, 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.comparison.contestants import Popularity, stops_by_itself
from fastmf.comparison.guests import twin
from fastmf.comparison.outcome import Cost
from fastmf.comparison.questions import Answers, Questions
from fastmf.comparison.sampling import Sample
from fastmf.comparison.strategies import Strategy, Trainer, timed
from fastmf.evaluation import Log, Metric, RankingHoldout, RatingHoldout, holdout, ranks_items
from fastmf.interactions import Interactions

__all__ = ["Course", "Stage", "hold_out_old", "play"]

Codes = NDArray[np.int64]
Tick = Callable[[str], None]

OLD_SHARE, MOST_OLD = 0.2, 2_000  # of the events of users who stay away, how many are held out
FEWEST_OLD, FEWEST_USERS = 20, 100  # of fewer events, or rankings, nothing could be told


class Stage(NamedTuple):
    """What all strategies share.

    Attributes
    ----------
    training : Interactions
        The log in order of time, without the old events that are held out.
    held : int
        How many those are; all are in the first half.
    start, end : int
        Positions in the whole log: the first half ends, the log ends.
    cuts : dict of str to ndarray of int64
        Positions at which models are brought up to date, by cadence.
    questions : Questions
    old : RatingHoldout, RankingHoldout or None
        The events of the first half that are held out, of users who never came back; None without any.
    """

    training: Interactions
    held: int
    start: int
    end: int
    cuts: dict[str, Codes]
    questions: Questions
    old: RatingHoldout | RankingHoldout | None

    def past(self, position: int) -> Interactions:
        """All training events before a position."""
        return self.training[: position - self.held]

    def batch(self, first: int, last: int) -> Interactions:
        """The training events from one position up to another."""
        return self.training[first - self.held : last - self.held]

    def segments(self, every: str) -> list[tuple[int, int]]:
        """From where to where each model of a cadence is asked."""
        return list(pairwise([*self.cuts[every].tolist(), self.end]))

    def remembered(self, model: Any) -> float | None:
        """The metric on the old events that were held out."""
        return None if self.old is None else self.old.sums(model).value()


class Course(NamedTuple):
    """What a strategy did with one seed.

    Attributes
    ----------
    answers : Answers
    cost : Cost
        Of keeping the model current; scaled up where retrains are sampled.
    sample : Sample or None
        The segments that were retrained; None where the models depend on each other.
    old_value : float or None
        The metric on the old events held out, when everything has been learned.
    """

    answers: Answers
    cost: Cost
    sample: Sample | None
    old_value: float | None


def hold_out_old(
    log: Log, start: int, metric: Metric, seed: int, repeats: bool = False
) -> tuple[NDArray[np.bool_], Any]:
    """Some events of the first half, of users who have none in the later half: a test of what a model has forgotten.

    Parameters
    ----------
    log : Log
        In order of time.
    start : int
        Where the later half begins.
    metric : str
    seed : int
    repeats : bool
        Whether what is left of a user's events is ranked, and may be relevant.

    Returns
    -------
    mask : ndarray of bool
        The events of the log that are held out: a fifth of those of such users, at most 2,000;
        none if that is less than 20, or if there are less than 100 rankings.
    holdout : RatingHoldout, RankingHoldout or None
    """
    mask = np.zeros(log.users.size, np.bool_)
    back = np.bincount(log.users[start:], minlength=log.user_ids.size) > 0
    away = np.flatnonzero(~back[log.users[:start]])
    number, users = min(int(OLD_SHARE * away.size), MOST_OLD), np.unique(log.users[away]).size
    if number < FEWEST_OLD or (ranks_items(metric) and users < FEWEST_USERS):
        return mask, None
    mask[np.random.default_rng(seed).choice(away, number, replace=False)] = True
    rest = np.flatnonzero(~mask[:start])
    found = holdout(log.part(rest), log.part(mask), metric, exclude_seen=not repeats)
    return mask, found if found.events.users.size else None


def play(
    stage: Stage,
    trainers: Mapping[str | None, Trainer],
    strategies: list[Strategy],
    samples: dict[str, Sample],
    seed: int,
    tick: Tick,
) -> dict[str, Course]:
    """Let all strategies answer all questions, with one seed.

    Parameters
    ----------
    stage : Stage
    trainers : dict of (str or None) to Trainer
        By model.
    strategies : list of Strategy
    samples : dict of str to Sample
        The segments that are retrained, by cadence.
    seed : int
    tick : callable
        Called with the name of a strategy after each step.

    Returns
    -------
    dict of str to Course
        By the name of the strategy.
    """
    found: dict[str, Course] = {}
    for model, trainer in trainers.items():
        first = trainer.fitted(stage.past(stage.start), seed)
        theirs = [one for one in strategies if one.model == model]
        found |= {one.name: _whole(stage, trainer, one, first, tick) for one in theirs if not one.sampled}
        found |= _retrained(stage, trainer, [one for one in theirs if one.sampled], samples, first, seed, tick)
    return {one.name: found[one.name] for one in strategies}


def _whole(stage: Stage, trainer: Trainer, strategy: Strategy, first: Any, tick: Tick) -> Course:
    """A strategy each of whose models comes from the one before."""
    questions, answers, cost = stage.questions, stage.questions.empty, Cost()
    model = Popularity.of(stage.past(stage.start)) if strategy.kind == "popularity" else twin(first)
    sure = has_intervals(model, questions.metric)
    if strategy.every is None:
        questions.ask(model, stage.start, stage.end, answers, sure)
        tick(strategy.name)
        return Course(answers, cost, None, stage.remembered(model))
    before = stage.start
    for begin, end in stage.segments(strategy.every):
        if begin > before:
            model, spent = _advanced(stage, trainer, strategy, model, before, begin)
            cost, before = cost.add(spent), begin
        questions.ask(model, begin, end, answers, sure)
        tick(strategy.name)
    model, _ = _advanced(stage, trainer, strategy, model, before, stage.end)  # for what is remembered in the end
    return Course(answers, cost, None, stage.remembered(model))


def _advanced(
    stage: Stage, trainer: Trainer, strategy: Strategy, model: Any, before: int, now: int
) -> tuple[Any, Cost]:
    """Bring a model up to date with what has happened since the last time."""
    batch = stage.batch(before, now)
    if strategy.kind == "warm":
        past = stage.past(now)
        return timed(lambda: trainer.go_over(model, past, batch))
    return timed(lambda: (model, trainer.update(model, batch, strategy.preset)))


def _retrained(
    stage: Stage,
    trainer: Trainer,
    strategies: list[Strategy],
    samples: dict[str, Sample],
    first: Any,
    seed: int,
    tick: Tick,
) -> dict[str, Course]:
    """Strategies that retrain: a fit is made once for all that need one at the same position."""
    answers = {one.name: stage.questions.empty for one in strategies}
    old: dict[str, float | None] = {}
    costs: dict[str, list[Cost]] = {one.name: [] for one in strategies}
    free = {}  # the first model is there anyway
    for one in strategies:
        bounds = stage.segments(_period(one))[0]
        free[one.name], old[one.name] = _serve(stage, trainer, one, first, bounds, answers[one.name])
    for position, due in _positions(stage, strategies, samples):
        past = stage.past(position)
        model, fit = timed(partial(trainer.retrained, past, seed))
        for one, end in due:
            more, old[one.name] = _serve(stage, trainer, one, model, (position, end), answers[one.name])
            costs[one.name].append(fit.add(more))
        tick(due[0][0].name)
    last = None if stage.old is None else stage.remembered(trainer.fitted(stage.training, seed))
    tick("retrain")
    return {
        one.name: Course(
            answers[one.name],
            free[one.name].add(_scaled(costs[one.name], samples[_period(one)], stage.cuts[_period(one)].size - 1)),
            samples[_period(one)],
            last if one.kind == "full" else old[one.name],
        )
        for one in strategies
    }


def _period(strategy: Strategy) -> str:
    """The cadence of its retrains."""
    return strategy.retrain_every or strategy.every or ""


def _positions(
    stage: Stage, strategies: list[Strategy], samples: dict[str, Sample]
) -> Iterator[tuple[int, list[tuple[Strategy, int]]]]:
    """Where a model is to be fitted, in order, and which strategies serve it up to where."""
    due: dict[int, list[tuple[Strategy, int]]] = {}
    for one in strategies:
        segments = stage.segments(_period(one))
        for segment in samples[_period(one)].segments.tolist():
            begin, end = segments[segment]
            due.setdefault(begin, []).append((one, end))
    yield from sorted(due.items())


def _serve(
    stage: Stage, trainer: Trainer, strategy: Strategy, model: Any, bounds: tuple[int, int], answers: Answers
) -> tuple[Cost, float | None]:
    """Answer the questions between two positions, with updates in between where the strategy has any.

    Returns the cost of these, and where the log ends, what is remembered of old events.
    """
    cost, sure = Cost(), has_intervals(model, stage.questions.metric)
    begin, end = bounds
    if strategy.kind == "full":
        stage.questions.ask(model, begin, end, answers, sure)
        return cost, None
    model, before = twin(model), begin
    inner = stage.cuts[strategy.every or ""]
    inner = inner[(inner > begin) & (inner < end)]
    for first, last in pairwise([begin, *inner.tolist(), end]):
        if first > begin:
            model, spent = _advanced(stage, trainer, strategy, model, before, first)
            cost = cost.add(spent)
        stage.questions.ask(model, first, last, answers, sure)
        before = first
    if end < stage.end or stage.old is None:
        return cost, None
    model, _ = _advanced(stage, trainer, strategy, model, before, end)
    return cost, stage.remembered(model)


def _scaled(costs: list[Cost], sample: Sample, times: int) -> Cost:
    """The cost of all retrains, estimated from those of a sample."""
    weights = sample.weights * times / max(sample.sizes.sum(), 1)
    total = np.array(costs, np.float64).reshape(-1, 3).T @ weights
    return Cost(float(total[0]), float(total[1]), round(float(total[2])))


def has_intervals(model: Any, metric: Metric) -> bool:
    """Whether a model says between which bounds a new value lies."""
    return metric in ("rmse", "mae") and stops_by_itself(model)
