"""Results of a comparison of cadences."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Advice", "Cadences", "StrategyOutcome"]

Interval = tuple[float, float]


class StrategyOutcome(NamedTuple):
    """The results of one strategy.

    Attributes
    ----------
    kind : str
        "frozen", "update", "warm", "full", "update + full" or "popularity".
    every, retrain_every : str or None
        Cadences.
    value : float
        The metric over all questions, mean over seeds.
    interval : (float, float)
        95 %. Where every model was made: bootstrap, resampling whole users. Where retrains are sampled: what the
        sampling leaves open.
    difference, difference_interval : float or None, (float, float) or None
        The value minus that of retraining at the same cadence, on the same questions; 95 %.
    recovery, speedup : float or None
        (frozen - value) / (frozen - full) and CPU seconds of full / CPU seconds, against retraining at this cadence.
    age_events, age_seconds : float, float or None
        Mean age of the model that answers: events, and seconds if there are times, since it was brought up to date.
    cpu_seconds, wall_seconds, rows_moved : float
        Of keeping the model current, mean over seeds; neither asking nor the first model is counted.
    times, made, sampled : int, int, bool
        How often the model is brought up to date (retrained, if it ever is), how often that was done and measured, and
        whether the figures are estimates from a sample of retrains.
    old_value, forgetting : float or None
        The metric on old events held out, of users who never came back, when all has been learned; and how much worse
        that is than with the first model, as a share of the latter. Negative where later events have helped.
    coverage : float or None
        Share of the values within their intervals of 90 %.
    by_group : dict of str to (float or None)
    by_time : list of (float or None)
        Over twenty parts of the later half with as many events each.
    by_shot : list of (float or None)
        For users without an event in the first half, by their events so far: from 0, 1, 2, 5, 10 and 20 on.
    front : bool
        Whether no other strategy is both better and cheaper.
    model : str or None
        Which model; None for the first one. Differences, recovery, speed-up and forgetting are against the same model.
    preset : str or None
        The recipe of its updates; None for the first one.
    """

    kind: str
    every: str | None
    retrain_every: str | None
    value: float
    interval: Interval
    difference: float | None
    difference_interval: Interval | None
    recovery: float | None
    speedup: float | None
    age_events: float
    age_seconds: float | None
    cpu_seconds: float
    wall_seconds: float
    rows_moved: float
    times: int
    made: int
    sampled: bool
    old_value: float | None
    forgetting: float | None
    coverage: float | None
    by_group: dict[str, float | None]
    by_time: list[float | None]
    by_shot: list[float | None]
    front: bool = False
    model: str | None = None
    preset: str | None = None


class Advice(NamedTuple):
    """What to do, and the strategies that the sentence names.

    Attributes
    ----------
    sentence : str
    chosen : str
        The cheapest strategy that keeps 95 % of what the best one gains over never updating, or that is clearly better
        than never updating and not clearly worse than the best one.
    best : str
        The best strategy. One whose retrains are sampled has to be clearly better than those that were measured whole:
        of several uncertain figures, one is always too good.
    retrain : str
        The best of those that only retrain.
    """

    sentence: str
    chosen: str
    best: str
    retrain: str


class Cadences(NamedTuple):
    """The results of all strategies.

    Attributes
    ----------
    every : list of str
        The cadences, the finest first.
    sizes : list of int
        Mean number of events between two moments of each.
    contestants_every : str
        The cadence of the comparison's `contestants`.
    questions, asked : int
        How many there are, and how many of them were asked.
    old_events : int
        Events of the first half that were held out, of users who never came back.
    shots : list of int
        From how many events so far a point of the k-shot curve begins, and how many questions each has.
    shot_questions : list of int
    strategies : dict of StrategyOutcome
    advice : Advice
    """

    every: list[str]
    sizes: list[int]
    contestants_every: str
    questions: int
    asked: int
    old_events: int
    shots: list[int]
    shot_questions: list[int]
    strategies: dict[str, StrategyOutcome]
    advice: Advice

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, as written to `compare.json`."""
        strategies = {name: one._asdict() for name, one in self.strategies.items()}
        return self._asdict() | {"strategies": strategies, "advice": self.advice._asdict()}
