"""Solved rows: a pass over the coordinates of a row, each set to its minimum, with the terms of als.py."""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastmf.kernels.core.lanes import fma, load, store


def solve_eals(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    """One pass over the coordinates of one row; returns the loss of its events before. For kernels only."""


@overload(solve_eals, prefer_literal=True, jit_options={"error_model": "numpy"})
def _solve_eals(size, width, biased, explicit, number, tables, events, span, terms, scratch):
    if not hasattr(size, "literal_value"):
        return None

    def solve(size, width, biased, explicit, number, tables, events, span, terms, scratch):
        own, own_records, other, other_records = tables
        others, weights, targets = events
        gram, missing, penalty, mean = terms
        room, turned = scratch  # turned: a column of the met rows per line, then weights, weights 0, errors
        first, last = span
        old = load(own, number, 0, width, size)
        bias = own_records[number, 0] if biased else np.float32(0)
        strips = (last - first + 15) // 16
        weighted, missed, lost = size, size + 1, 0.0
        for n in range(16 * strips):
            strip, lane = n // 16, n % 16
            event = min(first + n, last - 1)
            met = np.int64(others[event])
            x = load(other, met, 0, width, size)
            store(room, 0, 0, x)
            for factor in range(size):
                turned[factor * strips + strip, lane] = room[0, factor]
            weight = weights[event] if first + n < last else np.float32(0)
            target = targets[event] - mean - other_records[met, 0] if explicit else np.float32(1)
            error = target - (x * old).total() - bias
            turned[weighted * strips + strip, lane], turned[missed * strips + strip, lane] = weight, error
            lost += weight * error * error
        store(room, 0, 0, old)
        for factor in range(size):
            pulled, curved = load(turned, 0, 0, 16, 16) * np.float32(0), load(turned, 0, 0, 16, 16) * np.float32(0)
            for strip in range(strips):
                x = load(turned, factor * strips + strip, 0, 16, 16)
                scaled = x * load(turned, weighted * strips + strip, 0, 16, 16)
                pulled = pulled + scaled * load(turned, missed * strips + strip, 0, 16, 16)
                curved = curved + scaled * x
            value = room[0, factor]
            slope, curve = pulled.total() - penalty * value, curved.total() + penalty
            if not explicit:
                slope -= missing * (load(gram, factor, 0, width, size) * load(room, 0, 0, width, size)).total()
                curve += missing * gram[factor, factor]
            change = slope / curve
            room[0, factor] = value + change
            for strip in range(strips):
                x, place = load(turned, factor * strips + strip, 0, 16, 16), missed * strips + strip
                store(turned, place, 0, fma(x, -change, load(turned, place, 0, 16, 16)))
        store(own, number, 0, load(room, 0, 0, width, size))
        if biased:
            pulled, curve = -penalty * bias, penalty
            for strip in range(strips):
                weight = load(turned, weighted * strips + strip, 0, 16, 16)
                pulled += (weight * load(turned, missed * strips + strip, 0, 16, 16)).total()
                curve += weight.total()
            own_records[number, 0] = bias + pulled / curve
        return lost

    return solve
