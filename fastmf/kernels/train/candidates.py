"""One list of pairwise.py, an event and its negatives: candidates, scores, slopes, and the steps of the items.

Entries, and the functions that draw them, are defined in negatives.py. tables = (the items' table of the working set,
the factors of all items of the model, their records), all borrowed.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastmf.kernels.core import bridge
from fastmf.kernels.core.borrowed import prefetch, prefetch_row, prefetch_write, prefetch_write_row
from fastmf.kernels.core.lanes import fma, load
from fastmf.kernels.train.negatives import EXTERNAL, LITERAL, NONE, chance, pick_unseen
from fastmf.kernels.train.row import move_row

_ONE = np.float32(1)

# --- the entries of a list -------------------------------------------------------------------------------------------


def factors_of(scope, size, width, tables, entry):
    """The factors of an entry. For kernels only."""


@overload(factors_of, **LITERAL)
def _factors_of(scope, size, width, tables, entry):
    if not hasattr(size, "literal_value"):
        return None

    def factors_of(scope, size, width, tables, entry):
        if scope == EXTERNAL and entry < 0:
            return load(tables[1], ~entry, 0, width, size)
        return load(tables[0][0], entry, 0, width, size)

    return factors_of


def bias_of(scope, tables, entry):
    """The bias of an entry. For kernels only."""


@overload(bias_of, **LITERAL)
def _bias_of(scope, tables, entry):
    def bias_of(scope, tables, entry):
        if scope == EXTERNAL and entry < 0:
            return tables[2][~entry, 0]
        return tables[0][1][entry, 0]

    return bias_of


def score_of(scope, size, width, p, base, tables, entry):
    """The score of an entry for user factors p; `base` is the part common to all items. For kernels only."""


@overload(score_of, **LITERAL)
def _score_of(scope, size, width, p, base, tables, entry):
    def score_of(scope, size, width, p, base, tables, entry):
        biased = base + bias_of(scope, tables, entry)
        return biased + (p * factors_of(scope, size, width, tables, entry)).total()

    return score_of


def _tries_once(loss):
    """Whether a pairwise loss uses the first candidate whatever its score."""
    return "trials" not in loss._fields and getattr(loss, "trials", 0) == 1


# --- candidates, slopes, steps --------------------------------------------------------------------------------------


def look_ahead(scope, width, event, slot, items, known, tables, pool, key, values, ahead):
    """Draw the first candidate of a later event, and prefetch its rows and those of the event's item. For kernels only.

    Written to index `slot` of ahead = (entries, their numbers of events, draws so far).
    """


@overload(look_ahead, **LITERAL)
def _look_ahead(scope, width, event, slot, items, known, tables, pool, key, values, ahead):
    if not hasattr(width, "literal_value"):
        return None
    fetch = values.types[3].instance_class.source != "every" and scope.literal_value != EXTERNAL
    get, get_row = (
        (prefetch_write, prefetch_write_row)
        if _tries_once(values.types[0].instance_class)
        else (prefetch, prefetch_row)
    )

    def look_ahead(scope, width, event, slot, items, known, tables, pool, key, values, ahead):
        own = np.int64(items[event])
        entry, events, drawn = pick_unseen(values[3], scope, (key, event), 0, np.int64(0), own, known, pool)
        ahead[0][slot], ahead[1][slot], ahead[2][slot] = entry, events, drawn
        if fetch:
            get_row(tables[0][0], own, width)
            get(tables[0][1], own)
            if entry != NONE:
                get_row(tables[0][0], entry, width)
                get(tables[0][1], entry)

    return look_ahead


def search(listwise, scope, size, width, p, place, tables, pool, rules, values, room):
    """Draw the negatives of an event and score the list. For kernels only.

    Listwise: returns the number of negatives; scores[m] is written for all entries, expected[m] becomes the number of
    events of negative m. Pairwise: returns the number t of the candidate that is used, the first with a nonzero slope
    or the last allowed (0 if there is none); scores[0] becomes the score difference to it. entries[0] must be the
    positive. place = (score terms common to all items, event, (entry, its events, draws so far) of the first candidate,
    known items); rules = (key, negatives or trials, mass); room = (entries, scores, expected).
    """


@overload(search, **LITERAL)
def _search(listwise, scope, size, width, p, place, tables, pool, rules, values, room):
    if not hasattr(size, "literal_value"):
        return None
    once = _tries_once(values.types[0].instance_class)  # then no slope is needed here

    def pair(listwise, scope, size, width, p, place, tables, pool, rules, values, room):
        entries, scores, _ = room
        base, event, (entry, _, drawn), known = place
        positive = score_of(scope, size, width, p, base, tables, entries[0])
        for tries in range(1, rules[1] + 1):
            if tries > 1:
                key = (rules[0], event)
                entry, _, drawn = pick_unseen(values[3], scope, key, 0, drawn, entries[0], known, pool)
            if entry == NONE:
                break
            lead = positive - score_of(scope, size, width, p, base, tables, entry)
            if once or tries == rules[1] or bridge.slope(values[0], lead, _ONE) != 0:
                entries[1], scores[0] = entry, lead
                return tries
        return 0

    def several(listwise, scope, size, width, p, place, tables, pool, rules, values, room):
        entries, scores, expected = room
        base, event, (entry, events, drawn), known = place
        scores[0], count = score_of(scope, size, width, p, base, tables, entries[0]), 0
        for slot in range(rules[1]):
            if slot > 0:
                key = (rules[0], event)
                entry, events, drawn = pick_unseen(values[3], scope, key, slot, drawn, entries[0], known, pool)
            if entry == NONE:
                continue
            count += 1
            score = score_of(scope, size, width, p, base, tables, entry)
            entries[count], scores[count], expected[count] = entry, score, np.float32(events)
        return count

    return several if listwise.literal_value else pair


def loss_and_gradient(listwise, found, candidates, items, rules, values, room):
    """The number of negatives of a list that are to be stepped, and its loss; writes its slopes. For kernels only.

    `found` is what `search` returned; room = (scores, expected, slopes). For a pairwise loss, expected[t] is the weight
    of its candidate number t; for a listwise loss, expected[m] is converted to expected counts.
    """


@overload(loss_and_gradient, **LITERAL)
def _loss_and_gradient(listwise, found, candidates, items, rules, values, room):
    if not hasattr(listwise, "literal_value"):
        return None

    def pair(listwise, found, candidates, items, rules, values, room):
        scores, expected, slopes = room
        if found == 0:
            return 0, 0.0
        lead, counts = scores[0], expected[found]
        slope = bridge.slope(values[0], lead, _ONE)
        slopes[0] = np.float32(counts * slope)
        slopes[1] = np.float32(-(counts * slope))
        return np.int64(slope != 0), counts * bridge.value(values[0], lead, _ONE)

    def several(listwise, found, candidates, items, rules, values, room):
        scores, expected, slopes = room
        if found == 0:
            return 0, 0.0
        for m in range(1, found + 1):
            expected[m] = np.float32(chance(values[3], np.int64(expected[m]), found, candidates, rules[2]))
        return found, bridge.loss_and_gradient(values[0], scores, expected, slopes, found, items)

    return several if listwise.literal_value else pair


def move_list(scope, size, width, memory, biases, p, graded, tables, movable, values):
    """Step the items of a list; returns the user's gradient (without penalty) and summed |slope|. For kernels only.

    graded = (number of negatives, entries, slopes, weight of the event); entries below `movable` are written.
    """


@overload(move_list, **LITERAL)
def _move_list(scope, size, width, memory, biases, p, graded, tables, movable, values):
    if not hasattr(size, "literal_value"):
        return None

    def move(scope, size, width, memory, biases, p, graded, tables, movable, values):
        _, solver, penalty, _ = values
        count, entries, slopes, weight = graded
        rest, share = np.float32(_ONE / np.float32(count)), _ONE
        direction, evidence = p - p, np.float32(0)
        for m in range(count + 1):
            entry, slope = entries[m], weight * slopes[m]
            q = factors_of(scope, size, width, tables, entry)
            direction = fma(q, slope, direction)
            evidence += abs(slope)
            if 0 <= entry < movable:
                move_row(size, width, memory, biases, tables[0], entry, q, p, slope, slope, share, solver, penalty)
            share = rest
        return direction, evidence

    return move


def weigh_ranks(listwise, loss, trials, candidates, expected):
    """Write expected[t], the weight of candidate number t of a pairwise loss. For kernels only."""


@overload(weigh_ranks, **LITERAL)
def _weigh_ranks(listwise, loss, trials, candidates, expected):
    if not hasattr(listwise, "literal_value"):
        return None

    def weigh(listwise, loss, trials, candidates, expected):
        for tries in range(1, trials + 1):
            expected[tries] = np.float32(bridge.weight(loss, tries, candidates))

    def nothing(listwise, loss, trials, candidates, expected):
        return None

    return nothing if listwise.literal_value else weigh
