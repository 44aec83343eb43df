"""Popularity: what is added to the scores of items, when they are ranked, for what everybody has taken lately.

    score + weight * log(1 + n)

where n is the number of events of the item, each of which counts for half once `half_life` more events have come. It is
the term of a live, non-personal expert, whose share in the answer is learned online: see learners/choice.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastmf.errors import require_number

__all__ = ["Popularity"]


class Popularity(NamedTuple):
    """Live popularity in rankings: ``score + weight * log(1 + recent events of the item)``.

    For models that rank (``losses.Confidence`` and the losses that compare events with negatives). Lists of
    ``recommend``, ``fold_in``, ``lists`` and evaluations of rankings contain the term; ``predict`` doesn't.

    Parameters
    ----------
    half_life : float, optional
        The number of later events after which an event counts for half, > 0; ``math.inf`` counts all alike. By default
        it is chosen by what has just happened, from about 1, 2, 5 and 10 % of the events so far, and ``math.inf``.
    weight : float, optional
        The weight of the term, >= 0, in units of the model's scores; needs `half_life`. 0 leaves the term out, at no
        cost. By default it is chosen likewise, from none over a few shares of the spread of scores to popularity
        alone; for users without events, with few and with more events separately.

    Notes
    -----
    What is not given is chosen by NDCG@10 over users who have events in the batch of an update (at most 200 of them),
    asked before the batch is learned. Old batches fade. What is served changes only for a gain that is clear, and the
    Delta says so.

    References
    ----------
    Cesa-Bianchi, Lugosi (2006), Prediction, Learning, and Games (choice among experts by their past).

    Examples
    --------
    >>> Popularity(half_life=10_000).weight is None
    True
    """

    half_life: float | None = None
    weight: float | None = None

    def check(self) -> None:
        """Raise ValueError if a field is out of range."""
        if self.half_life is not None and self.half_life != math.inf:
            require_number("Popularity.half_life", self.half_life, positive=True)
        if self.weight is not None:
            require_number("Popularity.weight", self.weight)
            if self.weight and self.half_life is None:
                raise ValueError("Popularity.weight is given without half_life: give both, or let both be chosen")

    @property
    def off(self) -> bool:
        """Whether there is no such term."""
        return self.weight == 0
