"""Fewer points for a chart, without hiding what a chart of a failed run is for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forensics.signals.arrays import Floats, as_floats


class Curve(NamedTuple):
    """A curve thinned for drawing; the first four arrays have one entry per bucket.

    ``steps`` is the first step of a bucket with its median value, ``low`` and ``high`` the band of
    its finite values. ``non_finite`` holds the step of every NaN and Inf, shape (k,): none is
    dropped, however many there are.
    """

    steps: NDArray[np.int64]
    values: Floats
    low: Floats
    high: Floats
    non_finite: NDArray[np.int64]


def downsample(steps: NDArray[np.int64], values: Floats, limit: int) -> Curve:
    """Thin a curve to at most ``limit`` buckets of equally many finite points.

    The band keeps every spike visible, unlike a mean; the median keeps a spike from moving the
    line. A curve of no more than ``limit`` finite points comes back as it is.

    Parameters
    ----------
    steps : ndarray of int, shape (n,)
    values : ndarray of float, shape (n,)
    limit : int
        At least 1.

    Raises
    ------
    ValueError
        If ``limit`` is below 1 or the shapes differ.
    """
    y = as_floats(values)
    x = np.asarray(steps, dtype=np.int64).reshape(-1)
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    if x.shape != y.shape:
        raise ValueError(f"{x.shape[0]} steps for {y.shape[0]} values")
    finite = np.isfinite(y)
    bad, x, y = x[~finite], x[finite], y[finite]
    if y.shape[0] <= limit:
        return Curve(x, y, y.copy(), y.copy(), bad)
    edges = np.linspace(0, y.shape[0], limit + 1).astype(np.intp)
    starts = edges[:-1]
    medians = [_median(y[a:b]) for a, b in zip(starts, edges[1:], strict=True)]
    return Curve(
        x[starts],
        np.array(medians),
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
        bad,
    )


def _median(values: Floats) -> float:
    """Median of a non-empty bucket, safe for the two largest floats."""
    return float(np.median(values * 0.5)) * 2.0
