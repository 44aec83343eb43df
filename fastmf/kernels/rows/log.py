"""The event log of a model, indexed by row: on each side a compact array of positions, and linked lists of newer ones.

The events of row r, oldest first, are ``base[start[r]:start[r] + based[r]]``, followed by its tail, a linked list:
``head[r] - 1`` is its newest event, ``previous[e] - 1`` the one before event e, and 0 ends the list. `tailed[r]` is the
length of the tail. Events are identified by their position in the log.

A question may be given the links of a moment, and meet events that another thread appended after it: arrays that have
grown meanwhile were replaced by longer ones. Kernels of questions therefore stop at events beyond their arrays; their
answer is discarded, since the gate has changed (see gate.py).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmf.kernels.core.borrowed import borrow, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.rng import draw
from fastmf.kernels.rows.sharing import begin, end

MERGED_FROM = 16  # minimum length of a tail that is merged into the base
_AHEAD = 16  # events between a prefetch and its use


def _append(stamp):
    @jit(stamp)
    def append(sides, first, size):
        """Link events `first`, `first` + 1, ... to the tails of their rows; writes the new size of the log to size[0].

        A side is (the rows of these events, head, tailed, previous).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        for side in range(2):
            rows, head, tailed, previous = sides[side]
            for position in range(rows.size):
                if position + _AHEAD < rows.size:
                    prefetch(head, np.int64(rows[position + _AHEAD]))
                    prefetch(tailed, np.int64(rows[position + _AHEAD]))
                row = rows[position]
                previous[first + position] = head[row]
                head[row] = first + position + 1
                tailed[row] += 1
        size[0] = first + sides[0][0].size

    return append


def _retract(stamp):
    @jit(stamp)
    def retract(sides, first, size):
        """Unlink events `first`, `first` + 1, ..., the newest of the log; writes the new size of the log to size[0].

        A side is (the rows of these events, based, head, tailed, previous).
        """
        stamp  # noqa: B018
        for side in range(2):
            rows, based, head, tailed, previous = sides[side]
            for position in range(rows.size - 1, -1, -1):
                row = rows[position]
                if tailed[row] > 0:
                    head[row] = previous[first + position]
                    tailed[row] -= 1
                else:
                    based[row] -= 1
        size[0] = first

    return retract


def _count(stamp):
    @jit(stamp)
    def count(rows, limit, based, tailed, bounds):
        """Write bounds such that bounds[n + 1] - bounds[n] = min(limit, events of rows[n]); returns their sum."""
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
    """Write the newest ``last - first`` events of a row to events[first:last], oldest first."""
    event, place = head[row], last
    while place > first and 0 < event <= previous.size:
        place -= 1
        events[place] = event - 1
        event = previous[event - 1]
    end, rest = start[row] + based[row], place - first
    for k in range(rest):
        events[first + k] = base[end - rest + k]


@njit
def lay_out(row, events, start, based, head, tailed, base, used, changes):
    """Write all events of a row to the base from used[0] on, and empty its tail; `changes` is the count of a Gate."""
    first = used[0]
    for k in range(events.size):
        base[first + k] = events[k]
    begun = begin(changes)
    start[row], based[row] = first, events.size
    head[row], tailed[row] = 0, 0
    end(changes, begun)
    used[0] = first + events.size


