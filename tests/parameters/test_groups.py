"""Groups that nobody has heard of: one with ids, of a shape of its own and with a further part, and one without.

A learner of one's own learns them: a tag for each ten items, and a map that belongs to nobody.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import interrupted_at
from strategies import FACTORS, assert_same, bits, some_events

import fastmf
from fastmf import MF, Delta, Interactions, learners, losses, optimizers
from fastmf.errors import CapacityError, FileFormatError, StaleDelta
from fastmf.kernels.core.shape import Shape
from fastmf.learners.gathering import named_rows
from fastmf.learners.job import Training, UpdateJob
from fastmf.learners.steps import Steps
from fastmf.learners.working import WorkingSet
from fastmf.parameters.groups import DenseGroup, Group, RowGroup
from fastmf.parameters.moves import DenseMove, Image, Move
from fastmf.parameters.start import HashedStart
from fastmf.parameters.table import Layout, Table

SIZE, FURTHER = 5, 3
TAGGED = Layout(Shape(SIZE, 16, 2, True), further=(FURTHER,))


class Tagging(Steps):
    """Steps, and beside them: every event adds 1 to its tag, and its value to the map."""

    def suits(self, objective: Any) -> bool:
        return type(objective.loss) is losses.Huber

    def groups(self, objective: Any, shape: Shape, seed: int, budget: int) -> dict[str, Group]:
        tags = RowGroup(Table(TAGGED, HashedStart.of(seed, 7, SIZE), budget))
        return {"tags": tags, "map": DenseGroup({"sums": np.zeros((2, 2), np.float32), "seen": np.zeros(1, np.int64)})}

    def update(self, job: UpdateJob) -> Training:
        training, state, count = super().update(job), job.state, job.arrived.users.size
        known = state.items.ids_from(0)
        items = np.concatenate([known, job.staged["items"].fresh])[job.arrived.items]
        job.staged["tags"] = state.side("tags").stage(items // 10, "tags")
        named = named_rows(job, "tags", job.staged["tags"].rows, count)
        tags = WorkingSet(state, {"tags": named.rows}, {"tags": named.movable})
        may = job.recipe.trainable
        after: dict[str, np.ndarray] = {}

        def learn() -> None:
            training.learn()
            counts = np.bincount(named.local, minlength=named.rows.size)[: named.movable, None]
            for part, width in zip(tags.now["tags"], (SIZE, 3, FURTHER), strict=True):
                part[: named.movable, :width] += counts
            if may == "both" or (isinstance(may, Mapping) and may.get("map", False)):
                dense = state.groups["map"].values  # type: ignore[attr-defined]
                after["sums"] = dense["sums"] + job.arrived.values.sum()
                after["seen"] = dense["seen"] + count

        def further() -> dict[str, Any]:
            return tags.moves() | ({"map": state.groups["map"].move(after)} if after else {})  # type: ignore[attr-defined]

        return training._replace(learn=learn, further=further)


@pytest.fixture(autouse=True)
def _tagging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "LEARNERS", [*learners.LEARNERS])
    learners.register(Tagging())


def fitted(**settings: Any) -> MF:
    """A model whose fit leaves its own groups empty, after one update."""
    model = MF(FACTORS, loss=losses.Huber(), solver=optimizers.AdaGrad(), **settings).fit(some_events(), epochs=1)
    model.update(batch_of(0))
    return model


def batch_of(number: int) -> Interactions:
    """Twenty events of some known and some new items, with a tag that is new each time."""
    return some_events(20, users=40, items=25 + 10 * number, seed=50 + number)


def inside(model: MF) -> dict[str, Any]:
    """`bits` with the groups of one's own."""
    tags, dense, found = model._state.side("tags"), model._state.groups["map"], bits(model)
    assert tags.table.count == len(tags.ids) == tags.count
    for number, part in enumerate(tags.table.parts):
        found[f"tags {number}"] = part[: tags.count].tobytes()
    found["tags"] = tags.ids.values.tolist()
    return found | {f"map {name}": value.tobytes() for name, value in dense.values.items()}


def content(model: MF) -> dict[str, Any]:
    return {name: part for name, part in inside(model).items() if name not in ("lineage", "version", "epochs")}


