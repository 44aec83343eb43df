"""Whether an optimizer and a regularizer act on every lane of a row by itself: found by calling them with stand-ins.

A kernel may step a row part by part only if the new value of a lane depends on no other lane. The methods are plain
Python: they are called once with stand-ins for numbers and rows, which note what goes into a result. Where a method
needs more of a stand-in than arithmetic, as in a branch, the answer is no: rows are then stepped as a whole, which is
always correct.
"""

from __future__ import annotations

import functools
import numbers
from typing import Any


class _StandIn:
    """A number, or a row; `mixed` is whether some of its lanes depend on other lanes of the row."""

    __array_ufunc__ = None  # NumPy's numbers leave arithmetic with it to it

    def __init__(self, row: bool = False, mixed: bool = False) -> None:
        self.row, self.mixed = row, mixed

    def _with(self, other: Any) -> Any:
        if isinstance(other, _StandIn):
            return _StandIn(self.row or other.row, self.mixed or other.mixed)
        return self if isinstance(other, numbers.Number) else NotImplemented

    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = _with
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = _with

    def _same(self) -> Any:
        return self

    rsqrt = __neg__ = _same

    def total(self) -> Any:
        return _StandIn(False, self.row or self.mixed)

    def mean(self, memory: Any) -> Any:
        return _StandIn(memory.row, self.row or self.mixed)

    def spread(self, row: Any) -> Any:
        return _StandIn(row.row, self.row or self.mixed)

    def _refuse(self, *other: Any) -> Any:
        raise TypeError("a stand-in has no value")

    __bool__ = __eq__ = __ne__ = _refuse  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


def _instance(kind: Any) -> Any:
    return kind._make([_StandIn()] * len(kind._fields))


@functools.cache
def acts_by_lane(solver: type, penalty: type) -> bool:
    """Whether the step of a row may be taken part by part, for classes of optimizers and regularizers."""
    row, number = _StandIn(row=True), _StandIn()
    try:
        gradient = row + penalty.gradient(_instance(penalty), row, row)  # type: ignore[attr-defined]
        moved = solver.step(_instance(solver), row, gradient, number)[0]  # type: ignore[attr-defined]
        return bool(moved.row and not moved.mixed)
    except Exception:  # whatever a method does that stand-ins cannot
        return False
