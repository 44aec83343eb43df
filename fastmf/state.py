"""State: all that a model has learned, and the one way to change it.

A Delta is taken in all or nothing. What can fail is done first, while nothing has changed. From then on every step can
be taken twice, so that where an interrupt or a MemoryError stops it, the next call of any kind finishes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from fastmf.delta import Delta, Identity, new_identity
from fastmf.errors import StaleDelta
from fastmf.followers.grams import Grams
from fastmf.followers.quantized import QuantizedScan
from fastmf.followers.trail import Trail
from fastmf.gate import Gate
from fastmf.log.events import Events
from fastmf.log.history import History
from fastmf.parameters.groups import Group, RowGroup
from fastmf.scratch import Scratch

__all__ = ["State"]

_T = TypeVar("_T")
_FIXED, _CHANGING = ("global_mean", "centre"), ("low", "high", "dated")


class _Pending(NamedTuple):
    """A Delta that is being taken in, and what there was before."""

    delta: Delta
    counts: dict[str, int]
    events: int


class State:
    """All that a model has learned.

    Parameters
    ----------
    groups : dict of str to Group
        Its parameters. Events name rows of the groups "users" and "items".
    history : History
        Its events.
    gate : Gate
        Whom the history tells of its changes.
    seed : int
        Of everything random.
    global_mean, centre : float
        Added to every score; the score that two new rows start from. Neither moves in an update.
    """

    def __init__(
        self,
        groups: dict[str, Group],
        history: History,
        gate: Gate,
        seed: int = 0,
        global_mean: float = 0.0,
        centre: float = 0.0,
    ) -> None:
        self.groups, self.history, self.gate, self.seed = groups, history, gate, seed
        self.scratch = Scratch()
        self.lineage, self.identity = new_identity(), Identity(new_identity(), 0)
        self.numbers = {"global_mean": global_mean, "centre": centre, "low": math.inf, "high": -math.inf, "dated": 0.0}
        self.trail, self.scan, self.grams = Trail([self.identity]), QuantizedScan(), Grams()
        self.followers: dict[str, Any] = {"trail": self.trail, "scan": self.scan, "grams": self.grams}
        self.needed = frozenset(self.followers)
        self._journal: Any = None
        self.closed: Any = None  # a journal that can be opened again
        self._pending: _Pending | None = None

    # --- what there is ------------------------------------------------------------------------------------------------

    def side(self, name: str) -> RowGroup:
        """A group that has a row per id."""
        return cast(RowGroup, self.groups[name])

    @property
    def users(self) -> RowGroup:
        """The users' rows."""
        return self.side("users")

    @property
    def items(self) -> RowGroup:
        """The items' rows."""
        return self.side("items")

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each group."""
        return {name: group.count for name, group in self.groups.items()}

    @property
    def global_mean(self) -> np.float32:
        """Added to every score."""
        return np.float32(self.numbers["global_mean"])

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers that an update may change: the range of values seen, and whether times are those of dates."""
        return {name: self.numbers[name] for name in _CHANGING}

    @property
    def seen(self) -> tuple[float, float]:
        """The range of values seen."""
        return self.numbers["low"], self.numbers["high"]

    @property
    def value(self) -> float | None:
        """The value of all events so far, where they share one."""
        low, high = self.seen
        return low if low == high else None

    @property
    def head(self) -> str:
        """The name of the state as it was at its last change of version."""
        return self.identity.head

    @property
    def version(self) -> int:
        """How many changes there have been."""
        return self.identity.version

    @property
    def journal(self) -> Any:
        """Open while single events are learned; None also while a Delta is being taken in."""
        return self._journal if self._pending is None else None

    @journal.setter
    def journal(self, journal: Any) -> None:
        self._journal = journal

    def rows(self, side: str, ids: np.ndarray, column: str | None = None) -> np.ndarray:
        """The rows of ids of a side, -1 where they are not known; DataError for ids of another kind."""
        known = self.side(side).ids
        known.require_kind(ids, column or side)
        return known.find(ids)

    def see(self, values: np.ndarray) -> None:
        """Widen the range of values seen."""
        if values.size:
            low, high = self.seen
            self.numbers |= {"low": min(low, float(values.min())), "high": max(high, float(values.max()))}

    def restart_trail(self, states: list[Identity]) -> None:
        """A trail that came through these states and has kept no Delta."""
        self.trail = self.followers["trail"] = Trail(states)

    def rename(self) -> None:
        """Become the first state of another lineage."""
        self.lineage, self.identity = new_identity(), Identity(new_identity(), 0)
        self.restart_trail([self.identity])
        self.grams.kept = {}

    def ask(self, question: Callable[[], _T]) -> _T:
        """What a question finds in one state, beside changes in other threads."""
        return self.gate.ask(question, self.finish)

    # --- change -------------------------------------------------------------------------------------------------------

    def check(self, delta: Delta) -> None:
        """Raise StaleDelta unless a Delta starts from this state, ValueError unless it fits what it names."""
        if not isinstance(delta, Delta):
            raise TypeError(f"expected a Delta, got {type(delta).__name__}")
        if delta.lineage != self.lineage:
            raise StaleDelta(f"the Delta belongs to model {delta.lineage[:8]}, this is {self.lineage[:8]}")
        if delta.parent != self.head:
            raise StaleDelta(
                f"the Delta starts from version {delta.parent_version} ({delta.parent[:8]}), "
                f"the model is at version {self.version} ({self.head[:8]})"
            )
        for name in {*delta.moves, *delta.new_ids} - set(self.groups):
            raise StaleDelta(f"the Delta names the group {name!r}, which this model has not")
        if delta.restores is None:
            for name, fresh in delta.new_ids.items():
                if not self.groups[name].lacks(fresh):
                    raise StaleDelta(f"new {name} of the Delta are known to this model")
            counts = self._counts_after(delta)
            delta.log.require(counts["users"], counts["items"])

    def _counts_after(self, delta: Delta) -> dict[str, int]:
        fresh = delta.new_ids if delta.restores is None else {}
        return {name: count + len(fresh.get(name, ())) for name, count in self.counts.items()}

    def advance(self, delta: Delta) -> None:
        """Take in a Delta that starts from this state, all or nothing.

        Raises
        ------
        CapacityError
            Where the memory budget does not allow it; nothing has changed then.
        """
        counts = self._counts_after(delta)
        for name, move in delta.moves.items():
            self.groups[name].require(move, counts[name])
        if delta.restores is None:
            for name, fresh in delta.new_ids.items():
                self.groups[name].prepare(fresh)
            self.history.require_room(delta.events)
        self._take_in(delta, self.counts, len(self.history))

    def absorb(self, delta: Delta, counts: dict[str, int], events: int) -> None:
        """Give what was done in place since there were so many rows and events the name that a Delta gives it."""
        self._take_in(delta, counts, events)

    def _take_in(self, delta: Delta, counts: dict[str, int], events: int) -> None:
        prepared = []
        try:
            for follower in self.followers.values():
                prepared.append(follower)
                follower.prepare(self, delta)
        except BaseException:
            for follower in prepared:
                follower.abort()
            raise
        self._pending = _Pending(delta, counts, events)  # from here on there is no way back
        self.finish()

    @property
    def unfinished(self) -> bool:
        """Whether a Delta is being taken in, or was when its maker was interrupted."""
        return self._pending is not None

    def finish(self) -> None:
        """Go on with a Delta that is being taken in, if one is."""
        if self._pending is None:
            self.gate.end()
            return
        delta, counts, events = self._pending
        self.gate.begin()
        for name, fresh in delta.new_ids.items():
            if delta.restores is None:
                self.groups[name].grow(counts[name], fresh)
            else:
                self.groups[name].shrink(counts[name] - len(fresh))
        if delta.restores is None:
            self.history.append_at(events, delta.log)
        else:
            self.history.truncate(events - delta.events)
        for name, move in delta.moves.items():
            self.groups[name].write(move)
        self.numbers |= {name: after for name, (_, after) in delta.scalars.items()}
        for follower in self.followers.values():
            follower.follow(self, delta)
        self.identity = delta.reached
        self.closed, self._journal = self._journal or self.closed, None
        self._pending = None
        self.gate.end()

    # --- copies and files ---------------------------------------------------------------------------------------------

    def copy(self, gate: Gate) -> State:
        """An independent state, of the same name unless single events are part of it that no Delta has told of yet."""
        history = History(self.history.rows, self.history.budget, gate)
        other = State({name: group.copy() for name, group in self.groups.items()}, history, gate, self.seed)
        other.numbers = dict(self.numbers)
        other.lineage, other.identity = self.lineage, self.identity_of_copy()
        for name in self.followers:
            other.followers[name] = self.followers[name].copy()
        other.trail, other.scan, other.grams = (other.followers[name] for name in ("trail", "scan", "grams"))
        other.restart_trail(self.states_of_copy())
        known, log = self.history, self.history.events
        history.build(log, self.users.count, self.items.count, known.untimed or 0, known.unweighted or 0)
        return other

    def identity_of_copy(self) -> Identity:
        """The name that a copy, or a file, of the state as it is goes by."""
        if self.journal is not None and self.journal.events:
            return Identity(new_identity(), self.version)
        return self.identity

    def states_of_copy(self) -> list[Identity]:
        """The states that a copy, or a file, of the state as it is came through."""
        now = self.identity_of_copy()
        return self.trail.states if now == self.identity else [now]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything learned, as named arrays for a file."""
        found = {
            f"{name}.{part}": array for name, group in self.groups.items() for part, array in group.arrays().items()
        }
        found |= {f"gram.{name}": array for name, array in self.grams.arrays().items()}
        log = zip(Events._fields, self.history.events, strict=True)
        return found | {f"history.{name}": column for name, column in log if column is not None}

    def metadata(self) -> dict[str, str]:
        """The numbers that go with the arrays, as text that keeps every bit (and infinity)."""
        found = {name: repr(number) for name, number in self.numbers.items()}
        history = self.history
        return found | {"untimed": str(history.untimed or 0), "unweighted": str(history.unweighted or 0)}

    def load(self, arrays: dict[str, np.ndarray], numbers: dict[str, str]) -> None:
        """Fill an empty state from a file; ValueError or KeyError where the file is not consistent."""
        for name in self.numbers:
            number = float(numbers.get(name, "0") if name == "dated" else numbers[name])
            if math.isnan(number) or (math.isinf(number) and name in _FIXED):
                raise ValueError(f"{name} is {number}")
            self.numbers[name] = number
        unknown = sorted({key.split(".")[0] for key in arrays} - {*self.groups, "gram", "history"})
        if unknown:
            raise ValueError(f"it has arrays of {unknown}, which this model has not")
        for name, group in self.groups.items():
            group.load(_under(name, arrays))
        self.grams.load(_under("gram", arrays), self)
        log = Events(*(arrays.get(f"history.{name}") for name in Events._fields))  # type: ignore[arg-type]
        log.require(self.users.count, self.items.count)
        self.history.require_room(log.users.size)
        without = {"time": int(numbers["untimed"]), "weight": int(numbers.get("unweighted", "0"))}
        for name, count in without.items():
            if not 0 <= count <= log.users.size:
                raise ValueError(f"{count} events without a {name} are not among {log.users.size}")
        self.history.build(log, self.users.count, self.items.count, *without.values())


def _under(name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under a name, without it."""
    start = f"{name}."
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
