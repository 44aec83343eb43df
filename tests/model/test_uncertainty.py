"""Rankings by beliefs: `recommend` with `risk` and `explore`, against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from strategies import bits

from fastmf import MF, Interactions, Options, load, losses, optimizers, uncertainty
from fastmf.kernels.core.rng import normal
from fastmf.parameters.keys import encode

NOBODY = 999  # an unknown user
GOLDEN, WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1


def ratings(text: bool = False, binary: bool = False) -> Interactions:
    rng = np.random.default_rng(0)
    u, i = rng.integers(0, 40, 600), rng.integers(0, 90, 600)
    p, q = rng.normal(0, 0.8, (40, 2)), rng.normal(0, 0.8, (90, 2))
    values = 3 + (p[u] * q[i]).sum(axis=1) + rng.normal(0, 0.5, 600)
    if binary:
        values = (values > 3).astype(float)
    return (
        Interactions([f"u{one}" for one in u], [f"i{one}" for one in i], values) if text else Interactions(u, i, values)
    )


_FITTED: dict[str, MF] = {}


def believer(text: bool = False, **settings: Any) -> MF:
    key = f"{text} {settings!r}"
    if key not in _FITTED:
        binary = isinstance(settings.get("loss"), losses.Logistic)
        _FITTED[key] = MF(**{"factors": 8, "solver": optimizers.Variational()} | settings)
        _FITTED[key].fit(ratings(text, binary), epochs=4, progress=False)
    return _FITTED[key].copy()


def rows_of(model: MF, side: str, ids: Any) -> tuple[np.ndarray, ...]:
    """Means and variances of factors, then of biases, in float64; unknown ids stand at the prior."""
    rows, size = getattr(model, side).rows(ids), model.factors
    (factors, records, variances), prior = model._state.side(side).table.whole(), model._state.side(side).table.unknown
    parts = [
        np.where(rows[:, None] >= 0, part[rows], nobody)
        for part, nobody in zip((factors, records, variances), prior, strict=True)
    ]
    factors, records, variances = (part.astype(float) for part in parts)
    return factors[:, :size], variances[:, :size], records[:, 0], records[:, 1]


def distributions(model: MF, users: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the score of each user and item."""
    p, s, b, s_b = rows_of(model, "users", users)
    q, t, c, t_c = rows_of(model, "items", model.items.values)
    means = model.global_mean + b[:, None] + c + p @ q.T
    return means, s_b[:, None] + t_c + s @ (q**2 + t).T + p**2 @ t.T