def tag_counts(model: MF) -> dict[int, float]:
    """What the further part of each tag has, which counts its events."""
    tags = model._state.side("tags")
    return dict(zip(tags.ids.values.tolist(), tags.table.parts[2][: tags.count, 0].tolist(), strict=True))


# --- update -----------------------------------------------------------------------------------------------------------


def test_an_update_moves_them() -> None:
    model, batch = fitted(), batch_of(1)
    counts, start = tag_counts(model), model._state.side("tags").table
    delta = model.update(batch)
    for tag in (batch.items // 10).tolist():
        counts[tag] = counts.get(tag, 0.0) + 1
    assert tag_counts(model) == counts
    assert delta.new_ids["tags"].tolist() == [3]
    assert set(delta.moves) == {"users", "items", "tags", "map"}
    assert isinstance(delta.moves["map"], DenseMove)
    tags = delta.moves["tags"]
    assert isinstance(tags, Move)
    assert [part.shape[1] for part in tags.after] == list(TAGGED.widths)
    row = model._state.side("tags").ids.rows(np.array([3]))[0]
    place = tags.rows.tolist().index(row)
    first = Table(TAGGED, start.start, 1 << 20).gather(np.array([row], np.int32))  # as it started
    np.testing.assert_array_equal(tags.before.take(np.array([place])).factors, first.factors)
    assert not tags.before[2][place].any()
    assert model._state.groups["map"].values["seen"].tolist() == [40]
    assert delta.rows_moved == sum(move.rows.size for move in delta.moves.values())
    assert "tags (1 new)" in str(delta)
    assert delta.nbytes > sum(array.nbytes for move in delta.moves.values() for array in move.arrays)


@pytest.mark.parametrize(
    ("trainable", "tags", "dense"),
    [
        ("both", True, True),
        ("users", False, False),
        ({"tags": True}, True, False),
        ({"tags": [2, 77], "map": True}, [2], True),
        ({"tags": [3]}, [3], False),
        ({"map": True, "users": True}, False, True),
        ({"tags": False, "map": False, "items": True}, False, False),
    ],
    ids=str,
)
def test_trainable_names_them(trainable: Any, tags: bool | list[int], dense: bool) -> None:
    model, batch = fitted(), batch_of(1)
    counts, seen, sums = tag_counts(model), 20, model._state.groups["map"].values["sums"].copy()
    before = {side: getattr(model, f"{side}_factors").copy() for side in ("user", "item")}
    model.update(batch, trainable=trainable)
    chosen = (batch.items // 10).tolist()
    assert set(tag_counts(model)) == {*counts, *chosen}  # they come in, whether they may move or not
    for tag in chosen:
        counts[tag] = counts.get(tag, 0.0) + (tags if isinstance(tags, bool) else tag in tags)
    assert tag_counts(model) == counts
    found = model._state.groups["map"].values
    assert found["seen"].tolist() == [seen + 20 * dense]
    assert (found["sums"] != sums).all() == dense
    for side, rows in before.items():
        may = (
            trainable == "both" or trainable == f"{side}s" or (isinstance(trainable, dict) and f"{side}s" in trainable)
        )
        assert (getattr(model, f"{side}_factors")[: len(rows)] != rows).any() == may


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        ({"tag": True}, r"names \['tag'\]; the groups are \['users', 'items', 'tags', 'map'\]"),
        ({"map": [1]}, r"\['map'\] must be True or False, got \[1\]: the group has no ids"),
        ({"tags": ["text"]}, r"trainable tags, row 0: 'text' is str"),
    ],
)
def test_what_is_no_group_or_no_id_of_one_is_refused(trainable: Any, message: str) -> None:
    model = fitted()
    before = inside(model)
    with pytest.raises(ValueError, match=message):
        model.update(batch_of(1), trainable=trainable)
    assert_same(inside(model), before)


@pytest.mark.parametrize("solver", [optimizers.Variational(), optimizers.AdaGrad()], ids=["beliefs", "steps"])
def test_models_of_other_learners_have_none_of_these(solver: Any) -> None:
    model = MF(FACTORS, solver=solver).fit(some_events(), epochs=1)
    assert {*model._state.groups} - {"priors"} == {"users", "items"}
    model.update(batch_of(1), trainable="users")


