"""Statistics of one tensor in one pass over its bytes.

Counts, minimum and maximum are exact. Moments are over the finite elements in float64 and do not
depend on how the bytes were cut into pieces, nor on whether the compiled kernel is there: blocks of
a fixed size are measured (see `tensor_blocks`), and their means and sums of squares are joined in
an order that is fixed as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.domain.run import TensorKind, TensorStats
from forensics.sources.checkpoints.tensor_blocks import (
    BLOCK,
    COLUMNS,
    COUNT,
    EXPONENT,
    SHIFT,
    SQUARES,
    SUM,
    Totals,
)
from forensics.sources.checkpoints.tensor_encodings import Encoding, encoding_of
from forensics.sources.checkpoints.tensor_tiers import measure

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_MOST_RECORDS = 1 << 16
"""Records of blocks that are kept; as many are joined to one then: 2.6 MB, 268 million elements."""


class TensorSummary:
    """Running statistics of one tensor; `add` its elements in order, then `finish`."""

    def __init__(self) -> None:
        self.count = 0
        self._totals = Totals()
        self._records: Floats = np.empty((1, COLUMNS))
        self._filled = 0
        self._rest: Array | None = None
        self._encoding: Encoding | None = None

    def add(self, array: Array) -> None:
        """Take in the next elements: bool, integer, complex, or any float, all of one dtype.

        The real and the imaginary parts of complex elements are two values each.
        """
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        encoding = encoding_of(array.dtype)
        self._encoding = encoding
        raw = np.ascontiguousarray(array).reshape(-1).view(encoding.raw)
        self.count += len(raw)
        if self._rest is not None:
            missing = BLOCK - len(self._rest)
            self._rest = np.concatenate([self._rest, raw[:missing]])
            raw = raw[missing:]
            if len(self._rest) < BLOCK:
                return
            self._measure(self._rest, encoding)
        whole = len(raw) // BLOCK * BLOCK
        self._rest = raw[whole:].copy() if whole < len(raw) else None
        if whole:
            self._measure(raw[:whole], encoding)

    def _measure(self, raw: Array, encoding: Encoding) -> None:
        """Measure blocks, and join their records whenever there are many."""
        while len(raw):
            blocks = min(-(-len(raw) // BLOCK), _MOST_RECORDS - self._filled)
            records = self._room(blocks)
            measure(raw[: blocks * BLOCK], encoding, records, self._totals)
            raw = raw[blocks * BLOCK :]
            if self._filled == _MOST_RECORDS:
                self._records[0] = _record(_join(self._records))
                self._filled = 1

    def _room(self, blocks: int) -> Floats:
        """Return the next `blocks` rows of the records."""
        needed = self._filled + blocks
        if needed > len(self._records):
            grown = np.empty((min(2 * needed, _MOST_RECORDS), COLUMNS))
            grown[: self._filled] = self._records[: self._filled]
            self._records = grown
        room = self._records[self._filled : needed]
        self._filled = needed
        return room

    def finish(
        self, name: str, kind: TensorKind, shape: tuple[int, ...], dtype: str
    ) -> TensorStats:
        """Return statistics of everything added. An L2 norm beyond float64 is Inf."""
        if self._rest is not None and self._encoding is not None:
            self._measure(self._rest, self._encoding)
            self._rest = None
        nan, pos_inf, neg_inf, zero = (int(count) for count in self._totals.counts)
        n, mean, m2, exponent = _join(self._records[: self._filled])
        if n == 0:
            low = high = mean = std = norm = math.nan
        else:
            # Adding 0.0 makes 0.0 of -0.0.
            low, high = (float(limit) + 0.0 for limit in self._totals.limits)
            std = _scaled(math.sqrt(m2 / n), exponent)
            norm = _scaled(math.sqrt(m2 + n * (mean * mean)), exponent)
            mean = _scaled(mean, exponent)
        return TensorStats(
            name=name,
            kind=kind,
            shape=shape,
            dtype=dtype,
            count=self.count,
            nan=nan,
            pos_inf=pos_inf,
            neg_inf=neg_inf,
            zero=zero,
            min=low,
            max=high,
            mean=mean,
            std=std,
            l2_norm=norm,
        )


def _join(records: Floats) -> tuple[int, float, float, int]:
    """Count, mean and sum of squared deviations of all blocks, in units of a power of two."""
    records = records[records[:, COUNT] > 0]
    if not len(records):
        return 0, 0.0, 0.0, 0
    if len(records) == 1:
        return _single(records[0])
    counts, sums = records[:, COUNT], records[:, SUM]
    means = records[:, SHIFT] + sums / counts
    m2 = np.maximum(records[:, SQUARES] - sums * (sums / counts), 0.0)
    exponent = int(records[:, EXPONENT].max())
    if records[:, EXPONENT].any():
        shift = records[:, EXPONENT].astype(np.int64) - exponent
        means, m2 = np.ldexp(means, shift), np.ldexp(m2, 2 * shift)
    n = int(counts.sum())
    mean = float(means[0]) + _sum(counts * (means - means[0])) / n
    between = means - mean
    return n, mean, _sum(m2) + _sum(counts * (between * between)), exponent


def _single(record: Floats) -> tuple[int, float, float, int]:
    """Do the same for one block, as most tensors are, without arrays and with the same bits."""
    row = record.tolist()
    count, total = row[COUNT], row[SUM]
    mean = row[SHIFT] + total / count + 0.0
    return int(count), mean, max(row[SQUARES] - total * (total / count), 0.0), int(row[EXPONENT])


def _sum(values: Floats) -> float:
    """Sum by halves: elementwise additions only, in an order that no build of NumPy changes."""
    while len(values) > 1:
        half = len(values) // 2
        odd = values[2 * half :]
        values = np.concatenate([values[:half] + values[half : 2 * half], odd])
    return float(values[0])


def _record(joined: tuple[int, float, float, int]) -> Floats:
    n, mean, m2, exponent = joined
    record = np.zeros(COLUMNS)
    record[[COUNT, SHIFT, SQUARES, EXPONENT]] = n, mean, m2, exponent
    return record


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
