"""Samplers of negatives for ranking losses.

=====================  =================================================================================================
``source``             the population, drawn from uniformly: ``"items"`` (all items of the model), ``"events"`` (events
                       of the model's history, of which the item is taken) or ``"batch"`` (events of the same pass)
``acceptance(count)``  the probability of accepting a drawn item that `count` >= 1 events of the source name
``check()``            raises :class:`ValueError` for an invalid field
=====================  =================================================================================================

Draws use rejection sampling: if events are drawn, an item is a negative with probability proportional to
``count * acceptance(count)``; if items are drawn, ``acceptance`` is not called. A draw costs O(1) whatever the number
of items, and an update has no table of items to build or maintain; a fit builds an alias table for the same
distribution, which needs no rejection. ``acceptance`` is compiled, under the rules for the methods of losses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["InBatch", "Popular", "Uniform"]


class _NoFields(NamedTuple):
    pass


class Uniform(_NoFields):
    """Uniform distribution over all items of the model.

    Examples
    --------
    >>> Uniform().acceptance(1000)
    1
    """

    __slots__ = ()
    source = "items"

    def acceptance(self, count: Any) -> Any:
        return 1

    def check(self) -> None:
        return


class _PopularFields(NamedTuple):
    alpha: float = 0.75


class Popular(_PopularFields):
    """Popularity-based sampling: probability proportional to ``count ** alpha``, `count` being the item's past events.

    An event of the history is drawn and accepted with probability ``count ** (alpha - 1)``; in an update, events of the
    batch are drawn from as well.

    Parameters
    ----------
    alpha : float
        In [0, 1]: 0 is uniform over the items that have an event (with most draws rejected), 1 is proportional to
        popularity.

    References
    ----------
    Mikolov, Sutskever, Chen, Corrado, Dean (2013), Distributed Representations of Words and Phrases and their
    Compositionality.

    Examples
    --------
    >>> Popular(0.75).acceptance(10_000)
    0.1
    """

    __slots__ = ()
    source = "events"

    def acceptance(self, count: Any) -> Any:
        return count ** (self.alpha - 1)

    def check(self) -> None:
        require_number("Popular.alpha", self.alpha)
        if self.alpha > 1:
            raise ValueError(f"Popular.alpha must be from 0 to 1, got {self.alpha!r}")


class InBatch(_NoFields):
    """In-batch negatives: the items of the other events of the same pass over a fit's log or an update's batch.

    In a fit, whose pass is the whole log, this is ``Popular(1)``. In an update no row outside the batch is read.

    References
    ----------
    Hidasi, Karatzoglou, Baltrunas, Tikk (2016), Session-based Recommendations with Recurrent Neural Networks.
    """

    __slots__ = ()
    source = "batch"

    def acceptance(self, count: Any) -> Any:
        return 1

    def check(self) -> None:
        return


class Every(_NoFields):
    """No sampling: each item of the model once. The sampler of :class:`~fastmf.losses.Softmax`."""

    __slots__ = ()
    source = "every"

    def acceptance(self, count: Any) -> Any:
        return 1

    def check(self) -> None:
        return
