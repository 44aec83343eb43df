"""Embeddings trained in ``torch``, which is not imported here: the tensors convert themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.model import MF


def from_torch(
    user_embedding: Any,
    item_embedding: Any,
    user_biases: Any = None,
    item_biases: Any = None,
    global_mean: float = 0.0,
    users: Any = None,
    items: Any = None,
    **settings: Any,
) -> MF:
    """Turn a pair of ``torch`` embeddings into an :class:`fastmf.MF` that scores by their dot product.

    The scores are ``global_mean + user_biases[u] + item_biases[i] + user_embedding[u] @ item_embedding[i]``.

    Parameters
    ----------
    user_embedding, item_embedding : torch.nn.Embedding or tensor, shape (rows, factors)
        User and item vectors, on any device and of any float dtype; training continues in float32. Rows longer than
        the ``max_norm`` of an embedding are scaled down to it, as a look-up in torch does.
    user_biases, item_biases : torch.nn.Embedding or tensor, shape (rows,) or (rows, 1), optional
        Biases of the users and items; zeros by default.
    global_mean : float, default 0.0
        Constant that is added to every score.
    users, items : array_like of ids, shape (rows,), optional
        Ids of the rows; row numbers by default.
    **settings
        Settings of :class:`fastmf.MF` for later updates, such as ``loss=`` or ``solver=``. By default the loss is
        ``Squared()`` and its solver ``AdaGrad()``, as in :meth:`fastmf.MF.from_factors`.

    Returns
    -------
    fastmf.MF
        A fitted model without history, whose predictions are not clipped.

    Raises
    ------
    DataError
        If an argument is no tensor, the arrays do not fit each other or the ids, or hold a value that is not
        finite.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> from fastmf.integrations import from_torch
    >>> model = from_torch(torch.nn.Embedding(943, 32), torch.nn.Embedding(1682, 32))  # doctest: +SKIP
    >>> model.user_factors.shape  # doctest: +SKIP
    (943, 32)
    """
    return MF.from_factors(
        _rows("user_embedding", user_embedding),
        _rows("item_embedding", item_embedding),
        None if user_biases is None else _flat(_rows("user_biases", user_biases)),
        None if item_biases is None else _flat(_rows("item_biases", item_biases)),
        float(global_mean),
        users=users,
        items=items,
        **settings,
    )


def _rows(name: str, source: Any) -> NDArray[np.float32]:
    """Return the rows as a look-up in an embedding gives them, or the rows of a tensor."""
    table = getattr(source, "weight", source)
    if not hasattr(table, "detach"):
        raise DataError(f"{name}: expected a torch tensor or embedding, got {type(source).__name__}")
    # float() before numpy(), which does not support bfloat16.
    rows: NDArray[np.float32] = table.detach().cpu().float().numpy()
    limit = getattr(source, "max_norm", None)
    if limit is None:
        return rows
    norms = np.linalg.norm(rows, ord=source.norm_type, axis=1, keepdims=True)
    return np.where(norms > limit, rows * (limit / (norms + np.float32(1e-7))), rows)


def _flat(biases: NDArray[np.float32]) -> NDArray[np.float32]:
    return biases[:, 0] if biases.ndim == 2 and biases.shape[1] == 1 else biases
