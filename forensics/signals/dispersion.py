"""Spread of a curve around its own level, value by value."""

from __future__ import annotations

import numpy as np

from forensics.signals.arrays import Floats, block_medians

_WINDOWS = 40  # levels that the run is cut into
_NARROWEST = 8


def log_dispersion(values: Floats) -> Floats:
    """Log of the distance of each value from the local level, shape (n,).

    The level is interpolated between medians of blocks a fortieth of the run long, so that any
    oscillation faster than that counts as spread. Distances are bounded below by a hundredth of
    their median, lest rounded or equal values give a logarithm of nothing. All zeros for a curve
    that never leaves its level.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Finite; any unit, which only shifts the result.
    """
    n = values.shape[0]
    size = max(_NARROWEST, n // _WINDOWS)
    if n < 3 * size:
        return np.zeros(n)
    largest = float(np.abs(values).max())
    if not largest > 0.0:
        return np.zeros(n)
    unit = values / largest if np.isfinite(1.0 / largest) else values
    levels = block_medians(unit, size)
    centres = n % size + size * np.arange(levels.shape[0]) + (size - 1) / 2.0
    distance = np.abs(unit - np.interp(np.arange(n), centres, levels))
    usual = float(np.median(distance))
    if not usual > 0.0:
        return np.zeros(n)
    return np.log(np.maximum(distance, 0.01 * usual))