@njit
def older(row, count, k):
    """Draw number k of a sample from the older half of a row's events: an index in order of arrival."""
    return np.int64(draw(row, count, k) % np.uint64(count // 2))


def _collect(stamp):
    @jit(stamp)
    def collect(rows, bounds, index, events):
        """Write the newest events of rows[n] to events[bounds[n]:bounds[n + 1]], oldest first; `index` as in `recall`.

        If a whole row is read whose tail is at least as long as its base, the row is laid out anew at the end of the
        base; this costs amortised O(1) per event.
        """
        stamp  # noqa: B018
        start, based, head, tailed, previous, base, used, changes = index
        for n in range(rows.size):
            row, first, last = rows[n], bounds[n], bounds[n + 1]
            read(row, first, last, start, based, head, previous, base, events)
            whole = last - first == based[row] + tailed[row]
            if whole and tailed[row] >= max(MERGED_FROM, based[row]) and used[0] + last - first <= base.size:
                lay_out(row, events[first:last], start, based, head, tailed, base, used, changes)

    return collect


@njit
def limit_of(past, new, most, few):
    """The maximum number of past events that is read of a row for `new` ones: `most`, or `few` of a row of many more.

    With P the largest power of two up to its number of past events, such a row is read whole whenever that number
    passes a multiple of P / 16, which is to say, once it has grown by a thirty-second to a sixteenth.
    """
    if few == 0 or past <= 2 * few:
        return most
    power = np.int64(1)
    while 2 * power <= past:
        power *= 2
    step = max(power // 16, 1)
    return most if (past + new) // step > past // step else min(few, most)


def _choose_limits(stamp):
    @jit(stamp)
    def choose_limits(past, new, most, few, limits):
        """Write :func:`limit_of` rows with so many past and new events."""
        stamp  # noqa: B018
        for n in range(past.size):
            limits[n] = limit_of(np.int64(past[n]), np.int64(new[n]), most, few)

    return choose_limits


@njit
def compact(row, limit, index):
    """Lay out a row with more than `limit` events, if its tail may contain events of the older half, see `sample`."""
    start, based, head, tailed, previous, base, used, changes = index
    count = np.int64(based[row] + tailed[row])
    if count > limit and limit > 1 and tailed[row] > based[row] and used[0] + count <= base.size:
        whole = np.empty(count, np.int64)
        read(row, 0, count, start, based, head, previous, base, whole)
        lay_out(row, whole, start, based, head, tailed, base, used, changes)


@njit
def sample(row, limit, links, base, events, scales):
    """Write up to `limit` events of a row to `events`, oldest first: its newest ones, and a sample of the others.

    The sample comes first: limit // 2 events drawn from the older half of the row, each representing scales[n] events;
    the scale of the others is 1. The older half must be in the base (see `compact`), so that the sample depends only on
    the log. Returns the number of events written.
    """
    start, based, head, tailed, previous = links
    count = np.int64(based[row] + tailed[row])
    taken = min(limit, count)
    drawn = limit // 2 if count > limit and based[row] >= count // 2 else 0  # else the base had no room for the row
    read(row, drawn, taken, start, based, head, previous, base, events)
    for k in range(drawn):
        events[k], scales[k] = base[start[row] + older(row, count, k)], np.float32((count - limit + drawn) / drawn)
    scales[drawn:taken] = 1
    return taken


def _compact_all(stamp):
    @jit(stamp)
    def compact_all(rows, limit, index):
        """Call `compact` on all of `rows`."""
        stamp  # noqa: B018
        for n in range(rows.size):
            compact(rows[n], limit, index)

    return compact_all


def _recall(stamp):
    @jit(stamp)
    def recall(rows, bounds, limits, index, columns, numbering, new, out):
        """Write the past events of rows[n], as chosen by `sample`, then its new events, from bounds[n] - bounds[0] on.

        index = (start, based, head, tailed, previous, base, used, changes of the gate). columns, new[0] and out are
        (rows of the other side, values, weights, times); `out` may have no times; a values column of length one applies
        to all events. The first columns[4] events of the log have weight 1; the weight of a sampled event is multiplied
        by its scale. Rows of the other side are replaced by their local numbers; numbering = (marks, rows, count), see
        grouping.Numbering, is extended. The new events of rows[n] are new[1][new[2][n]:new[2][n + 1]], positions in
        new[0].
        """
        stamp  # noqa: B018
        links, base = index[:5], index[5]
        _, based, _, tailed, _ = links
        own, values, weights, single = borrow(columns[0]), borrow(columns[1]), borrow(columns[2]), columns[1].size == 1
        times, unweighted, (columns_new, order, starts) = columns[3], columns[4], new
        others_new, values_new, weights_new = borrow(columns_new[0]), borrow(columns_new[1]), borrow(columns_new[2])
        marks, met, known = borrow(numbering[0]), borrow(numbering[1]), numbering[2][0]
        others, out_values, out_weights = borrow(out[0]), borrow(out[1]), borrow(out[2])
        out_times, longest, timed = out[3], 0, out[3].size > 0
        for n in range(rows.size):
            longest = max(longest, min(limits[n], np.int64(based[rows[n]] + tailed[rows[n]])))
        events, scales = np.empty(longest, np.int64), np.empty(longest, np.float32)
        for n in range(rows.size):
            at = bounds[n] - bounds[0]
            compact(rows[n], limits[n], index)
            taken = sample(rows[n], limits[n], links, base, events, scales)
            for k in range(taken):
                ahead = events[min(k + _AHEAD, taken - 1)]
                prefetch(own, ahead)
                if not single:
                    prefetch(values, ahead)
                event = events[k]
                other = np.int64(own[event])
                if marks[other] == 0:
                    met[known] = other
                    known += 1
                    marks[other] = known
                others[at], out_values[at] = marks[other] - 1, values[0 if single else event]
                out_weights[at] = scales[k] * (weights[event] if event >= unweighted else np.float32(1))
                if timed:
                    out_times[at] = times[event]
                at += 1
            for k in range(starts[n], starts[n + 1]):
                event = order[k]
                others[at], out_values[at], out_weights[at] = others_new[event], values_new[event], weights_new[event]
                if timed:
                    out_times[at] = columns_new[3][event]
                at += 1
        numbering[2][0] = known

    return recall


def _fetch(stamp):
    @jit(stamp)
    def fetch(events, rows, values, weights, unweighted, times, out_rows, out_values, out_weights, out_times):
        """Gather columns of the log at some positions: rows, values, weights and, unless `out_times` is empty, times.

        The first `unweighted` events of the log have weight 1.
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
choose_limits = _choose_limits(stamp())
collect, fetch, compact_all, recall = _collect(stamp()), _fetch(stamp()), _compact_all(stamp()), _recall(stamp())
