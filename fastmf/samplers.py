"""Samplers: where the negatives of an event come from.

=====================  =================================================================================================
``source``             what is drawn from, each member as likely: ``"items"`` (all that the model knows), ``"events"``
                       (the item of an event of the model's history) or ``"batch"`` (that of an event of the same pass)
``acceptance(count)``  the probability that a drawn item is accepted, where `count` events of the source name it (>= 1)
``check()``            raises :class:`ValueError` where a field makes no sense
=====================  =================================================================================================

Draws are accepted or rejected (rejection sampling): where events are drawn, an item is a negative with a probability in
proportion to ``count * acceptance(count)``; where items are, ``acceptance`` is not called. A draw costs O(1) however
many items there are, and an update has no table of them to build or to maintain; a fit makes one, for the same
probabilities without rejected draws. ``acceptance`` is compiled, under the rules for the methods of losses.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastmf.errors import require_number

__all__ = ["InBatch", "Popular", "Uniform"]


class _NoFields(NamedTuple):
    pass


class Uniform(_NoFields):
    """Every known item is as likely.

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
    """Items in proportion to ``count ** alpha``, the number of their events in the history.

    An event of the history is drawn and kept with probability ``count ** (alpha - 1)``; in an update, events of the
    batch count as draws too.

    Parameters
    ----------
    alpha : float
        From 0, where all items that have an event are as likely (and most draws are made in vain), to 1, which is
        popularity itself.

    References
    ----------
    Mikolov, Sutskever, Chen, Corrado, Dean (2013), Distributed Representations of Words and Phrases.

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
    """The items of the other events of the same pass: of the fit, or of the update's batch.

    In a fit, whose pass is the whole log, that is ``Popular(1)``. In an update no row outside the batch is read.
    """

    __slots__ = ()
    source = "batch"

    def acceptance(self, count: Any) -> Any:
        return 1

    def check(self) -> None:
        return


class Every(_NoFields):
    """No sample: each known item once. What :class:`~fastmf.losses.Softmax` compares with."""

    __slots__ = ()
    source = "every"

    def acceptance(self, count: Any) -> Any:
        return 1

    def check(self) -> None:
        return
