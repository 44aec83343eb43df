"""A fixed program whose every result is hashed: whoever changes no formula must not change a bit.

``python tests/hashes.py`` prints the lines as JSON; those that hold are in hashes.json.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import fastmf
from fastmf import MF, Interactions, losses, optimizers, regularizers, samplers

SIDES = ("users", "items")
USERS, ITEMS = 60, 40
OFF: dict[str, Any] = {"popularity": fastmf.Popularity(weight=0)}
ZERO: dict[str, Any] = {"priors": {}, **OFF}


def weighed(weight: float, rate: float = 0.1) -> dict[str, Any]:
    """Settings of losses with negatives, whose defaults may change."""
    return {"solver": optimizers.AdaGrad(rate), "regularizer": regularizers.L2(weight)}


SETTINGS: dict[str, dict[str, Any]] = {
    "squared": {"solver": optimizers.AdaGrad()},
    "squared, sgd": {"solver": optimizers.SGD(0.02)},
    "squared, no biases": {"solver": optimizers.AdaGrad(), "biases": False, "factors": 5},
    "squared, float16": {"solver": optimizers.AdaGrad(), "options": fastmf.Options(storage="float16")},
    "huber": {"loss": losses.Huber(0.7), "solver": optimizers.AdaGrad(), "regularizer": regularizers.L2(0.01)},
    "logistic": {"loss": losses.Logistic(), "solver": optimizers.AdaGrad()},
    "poisson": {"loss": losses.Poisson()},
    "squared, als": {"solver": optimizers.ALS()},
    "squared, cholesky": {"solver": optimizers.ALS("cholesky", nu=0.5)},
    "confidence": {"loss": losses.Confidence(alpha=3.0, exposure=0), **ZERO},
    "confidence, popularity": {
        "loss": losses.Confidence(popularity=0.5, exposure=0),
        "solver": optimizers.ALS("cholesky"),
        **ZERO,
    },
    "confidence, eals": {"loss": losses.Confidence(exposure=0), "solver": optimizers.ALS("eals", steps=2), **ZERO},
    "confidence, sampled past": {
        "loss": losses.Confidence(exposure=0),
        "solver": optimizers.ALS(max_history=4),
        **ZERO,
    },
    "bpr": {"loss": losses.BPR(), **weighed(0.005), **OFF},
    "bpr, popular": {"loss": losses.BPR(samplers.Popular(0.75), allow_seen=True), **weighed(0.02), **OFF},
    "warp": {"loss": losses.WARP(margin=0.5, trials=5), **weighed(0.06), **OFF},
    "softmax": {"loss": losses.Softmax(), **weighed(0.06, 0.04), **OFF},
    "sampled softmax": {"loss": losses.SampledSoftmax(4, samplers.InBatch()), **weighed(0.06), **OFF},
    "logistic, negatives": {"loss": losses.Logistic(negatives=3, calibration=0.5), **weighed(0.03)},
}


def some_events(count: int, seed: int, text: bool, labels: bool) -> Interactions:
    """Events with ids beyond those of earlier ones, repeats, weights and times."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, USERS + 10 * seed, count), (rng.random(count) ** 2 * (ITEMS + 5 * seed)).astype(int)
    values = rng.integers(0, 2, count) if labels else rng.integers(1, 6, count)
    pairs = ([f"u{one}" for one in users], [f"i{one}" for one in items]) if text else (users, items)
    times = 1000 * seed + np.sort(rng.integers(0, 1000, count))
    return Interactions(*pairs, values, times, rng.choice([0.5, 1.0, 1.5], count))


def digest(*arrays: Any) -> str:
    """Of arrays, numbers and text, order and dtypes included."""
    whole = hashlib.sha256()
    for one in arrays:
        array = np.asarray(one)
        content = repr(array.tolist()) if array.dtype.kind in "OU" else array.tobytes()
        whole.update(f"{array.dtype.kind}{array.shape}".encode())
        whole.update(content.encode() if isinstance(content, str) else content)
    return whole.hexdigest()[:16]


def inside(model: MF) -> str:
    """Rows with padding and memory, ids, history, numbers."""
    state = model._state
    assert state is not None
    parts: list[Any] = [model.version, repr(model.global_mean)]
    for side in SIDES:
        table, ids = state.groups[side].table, state.groups[side].ids
        parts += [table.factors[: table.count], table.records[: table.count], ids.values]
    parts += [column for column in state.history.events if column is not None]
    parts += [repr(state.scalars["low"]), repr(state.scalars["high"])]
    for kept in (state.grams.kept[side] for side in SIDES if side in state.grams.kept):
        parts += [kept.matrix, kept.numbers[[0, 2]]]
    return digest(*parts)


def receipt(delta: fastmf.Delta) -> str:
    """What a Delta says, but for its time."""
    parts: list[Any] = [delta.version, repr(delta.loss_before), repr(delta.loss_after), delta.events, delta.rows_moved]
    for side in SIDES:
        move = delta.moves[side]
        parts += [delta.new_ids[side], move.rows, *move.before, *move.after]
    return digest(*parts, *(column for column in delta.log if column is not None))


