"""Vectors that were trained elsewhere become rows of `Variational`: how sure these are, and that they learn on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same, content

from fastmf import MF, Interactions, Options, load, losses, optimizers
from fastmf.errors import DataError
from fastmf.integrations import from_npz

SIDES = ("users", "items")
FACTORS, USERS, ITEMS = 5, 60, 40
RNG = np.random.default_rng(0)
P, Q = RNG.normal(0.2, 0.5, (USERS, FACTORS)), RNG.normal(0, 0.5, (ITEMS, FACTORS))
B, C = RNG.normal(0, 0.3, USERS), RNG.normal(0.1, 0.3, ITEMS)
BIASES = {"user_biases": B, "item_biases": C, "global_mean": 3.5}


def imported(p: Any = P, q: Any = Q, **settings: Any) -> MF:
    return MF.from_factors(p, q, **{"solver": optimizers.Variational()} | settings)


def events(count: int = 2000, seed: int = 1, noise: float = 0.4) -> Interactions:
    """Ratings of users whose rows are not quite those given."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(5)
    p, q = P + truth.normal(0, 0.25, P.shape), Q + truth.normal(0, 0.25, Q.shape)
    u, i = rng.integers(0, USERS, count), rng.integers(0, ITEMS, count)
    return Interactions(u, i, 3.5 + B[u] + C[i] + (p[u] * q[i]).sum(axis=1) + rng.normal(0, noise, count))


def error(model: MF, asked: Interactions) -> float:
    return float(np.sqrt(np.mean((model.predict(asked.users, asked.items) - asked.values) ** 2)))


def variances_of(model: MF, side: str) -> np.ndarray:
    factors, records, variances = model._state.side(side).table.whole()
    assert not variances[:, factors.shape[1] :].any()
    assert (records[:, 2:] == (1, 10, 0, 0)).all()
    return np.column_stack([variances[:, : model.factors], records[:, 1]]).astype(float)


# ------------------------------------------------------------------------------------------------- how sure rows are


def expected(counts: dict[str, np.ndarray], biases: bool, given: Any, mean: float) -> tuple[dict[str, Any], float]:
    """Priors and variances in plain NumPy, and the noise."""
    rows = {side: np.column_stack(one) for side, one in zip(SIDES, given, strict=True)}
    scores = rows["users"][:, :-1] @ rows["items"][:, :-1].T + rows["users"][:, -1:] + rows["items"][:, -1] + mean
    noise = 0.65 / 0.35 * scores.var()
    priors, unsure = {}, {side: np.zeros_like(one) for side, one in rows.items()}
    for side, one in rows.items():
        further = np.full(FACTORS + 1, (one[:, :-1] ** 2).mean())
        further[-1] = 0.16 / 0.35 * scores.var() * biases
        priors[side] = (len(one) * one.var(axis=0) + further) / (len(one) + 1)
        if not one[:, -1].any():
            priors[side][-1] = further[-1]
    for _ in range(10):
        for side, other in (SIDES, SIDES[::-1]):
            weights = counts[other] if counts[other].any() else np.ones(len(counts[other]))
            seen = np.average(rows[other] ** 2 + unsure[other], axis=0, weights=weights)
            seen[-1] = 1
            for n, count in enumerate(counts[side]):
                for f in range(FACTORS + biases):
                    unsure[side][n, f] = 1 / (1 / priors[side][f] + count * seen[f] / noise)
    return {side: (rows[side].mean(axis=0), priors[side], unsure[side]) for side in SIDES}, noise


