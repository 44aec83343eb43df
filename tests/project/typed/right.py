"""What a user writes: type checkers find nothing in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fastmf
from fastmf import MF, Delta, Interactions, Options, Update, load
from fastmf.losses import BPR, WARP, Confidence, Huber, Logistic, Poisson, SampledSoftmax, Softmax, Squared
from fastmf.optimizers import ALS, SGD, AdaGrad, Variational
from fastmf.protocols import Loss
from fastmf.regularizers import L2
from fastmf.samplers import InBatch, Popular, Uniform


class NoFields(NamedTuple):
    pass


class Absolute(NoFields):
    """A loss of one's own: what has no fields, or has them in a base, may have constants."""

    __slots__ = ()
    kind = "pointwise"
    domain = (-9.0, 9.0)

    def value(self, score: Any, target: Any) -> Any:
        return abs(score - target)

    def slope(self, score: Any, target: Any) -> Any:
        return 1 if score > target else -1

    def inverse_link(self, score: Any) -> Any:
        return score

    def prior(self, values: Any) -> float:
        return float(np.median(values))

    def check(self, values: Any) -> None:
        return


class Ridge(NamedTuple):
    weight: float = 0.1

    def gradient(self, row: Any, anchor: Any) -> Any:
        return self.weight * row

    def check(self) -> None:
        return


every: list[Loss] = [
    Absolute(),
    BPR(sampler=Popular(alpha=0.5)),
    Confidence(alpha=2.0, unobserved=0.5, popularity=0.2),
    Huber(delta=0.5),
    Logistic(negatives=4, calibration=0.5, sampler=InBatch(), allow_seen=True),
    Poisson(),
    SampledSoftmax(8),
    Softmax(allow_seen=True),
    Squared(),
    WARP(margin=0.5, trials=4, sampler=Uniform()),
]
alpha: float = Confidence(alpha=2.0).alpha
domain: tuple[float, float] = Squared().domain
kind: str = Logistic(negatives=4).kind
rate: float = AdaGrad(rate=0.1)._replace(rate=0.2).rate

events = Interactions([1, 2, 3], [4, 5, 6], values=[1.0, 2.0, 3.0], times=[1, 2, 3])
model: MF = MF(factors=8, loss=Squared(), solver=AdaGrad(rate=0.1), regularizer=L2(0.1), seed=1).fit(events, epochs=2)
MF(loss=Confidence(alpha=2.0), solver=ALS(method="cholesky"), options=Options(threads=1))
low: object = MF(solver=Variational()).fit(events).predict([1], [4], interval=0.9).low
MF(loss=Absolute(), solver=SGD(rate=0.1), regularizer=Ridge(weight=0.1))
MF.from_factors([[1.0]], [[1.0]], loss=Squared(), biases=False, options=Options())
sure = MF.from_factors([[1.0]], [[1.0]], solver=Variational(), counts={"users": [3], "items": 4})
careful: np.ndarray = sure.recommend([0], risk=1, explore=None).ids

twin: MF = model.copy()
delta: Delta = model.update(events, Update(epochs=1, trainable="users"), rate=0.1, loss=Huber(1.0))
counts: int = delta.events + delta.version + delta.parent_version + delta.rows_moved
before: float = delta.loss_before + delta.loss_after + delta.seconds
moved: np.ndarray = delta.moves["users"].rows
inverse: Delta = model.rollback(delta)
same: MF = twin.apply(delta).apply(inverse).partial_fit(events)

model.learn_one(1, 4, 5.0)
one: float = model.predict_one(1, 4)
predicted: np.ndarray = model.predict([1, 2], [4, 5])
found, scores = model.recommend([1, 2], k=2, exclude_seen=False)
best: np.ndarray = model.recommend([1]).ids
shape: tuple[int, ...] = model.user_factors.shape
known: int = len(model.users)
model.save("model.fastmf")
again: MF = load("model.fastmf", classes=[Absolute])

preset: Update = fastmf.recipes.presets["users"]
also: Loss = fastmf.losses.BPR()
pull: float = fastmf.regularizers.L2(weight=0.1).weight
lists: fastmf.lists.Lists = model.lists(k=5)
ranked: fastmf.ranking.Ranking = model.similar_items([4])
log: Interactions = fastmf.datasets.synthetic(events=100)
error: type[Exception] = fastmf.errors.DataError
version: str = fastmf.__version__
