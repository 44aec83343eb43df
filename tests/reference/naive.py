"""Every algorithm once more, in slow plain NumPy: the truth that kernels are measured against.

Nothing is shared with the package. Numbers are float32 in the order that the kernels promise (a sum of lanes is a fixed
tree), so that squared and Huber losses can be compared bit for bit. Losses with transcendental functions are computed
in float64 and rounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

f32 = np.float32

# --- losses ---------------------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    value: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any], Any]
    inverse_link: Callable[[Any], Any]


def squared() -> Loss:
    return Loss(
        value=lambda score, target: (score - target) ** 2,
        slope=lambda score, target: f32(2) * (score - target),
        inverse_link=lambda score: score,
    )


def student_t(df: float = 4.0) -> Loss:
    def value(score: Any, target: Any) -> Any:
        return (f32(df) + 1) / 2 * np.log1p((score - target) ** 2 / f32(df))

    def slope(score: Any, target: Any) -> Any:
        return (f32(df) + 1) * (score - target) / (f32(df) + (score - target) ** 2)

    return Loss(value, slope, inverse_link=lambda score: score)


def huber(delta: float = 1.0) -> Loss:
    width = f32(delta)

    def value(score: Any, target: Any) -> Any:
        error = abs(score - target)
        return error**2 if error <= width else width * (f32(2) * error - width)

    def slope(score: Any, target: Any) -> Any:
        error = score - target
        return f32(2) * (error if abs(error) <= width else np.sign(error) * width)

    return Loss(value, slope, inverse_link=lambda score: score)


def sigmoid(score: Any) -> float:
    return 1 / (1 + math.exp(-float(score)))


def logistic() -> Loss:
    return Loss(
        value=lambda score, target: (
            -float(target) * math.log(sigmoid(score)) - (1 - float(target)) * math.log(sigmoid(-score))
        ),
        slope=lambda score, target: sigmoid(score) - float(target),
        inverse_link=sigmoid,
    )


def poisson() -> Loss:
    return Loss(
        value=lambda score, target: math.exp(float(score)) - float(target) * float(score),
        slope=lambda score, target: math.exp(float(score)) - float(target),
        inverse_link=lambda score: math.exp(float(score)),
    )


class Compared(NamedTuple):
    """A ranking loss: the most draws for an event, and what a list of scores comes to.

    ``loss_and_gradient(scores, expected_counts, items)`` is (loss, slopes). ``search(lead, tries, candidates)`` is
    (loss, slope) of a pair whose negative was the candidate of that number, or None where to look on.
    """

    draws: int
    search: Callable[[Any, int, int], Any] | None = None
    loss_and_gradient: Callable[[list[Any], list[float], int], Any] | None = None
    inverse_link: Callable[[Any], Any] = lambda score: score


def softplus(score: Any) -> float:
    return math.log(1 + math.exp(float(score)))


def bpr(sampler: Any, allow_seen: bool) -> Compared:
    return Compared(1, lambda lead, tries, candidates: (softplus(-lead), -sigmoid(-lead)))


def warp(margin: float, trials: int, sampler: Any, allow_seen: bool) -> Compared:
    def search(lead: Any, tries: int, candidates: int) -> Any:
        if lead >= f32(margin):
            return None
        weight = math.log(1 + math.floor((candidates - 1) / tries)) / math.log(max(candidates, 2)) if tries > 1 else 1.0
        return weight * float(f32(margin) - lead), -weight

    return Compared(trials, search)


def cross_entropy(scores: list[Any], expected_counts: list[float], items: int) -> Any:
    weights = [math.exp(float(scores[0]))]
    weights += [math.exp(float(score)) / chance for score, chance in zip(scores[1:], expected_counts[1:], strict=True)]
    shares = np.array(weights) / sum(weights)
    return -math.log(shares[0]), shares - (np.arange(len(shares)) == 0)


def softmax(allow_seen: bool) -> Compared:
    return Compared(0, loss_and_gradient=cross_entropy)


def sampled_softmax(negatives: int, sampler: Any, allow_seen: bool) -> Compared:
    return Compared(negatives, loss_and_gradient=cross_entropy)


def sampled_logistic(negatives: int, calibration: float, sampler: Any, allow_seen: bool) -> Compared:
    def loss_and_gradient(scores: list[Any], expected_counts: list[float], items: int) -> Any:
        alpha = (len(scores) - 1) / max(items - 1, 1)
        beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
        lost = beta * softplus(-scores[0]) + sum(map(softplus, scores[1:]))
        return lost, np.array([-beta * sigmoid(-scores[0]), *map(sigmoid, scores[1:])])

    return Compared(negatives, loss_and_gradient=loss_and_gradient, inverse_link=sigmoid)


def any_logistic(negatives: int = 0, **fields: Any) -> Any:
    return sampled_logistic(negatives, **fields) if negatives else logistic()


LOSSES: dict[str, Callable[..., Any]] = {
    "Squared": squared,
    "Huber": huber,
    "StudentT": student_t,
    "Logistic": any_logistic,
    "Poisson": poisson,
    "BPR": bpr,
    "WARP": warp,
    "Softmax": softmax,
    "SampledSoftmax": sampled_softmax,
}

# --- optimizers and regularizers ------------------------------------------------------------------------------------

Step = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
PenaltyGradient = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sgd(rate: float = 0.01) -> Step:
    return lambda row, gradient, memory: (row - f32(rate) * gradient, memory)


def adagrad(rate: float = 0.05, initial: float = 100.0) -> Step:
    def step(row: np.ndarray, gradient: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pace = f32(rate) * (f32(1) / np.sqrt(memory[0] * f32(1 / f32(initial)) + f32(1)))
        return row - pace * gradient, memory + total(gradient * gradient) * f32(1 / row.size)

    return step


def l2(weight: float = 0.02) -> PenaltyGradient:
    return lambda row, anchor: f32(2) * f32(weight) * row


STEPS: dict[str, Callable[..., Step]] = {"SGD": sgd, "AdaGrad": adagrad}


def scaled_l2(weight: float = 0.1, events: float = 50.0) -> PenaltyGradient:
    return l2(weight)  # as of a log without events


PENALTY_GRADIENTS: dict[str, Callable[..., PenaltyGradient]] = {"L2": l2, "ScaledL2": scaled_l2}


def like(value: Any) -> Any:
    """The naive counterpart of a loss, optimizer or regularizer, by its name and fields."""
    return (LOSSES | STEPS | PENALTY_GRADIENTS)[type(value).__name__](**value._asdict())


class Objective(NamedTuple):
    loss: Loss
    step: Step
    gradient: PenaltyGradient
    biases: bool = True


# --- rows -----------------------------------------------------------------------------------------------------------


def padded(size: int) -> int:
    return -(-size // 16) * 16


def total(lanes: np.ndarray) -> Any:
    """A float32 sum in the order of the kernels: chunks of 16 from the left, the rest by halving."""
    if lanes.size == 1:
        return lanes[0]
    filled = np.zeros(padded(lanes.size), f32)
    filled[: lanes.size] = lanes
    chunks = filled.reshape(-1, 16)
    result = chunks[0]
    for chunk in chunks[1:]:
        result = result + chunk
    while result.size > 1:
        half = result.size // 2
        result = result[:half] + result[half:]
    return result[0]


def fma(lanes: np.ndarray, factor: Any, added: Any) -> np.ndarray:
    """``lanes * factor + added``, rounded once: a product of two float32 is exact in float64."""
    return (lanes.astype(np.float64) * np.asarray(factor, np.float64) + added).astype(f32)


class Side(NamedTuple):
    """The rows of one side without padding; the first `movable` of them may be written."""

    rows: np.ndarray
    biases: np.ndarray
    memory: np.ndarray
    movable: int

    @classmethod
    def of(cls, factors: np.ndarray, records: np.ndarray, size: int, memory: int, movable: int) -> Side:
        """From a table and its records ``[bias, memory of the row]``."""
        return cls(factors[:, :size].copy(), records[:, :1].copy(), records[:, 1 : 1 + memory].copy(), movable)

    def copy(self) -> Side:
        return Side(*(part.copy() for part in self[:3]), self.movable)

    def table(self) -> np.ndarray:
        """The factors as kernels keep them, padding zero."""
        table = np.zeros((len(self.rows), padded(self.rows.shape[1])), f32)
        table[:, : self.rows.shape[1]] = self.rows
        return table

    def records(self) -> np.ndarray:
        """The records as kernels keep them, padding zero."""
        used = np.concatenate([self.biases, self.memory], axis=1)
        records = np.zeros((len(used), -(-used.shape[1] // 2) * 2), f32)
        records[:, : used.shape[1]] = used
        return records


class Events(NamedTuple):
    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    weights: np.ndarray


class Half(NamedTuple):
    """One event's part in a side: its row, and the gradients of the row and of its bias."""

    side: Side
    row: int
    gradient: np.ndarray
    bias_gradient: np.ndarray