# --- undo, apply, merge -----------------------------------------------------------------------------------------------


def test_rollback_restores_every_bit() -> None:
    model = fitted()
    past = [content(model)]
    for number in (1, 2, 3):
        model.update(batch_of(number))
        past.append(content(model))
    for left in (3, 1):
        model.rollback(to=left)
        assert_same(content(model), past[left - 1])
    for number in (1, 2, 3):
        model.update(batch_of(number))
    assert_same(content(model), past[3])
    model.rollback(to=0)
    assert tag_counts(model) == {}
    assert not model._state.groups["map"].values["sums"].any()


def test_a_copy_follows_by_deltas_and_their_inverses() -> None:
    model = fitted()
    replica = model.copy()
    replica.apply(model.update(batch_of(1)))
    assert_same(inside(model), inside(replica))
    replica.apply(pickle.loads(pickle.dumps(model.update(batch_of(2), trainable={"tags": True}))))
    assert_same(inside(model), inside(replica))
    replica.apply(model.rollback(to=1))
    assert_same(inside(model), inside(replica))
    model.update(batch_of(3))
    assert content(model) != content(replica)  # a copy is independent
    assert_same(content(replica), content(fitted()))


def test_merged_deltas_lead_to_the_same_bits() -> None:
    """Single events among them, whose Deltas say nothing of these groups."""
    model = fitted()
    replica, start = model.copy(), content(model)
    changes: list[Callable[[], Delta]] = [
        lambda: model.update(batch_of(1)),
        lambda: model.update(batch_of(2), trainable="users"),
        lambda: [model.learn_one(3, 900, 4.0), model.flush()][1],
        lambda: model.update(batch_of(3)),
        lambda: [model.learn_one(901, 3, 4.0), model.flush()][1],
    ]
    deltas = [change() for change in changes]
    replica.apply(Delta.merge(deltas))
    assert_same(inside(model), inside(replica))
    inverse = model.rollback(to=1)
    assert_same(content(model), start)
    replica.apply(inverse)
    assert_same(content(replica), start)


def test_a_delta_of_a_group_that_a_model_has_not_is_stale() -> None:
    model = fitted()
    replica = model.copy()
    del replica._state.groups["map"]
    before = bits(replica)
    with pytest.raises(StaleDelta, match="names the group 'map'"):
        replica.apply(model.update(batch_of(1)))
    assert_same(bits(replica), before)


@pytest.mark.parametrize("moved", [{"sums": np.zeros((2, 3), np.float32)}, {"seen": np.zeros(1)}, {"more": np.ones(1)}])
def test_a_move_that_does_not_fit_is_refused(moved: dict[str, np.ndarray]) -> None:
    model = fitted()
    replica = model.copy()
    delta, before = model.update(batch_of(1)), inside(replica)
    delta.moves["map"] = DenseMove({}, moved)
    with pytest.raises(ValueError, match=f"{next(iter(moved))}.* does not fit DenseGroup"):
        replica.apply(delta)
    assert_same(inside(replica), before)


def test_a_group_that_is_full_refuses_and_nothing_changes() -> None:
    model = fitted()
    tags = model._state.side("tags").table
    tags.capacity = tags.count
    before = inside(model)
    with pytest.raises(CapacityError, match="4 rows of 5 factors exceed the memory budget"):
        model.update(batch_of(1))
    assert_same(inside(model), before)


@pytest.mark.parametrize("change", ["update", "rollback"])
def test_an_interrupted_change_is_not_there_or_whole(change: str) -> None:
    calls = {"update": lambda model: model.update(batch_of(2)), "rollback": lambda model: model.rollback(to=1)}

    def before() -> MF:
        model = start.copy()
        model.update(batch_of(1))
        return model

    start = fitted()
    after = before()
    calls[change](after)
    outcomes, found, line = [content(before()), content(after)], [], 0
    while True:
        model = before()
        if not interrupted_at(line, lambda model=model: calls[change](model), "_take_in"):
            break
        assert model.version in (2, 3)  # the next call
        found.append(outcomes.index(content(model)))
        line += 1
    assert found == sorted(found)
    assert {*found} == {0, 1}


