"""Recent events of items, the terms of rankings that follow from them, and how experts would have ranked.

Event t weighs ``2**((t - origin) / half_life)``, which is rounded to an integer multiple of 1 / ONE and to a 64th of a
half-life: sums are exact, so that they do not depend on the order in which events come or go.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit

from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import load
from fastmf.kernels.core.shape import Shape
from fastmf.kernels.rank.topk import bar_past, barred, new_mask

ONE = 1 << 20  # the weight of an event at the origin
STEPS = 64  # in a half-life, between which weights change
CUTOFF = 10  # ranks that count


@functools.cache
def tally() -> Any:
    """The kernel that adds events to counts."""
    return _tally(stamp())


def _tally(stamp):
    @jit(stamp)
    def tally(items, begin, end, first, origin, half_life, sign, column, counts):
        """Add `sign` times the weights of events to column `column` of counts.

        The events are items[begin:end]; event number n of the log is items[n - first].
        """
        stamp  # noqa: B018 - the cache key, see bridge
        finite = half_life < np.inf
        step = max(np.int64(half_life / STEPS), 1) if finite else end - begin
        n = begin
        while n < end:
            stop, weight = end, np.int64(ONE)
            if finite:
                block = (first + n - origin) // step  # floor, for events before the origin too
                stop = min(end, origin + (block + 1) * step - first)
                weight = np.int64(np.rint(ONE * 2.0 ** (block * step / half_life)))
            for place in range(n, stop):
                counts[items[place], column] += sign * weight
            n = stop

    return tally


@functools.cache
def terms() -> Any:
    """The kernel that computes log(1 + recent events)."""
    return _terms(stamp())


def _terms(stamp):
    @jit(stamp)
    def terms(rows, counts, logs):
        """Write logs[r] for the rows `rows`."""
        stamp  # noqa: B018
        for n in range(rows.size):
            row = np.int64(rows[n])
            for column in range(counts.shape[1]):
                logs[row, column] = np.float32(math.log1p(counts[row, column] / ONE))

    return terms


@functools.cache
def blend() -> Any:
    """The kernel that adds the terms to biases."""
    return _blend(stamp())


def _blend(stamp):
    @jit(stamp)
    def blend(rows, logs, column, weight, alone, records, added):
        """Write added[r, 0] for the rows `rows`: the bias of a record and the term, or the term alone."""
        stamp  # noqa: B018
        for n in range(rows.size):
            row = np.int64(rows[n])
            bias = np.float32(0) if alone else records[row, 0]
            added[row, 0] = bias + np.float32(weight) * logs[row, column]

    return blend


@njit
def _insert(tops, held, score):
    """Insert a score into the `held` best ones, of which the least may have to go; returns their number."""
    hole = min(held, CUTOFF - 1)
    while hole > 0 and tops[hole - 1] < score:
        tops[hole] = tops[hole - 1]
        hole -= 1
    tops[hole] = score
    return min(held + 1, CUTOFF)


@njit
def _contenders(scores, order, best, tops, found):
    """Write the rows that may be among the best for some weight >= 0 of the terms to `found`; returns their number.

    Rows are visited by falling terms. One of a lower score than CUTOFF rows before it can't be among the best; so none
    can once the best by scores have been visited. best = (the score of the last of these, how many are no worse).
    """
    (least, left), size, held = best, 0, 0
    for place in range(order.size):
        row = np.int64(order[place])
        score = scores[row]
        if score == -np.inf or (held == CUTOFF and score < tops[CUTOFF - 1]):
            continue
        found[size] = row
        size += 1
        held, left = _insert(tops, held, score), left - (score >= least)
        if left == 0:
            break
    return size


@njit
def _best(scores, tops):
    """The score of the last of the CUTOFF best rows, and how many rows are no worse; of all, if there are fewer."""
    held, count = 0, 0
    for row in range(scores.size):
        if scores[row] > -np.inf and (held < CUTOFF or scores[row] > tops[CUTOFF - 1]):
            held = _insert(tops, held, scores[row])
    least = tops[held - 1] if held else np.float32(0)
    for row in range(scores.size):
        count += scores[row] >= least
    return least, count


@njit
def _rank_by_terms(scores, order, logs, column, target):
    """The rank of a target by terms alone, or CUTOFF + 1 beyond the cutoff; ties count against it."""
    rank, own = 0, logs[target, column]
    for place in range(order.size):
        row = np.int64(order[place])
        if logs[row, column] < own or rank > CUTOFF:
            break
        rank += scores[row] > -np.inf
    return rank


@njit
def _discount(rank):
    """What a target at a rank adds to the gain."""
    return 1 / math.log2(rank + 1) if rank <= CUTOFF else 0.0


@functools.cache
def judge(shape: Shape) -> Any:
    """The kernel that asks how blends of scores and terms rank what users went on to take."""
    return _judge(shape.size, shape.width, stamp())


def _judge(size, width, stamp):
    @jit(stamp)
    def judge(rows, vectors, items, records, logs, orders, weights, past, bounds, targets, gains, spreads):
        """Write gains[n, c, w], the NDCG of question n with column c of `logs` and weights[w] >= 0, and spreads[n].

        Question n is asked with the vector vectors[n], and, unless rows[n] is -1, without what row rows[n] of the log
        `past` has had, for the others of targets[bounds[n]:bounds[n + 1]]; ties count against these. The last w stands
        for terms alone. spreads[n] is the standard deviation of scores, NaN where there is nothing to ask for.
        orders[c] is all rows by falling terms.
        """
        stamp  # noqa: B018
        count = len(logs)
        scores, mask, nothing = (
            np.empty(count, np.float32),
            np.empty((count + 63) // 64, np.int64),
            np.empty(0, np.int64),
        )
        all_rows, tops, found = np.empty(0, np.int32), np.empty(CUTOFF, np.float32), np.empty(count, np.int64)
        wanted = np.empty(count, np.int64)
        places, mixed = np.full(count, -1), np.empty(count, np.float32)
        for n in range(rows.size):
            point = load(vectors, n, 0, width, size)
            new_mask(mask, nothing, count)
            if rows[n] >= 0:
                bar_past(mask, np.int64(rows[n]), past, all_rows)
            fresh = 0
            for target in targets[bounds[n] : bounds[n + 1]]:
                if not barred(mask, np.int64(target)):
                    wanted[fresh], fresh = target, fresh + 1
            if fresh == 0:
                spreads[n] = np.nan
                continue
            total, squares, number = 0.0, 0.0, 0
            for row in range(count):
                if barred(mask, row):
                    scores[row] = -np.inf
                    continue
                score = (point * load(items, row, 0, width, size)).total() + records[row, 0]
                scores[row] = score
                total, squares, number = total + score, squares + np.float64(score) * score, number + 1
            spreads[n] = math.sqrt(max(squares - total * total / max(number, 1), 0.0) / max(number, 1))
            best = _best(scores, tops)
            asked, ideal = wanted[:fresh], 0.0
            for place in range(min(asked.size, CUTOFF)):
                ideal += _discount(place + 1)
            for column in range(logs.shape[1]):
                left = _contenders(scores, orders[column], best, tops, found)
                for place in range(left):
                    places[found[place]] = place
                for w in range(weights.size):
                    gain, weight = 0.0, np.float32(weights[w])
                    for place in range(left):
                        mixed[place] = scores[found[place]] + weight * logs[found[place], column]
                    for target in asked:
                        if places[target] >= 0:
                            own, rank = mixed[places[target]], 0
                            for place in range(left):
                                rank += mixed[place] >= own
                            gain += _discount(rank)
                    gains[n, column, w] = gain / ideal
                gain = 0.0
                for target in asked:
                    gain += _discount(_rank_by_terms(scores, orders[column], logs, column, np.int64(target)))
                gains[n, column, weights.size] = gain / ideal
                for place in range(left):
                    places[found[place]] = -1

    return judge
