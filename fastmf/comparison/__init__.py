"""Quality against compute: incremental updates compared with no updates, warm starts and full retraining.

A prequential (test-then-train) evaluation in which all contestants see the same events at the same time. Events are
sorted by time. The first half trains an initial model that all contestants start from; the rest is cut into blocks.
After each block t, every contestant is brought up to date with it and evaluated on block t + 1.

==============  =================================================================================
``frozen``      the initial model, never updated
``update``      ``model.update(block)``
``warm``        a warm start: its own last model, and one pass over all events so far
``full``        a new model fitted to all events so far, with a number of epochs chosen on the
                first half
``popularity``  ranks items by their number of events so far; for ranking metrics only
==============  =================================================================================

With cadences, strategies are compared: what is done, and how often. All are asked the same questions about the later
half, each before anybody learns the answer (`fastmf.comparison.prequential`).
"""

from __future__ import annotations

from fastmf.comparison.cadence import cadences_of
from fastmf.comparison.cadences import Budget
from fastmf.comparison.contestants import CONTESTANTS, contestants
from fastmf.comparison.entrants import MODELS
from fastmf.comparison.guests import Contestant
from fastmf.comparison.outcome import Comparison, Outcome
from fastmf.comparison.peers import PEERS, peers_of
from fastmf.comparison.replay import COMPARED, Settings, compare
from fastmf.comparison.results import Cadences, StrategyOutcome
from fastmf.comparison.strategies import NEVER

__all__ = [
    "COMPARED",
    "CONTESTANTS",
    "MODELS",
    "NEVER",
    "PEERS",
    "Budget",
    "Cadences",
    "Comparison",
    "Contestant",
    "Outcome",
    "Settings",
    "StrategyOutcome",
    "cadences_of",
    "compare",
    "contestants",
    "peers_of",
]
