"""State: all that a model has learned, and the one way to change it.

A Delta is taken in all or nothing. What can fail is done first, while nothing has changed. From then on every step can
be taken twice, so that where an interrupt or a MemoryError stops it, the next call of any kind finishes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastmf.delta import Delta, Identity, new_identity
from fastmf.followers.grams import Gram, Grams
from fastmf.followers.popular import LivePopularity
from fastmf.followers.quantized import QuantizedScan
from fastmf.followers.trail import Trail
from fastmf.gate import Gate
from fastmf.log.events import Events
from fastmf.log.history import History
from fastmf.parameters.groups import Group, RowGroup
from fastmf.parameters.moves import DenseMove
from fastmf.scratch import Scratch

__all__ = ["CHANGING", "Pending", "State"]

_T = TypeVar("_T")
CHANGING = ("low", "high", "dated")  # the numbers that a Delta may change


class Pending(NamedTuple):
    """A Delta that is being applied, and the numbers of rows and events before it."""

    delta: Delta
    counts: dict[str, int]
    events: int


class _Awaited(NamedTuple):
    """The journal, rows, Gram matrices and events before the ids of an unlearned event were added."""

    journal: Any
    counts: dict[str, int]
    grams: dict[str, Gram]
    events: int


class State:
    """All that a model has learned.

    Parameters
    ----------
    groups : dict of str to Group
        The parameters. Events name rows of the groups "users" and "items".
    history : History
        The events so far.
    gate : Gate
        Sequence lock of the state, shared with the history.
    seed : int
        Seed of everything random.
    global_mean, centre : float
        Mean that is added to every score, and initial score of two new rows. Updates change neither.
    followers : dict of str to Follower
        Further followers that the model needs, by name.
    """

    def __init__(
        self,
        groups: dict[str, Group],
        history: History,
        gate: Gate,
        seed: int = 0,
        global_mean: float = 0.0,
        centre: float = 0.0,
        followers: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.groups, self.history, self.gate, self.seed = groups, history, gate, seed
        self.users, self.items = self.side("users"), self.side("items")
        for group in groups.values():
            group.join(groups)
        self.scratch = Scratch()
        self.lineage, self.identity = new_identity(), Identity(new_identity(), 0)
        self._means = {"global_mean": global_mean, "centre": centre}
        self.global_mean = np.float32(global_mean)  # added to every score
        self.range = np.array([math.inf, -math.inf, 0.0])  # smallest and largest value seen; whether times are dates
        self.followers: dict[str, Any] = {
            "trail": Trail([[self.identity]]),
            **followers,  # before those that are to be told of derived rows
            "scan": QuantizedScan(),
            "grams": Grams(),
        }
        self.needed = frozenset(self.followers)
        self.journal: Any = None  # open while single events are learned
        self.closed: Any = None  # a journal that can be opened again
        self.pairs: Any = None  # single predictions, made at first use
        self._pending: tuple[Pending, ...] = ()  # Deltas that are being applied
        self._awaited: _Awaited | None = None

    # --- content ------------------------------------------------------------------------------------------------------

    def side(self, name: str) -> RowGroup:
        """Return the group of users or of items."""
        return self.groups[name]  # type: ignore[return-value]

    @property
    def trail(self) -> Trail:
        """The Deltas that led to the present state."""
        return self.followers["trail"]  # type: ignore[no-any-return]

    @property
    def scan(self) -> QuantizedScan:
        """The 8-bit copy of the items."""
        return self.followers["scan"]  # type: ignore[no-any-return]

    @property
    def grams(self) -> Grams:
        """The Gram matrices."""
        return self.followers["grams"]  # type: ignore[no-any-return]

    @property
    def live(self) -> LivePopularity | None:
        """Live popularity; None for a model without."""
        return self.followers.get("popularity")

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows of each group."""
        return {name: group.count for name, group in self.groups.items()}

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers that an update may change: the range of values seen, and whether times are those of dates."""
        return dict(zip(CHANGING, self.range.tolist(), strict=True))

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers that belong to no group."""
        return self._means | self.scalars

    @property
    def seen(self) -> tuple[float, float]:
        """The range of values seen."""
        low, high, _ = self.range.tolist()
        return low, high

    @property
    def dated(self) -> bool:
        """Whether times are those of dates, in microseconds."""
        return bool(self.range[2])

    @property
    def value(self) -> float | None:
        """The value of all events so far if they share one, or None."""
        low, high = self.seen
        return low if low == high else None

    @property
    def head(self) -> str:
        """The name of the state at its last change of version."""
        return self.identity.head

    @property
    def version(self) -> int:
        """Number of changes since the fit."""
        return self.identity.version

    @property
    def next_version(self) -> int:
        """The version after the next change; if there are unflushed single events, their flush comes first."""
        return self.version + 1 + self.unflushed

    @property
    def unflushed(self) -> bool:
        """Whether there are single events that are not flushed to a Delta yet."""
        return self.journal is not None and self.journal.events > 0

    def rows(self, side: str, ids: np.ndarray, column: str | None = None) -> np.ndarray:
        """Return the rows of ids of a side, -1 for unknown ones; DataError for ids of another kind."""
        known = self.side(side).ids
        known.require_kind(ids, column or side)
        return known.find(ids)

    def see(self, values: np.ndarray) -> None:
        """Widen the range of values seen."""
        if values.size:
            self.range[:2] = min(self.range[0], values.min()), max(self.range[1], values.max())

    def restart_trail(self, states: list[list[Identity]]) -> None:
        """Replace the trail by one through states of these names, without Deltas."""
        self.followers["trail"] = Trail(states)

    def rename(self) -> None:
        """Become the first state of another lineage."""
        self.lineage, self.identity = new_identity(), Identity(new_identity(), 0)
        self.restart_trail([[self.identity]])
        self.grams.kept = {}

    def ask(self, question: Callable[[], _T]) -> _T:
        """Evaluate a function so that it sees one consistent state, while other threads may change it."""
        return self.gate.ask(question, self.finish)

    # --- change -------------------------------------------------------------------------------------------------------

    def counts_after(self, delta: Delta) -> dict[str, int]:
        """Return the number of rows of each group after a Delta; for an inverse, before it."""
        if delta.restores is not None:
            return self.counts
        owners = {name: getattr(group, "side", name) for name, group in self.groups.items()}  # of the ids
        return {name: count + len(delta.new_ids.get(owners[name], ())) for name, count in self.counts.items()}

    def make_room(self, new: Mapping[str, int], events: int) -> None:
        """Make room for new users, items and events, or raise CapacityError; what was learned stays as it is.

        Only the thread that holds the lock may call it. Arrays may be replaced by longer ones: a question takes arrays
        after the rows that it reads in them.
        """
        users, items = self.users.count + new.get("users", 0), self.items.count + new.get("items", 0)
        room = self.users.table.room, self.items.table.room
        if users <= room[0] and items <= room[1] and self.history.has_room(users, items, events):
            return
        self.users.ids.moved[0] += 1  # kernels look for the addresses again, now and after the change
        try:
            self.users.table.make_room(users)
            self.items.table.make_room(items)
            self.history.make_room(users, items, events)
        finally:
            self.users.ids.moved[0] += 1

    def flush(self) -> Pending | None:
        """Return the unflushed single events as a Delta, which :meth:`advance` applies first, or None."""
        return self.journal.told() if self.unflushed else None

    def dense_after(self, delta: Delta) -> dict[str, Any]:
        """Copies of the dense groups that a Delta moves, as they will be after it."""
        moved = {name: move for name, move in delta.moves.items() if isinstance(move, DenseMove)}
        found = {name: group.copy() for name, group in self.groups.items() if name in moved}
        for name, group in found.items():
            group.write(moved[name])
        return found

    def advance(self, delta: Delta, flush: Pending | None = None) -> None:
        """Apply a Delta that starts from this state, or from the one after a flush; all or nothing.

        Raises
        ------
        CapacityError
            If the memory budget is too small; nothing has changed then.
        """
        counts = self.counts_after(delta)
        for name, move in delta.moves.items():
            self.groups[name].require(move, counts[name])
        if delta.restores is None:
            self.make_room({name: len(fresh) for name, fresh in delta.new_ids.items()}, delta.events)
            for name, fresh in delta.new_ids.items():
                self.groups[name].prepare(fresh)
        pending = Pending(delta, self.counts, len(self.history))
        self._take_in((pending,) if flush is None else (flush, pending))

    def absorb(self, flush: Pending) -> None:
        """Record changes that were made in place as a Delta."""
        self._take_in((flush,))

    def _take_in(self, pending: tuple[Pending, ...]) -> None:
        prepared = []
        try:
            for one in pending:
                for follower in self.followers.values():
                    prepared.append(follower)
                    follower.prepare(self, one.delta)
        except BaseException:
            for follower in prepared:
                follower.abort()
            raise
        # From here on the change will be completed. No single events may be learned until then.
        self.closed, self.journal, self._pending = self.journal or self.closed, None, pending
        self.finish()

    @property
    def unfinished(self) -> bool:
        """Whether a change is in progress, or was interrupted."""
        return bool(self._pending) or self._awaited is not None

    def await_event(self) -> None:
        """Ids are about to be added for an event of the journal; :meth:`finish` removes them unless it is learned."""
        awaited = _Awaited(self.journal, self.counts, dict(self.grams.kept), len(self.history))
        self._awaited, self.journal = awaited, None  # no other event can be learned meanwhile

    def _end_wait(self, awaited: _Awaited) -> None:
        if len(self.history) == awaited.events:
            self.gate.begin()
            for name, count in awaited.counts.items():
                self.groups[name].shrink(count)
            self.grams.restore(awaited.grams, awaited.counts, awaited.events)
        self.gate.end()
        self.journal, self._awaited = awaited.journal, None

    def finish(self) -> None:
        """Complete a change that is in progress, if there is one."""
        if self._awaited is not None:
            self._end_wait(self._awaited)
        while self._pending:
            self.gate.begin()
            self._write(*self._pending[0])
            if len(self._pending) == 1:
                self.gate.end()
            self._pending = self._pending[1:]

    def _write(self, delta: Delta, counts: dict[str, int], events: int) -> None:
        """Apply a Delta, or resume after an interrupt: every step is idempotent."""
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
        for place, name in enumerate(CHANGING):
            if name in delta.scalars:
                self.range[place] = delta.scalars[name][1]
        for follower in self.followers.values():
            follower.follow(self, delta)
        self.identity = delta.reached

    # --- copies and files ---------------------------------------------------------------------------------------------

    def copy(self, gate: Gate) -> State:
        """Return an independent copy, of the same name unless there are unflushed single events."""
        history = History(self.history.rows, self.history.budget, gate)
        other = State({name: group.copy() for name, group in self.groups.items()}, history, gate, self.seed)
        other._means, other.range, other.global_mean = dict(self._means), self.range.copy(), self.global_mean
        other.lineage, other.identity = self.lineage, self.identity_of_copy()
        other.followers = {name: follower.copy() for name, follower in self.followers.items()}
        other.needed = self.needed
        other.restart_trail(self.states_of_copy())
        known, log = self.history, self.history.events
        history.build(log, self.users.count, self.items.count, known.untimed or 0, known.unweighted or 0)
        return other

    def identity_of_copy(self) -> Identity:
        """Return the identity of a copy or a file of the present state."""
        if self.unflushed:
            return Identity(new_identity(), self.version)
        return self.identity

    def states_of_copy(self) -> list[list[Identity]]:
        """Return the names of the states on the trail of a copy or a file of the present state."""
        now = self.identity_of_copy()
        return self.trail.names if now == self.identity else [[now]]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything learned as named arrays, for a file."""
        found = {
            f"{name}.{part}": array for name, group in self.groups.items() for part, array in group.arrays().items()
        }
        found |= {f"gram.{name}": array for name, array in self.grams.arrays().items()}
        log = zip(Events._fields, self.history.events, strict=True)
        return found | {f"history.{name}": column for name, column in log if column is not None}

    def metadata(self) -> dict[str, str]:
        """Return the numbers of the state as text, which preserves every bit, and infinity."""
        found = {name: repr(number) for name, number in self.numbers.items()}
        history = self.history
        return found | {"untimed": str(history.untimed or 0), "unweighted": str(history.unweighted or 0)}

    def load(self, arrays: dict[str, np.ndarray], numbers: dict[str, str]) -> None:
        """Fill an empty state from a file; ValueError or KeyError if the file is inconsistent."""
        found = {name: float(numbers.get(name, "0") if name == "dated" else numbers[name]) for name in self.numbers}
        for name, number in found.items():
            if math.isnan(number) or (math.isinf(number) and name in self._means):
                raise ValueError(f"{name} is {number}")
        self._means = {name: found[name] for name in self._means}
        self.global_mean = np.float32(found["global_mean"])
        self.range[:] = [found[name] for name in CHANGING]
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
