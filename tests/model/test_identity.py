"""Which Deltas a model takes: those that start from the state it is in and fit all that they name."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import as_text, fitted, some_events
from test_interrupts import names, snapshot

import fastmf
from fastmf import MF, Interactions, files, losses, optimizers
from fastmf.delta import Delta
from fastmf.errors import StaleDelta
from fastmf.followers.grams import Gram, GramImage
from fastmf.parameters.moves import DenseMove, Image

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

NEW = Interactions([2, 100, 101], [1, 50, 2], [1.0, 5.0, 3.0])
OTHER = Interactions([7, 200], [1, 60], [2.0, 3.0])
KINDS: dict[str, dict[str, Any]] = {
    "beliefs": {},
    "steps": {"solver": optimizers.AdaGrad()},
    "text": {"text": True},
    "wholes": {"loss": losses.Confidence()},
}


def of(kind: str, batch: Interactions) -> Interactions:
    return as_text(batch) if kind == "text" else batch


def refuses(model: MF, call: Callable[[], Any], *kinds: type[Exception]) -> None:
    """Nothing at all has changed."""
    origin = names(model)
    before = snapshot(model, origin)
    with pytest.raises(kinds or ValueError):
        call()
    assert snapshot(model, origin) == before


# ------------------------------------------------------------------------------------------------ branches


@pytest.mark.parametrize("kind", KINDS)
def test_copies_that_have_gone_their_own_ways_refuse_each_other(kind: str) -> None:
    one = fitted(**KINDS[kind])
    other = one.copy()
    lists = other.lists(k=3)
    first, own = one.update(of(kind, NEW)), other.update(of(kind, OTHER))
    assert one.version == other.version
    refuses(other, lambda: other.apply(first), StaleDelta)
    refuses(other, lambda: other.apply(one.update(of(kind, NEW))), StaleDelta)
    refuses(other, lambda: other.rollback(first), StaleDelta)
    with pytest.raises(StaleDelta):
        lists.refresh(first)
    assert len(lists.refresh(own))
    other.rollback(own)
    refuses(other, lambda: other.apply(first), StaleDelta)  # what was gone back to has another name


def test_the_same_batch_makes_two_states_of_two_copies() -> None:
    one = fitted()
    other = one.copy()
    one.update(NEW)
    other.update(NEW)
    assert one.head != other.head
    refuses(other, lambda: other.apply(one.update(OTHER)), StaleDelta)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_follow_each_other_step_by_step(kind: str) -> None:
    one = fitted(**KINDS[kind])
    other = one.copy()
    user, item = ("u5", "i700") if kind == "text" else (5, 700)
    deltas = [one.update(of(kind, NEW))]
    one.learn_one(user, item, 3.0)
    deltas += [one.flush(), one.update(of(kind, OTHER))]
    deltas += [one.rollback(deltas[-1]), one.update(of(kind, OTHER))]
    one.learn_one(user, item, 3.0)
    deltas.append(one.rollback(to=1))
    for delta in deltas[:-1]:
        other.apply(pickle.loads(pickle.dumps(delta)))
    refuses(other, lambda: other.apply(deltas[-1]), StaleDelta)  # which takes back an event that no Delta told of
    one = fitted(**KINDS[kind])
    third = one.copy()
    for delta in (one.update(of(kind, NEW)), one.rollback(to=0), one.update(of(kind, OTHER))):
        third.apply(copy.deepcopy(delta))
    assert snapshot(third, names(one)) == snapshot(one, names(one))
    assert third.head == one.head


def test_single_events_that_no_delta_tells_of_are_a_branch_too() -> None:
    one = fitted()
    other = one.copy()
    delta = one.update(NEW)
    other.learn_one(1, 2, 3.0)
    refuses(other, lambda: other.apply(delta), StaleDelta)
    refuses(other, lambda: other.rollback(delta), StaleDelta)
    third = other.copy()
    assert third.head not in (other.head, one.head)
    refuses(third, lambda: third.apply(delta), StaleDelta)


def test_a_delta_is_taken_once() -> None:
    one = fitted()
    other = one.copy()
    delta = one.update(NEW)
    other.apply(delta)
    refuses(other, lambda: other.apply(delta), StaleDelta)
    refuses(one, lambda: one.apply(delta), StaleDelta)
    other.rollback(delta)
    refuses(other, lambda: other.rollback(delta), StaleDelta)


def test_lists_follow_a_model_that_goes_back_and_on() -> None:
    model = fitted()
    lists = model.lists(k=4)
    deltas = [model.update(NEW), model.update(OTHER)]
    deltas += [model.rollback(to=1), model.update(OTHER)]
    for delta in deltas:
        lists.refresh(delta)
    assert (lists.ids == model.recommend(model.users.values, k=4).ids).all()
    with pytest.raises(StaleDelta):
        lists.refresh(deltas[1])


# ------------------------------------------------------------------------------------------------ crafted


def moved(delta: Delta, name: str, **parts: Any) -> Delta:
    return dataclasses.replace(delta, moves=delta.moves | {name: delta.moves[name]._replace(**parts)})


def image(like: Image, change: Callable[[np.ndarray], np.ndarray]) -> Image:
    return Image((change(like[0].copy()), *like[1:]))


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(part: np.ndarray) -> np.ndarray:
        part[0, 0] = value
        return part

    return change


def ids_for(delta: Delta, *ids: Any) -> np.ndarray:
    return np.array(ids, delta.new_ids["users"].dtype)


CRAFTED: dict[str, Callable[[Delta, MF], Delta]] = {
    "known ids as new": lambda d, m: dataclasses.replace(
        d, new_ids=d.new_ids | {"users": m.users.values[: len(d.new_users)]}
    ),
    "an id twice": lambda d, m: dataclasses.replace(
        d, new_ids=d.new_ids | {"users": np.repeat(d.new_users[:1], len(d.new_users))}
    ),
    "fewer ids than rows": lambda d, m: dataclasses.replace(d, new_ids=d.new_ids | {"users": d.new_users[:1]}),
    "no new ids": lambda d, m: dataclasses.replace(d, new_ids={name: ids[:0] for name, ids in d.new_ids.items()}),
    "ids of another kind": lambda d, m: dataclasses.replace(
        d,
        new_ids=d.new_ids
        | {"users": np.arange(900, 902) if d.new_users.dtype == object else np.array(["x", "y"], object)},
    ),
    "ids that are floats": lambda d, m: dataclasses.replace(d, new_ids=d.new_ids | {"users": np.array([1.5, 2.5])}),
    "ids in a table": lambda d, m: dataclasses.replace(d, new_ids=d.new_ids | {"users": d.new_users[:, None]}),
    "ids in a list": lambda d, m: dataclasses.replace(d, new_ids=d.new_ids | {"users": d.new_users.tolist()}),
    "ids that are objects": lambda d, m: dataclasses.replace(
        d, new_ids=d.new_ids | {"users": np.array([None, b"x"], object)}
    ),
    "rows beyond": lambda d, m: moved(d, "items", rows=d.moves["items"].rows + np.int32(10**6)),
    "rows below": lambda d, m: moved(d, "items", rows=d.moves["items"].rows - np.int32(10**6)),
    "rows twice": lambda d, m: moved(d, "items", rows=np.zeros_like(d.moves["items"].rows)),
    "rows of another dtype": lambda d, m: moved(d, "items", rows=d.moves["items"].rows.astype(np.float64)),
    "rows in a list": lambda d, m: moved(d, "items", rows=d.moves["items"].rows.tolist()),
    "fewer rows than images": lambda d, m: moved(d, "items", rows=d.moves["items"].rows[:-1]),
    "NaN": lambda d, m: moved(d, "users", after=image(d.moves["users"].after, with_value(np.nan))),
    "infinity": lambda d, m: moved(d, "users", after=image(d.moves["users"].after, with_value(np.inf))),
    "NaN before": lambda d, m: moved(d, "users", before=image(d.moves["users"].before, with_value(np.nan))),
    "float64": lambda d, m: moved(d, "users", after=image(d.moves["users"].after, lambda p: p.astype(np.float64))),
    "narrow rows": lambda d, m: moved(d, "users", after=image(d.moves["users"].after, lambda p: p[:, :4])),
    "narrow rows before": lambda d, m: moved(d, "users", before=image(d.moves["users"].before, lambda p: p[:, :4])),
    "a part missing": lambda d, m: moved(d, "users", after=Image(d.moves["users"].after[:1])),
    "no image": lambda d, m: moved(d, "users", after=d.moves["users"].after[0]),
    "an image of lists": lambda d, m: moved(d, "users", after=Image(([[1.0]], [[2.0]]))),
    "no move": lambda d, m: dataclasses.replace(d, moves=d.moves | {"users": None}),
    "a move of arrays": lambda d, m: dataclasses.replace(d, moves=d.moves | {"users": DenseMove({}, {})}),
    "an unknown group": lambda d, m: dataclasses.replace(d, moves=d.moves | {"tags": d.moves["users"]}),
    "ids of an unknown group": lambda d, m: dataclasses.replace(d, new_ids=d.new_ids | {"tags": d.new_users}),
    "a group missing": lambda d, m: dataclasses.replace(d, moves={"users": d.moves["users"]}),
    "ids of a group missing": lambda d, m: dataclasses.replace(d, new_ids={"items": d.new_items}),
    "events beyond": lambda d, m: dataclasses.replace(d, log=d.log._replace(users=d.log.users + np.int32(1000))),
    "events below": lambda d, m: dataclasses.replace(d, log=d.log._replace(items=d.log.items - np.int32(1000))),
    "events of another dtype": lambda d, m: dataclasses.replace(d, log=d.log._replace(users=d.log.users.astype(float))),
    "events of different lengths": lambda d, m: dataclasses.replace(d, log=d.log._replace(values=d.log.values[:1])),
    "events without values": lambda d, m: dataclasses.replace(d, log=d.log._replace(values=None)),
    "values that are not finite": lambda d, m: dataclasses.replace(
        d, log=d.log._replace(values=np.full_like(d.log.values, np.nan))
    ),
    "a log of lists": lambda d, m: dataclasses.replace(d, log=([], [], [])),
    "an unknown number": lambda d, m: dataclasses.replace(d, scalars=d.scalars | {"centre": (0.0, 1.0)}),
    "a number missing": lambda d, m: dataclasses.replace(d, scalars={}),
    "a number that is NaN": lambda d, m: dataclasses.replace(d, scalars=d.scalars | {"low": (0.0, float("nan"))}),
    "numbers that are text": lambda d, m: dataclasses.replace(d, scalars=d.scalars | {"low": ("a", "b")}),
    "a Gram matrix of another width": lambda d, m: dataclasses.replace(
        d, images={"grams": GramImage({"users": Gram(np.zeros((2, 2)), np.zeros(3))})}
    ),
    "a Gram matrix of an unknown group": lambda d, m: dataclasses.replace(
        d, images={"grams": GramImage({"tags": Gram(np.zeros((16, 16)), np.zeros(3))})}
    ),
    "no Gram matrices": lambda d, m: dataclasses.replace(d, images={"grams": 3}),
    "its own parent": lambda d, m: dataclasses.replace(d, head=d.parent),
    "a version that goes back": lambda d, m: dataclasses.replace(d, version=d.parent_version),
    "another parent's number": lambda d, m: dataclasses.replace(d, parent_version=d.parent_version - 1),
    "another lineage": lambda d, m: dataclasses.replace(d, lineage="x"),
    "a name that is no text": lambda d, m: dataclasses.replace(d, head=None),
    "a restored version that is no number": lambda d, m: dataclasses.replace(d, restores="x"),
    "an inverse that is none": lambda d, m: dataclasses.replace(d, restores=d.parent_version),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CRAFTED)
def test_a_delta_that_does_not_fit_is_refused(kind: str, name: str) -> None:
    one = fitted(**KINDS[kind])
    other = one.copy()
    crafted = CRAFTED[name](one.update(of(kind, NEW)), one)
    refuses(other, lambda: other.apply(crafted))


LENIENT = {name for name in CRAFTED if "Gram" in name} | {
    "no new ids",
    "another parent's number",
}  # where the model has kept the Delta, it goes by its own


@pytest.mark.parametrize("name", sorted(set(CRAFTED) - LENIENT))
def test_what_does_not_fit_is_not_taken_back(name: str) -> None:
    model = fitted()
    crafted = CRAFTED[name](model.update(NEW), model)
    refuses(model, lambda: model.rollback(crafted))


@pytest.mark.parametrize("name", sorted(LENIENT))
def test_what_is_taken_back_is_what_the_model_remembers(name: str) -> None:
    model, before = fitted(), fitted()
    model.rollback(CRAFTED[name](model.update(NEW), model))
    assert model.users.values.tolist() == before.users.values.tolist()
    assert (model.item_factors == before.item_factors).all()


@pytest.mark.parametrize("name", ["events", "users", "values"])
def test_an_inverse_takes_back_what_came_in_last(name: str) -> None:
    one = fitted()
    other = one.copy()
    other.apply(one.update(NEW))
    inverse = one.rollback(to=0)
    if name == "events":
        inverse = dataclasses.replace(inverse, log=inverse.log.take(slice(0, 2)))
    elif name == "values":
        inverse = dataclasses.replace(inverse, log=inverse.log._replace(values=inverse.log.values + np.float32(1)))
    else:
        inverse = dataclasses.replace(inverse, new_ids=inverse.new_ids | {"users": inverse.new_users[::-1].copy()})
    if name != "events":  # fewer are the newest too
        refuses(other, lambda: other.apply(inverse), StaleDelta)


@pytest.mark.parametrize("what", [None, 3, "delta", {}])
def test_what_is_no_delta_is_refused(what: Any) -> None:
    model = fitted()
    refuses(model, lambda: model.apply(what), TypeError)
    with pytest.raises(TypeError):
        model.lists(k=2).refresh(what)


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_is_in_the_state_that_was_saved(kind: str, tmp_path: Path) -> None:
    one = fitted(**KINDS[kind])
    delta = one.update(of(kind, NEW))
    one.save(tmp_path / "model")
    loaded = fastmf.load(tmp_path / "model")
    assert (loaded.head, loaded.version, loaded.lineage) == (one.head, one.version, one.lineage)
    following = one.update(of(kind, OTHER))
    loaded.apply(following)
    assert snapshot(loaded, names(one)) == snapshot(one, names(one))
    loaded.rollback(following)
    loaded.rollback(delta)
    assert len(loaded.users) == 30


def test_a_file_of_version_0_1_has_no_names_of_states(tmp_path: Path) -> None:
    model = fitted()
    delta = model.update(NEW)
    model.save(tmp_path / "model")
    arrays, metadata = files.read(tmp_path / "model")
    del metadata["head"]
    metadata["trail"] = [names[0][1] for names in metadata["trail"]]
    (tmp_path / "old").write_bytes(files.pack(arrays, metadata))
    loaded = fastmf.load(tmp_path / "old")
    assert (loaded.version, loaded.lineage) == (1, model.lineage)
    assert (loaded.user_factors == model.user_factors).all()
    newest = loaded.update(OTHER)
    with pytest.raises(StaleDelta):
        model.apply(newest)
    loaded.rollback(newest)
    refuses(loaded, lambda: loaded.rollback(delta), StaleDelta)
    loaded.save(tmp_path / "new")
    assert fastmf.load(tmp_path / "new").head == loaded.head


# ------------------------------------------------------------------------------------------------ what changes nothing


UNCHANGING: dict[str, Callable[[MF], Any]] = {
    "fold_in": lambda m: m.fold_in(Interactions(["v"], [3], [2.0]), k=3),
    "copy": lambda m: m.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda m: pickle.loads(pickle.dumps(m)),
    "save": lambda m: m.save("/dev/null"),
    "recommend": lambda m: m.recommend([1, 2]),
    "predict_one": lambda m: m.predict_one(1, 900),
    "lists": lambda m: m.lists(k=2),
}
REFUSED: dict[str, Callable[[MF], Any]] = {
    "update of another kind of id": lambda m: m.update(Interactions(["a"], ["b"], [1.0])),
    "update that diverges": lambda m: m.update(Interactions([1], [2], [3.4e38], weights=[3e38])),
    "update with an unknown group": lambda m: m.update(NEW, trainable={"tags": True}),
    "update without times": lambda m: m.update(NEW, half_life=3.0),
    "learn_one of another kind of id": lambda m: m.learn_one("a", "b", 1.0),
    "learn_one of new ids that diverges": lambda m: m.learn_one(900, 901, 3e38),
    "learn_one that is not finite": lambda m: m.learn_one(1, 2, float("nan")),
    "rollback to nowhere": lambda m: m.rollback(to=77),
    "rollback of nothing": lambda m: m.rollback(),
    "rollback of a stranger": lambda m: m.rollback(fitted().update(NEW)),
    "apply of a stranger": lambda m: m.apply(MF(factors=8).fit(some_events(), epochs=1).update(NEW)),
    "fit of nothing": lambda m: m.fit(NEW[:0]),
    "fit that diverges": lambda m: m.fit(Interactions([1, 1], [2, 2], [3e38, -3e38]), epochs=3),
    "refit without times": lambda m: m.refit(half_life=3.0),
    "set_params": lambda m: m.set_params(factors=3),
}


@pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")
@pytest.mark.parametrize("singles", [False, True])
@pytest.mark.parametrize("name", [*UNCHANGING, *REFUSED])
def test_questions_and_refused_calls_change_nothing(name: str, singles: bool) -> None:
    model = fitted()
    if singles:
        model.learn_one(1, 900, 3.0)
    origin = names(model)
    before = snapshot(model, origin)
    if name in UNCHANGING:
        UNCHANGING[name](model)
    else:
        with pytest.raises((ValueError, ArithmeticError)):
            REFUSED[name](model)
    assert snapshot(model, origin) == before
    delta = model.flush()
    assert (delta.parent, delta.events) == (origin["head"], int(singles))


def test_a_visitor_makes_no_matrix_of_the_model() -> None:
    """Where there is none yet it is a question's own, and gone with the next change."""
    rng = np.random.default_rng(0)
    model = MF.from_factors(rng.normal(size=(9, 8)), rng.normal(size=(30, 8)), loss=losses.Confidence())
    session = Interactions(["v", "v"], [1, 2])
    first = model.fold_in(session, k=5)
    assert not model._fitted().grams.kept
    model.update(Interactions([3], [4]))
    model.learn_one(3, 5)
    again = model.fold_in(session, k=5)
    assert (again.scores != first.scores).any()
    assert (again.scores == pickle.loads(pickle.dumps(model)).fold_in(session, k=5).scores).all()


def test_an_update_after_single_events_tells_of_them_first() -> None:
    model, twin = fitted(), fitted()
    twin._fitted().lineage, twin._fitted().identity = model.lineage, model._fitted().identity
    for one in (model, twin):
        one.learn_one(1, 900, 3.0)
    twin.flush()
    mine, theirs = model.update(some_events(20, seed=4)), twin.update(some_events(20, seed=4))
    assert mine.version == theirs.version == model.version == 2
    assert (mine.moves["users"].after[0] == theirs.moves["users"].after[0]).all()
    flushed = model._fitted().trail.since(0)[0]
    assert (flushed.events, flushed.head) == (1, mine.parent)
