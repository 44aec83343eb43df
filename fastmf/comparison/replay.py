"""Replaying a log block by block: which events each contestant is trained on and when, and what is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from fastmf.comparison.cadences import Budget, Terms, first_half, race, require_terms
from fastmf.comparison.contestants import (
    CONTESTANTS,
    Build,
    Popularity,
    contestants,
    regime,
    stops_by_itself,
)
from fastmf.comparison.entrants import Builds, Entry, entrants, models_of, recipes_of
from fastmf.comparison.guests import Guest, twin
from fastmf.comparison.outcome import Comparison, Cost, Record, describe_machine, outcomes
from fastmf.comparison.strategies import Trainer, timed
from fastmf.console import progress_bar
from fastmf.errors import DataError, require_count
from fastmf.evaluation import METRICS, Log, Metric, RankingHoldout, RatingHoldout, holdout, ranks_items, sign
from fastmf.interactions import Interactions
from fastmf.model import MF
from fastmf.recipes import Update

__all__ = ["COMPARED", "Settings", "Stream", "choose_epochs", "compare"]

COMPARED = tuple(metric for metric in METRICS if sign(metric))  # metrics whose values are ordered
TOLERANCE = 0.002  # relative loss of quality accepted for fewer epochs

Model = MF | Popularity | Guest
Holdout = RatingHoldout | RankingHoldout
Recipes = dict[str | None, Update | None]


class Settings(NamedTuple):
    """Settings of a comparison.

    Parameters
    ----------
    metric : str
        One of `fastmf.evaluation.METRICS` except "calibration", which is not ordered. Ranking metrics use the top 10.
    block : float, optional
        Share of all events in a block, in (0, 0.25]; by default 0.01 for rating prediction and 0.05 for ranking.
    preset : str
        Recipe of the contestant "update", a name in `fastmf.recipes.presets`. With `every` there may be several,
        separated by commas; updates by each further one are strategies of their own: ``update (balanced) every 1d``.
    seeds : int
        Number of runs, with model seeds 0, 1, ..., whose results are pooled.
    factors : int
        Number of factors of every model.
    every : str, optional
        Cadences to compare, separated by commas, each a share of the events, a number of events or a length of time:
        ``"0.1%,1%,5%"``, ``"1h,1d,7d"``. Without any, the contestants are compared by blocks.
    budget : Budget
        What is measured of what would take too long; with `every`.
    repeats : bool
        For ranking metrics: what a user has had before is ranked too, and asked about when it is taken again. By
        default only what is new to a user is.
    models : str, optional
        For ranking metrics: families of models to compare, of `fastmf.comparison.MODELS`, separated by commas:
        ``"als,warp"``. The contestants of the first have plain names, and those of the others theirs in brackets:
        ``update``, ``update (warp)``.
    """

    metric: Metric = "rmse"
    block: float | None = None
    preset: str = "default"
    seeds: int = 3
    factors: int = 32
    every: str | None = None
    budget: Budget = Budget()
    repeats: bool = False
    models: str | None = None


class Stream(NamedTuple):
    """A log in order of time, and the positions at which its blocks begin."""

    events: Interactions
    log: Log
    cuts: list[int]

    @classmethod
    def of(cls, events: Interactions, block: float) -> Stream:
        """Sort events by time and cut the second half into blocks; events that do not fill a block are dropped."""
        if not 0.0 < block <= 0.25:
            raise DataError(f"block: {block} is not a share of the events in (0, 0.25], which gives two blocks or more")
        size, half = int(len(events) * block), len(events) // 2
        if size < 1:
            raise DataError(f"events: {len(events)} are too few for blocks of {block:.2%}")
        if events.times is not None:
            events = events.sort_by_time()
        return cls(events, Log.of(events), list(range(half, len(events) + 1, size)))

    def past(self, step: int) -> Interactions:
        """All events up to the end of a block; step -1 is the first half."""
        return self.events[: self.cuts[step + 1]]

    def block(self, step: int) -> Interactions:
        """The events of a block."""
        return self.events[self.cuts[step] : self.cuts[step + 1]]

    def holdout(self, step: int, metric: Metric, repeats: bool = False) -> Holdout:
        """The next block as held-out events."""
        start, end = self.cuts[step + 1], self.cuts[step + 2]
        return holdout(
            self.log.part(slice(0, start)), self.log.part(slice(start, end)), metric, exclude_seen=not repeats
        )

    @property
    def steps(self) -> int:
        """The number of blocks that have a next one."""
        return len(self.cuts) - 2


def compare(
    events: Interactions,
    settings: Settings = Settings(),
    dataset: str = "events",
    build: Build | None = None,
    progress: bool | None = None,
    contestants: Mapping[str, Callable[[int], Any]] | None = None,
) -> Comparison:
    """Compare incremental updates with no updates, warm starts and full retraining on one log.

    Parameters
    ----------
    events : Interactions
        Without times, they are assumed to be in order of time.
    settings : Settings
    dataset : str
        A name for the report.
    build : callable, optional
        ``build(seed)`` returns an unfitted model; by default `MF` with its default settings (for "logloss" with the
        loss `Logistic`; for ranking metrics with `Confidence` and `ALS`) on one thread, so that CPU seconds are
        comparable.
    progress : bool, optional
        Show a progress bar; by default if standard error is a terminal.
    contestants : dict of str to callable, optional
        Further models, by name. ``factory(seed)`` returns an unfitted one: an `MF` with other settings, or a
        `fastmf.comparison.Contestant` of any kind. Each is frozen, updated, and retrained like the first model, at the
        same moments and with the same events, and asked the same.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        If the metric, preset, a cadence or another setting is invalid, there are too few events for two blocks, or a
        contestant lacks a method or answers with arrays of another shape.
    """
    if settings.metric not in COMPARED:
        raise DataError(f"metric: {settings.metric!r} is none of {', '.join(COMPARED)}")
    if settings.repeats and not ranks_items(settings.metric):
        raise DataError(f"repeats: {settings.metric} compares values, and repeats are about rankings")
    recipes = recipes_of(settings.preset, several=settings.every is not None)
    models = models_of(settings.models, settings.metric)
    if not isinstance(events, Interactions):
        raise DataError(f"events must be fastmf.Interactions, not {type(events).__name__}")
    try:
        require_count("seeds", settings.seeds, 1)
        builds = entrants(settings.metric, settings.factors, models, build, contestants)
        builds[None](0)
    except ValueError as error:  # a setting that the model rejects
        raise DataError(str(error)) from error
    by = _by_blocks if settings.every is None else _by_cadences
    names = [models[0] if models else "default", *(name for name in builds if name is not None)]
    return by(events, settings, recipes, builds, progress)._replace(dataset=dataset, models=names)


def _by_blocks(
    events: Interactions, settings: Settings, recipes: Recipes, builds: Builds, progress: bool | None
) -> Comparison:
    block = regime(settings.metric).block if settings.block is None else settings.block
    stream = Stream.of(events, block)
    trainers = _trainers(builds, recipes, stream.past(-1), settings)
    replay = Replay(stream, settings, trainers)
    replay.warm_up()
    records, shares = replay.run(progress)
    return _described(
        settings,
        trainers[None].epochs,
        events=len(events),
        block=block,
        contestants=outcomes(records),
        blocks=stream.steps,
        block_events=stream.cuts[1] - stream.cuts[0],
        shares=shares,
    )


def _by_cadences(
    events: Interactions, settings: Settings, recipes: Recipes, builds: Builds, progress: bool | None
) -> Comparison:
    ordered = events if events.times is None else events.sort_by_time()
    terms = Terms(
        settings.metric, settings.every or "", settings.block, settings.seeds, settings.budget, settings.repeats
    )
    require_terms(ordered, terms)
    past = ordered[: first_half(ordered)]
    with progress_bar(progress, total=1, desc="first fits", unit="step", leave=False) as bar:
        trainers = _trainers(builds, recipes, past, settings)
        for trainer in trainers.values():
            trainer.warm_up(past)
        found = race(ordered, terms, trainers, partial(_steps, bar))
    return _described(settings, trainers[None].epochs, events=len(events), **found._asdict())


def _trainers(builds: Builds, recipes: Recipes, past: Interactions, settings: Settings) -> dict[str | None, Trainer]:
    """How each entrant is trained; in a comparison by blocks the first one takes epochs, whatever it is."""
    found = {}
    for name, build in builds.items():
        timed_by_epochs = isinstance(build(0), MF) or (name is None and settings.every is None)
        epochs = choose_epochs(build, past, settings.metric, settings.repeats) if timed_by_epochs else None
        found[name] = Trainer(build, recipes if isinstance(build(0), MF) else {None: None}, epochs)
    return found


def _described(settings: Settings, epochs: int | None, **found: Any) -> Comparison:
    """The result of a comparison, with its settings and the machine."""
    return Comparison(
        dataset="",
        metric=settings.metric,
        seeds=list(range(settings.seeds)),
        machine=describe_machine(),
        epochs=epochs,
        factors=settings.factors,
        preset=settings.preset,
        repeats=settings.repeats,
        **found,
    )


def _steps(bar: Any, steps: int) -> Callable[[str], None]:
    """Give a progress bar its length; what is returned moves it on, and shows which strategy made the step."""
    bar.reset(total=steps)

    def tick(name: str) -> None:
        bar.set_description_str(name, refresh=False)
        bar.update()

    return tick


class Replay(NamedTuple):
    """A comparison in progress."""

    stream: Stream
    settings: Settings
    trainers: dict[str | None, Trainer]

    def advance(self, entry: Entry, model: Model, step: int, seed: int) -> tuple[Model, Cost]:
        """Bring one contestant's model up to date with a block; returns the model and the cost."""
        past, block, trainer = self.stream.past(step), self.stream.block(step), self.trainers[entry.model]
        ways: dict[str, Callable[[], tuple[Any, int]]] = {
            "update": lambda: (model, trainer.update(model, block)),
            "popularity": lambda: (model, trainer.update(model, block)),
            "warm": lambda: trainer.go_over(cast(MF, model), past, block),
            "full": lambda: trainer.retrained(past, seed),
        }
        return timed(ways.get(entry.kind, lambda: (model, 0)))

    @property
    def entries(self) -> list[Entry]:
        """The contestants: those of the first model, and those of each other one."""
        found = [Entry(kind) for kind in contestants(self.settings.metric)]
        for name, trainer in self.trainers.items():
            kinds = (kind for kind in CONTESTANTS if kind != "warm" or trainer.can_go_over())
            found += [Entry(kind, name) for kind in kinds if name is not None]
        return found

    def first_models(self) -> dict[Entry, list[Model]]:
        """The initial models of each contestant, one per seed."""
        past, seeds = self.stream.past(-1), range(self.settings.seeds)
        first = {name: [one.fitted(past, seed) for seed in seeds] for name, one in self.trainers.items()}
        return {
            one: [Popularity.of(past) if one.kind == "popularity" else twin(model) for model in first[one.model]]
            for one in self.entries
        }

    def warm_up(self) -> None:
        """Run every contestant once, untimed, to exclude compilation from the timings."""
        model = self.trainers[None].build(0).fit(self.stream.past(-1), epochs=1, progress=False)
        for kind in CONTESTANTS:
            self.advance(Entry(kind), model.copy(), 0, 0)
        for name, trainer in self.trainers.items():
            if name is not None:
                trainer.warm_up(self.stream.past(-1))

    def run(self, progress: bool | None) -> tuple[dict[str, Record], dict[str, float]]:
        """Run all blocks; returns the record of each contestant, and the share of events in each group."""
        metric, users = self.settings.metric, self.stream.log.user_ids.size
        records = {entry.name: Record(entry, metric, users, models) for entry, models in self.first_models().items()}
        shares: list[dict[str, float]] = []
        for step in _progress_bar(self.stream.steps, progress):
            held_out = self.stream.holdout(step, metric, self.settings.repeats)
            shares.append(held_out.shares)
            for record in records.values():
                moved = [self.advance(record.entry, model, step, seed) for seed, model in enumerate(record.models)]
                record.models = [model for model, _ in moved]
                record.note([held_out.sums(cast(Any, model)) for model, _ in moved], [cost for _, cost in moved])
        return records, {group: float(np.mean([each[group] for each in shares])) for group in shares[0]}


def choose_epochs(build: Build, events: Interactions, metric: Metric, repeats: bool = False) -> int | None:
    """The smallest number of epochs within 0.2 % of the best, validated on the last tenth of `events`.

    Parameters
    ----------
    build : callable
    events : Interactions
    metric : str
    repeats : bool

    Returns
    -------
    int or None
        None for a fit that stops by itself.
    """
    if stops_by_itself(build(0)):
        return None
    cut = len(events) - len(events) // 10
    log = Log.of(events)
    held_out = holdout(log.part(slice(0, cut)), log.part(slice(cut, None)), metric, exclude_seen=not repeats)
    values, choices = [], regime(metric).epochs
    for epochs in choices:
        value = held_out.sums(build(0).fit(events[:cut], epochs=epochs, progress=False)).value()
        if value is None:
            raise DataError("events: the last tenth of the first half holds nothing to ask about")
        values.append(value)
    quality = np.array(values) * sign(metric)
    good_enough = quality >= quality.max() - TOLERANCE * abs(quality.max())
    return choices[int(np.argmax(good_enough))]


def _progress_bar(steps: int, progress: bool | None) -> Iterator[int]:
    yield from progress_bar(progress, iterable=range(steps), desc="blocks", unit="block")
