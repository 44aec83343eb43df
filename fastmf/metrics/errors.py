"""How wrong predicted values are.

Each of these is a ratio of two sums over events (of which rmse takes the root), so that it can be summed up in parts:
per user, per group, per block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastmf.errors import DataError
from fastmf.metrics.numbers import require_no_nan, require_numbers

__all__ = ["ERRORS", "calibration", "logloss", "mae", "rmse"]

Floats = NDArray[np.float64]


def rmse(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Root of the mean squared error.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        In the unit of `actual`; NaN for no values.

    Raises
    ------
    DataError
        Arrays of different shapes, or a NaN, which is named; so do all metrics here.

    Examples
    --------
    >>> rmse([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    return float(np.sqrt(_ratio("rmse", actual, predicted)))


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        In the unit of `actual`; NaN for no values.

    Examples
    --------
    >>> mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    return _ratio("mae", actual, predicted)


def logloss(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean cross-entropy of predicted probabilities, ``-y log p - (1 - y) log(1 - p)``.

    Parameters
    ----------
    actual : array_like of float, shape (n,)
        Labels in [0, 1].
    predicted : array_like of float, shape (n,)
        Probabilities. 0 and 1 are taken to be off by the rounding of their dtype, so that no answer is infinite.

    Returns
    -------
    float
        In nats: log 2 for a coin; NaN for no values.

    Raises
    ------
    DataError
        A value outside [0, 1].

    References
    ----------
    Good: Rational decisions. J. R. Statist. Soc. B 14(1), 1952.

    Examples
    --------
    >>> round(logloss([1, 0], [0.5, 0.5]), 4)
    0.6931
    """
    return _ratio("logloss", actual, predicted)


def calibration(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean predicted value over mean observed value: 1 is right on average, 1.1 promises a tenth too much [1]_.

    It says nothing of which events get the high values; the other metrics do.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)
        Probabilities and labels, or counts, or any other values that are not negative as a whole.

    Returns
    -------
    float
        NaN where the mean observed value is not positive.

    References
    ----------
    .. [1] He, Pan, Jin, et al.: Practical lessons from predicting clicks on ads at Facebook. ADKDD 2014.

    Examples
    --------
    >>> calibration([1, 0, 0, 0], [0.5, 0.25, 0.25, 0.5])
    1.5
    """
    return _ratio("calibration", actual, predicted)


def _squares(actual: Floats, predicted: Floats, _: float) -> tuple[Floats, Floats]:
    return (predicted - actual) ** 2, np.ones(actual.shape)


def _distances(actual: Floats, predicted: Floats, _: float) -> tuple[Floats, Floats]:
    return np.abs(predicted - actual), np.ones(actual.shape)


def _surprises(actual: Floats, predicted: Floats, rounding: float) -> tuple[Floats, Floats]:
    for name, values in (("actual", actual), ("predicted", predicted)):
        bad = ~((values >= 0) & (values <= 1))
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(f"{name}, row {row}: {values.flat[row]} is outside [0, 1], where logloss is defined")
    chance = np.clip(predicted, rounding, 1 - rounding)
    return -actual * np.log(chance) - (1 - actual) * np.log1p(-chance), np.ones(actual.shape)


def _promises(actual: Floats, predicted: Floats, _: float) -> tuple[Floats, Floats]:
    return predicted, actual


# What an event adds to the upper and the lower sum.
ERRORS: dict[str, Callable[[Floats, Floats, float], tuple[Floats, Floats]]] = {
    "rmse": _squares,
    "mae": _distances,
    "logloss": _surprises,
    "calibration": _promises,
}


def terms(metric: str, actual: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    """What each event adds to the two sums of a metric of `ERRORS`, in float64."""
    given = require_numbers("predicted", predicted)
    wanted, got = require_numbers("actual", actual).astype(np.float64), given.astype(np.float64)
    if wanted.shape != got.shape:
        raise DataError(f"actual has shape {wanted.shape}, predicted {got.shape}")
    for name, values in (("actual", wanted), ("predicted", got)):
        require_no_nan(name, values)
    rounding = np.finfo(given.dtype if given.dtype.kind == "f" else np.float64).eps
    return ERRORS[metric](wanted, got, float(rounding))


def _ratio(metric: str, actual: ArrayLike, predicted: ArrayLike) -> float:
    upper, lower = (part.sum() for part in terms(metric, actual, predicted))
    return float(upper / lower) if lower > 0 else float("nan")
