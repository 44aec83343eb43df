"""What every Interactions must be, whatever it was made from."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmf.interactions import Interactions

MIDNIGHT = 1_577_836_800_000_000  # 2020-01-01 UTC in microseconds


def columns_of(events: Interactions) -> list[list[Any] | None]:
    arrays = (events.users, events.items, events.values, events.times, events.weights)
    return [None if array is None else array.tolist() for array in arrays]


def assert_canonical(events: Interactions) -> None:
    assert events.users.dtype in (np.int64, object)
    assert events.items.dtype in (np.int64, object)
    assert events.values.dtype == np.float32
    for array in (events.users, events.items, events.values, events.times, events.weights):
        if array is not None:
            assert array.shape == (len(events),)
            assert array.flags.c_contiguous
            assert not array.flags.writeable
            if array.dtype == object:
                assert {type(cell) for cell in array} <= {str}