def answers(model: MF, text: bool) -> str:
    """Lists of all kinds."""
    users = model.users.values[::7]
    session = Interactions(["a", "a", "b"], model.items.values[[1, 4, 2]])
    found = [
        model.predict(users, model.items.values[: len(users)]),
        *model.recommend(users, k=6),
        *model.recommend(users, k=3, exclude_seen=False, exclude=model.items.values[:5]),
        *model.recommend(users, k=3, items=model.items.values[::2]),
        *model.similar_items(model.items.values[:4], k=3),
        *model.similar_users(model.users.values[:4], k=3),
        *model.fold_in(session, k=4),
    ]
    return digest(*found)


def life(name: str, settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """One model, from its fit through updates, single events, rollbacks and lists."""
    settings = {"factors": 8, "seed": 3, **settings}
    text = name in ("squared, sgd", "bpr", "confidence, eals")
    labels = name == "logistic"
    model = MF(**settings)
    first, second, third = (some_events(count, seed, text, labels) for seed, count in enumerate((700, 60, 45)))
    solved, ranks = isinstance(model.solver, optimizers.ALS), model.loss.kind in ("pairwise", "listwise")
    model.fit(first, epochs=4, validation=0.2, half_life=700.0)
    yield "validated", inside(model)
    model.fit(first, epochs=3)
    yield "fit", digest(inside(model), [record["loss"] for record in model.history_])
    lists = model.lists(k=5)
    yield "lists", digest(answers(model, text), lists.ids, lists.scores)
    delta = model.update(second)
    yield "update", digest(receipt(delta), inside(model))
    renewed = lists.refresh(delta)
    yield "refreshed", digest(answers(model, text), renewed, lists.ids, lists.scores)
    copy = model.copy()
    for trainable in ("users", "items", "new", {"users": second.users[:5], "items": third.items[-3:]}):
        delta = model.update(third, epochs=1, trainable=trainable, half_life=500.0)
        copy.apply(delta)
        yield f"trainable {trainable if isinstance(trainable, str) else 'ids'}", digest(receipt(delta), inside(model))
    assert inside(copy) == inside(model)
    if not solved:
        recipes = [{"epochs": 2, "history_epochs": 0, "rate": 0.05}, {"order": "arrival", "max_history": 3}]
        for number, recipe in enumerate(recipes + ([] if ranks else [{"batch_size": 7}])):
            yield f"recipe {number}", digest(receipt(model.update(third[5:25], **recipe)), inside(model))
    if not ranks:
        for user, item in zip(second.users[:30].tolist(), third.items[:30].tolist(), strict=True):
            model.learn_one(user, item, 1.0)
        model.learn_one("new" if text else 12345, "new too" if text else 54321, 1.0)
        predicted = [model.predict_one(user, second.items[0]) for user in second.users[:5].tolist()]
        yield "singles", digest(inside(model), predicted)
        yield "flushed", digest(receipt(model.flush()), inside(model))
    inverse = model.rollback(to=1)
    yield "rolled back", digest(receipt(inverse), inside(model))
    yield "answers", answers(model, text)


def large() -> Iterator[tuple[str, str]]:
    """Fits and an update of half a million events: blocks, and several in flight."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 8_000, 500_000), (rng.random(500_000) ** 2 * 4_200).astype(int)
    events = Interactions(users, items, rng.integers(1, 6, users.size))
    options = fastmf.Options(deterministic=True, threads=2)
    for name, loss, solver in (
        ("squared", losses.Squared(), optimizers.AdaGrad()),
        ("confidence", losses.Confidence(exposure=0), None),
        ("bpr", losses.BPR(), optimizers.AdaGrad(0.1)),
    ):
        penalty = regularizers.L2(0.005) if name == "bpr" else None
        model = MF(16, loss, solver, penalty, options=options, **ZERO).fit(events, epochs=1)
        yield f"large {name}, fit", inside(model)
        delta = model.update(events[:6_000])
        yield f"large {name}, update", digest(receipt(delta), inside(model))
        yield f"large {name}, answers", digest(*model.recommend(np.arange(0, 8_000, 5)), *model.recommend([1, 2]))


def machine() -> str:
    """What libraries round as they like: where it differs, so may lines that take exp, log or powers."""
    numbers = np.linspace(-20, 20, 999)
    known = [math.exp(x) + math.tanh(x) + math.log1p(math.exp(-abs(x))) for x in numbers]
    return digest(known, np.exp2(numbers), np.abs(numbers) ** 0.75, np.random.default_rng(0).permutation(99))


def lines() -> dict[str, str]:
    """All lines of the program, by name."""
    found = {"machine": machine()}
    for name, settings in SETTINGS.items():
        found |= {f"{name}: {stage}": hashed for stage, hashed in life(name, settings)}
    return found | dict(large())


if __name__ == "__main__":
    json.dump(lines(), sys.stdout, indent=1)
    print()
