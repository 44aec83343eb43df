"""One pass over new events: each moves the means and the variances of its two rows once (an extended Kalman filter).

For an event of weight w with the value r, with old values on the right of all assignments:

    s <- s + drift (a - s)                                      a: variances of the prior
    e = r - (mean + b + c + p.q)
    u = s_b + s_c + sum (s_p q^2 + s_q p^2 + s_p s_q)           variance of the score
    d = f g s2 / w,           v = d + u                             variances of the noise, and of r
    h = e / v min(1, (u - sum s_p s_q) / |2 e / v sum s_p q s_q p|)
    p <- p + s_p q h,         s_p <- s_p / (1 + s_p q^2 / d)        and likewise q with p,
    b <- b + s_b h,           s_b <- s_b / (1 + s_b / d)            and likewise c,
    f <- f (a + w z) / (a + w),     a <- a + w                      and likewise g,  z = d (e / v)^2 + u / v

h is e / v, unless e is an outlier for which the product of both moves would count for more than half of their sum. The
factor f of the noise of the row is worth a events: z is the squared error that is expected afterwards, in units of d. A
loss other than the squared error is replaced by its normal surrogate: the target takes the place of r, and its weight
divides d.

A record is [bias, its variance, f, a]; a bias that is not trained is 0 and certain, and so never moves.

References: Kalman (1960), A New Approach to Linear Filtering and Prediction Problems. Jazwinski (1970), Stochastic
Processes and Filtering Theory (the extended filter, process noise).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload, register_jitable

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import borrow, borrow_at, prefetch
from fastmf.kernels.core.bridge import jit, stamp
from fastmf.kernels.core.lanes import fma, load, store
from fastmf.kernels.core.shape import Shape, record_width
from fastmf.kernels.rows.sharing import begin, end
from fastmf.kernels.train.ledger import CHANGES, ITEMS, LOSS, USERS, Entry, column
from fastmf.kernels.train.online import FULL, LEARNED, NOT_FINITE, append, full, located, remember, rows_of
from fastmf.kernels.train.row import score, score_variance

_FURTHER, _JOURNAL_FURTHER = int(Entry.FURTHER), int(Entry.JOURNAL_FURTHER)
_MARKS, _JOURNAL_COUNT = int(Entry.MARKS), int(Entry.JOURNAL_COUNT)
_PRIOR_RECORD, _PRIOR_FURTHER = int(Entry.UNKNOWN_RECORD), int(Entry.UNKNOWN_FURTHER)
_AHEAD = 8  # events between a prefetch and its use
RECORD = 3  # numbers of a record besides the bias


# --- the step of one event ------------------------------------------------------------------------------------------


@register_jitable(error_model="numpy", forceinline=True)
def drifted(variances, prior, share):
    """Variances, lanes or a number, that have gone back a share of their way to those of the prior."""
    return variances + (prior - variances) * share


@register_jitable(error_model="numpy", forceinline=True)
def measured(row, other, value, weight, numbers, loss):
    """(h, 1 / d, z), and the score, of an event with two rows, see `row_in`; numbers = (mean, s2)."""
    (p, s, b, s_b, f, _), (q, t, c, t_c, g, _), (mean, noise) = row, other, numbers
    scored, unsure = score(mean, b, c, p, q), score_variance(p, s, s_b, q, t, t_c)
    doubt = f * g * noise / weight
    factor, target = bridge.surrogate(loss, scored, unsure, value, doubt)
    doubt, target = doubt / np.float32(factor), np.float32(target)
    inverse = np.float32(1) / (doubt + unsure)
    pull = (target - scored) * inverse
    square = doubt * pull * pull + unsure * inverse
    alone, together = unsure - (s * t).total(), np.float32(2) * abs(pull * (s * t * (p * q)).total())
    if together > alone:
        pull *= alone / together
    return (pull, np.float32(1) / doubt, square), scored


@register_jitable(error_model="numpy", forceinline=True)
def moved(row, other, found, noted):
    """A row, see `row_in`, after an event; found = (h, 1 / d, z), `noted` is the weight that z has for f."""
    (p, s, b, s_b, f, a), q, (pull, curve, square) = row, other[0], found
    reach = s * q
    p, s = fma(reach, pull, p), s / fma(reach, q * curve, np.float32(1))
    return p, s, b + s_b * pull, s_b / (1 + s_b * curve), f * ((a + noted * square) / (a + noted)), a + noted


def row_in(size, width, tables, number, prior, share):
    """(factors, variances, bias, its variance, f, a) of a row before an event; for kernels only.

    tables = (factors, records, variances); prior = (records, variances), of one row; `share` is the drift.
    """


@overload(row_in, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _row_in(size, width, tables, number, prior, share):
    if not hasattr(size, "literal_value"):
        return None

    def loaded(size, width, tables, number, prior, share):
        factors, records, variances = tables
        usual = load(prior[1], 0, 0, width, size)
        s = drifted(load(variances, number, 0, width, size), usual, share)
        s_b = drifted(records[number, 1], prior[0][0, 1], share)
        return load(factors, number, 0, width, size), s, records[number, 0], s_b, records[number, 2], records[number, 3]

    return loaded


@register_jitable(error_model="numpy", forceinline=True)
def put(tables, number, row):
    """Write a row to its tables."""
    factors, records, variances = tables
    store(factors, number, 0, row[0])
    store(variances, number, 0, row[1])
    records[number, 0], records[number, 1], records[number, 2], records[number, 3] = row[2], row[3], row[4], row[5]


# --- a batch --------------------------------------------------------------------------------------------------------


@functools.cache
def learn(shape: Shape, loss: type) -> Any:
    """The kernel that learns a batch, see `_learn`."""
    return _learn(shape.size, shape.width, stamp(loss))


def _learn(size, width, stamp):
    @jit(stamp)
    def learn(events, span, users, items, user_prior, item_prior, drift, noted, movable, numbers, loss):
        """Learn the events span[0] to span[1], (user rows, item rows, values, weights), in order.

        users and items = (factors, records, variances); their priors are such tables of one row. Rows below
        movable[side] are written; what is not moved does not drift either. An event of weight 0 is skipped. noted[side]
        is 1 where factors of the noise are learned, else 0; numbers = (mean, s2).
        """
        stamp  # noqa: B018 - the cache key, see bridge
        user_rows, item_rows, values, weights = events
        people = borrow(users[0]), borrow(users[1]), borrow(users[2])
        things = borrow(items[0]), borrow(items[1]), borrow(items[2])
        usual = borrow(user_prior[1]), borrow(user_prior[2])
        common = borrow(item_prior[1]), borrow(item_prior[2])
        for n in range(span[0], span[1]):
            ahead = min(n + _AHEAD, span[1] - 1)
            prefetch(things[0], np.int64(item_rows[ahead]))
            prefetch(things[2], np.int64(item_rows[ahead]))
            u, i, weight = np.int64(user_rows[n]), np.int64(item_rows[n]), weights[n]
            if not weight > 0:
                continue
            own, met = u < movable[0], i < movable[1]
            row = row_in(size, width, people, u, usual, drift[0] if own else np.float32(0))
            other = row_in(size, width, things, i, common, drift[1] if met else np.float32(0))
            found, _ = measured(row, other, values[n], weight, numbers, loss)
            if own:
                put(people, u, moved(row, other, found, noted[0] * weight))
            if met:
                put(things, i, moved(other, row, found, noted[1] * weight))

    return learn


# --- single events --------------------------------------------------------------------------------------------------


@njit
def further_of(ledger, side, width):
    """The variances of a side, and those of its prior."""
    return (
        borrow_at(ledger[side + _FURTHER], np.float32, width),
        borrow_at(ledger[side + _PRIOR_RECORD], np.float32, record_width(RECORD)),
        borrow_at(ledger[side + _PRIOR_FURTHER], np.float32, width),
    )


@njit
def remember_variances(ledger, side, row, variances, width):
    """Copy the variances of a row to the journal, unless the row is there already; before `remember`."""
    if column(ledger, side + _MARKS, np.int32)[row] != 0:
        return
    kept, count = borrow_at(ledger[side + _JOURNAL_FURTHER], np.float32, width), ledger[side + _JOURNAL_COUNT]
    for factor in range(width):
        kept[count, factor] = variances[row, factor]


@functools.cache
def learn_single(shape: Shape, half: bool, loss: type) -> Any:
    """The kernel that learns one event, on the arrays of a ledger."""
    return _learn_single(shape.size, shape.width, half, stamp(loss))


def _learn_single(size, width, half, stamp):
    record = record_width(RECORD)
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # on squared norms that the tables can store

    @jit(stamp)
    def learn_single(ledger_array, numbers, drift, noted, loss, user, item, value):
        """Move the two rows of one event; returns LEARNED, or a status of online.py that says why nothing was done."""
        stamp  # noqa: B018
        ledger = borrow(ledger_array)
        answer, u, i = located(ledger, user, item)
        if answer != LEARNED:
            return answer
        user_rows, user_records = rows_of(ledger, USERS, stored, width, record)
        item_rows, item_records = rows_of(ledger, ITEMS, stored, width, record)
        user_variances, user_prior, user_usual = further_of(ledger, USERS, width)
        item_variances, item_prior, item_usual = further_of(ledger, ITEMS, width)
        people, things = (user_rows, user_records, user_variances), (item_rows, item_records, item_variances)
        row = row_in(size, width, people, u, (user_prior, user_usual), drift[0])
        other = row_in(size, width, things, i, (item_prior, item_usual), drift[1])
        target = np.float32(value)
        found, scored = measured(row, other, target, np.float32(1), numbers, loss)
        new_row, new_other = moved(row, other, found, noted[0]), moved(other, row, found, noted[1])
        sizes = max((new_row[0] * new_row[0]).total(), (new_other[0] * new_other[0]).total())
        others = new_row[1].total() + new_row[2] + new_row[3] + new_row[4]
        others += new_other[1].total() + new_other[2] + new_other[3] + new_other[4]
        if not (sizes <= limit and np.isfinite(others)):
            return NOT_FINITE
        if full(ledger):  # checked last, so that a refused event does not flush the journal
            return FULL
        remember_variances(ledger, USERS, u, user_variances, width)
        remember_variances(ledger, ITEMS, i, item_variances, width)
        remember(ledger, USERS, u, user_rows, user_records, width, record, stored)
        remember(ledger, ITEMS, i, item_rows, item_records, width, record, stored)
        changes = column(ledger, CHANGES, np.int64)
        begun = begin(changes)
        put(people, u, new_row)
        put(things, i, new_other)
        append(ledger, u, i, target)
        end(changes, begun)
        lost = column(ledger, LOSS, np.float64)
        lost[0] += bridge.value(loss, scored, target)
        return LEARNED

    return learn_single
