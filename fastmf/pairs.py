"""Pairs: single predictions, lock-free while another thread changes the model.

Passing many arrays to a kernel costs more than a prediction, so the kernel gets one array of addresses, the ledger (see
kernels/train/ledger.py). It returns NaN if the state changes meanwhile; then the prediction is repeated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmf.errors import DataError
from fastmf.interactions import columns
from fastmf.kernels.core.bridge import entry_point
from fastmf.kernels.train import online
from fastmf.kernels.train.ledger import ITEMS, LEDGER_SIZE, SHARED, USERS, SharedEntries, SideEntries, write
from fastmf.parameters.table import Table
from fastmf.state import State

__all__ = ["PARTS", "Pairs", "key_of", "lookup_of", "unknown_of"]

PARTS = {"users": USERS, "items": ITEMS}


class _Now(NamedTuple):
    """A ledger, whether kernels look up ids by row, and references that keep the tables of the ledger alive."""

    ledger: np.ndarray
    text: bool
    tables: tuple[Any, ...]

    @property
    def outdated(self) -> bool:
        """Whether arrays may have been replaced since."""
        return any(lookup["moved"][0] != lookup["moved_at"] for lookup in self.tables)


class Pairs:
    """Single predictions for the pairs of a state.

    Parameters
    ----------
    state : State
        The state of the model.
    objective : Objective
        Its loss maps scores to predictions.
    """

    def __init__(self, state: State, objective: Any) -> None:
        table = state.users.table
        self._state, self._mean, self._loss = state, state.global_mean, objective.loss
        self._on_scale = objective.on_scale
        half = table.layout.storage == "float16"
        kernel = online.predict(table.shape, half, objective.classes[0], objective.moderated)
        self._now = self._look()
        self._call = entry_point(kernel, self._now.ledger, 0, 0, self._mean, self._loss, True)

    def predict(self, user: Any, item: Any, clip: bool) -> float:
        """Predict a pair; clip to the range of values seen if `clip`."""
        ledger, text, _tables = self._now
        if type(user) is int and type(item) is int and not text:
            try:
                found = self._call(ledger, user, item, self._mean, self._loss, clip and self._on_scale)
            except OverflowError as error:
                raise DataError(f"users, items, row 0: {user} or {item} does not fit int64") from error
            if found == found:
                return found  # type: ignore[no-any-return]
        return self._state.ask(lambda: self._predict(user, item, clip and self._on_scale))

    def _predict(self, user: Any, item: Any, clip: bool) -> float:
        while True:
            self._now = now = self._look()
            rows = (key_of(self._state, side, one) for side, one in (("users", user), ("items", item)))
            found = self._call(now.ledger, *rows, self._mean, self._loss, clip)
            if found == found or not now.outdated:
                return found  # type: ignore[no-any-return]

    def _look(self) -> _Now:
        """Make a ledger of the present addresses."""
        state, ledger, tables = self._state, np.zeros(LEDGER_SIZE, np.int64), []
        for side, part in PARTS.items():
            table, lookup = state.side(side).table, lookup_of(state, side)
            unknown, parts = unknown_of(table), table.parts
            tables.append(lookup | unknown | {"parts": parts})
            named = dict(zip(("factors", "records", "further"), parts[:3], strict=False))
            write(ledger, part, SideEntries(**named, **lookup, **unknown))
        write(ledger, SHARED, SharedEntries(changes=state.gate.changes, range=state.range))
        return _Now(ledger, any(found["by_row"] for found in tables), tuple(tables))


def key_of(state: State, side: str, one: Any) -> int:
    """Return the key of an id in kernels: the id itself if ids are int, otherwise its row."""
    ids, known = columns.ids(side, [one]), state.side(side).ids
    known.require_kind(ids, side)
    return int(ids[0]) if ids.dtype != object else int(known.find(ids)[0])


def unknown_of(table: Table) -> dict[str, Any]:
    """Return the entries of a side's part of a ledger for the row that stands for an unknown id."""
    names = ("unknown", "unknown_record", "unknown_further")
    return dict(zip(names, table.unknown[:3], strict=False))


def lookup_of(state: State, side: str) -> dict[str, Any]:
    """Return the entries of a side's part of a ledger that kernels need to look up ids."""
    ids = state.side(side).ids
    moved = int(ids.moved[0])  # read before the tables, which may be replaced in between
    slots, older = ids.tables
    tables = {"slots": slots, "slots_size": slots.size, "older": older, "older_size": older.size}
    return tables | {"by_row": ids.kind == "str", "moved": ids.moved, "moved_at": moved}
