"""Deterministic fits of losses with negatives, on any number of threads: blocks, and item bands to draw from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import naive
import numpy as np
import pytest
from positives import EVENTS, Past, assert_equals_twin, in_flight, model_of, pool_of, some_positives, twin_of
from strategies import assert_same, bits

from fastmf import MF, Options, losses, samplers

BANDS = 3


@pytest.fixture
def in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small deterministic fits are trained block by block, as large ones are."""
    for room in ("fastmf.model.learning", "fastmf.plan"):
        monkeypatch.setattr(f"{room}.PARALLEL_FROM", 1)
    monkeypatch.setattr("fastmf.plan._BANDS", BANDS)
    monkeypatch.setattr("fastmf.learners.compare.FEWEST", 4)


def deterministic(loss: Any, threads: int = 1, **others: Any) -> MF:
    return model_of(loss, options=Options(threads=threads, deterministic=True), **others)


def in_blocks(past: Past, items: int, epoch: int) -> Iterable[tuple[list[int], list[tuple[int, int, int, Any]]]]:
    """The blocks of an epoch in order: the items of the band of each, and its events with their places."""
    shuffled = np.random.default_rng([3, epoch, BANDS]).permutation(items).tolist()
    item_band = [shuffled.index(item) * BANDS // items for item in range(items)]
    ordered, blocks = past.by_user(), []
    user_band = [ordered.users.index(user) * BANDS // len(ordered.users) for user in range(max(ordered.users) + 1)]
    for apart in range(BANDS):
        for band in range(BANDS):
            members = [item for item in range(items) if item_band[item] == (band + apart) % BANDS]
            events = zip(*ordered, strict=True)
            blocks.append((members, [one for one in events if user_band[one[0]] == band and one[1] in members]))
    ends = [0, *itertools.accumulate(len(events) for _, events in blocks)]
    for apart in np.random.default_rng([3, epoch]).permutation(BANDS):
        for number in range(apart * BANDS, (apart + 1) * BANDS):
            members, events = blocks[number]
            yield members, [(ends[number] + n, *event) for n, event in enumerate(events)]


@pytest.mark.usefixtures("in_bands")
@pytest.mark.parametrize(
    "loss",
    [
        losses.WARP(margin=0.3, trials=4),
        losses.SampledSoftmax(4, sampler=samplers.InBatch(), allow_seen=True),
        pytest.param(losses.Logistic(negatives=2, calibration=0.7, sampler=samplers.Popular()), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_deterministic_fit_equals_naive(loss: Any) -> None:
    events = some_positives(2 * EVENTS, users=40)
    model = deterministic(loss).fit(events, epochs=2)
    start = model_of(loss).fit(events, epochs=0)
    past, items = Past.of(model, events), len(model.items)
    twin = twin_of(start, (range(len(model.users)), range(items)))
    for epoch in range(2):
        lost = 0.0
        for members, placed in in_blocks(past, items, epoch):
            pool = pool_of(loss, items, past, past)._replace(band=members, tabled=True)
            lost += twin.epoch(placed, naive.draw(3, epoch, 0), past.known(), pool, in_flight(loss))
        assert model.history_[epoch]["loss"] == pytest.approx(lost / float(np.sum(past.weights)), rel=1e-5)
    assert_equals_twin(model, twin)


@pytest.mark.usefixtures("in_bands")
@pytest.mark.parametrize("validation", [0.0, 0.2])
@pytest.mark.parametrize(
    "loss",
    [
        losses.WARP(margin=0.3, trials=4),
        losses.SampledSoftmax(3, sampler=samplers.InBatch()),
        pytest.param(losses.Softmax(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_deterministic_fits_do_not_depend_on_threads(loss: Any, validation: float) -> None:
    events = some_positives(1_000, users=200)
    found = [
        deterministic(loss, threads).fit(events, epochs=2, validation=validation, progress=False)
        for threads in (1, 2, 8)
    ]
    for model in found[1:]:
        assert_same(bits(model), bits(found[0]), but=("settings", "epochs", "lineage"))
        assert [record["loss"] for record in model.history_] == [record["loss"] for record in found[0].history_]


@pytest.mark.usefixtures("in_bands")
def test_a_band_of_items_that_were_held_out_is_drawn_from_evenly() -> None:
    """Nearly all events are held out, so that some bands have no item with an event to learn from."""
    events = some_positives(300, users=40)
    model = deterministic(losses.SampledSoftmax(2, sampler=samplers.InBatch())).fit(events, epochs=2, validation=0.98)
    assert np.isfinite([model.history_[-1]["loss"], model.history_[-1]["validation"]]).all()
