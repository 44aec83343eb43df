"""Jobs: the inputs and results of learners, and the `Learner` protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastmf.kernels.core.shape import Shape
from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.parameters.groups import Group
from fastmf.parameters.ids import Staged
from fastmf.parameters.moves import DenseMove, Move
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["FitJob", "Fitting", "Learner", "Single", "Training", "UpdateJob"]


def _never() -> bool:
    return False


def _nothing(moves: dict[str, Move], counts: dict[str, int]) -> tuple[dict[str, DenseMove], tuple[str, ...]]:
    return {}, ()


def _no_restart() -> None:
    pass


class FitJob(NamedTuple):
    """The inputs of a fit: all rows of a state that no other thread uses.

    Attributes
    ----------
    state : State
    working : WorkingSet
        All rows of the state.
    kept, held : Events
        Training events and held-out events.
    objective : Objective
    batch_size : int
    threads : int
    deterministic : bool
    free : bool
        Whether no number of epochs is given: the fit ends when more would change little.
    """

    state: State
    working: WorkingSet
    kept: Events
    held: Events
    objective: Any
    batch_size: int | None
    threads: int
    deterministic: bool
    free: bool = False


class Fitting(NamedTuple):
    """A fit prepared by a learner.

    Attributes
    ----------
    learn : callable
        ``learn(epoch)`` trains one epoch, given its number from 0, and returns the summed loss.
    measure : callable
        Returns the summed loss of the held-out events.
    settled : callable
        Returns whether more epochs would change little.
    further : tuple of ndarray
        What is trained besides the working set: if the rows of an earlier epoch are brought back, so are these.
    """

    learn: Callable[[int], float]
    measure: Callable[[], float]
    settled: Callable[[], bool] = _never
    further: tuple[np.ndarray, ...] = ()


class UpdateJob(NamedTuple):
    """The inputs of an update on a batch; the state must not be changed.

    Attributes
    ----------
    state : State
    arrived : Events
        The batch in row numbers; rows beyond those of the state are new.
    staged : dict of str to Staged
        The new ids, by group.
    recipe : Update
        With the learner's defaults where the caller gave none.
    objective : Objective
    threads : int
    counted : bool
        Whether the events count towards item popularity.
    features : dict of str to Move
        The features that come with the batch, by side.
    flushed : dict of str to Group
        Dense groups as they will be when single events have been flushed, where that changes them: what they move to
        starts from there.
    """

    state: State
    arrived: Events
    staged: dict[str, Staged]
    recipe: Any
    objective: Any
    threads: int = 1
    counted: bool = True
    features: Mapping[str, Move] = MappingProxyType({})
    flushed: Mapping[str, Any] = MappingProxyType({})

    def group(self, name: str) -> Any:
        """A dense group as it will be before the update; None if there is none of that name."""
        return self.flushed.get(name, self.state.groups.get(name))


class Training(NamedTuple):
    """An update prepared by a learner.

    Attributes
    ----------
    working : WorkingSet
    new : Events
        The batch in row numbers of the working set, with effective weights.
    measure : callable
        Returns the summed loss of the batch with the present rows of the working set.
    learn : callable
        Trains the working set.
    further : callable
        Called after training; returns the moves of groups outside the working set, by name.
    notes : callable
        Called after training; returns what the Delta is to say.
    """

    working: WorkingSet
    new: Events
    measure: Callable[[], float]
    learn: Callable[[], None]
    further: Callable[[], dict[str, Any]] = dict
    notes: Callable[[], tuple[str, ...]] = tuple


class Single(NamedTuple):
    """Functions that learn single events in place.

    Attributes
    ----------
    learn : callable
        ``learn(user, item, value)`` returns a status of kernels/train/online.py; user and item are int ids, or rows.
    measure : callable
        Returns the summed loss of events given in row numbers of the model.
    further : callable
        Returns the moves of other groups that follow from moves of rows, given the numbers of rows before these, and
        what the Delta is to say.
    restart : callable
        Called when all that has been learned is in a Delta.
    """

    learn: Callable[[int, int, float], int]
    measure: Callable[[Events], float]
    further: Callable[[dict[str, Move], dict[str, int]], tuple[dict[str, DenseMove], tuple[str, ...]]] = _nothing
    restart: Callable[[], None] = _no_restart


class Learner(Protocol):
    """A training algorithm. Validation of the batch, loss reports and the Delta are made by the caller."""

    @property
    def epochs(self) -> int:
        """The greatest number of epochs of a fit, unless another is asked for, or held-out events say when to end."""

    @property
    def settles(self) -> bool:
        """Whether fits tell without held-out events that more epochs would change little."""

    @property
    def defaults(self) -> Update:
        """Defaults for the fields of an Update that are None."""

    @property
    def further(self) -> tuple[str, ...]:
        """Fields of an Update that may be set although they have no default."""

    @property
    def why(self) -> str:
        """The reason why other fields are refused, in a few words."""

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers, which then depend on the whole batch."""

    def reads_history(self, recipe: Update) -> bool:
        """Whether an update with this recipe reads past events, which must then have times to decay."""

    def suits(self, objective: Any) -> bool:
        """Whether this learner trains models with this objective."""

    def groups(self, objective: Any, shape: Shape, seed: int, budget: int) -> dict[str, Group]:
        """Groups of parameters that a model has besides users and items, by name.

        They are for a model with this objective, rows of this shape and this seed, whose tables may take `budget` bytes
        each. Names are identifiers.
        """

    def further_widths(self, shape: Shape) -> tuple[int, ...]:
        """Numbers of floats of the parts that rows have besides factors and record, given the shape of these."""

    def begin(self, state: State, values: np.ndarray, objective: Any, fits: bool) -> None:
        """Called for a new state, which has no rows yet, with the values that a fit or an update begins with."""

    def fit(self, job: FitJob) -> Fitting:
        """Prepare a fit."""

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Prepare what updates will need, after a fit."""

    def settle(self, state: State) -> None:
        """Bring other groups in line with rows that were trained elsewhere."""

    def update(self, job: UpdateJob) -> Training:
        """The working set of a batch, and the functions that train and measure it."""

    def single(self, state: State, objective: Any, ledger: Any) -> Single:
        """Functions that learn single events, on the arrays of the ledger."""

    def weighed(self, events: Events) -> Events:
        """The events with their effective weights under this objective."""

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """The objective and the recipe used by fold-in."""
