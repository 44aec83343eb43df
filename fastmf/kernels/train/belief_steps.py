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

Before that, the user is tested for a change (Page's cumulative sum of log likelihood ratios of the event, with the
variances of the prior in place of the row's own, and with those that it has):

    j = (sum (a - s_p) (q^2 + s_q) + a_b - s_b) / v                 how much greater the variance of r would be
    l <- max(0, l + (e^2 / v j / (1 + j) - log(1 + j)) / 2)         e^2 / v is at most 9, and of the logarithm a bound
    if l > limit, j > 0:  s <- a,  l <- 0,  and e, u, d, v anew     the row starts again, from where it is

Products of the j of both sides, and of j with e^2 / v - 1, are summed for the rates of drift (see learners/drift.py).

A record is [bias, its variance, f, a, l]; a bias that is not trained is 0 and certain, and so never moves.

References: Kalman (1960), A New Approach to Linear Filtering and Prediction Problems. Jazwinski (1970), Stochastic
Processes and Filtering Theory (the extended filter, process noise). Page (1954), Continuous Inspection Schemes.
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
from fastmf.kernels.train.ledger import CHANGES, EVENTS, ITEMS, LOSS, USERS, Entry, column
from fastmf.kernels.train.online import FULL, LEARNED, NOT_FINITE, append, full, located, remember, rows_of
from fastmf.kernels.train.row import score, score_variance

_FURTHER, _JOURNAL_FURTHER = int(Entry.FURTHER), int(Entry.JOURNAL_FURTHER)
_MARKS, _JOURNAL_COUNT = int(Entry.MARKS), int(Entry.JOURNAL_COUNT)
_PRIOR_RECORD, _PRIOR_FURTHER = int(Entry.UNKNOWN_RECORD), int(Entry.UNKNOWN_FURTHER)
_AHEAD = 8  # events between a prefetch and its use
RECORD = 4  # numbers of a record besides the bias
_LARGEST = np.float32(9)  # squared error that counts, in units of its variance: an outlier is no evidence of a change
SETTLED = np.float32(30)  # a row whose factor of the noise is worth that many events is settled, and otherwise young

# Sums over the events of a batch: j j' of both sides and j (e^2 / v - 1), of every fourth event; of young and of
# settled users, the events and e^2 / v; and the users who started again
SAMPLED = 4
USERS_USERS, USERS_ITEMS, ITEMS_ITEMS, USERS_EXCESS, ITEMS_EXCESS = range(5)
YOUNG, YOUNG_SQUARES, SETTLED_ONES, SETTLED_SQUARES, BEGUN = range(5, 10)
SUMS = 10


# --- the step of one event ------------------------------------------------------------------------------------------


@register_jitable(error_model="numpy", forceinline=True)
def drifted(variances, prior, share):
    """Variances, lanes or a number, that have gone back a share of their way to those of the prior."""
    return variances + (prior - variances) * share


@register_jitable(error_model="numpy", forceinline=True)
def expected(row, other, value, weight, numbers, loss):
    """(e, d, u), and the score, of an event with two rows, see `row_in`; numbers = (mean, s2)."""
    (p, s, b, s_b, f, _, _), (q, t, c, t_c, g, _, _), (mean, noise) = row, other, numbers
    scored, unsure = score(mean, b, c, p, q), score_variance(p, s, s_b, q, t, t_c)
    doubt = f * g * noise / weight
    factor, target = bridge.surrogate(loss, scored, unsure, value, doubt)
    return (np.float32(target) - scored, doubt / np.float32(factor), unsure), scored


@register_jitable(error_model="numpy", forceinline=True)
def measured(row, other, known):
    """(h, 1 / d, z) of an event with two rows; known = (e, d, u)."""
    (p, s, _, _, _, _, _), (q, t, _, _, _, _, _), (error, doubt, unsure) = row, other, known
    inverse = np.float32(1) / (doubt + unsure)
    pull = error * inverse
    square = doubt * pull * pull + unsure * inverse
    alone, together = unsure - (s * t).total(), np.float32(2) * abs(pull * (s * t * (p * q)).total())
    if together > alone:
        pull *= alone / together
    return pull, np.float32(1) / doubt, square


@register_jitable(error_model="numpy", forceinline=True)
def moved(row, other, found, noted):
    """A row, see `row_in`, after an event; found = (h, 1 / d, z), `noted` is the weight that z has for f."""
    (p, s, b, s_b, f, a, suspicion), q, (pull, curve, square) = row, other[0], found
    reach = s * q
    p, s = fma(reach, pull, p), s / fma(reach, q * curve, np.float32(1))
    return p, s, b + s_b * pull, s_b / (1 + s_b * curve), f * ((a + noted * square) / (a + noted)), a + noted, suspicion


def prior_in(size, width, prior):
    """The variances of a prior, lanes and that of the bias; prior = (records, variances), of one row. In kernels."""


@overload(prior_in, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _prior_in(size, width, prior):
    if not hasattr(size, "literal_value"):
        return None

    def loaded(size, width, prior):
        return load(prior[1], 0, 0, width, size), prior[0][0, 1]

    return loaded


def row_in(size, width, tables, number, usual, share):
    """(factors, variances, bias, its variance, f, a, l) of a row before an event; for kernels only.

    tables = (factors, records, variances); `usual` is of the prior, see `prior_in`; `share` is the drift.
    """


@overload(row_in, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _row_in(size, width, tables, number, usual, share):
    if not hasattr(size, "literal_value"):
        return None

    def loaded(size, width, tables, number, usual, share):
        factors, records, variances = tables
        s = drifted(load(variances, number, 0, width, size), usual[0], share)
        s_b = drifted(records[number, 1], usual[1], share)
        p, b = load(factors, number, 0, width, size), records[number, 0]
        return p, s, b, s_b, records[number, 2], records[number, 3], records[number, 4]

    return loaded


@register_jitable(error_model="numpy", forceinline=True)
def put(tables, number, row):
    """Write a row to its tables."""
    factors, records, variances = tables
    store(factors, number, 0, row[0])
    store(variances, number, 0, row[1])
    records[number, 0], records[number, 1], records[number, 2], records[number, 3] = row[2], row[3], row[4], row[5]
    records[number, 4] = row[6]


# --- the test for a change ------------------------------------------------------------------------------------------


@register_jitable(error_model="numpy", forceinline=True)
def gained(row, other, usual, inverse):
    """How much greater the variance would be, j of a row; `usual` is of its prior, `inverse` is 1 / v."""
    (_, s, _, s_b, _, _, _), q, t = row, other[0], other[1]
    return max(np.float32(0), (((usual[0] - s) * fma(q, q, t)).total() + (usual[1] - s_b)) * inverse)


@register_jitable(error_model="numpy", forceinline=True)
def standardised(known):
    """1 / v, and e^2 / v, of an event; known = (e, d, u)."""
    inverse = np.float32(1) / (known[1] + known[2])
    return inverse, min(known[0] * known[0] * inverse, _LARGEST)


@register_jitable(error_model="numpy", forceinline=True)
def judged(row, usual, gain, square, limit):
    """A row with its new l, or started again, and whether it has; `gain` is its j, `square` is e^2 / v.

    The logarithm of 1 + j is less than (6 + j) j / (6 + 4 j), which takes less time.
    """
    far, six = np.float32(1) + gain, np.float32(6)
    bound = six + np.float32(4) * gain
    ratio = gain * (square * bound - (six + gain) * far) / (far * bound)
    (p, s, b, s_b, f, a, l), starts = row, False  # noqa: E741
    l = max(np.float32(0), l + np.float32(0.5) * ratio)  # noqa: E741
    if l > limit and gain > 0:
        s, s_b, l, starts = usual[0], usual[1], np.float32(0), True  # noqa: E741
    return (p, s, b, s_b, f, a, l), starts


@register_jitable(error_model="numpy", forceinline=True)
def tell(sums, gain, other_gain, square):
    """Add an event to the sums that rates are learned from."""
    gain, other_gain, excess = np.float64(gain), np.float64(other_gain), np.float64(square) - 1
    sums[USERS_USERS] += gain * gain
    sums[USERS_ITEMS] += gain * other_gain
    sums[ITEMS_ITEMS] += other_gain * other_gain
    sums[USERS_EXCESS] += gain * excess
    sums[ITEMS_EXCESS] += other_gain * excess


# --- a batch --------------------------------------------------------------------------------------------------------


@functools.cache
def learn(shape: Shape, loss: type) -> Any:
    """The kernel that learns a batch, see `_learn`."""
    return _learn(shape.size, shape.width, stamp(loss))


def _learn(size, width, stamp):
    @jit(stamp)
    def learn(events, span, users, items, user_prior, item_prior, drift, noted, movable, numbers, loss, sums):
        """Learn the events span[0] to span[1], (user rows, item rows, values, weights), in order.

        users and items = (factors, records, variances); their priors are such tables of one row. Rows below
        movable[side] are written; what is not moved does not drift either. An event of weight 0 is skipped. noted[side]
        is 1 where factors of the noise are learned, else 0; numbers = (mean, s2). drift = (users, items, limit): where
        the limit is above 0, and factors of the noise of users are learned, users are tested for a change, and sums,
        float64[SUMS], are added to.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        user_rows, item_rows, values, weights = events
        people = borrow(users[0]), borrow(users[1]), borrow(users[2])
        things = borrow(items[0]), borrow(items[1]), borrow(items[2])
        usual = prior_in(size, width, (borrow(user_prior[1]), borrow(user_prior[2])))
        common = prior_in(size, width, (borrow(item_prior[1]), borrow(item_prior[2])))
        young, squares, settled, settled_squares = 0, 0.0, 0, 0.0
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
            known, _ = expected(row, other, values[n], weight, numbers, loss)
            if drift[2] > 0 and noted[0] > 0:
                inverse, square = standardised(known)
                gain = np.float32(own) * gained(row, other, usual, inverse)
                if n % SAMPLED == 0:
                    tell(sums, gain, np.float32(met) * gained(other, row, common, inverse), square)
                if row[5] >= SETTLED:
                    settled, settled_squares = settled + 1, settled_squares + square
                else:
                    young, squares = young + 1, squares + square
                row, starts = judged(row, usual, gain, square, drift[2])
                if starts:
                    sums[BEGUN] += 1
                    known, _ = expected(row, other, values[n], weight, numbers, loss)
            found = measured(row, other, known)
            if own:
                put(people, u, moved(row, other, found, noted[0] * weight))
            if met:
                put(things, i, moved(other, row, found, noted[1] * weight))
        sums[YOUNG], sums[YOUNG_SQUARES] = sums[YOUNG] + young, sums[YOUNG_SQUARES] + squares
        sums[SETTLED_ONES] += settled
        sums[SETTLED_SQUARES] += settled_squares

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
    def learn_single(ledger_array, numbers, drift, noted, sums, loss, user, item, value):
        """Move the two rows of one event; returns LEARNED, or a status of online.py that says why nothing was done.

        What the event tells about drift is added to sums, float64[SUMS], as in `learn`.
        """
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
        usual = prior_in(size, width, (user_prior, user_usual))
        common = prior_in(size, width, (item_prior, item_usual))
        row = row_in(size, width, people, u, usual, drift[0])
        other = row_in(size, width, things, i, common, drift[1])
        target, one = np.float32(value), np.float32(1)
        known, scored = expected(row, other, target, one, numbers, loss)
        tested, starts, settled = drift[2] > 0 and noted[0] > 0, False, row[5] >= SETTLED
        square, gain, other_gain = np.float32(0), np.float32(0), np.float32(0)
        if tested:
            inverse, square = standardised(known)
            gain, other_gain = gained(row, other, usual, inverse), gained(other, row, common, inverse)
            row, starts = judged(row, usual, gain, square, drift[2])
            if starts:
                known, _ = expected(row, other, target, one, numbers, loss)
        found = measured(row, other, known)
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
        if tested:
            first = SETTLED_ONES if settled else YOUNG
            sums[first] += 1
            sums[first + 1] += square
            sums[BEGUN] += starts
            if column(ledger, EVENTS, np.int64)[0] % SAMPLED == 0:
                tell(sums, gain, other_gain, square)
        begun = begin(changes)
        put(people, u, new_row)
        put(things, i, new_other)
        append(ledger, u, i, target)
        end(changes, begun)
        lost = column(ledger, LOSS, np.float64)
        lost[0] += bridge.value(loss, scored, target)
        return LEARNED

    return learn_single
