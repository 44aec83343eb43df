"""Priors: what the rows of users and of items are drawn to, and what stands for ids without events.

==============  ========================================================================================================
``strength``    how strongly rows are drawn, 0 for a prior that is zero
``check()``     raises :class:`ValueError` for an invalid field
==============  ========================================================================================================

They are for ``losses.Confidence``. The row x of a user or an item with the total confidence n in its events minimises

    ``sum over events of w * (1 - x.y)**2  +  missing * (x - r m)' G (x - r m)  +  weight * (n + 1)**nu * |x - m|**2``

where m is the mean row of its side, ``r = strength / (strength + n)``, G the Gram matrix of the other side, and weight
that of ``L2``: what is not known to be unlike the mean is taken to be like it, in pairs unobserved as well. Without
events, x is m.
"""

from __future__ import annotations

from typing import NamedTuple

from fastmf.errors import require_number

__all__ = ["Mean", "Zero"]


class Zero(NamedTuple):
    """Rows are drawn to zero, by the regularizer alone: ids without events score zero.

    Examples
    --------
    >>> Zero().strength
    0.0
    """

    @property
    def strength(self) -> float:
        """0."""
        return 0.0

    def check(self) -> None:
        """Accept: there is no field."""


class Mean(NamedTuple):
    """Rows are drawn to the mean row of their side, and ids without events, known or not, have that row.

    The mean is learned in each epoch of a fit, and follows the rows that an update moves.

    Parameters
    ----------
    strength : float
        The total confidence in events that the prior is worth, > 0.

    References
    ----------
    Efron, Morris (1975), Data Analysis Using Stein's Estimator and its Generalizations (shrinkage to a mean).

    Examples
    --------
    >>> Mean(strength=5.0)
    Mean(strength=5.0)
    """

    strength: float = 3.0

    def check(self) -> None:
        """Raise ValueError unless the strength is positive."""
        require_number("Mean.strength", self.strength, positive=True)
