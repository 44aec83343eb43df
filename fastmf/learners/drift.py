"""Drift of beliefs, learned from the events of updates, and a detector of changes.

Before each event, variances go back to those of the prior by a share, the rate of drift (process noise). With e and v
the error of an event before it is learned and its variance, e^2 / v is 1 on average, and j how much greater v would be
if the row of a side stood at its prior (all are computed by the pass over events, see kernels/train/belief_steps.py)

    (b_users, b_items) = (sum j j')^-1 sum j (e^2 / v - 1)          share of j that is missing in v
    t = b / its standard deviation
    log rate <- log rate + min(max(t / 2, -1), 1) events / 5,000

once for every 500 events or more, where the sums are of every fourth event of a batch, and fade with a mean life of
3,000 events. The sign of b tells whether rows of which much is known are predicted worse than they should be, in
comparison with the others: a rate falls in a stream in which nothing changes.

Page-Hinkley tests watch the mean of e^2 / v over all users, over those with less than 20 events, and over the others.
With x its mean over the n events of a batch, and m that over the events so far (at most the last 50,000 or so),

    s <- s + n (x - m - 0.1),    a change where s exceeds its least value so far by 400

Then the tests of single users (see kernels/train/belief_steps.py) have a lower limit, which rises again within some
50,000 events, and the Delta says why; the tests of means begin anew.

References: Mehra (1970), On the Identification of Variances and Adaptive Kalman Filtering. Page (1954), Continuous
Inspection Schemes. Gama et al. (2014), A Survey on Concept Drift Adaptation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmf.kernels.train import belief_steps as steps
from fastmf.parameters.priors import EVIDENCE, Priors

__all__ = ["PageHinkley", "forgotten", "watched", "watched_by"]

_LIFE, _FEWEST = 3_000.0, 500.0  # events that sums live, and that conclusions need
_PACE = 5_000.0  # events for a rate to change by e
_MOST = 2.0  # that the log of a rate changes by in a batch
_LEAST_RATE, _LARGEST_RATE = 1e-5, 0.03
_ALERT_LIFE, _CALM = 50_000.0, 0.01  # events that limits stay low after a change, and what counts as usual again
_SEGMENTS = ("all users", "users with less than 20 events", "users with 20 events or more")
_TOLERANCE, _RISE = 0.1, 400.0  # of Page-Hinkley tests: what means may differ by, and the sum that is a change
_FIRST, _MEMORY = 2_000.0, 50_000.0  # events that the mean is learned from first, and is the mean of at most
_RATES = 3  # numbers before the evidence: both rates, and 1 after a change, which then falls to 0
_TESTS = 9  # where the tests begin, after the events that tell about rates, and five sums of these
_WAITING = 21  # where the sums of events begin about which nothing has been concluded yet
_YOUNG, _SETTLED = steps.YOUNG, steps.SETTLED_ONES


class PageHinkley(NamedTuple):
    """The Page-Hinkley test for a rise of a mean.

    Attributes
    ----------
    events, mean : float
        Events so far, and the mean over them, in which old ones fade.
    summed, least : float
        The sum of what exceeds the mean and the tolerance, and its least value.

    Examples
    --------
    >>> test = PageHinkley()
    >>> for _ in range(20):
    ...     test = test.after(500, 500.0)
    >>> test.changed, test.after(500, 1250.0).changed
    (False, True)
    """

    events: float = 0.0
    mean: float = 0.0
    summed: float = 0.0
    least: float = 0.0

    def after(self, number: float, total: float) -> PageHinkley:
        """The test after some more numbers with this total."""
        if not number:
            return self
        events, mean, summed, least = self
        if events >= _FIRST:
            summed += total - number * (mean + _TOLERANCE)
        events += number
        mean += (total - number * mean) / min(events, _MEMORY + number)
        return PageHinkley(events, mean, summed, min(least, summed))

    @property
    def changed(self) -> bool:
        """Whether the mean has risen."""
        return self.summed - self.least > _RISE


def watched(priors: Priors, sums: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rates of drift, and the evidence about them, after a batch; and what is to be said about it.

    Parameters
    ----------
    priors : Priors
        Those before the batch, which are not changed.
    sums : float64[SUMS]
        Of the pass over the events of the batch.

    Returns
    -------
    (ndarray, tuple of str)
        The value of ``drift`` of the priors, and a reason for each change detected.
    """
    drift = priors.values["drift"].copy()
    waiting = drift[_WAITING:]
    waiting += sums
    if waiting[_YOUNG] + waiting[_SETTLED] < _FEWEST:
        return drift, ()
    told: list[float] = drift.tolist()
    numbers = told[_WAITING:]
    (young, squares), (settled, settled_squares) = numbers[_YOUNG : _YOUNG + 2], numbers[_SETTLED : _SETTLED + 2]
    number = young + settled
    fading = math.exp(-number / _LIFE)
    evidence = [fading * old + new for old, new in zip(told[_RATES:_TESTS], [number, *numbers[:5]], strict=True)]
    rates = _learned(told[:2], evidence, number)
    segments = (number, squares + settled_squares), (young, squares), (settled, settled_squares)
    tests = [
        PageHinkley(*told[_TESTS + 4 * place : _TESTS + 4 * place + 4]).after(*segment)
        for place, segment in enumerate(segments)
    ]
    changed = [place for place, test in enumerate(tests) if test.changed]
    notes = tuple(_reason(_SEGMENTS[place], tests[place], *segments[place]) for place in changed)
    if changed:
        tests = [PageHinkley()] * len(tests)
    alert = 1.0 if changed else told[2] * math.exp(-number / _ALERT_LIFE)
    drift[:_WAITING] = *rates, alert if alert > _CALM else 0.0, *evidence, *tests[0], *tests[1], *tests[2]
    waiting[:] = 0
    return drift, notes


def forgotten(priors: Priors) -> np.ndarray:
    """The value of ``drift`` of priors with the same rates, about which nothing is known."""
    drift = priors.values["drift"].copy()
    drift[2:] = 0
    return drift


def _learned(rates: list[float], evidence: list[float], number: float) -> list[float]:
    """The rates of users and items after a batch of so many events."""
    _, users, mixed, items, of_users, of_items = evidence
    free = users * items - mixed * mixed
    if free <= 1e-6 * users * items:  # they cannot be told apart
        return rates
    found = []
    for rate, own, excess, other, further in ((rates[0], items, of_users, mixed, of_items),
                                              (rates[1], users, of_items, mixed, of_users)):  # fmt: skip
        t = (own * excess - other * further) / math.sqrt(2 * own * free)
        step = min(max(t / 2, -1.0), 1.0) * min(number / _PACE, _MOST)
        found.append(min(max(rate * math.exp(step), _LEAST_RATE), _LARGEST_RATE))
    return found


def _reason(name: str, test: PageHinkley, events: float, squares: float) -> str:
    return (
        f"a change: squared errors of {name} are {squares / max(events, 1):.2f} of their variance in this "
        f"batch, {test.mean:.2f} before; users are tested more strictly now; if that lasts, refit()"
    )


def watched_by(recipe: Any) -> bool:
    """Whether an update may change what is known about drift: rows of both sides move, and priors may."""
    trainable = recipe.trainable
    return bool(trainable == "both" or (isinstance(trainable, Mapping) and trainable.get("priors", False)))


assert _WAITING == _TESTS + 4 * len(_SEGMENTS) == 2 + EVIDENCE - steps.SUMS
