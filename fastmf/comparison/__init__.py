"""How much quality for how much computing: updating, not updating, warm starts and full retraining.

All contestants see the same events at the same time. Events are sorted by time. The first half trains one
model, from which all start. The rest is cut into blocks: every contestant is brought up to date with block t
and asked about block t + 1.

==============  =================================================================================
``frozen``      the first model, never touched
``update``      ``model.update(block)``
``warm``        its own last model, and one pass over everything so far
``full``        a new model fitted to everything so far, for as many epochs as the first half asks
``popularity``  items by the number of their events so far; only where items are ranked
==============  =================================================================================
"""

from __future__ import annotations

from fastmf.comparison.contestants import CONTESTANTS, contestants
from fastmf.comparison.outcome import Comparison, Outcome
from fastmf.comparison.replay import COMPARED, Settings, compare

__all__ = ["COMPARED", "CONTESTANTS", "Comparison", "Outcome", "Settings", "compare", "contestants"]
