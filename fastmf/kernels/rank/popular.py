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
def _gain(scores, logs, order, column, weight, target):
    """1 / log2(1 + rank) of a target, 0 beyond the cutoff; ties count against it. `weight` below 0: terms alone.

    Rows are visited in an order in which most of those that rank first come early.
    """
    own, better = scores[target] + weight * logs[target, column], 0
    if weight < 0:
        own = logs[target, column]
    for place in range(order.size):
        row = np.int64(order[place])
        score = scores[row]
        if weight < 0:
            better += logs[row, column] >= own and score > -np.inf
        else:
            better += score + weight * logs[row, column] >= own
        if better > CUTOFF:  # it is among them itself
            return 0.0
    return 1 / math.log2(better + 1)


@functools.cache
def judge(shape: Shape) -> Any:
    """The kernel that asks how blends of scores and terms rank what users went on to take."""
    return _judge(shape.size, shape.width, stamp())


def _judge(size, width, stamp):
    @jit(stamp)
    def judge(rows, vectors, items, records, logs, order, weights, past, bounds, targets, gains, spreads):
        """Write gains[n, c, w], the NDCG of question n with column c of `logs` and weights[w], and spreads[n].

        Question n is asked with the vector vectors[n], and, unless rows[n] is -1, without what row rows[n] of the log
        `past` has had, for targets[bounds[n]:bounds[n + 1]]. The last w stands for terms alone. spreads[n] is the
        standard deviation of scores. `order` is all rows, the most popular first.
        """
        stamp  # noqa: B018
        count = len(logs)
        scores, mask = np.empty(count, np.float32), np.empty((count + 63) // 64, np.int64)
        nothing, all_rows = np.empty(0, np.int64), np.empty(0, np.int32)
        for n in range(rows.size):
            point = load(vectors, n, 0, width, size)
            new_mask(mask, nothing, count)
            if rows[n] >= 0:
                bar_past(mask, np.int64(rows[n]), past, all_rows)
            total, squares, number = 0.0, 0.0, 0
            for row in range(count):
                if barred(mask, row):
                    scores[row] = -np.inf
                    continue
                score = (point * load(items, row, 0, width, size)).total() + records[row, 0]
                scores[row] = score
                total, squares, number = total + score, squares + np.float64(score) * score, number + 1
            spreads[n] = math.sqrt(max(squares - total * total / max(number, 1), 0.0) / max(number, 1))
            ideal = 0.0
            for place in range(min(bounds[n + 1] - bounds[n], CUTOFF)):
                ideal += 1 / math.log2(place + 2)
            for column in range(logs.shape[1]):
                for w in range(weights.size + 1):
                    if column > 0 and w < weights.size and weights[w] == 0:
                        gains[n, column, w] = gains[n, 0, w]
                        continue
                    weight, found = np.float32(weights[w] if w < weights.size else -1), 0.0
                    for place in range(bounds[n], bounds[n + 1]):
                        found += _gain(scores, logs, order, column, weight, np.int64(targets[place]))
                    gains[n, column, w] = found / ideal

    return judge
