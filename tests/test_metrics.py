"""Metrics against their definitions, written out in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf.errors import DataError
from fastmf.metrics import UNRANKED, mae, ndcg, ndcg_by_row, ranks, rmse


def test_errors_by_hand():
    assert rmse([1, 2, 3], [1, 2, 6]) == pytest.approx(math.sqrt(3))
    assert mae([1, 2, 3], [1, 2, 6]) == pytest.approx(1)
    assert math.isnan(rmse([], []))
    assert math.isnan(mae([], []))


def test_errors_want_one_prediction_per_value():
    with pytest.raises(DataError, match="shape"):
        rmse([1, 2], [1])


def test_float32_input_is_summed_in_float64():
    actual = np.full(1_000_000, 0.1, np.float32)
    assert rmse(actual, np.zeros_like(actual)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_equal_scores_are_the_worst_place_not_the_best():
    scores = np.zeros((1, 100))
    assert ranks(scores, [0], [7]).tolist() == [100]
    assert ndcg(scores, [0], [7], k=10) == 0.0


def test_relevant_items_that_tie_share_the_places_after_the_irrelevant_ones():
    scores = [[0.5, 0.5, 0.5, 0.5, 0.9]]
    assert ranks(scores, [0, 0], [1, 2]).tolist() == [4, 5]


def test_items_without_a_score_are_no_candidates():
    scores = [[-np.inf, 0.1, np.nan, 0.3]]
    assert ranks(scores, [0, 0, 0], [0, 2, 1]).tolist() == [UNRANKED, UNRANKED, 2]
    assert ndcg([[-np.inf]], [0], [0], k=5) == 0.0


def test_perfect_order_of_graded_gains_is_one_and_its_reverse_is_less():
    gains = np.array([1.0, 2.0, 3.0])
    assert ndcg([gains], [0, 0, 0], [0, 1, 2], gains) == pytest.approx(1)
    best = 3 + 2 / math.log2(3) + 1 / 2
    worst = 1 + 2 / math.log2(3) + 3 / 2
    assert ndcg([-gains], [0, 0, 0], [0, 1, 2], gains) == pytest.approx(worst / best)


def test_ideal_order_is_cut_at_k_too():
    scores = -np.arange(5.0)[None]
    assert ndcg(scores, [0] * 5, range(5), k=2) == pytest.approx(1)


def test_nothing_relevant_is_not_a_number():
    assert math.isnan(ndcg([[1.0, 2.0]], [], []))
    assert math.isnan(ndcg([[1.0, 2.0]], [0], [1], gains=[0.0]))


@st.composite
def rankings(draw):
    queries, items = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    numbers = st.integers(-2, 2).map(float)
    scores = draw(st.lists(st.lists(numbers, min_size=items, max_size=items), min_size=queries, max_size=queries))
    pairs = draw(st.lists(st.tuples(st.integers(0, queries - 1), st.integers(0, items - 1)), min_size=1, unique=True))
    gains = draw(st.lists(st.sampled_from([1.0, 2.0]), min_size=len(pairs), max_size=len(pairs)))
    return scores, pairs, gains, draw(st.integers(1, 8))


@given(rankings())
def test_ndcg_equals_its_definition(case):
    scores, pairs, gains, k = case
    gain = dict(zip(pairs, gains, strict=True))
    values = []
    for row, line in enumerate(scores):
        relevant = [gain[row, item] for item in range(len(line)) if (row, item) in gain]
        if not relevant:
            continue
        order = sorted(range(len(line)), key=lambda item: (-line[item], gain.get((row, item), 0.0)))
        found = sum(gain.get((row, item), 0.0) / math.log2(place + 2) for place, item in enumerate(order[:k]))
        ideal = sum(g / math.log2(place + 2) for place, g in enumerate(sorted(relevant, reverse=True)[:k]))
        values.append(found / ideal)
    rows, columns = zip(*pairs, strict=True)
    assert ndcg(scores, rows, columns, gains, k) == pytest.approx(np.mean(values))


def test_rows_keep_their_own_values():
    rows, values = ndcg_by_row([2, 1, UNRANKED], [9, 2, 5], [1, 1, 1])
    assert rows.tolist() == [2, 5, 9]
    assert values == pytest.approx([1, 0, 1 / math.log2(3)])
