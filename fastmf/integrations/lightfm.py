"""Models of the ``lightfm`` library."""

from __future__ import annotations

from typing import Any

from fastmf import losses
from fastmf.integrations._learned import learned
from fastmf.model import MF

_LOSSES: dict[str, Any] = {"bpr": losses.BPR(), "logistic": losses.Logistic()}


def from_lightfm(
    model: Any,
    users: Any = None,
    items: Any = None,
    user_features: Any = None,
    item_features: Any = None,
    **settings: Any,
) -> MF:
    """Turn a fitted ``LightFM`` model into an :class:`fastmf.MF` with the same scores.

    Parameters
    ----------
    model : lightfm.LightFM
        A fitted model.
    users, items : array_like of ids, shape (rows,), optional
        Ids of the rows and of the columns of the matrix that ``model`` was fitted to; row numbers by default.
    user_features, item_features : sparse matrix, shape (rows, features), optional
        The feature matrices that ``model`` was fitted with. The vector of each user and item is the sum of the vectors
        of its features, and later updates train it on its own. Omit them only if they were omitted in ``model.fit``: a
        model that was fitted with features cannot be recognised.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``, and ``history=``, the
        Interactions that ``model`` was fitted to, so that they are left out of lists. By default the loss is that of
        the model: ``WARP()``, for k-OS too, ``BPR()`` or ``Logistic()``.

    Returns
    -------
    fastmf.MF
        A fitted model, whose predictions are not clipped.

    Raises
    ------
    NotFittedError
        If ``model`` is not fitted.
    DataError
        If the arrays do not fit each other or the ids, or hold a value that is not finite.

    Notes
    -----
    ``LightFM.predict`` gives scores before the link whatever the loss; predictions of ``Logistic()`` are their
    probabilities.

    References
    ----------
    Kula (2015), "Metadata Embeddings for User and Item Cold-start Recommendations".

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from fastmf.integrations import from_lightfm
    >>> fitted = SimpleNamespace(
    ...     user_embeddings=[[1.0, 2.0]],
    ...     get_user_representations=lambda features: ([0.5], [[1.0, 2.0]]),
    ...     get_item_representations=lambda features: ([0.25], [[3.0, 4.0]]),
    ... )
    >>> from_lightfm(fitted, users=["ann"], items=[7]).predict(["ann"], [7]).tolist()
    [11.75]
    """
    learned(model, "user_embeddings")
    user_biases, user_factors = model.get_user_representations(user_features)
    item_biases, item_factors = model.get_item_representations(item_features)
    if settings.get("loss") is None:
        settings["loss"] = _LOSSES.get(getattr(model, "loss", "warp"), losses.WARP())
    return MF.from_factors(user_factors, item_factors, user_biases, item_biases, users=users, items=items, **settings)
