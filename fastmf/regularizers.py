"""Regularizers: penalties on rows of factors and on biases.

=========================  ===========================================================================================
``gradient(row, anchor)``  the gradient of the penalty at `row`; `anchor` is the row before the update (in a fit and in
                           ``learn_one``, the row itself)
``check()``                raises :class:`ValueError` for an invalid field
=========================  ===========================================================================================

The gradient of the penalty is added once per event, to the two rows of the event and to their biases, whatever the
weight of the event, as in the SGD of scikit-learn and LightFM: a row is regularized in proportion to its number of
events. The gradient must be zero where `row` and `anchor` are zero, so that padding stays zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["L2"]


class L2(NamedTuple):
    """L2 regularization (weight decay): the penalty is ``weight * |row|**2`` per event.

    Parameters
    ----------
    weight : float
        Strength, >= 0; 0 turns it off.

    References
    ----------
    Hoerl, Kennard (1970), Ridge Regression: Biased Estimation for Nonorthogonal Problems.

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
