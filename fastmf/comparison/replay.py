"""The comparison: a log replayed block by block; who is told what and when, and what the clock counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastmf.comparison.contestants import (
    CONTESTANTS,
    Build,
    Popularity,
    contestants,
    default_build,
    ready_to_go_over,
    regime,
    warm_recipe,
)
from fastmf.comparison.outcome import Comparison, Cost, Record, describe_machine, outcomes
from fastmf.console import progress_bar
from fastmf.errors import DataError, require_count
from fastmf.evaluation import METRICS, Log, Metric, RankingHoldout, RatingHoldout, holdout, sign
from fastmf.interactions import Interactions
from fastmf.model import MF
from fastmf.recipes import Update, presets

__all__ = ["COMPARED", "Settings", "Stream", "choose_epochs", "compare"]

COMPARED = tuple(metric for metric in METRICS if sign(metric))  # of two values one has to be the better
TOLERANCE = 0.002  # the cheapest number of epochs this close to the best is taken

Model = MF | Popularity
Holdout = RatingHoldout | RankingHoldout


class Settings(NamedTuple):
    """How to compare.

    Parameters
    ----------
    metric : str
        One of `fastmf.evaluation.METRICS`, but for "calibration", of which neither more nor less is better. Rankings
        count 10 places.
    block : float, optional
        Share of all events in a block; by default 0.01 where values are predicted and 0.05 where items are ranked.
    preset : str
        Name of the recipe of the contestant "update", one of `fastmf.recipes.presets`.
    seeds : int
        The runs are repeated with model seeds 0, 1, ... and pooled.
    factors : int
        Factors of every model.
    """

    metric: Metric = "rmse"
    block: float | None = None
    preset: str = "default"
    seeds: int = 3
    factors: int = 32


class Stream(NamedTuple):
    """A log in the order of time, and where its blocks begin."""

    events: Interactions
    log: Log
    cuts: list[int]

    @classmethod
    def of(cls, events: Interactions, block: float) -> Stream:
        """Cut the later half of some events into blocks; events that do not fill one are left out."""
        if not 0.0 < block <= 0.25:
            raise DataError(f"block: {block} is not a share of the events in (0, 0.25], which gives two blocks or more")
        size, half = int(len(events) * block), len(events) // 2
        if size < 1:
            raise DataError(f"events: {len(events)} are too few for blocks of {block:.2%}")
        if events.times is not None:
            events = events.sort_by_time()
        return cls(events, Log.of(events), list(range(half, len(events) + 1, size)))

    def past(self, step: int) -> Interactions:
        """Everything up to the end of a block; step -1 is the half before the first block."""
        return self.events[: self.cuts[step + 1]]

    def block(self, step: int) -> Interactions:
        """The events of a block."""
        return self.events[self.cuts[step] : self.cuts[step + 1]]

    def holdout(self, step: int, metric: Metric) -> Holdout:
        """Questions about the block after this one."""
        start, end = self.cuts[step + 1], self.cuts[step + 2]
        return holdout(self.log.part(slice(0, start)), self.log.part(slice(start, end)), metric)

    @property
    def steps(self) -> int:
        """Blocks that have a next one."""
        return len(self.cuts) - 2


def compare(
    events: Interactions,
    settings: Settings = Settings(),
    dataset: str = "events",
    build: Build | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Compare updating with not updating, warm starts and full retraining on one log.

    Parameters
    ----------
    events : Interactions
        Without times, rows are taken to be in the order of time.
    settings : Settings
    dataset : str
        A name for the report.
    build : callable, optional
        Makes the unfitted model of a seed; by default `MF` with its defaults (for "logloss" with the loss
        `Logistic`) on one thread, so that CPU seconds are comparable.
    progress : bool, optional
        Show a progress bar; by default where standard error is a terminal.

    Returns
    -------
    Comparison

    Raises
    ------
    DataError
        An unknown metric or preset, or too few events for two blocks.
    """
    if settings.metric not in COMPARED:
        raise DataError(f"metric: {settings.metric!r} is none of {', '.join(COMPARED)}")
    if settings.preset not in presets:
        raise DataError(f"preset: {settings.preset!r} is none of {', '.join(presets)}")
    recipe = None if settings.preset == "default" else presets[settings.preset]
    build = build or default_build(settings.factors, settings.metric)
    if not isinstance(events, Interactions):
        raise DataError(f"events must be fastmf.Interactions, not {type(events).__name__}")
    try:
        require_count("seeds", settings.seeds, 1)
        build(0)
    except ValueError as error:  # a setting that the model refuses
        raise DataError(str(error)) from error
    block = regime(settings.metric).block if settings.block is None else settings.block
    stream = Stream.of(events, block)
    epochs = choose_epochs(build, stream.past(-1), settings.metric)
    replay = Replay(stream, settings, recipe, build, epochs)
    replay.warm_up()
    records, shares = replay.run(progress)
    return Comparison(
        dataset=dataset,
        metric=settings.metric,
        block=block,
        events=len(events),
        seeds=list(range(settings.seeds)),
        machine=describe_machine(),
        contestants=outcomes(records),
        blocks=stream.steps,
        block_events=stream.cuts[1] - stream.cuts[0],
        shares=shares,
        epochs=epochs,
        factors=settings.factors,
        preset=settings.preset,
    )


