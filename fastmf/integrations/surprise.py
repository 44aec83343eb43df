"""Models of the ``scikit-surprise`` library: SVD, SVD++ and NMF."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.integrations._learned import learned
from fastmf.model import MF


def from_surprise(algo: Any, **settings: Any) -> MF:
    """Turn a fitted ``surprise`` factor model into an :class:`fastmf.MF` with the same scores and raw ids.

    Parameters
    ----------
    algo : surprise.SVD, surprise.SVDpp or surprise.NMF
        A fitted model. The implicit-feedback term of SVD++ is added to the factors of the users.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``. By default the loss is
        ``Squared()`` and its solver ``AdaGrad()``, as in :meth:`fastmf.MF.from_factors`.

    Returns
    -------
    fastmf.MF
        A fitted model without history, whose predictions are not clipped. Its ids are the raw ids, ``int`` or
        ``str``; Surprise reads those in files as ``str``.

    Raises
    ------
    NotFittedError
        If ``algo`` is not fitted, or holds no factors.
    DataError
        If the raw ids of a side are mixed, or neither ``str`` nor ``int`` of 64 bits; or a learned value is
        not finite.

    Notes
    -----
    ``algo.predict`` clips to the rating scale unless told ``clip=False``.

    References
    ----------
    Koren (2008), "Factorization Meets the Neighborhood: a Multifaceted Collaborative Filtering Model".

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastmf.integrations import from_surprise
    >>> ids = {"to_raw_uid": ["ann"].__getitem__, "to_raw_iid": [7].__getitem__}
    >>> trainset = SimpleNamespace(global_mean=3.0, **ids)
    >>> fitted = SimpleNamespace(pu=[[1.0, 2.0]], qi=[[0.5, 0.25]], bu=[0.5], bi=[-1.0], trainset=trainset)
    >>> from_surprise(fitted).predict(["ann"], [7]).tolist()
    [3.5]
    """
    p, q = np.asarray(learned(algo, "pu")), np.asarray(learned(algo, "qi"))
    trainset = algo.trainset
    if hasattr(algo, "yj"):
        p = p + _implicit_feedback(np.asarray(algo.yj), trainset.ur, len(p))
    biased = getattr(algo, "biased", True)  # SVD++ always is
    return MF.from_factors(
        p,
        q,
        algo.bu if biased else None,
        algo.bi if biased else None,
        trainset.global_mean if biased else 0.0,
        users=[trainset.to_raw_uid(row) for row in range(len(p))],
        items=[trainset.to_raw_iid(row) for row in range(len(q))],
        **settings,
    )


def _implicit_feedback(y: NDArray[Any], ratings: Any, users: int) -> NDArray[Any]:
    """The implicit-feedback term of SVD++: the sum of y over the n items that a user rated, divided by sqrt(n)."""
    rated = ([item for item, _ in ratings[user]] for user in range(users))
    return np.stack([y[items].sum(axis=0) / np.sqrt(len(items)) for items in rated])
