"""The best rows of each query against plain NumPy, to the bit, with numbers so few that many scores are equal."""

from __future__ import annotations

from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmf import MF, Interactions, Options, optimizers, ranking
from fastmf.kernels.core.shape import record_width, shape_of
from fastmf.kernels.rank import topk
from fastmf.memory import aligned

pytestmark = pytest.mark.filterwarnings("ignore::fastmf.errors.DataWarning")  # values here are odd on purpose

NONE = np.empty(0, np.int64)
Lists = tuple[list[list[int]], list[list[float]]]


def a_log(pasts: list[list[int]]) -> tuple[np.ndarray, ...]:
    """A log in which row n has had `pasts[n]`: the first half laid out, the rest linked."""
    column = np.array([one for past in pasts for one in past], np.int32)
    lengths = np.array([len(past) for past in pasts])
    start, based = np.cumsum(lengths) - lengths, (lengths // 2).astype(np.int32)
    head, previous = np.zeros(len(pasts), np.int64), np.zeros(column.size, np.int64)
    for row, past in enumerate(pasts):
        for event in range(start[row] + based[row], start[row] + len(past)):
            previous[event], head[row] = head[row], event + 1
    return start, based, np.arange(column.size), head, previous, column


class Question(NamedTuple):
    """Queries, which are rows of a table, and the rows that they may get."""

    size: int
    queries: np.ndarray
    rows: np.ndarray
    scale: np.ndarray | None
    added: np.ndarray | None

    @classmethod
    def at_random(cls, size: int, queries: int, rows: int, scaled: bool = True, biased: bool = True) -> Question:
        rng, width = np.random.default_rng(size + rows), naive.padded(size)
        tables = aligned(queries, width), aligned(rows, width)
        for table in tables:
            table[:] = 0
            table[:, :size] = rng.integers(-1, 2, (len(table), size))
        scale = rng.choice(np.array([0.5, 1, 2], np.float32), max(rows, queries))
        return cls(
            size, *tables, scale if scaled else None, rng.integers(-1, 2, rows).astype(np.float32) if biased else None
        )

    def ask(
        self,
        k: int,
        pasts: list[list[int]] | None = None,
        candidates: list[int] | None = None,
        shared: np.ndarray = NONE,
        threads: int = 1,
        half: bool = False,
    ) -> Lists:
        shape = shape_of(self.size, optimizers.SGD(), True)
        count = len(self.queries)
        best, values = np.empty((count, k), np.int32), np.empty((count, k), np.float32)
        each, records = np.arange(count, dtype=np.int32), None
        if self.added is not None:
            records = np.full((self.added.size, record_width(0)), np.nan, np.float32)
            records[:, 0] = self.added
        chosen = np.array(candidates or [], np.int32)
        n_candidates = len(self.rows) if candidates is None else len(candidates)
        tables = [table.astype(np.float16).view(np.uint16) if half else table for table in (self.queries, self.rows)]
        topk.rank(shape, half, threads > 1)(
            tables[0], each, tables[1], self.scale, records, chosen, n_candidates, shared,
            a_log(pasts or [[]]), each if pasts else np.full(count, -1, np.int32), threads, best, values,
        )  # fmt: skip
        return best.tolist(), values.tolist()

    def expected(self, k: int, pasts: list[list[int]] | None = None, candidates: list[int] | None = None) -> Lists:
        scale = np.ones(len(self.rows), np.float32) if self.scale is None else self.scale
        added = np.zeros(len(self.rows), np.float32) if self.added is None else self.added
        allowed = set(range(len(self.rows)) if candidates is None else candidates)
        factors = np.ones(len(self.queries), np.float32) if self.scale is None else self.scale
        answers = [
            naive.rank(query * factor, self.rows, scale, added, allowed - set(past), k)
            for query, factor, past in zip(self.queries, factors, pasts or [[]] * len(self.queries), strict=False)
        ]
        return [rows for rows, _ in answers], [values for _, values in answers]


@pytest.mark.parametrize("rows", [1, 40, 64, 135])
@pytest.mark.parametrize("queries", [1, 3, 4, 7])
@pytest.mark.parametrize("k", [1, 5, 150])
def test_rank_equals_naive(rows: int, queries: int, k: int) -> None:
    question = Question.at_random(17, queries, rows)
    some = [row for row in (0, 3, 4, 11, 12, 13, 30, 39, 70, 134) if row < rows]
    pasts = [some, [0, *some[2:5], 0], [], list(range(rows)), some[::-1], [rows - 1], [0]][:queries]
    for candidates in (None, some, []):
        assert question.ask(k, candidates=candidates) == question.expected(k, candidates=candidates)
        assert question.ask(k, pasts, candidates) == question.expected(k, pasts, candidates)


@pytest.mark.parametrize(
    ("size", "scaled", "biased"),
    [
        *((3, False, True), (33, True, False), (100, False, False)),  # each is a kernel of its own
        *(pytest.param(size, False, True, marks=pytest.mark.slow) for size in (16, 33, 64, 100)),
        *(pytest.param(size, True, False, marks=pytest.mark.slow) for size in (3, 16, 64, 100)),
        *(pytest.param(size, False, False, marks=pytest.mark.slow) for size in (3, 16, 33, 64)),
    ],
)
def test_every_width_and_form(size: int, scaled: bool, biased: bool) -> None:
    question = Question.at_random(size, 5, 70, scaled, biased)
    assert question.ask(9) == question.expected(9)


def test_half_precision() -> None:
    question = Question.at_random(17, 5, 135)
    assert question.ask(9, half=True) == question.expected(9)


def test_what_is_barred_for_all() -> None:
    question, words = Question.at_random(17, 5, 135), np.array([1 << 3 | 1 << 62, -(1 << 63), 1 << 6], np.int64)
    left = sorted(set(range(135)) - {3, 62, 127, 134})
    assert question.ask(200, [[0], [1], [2], [3], []], shared=words) == question.expected(
        200, [[0], [1], [2], [3], []], left
    )


@pytest.mark.parametrize("queries", [1, 5, 200])
def test_threads_change_nothing(queries: int) -> None:
    question, pasts = Question.at_random(17, queries, 200), [[q % 60, 199] for q in range(queries)]
    found = question.ask(10, pasts)
    assert found == question.expected(10, pasts)
    for threads in (2, 3):
        assert question.ask(10, pasts, threads=threads) == found


def test_scores_that_are_not_numbers_are_not_listed() -> None:
    question = Question.at_random(17, 5, 70, scaled=False)
    question.rows[[3, 66], 2] = np.nan
    question.added[[5, 69]] = -np.inf
    question.queries[:, 2] = 1
    left = sorted(set(range(70)) - {3, 5, 66, 69})
    assert question.ask(70) == question.expected(70, candidates=left)


# ------------------------------------------------------------------------------------------------ through the model

QUERIES, ITEMS = 11, 150


def a_model(threads: int, seed: int = 0, whole: bool = True, storage: str = "float32") -> MF:
    """A model with a history; with whole numbers many scores are equal."""
    rng = np.random.default_rng(seed)
    tables = [rng.integers(-1, 2, (rows, 8)) if whole else rng.normal(size=(rows, 8)) for rows in (QUERIES, ITEMS)]
    model = MF.from_factors(
        *tables, item_biases=rng.integers(-1, 2, ITEMS), options=Options(threads=threads, storage=storage)
    )
    seen = rng.integers(0, QUERIES, 200), rng.integers(0, ITEMS, 200)
    model.update(Interactions(*seen), trainable={})
    return model


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `recommend`, unknown and repeated ids included."""
    ids = st.lists(st.integers(0, ITEMS + 5), max_size=40)
    return {
        "users": draw(st.lists(st.integers(0, QUERIES + 2), min_size=1, max_size=9)),
        "k": draw(st.sampled_from([1, 10, 40, ITEMS + 3])),
        "exclude_seen": draw(st.booleans()),
        "items": draw(st.none() | ids),
        "exclude": draw(st.none() | ids),
    }


@given(st.integers(0, 3), st.booleans(), questions(), st.randoms())
def test_a_list_depends_on_nothing_but_its_own_question(
    seed: int, whole: bool, question: dict[str, Any], random: Any
) -> None:
    one = a_model(1, seed, whole)
    found = one.recommend(**question)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_PARALLEL_FROM", 0)
        patch.setattr(ranking, "_CHUNK", 1)
        for left, right in zip(found, a_model(2, seed, whole).recommend(**question), strict=True):
            np.testing.assert_array_equal(left, right)
    for name in ("items", "exclude"):
        if question[name]:
            question[name] = [*question[name], question[name][0]]
            random.shuffle(question[name])
    for place, user in enumerate(question["users"]):
        alone = one.recommend(**question | {"users": [user]})
        np.testing.assert_array_equal(alone.ids[0], found.ids[place])
        np.testing.assert_array_equal(alone.scores[0], found.scores[place])


@given(st.integers(0, 3), questions())
def test_candidates_are_ranked_as_among_all(seed: int, question: dict[str, Any]) -> None:
    model = a_model(1, seed)
    rest = {name: question[name] for name in ("users", "exclude_seen", "exclude")}
    everything, found = model.recommend(k=ITEMS, **rest), model.recommend(**question)
    for place in range(len(question["users"])):
        wanted = [
            pair
            for pair in zip(everything.ids[place].tolist(), everything.scores[place].tolist(), strict=True)
            if pair[0] >= 0 and (question["items"] is None or pair[0] in question["items"])
        ][: question["k"]]
        length = found.lengths[place]
        assert (
            list(zip(found.ids[place, :length].tolist(), found.scores[place, :length].tolist(), strict=True)) == wanted
        )
