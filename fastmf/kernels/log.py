"""The event log of a model, by row: for each side a base of positions laid end to end and a linked tail of newer ones.

The events of row r, oldest first, are ``base[start[r]:start[r] + based[r]]`` and then its tail: ``head[r] - 1`` is its
newest event and ``previous[e] - 1`` the one before event e; 0 ends the list. `tailed[r]` counts the tail.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmf.kernels.borrowed import prefetch
from fastmf.kernels.bridge import jit, stamp
from fastmf.kernels.rng import draw

MERGED_FROM = 16  # a tail shorter than this is not worth laying out
_AHEAD = 16  # events between a prefetch and its use


def _append(stamp):
    @jit(stamp)
    def append(rows, first, head, tailed, previous):
        """Link events `first`, `first` + 1, ... to their rows."""
        stamp  # noqa: B018 - the cache key, see bridge
        for position in range(rows.size):
            if position + _AHEAD < rows.size:
                prefetch(head, np.int64(rows[position + _AHEAD]))
                prefetch(tailed, np.int64(rows[position + _AHEAD]))
            row = rows[position]
            previous[first + position] = head[row]
            head[row] = first + position + 1
            tailed[row] += 1

    return append


def _retract(stamp):
    @jit(stamp)
    def retract(rows, first, based, head, tailed, previous):
        """Unlink events `first`, `first` + 1, ..., the newest ones of the log."""
        stamp  # noqa: B018
        for position in range(rows.size - 1, -1, -1):
            row = rows[position]
            if tailed[row] > 0:
                head[row] = previous[first + position]
                tailed[row] -= 1
            else:
                based[row] -= 1

    return retract


def _count(stamp):
    @jit(stamp)
    def count(rows, limit, based, tailed, bounds):
        """bounds[n + 1] - bounds[n] = how many events of rows[n] there are, at most `limit`; returns their sum."""
        stamp  # noqa: B018
        total = 0
        for n in range(rows.size):
            bounds[n] = total
            total += min(limit, np.int64(based[rows[n]] + tailed[rows[n]]))
        bounds[rows.size] = total
        return total

    return count


@njit
def read(row, first, last, start, based, head, previous, base, events):
    """events[first:last] = the newest events of a row, oldest first."""
    event, place = head[row], last
    while place > first and event > 0:
        place -= 1
        events[place] = event - 1
        event = previous[event - 1]
    end, rest = start[row] + based[row], place - first
    for k in range(rest):
        events[first + k] = base[end - rest + k]


@njit
def lay_out(row, events, start, based, head, tailed, base, used):
    """All events of a row, laid out behind the `used` positions of the base; returns how many are used then."""
    for k in range(events.size):
        base[used + k] = events[k]
    start[row], based[row] = used, events.size
    head[row], tailed[row] = 0, 0
    return used + events.size


@njit
def older(row, count, k):
    """Draw k among the older half of a row's events: a place in the order of arrival."""
    return np.int64(draw(row, count, k) % np.uint64(count // 2))


def _collect(stamp):
    @jit(stamp)
    def collect(rows, bounds, start, based, head, tailed, previous, base, used, events):
        """events[bounds[n]:bounds[n + 1]] = the newest events of rows[n], oldest first.

        A tail as long as its base is laid out behind the `used` positions of the base when the whole row is visited
        anyway, which costs a constant per event over time. Returns how many positions are used then.
        """
        stamp  # noqa: B018
        for n in range(rows.size):
            row, first, last = rows[n], bounds[n], bounds[n + 1]
            read(row, first, last, start, based, head, previous, base, events)
            whole = last - first == based[row] + tailed[row]
            if whole and tailed[row] >= max(MERGED_FROM, based[row]) and used + last - first <= base.size:
                used = lay_out(row, events[first:last], start, based, head, tailed, base, used)
        return used

    return collect


def _sample(stamp):
    @jit(stamp)
    def sample(rows, bounds, limit, start, based, head, tailed, previous, base, used, events, scales):
        """As collect, but of a row with more events: a sample of its older ones, then its newest limit - limit // 2.

        Each sampled event stands for scales[n] events. It is of the older half of the row, which is in the base once a
        tail longer than the base has been laid out: so what is drawn depends on the log alone.
        """
        stamp  # noqa: B018
        for n in range(rows.size):
            row, first, last = rows[n], bounds[n], bounds[n + 1]
            count = np.int64(based[row] + tailed[row])
            drawn = 0 if count <= limit else limit // 2
            if drawn and tailed[row] > based[row] and used + count <= base.size:
                whole = np.empty(count, np.int64)
                read(row, 0, count, start, based, head, previous, base, whole)
                used = lay_out(row, whole, start, based, head, tailed, base, used)
            if based[row] < count // 2:  # there was no room to lay it out
                drawn = 0
            read(row, first + drawn, last, start, based, head, previous, base, events)
            for k in range(drawn):
                events[first + k] = base[start[row] + older(row, count, k)]
                scales[first + k] = np.float32((count - limit + drawn) / drawn)
        return used

    return sample


def _fetch(stamp):
    @jit(stamp)
    def fetch(events, rows, values, weights, unweighted, times, out_rows, out_values, out_weights, out_times):
        """Four columns of the log at some positions, in one pass over it; without `out_times`, three.

        The first `unweighted` events of the log weigh 1.
        """
        stamp  # noqa: B018
        for n in range(events.size):
            event = events[n]
            out_rows[n], out_values[n] = rows[event], values[event]
            out_weights[n] = weights[event] if event >= unweighted else np.float32(1)
            if out_times.size > 0:
                out_times[n] = times[event]

    return fetch


append, retract, count = _append(stamp()), _retract(stamp()), _count(stamp())
collect, sample, fetch = _collect(stamp()), _sample(stamp()), _fetch(stamp())
