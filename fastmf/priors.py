"""Priors: what the rows of users and of items are drawn to, and what stands for ids without events.

==============  ========================================================================================================
``strength``    how strongly rows are drawn, 0 for a prior that is zero
``check()``     raises :class:`ValueError` for an invalid field
==============  ========================================================================================================

They are for ``losses.Confidence``. The row x of a user or an item with the total confidence n in its events minimises

    ``sum over events of w * (1 - x.y)**2  +  missing * (x - r m)' G (x - r m)  +  weight * (n + 1)**nu * |x - m|**2``

where m is the mean row of its side, or with ``Map`` what a linear map makes of its features, ``r = strength /
(strength + n)``, G the Gram matrix of the other side, and weight that of ``L2``: what is not known to be unlike m is
taken to be like it, in pairs unobserved as well. Without events, x is m.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import brief, require_flag, require_number

__all__ = ["Map", "Mean", "Zero"]


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


_VIEW = ("ids", "vectors", "name", "columns", "numbers")  # what Features have
_MOST = 1024  # columns: the cost of an update grows with their square


class Map(NamedTuple):
    """Rows are drawn to what a linear map makes of their features, which is the row of ids without events.

    The row that the id i is drawn to is ``m_i = W'c_i``, where c_i are its features, centred and scaled, and 1. W is
    found by ridge regression of the rows, each with the weight n / (n + 3) after n events, with a penalty chosen by
    generalised cross-validation, in each epoch of a fit. Updates keep it exactly that of the present rows, with the
    penalty of the fit. Ids that have features are rows of the model before they have events, and follow W. An id
    without features has those of the average one, and an unknown id the same row.

    Parameters
    ----------
    features : fastmf.Features or tuple of them
        What is known of the ids of the side: one or several views, of different names. Each is scaled to rows of a mean
        square of 1; ids and numbers may be missing in any of them.
    strength : float
        The total confidence in events that the prior is worth, > 0.
    trainable : bool
        Whether updates change the map; a fit always learns it. ``update(..., trainable={"maps": False, ...})`` is the
        same for one update.

    References
    ----------
    Gantner, Drumond, Freudenthaler, Rendle, Schmidt-Thieme (2010), Learning Attribute-to-Feature Mappings for
    Cold-Start Recommendations. Golub, Heath, Wahba (1979), Generalized Cross-Validation as a Method for Choosing a Good
    Ridge Parameter.

    Examples
    --------
    >>> import fastmf
    >>> text = fastmf.Features(["a", "b"], [[0.1, 0.9], [0.8, 0.3]])
    >>> Map(text, strength=5.0)
    Map(features=Features(2 str ids, 2 columns, name='text'), strength=5.0, trainable=True)
    """

    features: Any
    strength: float = 10.0
    trainable: bool = True

    @property
    def views(self) -> tuple[Any, ...]:
        """The features as a tuple."""
        return self.features if isinstance(self.features, tuple) else (self.features,)

    @property
    def width(self) -> int:
        """The number of columns of all views."""
        return sum(view.vectors.shape[1] for view in self.views)

    def check(self) -> None:
        """Raise TypeError or ValueError unless there are features of different names, and the strength is positive."""
        views = self.views
        if not views or not all(hasattr(view, name) for view in views for name in _VIEW):
            raise TypeError(f"Map.features must be fastmf.Features or a tuple of them, got {brief(self.features)}")
        names, kinds = [view.name for view in views], {view.ids.dtype for view in views if len(view)}
        if len(set(names)) < len(names):
            raise ValueError(f"Map.features are views of the names {names}, which must differ")
        if len(kinds) > 1:
            raise ValueError("Map.features have ids of different kinds, int and str")
        if not kinds:
            raise ValueError("Map.features have no rows")
        if self.width > _MOST:
            raise ValueError(f"Map.features have {self.width} columns, at most {_MOST} are allowed: project them first")
        require_number("Map.strength", self.strength, positive=True)
        require_flag("Map.trainable", self.trainable)
