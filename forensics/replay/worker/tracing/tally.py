"""Numbers of a layer's output or gradient, kept in place of the arrays: a trace holds no tensor."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from .. import arrays

SAMPLE = 1 << 20
"""Elements beyond which moments are taken of every n-th one only."""
SIGMOID, TANH = (0.01, 0.99), (-0.99, 0.99)
"""Outputs beyond these bounds count as saturated (1 % from the activation's ends)."""


class Tally:
    """Moments of an array's finite elements and counts of its others.

    Parameters
    ----------
    array : array
        Not kept. Above `SAMPLE` elements the moments and fractions are those of a regular sample,
        the counts of non-finite elements are exact.
    """

    __slots__ = ("beyond", "inf", "max_abs", "mean", "nan", "squares", "std", "zero_fraction")

    def __init__(self, array: Any) -> None:
        wide = arrays.widen(array)
        self.nan = self.inf = 0
        if arrays.badness(array):
            self.nan, self.inf = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
        sample = wide.reshape(-1)[:: 1 + array.size // SAMPLE].astype(np.float64)
        finite = sample[np.isfinite(sample)] if self.nan or self.inf else sample
        with np.errstate(all="ignore"):
            self.mean = float(finite.mean()) if finite.size else float("nan")
            self.std = float(finite.std()) if finite.size else float("nan")
            self.max_abs = float(np.abs(finite).max()) if finite.size else 0.0
            self.squares = float(np.square(sample).sum()) * array.size / max(1, sample.size)
            self.zero_fraction = float((sample == 0).mean()) if sample.size else 0.0
            self.beyond: Dict[Any, float] = {
                bounds: float(((sample < bounds[0]) | (sample > bounds[1])).mean())
                if sample.size
                else 0.0
                for bounds in (SIGMOID, TANH)
            }
