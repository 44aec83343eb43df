"""Metrics against their definitions, written out in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf import metrics
from fastmf.errors import DataError
from fastmf.metrics import UNRANKED, mae, ndcg, ndcg_by_row, ranks, rmse
from fastmf.metrics.positions import ranks_of_products

AT_K = ("ndcg", "recall", "precision", "map", "mrr", "hit_rate")


def test_errors_by_hand():
    assert rmse([1, 2, 3], [1, 2, 6]) == pytest.approx(math.sqrt(3))
    assert mae([1, 2, 3], [1, 2, 6]) == pytest.approx(1)
    assert math.isnan(rmse([], []))
    assert math.isnan(mae([], []))


def test_errors_want_one_prediction_per_value():
    with pytest.raises(DataError, match="shape"):
        rmse([1, 2], [1])


def test_logloss_by_hand():
    assert metrics.logloss([1, 0, 0.5], [0.5, 0.25, 0.5]) == pytest.approx(-(2 * math.log(0.5) + math.log(0.75)) / 3)
    assert math.isnan(metrics.logloss([], []))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_certain_mistake_costs_much_but_not_everything(dtype):
    predicted = np.array([0, 1], dtype)
    assert metrics.logloss([1, 0], predicted) == pytest.approx(-math.log(np.finfo(dtype).eps))
    assert metrics.logloss([0, 1], predicted) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("actual", "predicted", "name"), [([1, 2], [0, 1], "actual"), ([1, 1], [0, -0.5], "predicted")]
)
def test_logloss_names_what_is_no_probability(actual, predicted, name):
    with pytest.raises(DataError, match=rf"{name}, row 1: (2.0|-0.5) is outside \[0, 1\]"):
        metrics.logloss(actual, predicted)


def test_calibration_is_promised_over_observed():
    assert metrics.calibration([1, 0, 0, 1], [0.9, 0.1, 0.1, 0.9]) == pytest.approx(1)
    assert metrics.calibration([1, 0, 0, 1], [0.1, 0.9, 0.9, 0.1]) == pytest.approx(1)  # right on average only
    assert metrics.calibration([0, 2, 4], [3, 3, 3]) == pytest.approx(1.5)
    assert math.isnan(metrics.calibration([0, 0], [0.1, 0.2]))


def test_coverage_by_hand():
    assert metrics.coverage([[1, 2, 2], [1, -1, 9]], [1, 2, 3, 4]) == 0.5
    assert metrics.coverage(np.array([["a", "b"], ["a", ""]], object), np.array(["a", "b", "c", "d"], object)) == 0.5
    assert metrics.coverage([], [1, 2]) == 0.0
    assert math.isnan(metrics.coverage([1], []))


def test_novelty_by_hand():
    past = [1] * 4 + [2] * 2 + [3] * 2
    assert metrics.novelty([[1, 2], [3, -1]], past) == pytest.approx((1 + 2 + 2) / 3)
    text = np.array(["a", "b", "b", "b"], object)
    assert metrics.novelty(np.array([["a", ""]], object), text) == pytest.approx(2)
    assert math.isnan(metrics.novelty([[-1, 9]], past))
    assert math.isnan(metrics.novelty([[1]], []))


def test_float32_input_is_summed_in_float64():
    actual = np.full(1_000_000, 0.1, np.float32)
    assert rmse(actual, np.zeros_like(actual)) == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_equal_scores_are_the_worst_place_not_the_best():
    scores = np.zeros((1, 100))
    assert ranks(scores, [0], [7]).tolist() == [100]
    assert ndcg(scores, [0], [7], k=10) == 0.0


@pytest.mark.parametrize("metric", [*AT_K, "auc"])
def test_a_model_without_opinions_is_not_perfect(metric):
    """Counting only strictly better items as ahead would make every tie a hit."""
    scores, rows = np.zeros((20, 100)), np.arange(20)
    assert getattr(metrics, metric)(scores, rows, rows) == 0.0
    assert getattr(metrics, metric)(scores + np.eye(20, 100), rows, rows) > 0.09


@pytest.mark.parametrize("metric", [*AT_K, "auc"])
def test_an_item_without_a_score_is_not_found(metric):
    scores = np.array([[-math.inf, 1.0, 2.0], [-math.inf, 1.0, math.inf]])
    assert getattr(metrics, metric)(scores, [0, 1], [0, 0]) == 0.0


@pytest.mark.parametrize("metric", [*AT_K, "auc", "ranks"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_score_that_is_no_number_is_refused_wherever_it_stands(metric, dtype):
    """As scikit-learn refuses it: a model that has diverged must not be taken for one that ranks badly."""
    for row, column in ((0, 0), (1, 2), (2, 1)):
        scores = np.arange(9, dtype=dtype).reshape(3, 3)
        scores[row, column] = np.nan
        with pytest.raises(DataError, match=rf"scores, row {row}, column {column}: nan is no number"):
            getattr(metrics, metric)(scores, [0], [1])


@pytest.mark.parametrize("metric", AT_K)
def test_a_gain_that_is_no_number_is_refused(metric):
    with pytest.raises(DataError, match="gains, row 1: nan is no number"):
        getattr(metrics, metric)([[1.0, 2.0]], [0, 0], [0, 1], [1.0, math.nan])


def test_the_gain_of_a_place_must_be_a_number():
    with pytest.raises(DataError, match="gains, row 1: nan is no number"):
        ndcg_by_row([1, 2], [0, 0], [1.0, math.nan])


@pytest.mark.parametrize("metric", ["rmse", "mae", "logloss", "calibration"])
@pytest.mark.parametrize("name", ["actual", "predicted"])
def test_a_value_that_is_no_number_is_refused(metric, name):
    values = {"actual": np.ones(3), "predicted": np.ones(3, np.float32), name: np.array([1, 0.5, math.nan])}
    with pytest.raises(DataError, match=f"{name}, row 2: nan is no number"):
        getattr(metrics, metric)(**values)


def test_infinite_values_are_infinitely_wrong():
    assert rmse([1, 2], [1, math.inf]) == math.inf
    assert mae([1, -math.inf], [1, 2]) == math.inf
    assert metrics.calibration([1, 2], [1, math.inf]) == math.inf


def test_rows_whose_candidates_are_all_relevant_have_no_auc():
    scores = [[0.1, 0.2, -math.inf], [0.1, 0.2, 0.3]]
    assert math.isnan(metrics.auc(scores[:1], [0, 0], [0, 1]))
    assert metrics.auc(scores, [0, 0, 1], [0, 1, 1]) == 0.5


def test_what_is_no_place_in_the_table_is_named():
    for rows, columns, message in (
        ([0, 2], [0, 0], "rows, row 1: 2"),
        ([0, 0], [0, 3], "columns, row 1: 3"),
        ([-1], [0], "rows, row 0: -1"),
        ([0], [0, 1], "one of each"),
    ):
        with pytest.raises(DataError, match=message):
            ranks(np.zeros((2, 3)), rows, columns)
    with pytest.raises(DataError, match="scores has shape"):
        ranks(np.zeros(3), [0], [0])
    with pytest.raises(DataError, match="gains"):
        ndcg(np.zeros((2, 3)), [0, 1], [0, 0], [1.0])
    with pytest.raises(ValueError, match="k must be"):
        ndcg(np.zeros((2, 3)), [0], [0], k=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_scores_of_any_kind(dtype, order):
    scores = np.asarray(np.random.default_rng(0).integers(0, 9, (5, 40)), dtype, order=order)
    rows, columns = np.divmod(np.arange(0, 200, 7), 40)
    wanted = [
        np.sum(scores[r] >= scores[r, c]) - _tied_after(scores, rows, columns, n)
        for n, (r, c) in enumerate(zip(rows, columns, strict=True))
    ]
    assert ranks(scores, rows, columns).tolist() == wanted


def _tied_after(scores, rows, columns, n):
    later = [(r, c) for r, c in zip(rows[n + 1 :], columns[n + 1 :], strict=True) if r == rows[n]]
    return sum(scores[r, c] == scores[rows[n], columns[n]] for r, c in later)


@pytest.mark.parametrize("factors", [0, 1, 5, 16, 40])
@pytest.mark.parametrize("most", [None, 1, 5, 1_000])
def test_products_rank_as_their_scores(factors, most):
    """Whole numbers, so that every score is exact, and many tie."""
    random = np.random.default_rng(factors)
    points, vectors = random.integers(-1, 2, (70, factors)), random.integers(-1, 2, (150, factors))
    biases = random.integers(-2, 3, 150)
    kinds = random.choice(3, (70, 150), p=[0.8, 0.1, 0.1])
    kinds[3], kinds[5] = 0, 1  # nobody asks for anything; everything is excluded
    pairs, excluded = np.nonzero(kinds == 2), np.nonzero(kinds == 1)
    scores = np.where(kinds == 1, -np.inf, points @ vectors.T + biases)
    wanted = ranks(scores, *pairs)
    if most:
        wanted[wanted > most] = UNRANKED
    found = ranks_of_products(points, (vectors, biases), pairs, excluded, most)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("factors", [3, 32, 50])
def test_items_alike_tie_to_the_bit(factors):
    """Wherever an item stands, its score is the same; products of matrices do not promise that."""
    random = np.random.default_rng(factors)
    points, vectors = random.normal(size=(40, factors)), np.tile(random.normal(size=factors), (77, 1))
    pairs, nothing = (np.arange(40), np.arange(40)), (np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert (ranks_of_products(points, (vectors, np.full(77, 0.1)), pairs, nothing) == 77).all()


def test_products_that_are_no_numbers_are_not_found():
    points, vectors = np.array([[1.0], [math.nan]]), np.array([[math.nan], [3.0], [2.0]])
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    pairs = np.array([0, 0, 1]), np.array([0, 2, 1])
    found = ranks_of_products(points, (vectors, np.zeros(3)), pairs, nothing)
    assert found.tolist() == [UNRANKED, 2, UNRANKED]


def test_products_on_several_threads_and_in_pieces(monkeypatch):
    random = np.random.default_rng(1)
    points, vectors, biases = random.normal(size=(90, 20)), random.normal(size=(100, 20)), random.normal(size=100)
    pairs = np.divmod(np.sort(random.permutation(9_000)[:700]), 100)
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    whole = ranks_of_products(points, (vectors, biases), pairs, nothing, 20, threads=1)
    monkeypatch.setattr("fastmf.metrics.positions._PARALLEL_FROM", 0)
    monkeypatch.setattr("fastmf.metrics.positions._CHUNK", 70_000)  # some twenty rows
    np.testing.assert_array_equal(ranks_of_products(points, (vectors, biases), pairs, nothing, 20, threads=2), whole)


def test_several_threads_count_the_same(monkeypatch):
    random = np.random.default_rng(1)
    scores = random.integers(0, 50, (30, 200)).astype(np.float32)
    rows, columns = np.divmod(random.permutation(6_000)[:900], 200)
    alone = ranks(scores, rows, columns, threads=1)
    monkeypatch.setattr("fastmf.metrics.positions._PARALLEL_FROM", 0)
    np.testing.assert_array_equal(ranks(scores, rows, columns, threads=2), alone)


def test_relevant_items_that_tie_share_the_places_after_the_irrelevant_ones():
    scores = [[0.5, 0.5, 0.5, 0.5, 0.9]]
    assert ranks(scores, [0, 0], [1, 2]).tolist() == [4, 5]


def test_items_without_a_score_are_no_candidates():
    scores = [[-np.inf, 0.1, -np.inf, 0.3]]
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


def test_the_order_of_the_pairs_is_of_no_account():
    random = np.random.default_rng(2)
    scores = random.integers(0, 4, (6, 30)).astype(float)
    rows, columns = np.divmod(random.permutation(180)[:50], 30)
    gains = random.integers(0, 3, 50)
    shuffled = random.permutation(50)
    for metric in AT_K:
        one = getattr(metrics, metric)(scores, rows, columns, gains, 5)
        assert one == pytest.approx(
            getattr(metrics, metric)(scores, rows[shuffled], columns[shuffled], gains[shuffled], 5)
        )
