"""Blocks of a tensor in NumPy: what is counted in each, and in which order it is summed.

A tensor is cut into blocks of `BLOCK` elements. In each, deviations from the first finite element
and their squares are summed in `LANES` lanes, row by row, and the lanes are joined by halves. The
compiled kernel does the same operations in the same order, so that both agree to the last bit on
every machine: only IEEE additions, subtractions and products are involved, none of them fused.

A deviation from a member of the block is bounded by the spread itself, so that the variance of a
block loses a factor of at most ``1 + BLOCK`` of float64's precision, whatever the mean is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BLOCK, LANES = 4096, 64
COUNT, SHIFT, SUM, SQUARES, EXPONENT = range(5)
"""Columns of a record: finite elements; the element that deviations are from; their sum and the sum
of their squares; the power of two in whose units these three are."""
COLUMNS = 5
NAN, POS_INF, NEG_INF, ZERO = range(4)
TOGETHER = 8 * BLOCK
"""Elements worked on at once: 256 KiB in float64, which stays in the second-level cache."""
SAFE_EXPONENT = 480
"""Squares of values within 2**±480, and sums of 2**60 of them, stay inside float64."""


class Totals:
    """What is simply added up over blocks.

    Attributes
    ----------
    counts : int64 array of shape (4,)
        Elements that are NaN, +Inf, -Inf and zero, in this order.
    limits : float64 array of shape (2,)
        The least and the largest finite element; Inf and -Inf while there is none.
    """

    __slots__ = ("counts", "limits")

    def __init__(self) -> None:
        self.counts = np.zeros(4, np.int64)
        self.limits = np.array([math.inf, -math.inf])


def measure(values: Floats, records: Floats, totals: Totals) -> None:
    """Measure whole blocks, the last of which may be shorter.

    Parameters
    ----------
    values : float64 array of shape (n,)
        Elements; may be overwritten.
    records : float64 array of shape (ceil(n / BLOCK), COLUMNS)
        Filled.
    totals : Totals
        Added to.
    """
    whole = len(values) // BLOCK * BLOCK
    for start in range(0, whole, TOGETHER):
        some = values[start : min(start + TOGETHER, whole)].reshape(-1, BLOCK)
        first = start // BLOCK
        _measure(some, records[first : first + len(some)], totals)
    if whole < len(values):
        last = whole // BLOCK
        _measure(values[whole:].reshape(1, -1), records[last : last + 1], totals)


def _measure(values: Floats, records: Floats, totals: Totals) -> None:
    """Measure blocks of one length, one per row."""
    low, high = values.min(axis=1), values.max(axis=1)
    if np.isfinite(low).all() and np.isfinite(high).all():
        totals.counts[ZERO] += values.size - np.count_nonzero(values)
        records[:, COUNT], shift = values.shape[1], values[:, 0]
    else:
        finite = np.isfinite(values)
        _count(values, totals)
        records[:, COUNT] = finite.sum(axis=1)
        first = values[np.arange(len(values)), finite.argmax(axis=1)]
        shift = np.where(np.isfinite(first), first, 0.0)
        values = np.where(finite, values, shift[:, None])
        low, high = values.min(axis=1), values.max(axis=1)
    some = records[:, COUNT] > 0
    if some.any():
        limits = totals.limits
        limits[:] = min(limits[0], low[some].min()), max(limits[1], high[some].max())
    exponent = _exponents(np.maximum(-low, high))
    if exponent.any():
        values, shift = np.ldexp(values, -exponent[:, None]), np.ldexp(shift, -exponent)
    records[:, SHIFT], records[:, EXPONENT] = shift, exponent
    _sum(values - shift[:, None], records)


def _count(values: Floats, totals: Totals) -> None:
    totals.counts[NAN] += np.count_nonzero(np.isnan(values))
    totals.counts[POS_INF] += np.count_nonzero(values == np.inf)
    totals.counts[NEG_INF] += np.count_nonzero(values == -np.inf)
    totals.counts[ZERO] += values.size - np.count_nonzero(values)


def _exponents(largest: Floats) -> npt.NDArray[np.int32]:
    """0 where squares stay inside float64; they do wherever the largest magnitude is 0."""
    exponent = np.frexp(largest)[1]
    return np.where((largest == 0) | (np.abs(exponent) <= SAFE_EXPONENT), 0, exponent)


def _sum(deviations: Floats, records: Floats) -> None:
    """Sum in lanes: NumPy adds row to row where the axis that it reduces is not the last one."""
    blocks, size = deviations.shape
    if size % LANES:
        padded = np.zeros((blocks, size + LANES - size % LANES))
        padded[:, :size] = deviations
        deviations = padded
    lanes = deviations.reshape(blocks, -1, LANES)
    records[:, SUM] = _fold(np.add.reduce(lanes, axis=1))
    np.multiply(lanes, lanes, out=lanes)
    records[:, SQUARES] = _fold(np.add.reduce(lanes, axis=1))


def _fold(lanes: Floats) -> Floats:
    width = LANES // 2
    while width:
        lanes = lanes[:, :width] + lanes[:, width : 2 * width]
        width //= 2
    return lanes[:, 0]
