"""What the plain variational reference has to hold by itself: the bound, unchanged scores, recursive least squares."""

from __future__ import annotations

import numpy as np
import pytest
import variational as plain
from hypothesis import given
from hypothesis import strategies as st


def a_problem(seed: int, users: int = 9, items: int = 7, k: int = 3, events: int = 60) -> tuple:
    rng = np.random.default_rng(seed)

    def side(count: int) -> plain.Side:
        square = rng.normal(0, 0.5, (k + 1, k + 1))
        covariance = square @ square.T + 0.3 * np.eye(k + 1)
        means, variances = rng.normal(0, 1, (count, k + 1)), rng.uniform(0.05, 0.5, (count, k + 1))
        return plain.Side(means, variances, rng.normal(0, 0.3, k + 1), covariance, np.ones((count, 2)))

    own, other = rng.integers(0, users - 1, events), rng.integers(0, items - 1, events)  # the last have none
    log = plain.Log(own, other, rng.normal(0, 1, events), rng.uniform(0.2, 2, events))
    return side(users), side(items), log


@given(st.integers(0, 2**32))
def test_the_bound_never_falls_while_hyper_parameters_are_held(seed: int) -> None:
    users, items, log = a_problem(seed)
    bounds = [plain.bound(users, items, log, 0.7)]
    for _ in range(5):
        users, _ = plain.solve_side(users, items, log, 0.7)
        bounds.append(plain.bound(users, items, log, 0.7))
        items, _ = plain.solve_side(items, users, log.turned(), 0.7)
        bounds.append(plain.bound(users, items, log, 0.7))
    assert (np.diff(bounds) > -1e-9 * np.abs(bounds[:-1])).all()


@given(st.integers(0, 2**32))
def test_a_rotation_changes_no_score_and_makes_both_priors_diagonal_and_equal(seed: int) -> None:
    users, items, _ = a_problem(seed)

    def scores(users: plain.Side, items: plain.Side) -> np.ndarray:
        return users.means[:, :-1] @ items.means[:, :-1].T + users.means[:, -1:] + items.means[:, -1]

    turned = plain.rotated(users, items)
    np.testing.assert_allclose(scores(*turned), scores(users, items), atol=1e-8)
    np.testing.assert_allclose(np.diag(turned[0].prior)[:-1], np.diag(turned[1].prior)[:-1])
    rows = [side._replace(means=np.vstack([side.prior_mean])) for side in (users, items)]
    again = [side._replace(means=np.vstack([side.prior_mean])) for side in turned]
    np.testing.assert_allclose(scores(*again), scores(*rows), atol=1e-8)
    assert all((np.diag(np.diag(side.prior)) == side.prior).all() for side in turned)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_side_certain_the_full_pass_is_recursive_least_squares(seed: int) -> None:
    users, items, log = a_problem(seed)
    certain = items._replace(variances=np.zeros_like(items.variances))
    solved, _ = plain.solve_side(users, certain, log, 0.7)
    z = plain.design(items.means, True)
    for row in range(len(users.means) - 1):
        mine, mean, covariance = log.of(row), users.prior_mean, users.prior
        for other, value, weight in zip(mine.other, mine.values, mine.weights, strict=True):
            error = value - items.means[other, -1] - mean @ z[other]
            mean, covariance = plain.learn_row(mean, covariance, z[other], error, 0.7 / weight)
        np.testing.assert_allclose(mean, solved.means[row], atol=1e-9)
        np.testing.assert_allclose(1 / np.diag(np.linalg.inv(covariance)), solved.variances[row], atol=1e-9)
