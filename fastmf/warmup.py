"""Warm-up: compile kernels ahead of time, which a process would otherwise compile at first use.

Kernels are compiled per number of factors (rounded up to 16 lanes), class of loss and class of solver, and cached on
disk. The warm-up trains and queries throwaway models that are large enough to use every kernel, including those for
several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastmf import losses, optimizers
from fastmf.errors import DataError
from fastmf.interactions import Interactions
from fastmf.model import MF, Options
from fastmf.plan import PARALLEL_FROM
from fastmf.recipes import presets

__all__ = ["COMMON", "warm_up"]

_USERS, _ITEMS, _FEW = 8_000, 4_200, 20

# Ratings and labels with variational Bayes, losses with AdaGrad, ratings with plain gradient descent, and ALS.
_LOSSES: tuple[Any, ...] = (losses.Squared, losses.Huber, losses.Logistic, losses.Poisson, losses.BPR, losses.WARP)
COMMON: tuple[tuple[Any, Any], ...] = (
    *((loss(), optimizers.Variational()) for loss in (losses.Squared, losses.Logistic)),
    *((loss(), optimizers.AdaGrad()) for loss in _LOSSES),
    (losses.Squared(), optimizers.SGD()),
    (losses.Confidence(), optimizers.ALS()),
)


def warm_up(
    factors: Sequence[int] = (16, 32, 64, 128),
    pairs: Sequence[tuple[Any, Any]] = COMMON,
    storage: Sequence[str] = ("float32",),
) -> Iterator[tuple[int, Any, Any, str]]:
    """Compile the kernels of every combination of settings; a generator, which must be iterated over.

    Parameters
    ----------
    factors : sequence of int
        Numbers of factors.
    pairs : sequence of (loss, solver)
        Losses and solvers; only their classes matter, not their fields.
    storage : sequence of {"float32", "float16"}
        Dtypes of the factors, as in :class:`fastmf.Options`.

    Yields
    ------
    (int, loss, solver, str)
        Each combination, when its kernels are compiled.

    Raises
    ------
    DataError
        If :class:`fastmf.MF` refuses a setting; nothing is compiled then.

    Examples
    --------
    >>> from fastmf.warmup import warm_up
    >>> for combination in warm_up(factors=[32]):
    ...     print(combination)  # doctest: +SKIP
    (32, Huber(delta=1.0), AdaGrad(rate=0.04, initial=100.0), 'float32')
    """
    combinations = [(size, loss, solver, kept) for kept in storage for size in factors for loss, solver in pairs]
    try:
        models = [MF(size, loss, solver, options=Options(storage=kept)) for size, loss, solver, kept in combinations]
    except ValueError as error:  # a setting that the model refuses
        raise DataError(str(error)) from error
    for model, combination in zip(models, combinations, strict=True):
        _use(model.copy())  # what it learns is discarded
        yield combination


def _use(model: MF) -> None:
    """Call every method of a model that needs kernels."""
    events = _events(PARALLEL_FROM, labels=model.loss.kind == "pointwise")
    model.fit(events[:_FEW], epochs=1)  # all events, not all but those held out
    model.fit(events, epochs=3, validation=0.01)  # the third sweep of beliefs learns their priors
    for recipe in (*presets.values(), presets["default"]):
        model.update(events[:_FEW], recipe)
    one, other = int(events.users[0]), int(events.items[0])
    model._fitted().history.recent(1)  # as updates with times do
    model.predict_one(one, other)
    solves = isinstance(model.solver, (optimizers.ALS, optimizers.Variational))
    if not solves and model.loss.kind == "pointwise":
        model.update(events[:_FEW], batch_size=2)
    if solves or model.loss.kind == "pointwise":
        model.learn_one(one, other)
        model.rollback(model.flush())
    model.predict(events.users[:_FEW], events.items[:_FEW])
    everyone = np.arange(_USERS)
    for users in [[one]] * _FEW:  # after some small queries they are answered with the 8-bit copy of the items
        model.recommend(users)
    model.recommend([one], items=events.items[:_FEW])
    model.recommend(everyone)
    if isinstance(model.solver, optimizers.Variational):
        _use_beliefs(model, events[:_FEW], everyone)
    model.similar_items([other])
    model.fold_in(events[:_FEW])
    lists = model.lists(5, users=everyone[:_FEW])
    lists.refresh(model.update(events[:_FEW]))
    model.copy()


def _use_beliefs(model: MF, events: Interactions, everyone: np.ndarray) -> None:
    """Call what needs beliefs."""
    model.update(events, resolve=1)
    model.predict(events.users, events.items, interval=0.9)
    for some in (everyone[:1], everyone[: _USERS // 10]):
        model.recommend(some, risk=1.0)
        model.recommend(some, explore="thompson")


def _events(count: int, labels: bool) -> Interactions:
    """Make random events with values that the loss accepts: labels 0 and 1, or all 1."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, _USERS, count), rng.integers(0, _ITEMS, count)
    return Interactions(users, items, rng.integers(0, 2, count) if labels else None)
