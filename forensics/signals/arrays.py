"""Array plumbing that every signal needs: types, blocks, windows, comparable units."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
"""Array of float64, shape (n,) unless said otherwise."""


def as_floats(values: ArrayLike) -> Floats:
    """One-dimensional float64 copy-free view of the values."""
    return np.asarray(values, dtype=np.float64).reshape(-1)


def block_medians(values: Floats, size: int) -> Floats:
    """Medians of whole blocks of ``size`` values, the last block ending at the end.

    An incomplete first block is left out: what matters in a failed run is at its end.
    """
    if size <= 1:
        return values
    whole = values[values.shape[0] % size :].reshape(-1, size)
    return np.asarray(np.median(whole, axis=1))


def sliding_medians(values: Floats, width: int) -> Floats:
    """Medians of all windows of ``width`` values, shape (n - width + 1,)."""
    if width <= 1:
        return values
    return np.asarray(np.median(sliding_window_view(values, width), axis=-1))


def despiked(values: Floats) -> Floats:
    """Take the running median of three: single outliers go, edges stay where they are."""
    if values.shape[0] < 3:
        return values
    inner = sliding_medians(values, 3)
    return np.concatenate([values[:1], inner, values[-1:]])


def comparable(values: Floats) -> Floats:
    """Finite values on an additive scale, on which a change of unit is a shift or nothing.

    Positive series, as nearly all losses are, become their logarithm; where there are zeros among
    them, a thousandth of the median positive value is added first. Others
    become the inverse hyperbolic sine of their robust z, which is linear near the median and
    logarithmic far from it.
    """
    from forensics.signals.scale import median_scale

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


def level_step(values: Floats, index: int, span: int) -> float:
    """Level of up to ``span`` values from an index on, less the level of as many before it.

    0 where there is nothing on one side.
    """
    if not 0 < index < values.shape[0]:
        return 0.0
    before = values[max(0, index - span) : index]
    return float(np.median(values[index : index + span]) - np.median(before))
