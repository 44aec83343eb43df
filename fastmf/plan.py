"""Plan: the order of the events of a batch or a fit in training, and the blocks that may be trained in parallel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.grouping import arrange, count_blocks, order_by
from fastmf.log.events import Events

__all__ = ["PARALLEL_FROM", "Plan", "bands_for", "deal", "most_in_flight", "pieces"]

PARALLEL_FROM = 500_000  # events: with fewer, a pass takes a core some 10 ms, and compiling parallel kernels seconds
_BANDS, _MOST_BANDS = 8, 64  # bands of a side: as many blocks may be trained at once
_CACHE = 1 << 20  # bytes of item rows in a band, which should fit the cache of a core
_FEW_ROWS = 64  # rows of a side, below which events in flight would often share rows
_CHUNK = 1 << 28  # factors (events times width) per launch: Ctrl-C is handled between launches
_PIECE = 1 << 18  # events per block of a plan without parallel blocks


class Plan(NamedTuple):
    """Events in order of execution, cut into blocks and strata.

    Attributes
    ----------
    events : Events
        Events with rows of the working set in place of rows of the model, in order of execution.
    bounds : ndarray of int64, shape (blocks + 1,)
        Block b is ``events[bounds[b]:bounds[b + 1]]``.
    strata : ndarray of int64, shape (strata + 1,)
        The blocks ``strata[s]`` to ``strata[s + 1]`` of a stratum share no row and may run in parallel. All strata have
        the same number of blocks, and run one after the other.
    in_flight : int
        Number of events, one from each part of a block, whose gradients are computed before the first of their steps.
    """

    events: Events
    bounds: np.ndarray
    strata: np.ndarray
    in_flight: int = 1

    @classmethod
    def single(cls, events: Events, users: int, order: str = "user", in_flight: int = 1) -> Plan:
        """Make a plan in order of ``"user"``, in order of arrival within a user, or in order of ``"arrival"``.

        With several events in flight, the sorted events are cut into as many parts of equal length, which are
        interleaved; the remaining events come last.
        """
        if order == "user":
            positions = order_by(events.users, users)[0]
            whole = positions.size // in_flight * in_flight
            positions[:whole] = positions[:whole].reshape(in_flight, -1).T.ravel()
            events = events.take(positions)
        elif order != "arrival":
            raise ValueError(f'order must be "user" or "arrival", got {order!r}')
        count = events.users.size
        bounds = np.array([*range(0, max(count, 1), _PIECE), count])
        return cls(events, bounds, np.arange(bounds.size, dtype=np.int64), in_flight)

    def after(self, past: Events) -> Plan:
        """Return the plan with the events of the past, sorted by user, before its own."""
        first = Plan.single(past, 0, "arrival")
        bounds = np.concatenate([first.bounds, self.bounds[1:] + past.users.size])
        whole = Events.concatenate([past, self.events])
        return Plan(whole, bounds, np.arange(bounds.size, dtype=np.int64))

    @classmethod
    def whole(
        cls,
        events: Events,
        by_user: tuple[np.ndarray, np.ndarray],
        items: int,
        shape: Shape,
        seed: int,
        threads: int = 1,
    ) -> Plan:
        """Make the plan of a fit, whose blocks depend only on the events: any number of threads gives the same bits.

        Parameters as in :meth:`blocked`.
        """
        bands = bands_for(events.users.size, items, shape)
        in_flight = most_in_flight(shape, by_user[1].size - 1, items)
        return cls.blocked(events, by_user, deal(items, bands, seed), bands, in_flight, threads)

    @classmethod
    def blocked(
        cls,
        events: Events,
        by_user: tuple[np.ndarray, np.ndarray],
        item_band: np.ndarray,
        bands: int,
        in_flight: int,
        threads: int = 1,
        room: Events | None = None,
    ) -> Plan:
        """Make a plan whose block (a, b) holds the events of user band a and item band b, by user, parts interleaved.

        `by_user` is the order that sorts the events by user, and the start of each user in it. User bands are ranges of
        rows with about the same number of events, so that a block accesses memory in order. Items should be assigned to
        bands at random, since new items tend to occur with new users. Stratum s consists of the blocks
        (a, a + s mod bands), no two of which share a row. The events of a finished plan may be passed as `room`, whose
        memory is reused.

        References
        ----------
        Gemulla, Nijkamp, Haas, Sismanis (2011), Large-scale Matrix Factorization with Distributed SGD.
        """
        order, starts = by_user
        events = events.weighed()
        user_band = np.minimum(starts[:-1] * bands // max(order.size, 1), bands - 1).astype(np.int32)
        edges = np.searchsorted(user_band, np.linspace(0, bands, min(threads, bands) + 1).round())  # a part per thread
        positions = np.linspace(0, order.size, edges.size).astype(np.int64)
        counts = np.zeros((edges.size - 1, bands * bands), np.int64)

        def count(part: int) -> None:
            span = slice(positions[part], positions[part + 1])
            count_blocks(events.users[span], events.items[span], user_band, item_band, bands, counts[part])

        parallel_map(count, range(len(counts)), threads)
        bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        columns = (np.empty(order.size, column.dtype) for column in events[:4])  # type: ignore[union-attr]
        arranged = Events(*columns) if room is None else room
        form = events[:4], user_band, item_band, bands, in_flight, bounds, arranged[:4]
        parallel_map(lambda users: arrange(order, starts, users, *form), list(itertools.pairwise(edges)), threads)
        return cls(arranged, bounds, np.arange(0, bands * bands + 1, bands, dtype=np.int64), in_flight)

    def pieces(self, width: int) -> Iterator[tuple[int, int]]:
        """Iterate over ranges of blocks to launch at once: whole strata, some 50 ms, since kernels ignore Ctrl-C."""
        ends = self.bounds[self.strata]
        if ends[-1] * width <= _CHUNK:
            return iter([(0, len(self.bounds) - 1)])
        steps = np.arange(0, ends[-1], max(1, _CHUNK // width))
        firsts = np.unique(np.searchsorted(ends, steps, "right") - 1)
        return itertools.pairwise(self.strata[np.append(firsts, ends.size - 1)].tolist())

    def block_order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of the blocks in an epoch: strata are shuffled, so that no event is always the last one."""
        strata = len(self.strata) - 1
        if strata == 1:
            return np.arange(len(self.bounds) - 1)
        blocks = np.arange(len(self.bounds) - 1).reshape(strata, -1)
        return blocks[np.random.default_rng([seed, epoch]).permutation(strata)].ravel()


