"""No result depends on what memory holds that has not been written: all bits are the same whatever it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, Options, Update
from fastmf.losses import BPR, Confidence, Logistic, Squared
from fastmf.optimizers import ALS, AdaGrad, Variational
from fastmf.regularizers import L2

EMPTY = np.empty
MODELS = {
    "steps": lambda: MF(5, solver=AdaGrad()),
    "minibatches": lambda: MF(20, solver=AdaGrad()),
    "pairs": lambda: MF(5, loss=BPR()),
    "Cholesky": lambda: MF(5, loss=Confidence()),
    "conjugate gradients": lambda: MF(5, loss=Confidence(), solver=ALS(method="cg")),
    "coordinates": lambda: MF(5, loss=Confidence(), solver=ALS(method="eals")),
    "ratings": lambda: MF(5, loss=Squared(), solver=ALS(), regularizer=L2(1e-7)),
    "beliefs": lambda: MF(5, solver=Variational()),
    "labels": lambda: MF(5, loss=Logistic(), solver=Variational()),
}


@pytest.mark.parametrize("name", MODELS)
def test_results_do_not_depend_on_what_empty_arrays_hold(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(127)
    users, items = rng.integers(0, 40, 1500), rng.integers(0, 9, 1500)
    values = rng.normal(size=40)[users] + rng.normal(size=9)[items]  # without noise: float32 is not enough for beliefs
    if name in ("pairs", "Cholesky", "conjugate gradients", "coordinates"):
        values = np.abs(values)
    events = Interactions(users, items, values=values > 0 if name == "labels" else values)
    found = [results(MODELS[name](), events, 256 if name == "minibatches" else None)]  # compiles all kernels
    for byte in (0xFF, 0x7F):  # NaN and 3.4e38 as float32, -1 and 2139062143 as int32
        monkeypatch.setattr(np, "empty", holding(byte))
        found.append(results(MODELS[name](), events, 256 if name == "minibatches" else None))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def holding(byte: int) -> Any:
    """`numpy.empty` of an allocator whose memory is full of one byte."""

    def empty(*args: Any, **kwargs: Any) -> np.ndarray:
        array = EMPTY(*args, **kwargs)
        if array.dtype != object and array.flags.c_contiguous:
            array.reshape(-1).view(np.uint8)[:] = byte
        return array

    return empty


def results(model: MF, events: Interactions, batch_size: int | None) -> list[np.ndarray]:
    """What a model holds and answers after all kinds of training."""
    model.set_params(options=Options(threads=1))
    model.fit(events[:1200], progress=False, **({"epochs": 3, "batch_size": batch_size} if batch_size else {}))
    model.update(events[1200:1400])
    model.update(Interactions([100, 100, 0], [0, 50, 50], values=events.values[:3]), Update(trainable="users"))
    for n in range(1400, 1400 if isinstance(model.loss, BPR) else 1420):  # a single event has no negatives
        model.learn_one(int(events.users[n]), int(events.items[n]), float(events.values[n]))
    ids, scores = model.recommend([0, 1, 100, 999], k=4)
    groups = [model._state.groups[side] for side in ("users", "items")]
    whole = [part for group in groups for part in group.table.gather(np.arange(len(group.ids)))]  # with its padding
    return [*whole, model.predict([0, 1, 100], [1, 2, 3]), np.asarray(ids).astype(str), scores]
