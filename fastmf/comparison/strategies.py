"""Strategies: what keeps a model current, and how often.

==================  ==========================================================================================
``frozen``          the first model, never touched
``update``          ``update`` with the events since the last time
``warm``            the same, and then one pass over everything so far
``full``            a new model fitted to everything so far
``update + full``   a new model at the coarsest cadence, and updates at a finer one in between
``popularity``      ranks items by their number of events so far; for ranking metrics only
==================  ==========================================================================================

What is kept current is a `Contestant`: by default an `MF`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.comparison.contestants import Popularity, ready_to_go_over, stops_by_itself, warm_recipe
from fastmf.comparison.guests import Guest, rows_of, twin
from fastmf.comparison.outcome import Cost
from fastmf.interactions import Interactions
from fastmf.model import MF
from fastmf.recipes import Update

__all__ = ["NEVER", "Strategy", "Trainer", "strategies_of", "timed", "which_of"]


NEVER = "never updated"


class Strategy(NamedTuple):
    """What is done, and how often.

    Attributes
    ----------
    kind : {"frozen", "update", "warm", "full", "update + full", "popularity"}
    every : str or None
        The cadence; None for "frozen".
    retrain_every : str or None
        The cadence of the retrains between the updates of "update + full".
    model : str or None
        Which model; None for the first one.
    preset : str or None
        By which recipe it is updated; None for the first one.
    """

    kind: str
    every: str | None = None
    retrain_every: str | None = None
    model: str | None = None
    preset: str | None = None

    @property
    def name(self) -> str:
        """The name in tables and files.

        Examples
        --------
        >>> Strategy("update", "1d", model="warp", preset="balanced").name
        'update (warp, balanced) every 1d'
        """
        which = which_of(self.model, self.preset)
        if self.every is None:
            return f"{NEVER}{which}"
        verb = {"full": "retrain", "update + full": "update"}.get(self.kind, self.kind)
        again = f", retrain every {self.retrain_every}" if self.retrain_every else ""
        return f"{verb}{which} every {self.every}{again}"

    def other(self, kind: str, every: str | None = None, retrain_every: str | None = None) -> Strategy:
        """Another strategy with the same model, and the first recipe."""
        return Strategy(kind, every, retrain_every, self.model)

    @property
    def sampled(self) -> bool:
        """Whether its models do not depend on each other for longer than a retrain, so that some tell about all."""
        return self.kind in ("full", "update + full")


def which_of(*names: str | None) -> str:
    """What distinguishes a strategy from those of the first model and recipe, in brackets."""
    known = ", ".join(name for name in names if name)
    return f" ({known})" if known else ""


def strategies_of(
    cuts: dict[str, NDArray[np.int64]],
    ranked: bool,
    warm_up_to: int,
    model: str | None = None,
    further: Sequence[str] = (),
) -> list[Strategy]:
    """The strategies of a comparison that have one model.

    Parameters
    ----------
    cuts : dict of str to ndarray
        Positions by cadence, the finest cadence first.
    ranked : bool
        Whether items are ranked, so that popularity takes part beside the first model.
    warm_up_to : int
        Leave out "warm" where it would go over more events than these.
    model : str, optional
        None for the first one.
    further : sequence of str
        Recipes of updates beside the first one.

    Returns
    -------
    list of Strategy
    """
    names = list(cuts)
    passes = {name: int(places[1:].sum()) for name, places in cuts.items()}
    found = [Strategy("frozen"), *(Strategy("update", name) for name in names)]
    found += [Strategy("update", name, preset=preset) for preset in further for name in names]
    found += [Strategy("update + full", name, names[-1]) for name in names[:-1]]
    found += [Strategy("warm", name) for name in names if passes[name] <= warm_up_to]
    found += [Strategy("full", name) for name in names]
    found += [Strategy("popularity", names[0])] if ranked and model is None else []
    return [one._replace(model=model) for one in found]


class Trainer(NamedTuple):
    """How contestants are built, fitted and brought up to date.

    Attributes
    ----------
    build : callable
        ``build(seed)`` returns an unfitted model.
    recipes : dict of (str or None) to (Update or None)
        Of updates of an `MF`, by name; the name of the first one is None.
    epochs : int or None
        Of its fits.
    """

    build: Callable[[int], Any]
    recipes: Mapping[str | None, Update | None]
    epochs: int | None

    def fitted(self, past: Interactions, seed: int) -> Any:
        """A new model fitted to events."""
        model = self.build(seed)
        if isinstance(model, MF):
            return model.fit(past, epochs=self.epochs, progress=False)
        model.fit(past)
        return model

    def retrained(self, past: Interactions, seed: int) -> tuple[Any, int]:
        """A new model fitted to events, and its number of rows, 0 if it does not say."""
        model = self.fitted(past, seed)
        return model, rows_of(model)

    def update(self, model: Any, batch: Interactions, preset: str | None = None) -> int:
        """Let a model learn new events by a recipe; returns the number of rows moved, 0 if it does not say."""
        if isinstance(model, Popularity):
            return model.update(batch)
        moved = model.update(batch, self.recipes[preset]) if isinstance(model, MF) else model.update(batch)
        return int(getattr(moved, "rows_moved", 0))

    def go_over(self, model: MF, past: Interactions, batch: Interactions) -> tuple[MF, int]:
        """Continue a model with one pass over everything so far; returns the model and the number of rows moved."""
        if stops_by_itself(model):
            rows = model.update(batch).rows_moved + len(model.users) + len(model.items)
            model.refit(epochs=1, warm=True, progress=False)
            return model, rows
        model = ready_to_go_over(model)
        return model, model.update(past, warm_recipe(model)).rows_moved

    def warm_up(self, past: Interactions) -> None:
        """Do everything once, so that no compilation is timed."""
        model = self.build(0)
        cut = len(past) - max(1, len(past) // 10)
        if isinstance(model, Guest):
            model.fit(past[:cut])
            model.update(past[cut:])
        if not isinstance(model, MF):
            return
        newest = int(np.unique(past.users, return_index=True)[1].max())  # few new ids are numbered otherwise than many
        cut = max(1, min(cut, newest))
        model.fit(past[:cut], epochs=1, progress=False)
        for preset in self.recipes:
            for batch in (past[newest : newest + 1], past[cut:]):
                self.update(twin(model), batch, preset)
        self.go_over(twin(model), past, past[cut:])

    def can_go_over(self) -> bool:
        """Whether there is a pass over everything for such models."""
        return isinstance(self.build(0), MF)


def timed(work: Callable[[], Any]) -> tuple[Any, Cost]:
    """Call a function that returns (something, rows moved); returns the former, and what the call cost."""
    # CPU time of this thread only: BLAS threads used by the evaluation keep spinning for a while.
    cpu, wall = time.thread_time(), time.perf_counter()
    result, rows = work()
    return result, Cost(time.thread_time() - cpu, time.perf_counter() - wall, rows)
