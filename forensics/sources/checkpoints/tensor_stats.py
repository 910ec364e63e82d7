"""Statistics of one tensor in one pass over its chunks.

Counts are exact. Moments are over the finite elements in float64; chunks are joined by Chan's
update [1]_, and values whose squares would leave the range of float64 are scaled by a power of two
first, which loses nothing.

References
----------
.. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
   computing sample variances", 1979.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.domain.run import TensorKind, TensorStats

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

CHUNK = 1 << 15
"""Elements looked at together: 256 KiB in float64, which stays in the second-level cache."""
_SAFE_EXPONENT = 480
"""Squares of values within 2**±480, and sums of 2**60 of them, stay inside float64."""


class TensorSummary:
    """Running statistics of one tensor; `add` chunks, then `finish`."""

    def __init__(self) -> None:
        self.count = self.nan = self.pos_inf = self.neg_inf = self.zero = 0
        self._min, self._max = math.inf, -math.inf
        # Finite elements so far; moments in units of 2**_exponent.
        self._n, self._exponent = 0, 0
        self._mean = self._m2 = self._squares = 0.0

    def add(self, array: Array) -> None:
        """Take in the elements of `array`: bool, integer, complex, or any float.

        The real and the imaginary parts of complex elements are two values each.
        """
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.dtype.kind == "c":
            flat = flat.view(np.dtype(f"f{flat.dtype.itemsize // 2}"))
        elif flat.dtype.kind == "b":
            flat = flat.view(np.uint8)
        for start in range(0, flat.size, CHUNK):
            self._add_chunk(flat[start : start + CHUNK])

    def _add_chunk(self, chunk: Array) -> None:
        with np.errstate(invalid="ignore"):  # Signalling NaNs.
            values: Floats = chunk.astype(np.float64)  # A copy, and so free to be overwritten.
        self.count += values.size
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nan += int(np.count_nonzero(np.isnan(values)))
            self.pos_inf += int(np.count_nonzero(values == np.inf))
            self.neg_inf += int(np.count_nonzero(values == -np.inf))
            values = values[np.isfinite(values)]
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        self.zero += values.size - int(np.count_nonzero(values))
        self._min, self._max = min(self._min, low), max(self._max, high)
        self._join(values, max(-low, high))

    def _join(self, values: Floats, largest: float) -> None:
        exponent = math.frexp(largest)[1]
        if largest == 0 or abs(exponent) <= _SAFE_EXPONENT:
            exponent = 0
        else:
            values = np.ldexp(values, -exponent)
        n = values.size
        # Deviations from the first element: a constant tensor has std 0 to the last bit.
        deviations = values - values[0]
        offset = float(deviations.mean())
        mean = float(values[0]) + offset
        deviations -= offset
        # Not a dot product: BLAS would start its threads for every chunk.
        m2 = float(np.square(deviations, out=deviations).sum())
        squares = float(np.square(values, out=values).sum())
        if self._n == 0:
            self._n, self._exponent = n, exponent
            self._mean, self._m2, self._squares = mean, m2, squares
            return
        mean, m2, squares = self._to_common_unit(exponent, mean, m2, squares)
        total = self._n + n
        delta = mean - self._mean
        self._mean += delta * (n / total)
        self._m2 += m2 + delta * delta * (self._n * (n / total))
        self._squares += squares
        self._n = total

    def _to_common_unit(
        self, exponent: int, mean: float, m2: float, squares: float
    ) -> tuple[float, float, float]:
        """Bring the moments so far, or the new ones, to the larger of the two units."""
        shift = exponent - self._exponent
        if shift > 0:
            self._mean = math.ldexp(self._mean, -shift)
            self._m2 = math.ldexp(self._m2, -2 * shift)
            self._squares = math.ldexp(self._squares, -2 * shift)
            self._exponent = exponent
        elif shift < 0:
            mean = math.ldexp(mean, shift)
            m2, squares = math.ldexp(m2, 2 * shift), math.ldexp(squares, 2 * shift)
        return mean, m2, squares

    def finish(
        self, name: str, kind: TensorKind, shape: tuple[int, ...], dtype: str
    ) -> TensorStats:
        """Return statistics of everything added. An L2 norm beyond float64 is Inf."""
        if self._n == 0:
            low = high = mean = std = norm = math.nan
        else:
            low, high = self._min, self._max
            mean = _scaled(self._mean, self._exponent)
            std = _scaled(math.sqrt(self._m2 / self._n), self._exponent)
            norm = _scaled(math.sqrt(self._squares), self._exponent)
        return TensorStats(
            name=name,
            kind=kind,
            shape=shape,
            dtype=dtype,
            count=self.count,
            nan=self.nan,
            pos_inf=self.pos_inf,
            neg_inf=self.neg_inf,
            zero=self.zero,
            min=low,
            max=high,
            mean=mean,
            std=std,
            l2_norm=norm,
        )


def _scaled(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)


def statistics(name: str, kind: TensorKind, array: Array) -> TensorStats:
    """Statistics of a whole array.

    Parameters
    ----------
    name : str
        Name of the tensor.
    kind : TensorKind
        What it is for.
    array : array of any shape
        Bool, integer, float, complex; of anything else (strings) only the elements are counted.

    Returns
    -------
    TensorStats
        Of a complex tensor the real and the imaginary parts are values of their own, so that
        ``count`` is twice the number of elements.
    """
    if not is_numeric(array.dtype):
        return counted_only(name, kind, array.shape, "string", array.size)
    summary = TensorSummary()
    summary.add(array)
    return summary.finish(name, kind, array.shape, array.dtype.name)


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether elements of `dtype` are numbers; ml_dtypes' are, and NumPy calls their kind V."""
    return dtype.kind in "biufc" or (
        dtype.kind == "V" and dtype.fields is None and dtype.type is not np.void
    )


def counted_only(
    name: str, kind: TensorKind, shape: tuple[int, ...], dtype: str, count: int
) -> TensorStats:
    """Statistics of a tensor whose elements are no numbers."""
    nan = math.nan
    return TensorStats(name, kind, shape, dtype, count, 0, 0, 0, 0, nan, nan, nan, nan, nan)
