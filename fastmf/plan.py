"""Plan: one batch made concrete, as local rows, an order and blocks."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.grouping import arrange, count_blocks, order_by
from fastmf.log.events import Events
from fastmf.log.sorting import bands_of_users, room_for, sort_by_user

__all__ = ["PARALLEL_FROM", "Plan", "bands_for", "deal", "most_in_flight", "pieces"]

PARALLEL_FROM = 500_000  # events: a pass over fewer takes a core some 10 ms, and compiling for more cores seconds
_BANDS, _MOST_BANDS = 8, 64  # a side: as many blocks may be worked on at once
_CACHE = 1 << 20  # bytes of item rows in a band: what a core keeps close
_FEW_ROWS = 64  # of a side
_CHUNK = 1 << 28  # factors, events times width, between two chances for Ctrl-C
_PIECE = 1 << 18  # events of a block where there are no others


class Plan(NamedTuple):
    """The order in which events are trained on.

    Attributes
    ----------
    events : Events
        With rows of the working set in place of rows of the model, in order of execution.
    bounds : int64[blocks + 1]
        Block b is ``events[bounds[b]:bounds[b + 1]]``.
    strata : int64[strata + 1]
        Blocks ``strata[s]`` to ``strata[s + 1]``, as many in each, share no row and may run at once; strata follow each
        other.
    in_flight : int
        Events, one of each part of a block, whose slopes are taken before the first of their steps.
    """

    events: Events
    bounds: np.ndarray
    strata: np.ndarray
    in_flight: int = 1

    @classmethod
    def single(cls, events: Events, users: int, order: str = "user", in_flight: int = 1) -> Plan:
        """Sorted by user, arrival order kept within a user, or just in order of ``"arrival"``.

        With several in flight the sorted events are cut into as many parts of equal length, which go side by side;
        what the parts leave over comes last.
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
        """The same events behind those of the past, which come user by user."""
        first = Plan.single(past, 0, "arrival")
        bounds = np.concatenate([first.bounds, self.bounds[1:] + past.users.size])
        whole = Events.concatenate([past, self.events])
        return Plan(whole, bounds, np.arange(bounds.size, dtype=np.int64))

    @classmethod
    def whole(cls, events: Events, users: int, items: int, shape: Shape, seed: int, threads: int = 1) -> Plan:
        """The plan of a fit: blocks that depend on the events alone, so any number of threads gives the same bits."""
        bands, in_flight = bands_for(events.users.size, items, shape), most_in_flight(shape, users, items)
        room = room_for(events.users.size)  # first for sorting, then for the plan: new memory costs as much as a pass
        by_user, starts = sort_by_user(events, users, threads, room)
        return cls.blocked(by_user, starts, deal(items, bands, seed), bands, in_flight, threads, room)

    @classmethod
    def blocked(
        cls,
        events: Events,
        starts: np.ndarray,
        item_band: np.ndarray,
        bands: int,
        in_flight: int,
        threads: int = 1,
        room: Events | None = None,
    ) -> Plan:
        """Block (a, b) holds the events of user band a and item band b, by user, its parts side by side.

        The events are sorted by user, and those of user u begin at ``starts[u]``. User bands are ranges of rows with
        equally many events, so that a block walks through memory; items are to be dealt to bands at random, since new
        items go with new users. Stratum s is the blocks (a, a + s mod bands): no two of them share a row. The events
        of a plan that is done with are `room` for those of the next.

        References
        ----------
        Gemulla, Nijkamp, Haas, Sismanis (2011), Large-scale Matrix Factorization with Distributed SGD.
        """
        size, columns = events.items.size, events.weighed()[1:4]
        user_band = bands_of_users(starts, bands).astype(np.int32)
        edges = np.searchsorted(user_band, np.linspace(0, bands, min(threads, bands) + 1).round())
        parts = list(itertools.pairwise(edges))  # a part per thread
        counts = np.zeros((len(parts), bands * bands), np.int64)

        def count(part: int) -> None:
            count_blocks(starts, parts[part], events.items, user_band, item_band, bands, counts[part])

        parallel_map(count, range(len(parts)), threads)
        bounds = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
        arranged = room_for(size) if room is None else room
        form = columns, user_band, item_band, bands, in_flight, bounds, arranged[:4]
        parallel_map(lambda users: arrange(starts, users, *form), parts, threads)
        return cls(arranged, bounds, np.arange(0, bands * bands + 1, bands, dtype=np.int64), in_flight)

    def pieces(self, width: int) -> list[tuple[int, int]]:
        """Positions of `order` to launch at once: whole strata, some 50 ms of work. Kernels hear no Ctrl-C."""
        strata = self.strata
        return [(int(strata[a]), int(strata[b])) for a, b in pieces(self.bounds[strata], _CHUNK // width)]

    def block_order(self, seed: int, epoch: int) -> np.ndarray:
        """The blocks in the order of one epoch: strata shuffled, so that no event is always the last word."""
        strata = len(self.strata) - 1
        if strata == 1:
            return np.arange(len(self.bounds) - 1)
        blocks = np.arange(len(self.bounds) - 1).reshape(strata, -1)
        return blocks[np.random.default_rng([seed, epoch]).permutation(strata)].ravel()


def bands_for(events: int, items: int, shape: Shape) -> int:
    """How many bands of a side a fit has: its blocks run at once, and the items of one stay close to a core."""
    if events < PARALLEL_FROM:
        return 1
    size = 4 * items * (shape.width + record_width(shape.memory))
    return min(max(_BANDS, -(-size // _CACHE), events >> 21), _MOST_BANDS)


def most_in_flight(shape: Shape, users: int, items: int) -> int:
    """How many events in flight fill a core: the wider the rows, the fewer; 1 where rows are so few that they meet."""
    if min(users, items) < _FEW_ROWS:
        return 1
    return 8 if shape.width <= 32 else 4 if shape.width <= 64 else 2


def pieces(bounds: np.ndarray, most: float, row: float = 0.0) -> list[tuple[int, int]]:
    """Consecutive rows, each piece with about so many events or a single row; those before the first have none.

    Row n has the events from bounds[n] to bounds[n + 1], and is as much work as `row` events besides them. What takes
    long is cut so, that Ctrl-C is heard between pieces, or that a piece fits the cache.
    """
    work = bounds + row * np.arange(bounds.size) if row else bounds
    if 0 < work[-1] <= most:
        return [(int(np.searchsorted(work, 0, "right")) - 1, bounds.size - 1)]
    ends = np.arange(0, work[-1], max(most, 1))
    firsts = np.unique(np.searchsorted(work, ends, "right") - 1)
    return list(zip(firsts.tolist(), [*firsts[1:].tolist(), bounds.size - 1], strict=False))


def deal(rows: int, bands: int, seed: int | list[int]) -> np.ndarray:
    """A band for every row: the rows in random order, cut into equal parts."""
    band = np.empty(rows, np.int32)
    band[np.random.default_rng(seed).permutation(rows)] = np.arange(rows) * bands // max(rows, 1)
    return band
