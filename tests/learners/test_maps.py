"""Rows that are drawn to what a map makes of their features: against plain NumPy, on all arrays, and to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import naive_als
import naive_maps
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interrupts import interrupted_at
from strategies import assert_same, bits, content
from test_als import EXACT, METHODS, log_of, tables

from fastmf import MF, Features, Interactions, Options, load, losses, priors, regularizers
from fastmf.errors import DataError, StaleDelta
from fastmf.followers.derived import derived_rows
from fastmf.parameters.moves import Image
from fastmf.parameters.ridge import Sums

USERS, ITEMS, CATALOGUE = 60, 40, 70  # items from 40 on have no events, nor has item 7
LOSSES = {
    "plain": losses.Confidence(alpha=2.0, unobserved=0.3, exposure=0.0),
    "exposed": losses.Confidence(exposure=0.05),
    "popular": losses.Confidence(popularity=0.5, exposure=0.1),
}


def vectors(count: int = CATALOGUE, width: int = 5, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.0, 2.0, (count, width)).astype(np.float32)


def a_log(count: int = 900, seed: int = 0, first: int = 0, last: int = ITEMS) -> Interactions:
    rng = np.random.default_rng(seed)
    items = rng.integers(first, last, count)
    return Interactions(rng.integers(0, USERS, count), np.where(items == 7, 8, items), times=np.arange(count))


TEXT = Features(np.arange(CATALOGUE), vectors(), name="text")
TAGS = Features(np.arange(0, CATALOGUE, 2), vectors(CATALOGUE // 2, 3, 2), name="tags")


def a_model(
    loss: str = "exposed", method: str = "cholesky", views: Any = (TEXT, TAGS), trainable: bool = True, **settings: Any
) -> MF:
    drawn = {"users": priors.Mean(2.0), "items": priors.Map(views, 4.0, trainable)}
    model = MF(8, LOSSES[loss], EXACT[method], regularizers.L2(0.1), priors=drawn, **settings)
    return model.fit(a_log(), epochs=4, progress=False)


def features_of(model: MF) -> np.ndarray:
    """The features of all item rows, from the views above; further items have none."""
    ids = model.items.values
    text = np.full((len(ids), 5), np.nan)
    known = ids < CATALOGUE
    text[known] = TEXT.vectors[ids[known]]
    tags = np.full((len(ids), 3), np.nan)
    some = known & (ids % 2 == 0)
    tags[some] = TAGS.vectors[ids[some] // 2]
    return naive_maps.scaled((TEXT.vectors.astype(float), text), (TAGS.vectors.astype(float), tags))


def weights_of(model: MF) -> np.ndarray:
    return model._state.groups["maps"].values["item_weights"].copy()


def counts_of(model: MF) -> np.ndarray:
    return np.bincount(log_of(model).items, minlength=len(model.items)).astype(float)


def made_of(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return features @ weights[:-1] + weights[-1]


def assert_map(model: MF, features: np.ndarray | None = None, rtol: float = 1e-6) -> None:
    """The map is the ridge regression of the present rows, and rows without events follow it."""
    features = features_of(model) if features is None else features
    counts, maps = counts_of(model), model._state.groups["maps"]
    exact = naive_maps.ridge(features, model.item_factors.astype(np.float64), counts, maps.penalty("items"))
    assert np.abs(weights_of(model) - exact).max() <= rtol * np.abs(exact).max()
    idle, made = counts == 0, made_of(features, weights_of(model))
    np.testing.assert_allclose(
        model.item_factors[idle], made[idle], atol=1e-5 if model.options.storage[-2:] == "32" else 1e-2
    )
    unknown = model._state.items.table.unknown.factors[0, :8]
    np.testing.assert_allclose(unknown, weights_of(model)[-1], atol=1e-6)


def assert_matrix(model: MF) -> None:
    """The Gram matrix of the items is that of those with events."""
    state, log, counts = model._state, log_of(model), counts_of(model)
    kept, floor, shares = state.grams.kept["items"], float(np.float32(model.loss.exposure)), np.zeros(len(counts))
    for item in np.flatnonzero(counts):
        first = np.flatnonzero(log.items == item)[0]
        exposed = min(1.0, 1 - first / len(log.items) + floor) if floor else 1.0
        shares[item] = exposed * counts[item] ** kept.power
    rows = model.item_factors.astype(np.float64)
    exact = np.triu((rows * shares[:, None]).T @ rows)
    found = state.grams.at("items", kept, state, len(state.history))[:8, :8]
    assert np.abs(found - exact).max() <= 1e-9 * np.abs(exact).max()
    assert kept.shares == pytest.approx((counts[counts > 0] ** kept.power).sum())


def exact_row(model: MF, side: str, row: int, prior: np.ndarray) -> np.ndarray:
    """The minimum over one row where items without events are not there for anybody."""
    fixed, log, counts = tables(model), log_of(model), counts_of(model)
    there = np.flatnonzero(counts)
    number = np.full(len(counts), -1)
    number[there] = np.arange(there.size)
    fixed = fixed._replace(items=fixed.items[there])
    log = log._replace(items=number[log.items])
    settings = naive_als.Confidence(*model.loss, 0.1, model.solver.nu, model.priors[side].strength, prior)
    return naive_als.implicit_row(side, int(number[row]) if side == "items" else row, fixed, log, settings)


# --- equations --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 30), st.integers(0, 2**31))
def test_sums_and_their_solution_equal_plain_numpy(width: int, size: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, rows = rng.normal(size=(count, width)).astype(np.float32), rng.normal(size=(count, size))
    shares, sums = rng.random(count) * (rng.random(count) < 0.8), Sums.zeros(width, size)
    sums.add(features, shares, shares[:, None] * rows)
    design = np.column_stack([features.astype(float), np.ones(count)])
    np.testing.assert_allclose(np.triu(sums.gram), np.triu(design.T @ (design * shares[:, None])), atol=1e-9)
    np.testing.assert_allclose(sums.cross, design.T @ (rows * shares[:, None]), atol=1e-9)
    if shares.any():
        squares = 0.5 * np.diag([*np.ones(width), 0.0])
        exact = np.linalg.solve(design.T @ (design * shares[:, None]) + squares, design.T @ (rows * shares[:, None]))
        np.testing.assert_allclose(sums.solved(0.5), exact, atol=1e-7)
    else:
        assert not sums.solved(0.5).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fit_learns_the_map(loss: str) -> None:
    model = a_model(loss)
    assert len(model.items) == CATALOGUE
    assert_map(model)
    assert_matrix(model)
    counts, maps = counts_of(model), model._state.groups["maps"]
    rows = model.item_factors.astype(np.float64)
    assert maps.penalty("items") == pytest.approx(naive_maps.validated(features_of(model), rows, counts))


@pytest.mark.parametrize(
    ("method", "loss"), [*((method, "exposed") for method in METHODS), ("cholesky", "popular"), ("cholesky", "plain")]
)
def test_rows_of_an_update_are_at_their_minimum(method: str, loss: str) -> None:
    model = a_model(loss, method)
    made = made_of(features_of(model), weights_of(model))
    delta = model.update(Interactions([1, 2, 3, 70], [1, 50, 51, 99]), epochs=2)  # 50 and 51 had no events
    assert delta.new_items.tolist() == [99]
    made = np.vstack([made, model._state.items.table.unknown.factors[0, :8]])[: len(model.items)]
    for row in delta.moves["items"].rows.tolist():
        prior = made[row] if model.items.values[row] < CATALOGUE else delta.moves["maps"].before["item_weights"][-1]
        exact = exact_row(model, "items", row, prior)
        assert np.abs(model.item_factors[row] - exact).max() <= 1e-4 * np.abs(exact).max()
    assert_map(model)
    assert_matrix(model)
    mean = model._state.groups["priors"].values["user_mean"].copy()
    delta = model.update(Interactions([4, 5], [2, 53]), trainable="users")
    for row in delta.moves["users"].rows.tolist():
        exact = exact_row(model, "users", row, mean)
        assert np.abs(model.user_factors[row] - exact).max() <= 1e-4 * np.abs(exact).max()
    assert_map(model)
    assert_matrix(model)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_a_thousand_updates_leave_the_map_exact(storage: str) -> None:
    model, rng = a_model(options=Options(storage=storage)), np.random.default_rng(3)
    for n in range(1_000):
        some = rng.integers(1, 4)
        batch = Interactions(rng.integers(0, USERS + n // 20, some), rng.integers(0, 45 + n // 20, some))
        trainable = {0: "users", 1: "items", 2: "new"}.get(n % 9, "both")
        model.update(batch, trainable=trainable)
    assert_map(model)
    assert_matrix(model)


def test_users_have_maps_too() -> None:
    ages = Features(np.arange(USERS + 9), vectors(USERS + 9, 3, 5), name="ages")
    model = MF(8, LOSSES["exposed"], EXACT["cholesky"], priors={"users": priors.Map(ages, 3.0)})
    model.fit(a_log(), epochs=4, progress=False)
    features = naive_maps.scaled((ages.vectors.astype(float), ages.vectors[model.users.values].astype(float)))
    maps = model._state.groups["maps"]
    for _ in range(2):
        counts = np.bincount(log_of(model).users, minlength=len(model.users)).astype(float)
        exact = naive_maps.ridge(features, model.user_factors.astype(float), counts, maps.penalty("users"))
        np.testing.assert_allclose(maps.values["user_weights"], exact, atol=1e-6 * np.abs(exact).max())
        made = made_of(features, maps.values["user_weights"])
        np.testing.assert_allclose(model.user_factors[counts == 0], made[counts == 0], atol=1e-5)
        new = int(model.users.values[counts == 0][-1])
        scores = model.item_factors.astype(float) @ made[model.users.rows([new])[0]]
        found = model.recommend([new], k=5)
        np.testing.assert_allclose(found.scores[0], np.sort(scores)[::-1][:5], rtol=1e-4)
        rows = model.user_factors[counts > 0].astype(float)
        kept = model._state.grams.kept["users"].matrix[:8, :8]
        np.testing.assert_allclose(kept, np.triu(rows.T @ rows), rtol=1e-6, atol=1e-9)
        model.update(Interactions([USERS + 2, 3], [4, 5]))
    visitor = model.fold_in(Interactions(["v"], [5_000]), k=5)
    scores = model.item_factors.astype(float) @ maps.values["user_weights"][-1]
    np.testing.assert_allclose(visitor.scores[0], np.sort(scores)[::-1][:5], rtol=1e-4)


# --- what is known of new ids -----------------------------------------------------------------------------------------


def test_features_that_arrive_are_recommendable() -> None:
    model = a_model()
    new = np.random.default_rng(8).normal(size=(3, 5)).astype(np.float32)
    delta = model.update(Interactions([], []), features={"items": Features([200, 201, 202], new, name="text")})
    assert delta.new_items.tolist() == [200, 201, 202]
    assert (delta.events, delta.moves["items"].rows.size) == (0, 0)
    text = np.vstack([TEXT.vectors, new]).astype(float)
    block = naive_maps.scaled((TEXT.vectors.astype(float), text))[-3:]
    features = np.vstack([features_of(model)[:-3], np.hstack([block, np.zeros((3, 3))])])
    assert_map(model, features)
    assert 201 in model.recommend([3], k=len(model.items)).ids[0]
    assert model.predict([3], [201])[0] == pytest.approx(
        model.user_factors[model.users.rows([3])[0]] @ model.item_factors[-2], rel=1e-5
    )
    batch = Interactions([1, 1, 2], [201, 300, 301])
    tags = Features([201, 301, 12], np.ones((3, 3)), name="tags")
    delta = model.update(batch, features={"items": tags}, trainable="users")
    assert delta.new_items.tolist() == [300, 301]
    ones = naive_maps.scaled((TAGS.vectors.astype(float), np.ones((1, 3))))
    features = np.vstack([features, np.zeros((2, 8))])
    features[model.items.rows([201, 301, 12]), 5:] = ones
    assert_map(model, features)
    assert_matrix(model)
    made = made_of(features, delta.moves["maps"].before["item_weights"])  # new rows that may not move are the prior's
    np.testing.assert_allclose(model.item_factors[-2:], made[-2:], atol=1e-5)


def test_maps_stay_where_they_are_not_trainable() -> None:
    model, frozen = a_model(), a_model(trainable=False)
    before = weights_of(model)
    model.update(a_log(30, 1), trainable={"users": True, "items": True, "maps": False})
    model.update(a_log(30, 2), trainable={"users": True, "items": True})
    frozen.update(a_log(30, 1))
    assert weights_of(model).tolist() == before.tolist() == weights_of(frozen).tolist()
    idle = counts_of(model) == 0
    np.testing.assert_allclose(model.item_factors[idle], made_of(features_of(model), before)[idle], atol=1e-5)
    model.update(a_log(30, 3), trainable={"items": True, "maps": True})
    assert_map(model)


def test_a_refit_knows_what_has_arrived() -> None:
    model = a_model()
    model.update(a_log(40, 1), features={"items": Features([7, 300], vectors(2, 5, 9), name="text")})
    features = model._state.groups["item_features"].gather(np.arange(len(model.items)))
    for warm in (False, True):
        model.refit(epochs=3, warm=warm, progress=False)
        again = model._state.groups["item_features"].gather(np.arange(len(model.items)))
        assert again.tolist() == features.tolist()
        assert_map(model, features.astype(float))


def test_tables_are_aligned_by_the_names_of_their_columns() -> None:
    frame = {"item": np.arange(8), "year": np.arange(8) * 10.0, "kind": list("aabbccab")}
    views = Features.from_frame(frame, numbers=["year"], categories=["kind"], name="columns")
    assert views.columns == ("year", "kind=a", "kind=b", "kind=c")
    model = MF(8, losses.Confidence(), priors={"items": priors.Map(views)}).fit(a_log(300, 4, 0, 8), progress=False)
    later = {"item": [90, 91], "year": [70.0, None], "kind": ["b", "b"]}
    more = Features.from_frame(later, numbers=["year"], categories=["kind"])
    model.update(Interactions([], []), features={"items": more})
    found = model._state.groups["item_features"].gather(model.items.rows([90, 91, 2, 7]))
    assert found[1, 0] == 0
    assert found[0].tolist() == found[3].tolist()  # the same year and kind
    assert found[1, 1:].tolist() == found[2, 1:].tolist()


# --- changes ----------------------------------------------------------------------------------------------------------


def test_undo_replicas_copies_and_files_hold_every_bit(tmp_path: Any) -> None:
    model = a_model()
    first, replica, states = content(model), model.copy(), []
    arrivals = Features([0, 300, 301], vectors(3, 5, 9), name="text")
    changes = [
        {"batch": a_log(30, 1)},
        {"batch": a_log(20, 2, 35, 60), "features": {"items": arrivals}},
        {"batch": Interactions([], []), "features": {"items": (TAGS, arrivals)}},
        {"batch": Interactions([1, 900], [50, 901]), "trainable": "users"},
        {"batch": a_log(20, 5, 35, 60), "trainable": {"users": True, "items": True, "maps": False}},
    ]
    for change in changes:
        states.append(content(model))
        replica.apply(model.update(**change))
        assert_same(bits(model), bits(replica))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same(bits(model), bits(again))
    assert again.priors["items"] == model.priors["items"]
    for one in (model, replica, again):
        one.update(a_log(25, 3))
        assert_matrix(one)
    assert_same(bits(model), bits(replica))
    assert_same(bits(model), bits(again))
    model.rollback(to=4)
    for state in states[4:0:-1]:
        assert_same(content(model), state)
        model.rollback(to=model._state.trail.states[-2].version)
    assert_same(content(model), first)


def test_lists_and_quantized_scans_follow_derived_rows() -> None:
    model = a_model()
    lists = model.lists(k=6)
    for change in ({"batch": a_log(30, 1)}, {"batch": Interactions([1], [50])}):
        lists.refresh(model.update(**change))
        assert (lists.ids == model.recommend(model.users.values, k=6).ids).all()
    lists.refresh(model.rollback(to=0))
    assert (lists.scores == model.recommend(model.users.values, k=6).scores).all()


def test_an_unfitted_model_can_be_kept(tmp_path: Any) -> None:
    holes = vectors()
    holes[3], holes[4, 1] = np.nan, np.nan
    model = MF(8, losses.Confidence(), priors={"items": priors.Map(Features(np.arange(CATALOGUE).astype(str), holes))})
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.priors == model.priors
    assert again.get_params() == model.get_params()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"priors": {"items": priors.Map([[1.0]])}}, TypeError, "Map.features must be fastmf.Features"),
        ({"priors": {"items": priors.Map(())}}, TypeError, "Map.features must be"),
        ({"priors": {"items": priors.Map((TEXT, TEXT))}}, ValueError, "which must differ"),
        ({"priors": {"items": priors.Map(TEXT, 0.0)}}, ValueError, "Map.strength must be"),
        ({"priors": {"items": priors.Map(TEXT, trainable=2)}}, ValueError, "Map.trainable must be"),
        ({"priors": {"items": priors.Map(Features([1], np.ones((1, 1025))))}}, ValueError, "at most 1024"),
        ({"priors": {"items": priors.Map((TEXT, Features(["a"], [[1.0]], "b")))}}, ValueError, "different kinds"),
        (
            {"priors": {"items": priors.Map(TEXT)}, "loss": losses.BPR()},
            ValueError,
            "priors.Map is for losses.Confidence",
        ),
        (
            {"priors": {"items": priors.Map(TEXT)}, "loss": losses.Squared()},
            ValueError,
            "priors.Map is for losses.Conf",
        ),
    ],
)
def test_maps_that_make_no_sense_are_refused(settings: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        MF(**({"loss": losses.Confidence()} | settings))


def test_what_a_map_cannot_do_is_refused_by_name() -> None:
    model = a_model()
    before = bits(model)
    with pytest.raises(ValueError, match=r"learn_one solves no rows of a model with priors.Map"):
        model.learn_one(1, 2)
    with pytest.raises(ValueError, match="names \\['item_features'\\]"):
        model.update(a_log(3), trainable={"item_features": True})
    assert_same(bits(model), before)
    assert model.flush().events == 0
    new = MF(8, losses.Confidence(), priors=model.priors)
    with pytest.raises(ValueError, match="begins with fit"):
        new.update(a_log(3))
    with pytest.raises(ValueError, match="rather than importing factors"):
        MF.from_factors(np.ones((3, 8)), np.ones((3, 8)), loss=losses.Confidence(), priors=model.priors)
    with pytest.raises(ValueError, match="is int, but the known ids are str"):
        new.fit(Interactions(["a"], ["b"]), progress=False)


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ([TEXT], DataError, "features must be a dict"),
        ({"users": TEXT}, ValueError, "has no priors.Map for them"),
        ({"items": [1.0]}, DataError, "must be fastmf.Features or a tuple"),
        ({"items": Features([1], [[1.0]], name="text")}, DataError, "there are 1 columns, the model has 5"),
        ({"items": Features([1], [[1.0]], name="words")}, DataError, "there is no view 'words'"),
        ({"items": (TEXT, TEXT)}, DataError, "there are two views 'text'"),
        (
            {"items": Features([1, 2], [[0.0] * 5, [3e38] * 5], name="text")},
            DataError,
            "'text', row 1: a million times",
        ),
        ({"items": Features(["a"], vectors(1), name="text")}, DataError, "is str, but the known ids are int"),
        (
            {"items": Features.from_frame({"item": [1, 2], "k": [1, 1]}, categories=["k"], name="text")},
            DataError,
            "columns",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(features: Any, error: type, message: str) -> None:
    model = a_model()
    before = bits(model)
    with pytest.raises(error, match=message):
        model.update(a_log(5), features=features)
    assert_same(bits(model), before)


def test_deltas_of_other_features_are_refused() -> None:
    model, other = a_model(), a_model(views=TEXT)
    delta = model.update(a_log(5), features={"items": TAGS})
    with pytest.raises((StaleDelta, ValueError)):
        other.apply(delta)


@pytest.mark.parametrize("what", ["row", "width", "numbers", "penalty"])
def test_deltas_that_do_not_fit_are_refused(what: str) -> None:
    model = a_model()
    replica = model.copy()
    delta = model.update(a_log(5), features={"items": Features([3], vectors(1), name="text")})
    move, maps = delta.moves["item_features"], delta.moves["maps"]
    wrong = {
        "row": {"item_features": move._replace(rows=np.array([5_000], np.int32))},
        "width": {"item_features": move._replace(after=Image((np.ones((1, 3), np.float32),)))},
        "numbers": {"item_features": move._replace(after=Image((np.full_like(move.after[0], np.nan),)))},
        "penalty": {"maps": maps._replace(after=maps.after | {"item_penalty": np.ones(1)})},
    }
    before = bits(replica)
    with pytest.raises((StaleDelta, ValueError)):
        replica.apply(replace(delta, moves=delta.moves | wrong[what]))
    assert_same(bits(replica), before)
    assert_same(bits(replica.apply(delta)), bits(model))


def test_single_queries_of_a_large_catalogue_follow_the_map() -> None:
    """From 4,096 items on, an 8-bit copy of the rows prunes them, which is to be told of derived ones."""
    many = Features(np.arange(5_000), vectors(5_000, 4, 6))
    model = MF(8, losses.Confidence(), EXACT["cholesky"], priors={"items": priors.Map(many)})
    model.fit(a_log(), epochs=3, progress=False)
    for n in range(30):
        if n % 10 == 9:
            model.update(Interactions([n, 3], [4_000 + n, 5]))
        found = model.recommend([3], k=20, exclude_seen=False)
        exact = model.item_factors.astype(np.float64) @ model.user_factors[model.users.rows([3])[0]]
        np.testing.assert_allclose(found.scores[0], np.sort(exact)[::-1][:20], rtol=1e-5)
    assert model._state.scan._copy is not None


def test_an_interrupted_update_is_not_there_or_whole() -> None:
    model, arrivals = a_model(), Features([0, 60, 300, 301], vectors(4, 5, 9), name="text")
    change = {"batch": Interactions([1, 2, 900, 3], [50, 300, 7, 901]), "features": {"items": arrivals}}
    done = model.copy()
    done.update(**change)
    wanted, line = [content(model), content(done)], 0
    for inside in ("finish", "make_delta"):
        line = 0
        while True:
            one = model.copy()
            if not interrupted_at(line, lambda one=one: one.update(**change), inside):
                break
            one._fitted()  # what the next call begins with
            found = content(one)
            if inside == "make_delta":
                assert_same(found, wanted[0])
            else:
                assert found in wanted
                assert_matrix(one)
            line += 9 if inside == "finish" else 61
        assert line > 100


@pytest.mark.parametrize("loss", LOSSES)
def test_any_sequence_of_changes_keeps_everything_exact(loss: str) -> None:
    model, rng = a_model(loss), np.random.default_rng(11)
    replica = model.copy()
    for step in range(120):
        kind, known = rng.integers(0, 6), len(model.items)
        if kind == 0 and len(model._state.trail.states) > 3:
            delta = model.rollback(to=model._state.trail.states[-1 - rng.integers(1, 3)].version)
        else:
            count = int(rng.integers(0, 4)) if kind < 3 else 2
            batch = Interactions(rng.integers(0, USERS + step, count), rng.integers(0, CATALOGUE + step, count))
            some = rng.choice(CATALOGUE + step, 3, replace=False)
            given = {"items": Features(some, vectors(3, 5, step), name="text")} if kind < 3 else None
            delta = model.update(batch, features=given, trainable=["both", "users", "items", "new"][rng.integers(0, 4)])
        replica.apply(delta)
        if step % 10 == 9:
            every = np.arange(len(model.items), dtype=np.int32)
            assert_map(model, model._state.groups["item_features"].gather(every).astype(np.float64))
            assert_matrix(model)
            assert_same(bits(model), bits(replica))
            assert derived_rows(model._state, "items").tolist() == np.flatnonzero(counts_of(model) == 0).tolist()
    assert known > CATALOGUE


def test_a_model_loaded_in_half_precision_has_the_map_of_its_rows(tmp_path: Any) -> None:
    a_model().save(tmp_path / "model")
    for storage in ("float16", "float32"):
        model = load(tmp_path / "model", options=Options(storage=storage))
        model.update(a_log(20, 1))
        assert_map(model)
        model.save(tmp_path / "model")
