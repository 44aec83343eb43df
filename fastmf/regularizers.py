"""Regularizers: what a row is drawn to.

==========================  ==============================================================================
``gradient(row, anchor)``       the gradient of the penalty at `row`; `anchor` is the row before the update (in a fit
                            and in ``learn_one``, the row itself)
``check()``                 raises :class:`ValueError` where a field makes no sense
==========================  ==============================================================================

The pull acts once per event, on the two rows of the event (and on their biases), so that a row is pulled as often as it
is seen: whatever the weight of the event, as in the SGD of scikit-learn and LightFM. It must be zero where `row` and
`anchor` are zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["L2"]


class L2(NamedTuple):
    """Draws rows to zero: the penalty is ``weight * |row|**2`` per event.

    Parameters
    ----------
    weight : float
        Strength; 0 turns it off.

    Examples
    --------
    >>> L2(0.25).gradient(2.0, 0.0)
    1.0
    """

    weight: float = 0.06

    def gradient(self, row: Any, anchor: Any) -> Any:
        weight = self.weight + self.weight
        return weight * row

    def check(self) -> None:
        require_number("L2.weight", self.weight)