def bands_for(events: int, items: int, shape: Shape) -> int:
    """Return the number of bands per side of a fit: as many blocks run at once, and the items of one fit a cache."""
    if events < PARALLEL_FROM:
        return 1
    size = 4 * items * (shape.width + record_width(shape.memory))
    return min(max(_BANDS, -(-size // _CACHE), events >> 21), _MOST_BANDS)


def most_in_flight(shape: Shape, users: int, items: int) -> int:
    """Return the number of events in flight that keep a core busy; 1 if rows are so few that events share them."""
    if min(users, items) < _FEW_ROWS:
        return 1
    return 8 if shape.width <= 32 else 4 if shape.width <= 64 else 2


def pieces(bounds: np.ndarray, most: float, row: float = 0.0) -> list[tuple[int, int]]:
    """Cut consecutive rows into pieces with about `most` events, or of a single row; skip leading rows without events.

    A row counts as `row` events in addition to its own.
    """
    work = bounds + row * np.arange(bounds.size) if row else bounds
    ends = np.arange(0, work[-1], max(most, 1))
    firsts = np.unique(np.searchsorted(work, ends, "right") - 1)
    return list(zip(firsts.tolist(), [*firsts[1:].tolist(), bounds.size - 1], strict=False))


def deal(rows: int, bands: int, seed: int | list[int]) -> np.ndarray:
    """Assign rows to bands of equal size at random; return the band of each row."""
    band = np.empty(rows, np.int32)
    band[np.random.default_rng(seed).permutation(rows)] = np.arange(rows) * bands // max(rows, 1)
    return band
