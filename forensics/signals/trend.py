"""Robust straight lines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forensics.signals.arrays import Floats, as_floats

_POINTS = 300


class Trend(NamedTuple):
    """Line ``intercept + slope * step``; NaN where fewer than two finite values were given."""

    slope: float
    intercept: float


def theil_sen(values: Floats, steps: Floats | None = None) -> Trend:
    """Median of the slopes between all pairs of points, and the median intercept.

    Up to 29 % of outliers do not move it. More than 300 points are thinned evenly: the slope of a
    series of a million needs no 5e11 pairs.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        NaN and Inf are left out.
    steps : ndarray of float, shape (n,), optional
        Increasing; 0, 1, 2, ... where it is None. The slope is per step.

    References
    ----------
    Sen, P. K. (1968), Estimates of the regression coefficient based on Kendall's tau, JASA 63.
    """
    y = as_floats(values)
    x = np.arange(y.shape[0], dtype=np.float64) if steps is None else as_floats(steps)
    keep = np.isfinite(y) & np.isfinite(x)
    x, y = x[keep], y[keep]
    if y.shape[0] > _POINTS:
        chosen = np.linspace(0, y.shape[0] - 1, _POINTS).astype(np.intp)
        x, y = x[chosen], y[chosen]
    first, second = np.triu_indices(y.shape[0], k=1)
    run = x[second] - x[first]
    use = run != 0.0
    if not use.any():
        return Trend(float("nan"), float("nan"))
    with np.errstate(over="ignore", invalid="ignore"):
        slope = float(np.median((y[second] - y[first])[use] / run[use]))
        return Trend(slope, float(np.median(y - slope * x)))
