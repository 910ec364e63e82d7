"""Many histograms decoded at once: messages of one length are rows of a matrix.

Nearly all histograms of a run are laid out alike, key by key. What holds for the first row is
checked for all others, and whatever is laid out otherwise is left to the general decoders in
`forensics.sources.events.histograms`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forensics.errors import Damaged
from forensics.sources.events.histograms import (
    NUMBERS,
    Floats,
    bucket_tensor,
    histogram_proto,
    touching,
)
from forensics.sources.events.tensors import decode_tensor
from forensics.sources.typed_fields import Field, fields
from forensics.sources.wire import FIXED64, LENGTH

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_LIMITS, _COUNTS, _CONTENT = 6, 7, 4


@dataclass(frozen=True, slots=True)
class Decoded:
    """Histograms of some rows: lists of limits and counts, and one row of `NUMBERS` each."""

    rows: Mask
    limits: Sequence[Floats]
    counts: Sequence[Floats]
    numbers: Floats


def protos_like_the_first(rows: Bytes) -> Decoded | None:
    """Decode the HistogramProtos that are laid out as the first one is.

    Parameters
    ----------
    rows : array of uint8, shape (n, length)
        Messages of one length; n > 0.

    Returns
    -------
    Decoded or None
        None where the first is laid out in an uncommon way, or damaged.
    """
    layout = _proto_layout(rows[0].tobytes())
    if layout is None:
        return None
    alike = _alike(rows, layout.fixed)
    some = rows[alike]
    numbers = np.zeros((len(some), len(NUMBERS)))
    for index, start in layout.numbers:
        numbers[:, index] = _doubles(some, start, 1)[:, 0]
    limits = _doubles(some, layout.limits, layout.count)
    counts = _doubles(some, layout.counts, layout.count)
    return Decoded(alike, list(limits), list(counts), numbers)


@dataclass(frozen=True, slots=True)
class _ProtoLayout:
    """Where a HistogramProto has its numbers, and which bytes are keys and sizes."""

    numbers: list[tuple[int, int]]
    limits: int
    counts: int
    count: int
    fixed: Mask


def _proto_layout(data: bytes) -> _ProtoLayout | None:
    """Layout of a message with one packed field of limits and one of counts; None for others."""
    numbers: list[tuple[int, int]] = []
    packed: dict[int, Field] = {}
    fixed = np.ones(len(data), bool)
    try:
        for field in fields(data, (0, len(data)), ""):
            known = field.wire_type == FIXED64 and 1 <= field.number <= len(NUMBERS)
            array = field.wire_type == LENGTH and field.number in (_LIMITS, _COUNTS)
            if field.number in packed or not (known or array):
                return None
            fixed[field.first : field.last] = False
            if array:
                packed[field.number] = field
            else:
                numbers.append((field.number - 1, field.first))
    except Damaged:
        return None
    sizes = {field.last - field.first for field in packed.values()}
    if len(packed) != 2 or len(sizes) != 1:
        return None
    size = sizes.pop()
    limits, counts = packed[_LIMITS].first, packed[_COUNTS].first
    return None if size % 8 else _ProtoLayout(numbers, limits, counts, size // 8, fixed)


def tensors_like_the_first(rows: Bytes) -> Decoded | None:
    """Decode the tensors of buckets that are laid out as the first one is.

    That is with float64 elements as content at the end, and buckets that touch each other.

    Parameters
    ----------
    rows : array of uint8, shape (n, length)
        Messages of one length; n > 0.

    Returns
    -------
    Decoded or None
        None where the first is laid out in an uncommon way, or damaged.
    """
    first = rows[0].tobytes()
    buckets = _buckets_at_the_end(first)
    if not buckets:
        return None
    start = len(first) - 24 * buckets
    fixed = np.zeros(len(first), bool)
    fixed[:start] = True
    alike = _alike(rows, fixed)
    values = _doubles(rows, start, buckets * 3).reshape(len(rows), buckets, 3)
    alike &= touching(values[:, 1:, 0], values[:, :-1, 1]).all(axis=1)
    if not alike[0]:
        return None
    values = values[alike]
    limits = np.concatenate([values[:, :1, 0], values[:, :, 1]], axis=1)
    counts = np.concatenate([np.zeros((len(values), 1)), values[:, :, 2]], axis=1)
    numbers = np.full((len(values), len(NUMBERS)), np.nan)
    numbers[:, 0], numbers[:, 1], numbers[:, 2] = limits[:, 0], limits[:, -1], counts.sum(axis=1)
    for array in (limits, counts):
        array.setflags(write=False)
    return Decoded(alike, list(limits), list(counts), numbers)


def _buckets_at_the_end(data: bytes) -> int:
    """Count the buckets if their float64 are the last bytes of the message, else 0."""
    try:
        *_, last = fields(data, (0, len(data)), "")
        tensor = decode_tensor(data)
    except (Damaged, ValueError):
        return 0
    at_the_end = last.number == _CONTENT and last.wire_type == LENGTH
    shaped = tensor.ndim == 2 and tensor.shape[1] == 3 and tensor.dtype == np.float64
    return len(tensor) if at_the_end and shaped and last.last - last.first == tensor.nbytes else 0


def _alike(rows: Bytes, fixed: Mask) -> Mask:
    """Which rows have the bytes of the first where `fixed` says so."""
    places = np.flatnonzero(fixed)
    same: Mask = (rows[:, places] == rows[0, places]).all(axis=1)
    return same


def _doubles(rows: Bytes, start: int, count: int) -> Floats:
    """Take the `count` doubles that lie at `start` in every row; read-only."""
    values = np.ascontiguousarray(rows[:, start : start + 8 * count]).view("<f8")
    values.setflags(write=False)
    return values


_Group = Callable[[Bytes], "Decoded | None"]
_ROUNDS = 16
"""Layouts of one length that are decoded together; messages of any further one are one by one."""


@dataclass(slots=True)
class Histograms:
    """Histograms in the order of the messages they come from.

    ``limits`` and ``counts`` are None where a message is damaged; ``faults`` says why, by index.
    """

    limits: list[Floats | None]
    counts: list[Floats | None]
    numbers: Floats
    faults: list[tuple[int, Damaged]]


def empty_histograms(count: int) -> Histograms:
    """Room for `count` histograms."""
    return Histograms([None] * count, [None] * count, np.full((count, len(NUMBERS)), np.nan), [])


def decode_rows(
    rows: Bytes, indices: npt.NDArray[np.int64], tensors: bool, into: Histograms
) -> None:
    """Decode messages of one length.

    Parameters
    ----------
    rows : array of uint8, shape (n, length)
    indices : array of int64, shape (n,)
        Where in `into` each of them belongs.
    tensors : bool
        Whether they are tensors of buckets, not HistogramProtos.
    """
    together: _Group = tensors_like_the_first if tensors else protos_like_the_first
    for _ in range(_ROUNDS):
        found = together(rows) if len(rows) > 1 else None
        if found is None:
            break
        for index, limits, counts in zip(
            indices[found.rows].tolist(), found.limits, found.counts, strict=True
        ):
            into.limits[index], into.counts[index] = limits, counts
        into.numbers[indices[found.rows]] = found.numbers
        rows, indices = rows[~found.rows], indices[~found.rows]
        if not len(rows):
            return
    one = bucket_tensor if tensors else histogram_proto
    for index, row in zip(indices.tolist(), rows, strict=True):
        try:
            histogram = one(row.tobytes())
        except Damaged as error:
            into.faults.append((index, error))
        else:
            into.limits[index], into.counts[index] = histogram.limits, histogram.counts
            into.numbers[index] = histogram.numbers
