"""The event log of a model, by row: for each side a base of positions laid end to end and a linked tail of newer ones.

The events of row r, oldest first, are ``base[start[r]:start[r] + based[r]]`` and then its tail: ``head[r] - 1`` is its
newest event and ``previous[e] - 1`` the one before event e; 0 ends the list. `tailed[r]` counts the tail.
"""

from __future__ import annotations

import numpy as np

from fastmf.kernels.bridge import jit, stamp

MERGED_FROM = 16  # a tail shorter than this is not worth laying out


def _append(stamp):
    @jit(stamp)
    def append(rows, first, head, tailed, previous):
        """Link events `first`, `first` + 1, ... to their rows."""
        stamp  # noqa: B018 - the cache key, see bridge
        for position in range(rows.size):
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
            event, place = head[row], last
            while place > first and event > 0:
                place -= 1
                events[place] = event - 1
                event = previous[event - 1]
            end = start[row] + based[row]
            for k in range(place - first):
                events[first + k] = base[end - (place - first) + k]
            whole = last - first == based[row] + tailed[row]
            if whole and tailed[row] >= max(MERGED_FROM, based[row]) and used + last - first <= base.size:
                for k in range(last - first):
                    base[used + k] = events[first + k]
                start[row], based[row] = used, last - first
                head[row], tailed[row] = 0, 0
                used += last - first
        return used

    return collect


def _fetch(stamp):
    @jit(stamp)
    def fetch(events, rows, values, weights, times, out_rows, out_values, out_weights, out_times):
        """Four columns of the log at some positions, in one pass over it; without `out_times`, three."""
        stamp  # noqa: B018
        for n in range(events.size):
            event = events[n]
            out_rows[n], out_values[n], out_weights[n] = rows[event], values[event], weights[event]
            if out_times.size > 0:
                out_times[n] = times[event]

    return fetch


append, retract, count, collect, fetch = (make(stamp()) for make in (_append, _retract, _count, _collect, _fetch))
