"""Regularizers: penalties on rows of factors and on biases.

=========================  ===========================================================================================
``gradient(row, anchor)``  the gradient of the penalty at `row`; `anchor` is the row before the update (in a fit and in
                           ``learn_one``, the row itself)
``check()``                raises :class:`ValueError` for an invalid field
``at(events)``             optional: the regularizer to be used in its place for a log with so many events per row
=========================  ===========================================================================================

The gradient of the penalty is added once per event, to the two rows of the event and to their biases, whatever the
weight of the event, as in the SGD of scikit-learn and LightFM: a row is regularized in proportion to its number of
events. The gradient must be zero where `row` and `anchor` are zero, so that padding stays zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["L2", "ScaledL2"]


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


class ScaledL2(NamedTuple):
    """L2 regularization whose strength per event falls with the size of the log.

    :class:`L2` of the weight ``weight / (1 + n / events)``, where n is the mean number of events of a row, be it of a
    user or of an item. While rows have few events, the penalty of a row grows with their number; once they have many,
    it grows no more, like the logarithm of a normal prior. The default of losses that compare events with negatives. n
    is that of the whole log in a fit, that of the history and the batch in an update; events that are not in the
    history, of imported rows, are not counted.

    Parameters
    ----------
    weight : float
        Strength per event in the smallest logs, >= 0; 0 turns it off.
    events : float
        The number of events per row at which the strength has halved, > 0.

    References
    ----------
    Rendle, Krichene, Zhang, Koren (2022), Revisiting the Performance of iALS on Item Recommendation Benchmarks (between
    a penalty per row and one per event).

    Examples
    --------
    >>> ScaledL2(weight=0.1, events=50).at(150)
    L2(weight=0.025)
    """

    weight: float = 0.1
    events: float = 50.0

    def gradient(self, row: Any, anchor: Any) -> Any:
        weight = self.weight + self.weight
        return weight * row

    def at(self, events: float) -> L2:
        """The penalty of a log with so many events per row."""
        return L2(float(self.weight) / (1 + events / float(self.events)))

    def check(self) -> None:
        require_number("ScaledL2.weight", self.weight)
        require_number("ScaledL2.events", self.events, positive=True)
