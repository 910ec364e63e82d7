"""Histograms as TensorBoard understands them, of both formats.

TensorFlow 1, PyTorch and tensorboardX write a ``HistogramProto`` [1]_: right edges of buckets, of
which the outermost may be ±DBL_MAX, counts, and five numbers about all values. TensorFlow 2 writes
a tensor of shape ``[k, 3]``: left edge, right edge and count of each bucket [2]_. Both become
limits and counts of one length, where ``counts[i]`` values lie between ``limits[i - 1]`` and
``limits[i]``. Those of the first format are as they were written; those of the second begin with
the left edge of the first bucket and a count of 0, and where two buckets do not touch, an empty one
stands between them. Nothing is dropped, so that either format can be had back exactly.

References
----------
.. [1] TensorFlow, ``tensorflow/core/framework/summary.proto`` (in TensorBoard's copy:
   ``histogram.proto``) and ``tensorflow/core/lib/histogram/histogram.cc``.
.. [2] TensorBoard, ``tensorboard/plugins/histogram/summary_v2.py``: with a single value all buckets
   but the last are empty and of no width; without values there are no buckets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.events.tensors import decode_tensor
from forensics.sources.typed_fields import Field, fields
from forensics.sources.wire import FIXED64, LENGTH

Floats = npt.NDArray[np.float64]

NUMBERS = ("min", "max", "num", "sum", "sum_squares")
"""Fields 1 to 5 of a HistogramProto, all doubles; a default of 0 is absent on the wire."""
_LIMITS, _COUNTS = 6, 7


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram.

    Parameters
    ----------
    limits, counts : array of float64, shape (n,)
        ``counts[i]`` values lie above ``limits[i - 1]`` and up to ``limits[i]``.
    numbers : array of float64, shape (5,)
        `NUMBERS`; NaN where the format does not have them.
    """

    limits: Floats
    counts: Floats
    numbers: Floats


def histogram_proto(data: bytes, path: str = "") -> Histogram:
    """Decode a HistogramProto.

    Raises
    ------
    Damaged
        It is malformed, or has another number of limits than of counts.
    """
    numbers = np.zeros(len(NUMBERS))
    parts: dict[int, list[Floats]] = {_LIMITS: [], _COUNTS: []}
    for field in fields(data, (0, len(data)), path):
        if 1 <= field.number <= len(NUMBERS) and field.wire_type == FIXED64:
            numbers[field.number - 1] = np.frombuffer(data, "<f8", 1, field.first)[0]
        elif field.number in parts:
            parts[field.number].append(_doubles(data, field, path))
    limits, counts = (np.concatenate([np.zeros(0), *parts[n]]) for n in (_LIMITS, _COUNTS))
    if len(limits) != len(counts):
        detail = f"a histogram of {len(limits)} limits and {len(counts)} counts"
        raise Damaged(path, 0, "bad_histogram", detail)
    return _frozen(limits, counts, numbers)


def touching(lefts: Floats, rights: Floats) -> npt.NDArray[np.bool_]:
    """Whether buckets begin where the ones before them end; NaN where values were NaN."""
    same: npt.NDArray[np.bool_] = (lefts == rights) | (np.isnan(lefts) & np.isnan(rights))
    return same


def _frozen(limits: Floats, counts: Floats, numbers: Floats) -> Histogram:
    for array in (limits, counts, numbers):
        array.setflags(write=False)
    return Histogram(limits, counts, numbers)


def _doubles(data: bytes, field: Field, path: str) -> Floats:
    """Doubles of a repeated field, packed or one."""
    if field.wire_type not in (LENGTH, FIXED64) or (field.last - field.first) % 8:
        raise Damaged(path, field.last, "bad_histogram", "edges or counts that are no doubles")
    return np.frombuffer(data, "<f8", (field.last - field.first) // 8, field.first)


def bucket_tensor(data: bytes, path: str = "") -> Histogram:
    """Decode a tensor of buckets.

    Raises
    ------
    Damaged
        It is no tensor of real numbers of shape ``[k, 3]``.
    """
    tensor = decode_tensor(data, path)
    if tensor.ndim != 2 or tensor.shape[1] != 3 or tensor.dtype.kind in "OcV":
        detail = f"a histogram of shape {tensor.shape} and dtype {tensor.dtype}"
        raise Damaged(path, 0, "bad_histogram", detail)
    if tensor.nbytes > 64 * len(data):
        raise Damaged(path, 0, "limit", f"{len(tensor)} buckets in {len(data)} bytes")
    return _of_buckets(tensor.astype(np.float64))


def _of_buckets(buckets: Floats) -> Histogram:
    """Limits and counts of buckets of shape ``[k, 3]``."""
    if not len(buckets):
        empty = np.zeros(0)
        return _frozen(empty, empty, np.array([np.nan, np.nan, 0.0, np.nan, np.nan]))
    lefts, rights, counts = buckets.T
    numbers = np.array([lefts[0], rights[-1], counts.sum(), np.nan, np.nan])
    # Before the first bucket, and wherever one does not begin where the one before it ends.
    gaps = np.flatnonzero(np.concatenate([[True], ~touching(lefts[1:], rights[:-1])]))
    limits = np.insert(rights, gaps, lefts[gaps])
    return _frozen(limits, np.insert(counts, gaps, 0.0), numbers)
