"""Models of the ``implicit`` library: alternating least squares, BPR and logistic matrix factorisation.

``implicit`` stores biases as extra columns of its factors, against columns of ones on the other side::

    ALS        user: p          item: q
    BPR        user: p  1       item: q  b_i
    logistic   user: p  1  b_u  item: q  b_i  1

Here they become biases: every score is unchanged, and later updates do not train the columns of ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf import losses, optimizers, regularizers
from fastmf.integrations._learned import learned, warn_without_history
from fastmf.model import MF


def from_implicit(model: Any, users: Any = None, items: Any = None, **settings: Any) -> MF:
    """Turn a fitted ``implicit`` model into an :class:`fastmf.MF` with the same scores.

    Parameters
    ----------
    model : AlternatingLeastSquares, BayesianPersonalizedRanking or LogisticMatrixFactorization
        A fitted model, trained on CPU or GPU.
    users, items : array_like of ids, shape (rows,), optional
        Ids of the rows and of the columns of the matrix that ``model`` was fitted to; row numbers by default.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``, and ``history=``, the
        Interactions that ``model`` was fitted to. By default the loss is that of the model: ``Confidence`` with its
        alpha and its regularization, ``BPR()`` or ``Logistic()``.

    Returns
    -------
    fastmf.MF
        A fitted model, whose predictions are not clipped. ``Confidence`` solves the rows that an update names from
        their whole history: without ``history``, a warning says so.

    Raises
    ------
    NotFittedError
        If ``model`` is not fitted, or holds no factors.
    DataError
        If the arrays do not fit each other or the ids, or hold a value that is not finite.

    Notes
    -----
    The logistic model's scores are log-odds: predictions of ``Logistic()`` are the probabilities.

    ``implicit`` weighs an observed pair with ``alpha * value`` in place of 1, fastmf with so much more than 1, and its
    penalty does not grow with the number of events of a row (``ALS(nu=0)``).

    References
    ----------
    Hu, Koren, Volinsky (2008), "Collaborative Filtering for Implicit Feedback Datasets".
    Rendle, Freudenthaler, Gantner, Schmidt-Thieme (2009), "BPR: Bayesian Personalized Ranking from Implicit
    Feedback".
    Johnson (2014), "Logistic Matrix Factorization for Implicit Feedback Data".

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastmf.integrations import from_implicit
    >>> bpr = SimpleNamespace(factors=2, user_factors=[[1.0, 2.0, 1.0]], item_factors=[[3.0, 4.0, 0.5]])
    >>> imported = from_implicit(bpr, users=["ann"], items=[7])
    >>> imported.predict(["ann"], [7]).tolist(), imported.loss
    ([11.5], BPR(sampler=Uniform(), allow_seen=False))
    """
    p, q = _host(learned(model, "user_factors")), _host(learned(model, "item_factors"))
    user_biases = item_biases = None
    suited: dict[str, Any]
    if _is_logistic(p, q, learned(model, "factors")):
        p, user_biases, q, item_biases = p[:, :-2], p[:, -1], q[:, :-2], q[:, -2]
        suited = {"loss": losses.Logistic()}
    elif _is_bpr(p, q, model.factors):
        p, q, item_biases = p[:, :-1], q[:, :-1], q[:, -1]
        suited = {"loss": losses.BPR()}
    else:
        alpha, weight = float(getattr(model, "alpha", None) or 1), float(getattr(model, "regularization", None) or 0.01)
        suited = {
            "loss": losses.Confidence(alpha=alpha),
            "solver": optimizers.ALS(nu=0),
            "regularizer": regularizers.L2(weight),
        }
    if settings.get("loss") is None:
        settings = {**suited, **{name: value for name, value in settings.items() if value is not None}}
    warn_without_history(settings)
    return MF.from_factors(p, q, user_biases, item_biases, users=users, items=items, **settings)


def _host(factors: Any) -> NDArray[Any]:
    """Return factors as a NumPy array, copied from the GPU if necessary."""
    return np.asarray(factors.to_numpy() if hasattr(factors, "to_numpy") else factors)


def _is_bpr(p: NDArray[Any], q: NDArray[Any], factors: int) -> bool:
    return p.shape[1:] == q.shape[1:] == (factors + 1,) and bool((p[:, -1] == 1).all())


def _is_logistic(p: NDArray[Any], q: NDArray[Any], factors: int) -> bool:
    ones = p.shape[1:] == q.shape[1:] == (factors + 2,) and (p[:, -2] == 1).all() and (q[:, -1] == 1).all()
    return bool(ones)
