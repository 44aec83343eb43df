"""Synthetic ratings by users whose tastes drift, with changes at known times if these are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError, require_count, require_integer, require_number
from fastmf.interactions import Interactions

__all__ = ["FIRST_SECOND", "YEAR", "Change", "synthetic"]

YEAR = 365 * 24 * 3600  # seconds
FIRST_SECOND = 1_577_836_800  # 2020-01-01 00:00 UTC


class Change(NamedTuple):
    """A change that is planted in synthetic data at a known time.

    Each kind is drawn by a generator of its own, so that two changes of one kind concern the same rows first.

    Parameters
    ----------
    kind : {"tastes", "burst", "shock"}
        "tastes": a share of the users take another's taste: they like what the next one of them, in a random circle,
        would have liked then. "burst": a share of the items arrive, all at once, in place of their usual arrival.
        "shock": a share of the items exchange their popularity at random.
    at : float
        When, as a share of the year, in (0, 1): events of moments from ``FIRST_SECOND + at * YEAR`` on are affected.
        As many events come in each part of the year, but for visits that differ in length.
    share : float
        Share of the users, or items, in (0, 1].

    Examples
    --------
    >>> log = synthetic(events=1_000, drift=0, changes=[Change("tastes", at=0.5, share=0.2)])
    >>> int((log.times < FIRST_SECOND + 0.5 * YEAR).sum())  # events before it
    461
    """

    kind: str
    at: float = 0.5
    share: float = 0.2


def _required(change: Change) -> Change:
    """The change; ValueError if a field is out of range."""
    if change.kind not in ("tastes", "burst", "shock"):
        raise ValueError(f"a change is of the kind tastes, burst or shock, not {change.kind!r}")
    for name, number, limit in (("at", change.at, 1.0), ("share", change.share, np.nextafter(1.0, 2.0))):
        require_number(name, number)
        if not 0 < number < limit:
            raise ValueError(f"{name} of a change must be a share above 0, got {number!r}")
    return change


def _concerned(change: Change, size: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows that change, in random order."""
    random = np.random.default_rng([seed, *change.kind.encode()])
    return random.permutation(size)[: max(1, round(change.share * size))]


def synthetic(
    events: int = 100_000,
    users: int = 3_000,
    items: int = 2_000,
    drift: float = 1.0,
    noise: float = 0.5,
    seed: int = 0,
    changes: Sequence[Change] = (),
) -> Interactions:
    """Generate ratings from 1 to 5 over a year, by users whose tastes drift.

    Users rate about ten items per visit. Their activity is log-normal, and the popularity of items follows a power law.
    Half of the users and 40 % of the items arrive during the year. Of two random items a user rates the one they
    prefer, and no item twice. The result depends only on the arguments and the version of NumPy.

    Parameters
    ----------
    events : int
        Number of ratings.
    users, items : int
        Numbers of users and items to draw from; a few may never occur.
    drift : float
        How far tastes rotate within the year, in quarter turns: with 0 they do not change, with 1 they end up
        orthogonal to the initial ones.
    noise : float
        Standard deviation of a rating before rounding, in stars.
    seed : int
        Seed of the generator, not negative.
    changes : sequence of Change
        Changes at known times, none by default.

    Returns
    -------
    Interactions
        int64 ids, values from 1 to 5, times in Unix seconds, sorted by time.

    Raises
    ------
    DataError
        If there are not enough users and items for so many distinct pairs.
    ValueError
        If a number is of the wrong type or out of range.

    Examples
    --------
    >>> log = synthetic(events=1_000, seed=1)
    >>> len(log), bool((log.times[1:] >= log.times[:-1]).all())
    (1000, True)
    """
    for name, count in (("events", events), ("users", users), ("items", items)):
        require_count(name, count, 1)
    for name, number in (("drift", drift), ("noise", noise)):
        require_number(name, number)
    require_integer("seed", seed, 0)
    planted = [_required(change) for change in changes]
    for excess in (2, 4, 8, 16):  # repeated pairs are dropped, so more are drawn than are wanted
        random = np.random.default_rng(seed)
        user, item, stars, moments = _meetings(
            random, excess * events, (users, items), (drift, noise), _Planted(planted, seed)
        )
        distinct = np.unique(user * items + item, return_index=True)[1]
        if distinct.size >= events:
            break
    else:
        raise DataError(f"events={events} is too many for distinct pairs of {users} users and {items} items")
    kept = np.sort(random.permutation(distinct)[:events])
    return Interactions(
        users=user[kept],
        items=item[kept],
        values=np.clip(np.rint(stars[kept]), 1, 5).astype(np.float32),
        times=FIRST_SECOND + (moments[kept] * YEAR).astype(np.int64),
    )