class Model:
    """Two sides under an objective. Training changes them in place; `anchor` is the row as it is now."""

    def __init__(self, users: Side, items: Side, mean: float, objective: Objective) -> None:
        self.users, self.items, self.mean, self.objective = users, items, f32(mean), objective
        self._origins = users.copy(), items.copy()

    def anchor(self, side: Side) -> Side:
        """The rows of a side before the update."""
        return self._origins[0 if side is self.users else 1]

    def score(self, u: int, i: int) -> Any:
        sides = self.users, self.items
        product = total(sides[0].rows[u] * sides[1].rows[i])
        return self.mean + sides[0].biases[u, 0] + sides[1].biases[i, 0] + product

    def lost(self, events: Events, n: int) -> float:
        score = self.score(events.users[n], events.items[n])
        return float(events.weights[n] * self.objective.loss.value(score, events.values[n]))

    def measure(self, events: Events) -> float:
        return sum(self.lost(events, n) for n in range(len(events.users)))

    def epoch(self, events: Events, blocks: Iterable[range], in_flight: int = 1) -> float:
        """One step per event, block by block; returns the loss, each event measured before its group's steps."""
        lost = 0.0
        for block in blocks:
            tail = len(block) - len(block) % in_flight
            groups = [block[first : first + in_flight] for first in range(0, tail, in_flight)]
            for group in [*groups, *(block[n : n + 1] for n in range(tail, len(block)))]:
                lost += sum(self.lost(events, n) for n in group)
                slopes = {n: self.slope(events, n) for n in group}
                for n in reversed(group):
                    for half in self._gradients(events, n, slopes[n]):
                        self._step(*half)
        return lost

    def slope(self, events: Events, n: int) -> Any:
        score = self.score(events.users[n], events.items[n])
        return f32(events.weights[n] * self.objective.loss.slope(score, events.values[n]))

    def batches(self, events: Events, size: int) -> float:
        """One step per `size` events along their mean gradient; returns the loss, measured before the steps."""
        lost = 0.0
        for first in range(0, len(events.users), size):
            batch = range(first, min(first + size, len(events.users)))
            sums: dict[tuple[int, int], Half] = {}
            for n in batch:
                lost += self.lost(events, n)
                for half in self._gradients(events, n, self.slope(events, n)):
                    key = id(half.side), half.row
                    before = sums.get(key, half._replace(gradient=f32(0), bias_gradient=f32(0)))
                    sums[key] = half._replace(
                        gradient=before.gradient + half.gradient,
                        bias_gradient=before.bias_gradient + half.bias_gradient,
                    )
            share = f32(1 / len(batch))
            for half in sums.values():
                self._step(half.side, half.row, half.gradient * share, half.bias_gradient * share)
        return lost

    def _gradients(self, events: Events, n: int, slope: Any) -> list[Half]:
        """Of the movable rows of one event, at the present rows."""
        u, i = int(events.users[n]), int(events.items[n])
        halves = []
        for side, row, other, anchor in (
            (self.users, u, self.items.rows[i], self._origins[0]),
            (self.items, i, self.users.rows[u], self._origins[1]),
        ):
            if row < side.movable:
                gradient = fma(other, slope, self.objective.gradient(side.rows[row], anchor.rows[row]))
                bias_gradient = slope + self.objective.gradient(side.biases[row], anchor.biases[row])
                halves.append(Half(side, row, gradient, bias_gradient))
        return halves

    def _step(self, side: Side, row: int, gradient: np.ndarray, bias_gradient: np.ndarray) -> None:
        """A step of the bias says what the memory becomes; with that both step."""
        step = self.objective.step
        side.memory[row] = step(side.biases[row], bias_gradient, side.memory[row].copy())[1]
        memory = side.memory[row].copy()
        side.rows[row] = step(side.rows[row], gradient, memory)[0]
        if self.objective.biases:
            side.biases[row] = step(side.biases[row], bias_gradient, memory)[0]

    def predict(self, users: np.ndarray, items: np.ndarray, low: float, high: float) -> np.ndarray:
        """Through the inverse link and within [low, high]; a row of -1 is unknown and adds nothing."""
        found = []
        for u, i in zip(users, items, strict=True):
            score = self.mean
            score = score + self.users.biases[u, 0] if u >= 0 else score
            score = score + self.items.biases[i, 0] if i >= 0 else score
            score = score + total(self.users.rows[u] * self.items.rows[i]) if min(u, i) >= 0 else score
            found.append(min(max(self.objective.loss.inverse_link(score), low), high))
        return np.array(found, f32)