def assert_ranked(model: MF, found: Any, users: Any, wanted: np.ndarray, unseen: bool = False) -> None:
    """The lists are those of the wanted scores, as far as float32 tells them apart."""
    events = model._state.history.events
    for n, row in enumerate(model.users.rows(users)):
        scores = wanted[n].copy()
        if unseen and row >= 0:
            scores[events.items[events.users == row]] = -np.inf
        length = int(found.lengths[n])
        assert length == min(found.ids.shape[1], int((scores > -np.inf).sum()))
        mine = scores[model.items.rows(found.ids[n, :length])]
        np.testing.assert_allclose(found.scores[n, :length], mine, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(mine, np.sort(scores)[::-1][:length], rtol=2e-4, atol=2e-4)
        assert (np.diff(found.scores[n, :length]) <= 0).all()


# ------------------------------------------------------------------------------------------------------------- risk


@pytest.mark.parametrize(
    ("factors", "storage", "biases"), [(8, "float32", True), (8, "float16", False), (40, "float32", True)]
)
@pytest.mark.parametrize("risk", [1.0, -2, 1e4])
def test_lists_are_those_of_means_less_deviations(factors: int, storage: str, biases: bool, risk: float) -> None:
    model = believer(factors=factors, biases=biases, options=Options(storage=storage))
    users = [3, NOBODY, 17, 3]
    means, variances = distributions(model, users)
    wanted = means - risk * np.sqrt(variances)
    for k, unseen in ((4, True), (200, False)):
        found = model.recommend(users, k=k, exclude_seen=unseen, risk=risk)
        assert found.ids.shape == (4, min(k, len(model.items)))
        assert_ranked(model, found, users, wanted, unseen)


def test_no_risk_is_the_usual_answer_to_the_bit() -> None:
    model = believer()
    for users in ([3], [3, NOBODY], range(40)):
        for one, other in zip(model.recommend(users), model.recommend(users, risk=0), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("given", [{"risk": 1.0}, {"explore": "thompson"}], ids=str)
def test_candidates_and_exclusions_are_respected(given: dict[str, Any]) -> None:
    model = believer(text=True)
    items = [f"i{n}" for n in range(30)] + ["unheard of"]
    some = model.recommend(["u1", "nobody"], k=50, items=items, exclude=["i3", "nothing"], exclude_seen=False, **given)
    whole = model.recommend(["u1", "nobody"], k=500, exclude_seen=False, **given)
    for n in range(2):
        kept = [one for one in whole.ids[n] if one in items and one != "i3"]
        assert some.ids[n, : len(kept)].tolist() == kept  # a value does not depend on what else is ranked
        np.testing.assert_array_equal(some.scores[n, : len(kept)], whole.scores[n][np.isin(whole.ids[n], kept)])
    unseen, seen = model.recommend(["u1"], k=500, **given), {i for u, i in pairs_of(ratings(text=True)) if u == "u1"}
    assert set(unseen.ids[0, : unseen.lengths[0]]) == set(model.items.values) - seen
    assert not model.recommend(["u1"], k=3, items=["unheard of"], **given).lengths.any()
    assert model.recommend([], **given).ids.shape[0] == 0


def pairs_of(events: Interactions) -> list[tuple[Any, Any]]:
    return list(zip(events.users.tolist(), events.items.tolist(), strict=True))


def test_scores_pass_through_the_link() -> None:
    model = believer(loss=losses.Logistic())
    means, variances = distributions(model, [3])
    found = model.recommend([3], k=90, exclude_seen=False, risk=0.7)
    wanted = means[0] - 0.7 * np.sqrt(variances[0])
    np.testing.assert_allclose(
        found.scores[0], 1 / (1 + np.exp(-wanted[model.items.rows(found.ids[0])])), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("given", [{"risk": -1.0}, {"explore": "thompson"}], ids=str)
def test_lists_do_not_depend_on_threads_nor_on_who_else_is_asked_for(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [*range(40), NOBODY] * 4
    alone = believer(options=Options(threads=1)).recommend(users, k=7, **given)
    each = [believer().recommend([one], k=7, **given) for one in users[:41]]
    for name in ("ids", "scores"):
        np.testing.assert_array_equal(
            np.tile(np.concatenate([getattr(one, name) for one in each]), (4, 1)), getattr(alone, name)
        )
    monkeypatch.setattr(uncertainty, "_PARALLEL_FROM", 0)
    together = believer(options=Options(threads=2)).recommend(users, k=7, **given)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_asking_changes_nothing() -> None:
    model = believer()
    before = bits(model)
    model.recommend([1, NOBODY], risk=1.0)
    model.recommend([1, NOBODY], explore="thompson")
    assert bits(model) == before


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_number_is_a_risk(risk: float) -> None:
    model = believer()
    found = model.recommend([3, NOBODY], k=100, exclude_seen=False, risk=risk)
    assert (found.lengths == len(model.items)).all()
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()


# -------------------------------------------------------------------------------------------------------- thompson


def mixed(number: int) -> int:
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & WORD
    number = (number ^ number >> 27) * 0x94D049BB133111EB & WORD
    return number ^ number >> 31


def hashed(seed: int, stream: int, position: int) -> int:
    return mixed(mixed(seed + stream * GOLDEN & WORD) + position * GOLDEN & WORD)


def quantile(word: int) -> float:
    return float(ndtri(((word >> 12) + 0.5) / 2.0**52))


def drawn(model: MF, users: Any) -> np.ndarray:
    """The scores of all items by the definition, in plain Python."""
    moment = hashed(model.seed, model.version, len(model._state.history))
    (p, s, b, s_b), (q, t, c, t_c) = rows_of(model, "users", users), rows_of(model, "items", model.items.values)
    found = []
    for n, key in enumerate(encode(np.asarray(users)).keys.tolist()):
        own = hashed(moment, 0, key)
        z = [quantile(hashed(own, 1, f)) for f in range(model.factors + 1)]
        point, bias = p[n] + np.sqrt(s[n]) * z[:-1], b[n] + np.sqrt(s_b[n]) * z[-1]
        z = np.array([quantile(hashed(own, 2, item)) for item in range(len(c))])
        found.append(model.global_mean + bias + c + q @ point + z * np.sqrt(t_c + t @ point**2))
    return np.array(found)


@pytest.mark.parametrize(("storage", "biases"), [("float32", True), ("float16", False)])
def test_drawn_scores_are_those_of_plain_python(storage: str, biases: bool) -> None:
    model = believer(biases=biases, seed=7, options=Options(storage=storage))
    users = [3, NOBODY, -5, 17]
    for k, unseen in ((4, True), (200, False)):
        found = model.recommend(users, k=k, exclude_seen=unseen, explore="thompson")
        assert_ranked(model, found, users, drawn(model, users), unseen)


def test_draws_have_the_means_and_covariances_of_scores() -> None:
    model = believer()
    people = np.arange(1000, 9000)  # all at the prior
    found = model.recommend(people, k=200, exclude_seen=False, explore="thompson")
    order = np.argsort(model.items.rows(found.ids.ravel()).reshape(found.ids.shape), axis=1)
    scores = np.take_along_axis(found.scores, order, axis=1).astype(float)
    means, variances = distributions(model, [NOBODY])
    np.testing.assert_allclose(scores.mean(axis=0), means[0], atol=5 * np.sqrt(variances.max() / people.size))
    np.testing.assert_allclose(scores.var(axis=0), variances[0], rtol=0.12)
    _, s, _, s_b = rows_of(model, "users", [NOBODY])
    q, *_ = rows_of(model, "items", model.items.values)
    shared = (s_b[0] + (q * s[0]) @ q.T)[~np.eye(len(q), dtype=bool)]  # of two items, through the user
    np.testing.assert_allclose(np.cov(scores.T)[~np.eye(len(q), dtype=bool)], shared, atol=0.1 * variances.max())


def test_an_item_comes_first_as_often_as_it_is_best() -> None:
    model = believer()
    people, few = np.arange(1000, 9000), model.items.values[:6]
    found = model.recommend(people, k=1, items=few, exclude_seen=False, explore="thompson").ids[:, 0]
    (p, s, _, _), (q, t, c, t_c), rng = (
        rows_of(model, "users", [NOBODY]),
        rows_of(model, "items", few),
        np.random.default_rng(0),
    )
    point = p + np.sqrt(s) * rng.normal(size=(20_000, 8))
    rows = q + np.sqrt(t) * rng.normal(size=(20_000, *q.shape))
    scores = (rows * point[:, None]).sum(axis=2) + c + np.sqrt(t_c) * rng.normal(size=(20_000, 6))
    best = few[np.argmax(scores, axis=1)]
    for one in few:
        assert abs((found == one).mean() - (best == one).mean()) < 0.03


def test_an_answer_is_repeated_until_the_model_changes() -> None:
    model, users = believer(), np.arange(45)

    def ask(asked: MF = model) -> bytes:
        return asked.recommend(users, explore="thompson").scores.tobytes()

    answers = [ask()]
    assert ask() == ask(model.copy()) == answers[0]
    model.learn_one(1, 2, 3.0)
    answers.append(ask())
    model.flush()
    answers.append(ask())
    delta = model.update(Interactions([1], [2], [3.0]))
    answers.append(ask())
    model.rollback(delta)
    answers.append(ask())
    answers.append(ask(believer(seed=1)))
    assert len(set(answers)) == len(answers)


def test_files_give_the_same_draws(tmp_path: Any) -> None:
    model = believer(text=True)
    model.save(tmp_path / "model")
    for one, other in zip(
        *(one.recommend(["u1", "nobody"], explore="thompson") for one in (model, load(tmp_path / "model"))), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@given(st.integers(0, WORD))
def test_normal_numbers_are_quantiles(word: int) -> None:
    assert normal(np.uint64(word)) == pytest.approx(quantile(word), rel=2e-6, abs=1e-12)


@pytest.mark.parametrize("word", [0, WORD, 1 << 63, (1 << 63) - 1])
def test_extreme_normal_numbers_are_finite(word: int) -> None:
    assert abs(normal(np.uint64(word))) < 8.3
    assert (normal(np.uint64(word)) < 0) == (word < 1 << 63)


# --------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("given", [{"risk": 1}, {"risk": 0}, {"explore": "thompson"}], ids=str)
def test_a_solver_without_beliefs_is_refused(given: dict[str, Any]) -> None:
    model = MF(5, solver=optimizers.AdaGrad()).fit(ratings(), epochs=1, progress=False)
    with pytest.raises(ValueError, match=rf"{next(iter(given))} needs solver=optimizers.Variational\(\): AdaGrad"):
        model.recommend([1], **given)


@pytest.mark.parametrize("risk", [np.nan, np.inf, -np.inf, "1", True, [1.0], 10**400, 1j], ids=repr)
def test_no_finite_number_is_refused(risk: Any) -> None:
    with pytest.raises(ValueError, match="risk must be a finite number"):
        believer().recommend([1], risk=risk)


@pytest.mark.parametrize("explore", ["ucb", "", 1, True, ["thompson"]], ids=repr)
def test_an_unknown_exploration_is_refused(explore: Any) -> None:
    with pytest.raises(ValueError, match="explore must be one of 'thompson'"):
        believer().recommend([1], explore=explore)


def test_both_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        believer().recommend([1], risk=0.0, explore="thompson")
