"""The score of two rows and the gradient step of one, shared by all kernels of stochastic gradient descent.

    s = mean + b_u + c_i + p_u . q_i                                     score
    memory <- the memory returned by a step of the bias; then, with the new memory,
    b_u <- step(b_u, g + r(b_u)),   p_u <- step(p_u, g q_i + r(p_u))     g: slope of the loss, r: regularizer

A row and its bias share one optimizer memory, which only the step of the bias updates.

Two wide rows are more than the registers of most processors hold, and what does not fit is written to the stack and
read again, several times. Where the optimizer and the regularizer act on each lane by itself (see standins.py), the
rows of an event are therefore stepped part by part: a part is loaded, stepped and stored before the next one.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload, register_jitable

from fastmf.kernels.core import bridge
from fastmf.kernels.core.lanes import fma, load, single, store
from fastmf.kernels.core.standins import acts_by_lane

_PART, _UNDIVIDED = 16, 32  # lanes of a part, which divide every width, and of the widest row that is a single part


@register_jitable(error_model="numpy", forceinline=True)
def score(mean, bias, other_bias, factors, other):
    """The score of two rows."""
    return mean + bias + other_bias + (factors * other).total()


@register_jitable(error_model="numpy", forceinline=True)
def score_variance(p, s, s_b, q, t, t_c):
    """The variance of the score of two independent rows, s_b + t_c + sum (s q^2 + t p^2 + s t).

    s and t are the variances of their factors p and q, s_b and t_c those of their biases.
    """
    return s_b + t_c + fma(s * q, q, fma(t * p, p, s * t)).total()


@register_jitable(error_model="numpy", forceinline=True)
def stepped_bias(bias, memory, gradient, solver):
    """The bias and the memory of a row after one step."""
    held = bridge.step(solver, bias, gradient, memory)[1]
    return bridge.step(solver, bias, gradient, held)[0], held


@register_jitable(error_model="numpy", forceinline=True)
def stepped(factors, bias, memory, gradient, bias_gradient, solver):
    """The factors, bias and memory of a row after one step."""
    moved_bias, held = stepped_bias(bias, memory, bias_gradient, solver)
    return bridge.step(solver, factors, gradient, held)[0], moved_bias, held


def move_row(size, width, memory, biases, table, row, factors, other, slope, evidence, share, solver, penalty):
    """Step a row, its bias and its memory in place; returns the new factors and memory. For kernels only.

    `factors` are those of the row and `other` those of its partner; table = (rows, records, anchors, anchor records),
    all borrowed. `slope` multiplies `other`; `evidence` is the gradient of the bias; the penalty is multiplied by
    `share`. The fields of the shape are compile-time constants.
    """


@overload(move_row, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _move_row(size, width, memory, biases, table, row, factors, other, slope, evidence, share, solver, penalty):
    if not hasattr(size, "literal_value"):
        return None

    def move(size, width, memory, biases, table, row, factors, other, slope, evidence, share, solver, penalty):
        rows, records, anchors, anchor_records = table
        bias, held = load(records, row, 0, 1, 1), load(records, row, 1, memory, memory)
        bias_gradient = single(evidence) + share * bridge.gradient(penalty, bias, load(anchor_records, row, 0, 1, 1))
        moved_bias, held = stepped_bias(bias, held, bias_gradient, solver)
        store(records, row, 1, held)
        if biases:
            store(records, row, 0, moved_bias)
        # Loaded after these stores, which the compiler may not change: so few vectors are in use at once.
        shrinking = share * bridge.gradient(penalty, factors, load(anchors, row, 0, width, size))
        moved = bridge.step(solver, factors, fma(other, slope, shrinking), held)[0]
        store(rows, row, 0, moved)
        return moved, held

    return move


def move_rows(size, width, memory, biases, tables, rows, movable, slope, solver, penalty):
    """Step the two rows of an event, where they are below `movable`, in place. For kernels only.

    The tables are as in `move_row`; `slope` is that of the event's loss.
    """


@overload(move_rows, prefer_literal=True, jit_options={"error_model": "numpy", "forceinline": True})
def _move_rows(size, width, memory, biases, tables, rows, movable, slope, solver, penalty):
    if not hasattr(size, "literal_value"):
        return None
    divided = width.literal_value > _UNDIVIDED and acts_by_lane(solver.instance_class, penalty.instance_class)
    part, once = _PART if divided else width.literal_value, np.float32(1)

    def move(size, width, memory, biases, tables, rows, movable, slope, solver, penalty):
        (users, user_records, user_anchors, _), (items, item_records, item_anchors, _) = tables
        u, i = rows
        moves_user, moves_item = u < movable[0], i < movable[1]
        held, other = load(user_records, u, 1, memory, memory), load(item_records, i, 1, memory, memory)
        p, q = load(users, u, 0, part, size), load(items, i, 0, part, size)
        if moves_user:
            held = move_row(size, part, memory, biases, tables[0], u, p, q, slope, slope, once, solver, penalty)[1]
        if moves_item:
            other = move_row(size, part, memory, biases, tables[1], i, q, p, slope, slope, once, solver, penalty)[1]
        for start in range(part, width, part):
            p, q = load(users, u, start, part, size), load(items, i, start, part, size)
            if moves_user:
                shrinking = bridge.gradient(penalty, p, load(user_anchors, u, start, part, size))
                store(users, u, start, bridge.step(solver, p, fma(q, slope, shrinking), held)[0])
            if moves_item:
                shrinking = bridge.gradient(penalty, q, load(item_anchors, i, start, part, size))
                store(items, i, start, bridge.step(solver, q, fma(p, slope, shrinking), other)[0])

    return move
