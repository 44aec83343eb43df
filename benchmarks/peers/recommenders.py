"""Implicit-feedback models behind a common interface: train for a number of epochs, then return the vectors.

``(split, factors, threads, epochs, tick)``: every rating of ``split.train`` counts as one positive, whatever its value;
`tick` is called at the start of a fit and after each epoch (a sweep over users and items). Input that a library needs
(a sparse matrix, a file) is prepared outside. Settings are the libraries' defaults, except for the constants below,
which were tuned by hand on the ml1m log.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers.data import Ratings, Split

UNKNOWN = -1e30  # bias of items unknown to a model
IMPLICIT_ALS = {"regularization": 0.05, "alpha": 1.0}
IMPLICIT_BPR = {"learning_rate": 0.02, "regularization": 0.01}
BUFFALO_ALS = {"alpha": 1.0}
IRSPACK_IALS = {"alpha0": 0.1, "reg": 0.003}
CMFREC_IALS = {"lambda_": 5.0}


class Vectors(NamedTuple):
    """Scores are ``users @ items.T + biases``; rows are ids of the log."""

    users: np.ndarray
    items: np.ndarray
    biases: np.ndarray | float = 0.0


Tick = Callable[[], Any]
Recommender = Callable[[Split, int, int, int, Tick], Vectors]


def matrix(positives: Ratings, split: Split) -> Any:
    """A sparse user-item matrix with ones for positives."""
    from scipy.sparse import csr_matrix

    ones = np.ones(positives.users.size, np.float32)
    return csr_matrix((ones, positives[:2]), shape=split.size[:2])


def popularity(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    """Baseline: the same ranking for all users."""
    tick()
    counts = np.bincount(split.train.items, minlength=split.size.items)
    tick()
    return Vectors(np.ones((split.size.users, 1), np.float32), counts[:, None].astype(np.float32))


def fastmf(split: Split, factors: int, threads: int, epochs: int, tick: Tick, variant: str) -> Vectors:
    from benchmarks.peers import ours

    ours.warm_up(split.train, factors, threads, variant)
    model, positives = ours.model(factors, threads, variant), ours.positives(split.train)
    tick()
    model.fit(positives, epochs, progress=False, callbacks=[lambda _: tick()])
    return vectors_of(model, split)


def vectors_of(model: Any, split: Split) -> Vectors:
    """Vectors of all ids of the log, from a fastmf model that may not know all of them."""
    users, items = (np.zeros((rows, model.user_factors.shape[1]), np.float32) for rows in split.size[:2])
    biases = np.full(split.size.items, UNKNOWN, np.float32)
    users[model.users.values], items[model.items.values] = model.user_factors, model.item_factors
    biases[model.items.values] = model.item_biases
    return Vectors(users, items, biases)


def implicit_als(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    """ALS by conjugate gradients."""
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors, iterations=epochs, num_threads=threads, use_gpu=False, random_state=1, **IMPLICIT_ALS
    )
    return _implicit(model, split, tick)


def implicit_bpr(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=factors, iterations=epochs, num_threads=threads, use_gpu=False, random_state=1, **IMPLICIT_BPR
    )
    return _implicit(model, split, tick)


def _implicit(model: Any, split: Split, tick: Tick) -> Vectors:
    rows = matrix(split.train, split)
    tick()
    model.fit(rows, show_progress=False, callback=lambda *_: tick())
    return Vectors(model.user_factors, model.item_factors)


def lightfm(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    from lightfm import LightFM

    model, pairs = LightFM(no_components=factors, loss="warp", random_state=1), matrix(split.train, split).tocoo()
    tick()
    for _ in range(epochs):
        model.fit_partial(pairs, epochs=1, num_threads=threads)
        tick()
    biases, items = model.get_item_representations()
    return Vectors(model.get_user_representations()[1], items, biases)


def buffalo(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    """ALS by conjugate gradients; reads a text file into its own database."""
    from buffalo import ALS, ALSOption, MatrixMarketOptions
    from buffalo.misc import log

    log.set_log_level(log.WARN)
    option = ALSOption().get_default_option()
    option.update({"d": factors, "num_workers": threads, "num_iters": epochs, **BUFFALO_ALS})
    option.update({"compute_loss_on_training": False, "evaluation_on_learning": False})
    with TemporaryDirectory() as folder:
        source = MatrixMarketOptions().get_default_option()
        source.input.main = matrix(split.train, split)
        source.data.path, source.data.tmp_dir, source.data.validation = str(Path(folder, "log.h5py")), folder, {}
        model = ALS(option, data_opt=source)
        model.early_stopping = lambda _: tick()  # called after every epoch
        tick()
        model.initialize()
        model.train()
    return Vectors(np.array(model.P)[:, :factors], np.array(model.Q)[:, :factors])


def irspack(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    """ALS by conjugate gradients."""
    from irspack import IALSRecommender

    model = IALSRecommender(matrix(split.train, split), n_components=factors, n_threads=threads, **IRSPACK_IALS)
    tick()
    model.start_learning()
    for _ in range(epochs):
        model.run_epoch()
        tick()
    return Vectors(model.get_user_embedding(), model.get_item_embedding())


def cmfrec(split: Split, factors: int, threads: int, epochs: int, tick: Tick) -> Vectors:
    """iALS; offers a complete fit only."""
    from cmfrec import CMF_implicit

    pairs = matrix(split.train, split).tocoo()
    model = CMF_implicit(
        k=factors, niter=epochs, nthreads=threads, verbose=False, use_float=True, random_state=1, **CMFREC_IALS
    )
    tick()
    model.fit(pairs)
    tick()
    return Vectors(model.A_, model.B_)


RECOMMENDERS: dict[str, Recommender] = {
    "numpy popularity": popularity,
    **{name: partial(fastmf, variant=name) for name in ("fastmf ALS", "fastmf BPR", "fastmf WARP")},
    "implicit ALS": implicit_als,
    "implicit BPR": implicit_bpr,
    "lightfm WARP": lightfm,
    "buffalo ALS": buffalo,
    "irspack iALS": irspack,
    "cmfrec iALS": cmfrec,
}
