"""Error metrics of predicted values.

Each is a ratio of two sums over events (rmse is the root of it), so that it can be accumulated in parts: per user, per
group, per block.
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
    """Root mean squared error.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)
        Observed values and predictions.

    Returns
    -------
    float
        In the unit of `actual`; NaN for empty arrays.

    Raises
    ------
    DataError
        If the arrays differ in shape, are not numeric, or contain NaN.

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
        Observed values and predictions.

    Returns
    -------
    float
        In the unit of `actual`; NaN for empty arrays.

    Raises
    ------
    DataError
        As for `rmse`.

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
        Predicted probabilities. They are clipped to [eps, 1 - eps], with the eps of their dtype, so that the result is
        finite.

    Returns
    -------
    float
        In nats: log 2 if every probability is 0.5; NaN for empty arrays.

    Raises
    ------
    DataError
        If a value is outside [0, 1], or as for `rmse`.

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
    """Calibration: mean prediction divided by mean observed value [1]_.

    1 is unbiased, and 1.1 is 10 % too high on average. It does not measure how well predictions order the events.

    Parameters
    ----------
    actual, predicted : array_like of float, shape (n,)
        Labels and predicted probabilities, counts, or other values whose mean is positive.

    Returns
    -------
    float
        NaN if the mean observed value is not positive.

    Raises
    ------
    DataError
        As for `rmse`.

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


# The terms that each event adds to the numerator and to the denominator.
ERRORS: dict[str, Callable[[Floats, Floats, float], tuple[Floats, Floats]]] = {
    "rmse": _squares,
    "mae": _distances,
    "logloss": _surprises,
    "calibration": _promises,
}


def terms(metric: str, actual: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    """Return the terms that each event adds to the two sums of a metric of `ERRORS`, in float64."""
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