# --- events and their negatives -------------------------------------------------------------------------------------

_64 = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & _64
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & _64
    return number ^ (number >> 31)


def draw(seed: int, stream: int, position: int) -> int:
    return mix((mix((seed + stream * _GOLDEN) & _64) + position * _GOLDEN) & _64)


class Pool(NamedTuple):
    """What negatives are drawn from: so many items, or the items of events, which occur so often by their counts.

    Or a band of them, its `members`.
    """

    items: int
    events: list[int]
    counts: dict[int, int]
    tabled: bool = False
    band: list[int] | None = None

    @property
    def members(self) -> list[int]:
        return list(range(self.items)) if self.band is None else self.band

    def count(self, item: int) -> int:
        return max(self.counts.get(item, 0), 1)

    def candidates(self, barred: set[int]) -> int:
        """Items that are not barred: as many of all as there are of the members."""
        return (len(self.members) - len(barred & set(self.members))) * self.items // len(self.members)


def alias_table(weights: list[float]) -> list[tuple[float, int]]:
    """Vose's: the last item below the mean takes from the last one above it."""
    mean = sum(weights) / len(weights)
    left = {item: weight / mean for item, weight in enumerate(weights)}
    table = {item: (1.0, item) for item in left}
    poor, rich = [item for item in left if left[item] < 1], [item for item in left if left[item] >= 1]
    while poor and rich:
        less, more = poor.pop(), rich[-1]
        table[less] = float(f32(left[less])), more
        left[more] -= 1 - left[less]
        if left[more] < 1:
            poor.append(rich.pop())
    return [table[item] for item in range(len(weights))]


