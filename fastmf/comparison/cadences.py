"""A comparison of strategies at several cadences on one log, from its events to its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastmf.comparison.advice import advise
from fastmf.comparison.cadence import Cadence, cadences_of, cuts_of
from fastmf.comparison.entrants import Entry
from fastmf.comparison.outcome import Outcome
from fastmf.comparison.prequential import Course, Stage, hold_out_old, play
from fastmf.comparison.questions import SHOTS, questions_of
from fastmf.comparison.results import Advice, Cadences, StrategyOutcome
from fastmf.comparison.sampling import Sample
from fastmf.comparison.strategies import Strategy, Trainer, strategies_of
from fastmf.comparison.tally import Tally
from fastmf.errors import DataError
from fastmf.evaluation import Log, Metric, ranks_items
from fastmf.interactions import Interactions

__all__ = ["Budget", "Race", "Tell", "Terms", "first_half", "race", "require_terms"]

Tell = Callable[[int], Callable[[str], None]]  # is told how many steps there are, and returns what is called at each


class Budget(NamedTuple):
    """How much of what would take too long is measured.

    Parameters
    ----------
    retrains : int
        Fits of a cadence, for each seed; where more are due, as many are sampled.
    queries : int
        Rankings asked for; where there are more questions, about as many are sampled.
    passes : float
        Events that "warm" may go over; at cadences at which it would be more, it is left out.
    """

    retrains: int = 10
    queries: int = 5_000
    passes: float = 1e8


class Race(NamedTuple):
    """What a comparison by cadences found.

    Attributes
    ----------
    cadences : Cadences
    contestants : dict of Outcome
        The strategies of one cadence, in the form of a comparison by blocks.
    shares : dict of float
        Share of the questions in each group.
    block : float
        Mean share of all events between two moments of that cadence.
    blocks, block_events : int
        Number of its segments, and mean number of events in them.
    """

    cadences: Cadences
    contestants: dict[str, Outcome]
    shares: dict[str, float]
    block: float
    blocks: int
    block_events: int


class Terms(NamedTuple):
    """What is compared, and how.

    Attributes
    ----------
    metric : str
    every : str
        Cadences, separated by commas.
    block : float or None
        Share of the events between two moments of one further cadence, that of the contestants.
    seeds : int
    budget : Budget
    repeats : bool
        Whether what a user had before is ranked, and asked about again.
    """

    metric: Metric
    every: str
    block: float | None
    seeds: int
    budget: Budget
    repeats: bool = False


def race(events: Interactions, terms: Terms, trainers: Mapping[str | None, Trainer], tell: Tell) -> Race:
    """Compare strategies at several cadences.

    Parameters
    ----------
    events : Interactions
        In order of time.
    terms : Terms
    trainers : dict of (str or None) to Trainer
        By model; None is the first.
    tell : callable
        ``tell(steps)`` returns what is called after each step with the name of a strategy.

    Returns
    -------
    Race

    Raises
    ------
    DataError
        If a cadence is invalid, or there is nothing to ask about.
    """
    stage, own = _stage(events, terms)
    strategies: list[Strategy] = []
    for model, trainer in trainers.items():
        most = int(terms.budget.passes) if trainer.can_go_over() else 0
        further = [name for name in trainer.recipes if name]
        strategies += strategies_of(stage.cuts, ranks_items(terms.metric), most, model, further)
    samples = [_samples(stage, terms.budget.retrains, seed) for seed in range(terms.seeds)]
    courses: dict[str, list[Course]] = {one.name: [] for one in strategies}
    tick = tell(sum(_steps(stage, strategies, some, len(trainers)) for some in samples))
    for seed, some in enumerate(samples):
        for name, course in play(stage, trainers, strategies, some, seed, tick).items():
            courses[name].append(course)
    tally = Tally(stage, {one.name: one for one in strategies}, courses)
    return _summed_up(tally, own)


def require_terms(events: Interactions, terms: Terms) -> None:
    """Raise DataError if the cadences are invalid, before anything takes time."""
    if len(events) < 4:
        raise DataError(f"events: {len(events)} are too few to compare cadences on")
    if terms.block is not None and not 0.0 < terms.block <= 0.25:
        raise DataError(f"block: {terms.block} is not a share of the events in (0, 0.25]")
    cuts_of(cadences_of(terms.every), events, first_half(events))


def first_half(events: Interactions) -> int:
    """The position at which the later half of a log begins."""
    return len(events) // 2


def _stage(events: Interactions, terms: Terms) -> tuple[Stage, str]:
    """Cut the log, hold old events out, and make the questions; and which cadence is that of the contestants."""
    cadences = cadences_of(terms.every)
    start, log = first_half(events), Log.of(events)
    cuts = cuts_of(cadences, events, start)
    own = list(cuts)[-1]
    if terms.block is not None:
        one = Cadence.parse(f"{100 * terms.block:g}%")
        own = next((other.text for other in cadences if other[1:] == one[1:]), one.text)
        cuts = cuts_of((*cadences, *([] if own in cuts else [one])), events, start)
    places = np.unique(np.concatenate(list(cuts.values())))
    questions = questions_of(log, terms.metric, start, places, terms.budget.queries, 0, terms.repeats)
    mask, old = hold_out_old(log, start, terms.metric, 0, terms.repeats)
    training = events[~mask] if mask.any() else events
    return Stage(training, int(mask.sum()), start, len(events), cuts, questions, old), own


def _samples(stage: Stage, most: int, seed: int) -> dict[str, Sample]:
    """Which models of each cadence are retrained: of those that are asked something."""
    found = {}
    for place, (every, cuts) in enumerate(stage.cuts.items()):
        asked = np.unique(np.searchsorted(cuts, stage.questions.positions, side="right") - 1)
        found[every] = Sample.of(asked[asked > 0], most, seed=1_000 * seed + place)
    return found


def _steps(stage: Stage, strategies: list[Strategy], samples: dict[str, Sample], models: int) -> int:
    """How often a strategy says that it has made a step."""
    whole = sum(len(stage.segments(one.every)) if one.every else 1 for one in strategies if not one.sampled)
    fits = {int(stage.cuts[every][segment]) for every, sample in samples.items() for segment in sample.segments}
    return whole + models * (len(fits) + 1)


def _summed_up(tally: Tally, own: str) -> Race:
    stage, found = tally.stage, tally.outcomes()
    questions = stage.questions
    names = {
        Entry(one.kind, one.model).name: name
        for name, one in tally.strategies.items()
        if not one.retrain_every and not one.preset and (one.every == own or one.kind in ("frozen", "popularity"))
    }
    sizes = [round((stage.end - stage.start) / cuts.size) for cuts in stage.cuts.values()]
    cuts, shots = stage.cuts[own], [*SHOTS, np.iinfo(np.int64).max]
    cadences = Cadences(
        every=list(stage.cuts),
        questions=questions.all,
        asked=len(questions),
        old_events=stage.held,
        shots=list(SHOTS),
        shot_questions=[int(((questions.shots >= a) & (questions.shots < b)).sum()) for a, b in pairwise(shots)],
        strategies=found,
        advice=_advice(tally, found, sizes),
        sizes=sizes,
        contestants_every=own,
    )
    size = (stage.end - stage.start) / cuts.size
    return Race(
        cadences,
        tally.outcome_at(own, names, found),
        questions.shares,
        size / stage.end,
        cuts.size,
        round(size),
    )


def _advice(tally: Tally, found: dict[str, StrategyOutcome], sizes: list[int]) -> Advice:
    drawn, spelled = tally.bootstrap(), {}
    for every, size in zip(tally.stage.cuts, sizes, strict=True):
        spelled[every] = every if every.isdigit() else f"{every} (about {size:,} events)"

    def clear(one: str, other: str) -> bool:
        low, high = tally.difference(one, other, drawn)
        return not low <= 0 <= high

    return advise(found, tally.stage.questions.metric, clear, spelled)
