"""Spread of a curve around its own level, at every value."""

from __future__ import annotations

import numpy as np

from forensics.signals.arrays import Floats, block_medians

_WINDOWS = 40  # levels that the run is cut into
_NARROWEST = 8


def log_dispersion(values: Floats, neighbours: int = 8) -> Floats:
    """Log of the mean distance of some neighbours from their local level, shape (n,).

    The level is interpolated between medians of blocks a fortieth of the run long, so that any
    oscillation faster than that counts as spread. Means are bounded below by a hundredth of their
    median, lest rounded or equal values give a logarithm of nothing. All zeros for a curve that
    never leaves its level.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite; any unit, which only shifts the result.
    neighbours : int
        Distances that are averaged. The logarithm of a single one is four times as noisy as that of
        the mean of eight, with a heavy lower tail, but dates a change exactly.
    """
    n = values.shape[0]
    size = max(_NARROWEST, n // _WINDOWS)
    if n < 3 * size or neighbours > n:
        return np.zeros(n)
    largest = float(np.abs(values).max())
    if not largest > 0.0:
        return np.zeros(n)
    unit = values / largest if np.isfinite(1.0 / largest) else values
    levels = block_medians(unit, size)
    centres = n % size + size * np.arange(levels.shape[0]) + (size - 1) / 2.0
    distance = np.abs(unit - np.interp(np.arange(n), centres, levels))
    mean = _neighbour_mean(distance, neighbours)
    usual = float(np.median(mean))
    if not usual > 0.0:
        return np.zeros(n)
    return np.log(np.maximum(mean, 0.01 * usual))


def _neighbour_mean(values: Floats, count: int) -> Floats:
    n = values.shape[0]
    total = np.concatenate([[0.0], np.cumsum(values)])
    low = np.clip(np.arange(n) - count // 2, 0, n - count)
    return np.asarray((total[low + count] - total[low]) / count)