@pytest.mark.parametrize("biases", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("counts", [None, 3, 0, "each", {"users": 7}], ids=str)
def test_variances_are_those_of_plain_numpy(biases: bool, counts: Any) -> None:
    each = {"users": np.arange(USERS), "items": np.random.default_rng(3).integers(1, 4, ITEMS) / 2}
    model = imported(counts=each if counts == "each" else counts, **(BIASES if biases else {}))
    numbers = each if counts == "each" else dict.fromkeys(SIDES, 20.0 if counts is None else counts)
    if isinstance(counts, dict):
        numbers = {"users": 7, "items": 20}
    rows = {side: np.broadcast_to(numbers[side], n).astype(float) for side, n in (("users", USERS), ("items", ITEMS))}
    given = ((P, B), (Q, C)) if biases else ((P, np.zeros(USERS)), (Q, np.zeros(ITEMS)))
    found, noise = expected(rows, biases, given, 3.5 * biases)
    priors = model._state.groups["priors"]
    assert float(priors.noise) == pytest.approx(noise, rel=1e-4)
    for side, (mean, prior, unsure) in found.items():
        np.testing.assert_allclose(priors.of(side)[0], mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(priors.of(side)[1], prior, rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(variances_of(model, side), unsure, rtol=2e-3, atol=1e-8)


def test_more_events_make_surer() -> None:
    few, many = (variances_of(imported(counts=n), "users") for n in (5, 500))
    assert (many[:, :-1] < few[:, :-1]).all()


def test_scores_are_those_given_and_new_ids_stand_at_the_mean() -> None:
    model = imported(**BIASES)
    np.testing.assert_allclose(model.predict([3], [4]), 3.5 + B[3] + C[4] + P[3] @ Q[4], rtol=1e-5)
    nobody = 3.5 + B.mean() + C[4] + P.mean(axis=0) @ Q[4]
    np.testing.assert_allclose(model.predict([999], [4]), nobody, rtol=1e-5)
    np.testing.assert_allclose(model.unknown_user, P.mean(axis=0), rtol=1e-5)


def test_biases_that_are_not_given_are_unsure() -> None:
    model = imported(biases=True)
    assert (variances_of(model, "users")[:, -1] > 0).all()
    model.update(events(500))
    assert model.user_biases.any()


# ------------------------------------------------------------------------------------------------------ learning on


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_an_update_improves_predictions(storage: str) -> None:
    model, held_out = imported(**BIASES, options=Options(storage=storage)), events(2000, seed=2)
    before = error(model, held_out)
    delta = model.update(events(4000))
    assert delta.loss_after < delta.loss_before
    assert error(model, held_out) < 0.92 * before


def test_intervals_hold_about_what_they_say() -> None:
    model, held_out = imported(**BIASES), events(3000, seed=2, noise=0.9)  # about the share that is presumed
    model.update(events(3000, noise=0.9))
    _, low, high = model.predict(held_out.users, held_out.items, interval=0.9)
    assert 0.82 < ((low <= held_out.values) & (held_out.values <= high)).mean() < 0.98


def test_labels_and_other_losses_learn_on() -> None:
    log = events(3000)
    binary = Interactions(log.users, log.items, (log.values > 3.5).astype(float))
    for loss, some in ((losses.Logistic(), binary), (losses.Huber(), log), (losses.StudentT(), log)):
        model = imported(**{**BIASES, "global_mean": 0.0 if some is binary else 3.5}, loss=loss)
        assert float(model._state.groups["priors"].noise) == pytest.approx(1) or some is log
        delta = model.update(some)
        assert delta.loss_after < delta.loss_before
        assert len(model.predict([1], [2], interval=0.5)) == 3


def test_single_events_are_updates_of_one() -> None:
    one, other = imported(**BIASES), imported(**BIASES)
    for user, item, value in ((1, 2, 4.0), (1, 99, 2.0), (77, 2, 3.0)):
        one.learn_one(user, item, value)
        other.update(Interactions([user], [item], [value]))
    one.flush()
    for side in SIDES:
        for mine, theirs in zip(*(m._state.side(side).table.whole() for m in (one, other)), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_files_copies_and_rollbacks_are_exact(tmp_path: Any) -> None:
    model = imported(**BIASES)
    model.save(tmp_path / "model")
    others = [model.copy(), load(tmp_path / "model")]
    before = content(model)
    delta = model.update(events(300))
    for other in others:
        assert_same(content(other), before)
        other.apply(delta)
        assert_same(content(other), content(model))
    model.rollback(delta)
    assert_same(content(model), before)


def test_lists_know_how_sure_rows_are() -> None:
    model = imported(**BIASES, counts={"items": np.where(np.arange(ITEMS) < 20, 1000, 0)})
    careful, keen = (model.recommend(range(USERS), k=10, risk=c).ids for c in (2.0, -2.0))
    assert (careful < 20).mean() > (keen < 20).mean()
    model.fold_in(Interactions([1, 1], [2, 3], [5.0, 4.0]))


def test_other_integrations_pass_counts_on(tmp_path: Any) -> None:
    np.savez(tmp_path / "vectors.npz", user_factors=P, item_factors=Q)
    model = from_npz(tmp_path / "vectors.npz", solver=optimizers.Variational(), counts=3)
    np.testing.assert_array_equal(variances_of(model, "items"), variances_of(imported(counts=3), "items"))


# ------------------------------------------------------------------------------------------------------- odd vectors

SHAPES = [(0, 3), (3, 0), (0, 0), (1, 1), (1, 7), (2, 2)]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_few_or_equal_rows_learn_on(shape: tuple[int, int], value: float) -> None:
    model = imported(*(np.full((rows, FACTORS), value) for rows in shape), biases=True)
    priors = model._state.groups["priors"]
    for side in SIDES:
        assert (priors.of(side)[1] > 0).all()
        assert (variances_of(model, side) > 0).all()
    delta = model.update(events(300))
    assert delta.loss_after < delta.loss_before


@given(
    st.integers(0, 2**32), st.integers(0, 6), st.integers(0, 6), st.floats(-6, 5), st.floats(0, 1e6), st.floats(-5, 5)
)
def test_any_vectors_of_usual_size_are_taken(
    seed: int, users: int, items: int, power: float, counts: float, level: float
) -> None:
    rng = np.random.default_rng(seed)
    p, q = (10**power * (rng.normal(size=(rows, FACTORS)) + level) for rows in (users, items))
    model = imported(p, q, biases=bool(seed % 2), counts=counts)
    for side in SIDES:
        found, (_, prior) = variances_of(model, side), model._state.groups["priors"].of(side)
        assert np.isfinite(found).all()
        assert (found >= 0).all()
        assert (found <= prior * (1 + 1e-6)).all()
    assert model._state.groups["priors"].noise > 0
    _, low, high = model.predict([0, 1, 9], [0, 9, 1], interval=0.9)
    assert (low <= high).all()


# ----------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("scale", [1e-20, 1e-36, 1e12, 1e30])
def test_sizes_that_do_not_fit_are_refused(scale: float) -> None:
    with pytest.raises(DataError, match="user_factors, item_factors: Variational needs values of usual size"):
        imported(P * scale, Q * scale)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (-1, "counts"),
        (np.nan, "counts"),
        ("many", "counts"),
        (True, None),
        ([1, 2], 'counts must be a number, or {"users"'),
        ({"people": 3}, "counts has 'people'"),
        ({"users": [1, 2]}, r"counts\['users'\] has 2 rows, user_factors has 60"),
        ({"items": [1] * 39 + [-2]}, r"counts\['items'\].*39"),
        ({"items": [[1] * ITEMS]}, r"counts\['items'\]"),
        ({"items": None}, None),
    ],
    ids=repr,
)
def test_counts_are_checked(counts: Any, message: str | None) -> None:
    if message is None:
        assert imported(counts=counts).factors == FACTORS
        return
    with pytest.raises(DataError, match=message):
        imported(counts=counts)


def test_counts_without_beliefs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"counts needs solver=optimizers.Variational\(\): AdaGrad"):
        MF.from_factors(P, Q, solver=optimizers.AdaGrad(), counts=3)
