"""Single events for ALS models: solve the event's user and item from their histories, then append it to the log.

Ledger and journal are those of online.py, the equations those of als.py, and the loss maps the event to a confidence
and a target by its method ``quadratic``. The Gram matrices receive rank-one corrections for the two rows. Until both
rows are known to be finite nothing is modified except the rows themselves, since the item is solved with the new user;
they are restored on failure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from fastmf.kernels.core.borrowed import borrow
from fastmf.kernels.core.bridge import entry_point, jit, stamp
from fastmf.kernels.core.lanes import load, store
from fastmf.kernels.core.shape import record_width
from fastmf.kernels.rows.log import limit_of
from fastmf.kernels.rows.sharing import begin, end
from fastmf.kernels.train.als import Form
from fastmf.kernels.train.direct import ROOM
from fastmf.kernels.train.gram import exposure, fill, fill_change, first_event, replace, replace_all
from fastmf.kernels.train.ledger import CHANGES, ITEMS, LOSS, USERS, column
from fastmf.kernels.train.online import (
    FULL,
    LEARNED,
    NOT_FINITE,
    SCATTERED,
    append,
    full,
    located,
    remember,
    rows_of,
)
from fastmf.kernels.train.past_of_row import events_of_row, scattered, solve_row

# --- one event ------------------------------------------------------------------------------------------------------


@functools.cache
def learn(form: Form, half: bool, loss: type) -> Any:
    """The kernel that learns one event."""
    return _learn(*form.shape, form.method, form.explicit, half, stamp(loss))


def compiled(form: Form, half: bool, loss: Any, *examples: Any) -> Callable[..., int]:
    """The compiled kernel of `learn` for arguments of these types; `loss` is inserted after the fifth.

    Raises
    ------
    TypeError
        If ``quadratic`` of the loss cannot be compiled by Numba.
    """
    try:
        return entry_point(learn(form, half, type(loss)), *examples[:5], loss, *examples[5:])
    except NumbaError as error:
        reason = str(error).strip().splitlines()[-1]
        raise TypeError(
            f"learn_one compiles {type(loss).__name__}.quadratic, which Numba cannot ({reason}); "
            "update with a batch of one event"
        ) from error


def _learn(size, width, memory, biases, method, explicit, half, stamp):
    record, biased = record_width(memory), biases and explicit
    stored = np.uint16 if half else np.float32
    limit = np.float32(65504.0**2) if half else np.float32(3.4e38)  # on squared norms that the tables can store

    @jit(stamp)
    def learn(ledger_array, user, item, value, mean, loss, compact, missing_pairs, numbers, grams, room):
        """Learn one event; answers LEARNED, or why nothing was done.

        SCATTERED is the answer, if `compact` is asked for, where a row that is sampled must be laid out first.
        `missing_pairs` is the confidence in all pairs of a user together, 0 where pairs unmet do not count; numbers =
        Numbers; grams = (that of the users, those of the items, and numbers and first events of these, see
        followers/grams.py; then that of the items as of the event); room = Room.
        """
        stamp  # noqa: B018 - the cache key, see bridge
        ledger, (gram_users, grams_items, item_numbers, firsts, gram_items) = borrow(ledger_array), grams
        answer, u, i = located(ledger, user, item)
        if answer != LEARNED:
            return answer
        users, items = events_of_row(ledger, USERS, u), events_of_row(ledger, ITEMS, i)
        limits = limit_of(users, 1, numbers.most, numbers.few), limit_of(items, 1, numbers.most, numbers.few)
        if compact and (scattered(ledger, USERS, u, limits[0]) or scattered(ledger, ITEMS, i, limits[1])):
            return SCATTERED
        user_rows, user_records = rows_of(ledger, USERS, stored, width, record)
        item_rows, item_records = rows_of(ledger, ITEMS, stored, width, record)
        old_p, old_q = load(user_rows, u, 0, width, size), load(item_rows, i, 0, width, size)
        old_b, old_c = user_records[u, 0], item_records[i, 0]
        power, one = item_numbers[2], np.float32(value)
        counts = max(np.float64(items), 1.0) ** power, (items + 1.0) ** power
        exposed = exposure(item_numbers, firsts, i, item_numbers[4] + 1) if firsts.size else 1.0  # as of this event
        shares = counts[0] * exposed, counts[1] * exposed
        lanes, first = room.lanes, ROOM + width
        square, gram_change = lanes[first : first + width], lanes[first + width : first + 2 * width]
        before, old_record = lanes[first + 2 * width :], lanes[first + 2 * width + 1 :]
        changes = column(ledger, CHANGES, np.int64)
        begun = begin(changes)
        both = (user_rows, user_records, item_rows, item_records), (item_rows, item_records, user_rows, user_records)
        missing = np.float32(missing_pairs / (item_numbers[0] + counts[1] - counts[0]))
        if not explicit:  # the item's share includes the event
            store(lanes, 0, 0, old_q)
            store(lanes, 1, 0, old_q)
            fill(square, gram_items, lanes, shares, shares[0] != shares[1], size)
            if users > limits[0]:
                known = 0.0 if items == 0 and i >= numbers.items else shares[0]
                fill_change(gram_change, lanes, (known, shares[1]), size)
        store(before, 0, 0, old_p)
        old_record[0, 0] = old_b
        kept = borrow(before), borrow(old_record)
        newest = solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (USERS, ITEMS),
            (u, i),
            one,
            True,
            loss,
            both[0],
            (borrow(square), borrow(gram_change), missing, mean, numbers.strengths[0]),
            (*kept, np.int64(0), np.int64(0)),
            numbers,
            room,
        )
        p, b = load(user_rows, u, 0, width, size), user_records[u, 0]
        if not explicit:  # the user's row has changed
            store(lanes, 0, 0, old_p)
            store(lanes, 1, 0, p)
            fill(square, gram_users, lanes, (1.0, 1.0), True, size)
            if items > limits[1]:
                known = 0.0 if users == 0 and u >= numbers.users else 1.0
                fill_change(gram_change, lanes, (known, 1.0), size)
        solve_row(
            size,
            width,
            biased,
            explicit,
            method,
            ledger,
            (ITEMS, USERS),
            (i, u),
            one,
            False,
            loss,
            both[1],
            (borrow(square), borrow(gram_change), np.float32(missing * shares[1]), mean, numbers.strengths[1]),
            (*kept, u, u + 1),
            numbers,
            room,
        )
        q, c = load(item_rows, i, 0, width, size), item_records[i, 0]
        store(user_rows, u, 0, old_p)
        store(item_rows, i, 0, old_q)
        user_records[u, 0], item_records[i, 0] = old_b, old_c
        if not (max((p * p).total(), (q * q).total()) <= limit and np.isfinite(b + c)):
            end(changes, begun)
            return NOT_FINITE
        if full(ledger):  # checked last, so that a refused event does not flush the journal
            end(changes, begun)
            return FULL
        remember(ledger, USERS, u, user_rows, user_records, width, record, stored)
        remember(ledger, ITEMS, i, item_rows, item_records, width, record, stored)
        store(user_rows, u, 0, p)
        store(item_rows, i, 0, q)
        user_records[u, 0], item_records[i, 0] = b, c
        append(ledger, u, i, one)
        if not explicit and missing_pairs > 0:
            store(lanes, 0, 0, old_p)
            store(lanes, 1, 0, p)
            replace(gram_users, lanes, (1.0, 1.0), size)
            store(lanes, 0, 0, old_q)
            store(lanes, 1, 0, q)
            replace_all(grams_items, lanes, counts, first_event(item_numbers, firsts, i), size)
            item_numbers[0] += counts[1] - counts[0]
            if firsts.size:
                item_numbers[4] += 1
        end(changes, begun)
        error = np.float64(newest[1]) - (mean + old_b + old_c + (old_p * old_q).total())
        lost = column(ledger, LOSS, np.float64)
        lost[0] += np.float64(newest[0]) * error * error
        return LEARNED

    return learn