class _Planted(NamedTuple):
    """Changes, and the seed of who is concerned."""

    changes: Sequence[Change]
    seed: int

    def arrivals(self, usual: NDArray[np.float64]) -> NDArray[np.float64]:
        """The arrivals of items."""
        for change in self._of("burst"):
            usual[_concerned(change, usual.size, self.seed)] = change.at
        usual[0] = 0.0  # at least one row exists at any time
        return usual

    def popularities(self, usual: NDArray[np.float64]) -> list[tuple[float, NDArray[np.float64]]]:
        """The weights of items, and from when on they hold."""
        found = [(0.0, usual)]
        for change in sorted(self._of("shock"), key=lambda one: one.at):
            rows, after = _concerned(change, usual.size, self.seed), found[-1][1].copy()
            after[np.sort(rows)] = after[rows]
            found.append((change.at, after))
        return found

    def tasters(self, users: NDArray[np.int64], moments: NDArray[np.float64], size: int) -> NDArray[np.int64]:
        """The user whose taste holds at each event."""
        for change in sorted(self._of("tastes"), key=lambda one: one.at):
            rows, whose = _concerned(change, size, self.seed), np.arange(size)
            whose[rows] = np.roll(rows, 1)
            users = np.where(moments >= change.at, whose[users], users)
        return users

    def _of(self, kind: str) -> list[Change]:
        return [change for change in self.changes if change.kind == kind]


def _meetings(
    random: np.random.Generator, events: int, size: tuple[int, int], how: tuple[float, float], planted: _Planted
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw the user, item, stars before rounding and moment of each event, the moment as a share of the year."""
    users, moments = _visits(random, events, size[0])
    arrivals = planted.arrivals(_arrivals(random, size[1], 0.6))
    popularity = planted.popularities(random.permutation(1.0 / np.arange(1, size[1] + 1) ** 0.8))
    met = np.stack([_draw(random, moments, arrivals, popularity) for _ in range(2)], axis=1)
    tasters = planted.tasters(users, moments, size[0])
    liking = _liking(random, (users, tasters), met, how[0] * moments, size)
    better = np.arange(events), liking.argmax(axis=1)
    return users, met[better], 3.2 + liking[better] + random.normal(0, how[1], events), moments


def _arrivals(random: np.random.Generator, size: int, present: float) -> NDArray[np.float64]:
    """Draw the arrival of each row as a share of the year; the share `present` exists from the start."""
    arrivals = np.where(random.random(size) < present, 0.0, random.random(size))
    arrivals[0] = 0.0  # at least one row exists at any time
    return arrivals


def _draw(
    random: np.random.Generator,
    moments: NDArray[np.float64],
    arrivals: NDArray[np.float64],
    weights: list[tuple[float, NDArray[np.float64]]],
) -> NDArray[np.int64]:
    """Draw for each moment one of the rows that have arrived by then, with probabilities proportional to weights.

    The weights are those from some moments on, the first from 0.
    """
    order, shares = np.argsort(arrivals, kind="stable"), random.random(moments.size)
    arrived = np.searchsorted(arrivals[order], moments, side="right")
    found = np.empty(moments.size, np.int64)
    for number, (start, some) in enumerate(weights):
        end = weights[number + 1][0] if number + 1 < len(weights) else np.inf
        cumulative, here = np.cumsum(some[order]), (moments >= start) & (moments < end)
        found[here] = np.searchsorted(cumulative, shares[here] * cumulative[arrived[here] - 1], side="right")
    return order[found]


def _visits(
    random: np.random.Generator, events: int, users: int, length: int = 10
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw the user and the moment of each event; visits have `length` events on average."""
    visits = max(1, -(-2 * events // length))  # twice what is needed on average: the lengths are random
    moments = random.random(visits)
    lengths = random.geometric(1 / length, visits)
    needed = int(np.searchsorted(np.cumsum(lengths), events)) + 1
    moments, lengths = np.sort(moments[:needed]), lengths[:needed]
    visitors = _draw(random, moments, _arrivals(random, users, 0.5), [(0.0, random.lognormal(0.0, 1.0, users))])
    return np.repeat(visitors, lengths)[:events], np.repeat(moments, lengths)[:events]


def _liking(
    random: np.random.Generator,
    users: tuple[NDArray[np.int64], NDArray[np.int64]],
    met: NDArray[np.int64],
    turns: NDArray[np.float64],
    size: tuple[int, int],
    factors: int = 6,
) -> NDArray[np.float64]:
    """Compute how much users like the items met, in stars.

    Each has the generosity of the first, and the taste of the second of two users; `turns` is the rotation of tastes by
    then.
    """
    start, end = random.normal(size=(2, size[0], factors))
    traits = random.normal(0.0, 1.1 / np.sqrt(factors), (size[1], factors))
    generosity, quality = random.normal(0.0, 0.35, size[0]), random.normal(0.0, 0.4, size[1])
    angle = turns[:, None] * (np.pi / 2)
    tastes = np.cos(angle) * start[users[1]] + np.sin(angle) * end[users[1]]
    liking: NDArray[np.float64] = np.einsum("nk,nck->nc", tastes, traits[met])
    return liking + generosity[users[0], None] + quality[met]
