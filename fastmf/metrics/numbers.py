"""The check of numbers that metrics are handed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmf.errors import DataError

__all__ = ["require_no_nan"]


def require_no_nan(name: str, values: NDArray[np.floating]) -> None:
    """Raise DataError for the first of `values` that is NaN: it is neither near a value nor before another score.

    Infinities are: a score may be -inf, of what is no candidate.
    """
    bad = np.isnan(values)
    if bad.any():
        place = np.unravel_index(np.argmax(bad), bad.shape)
        where = "".join(f", {axis} {index}" for axis, index in zip(("row", "column"), place, strict=False))
        raise DataError(f"{name}{where}: {values[place]} is no number")
