"""Sorting events by user, in two passes that suit caches: to bands of users, then to places within a band.

Writing straight to places that are far apart would move a cache line for every number. Results do not depend on the
number of threads.
"""

from __future__ import annotations

import itertools

import numpy as np

from fastmf.kernels.core.launch import parallel_map
from fastmf.kernels.rows.grouping import count_rows, to_bands, to_rows
from fastmf.log.events import Events

__all__ = ["bands_of_users", "room_for", "sort_by_user"]

_AT_ONCE = 1 << 18  # events whose places fit a cache
_MOST_BANDS = 64
_NO_USERS, _NO_WEIGHTS = np.empty(0, np.int32), np.empty(0, np.float32)

Columns = tuple[np.ndarray, ...]  # users, items, values, weights; the weights may be empty


def room_for(size: int) -> Events:
    """Uninitialised events."""
    users, items, values, weights = (np.empty(size, kind) for kind in (np.int32, np.int32, np.float32, np.float32))
    return Events(users, items, values, weights)


def bands_of_users(starts: np.ndarray, bands: int) -> np.ndarray:
    """The band of each user: ranges of rows with about equally many events; those of user u begin at starts[u]."""
    return (starts[:-1] * bands // max(int(starts[-1]), 1)).clip(max=bands - 1)


def sort_by_user(events: Events, users: int, threads: int = 1, room: Events | None = None) -> tuple[Events, np.ndarray]:
    """The events sorted by user, in order of arrival within a user, and the start of each user in them.

    Parameters
    ----------
    events : Events
        Their times are left out.
    users : int
        The number of rows of users.
    threads : int
    room : Events, optional
        As many events, which are overwritten.

    Returns
    -------
    events : Events
        Without users and times.
    starts : ndarray of int64, shape (users + 1,)
    """
    size, weights = events.users.size, _NO_WEIGHTS if events.weights is None else events.weights
    columns: Columns = (*events.contiguous()[:3], np.ascontiguousarray(weights))
    counts = np.zeros((threads, users), np.int32)
    cuts = list(itertools.pairwise(np.linspace(0, size, threads + 1).astype(np.int64).tolist()))
    parallel_map(lambda part: count_rows(columns[0][slice(*cuts[part])], counts[part]), range(threads), threads)
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0, dtype=np.int64))])
    pieces = [(0, size)]
    if size > _AT_ONCE:
        columns, pieces = _in_bands(columns, cuts, counts, starts, room_for(size) if room is None else room)
    found, following = tuple(np.empty_like(column) for column in columns[1:]), starts[:-1].copy()
    parallel_map(lambda piece: to_rows(*piece, columns, following, found), pieces, threads)
    items, values, weights = found
    return Events(_NO_USERS, items, values, None if events.weights is None else weights), starts


def _in_bands(
    columns: Columns, cuts: list[tuple[int, int]], counts: np.ndarray, starts: np.ndarray, room: Events
) -> tuple[Columns, list[tuple[int, int]]]:
    """The events band by band, in `room`, and the first and last event of each band.

    Thread t takes the events from cuts[t][0] to cuts[t][1], of which counts[t, u] are those of user u.
    """
    size, threads, weighed = columns[0].size, len(cuts), columns[3].size > 0
    bands = min(-(-size // _AT_ONCE), _MOST_BANDS)
    band = bands_of_users(starts, bands).astype(np.uint8)
    firsts = np.searchsorted(band, np.arange(bands + 1))  # users
    sums = np.concatenate([np.zeros((threads, 1), np.int64), counts.cumsum(axis=1, dtype=np.int64)], axis=1)
    of_thread = np.diff(sums[:, firsts], axis=1)
    places = starts[firsts[:-1]] + of_thread.cumsum(axis=0) - of_thread
    spread: Columns = (room.users, room.items, room.values, np.asarray(room.weights) if weighed else _NO_WEIGHTS)

    def distribute(thread: int) -> None:
        to_bands(tuple(column[slice(*cuts[thread])] for column in columns), band, places[thread], spread)

    parallel_map(distribute, range(threads), threads)
    return spread, list(itertools.pairwise(starts[firsts].tolist()))
