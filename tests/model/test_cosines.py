"""Rows alike: a cosine does not depend on length, however short or long rows are, and is never beyond 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastmf import MF, Interactions, Options, losses

ROWS = np.random.default_rng(0).normal(size=(150, 20))
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def cosines_of(rows: np.ndarray) -> np.ndarray:
    """In double precision, of what float32 keeps."""
    kept = rows.astype(np.float32).astype(float)
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    units = kept / np.where(lengths > 0, lengths, 1)
    return units @ units.T


def assert_cosines(model: MF, rows: np.ndarray, side: str = "items") -> None:
    wanted = cosines_of(rows)
    alike = getattr(model, f"similar_{side}")(np.arange(len(rows)), k=len(rows))
    assert alike.lengths.tolist() == [len(rows) - 1] * len(rows)
    for row, (ids, scores) in enumerate(zip(alike.ids, alike.scores, strict=True)):
        np.testing.assert_allclose(scores[:-1], wanted[row][ids[:-1]], atol=1e-5)
        assert (np.diff(scores[:-1]) <= 0).all()
        assert np.abs(scores[:-1]).max() <= 1


@pytest.mark.parametrize("side", ["users", "items"])
@pytest.mark.parametrize("scale", [1, 1e-12, 1e-20, 1e-30, 1e-37, 1e-41, 1e12, 1e20, 1e37])
def test_rows_of_any_length(side: str, scale: float) -> None:
    rows = ROWS[:70] * scale
    one = np.ones((1, 20))
    model = MF.from_factors(rows, one) if side == "users" else MF.from_factors(one, rows)
    assert_cosines(model, rows, side)


@pytest.mark.parametrize(("low", "high"), [(-38, 37), (-45, -20), (10, 37), (-14, -10), (10, 14)])
def test_rows_of_many_lengths(low: float, high: float) -> None:
    rows = ROWS * 10.0 ** np.random.default_rng(1).uniform(low, high, (len(ROWS), 1))
    rows[7] = 0
    assert_cosines(MF.from_factors(np.ones((1, 20)), rows), rows)


def test_the_shortest_rows_there_are() -> None:
    rows = np.zeros((4, 3))
    rows[0, 0], rows[1, 0], rows[2, 1] = SMALLEST, 1, SMALLEST
    alike = MF.from_factors(np.ones((1, 3)), rows).similar_items([0, 3], k=3)
    assert alike.ids[0].tolist() == [1, 2, 3]
    assert alike.scores.tolist() == [[1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_parallel_rows_are_not_more_than_alike(scale: float) -> None:
    for seed in range(20):
        row = np.random.default_rng(seed).normal(size=16) * scale
        alike = MF.from_factors(np.ones((1, 16)), np.array([row, 3 * row, -row])).similar_items([0], k=2).scores[0]
        assert alike.max() <= 1
        assert alike.min() >= -1
        np.testing.assert_allclose(alike, [1, -1], atol=1e-6)


def test_half_precision() -> None:
    rows = (ROWS[:40] * 1e-3).astype(np.float16).astype(float)
    assert_cosines(MF.from_factors(np.ones((1, 20)), rows, options=Options(storage="float16")), rows)


def test_items_out_of_season() -> None:
    rng = np.random.default_rng(0)
    times, group = np.sort(rng.integers(0, 400, 4_000)), rng.integers(0, 2, 4_000)
    users, items = group * 30 + rng.integers(0, 30, 4_000), np.where(times < 200, 0, 20) + rng.integers(0, 20, 4_000)
    events = Interactions(users, items, times=times)
    for half_life in (20.0, 5.0, 2.5):
        settings: dict[str, Any] = {"factors": 8, "loss": losses.Confidence()}
        model = MF(**settings).fit(events, half_life=half_life, progress=False)
        wanted = cosines_of(model.item_factors)
        for item in (3, 30):
            row = model.items.rows([item])[0]
            others = np.delete(wanted[row], row)
            assert model.similar_items([item], k=1).scores[0, 0] == pytest.approx(others.max(), abs=1e-5)