class Uniform(NamedTuple):
    def drawn(self, bits: int, pool: Pool) -> int | None:
        return pool.members[(bits >> 32) * len(pool.members) >> 32]

    def chance(self, item: int, count: int, candidates: int, pool: Pool) -> float:
        return count / candidates


class Popular(NamedTuple):
    alpha: float = 0.75

    def acceptance(self, item: int, pool: Pool) -> float:
        return float(pool.count(item) ** (float(f32(self.alpha)) - 1))

    def drawn(self, bits: int, pool: Pool) -> int | None:
        if pool.tabled:
            place = (bits >> 32) * len(pool.members) >> 32
            share, other = alias_table([pool.counts.get(i, 0) * self.acceptance(i, pool) for i in pool.members])[place]
            return pool.members[place if (bits >> 8 & 0xFFFFFF) / 2**24 < share else other]
        item = pool.events[(bits >> 32) * len(pool.events) >> 32]
        return item if (bits >> 8 & 0xFFFFFF) / 2**24 < self.acceptance(item, pool) else None

    def chance(self, item: int, count: int, candidates: int, pool: Pool) -> float:
        mass = sum(self.acceptance(event, pool) for event in pool.events)
        return count * pool.count(item) * self.acceptance(item, pool) / mass


SAMPLERS: dict[str, Callable[..., Any]] = {
    "Uniform": Uniform,
    "Popular": Popular,
    "InBatch": lambda: Popular(1.0),
    "Every": lambda: None,
}


