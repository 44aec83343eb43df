"""Jobs: what learners are asked to do, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from fastmf.learners.working import WorkingSet
from fastmf.log.events import Events
from fastmf.parameters.groups import Group
from fastmf.parameters.ids import Staged
from fastmf.recipes import Update
from fastmf.state import State

__all__ = ["FitJob", "Learner", "Single", "Training", "UpdateJob"]


class FitJob(NamedTuple):
    """All rows of a state that nobody else sees, to be trained on its history.

    Attributes
    ----------
    state : State
    working : WorkingSet
        All its rows.
    kept, held : Events
        What to train on, and what is held out.
    objective : Objective
    batch_size : int
    threads : int
    deterministic : bool
    """

    state: State
    working: WorkingSet
    kept: Events
    held: Events
    objective: Any
    batch_size: int | None
    threads: int
    deterministic: bool


class UpdateJob(NamedTuple):
    """A batch to be learned; the state stays as it is.

    Attributes
    ----------
    state : State
    arrived : Events
        The batch, in row numbers; rows beyond those of the state are new.
    staged : dict of str to Staged
        The ids that are new, by group.
    recipe : Update
        With the learner's own defaults where the caller had none.
    objective : Objective
    threads : int
    counted : bool
        Whether the events make their items more popular.
    """

    state: State
    arrived: Events
    staged: dict[str, Staged]
    recipe: Any
    objective: Any
    threads: int = 1
    counted: bool = True


class Training(NamedTuple):
    """A batch in a working set, ready to be learned.

    Attributes
    ----------
    working : WorkingSet
    new : Events
        The batch in rows of the working set, weights as they count.
    measure : callable
        The summed loss of the batch as the working set has it.
    learn : callable
        Trains.
    further : callable
        The moves of groups that are not in the working set, by name, once training is over.
    """

    working: WorkingSet
    new: Events
    measure: Callable[[], float]
    learn: Callable[[], None]
    further: Callable[[], dict[str, Any]] = dict


class Single(NamedTuple):
    """One event at a time, in place.

    Attributes
    ----------
    learn : callable
        ``learn(user, item, value)`` answers as kernels/train/online.py does; ids are keys of the kernels.
    measure : callable
        The summed loss of events in row numbers of the model.
    """

    learn: Callable[[int, int, float], int]
    measure: Callable[[Events], float]


class Learner(Protocol):
    """A family of learning. Gathering, selection, fading and measuring are done for it."""

    @property
    def defaults(self) -> Update:
        """What the fields of an Update mean where they are None."""

    @property
    def further(self) -> tuple[str, ...]:
        """Fields that may be set and have no default."""

    @property
    def why(self) -> str:
        """Why other fields are refused, in a few words."""

    @property
    def draws(self) -> bool:
        """Whether training draws anything at random, which then depends on the whole batch."""

    def reads_history(self, recipe: Update) -> bool:
        """Whether an update reads past events, whose times it then needs to let them fade."""

    def suits(self, objective: Any) -> bool:
        """Whether models of this objective are learned this way."""

    def groups(self, factors: int, seed: int, budget: int) -> dict[str, Group]:
        """Groups of parameters that a model has besides users and items, by name.

        They are for a model with this number of factors and this seed, whose tables may take `budget` bytes each. Names
        are identifiers.
        """

    def fit(self, job: FitJob) -> tuple[Callable[[int], float], Callable[[], float]]:
        """One epoch on what is kept, by its number, and the loss on what is held out; both return sums."""

    def finish(self, state: State, objective: Any, threads: int) -> None:
        """Make what updates will need, once a fit is done."""

    def update(self, job: UpdateJob) -> Training:
        """The working set of a batch, and what trains it."""

    def single(self, state: State, objective: Any, ledger: Any) -> Single:
        """What learns one event at a time, with the arrays in the ledger."""

    def weighed(self, events: Events) -> Events:
        """Events with what they count to this learner as weights."""

    def for_visitors(self, objective: Any) -> tuple[Any, Update]:
        """The objective and the recipe by which visitors are taken in."""
