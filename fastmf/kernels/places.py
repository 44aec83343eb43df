"""Places: how many scores of a row are not below a given one of them.

    place(n) = |{j : s[r_n, j] >= s[r_n, c_n]}|

Sorting a row would cost more than counting, since few of its items are asked for; and the count puts every tie ahead.
"""

from __future__ import annotations

import functools
from typing import Any

from numba import prange

from fastmf.kernels.bridge import jit, stamp


@functools.cache
def count(parallel: bool) -> Any:
    """The kernel that counts, for float32 or float64 scores."""
    return _count(stamp(parallel=parallel), parallel)


def _count(stamp, parallel):
    @jit(stamp, parallel)
    def count(scores, rows, columns, out):
        """out[n] = the scores of row rows[n] that are not below the one in columns[n], itself included; no NaN is."""
        stamp  # noqa: B018 - the cache key, see bridge
        for n in prange(rows.size):
            row = scores[rows[n]]
            own, found = row[columns[n]], 0
            for j in range(row.size):
                found += row[j] >= own
            out[n] = found

    return count
