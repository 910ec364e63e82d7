"""One tensor in two checkpoints, read side by side in bounded memory."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.domain.run import TensorKind, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.tensor_blocks import TOGETHER
from forensics.sources.checkpoints.tensor_encodings import encoding_of
from forensics.sources.checkpoints.tensor_stats import TensorSummary

Array = npt.NDArray[Any]


class SideFailed(Exception):
    """One of the two cannot be read; ``first`` says which."""

    def __init__(self, cause: Damaged, *, first: bool) -> None:
        super().__init__(str(cause))
        self.cause, self.first = cause, first


@dataclass(frozen=True, slots=True)
class PairStats:
    """Statistics of a tensor in A and in B, and of the way from one to the other.

    Norms are in float64, over the values that are finite in both (parts of complex numbers are two
    values); they are Inf where a difference is beyond float64, NaN where nothing is finite in both.
    """

    a: TensorStats
    b: TensorStats
    equal: bool
    """Whether all bytes are the same; only possible where the dtypes are."""
    norm_a: float
    difference_norm: float
    max_change: float
    became_bad: int


def equal_bytes(a: StoredTensor, b: StoredTensor) -> bool:
    """Whether two tensors that need not be numeric hold the same bytes; both are read to the end.

    Raises
    ------
    SideFailed
        One cannot be read.
    """
    same = True
    for left, right in _side_by_side(a, b, np.dtype(np.uint8), np.dtype(np.uint8)):
        same = same and np.array_equal(left, right)
    return same


def compare_values(a: StoredTensor, b: StoredTensor) -> PairStats:
    """Read two numeric tensors of one shape.

    Raises
    ------
    SideFailed
        One cannot be read.
    """
    types = numpy_dtype(a.dtype), numpy_dtype(b.dtype)
    running = _Running(*types)
    for left, right in _side_by_side(a, b, *types):
        running.add(left, right)
    return running.finish(a, b)


def _side_by_side(
    a: StoredTensor, b: StoredTensor, type_a: np.dtype[Any], type_b: np.dtype[Any]
) -> Iterator[tuple[Array, Array]]:
    """Equally many elements of both at a time; ends when both are exhausted, and so verified."""
    left, right = _elements(a, type_a, first=True), _elements(b, type_b, first=False)
    some_a, some_b = next(left, None), next(right, None)
    while some_a is not None and some_b is not None:
        count = min(len(some_a), len(some_b))
        if count:
            yield some_a[:count], some_b[:count]
        some_a = next(left, None) if count == len(some_a) else some_a[count:]
        some_b = next(right, None) if count == len(some_b) else some_b[count:]
    for side in (left, right):
        for _ in side:
            pass
    if some_a is not None or some_b is not None:
        yield np.zeros(0, type_a), np.zeros(1, type_b)


def _elements(tensor: StoredTensor, dtype: np.dtype[Any], *, first: bool) -> Iterator[Array]:
    try:
        for piece in tensor.pieces():
            yield np.frombuffer(piece, dtype)
    except Damaged as error:
        raise SideFailed(error, first=first) from error


class _Running:
    """What is known after some of the elements."""

    def __init__(self, type_a: np.dtype[Any], type_b: np.dtype[Any]) -> None:
        self._encodings = encoding_of(type_a), encoding_of(type_b)
        self._equal = type_a == type_b
        self._a, self._b, self._change = TensorSummary(), TensorSummary(), TensorSummary()
        self._finite_a: TensorSummary | None = None
        """Of A, what is finite in both; None as long as that is all of A."""
        self._compared = self._became_bad = 0

    def add(self, a: Array, b: Array) -> None:
        same = a.dtype == b.dtype and _same_bytes(a, b)
        self._equal = self._equal and same
        for start in range(0, len(a), TOGETHER):
            self._compare(a, b, start, same=same)
        self._a.add(a)
        self._b.add(b)

    def _compare(self, a: Array, b: Array, start: int, *, same: bool) -> None:
        """Compare as many values as the cache holds."""
        raw_a, raw_b = (
            side[start : start + TOGETHER].view(encoding.raw)
            for side, encoding in zip((a, b), self._encodings, strict=True)
        )
        values_a, values_b = self._encodings[0].widen(raw_a), self._encodings[1].widen(raw_b)
        good_a, good_b = np.isfinite(values_a), np.isfinite(values_b)
        both = good_a & good_b
        compared = int(np.count_nonzero(both))
        self._compared += compared
        if self._finite_a is None and compared < len(both):
            self._finite_a = copy.deepcopy(self._a)
            self._finite_a.add(a[:start])
        if self._finite_a is not None:
            # Whatever the dtype, an element whose bits are 0 is 0.
            finite = np.where(both, raw_a, raw_a.dtype.type(0))
            self._finite_a.add(finite.view(a.dtype))
            self._became_bad += int(np.count_nonzero(good_a & ~good_b))
        if not same:
            with np.errstate(over="ignore", invalid="ignore"):
                change = values_b - values_a
            self._change.add(change if compared == len(both) else np.where(both, change, 0.0))

    def finish(self, a: StoredTensor, b: StoredTensor) -> PairStats:
        stats_a, stats_b = _stats(self._a, a), _stats(self._b, b)
        change = _stats(self._change, a)
        norm_a = stats_a if self._finite_a is None else _stats(self._finite_a, a)
        nothing = self._compared == 0
        largest = max(-change.min, change.max) if change.count > change.bad else 0.0
        beyond = change.bad > 0
        return PairStats(
            a=stats_a,
            b=stats_b,
            equal=self._equal,
            norm_a=math.nan if nothing else norm_a.l2_norm,
            difference_norm=_or_nan(change.l2_norm, nothing, beyond, change.count == 0),
            max_change=_or_nan(largest, nothing, beyond, change.count == 0),
            became_bad=self._became_bad,
        )


def _or_nan(value: float, nothing: bool, beyond: bool, unchanged: bool) -> float:
    if nothing:
        return math.nan
    if beyond:
        return math.inf
    return 0.0 if unchanged else value


def _stats(summary: TensorSummary, tensor: StoredTensor) -> TensorStats:
    return summary.finish(tensor.name, TensorKind.WEIGHT, tensor.shape, tensor.dtype)


def _same_bytes(a: Array, b: Array) -> bool:
    return np.array_equal(a.view(np.uint8), b.view(np.uint8))
