"""Robust location and scale: what is usual, and how far from it is far."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forensics.signals.arrays import Floats

MAD_TO_SIGMA = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation estimate sigma of a normal sample."""

_MEAN_TO_SIGMA = 1.2533
"""sqrt(pi / 2): the same for the mean absolute deviation."""


class Level(NamedTuple):
    """A usual value and its spread, both in the unit of the values; NaN where nothing is finite."""

    median: float
    spread: float
    finite: int


def median_scale(values: Floats) -> tuple[float, float]:
    """Median and sigma of the finite values, both robust.

    The sigma is 1.4826 x MAD; where more than half of the values are equal and the MAD is 0, it is
    1.2533 x the mean absolute deviation, as in the modified z-score.

    Parameters
    ----------
    values : ndarray of float, any shape
        NaN and Inf are left out.

    Returns
    -------
    (float, float)
        Both NaN where no value is finite. The sigma is 0 only if all finite values are equal, or so
        close to each other that their distance underflows.

    References
    ----------
    Rousseeuw, P. J. and Croux, C. (1993), Alternatives to the median absolute deviation, JASA 88.
    Iglewicz, B. and Hoaglin, D. C. (1993), How to detect and handle outliers, ASQC.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return float("nan"), float("nan")
    # Halved, so that the distance of the two largest floats does not overflow.
    half = finite * 0.5
    middle = float(np.median(half))
    distance = np.abs(half - middle)
    sigma = MAD_TO_SIGMA * float(np.median(distance))
    if sigma == 0.0:
        largest = float(distance.max())
        if largest > 0.0:
            sigma = _MEAN_TO_SIGMA * float(np.mean(distance / largest)) * largest
    return 2.0 * middle, min(2.0 * sigma, float(np.finfo(float).max))


def winsorised_z(values: Floats, limit: float = 3.0) -> Floats:
    """Distances from the median in robust sigmas, cut off at ``limit``, shape as given.

    NaN stays NaN, an Inf becomes the limit with its sign. A constant series gives zeros.
    """
    middle, sigma = median_scale(values)
    if not sigma > 0.0:
        return np.where(np.isnan(values), np.nan, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        z = (values * 0.5 - middle * 0.5) / (sigma * 0.5) if sigma > 1e-300 else values - middle
    return np.clip(z, -limit, limit)


def healthy_level(values: Floats, before: int | None = None) -> Level:
    """Return the usual value before an index: median and robust sigma of the finite values.

    A limit set from a curve that contains its own failure is no limit: give the onset.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
    before : int, optional
        First index to be left out, usually the onset; all values where it is None.
    """
    head = np.asarray(values, dtype=np.float64)[: None if before is None else max(before, 0)]
    middle, sigma = median_scale(head)
    return Level(middle, sigma, int(np.count_nonzero(np.isfinite(head))))


def comparable(values: Floats) -> Floats:
    """Finite values on an additive scale, on which a change of unit is a shift or nothing.

    Positive series, as nearly all losses are, become their logarithm; where there are zeros among
    them, a thousandth of the median positive value is added first. Others
    become the inverse hyperbolic sine of their robust z, which is linear near the median and
    logarithmic far from it.
    """
    positive = values > 0.0
    if values.size == 0 or not positive.any():
        return _asinh(values, *median_scale(values))
    if (values >= 0.0).all():
        if positive.all():
            return np.log(values)
        return np.log(values + 1e-3 * float(np.median(values[positive] * 0.5)))
    return _asinh(values, *median_scale(values))


def _asinh(values: Floats, middle: float, sigma: float) -> Floats:
    if not sigma > 0.0:
        return np.zeros(values.shape)
    with np.errstate(over="ignore"):
        z = (values * 0.5 - middle * 0.5) / max(sigma * 0.5, 1e-300)
    return np.arcsinh(np.clip(z, -1e300, 1e300))
