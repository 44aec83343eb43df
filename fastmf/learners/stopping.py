"""When a fit ends that is given no number of epochs: by its loss on events that are held out, and learned last.

Gradient steps overfit, and how soon depends on the log, so what ends them is the loss of events that they have not
seen, at most 2 % of all: of losses that compare events with negatives, the latest ones of some users; of values, any
(the latest ones are too much of a kind: fits ended too early). Once the fit has ended, and the rows of the best epoch
are back, one more pass goes over all events, these included. (To take the held-out events alone for as many passes as
the others have had spoils the ranking: rows move far for one event.)

Reference: Prechelt (1998), Early Stopping - But When? (the loss may rise for a while: how long to wait for another
minimum is in proportion to how long training has taken).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.parameters.moves import Image

__all__ = ["EVERY", "LONGEST", "Best", "Patience", "Steady", "Watch", "watched"]

LONGEST = 100  # epochs of a fit by gradient steps that ends by itself
_SHORTEST = 20  # epochs before which no fit ends by itself: the losses of sparse logs rise at first, or do not move
EVERY = 2  # epochs from one look at the held-out events to the next: a look costs up to a tenth of a cheap epoch
_SHARE, _MOST, _FEWEST = 0.02, 10_000, 200  # held-out events; with fewer, their loss says little
_KNOWN = 5  # events of rows that are watched
_WAIT = 0.25  # share of the epochs so far by which the best one may lie back
_SLIGHT = 0.002  # improvements of the held-out loss that are not worth waiting for, relative to it
_WAITED = 2  # losses in a row, of a fit of a given number of epochs
_STEADY = 0.0002  # relative change of the loss of a sweep of ALS, below which it ends


def watched(events: Events, users: int, items: int, seed: int, latest: bool) -> np.ndarray:
    """Positions of the events to be held out, in order; rows that have few events keep them all.

    Parameters
    ----------
    events : Events
    users, items : int
        Numbers of rows.
    seed : int
    latest : bool
        Whether they are the latest events of users, of pairs that are new.

    Returns
    -------
    ndarray of int64
        None in a small log.
    """
    size = events.users.size
    count = min(int(_SHARE * size), _MOST)
    if count < _FEWEST:
        return np.empty(0, np.int64)
    often = np.bincount(events.users, minlength=users) >= _KNOWN, np.bincount(events.items, minlength=items) >= _KNOWN
    found = _latest(events, users) if latest else np.arange(size)
    found = found[often[0][events.users[found]] & often[1][events.items[found]]]
    if events.weights is not None:
        found = found[events.weights[found] > 0]
    chosen = np.random.default_rng(seed).permutation(found)[:count]
    return np.sort(chosen) if chosen.size >= _FEWEST else chosen[:0]


def _latest(events: Events, users: int) -> np.ndarray:
    """The positions of the latest event of each user, but where the user has had the item before."""
    latest = np.full(users, -1)
    latest[events.users] = np.arange(events.users.size)  # the last of several is kept
    taken = events.items[latest]  # of users without events too, who have no events of it
    same = np.bincount(events.users[events.items == taken[events.users]], minlength=users)
    found: np.ndarray = latest[same == 1]
    return found


class Steady:
    """Whether the loss of an epoch has hardly changed: what ends the sweeps of ALS, which do not overfit in time.

    Parameters
    ----------
    learn : callable
        ``learn(epoch)`` trains an epoch and returns its loss.
    """

    def __init__(self, learn: Callable[[int], float]) -> None:
        self._learn, self._losses = learn, (np.inf, np.inf)

    def learn(self, epoch: int) -> float:
        """Train an epoch, and return its loss."""
        loss = self._learn(epoch)
        self._losses = self._losses[1], loss
        return loss

    def settled(self) -> bool:
        """Whether the last loss is that before it, but for a share of it; False until there are two."""
        before, after = self._losses
        return abs(before - after) <= _STEADY * abs(before) < np.inf


class Patience:
    """Whether a fit by gradient steps should end, from its losses on held-out events."""

    def __init__(self) -> None:
        self._loss, self._since = np.inf, 0

    def over(self, epoch: int, loss: float) -> bool:
        """Whether to end after an epoch, counted from 1, with this loss."""
        if loss < self._loss * (1 - _SLIGHT):
            self._loss, self._since = loss, epoch
        return epoch >= _SHORTEST and epoch - self._since >= _WAIT * epoch


class Best:
    """A copy of the rows, and of `further` arrays, of the epoch with the smallest loss on held-out events."""

    def __init__(self, working: WorkingSet, further: tuple[np.ndarray, ...]) -> None:
        self._working, self._further = working, further
        self._loss, self._waited = np.inf, 0
        self._rows: dict[str, Image] = {}
        self._kept: list[np.ndarray] = []

    def note(self, loss: float) -> int:
        """Record the loss of an epoch; returns how many losses in a row have not been better than the best."""
        if loss < self._loss:
            self._loss, self._waited = loss, 0
            self._rows = {side: rows.copy() for side, rows in self._working.now.items()}
            self._kept = [array.copy() for array in self._further]
        else:
            self._waited += 1
        return self._waited

    def restore(self) -> None:
        """Bring the rows of the best epoch back."""
        for side, rows in self._rows.items():
            for now, best in zip(self._working.now[side], rows, strict=True):
                now[:] = best
        for array, kept in zip(self._further, self._kept, strict=False):  # nothing is kept where no loss is a number
            array[:] = kept


class Watch(NamedTuple):
    """What ends a fit, and which of its epochs it returns to, by the loss of events that are held out.

    Attributes
    ----------
    best : Best
    measure : callable
        Returns that loss.
    every : int
        Epochs from one look to the next.
    patience : Patience or None
        None to end when two losses in a row have not been better than the best.
    """

    best: Best
    measure: Callable[[], float]
    every: int
    patience: Patience | None

    def look(self, epoch: int) -> float | None:
        """The loss after an epoch, counted from 1, if it is one to look at."""
        return None if epoch % self.every else self.measure()

    def over(self, epoch: int, loss: float | None) -> bool:
        """Record what :meth:`look` returned; whether to end."""
        if loss is None:
            return False
        waited = self.best.note(loss)
        return waited >= _WAITED if self.patience is None else self.patience.over(epoch, loss)