class Lists:
    """Training on events against negatives, in whole tables, of which only some rows may be written."""

    def __init__(self, model: Model, loss: Any, movable: tuple[set[int], set[int]]) -> None:
        self.model, self.movable, self.allow_seen = model, movable, loss.allow_seen
        self.compared = LOSSES[type(loss).__name__](**loss._asdict())
        self.sampler = SAMPLERS[type(loss.sampler).__name__](**loss.sampler._asdict())

    def epoch(
        self,
        events: Iterable[tuple[int, int, int, Any]],
        key: int,
        known: dict[int, set[int]],
        pool: Pool,
        in_flight: int = 1,
    ) -> float:
        """Events are (place, user, item, weight), in the order of their steps; returns their loss.

        The lists of up to `in_flight` events of one user that follow each other are all made before the first step.
        """
        lost = 0.0
        for user, run in itertools.groupby(events, key=lambda event: event[1]):
            left = list(run)
            while left:
                group, left = left[:in_flight], left[in_flight:]
                lists = [(weight, self._found(key, place, user, item, known, pool)) for place, _, item, weight in group]
                for weight, found in lists:
                    if found:
                        entries, loss, slopes = found
                        lost += float(weight) * loss
                        self._step(user, entries, [f32(weight * f32(slope)) for slope in slopes])
        return lost

    def _found(self, key: int, place: int, user: int, item: int, known: dict[int, set[int]], pool: Pool) -> Any:
        """The entries of a list, its loss and its slopes, if there are any negatives."""
        barred = {item} if self.allow_seen else known[user]
        draws = self._draws(draw_key=(key, place), barred=barred | {item}, pool=pool)
        find = self._pair if self.compared.search else self._list
        return find(user, item, draws, pool.candidates(barred), pool)

    def _draws(self, draw_key: tuple[int, int], barred: set[int], pool: Pool) -> Iterator[int | None]:
        """Negatives one after the other; None where 64 draws gave none."""
        if self.sampler is None:
            yield from (item for item in range(pool.items) if item not in barred)
            return
        number = 0
        while True:
            found = None
            for _ in range(64):
                item = self.sampler.drawn(draw(*draw_key, number), pool)
                number += 1
                if item is not None and item not in barred:
                    found = item
                    break
            yield found

    def _pair(self, user: int, item: int, draws: Iterator[int | None], candidates: int, pool: Pool) -> Any:
        for tries in range(1, self.compared.draws + 1):
            negative = next(draws)
            if negative is None:
                return None
            found = self.compared.search(self._score(user, item) - self._score(user, negative), tries, candidates)
            if found:
                return [item, negative], found[0], [found[1], -found[1]]
        return None

    def _list(self, user: int, item: int, draws: Iterator[int | None], candidates: int, pool: Pool) -> Any:
        if self.sampler is None:
            negatives = list(draws)
        else:
            negatives = [one for one in itertools.islice(draws, self.compared.draws) if one is not None]
        if not negatives:
            return None
        entries, count = [item, *negatives], len(negatives)
        scores = [self._score(user, entry) for entry in entries]
        expected_counts = [1.0] * (count + 1)
        if self.sampler is not None:
            expected_counts[1:] = [float(f32(self.sampler.chance(one, count, candidates, pool))) for one in negatives]
        return entries, *self.compared.loss_and_gradient(scores, expected_counts, pool.items)

    def _score(self, user: int, item: int) -> Any:
        users, items = self.model.users, self.model.items
        base = self.model.mean + users.biases[user, 0]
        return base + items.biases[item, 0] + total(users.rows[user] * items.rows[item])

    def _step(self, user: int, entries: list[int], slopes: list[Any]) -> None:
        users, items = self.model.users, self.model.items
        p, direction, evidence = users.rows[user].copy(), np.zeros_like(users.rows[user]), f32(0)
        for n, (entry, slope) in enumerate(zip(entries, slopes, strict=True)):
            direction = fma(items.rows[entry], slope, direction)
            evidence = evidence + abs(slope)
            if entry in self.movable[1]:
                share = f32(1) / f32(len(entries) - 1) if n else f32(1)
                self._move(items, entry, p, slope, slope, share, self.model.objective.biases)
        if user in self.movable[0]:
            self._move(users, user, direction, f32(1), evidence, f32(1), biases=False)

    def _move(self, side: Side, row: int, other: Any, slope: Any, evidence: Any, share: Any, biases: bool) -> None:
        step, penalty = self.model.objective.step, self.model.objective.gradient
        anchor = self.model.anchor(side)
        gradient = fma(other, slope, share * penalty(side.rows[row], anchor.rows[row]))
        bias_gradient = evidence + share * penalty(side.biases[row], anchor.biases[row])
        side.memory[row] = step(side.biases[row], bias_gradient, side.memory[row].copy())[1]
        memory = side.memory[row].copy()
        side.rows[row] = step(side.rows[row], gradient, memory)[0]
        if biases:
            side.biases[row] = step(side.biases[row], bias_gradient, memory)[0]


# --- ranking --------------------------------------------------------------------------------------------------------


def rank(
    query: np.ndarray, rows: np.ndarray, scale: np.ndarray, added: np.ndarray, allowed: Iterable[int], k: int
) -> tuple[list[int], list[float]]:
    """The `k` allowed rows of highest ``scale * query . row + added``, equal ones by row; then -1 and -inf."""
    scores = {row: scale[row] * total(query * rows[row]) + added[row] for row in allowed}
    best = sorted(scores, key=lambda row: (-scores[row], row))[:k]
    missing = k - len(best)
    return best + [-1] * missing, [float(scores[row]) for row in best] + [-math.inf] * missing


# --- new rows -------------------------------------------------------------------------------------------------------


def scramble(number: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def start_vectors(rows: np.ndarray, size: int, seed: int, stream: int, centre: float, spread: float) -> np.ndarray:
    """Uniform within spread / 2 of the centre, as a hash of seed, stream, row and factor."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    positions = (rows[:, None] * padded(size) + np.arange(size)).astype(np.uint64)
    streams = np.full((1, 1), seed, np.uint64) + np.full((1, 1), stream, np.uint64) * golden
    bits = scramble(scramble(streams) + positions * golden)
    uniform = (bits >> np.uint64(40)).astype(f32) * f32(2.0**-24)
    return f32(centre) + f32(spread) * (uniform - f32(0.5))
