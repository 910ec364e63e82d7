"""Array plumbing that every signal needs: types, blocks, windows."""

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


def level_step(values: Floats, index: int, span: int) -> float:
    """Level of up to ``span`` values from an index on, less the level of as many before it.

    0 where there is nothing on one side.
    """
    if not 0 < index < values.shape[0]:
        return 0.0
    before = values[max(0, index - span) : index]
    return float(np.median(values[index : index + span]) - np.median(before))