# --- files ------------------------------------------------------------------------------------------------------------


def saved(model: MF, folder: Path) -> MF:
    model.save(folder / "model")
    return fastmf.load(folder / "model")


@pytest.mark.parametrize(
    "made",
    [saved, lambda model, _: pickle.loads(pickle.dumps(model)), lambda model, _: model.copy()],
    ids=["file", "pickle", "copy"],
)
@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_copies_and_files_hold_them(made: Any, storage: str, tmp_path: Path) -> None:
    model = fitted(options=fastmf.Options(storage=storage))
    twin = made(model, tmp_path)
    assert_same(inside(model), inside(twin))
    delta = model.update(batch_of(1))
    twin.apply(delta)
    assert_same(inside(model), inside(twin))
    model.update(batch_of(2))
    twin.update(batch_of(2))
    assert_same(inside(model), inside(twin))


def test_a_file_without_them_or_with_others_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = fitted()
    model.save(tmp_path / "model")
    arrays, metadata = fastmf.files.read(tmp_path / "model")
    for name in ("tags.part2", "tags.ids", "map.sums"):
        left = {key: array for key, array in arrays.items() if key != name}
        (tmp_path / "less").write_bytes(fastmf.files.pack(left, metadata))
        with pytest.raises(FileFormatError):
            fastmf.load(tmp_path / "less")
    for name, array in (
        ("tags.part2", arrays["tags.part2"][:, :2]),
        ("map.sums", arrays["map.sums"].astype(np.float64)),
    ):
        (tmp_path / "other").write_bytes(fastmf.files.pack({**arrays, name: array}, metadata))
        with pytest.raises(FileFormatError):
            fastmf.load(tmp_path / "other")
    monkeypatch.setattr(learners, "LEARNERS", [one for one in learners.LEARNERS if not isinstance(one, Tagging)])
    with pytest.raises(FileFormatError, match=r"\['map', 'tags'\]"):
        fastmf.load(tmp_path / "model")


# --- moves by themselves ----------------------------------------------------------------------------------------------


def test_dense_moves_merge_to_the_first_before_and_the_last_after() -> None:
    group = DenseGroup({"a": np.zeros(2), "b": np.zeros(1)})
    moves = []
    for after in ({"a": np.ones(2)}, {"b": np.full(1, 5.0)}, {"a": np.full(2, 3.0)}):
        moves.append(group.move(after))
        group.write(moves[-1])
    merged = DenseMove.merge(moves)
    assert {name: value.tolist() for name, value in merged.before.items()} == {"a": [0, 0], "b": [0]}
    assert {name: value.tolist() for name, value in merged.after.items()} == {"a": [3, 3], "b": [5]}
    group.write(merged.inverse())
    assert not group.values["a"].any()
    assert not group.values["b"].any()
    with pytest.raises(ValueError, match="has no ids"):
        group.prepare(np.arange(2))


def test_images_hold_any_number_of_parts() -> None:
    image = Image(
        (np.zeros((3, 16), np.float32), np.ones((3, 2), np.float32), np.arange(9, dtype=np.float32).reshape(3, 3))
    )
    assert image.take(np.array([2, 0]))[2].tolist() == [[6, 7, 8], [0, 1, 2]]
    both = Image.concatenate([image.head(1), image])
    assert [part.shape for part in both] == [(4, 16), (4, 2), (4, 3)]
    assert both.factors.ctypes.data % 64 == 0
    assert image.within(1.0)
    image[2][1, 1] = np.inf
    assert not image.within(1.0)


@pytest.mark.parametrize("name", ["users", "history", "gram", "map.sums", "", "two words"])
def test_a_name_that_files_could_confuse_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group = DenseGroup({"sums": np.zeros(1)})
    monkeypatch.setattr(Tagging, "groups", lambda *_: {name: group})
    with pytest.raises(ValueError, match=f"^groups: '{name}' must be an identifier other than "):
        MF(factors=FACTORS, loss=losses.Huber(), solver=optimizers.AdaGrad()).fit(some_events(), epochs=1)
