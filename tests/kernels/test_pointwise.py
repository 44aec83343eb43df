"""Per-event training and measuring against plain NumPy, bit for bit, and parallel compilation against serial."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import naive
import numba
import numpy as np
import pytest
from twins import COUNTS, Twins

from fastmf import losses, optimizers, regularizers
from fastmf.devices import runner
from fastmf.kernels.train import pointwise
from fastmf.log.events import Events
from fastmf.log.sorting import sort_by_user
from fastmf.plan import Plan, deal

ROUNDED = {"Logistic", "Poisson"}  # they go through exp and tanh, which no standard rounds the same everywhere


@pytest.mark.parametrize(
    "size", [3, 8, 16, 17, 64, 100, *(pytest.param(one, marks=pytest.mark.slow) for one in (1, 9, 32, 48))]
)
def test_epochs_equal_naive(size: int) -> None:
    twins = Twins(size)
    plan = Plan.single(twins.events(120), COUNTS["users"])
    for epoch in range(2):
        lost, expected = twins.run(plan, epoch)
        assert lost == pytest.approx(expected)
    twins.assert_equal()


@pytest.mark.parametrize(
    "loss",
    [losses.Squared(), losses.Huber(), losses.Huber(0.4), losses.Logistic(), losses.Poisson()],
    ids=str,
)
def test_every_loss_equals_naive(loss: Any) -> None:
    twins = Twins(8, loss, optimizers.SGD(0.05), regularizers.L2(0.01))
    lost, expected = twins.run(Plan.single(twins.events(120), COUNTS["users"], "arrival"))
    assert lost == pytest.approx(expected)
    twins.assert_equal(1e-5 if type(loss).__name__ in ROUNDED else 0)


@pytest.mark.parametrize("solver", [optimizers.SGD(0.03), optimizers.AdaGrad(0.03)], ids=str)
def test_without_biases_equals_naive(solver: Any) -> None:
    twins = Twins(17, losses.Squared(), solver, regularizers.L2(0.01), biases=False)
    records = {side: rows.records.copy() for side, rows in twins.working.now.items()}
    twins.run(Plan.single(twins.events(120), COUNTS["users"]))
    twins.assert_equal()
    for side, before in records.items():
        np.testing.assert_array_equal(twins.working.now[side].records[:, 0], before[:, 0])


@pytest.mark.parametrize("size", [9, 40])
@pytest.mark.parametrize("movable", [{"users": 5, "items": 0}, {"users": 0, "items": 4}, {"users": 7, "items": 6}])
def test_only_movable_rows_move(movable: dict[str, int], size: int) -> None:
    twins = Twins(size, movable=movable)
    before = {side: rows.copy() for side, rows in twins.working.now.items()}
    twins.run(Plan.single(twins.events(200), COUNTS["users"]))
    twins.assert_equal()
    for side, count in movable.items():
        for now, then in zip(twins.working.now[side], before[side], strict=True):
            np.testing.assert_array_equal(now[count:], then[count:])
            assert (now[:count] != then[:count]).any(axis=1).all()


class Stay(NamedTuple):
    """Draws rows to where they were before the update."""

    weight: float = 0.3

    def gradient(self, row: Any, anchor: Any) -> Any:
        return self.weight * (row - anchor)

    def check(self) -> None:
        pass


@pytest.mark.parametrize("size", [3, 40])
def test_origin_is_the_row_before_the_update(size: int) -> None:
    values = (losses.Squared(), optimizers.SGD(0.05), Stay(0.3))
    likes = (naive.squared(), naive.sgd(0.05), lambda row, anchor: np.float32(0.3) * (row - anchor))
    twins = Twins(size, *values, movable={"users": 9, "items": 11}, likes=likes)
    plan = Plan.single(twins.events(120), COUNTS["users"])
    for epoch in range(2):
        twins.run(plan, epoch)
    twins.assert_equal()


class Normalised(NamedTuple):
    """Divides a gradient by its length, to which all lanes contribute."""

    rate: float = 0.05

    def state(self, k: int) -> int:
        return 0

    def step(self, row: Any, gradient: Any, memory: Any) -> Any:
        pace = self.rate * ((gradient * gradient).mean(memory) + 1).rsqrt()
        return row - pace.spread(row) * gradient, memory

    def check(self) -> None:
        pass


def normalised(row: np.ndarray, gradient: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = naive.total(gradient * gradient) * np.float32(1 / row.size)
    return row - np.float32(0.05) * (np.float32(1) / np.sqrt(mean + np.float32(1))) * gradient, memory


@pytest.mark.parametrize("size", [9, 100])
def test_a_step_that_sums_over_the_row_gets_the_whole_row(size: int) -> None:
    values, likes = (losses.Squared(), Normalised(), regularizers.L2()), (naive.squared(), normalised)
    twins = Twins(size, *values, likes=(*likes, naive.like(regularizers.L2())))
    twins.run(Plan.single(twins.events(120), COUNTS["users"]))
    twins.assert_equal()


def blocked(events: Events, bands: int, in_flight: int = 4) -> Plan:
    by_user, starts = sort_by_user(events, COUNTS["users"])
    return Plan.blocked(by_user, starts, deal(COUNTS["items"], bands, seed=1), bands, in_flight)


@pytest.mark.parametrize("in_flight", [1, 2, 4])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_plan_in_blocks_holds_every_event_once(bands: int, in_flight: int) -> None:
    events = Twins(9).events(301)
    plan = blocked(events, bands, in_flight)
    before, after = (np.lexsort(some[:4]) for some in (events, plan.events))
    for column, arranged in zip(events[:4], plan.events[:4], strict=True):
        np.testing.assert_array_equal(arranged[after], column[before])
    for first, last in itertools.pairwise(plan.bounds):
        whole = (last - first) // in_flight * in_flight
        parts = plan.events.users[first : first + whole].reshape(-1, in_flight)
        assert (np.diff(parts.T.ravel()) >= 0).all()  # user after user, part after part
        assert (np.diff(plan.events.users[first + whole : last]) >= 0).all()
    for first, last in itertools.pairwise(plan.strata):
        for name in ("users", "items"):
            rows = [set(getattr(plan.events, name)[plan.bounds[b] : plan.bounds[b + 1]]) for b in range(first, last)]
            assert sum(map(len, rows)) == len(set().union(*rows))


@pytest.mark.parametrize("in_flight", [2, 4, 8])
def test_a_plan_without_blocks_has_parts_side_by_side(in_flight: int) -> None:
    twins = Twins(9)
    events = twins.events(301)
    plan, whole = Plan.single(events, COUNTS["users"], "user", in_flight), 301 // in_flight * in_flight
    parts = [column[:whole].reshape(-1, in_flight).T.ravel() for column in plan.events[:4]]
    found = [np.concatenate([part, column[whole:]]) for part, column in zip(parts, plan.events[:4], strict=True)]
    for one, other in zip(found, Plan.single(events, COUNTS["users"]).events[:4], strict=True):
        np.testing.assert_array_equal(one, other)
    lost, expected = twins.run(plan)
    assert lost == pytest.approx(expected)
    twins.assert_equal()


@pytest.mark.parametrize("width", [16, 1 << 40], ids=["narrow", "one event is too much"])
def test_pieces_cover_the_strata_in_order(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("fastmf.plan._PIECE", 100)
    monkeypatch.setattr("fastmf.plan._CHUNK", 1_600)
    events = Twins(9).events(301)
    for plan in (blocked(events, 4), Plan.single(events, 13), Plan.single(events, 13).after(events)):
        pieces = list(plan.pieces(width))
        assert len(pieces) > 1
        assert [first for first, _ in pieces[1:]] == [last for _, last in pieces[:-1]]
        assert (pieces[0][0], pieces[-1][1]) == (0, len(plan.bounds) - 1)
        assert set(itertools.chain(*pieces)) <= set(plan.strata.tolist())


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_blocks_run_in_the_order_of_the_plan(in_flight: int) -> None:
    twins = Twins(9)
    plan = blocked(twins.events(301), 3, in_flight)
    for epoch in range(3):
        lost, expected = twins.run(plan, epoch)
        assert lost == pytest.approx(expected)
    twins.assert_equal()


@pytest.mark.parametrize("loss", [losses.Squared(), losses.Logistic()], ids=str)
def test_measure_equals_naive_and_moves_nothing(loss: Any) -> None:
    twins = Twins(17, loss, optimizers.SGD(), regularizers.L2())
    events = twins.events(150)
    expected = twins.naive.measure(naive.Events(*events[:4]))
    assert runner("measure")(twins.working, events, twins.objective) == pytest.approx(expected)
    twins.assert_equal()


def test_parallel_compilation_gives_the_bits_of_the_serial_one(monkeypatch: pytest.MonkeyPatch) -> None:
    serial, parallel = Twins(17), Twins(17)
    plan = blocked(serial.events(500), 4)
    expected = serial.run(plan)[0]
    compiled = pointwise.epoch(parallel.shape, parallel.objective.classes, plan.in_flight, True)
    monkeypatch.setattr(pointwise, "epoch", lambda *_: compiled)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert parallel.run(plan)[0] == expected
    finally:
        numba.set_num_threads(threads)
    parallel.assert_equal()


def test_strata_on_two_threads_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Twins(17), Twins(17)
    plan = blocked(one.events(200_000), 4)
    for epoch in range(3):
        order = plan.block_order(0, epoch)
        lost = [
            runner("steps")(twins.working, plan, twins.objective, COUNTS, order, threads)
            for twins, threads in ((one, 1), (two, 2))
        ]
        assert lost[0] == lost[1]
    for side in COUNTS:
        for expected, found in zip(one.working.now[side], two.working.now[side], strict=True):
            np.testing.assert_array_equal(found, expected)