class Replay(NamedTuple):
    """One comparison under way."""

    stream: Stream
    settings: Settings
    recipe: Update | None
    build: Build
    epochs: int

    def advance(self, name: str, model: Model, step: int, seed: int) -> tuple[Model, Cost]:
        """Bring one contestant's model up to date with a block, and say what it took."""
        past, block = self.stream.past(step), self.stream.block(step)
        # Of this thread alone: the linear algebra of the questions leaves other threads spinning for a while.
        cpu, wall, rows = time.thread_time(), time.perf_counter(), 0
        if isinstance(model, Popularity):
            rows = model.update(block)
        elif name == "update":
            rows = model.update(block, self.recipe).rows_moved
        elif name == "warm":
            model = ready_to_go_over(model)
            rows = model.update(past, warm_recipe(model)).rows_moved
        elif name == "full":
            model = self.build(seed).fit(past, epochs=self.epochs, progress=False)
            rows = len(model.users) + len(model.items)
        return model, Cost(time.thread_time() - cpu, time.perf_counter() - wall, rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The contestants."""
        return contestants(self.settings.metric)

    def first_models(self) -> dict[str, list[Model]]:
        """The models that contestants start from, one per seed."""
        past = self.stream.past(-1)
        first = [self.build(seed).fit(past, epochs=self.epochs, progress=False) for seed in range(self.settings.seeds)]
        return {
            name: [Popularity.of(past) if name == "popularity" else model.copy() for model in first]
            for name in self.names
        }

    def warm_up(self) -> None:
        """Run every contestant once for nothing, so that no clock counts compilation."""
        model = self.build(0).fit(self.stream.past(-1), epochs=1, progress=False)
        for name in CONTESTANTS:
            self.advance(name, model.copy(), 0, 0)

    def run(self, progress: bool | None) -> tuple[dict[str, Record], dict[str, float]]:
        """All blocks; the record of each contestant, and the share of events in each group."""
        metric, users = self.settings.metric, self.stream.log.user_ids.size
        records = {name: Record(metric, users, models) for name, models in self.first_models().items()}
        shares: list[dict[str, float]] = []
        for step in _progress_bar(self.stream.steps, progress):
            held_out = self.stream.holdout(step, metric)
            shares.append(held_out.shares)
            for name, record in records.items():
                moved = [self.advance(name, model, step, seed) for seed, model in enumerate(record.models)]
                record.models = [model for model, _ in moved]
                record.note([held_out.sums(model) for model, _ in moved], [cost for _, cost in moved])
        return records, {group: float(np.mean([each[group] for each in shares])) for group in shares[0]}


def choose_epochs(build: Build, events: Interactions, metric: Metric) -> int:
    """The cheapest number of epochs within 0.2 % of the best, asked about the last tenth of some events."""
    cut = len(events) - len(events) // 10
    log = Log.of(events)
    held_out = holdout(log.part(slice(0, cut)), log.part(slice(cut, None)), metric)
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
