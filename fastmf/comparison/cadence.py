"""Cadences: how often a strategy brings its model up to date, as a share, a number of events, or a length of time."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, brief
from fastmf.interactions import Interactions

__all__ = ["Cadence", "cadences_of", "cuts_of", "length"]

Positions = NDArray[np.int64]

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"(\d+(?:\.\d+)?)\s*(%|[smhdw]?)")
_LATEST = 1e11  # Unix seconds of the year 5138: larger numbers are of another unit


class Cadence(NamedTuple):
    """How often a model is brought up to date.

    Attributes
    ----------
    text : str
        As given: ``"0.1%"``, ``"500"`` or ``"7d"``.
    amount : float
        Per cent of all events, a number of events, or seconds.
    unit : {"%", "events", "seconds"}
    """

    text: str
    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Cadence:
        """Read a cadence.

        Parameters
        ----------
        text : str
            A share of all events (``"1%"``), a number of events (``"1000"``), or a length of time: ``"90s"``,
            ``"15m"``, ``"1h"``, ``"1d"``, ``"2w"``.

        Returns
        -------
        Cadence

        Raises
        ------
        DataError
            If it is none of these, zero, or a share of more than 25 %.

        Examples
        --------
        >>> Cadence.parse("7d")
        Cadence(text='7d', amount=604800.0, unit='seconds')
        """
        found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None or not float(found[1]) > 0:
            raise DataError(
                f"every: {brief(text)} is no share (1%), number of events (1000) or time (1h, 7d) above zero"
            )
        amount, unit = float(found[1]), found[2]
        if unit == "%" and amount > 25:
            raise DataError(f"every: {text} of the events is more than 25 %, which leaves nothing to compare")
        if not unit and amount != int(amount):
            raise DataError(f"every: {text} is no whole number of events; a share is 1%, a time 1h")
        if unit in _SECONDS:
            return cls(text.strip(), amount * _SECONDS[unit], "seconds")
        return cls(text.strip(), amount, unit or "events")

    def cuts(self, events: Interactions, start: int) -> Positions:
        """Positions in a log, in order of time, at which the model is brought up to date.

        Parameters
        ----------
        events : Interactions
            In order of time.
        start : int
            The first position: that of the first model.

        Returns
        -------
        ndarray of int64
            Ascending, from `start`; the model of each position is asked about the events up to the next one.

        Raises
        ------
        DataError
            If the cadence is a time and the events have none, or times of an unknown unit, or if the model would not be
            brought up to date even once.

        Examples
        --------
        >>> import fastmf
        >>> log = fastmf.Interactions([1] * 10, range(10))
        >>> Cadence.parse("20%").cuts(log, 5)
        array([5, 7, 9])
        """
        if self.unit == "seconds":
            cuts = self._cuts_by_time(events, start)
        else:
            size = int(self.amount) if self.unit == "events" else int(len(events) * self.amount / 100)
            if size < 1:
                raise DataError(f"every: {self.text} of {len(events)} events is less than one event")
            cuts = np.arange(start, len(events), size, dtype=np.int64)
        if cuts.size < 2:
            raise DataError(f"every: {self.text} is longer than the later half of the log: nothing would be learned")
        return cuts

    def _cuts_by_time(self, events: Interactions, start: int) -> Positions:
        if events.times is None:
            raise DataError(f"every: {self.text} needs times, and the events have none; a share such as 1% does not")
        times, unit = events.times, 1_000_000 if events.dated else 1
        if not events.dated and abs(int(times[-1])) > _LATEST:
            raise DataError(
                f"times: {times[-1]} is not in Unix seconds, in which {self.text} counts; give datetimes or a share"
            )
        step = self.amount * unit
        number = math.ceil((int(times[-1]) - int(times[start])) / step)
        marks = int(times[start]) + np.ceil(np.arange(1, number + 1) * step).astype(np.int64)
        found = np.searchsorted(times, marks)  # events of a mark's own moment are asked about after it
        return np.unique(np.concatenate([[start], found[(found > start) & (found < len(events))]])).astype(np.int64)


def cadences_of(text: str | None) -> tuple[Cadence, ...]:
    """Read a list of cadences such as ``"0.1%,1%,5%"``; without any, there are none.

    Raises
    ------
    DataError
        If one is invalid or occurs twice.
    """
    found = tuple(Cadence.parse(part) for part in text.split(",")) if text is not None else ()
    for place, one in enumerate(found):
        if one[1:] in [other[1:] for other in found[:place]]:
            raise DataError(f"every: {one.text} occurs twice")
    return found


def cuts_of(cadences: tuple[Cadence, ...], events: Interactions, start: int) -> dict[str, Positions]:
    """The cuts of each cadence by its text, the finest cadence first."""
    cuts = {one.text: one.cuts(events, start) for one in cadences}
    return dict(sorted(cuts.items(), key=lambda pair: -pair[1].size))


def length(seconds: float) -> str:
    """A length of time in the largest unit of which it has one or more.

    Examples
    --------
    >>> length(5_400), length(604_800)
    ('1.5 hours', '7 days')
    """
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            amount = f"{seconds / size:.3g}"
            return f"{amount} {name}{'' if amount == '1' else 's'}"
    return f"{seconds:.3g} seconds"
