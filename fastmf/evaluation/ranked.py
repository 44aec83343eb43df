"""Where a model ranks items: by its vectors, by lists of its own making, or by its predictions for the whole catalogue.

====================  ==============================================================================================
has                   ranks by
====================  ==============================================================================================
``ranked_by``         ``ranked_by(users) -> (queries, items, added)``, in the order of its ids ``items``
``item_factors``      rows and biases: those of an :class:`fastmf.MF`
``recommend``         ``recommend(users, k) -> (ids, scores)``, each of shape (users, k), or less wide
``predict``           ``predict(users, items)``, for all of its ids ``items``
====================  ==============================================================================================

Of these, the first one that a model has is asked. Lists are asked for longer than needed: by as many items as are
excluded of a query, so that k are left, and by as many as are relevant. An item with the last score of its list then
comes after k others that are not relevant, and ties with items that the list no longer holds don't matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError
from fastmf.interactions import columns
from fastmf.metrics.positions import UNRANKED, ranks, ranks_of_products
from fastmf.model.ids import Ids
from fastmf.parameters.ids import IdMap

__all__ = ["Asked", "positions_in"]

Codes = NDArray[np.int64]
Pairs = tuple[Codes, Codes]

AT_ONCE = 1 << 20  # scores of a part of the queries, where they are stored


class Asked(NamedTuple):
    """What is asked of a model that ranks.

    Attributes
    ----------
    users : ndarray of ids, shape (queries,)
    item_ids : ndarray of ids
        Ascending; items are numbered by their place here.
    pairs : (ndarray of int64, ndarray of int64)
        Query and item of each relevant pair; queries ascend.
    excluded : (ndarray of int64, ndarray of int64)
        Query and item of each pair that is not ranked; queries ascend.
    k : int or None
        Positions beyond do not matter; None if all do.
    """

    users: NDArray[np.generic]
    item_ids: NDArray[np.generic]
    pairs: Pairs
    excluded: Pairs
    k: int | None

    def parts(self, width: Callable[[int], int]) -> Iterator[tuple[slice, Asked]]:
        """The pairs of some queries after others, with the question about them.

        ``width(excluded)`` is the number of scores of a query of which at most so many items are excluded.
        """
        counts = np.bincount(self.excluded[0], minlength=self.users.size)
        size = max(1, AT_ONCE // max(1, width(int(counts.max(initial=0)))))
        for first, last in pairwise([*range(0, self.users.size, size), self.users.size]):
            here, barred = (slice(*np.searchsorted(some[0], [first, last])) for some in (self.pairs, self.excluded))
            pairs, excluded = (
                (some[0][rows] - first, some[1][rows]) for some, rows in ((self.pairs, here), (self.excluded, barred))
            )
            yield here, self._replace(users=self.users[first:last], pairs=pairs, excluded=excluded)


def positions_in(model: Any, asked: Asked) -> tuple[Codes, Codes]:
    """Positions of the relevant items, and the number of candidates of each query.

    Parameters
    ----------
    model : object
        With one of the members above.
    asked : Asked

    Returns
    -------
    positions : ndarray of int64
        From 1, ties counting against the item; UNRANKED where it is not ranked.
    candidates : ndarray of int64, shape (queries,)

    Raises
    ------
    DataError
        If the model has none of these members, or an answer is malformed.
    """
    if hasattr(model, "ranked_by") or hasattr(model, "item_factors"):
        return _by_vectors(model, asked)
    if hasattr(model, "recommend"):
        return _by_lists(model, asked)
    if hasattr(model, "predict"):
        return _by_predictions(model, asked)
    raise DataError(f"{type(model).__name__} ranks nothing: it has none of ranked_by, recommend and predict")


def _by_vectors(model: Any, asked: Asked) -> tuple[Codes, Codes]:
    known = _known(model)
    rows = known.rows(asked.item_ids).astype(np.int64)  # -1 where the model has none
    vectors, item_vectors, added = _ranked_by(model, asked.users)
    if len(item_vectors) != len(known) or len(vectors) != asked.users.size:
        raise DataError(
            f"{type(model).__name__}.ranked_by returned {len(vectors)} queries and {len(item_vectors)} items, for "
            f"{asked.users.size} users and {len(known)} ids of items"
        )
    pairs, excluded = ((query, rows[item]) for query, item in (asked.pairs, asked.excluded))
    ranked, barred = pairs[1] >= 0, excluded[1] >= 0
    positions = np.full(pairs[0].size, UNRANKED)
    positions[ranked] = ranks_of_products(
        vectors,
        (item_vectors, added),
        (pairs[0][ranked], pairs[1][ranked]),
        (excluded[0][barred], excluded[1][barred]),
        asked.k,
    )
    return positions, _candidates(len(known), excluded[0][barred], asked)


def _by_lists(model: Any, asked: Asked) -> tuple[Codes, Codes]:
    known = _known(model) if asked.k is None or hasattr(model, "items") else None
    positions = np.full(asked.pairs[0].size, UNRANKED)
    wanted = len(known) if asked.k is None and known is not None else (asked.k or 0)
    wanted += int(np.bincount(asked.pairs[0], minlength=1).max())
    for here, part in asked.parts(lambda most: most + wanted):
        most = int(np.bincount(part.excluded[0], minlength=1).max())
        codes, scores = _listed(model, part, most + wanted)
        width = asked.item_ids.size
        keys = np.where(codes >= 0, np.arange(len(codes))[:, None] * width + codes, -1)
        scores[np.isin(keys, part.excluded[0] * width + part.excluded[1])] = -np.inf
        positions[here] = _placed(scores, part.pairs[0], _columns(keys, part.pairs[0] * width + part.pairs[1]))
    if asked.k is not None:
        positions[positions > asked.k] = UNRANKED
    barred = (
        np.zeros(0, np.int64)
        if known is None
        else asked.excluded[0][known.rows(asked.item_ids)[asked.excluded[1]] >= 0]
    )
    return positions, _candidates(0 if known is None else len(known), barred, asked)


def _by_predictions(model: Any, asked: Asked) -> tuple[Codes, Codes]:
    known = _known(model)
    ids, rows = known.values, known.rows(asked.item_ids).astype(np.int64)
    positions = np.full(asked.pairs[0].size, UNRANKED)
    for here, part in asked.parts(lambda _: ids.size):
        found = model.predict(np.repeat(part.users, ids.size), np.tile(ids, part.users.size))
        scores = _numbers(model, "predict", found, (part.users.size * ids.size,)).reshape(part.users.size, ids.size)
        barred = rows[part.excluded[1]]
        scores[part.excluded[0][barred >= 0], barred[barred >= 0]] = -np.inf
        positions[here] = _placed(scores, part.pairs[0], rows[part.pairs[1]])
    return positions, _candidates(ids.size, asked.excluded[0][rows[asked.excluded[1]] >= 0], asked)


def _ranked_by(model: Any, users: NDArray[np.generic]) -> tuple[NDArray[np.floating], ...]:
    """Vectors and addends by which a model ranks; of one that does not say, those of its rows and biases."""
    if hasattr(model, "ranked_by"):
        queries, items, added = (np.asarray(one) for one in model.ranked_by(users))
        return queries, items, added
    rows = model.users.rows(users)
    vectors = np.tile(model.unknown_user, (rows.size, 1))
    vectors[rows >= 0] = model.user_factors[rows[rows >= 0]]
    return vectors, model.item_factors, model.item_biases


def _known(model: Any) -> IdMap | Ids:
    """The ids of the items of a model, in its order."""
    ids = getattr(model, "items", None)
    if isinstance(ids, IdMap | Ids):
        return ids
    if ids is None:
        raise DataError(f"{type(model).__name__} has no attribute items: the ids that it ranks, in its order")
    known = IdMap()
    known.extend(columns.ids("items", ids))
    return known


def _listed(model: Any, asked: Asked, wanted: int) -> tuple[Codes, NDArray[np.float64]]:
    """Numbers (-1 for unknown items) and scores of the lists of a model."""
    answer = model.recommend(asked.users, wanted)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise DataError(f"{type(model).__name__}.recommend returned {type(answer).__name__}, not (ids, scores)")
    ids = np.asarray(answer[0])
    if ids.ndim != 2 or len(ids) != asked.users.size:
        raise DataError(
            f"{type(model).__name__}.recommend returned ids of shape {ids.shape}: one row for each of "
            f"{asked.users.size} users"
        )
    scores = _numbers(model, "recommend", answer[1], ids.shape)
    if ids.size and ids.dtype.kind not in ("OUT" if asked.item_ids.dtype == object else "iu"):
        raise DataError(f"{type(model).__name__}.recommend returned {ids.dtype} ids, and those of the log are not")
    flat = ids.ravel().astype(asked.item_ids.dtype)
    place = np.minimum(np.searchsorted(asked.item_ids, flat), max(0, asked.item_ids.size - 1))
    codes = np.where(asked.item_ids[place] == flat, place, -1)
    return codes.reshape(ids.shape).astype(np.int64), scores


def _numbers(model: Any, method: str, found: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A copy of scores, of a shape."""
    scores = np.array(found, np.float64)
    if scores.shape != shape:
        raise DataError(f"{type(model).__name__}.{method} returned scores of shape {scores.shape}, not {shape}")
    if np.isnan(scores).any():
        raise DataError(f"{type(model).__name__}.{method} returned a score that is NaN")
    return scores


def _columns(keys: Codes, wanted: Codes) -> Codes:
    """The first column of each wanted key in a table of keys, -1 where it is not there."""
    flat = keys.ravel()
    order = np.argsort(flat, kind="stable")
    place = np.minimum(np.searchsorted(flat[order], wanted), max(0, flat.size - 1))
    if not flat.size:
        return np.full(wanted.size, -1)
    there = flat[order[place]] == wanted
    return np.where(there, order[place] % keys.shape[1], -1)


def _placed(scores: NDArray[np.float64], rows: Codes, columns: Codes) -> Codes:
    """Positions of (row, column) pairs among the scores of their rows."""
    positions, found = np.full(rows.size, UNRANKED), columns >= 0
    if found.any():
        positions[found] = ranks(scores, rows[found], columns[found])
    return positions


def _candidates(size: int, barred: Codes, asked: Asked) -> Codes:
    counts: Codes = size - np.bincount(barred, minlength=asked.users.size)
    return counts
