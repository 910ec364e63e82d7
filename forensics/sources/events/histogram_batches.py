"""Many histograms decoded at once, straight from the bytes of a file.

Nearly all histograms of a run are laid out alike. What writers of each format do is checked, key by
key, for all messages together; whatever is laid out otherwise is left to the general decoders in
`forensics.sources.events.histograms`, which are also what this must agree with.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from forensics.sources.typed_fields import fields
from forensics.sources.wire import LENGTH

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

_KEYS = (0x09, 0x11, 0x19, 0x21, 0x29)
"""Keys of the five numbers: fields 1 to 5, fixed64."""
_LIMITS_KEY, _COUNTS_KEY = 0x32, 0x3A
"""Keys of limits and counts: fields 6 and 7, packed."""
_CONTENT = 4
_MAX_SIZE = 3
"""Bytes of the varint that says how long limits and counts are: up to 2 MiB."""
_FEW = 8
"""Messages below which it costs less to decode them one by one."""
_ROUNDS = 16
"""Layouts of one length that are decoded together; tensors of any further one are one by one."""


@dataclass(slots=True)
class Histograms:
    """Histograms in the order of the messages they come from.

    ``limits`` and ``counts`` are None where a message is damaged; ``faults`` says why, by index.
    """

    limits: list[Floats | None]
    counts: list[Floats | None]
    numbers: Floats
    faults: list[tuple[int, Damaged]]

    @classmethod
    def room_for(cls, count: int) -> Histograms:
        """Room for as many that are still to come."""
        return cls([None] * count, [None] * count, np.full((count, len(NUMBERS)), np.nan), [])

    def put(
        self,
        indices: Positions,
        limits: Sequence[Floats],
        counts: Sequence[Floats],
        numbers: Floats,
    ) -> None:
        """Take in decoded histograms."""
        for index, its_limits, its_counts in zip(indices.tolist(), limits, counts, strict=True):
            self.limits[index], self.counts[index] = its_limits, its_counts
        self.numbers[indices] = numbers


def decode_protos(
    data: Bytes, starts: Positions, lengths: Positions, indices: Positions, into: Histograms
) -> None:
    """Decode HistogramProtos.

    Parameters
    ----------
    data : array of uint8
    starts, lengths : array of int64, shape (n,)
        Where in `data` each message lies.
    indices : array of int64, shape (n,)
        Where in `into` each belongs.
    """
    if len(starts) < _FEW or not len(data):
        _one_by_one(data, starts, lengths, indices, tensors=False, into=into)
        return
    at, ends = starts.copy(), starts + lengths
    numbers = np.zeros((len(starts), len(NUMBERS)))
    for column, key in enumerate(_KEYS):
        there = (at + 9 <= ends) & (_bytes(data, at) == key)
        numbers[there, column] = _doubles(data, at[there] + 1)
        at += 9 * there
    limits, limit_bytes = _packed(data, at, ends, _LIMITS_KEY)
    counts, count_bytes = _packed(data, limits + limit_bytes, ends, _COUNTS_KEY)
    usual = (limit_bytes >= 0) & (limit_bytes == count_bytes) & (limit_bytes % 8 == 0)
    usual &= counts + count_bytes == ends
    sizes = limit_bytes[usual] >> 3
    into.put(
        indices[usual],
        _ragged(data, limits[usual], sizes),
        _ragged(data, counts[usual], sizes),
        numbers[usual],
    )
    _one_by_one(data, starts[~usual], lengths[~usual], indices[~usual], tensors=False, into=into)


def _packed(data: Bytes, at: Positions, ends: Positions, key: int) -> tuple[Positions, Positions]:
    """Where the content of a packed field begins, and its bytes; -1 for what is no such field."""
    sizes = np.zeros(len(at), np.int64)
    begins = at + 1
    open_ = (at < ends) & (_bytes(data, at) == key)
    found = np.zeros(len(at), bool)
    for _ in range(_MAX_SIZE):
        byte = _bytes(data, begins).astype(np.int64)
        sizes += np.where(open_, (byte & 0x7F) << (7 * (begins - at - 1)), 0)
        begins += open_
        found |= open_ & (byte < 0x80)
        open_ &= byte >= 0x80
    found &= begins + sizes <= ends
    return np.where(found, begins, 0), np.where(found, sizes, -1)


def _bytes(data: Bytes, positions: Positions) -> Bytes:
    """Take the byte at each position; any one for what lies beyond the end."""
    return data[np.minimum(positions, len(data) - 1)]


def _doubles(data: Bytes, positions: Positions) -> Floats:
    """Take the double at each position, aligned or not."""
    view: Floats = np.ndarray((max(0, len(data) - 7),), "<f8", data, strides=(1,))
    return view[positions]


def _ragged(data: Bytes, starts: Positions, counts: Positions) -> list[Floats]:
    """``counts[i]`` doubles from every start; read-only."""
    values = _joined(data, starts, starts + 8 * counts)
    ends = np.cumsum(counts)
    bounds = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    return [values[first:last] for first, last in bounds]


def _joined(data: Bytes, starts: Positions, ends: Positions) -> Floats:
    """Doubles of all ranges of bytes, one after the other; read-only.

    Positions of single doubles would take as much memory again, and touching that costs the most.
    """
    view = data.data
    ranges = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.frombuffer(b"".join([view[first:last] for first, last in ranges]), "<f8")


def decode_bucket_tensors(
    data: Bytes, starts: Positions, lengths: Positions, indices: Positions, into: Histograms
) -> None:
    """Decode tensors of buckets; parameters as for `decode_protos`."""
    if len(starts) < _FEW:
        _one_by_one(data, starts, lengths, indices, tensors=True, into=into)
        return
    order = np.argsort(lengths, kind="stable")
    distinct, firsts = np.unique(lengths[order], return_index=True)
    for length, group in zip(distinct.tolist(), np.split(order, firsts[1:]), strict=True):
        left = group
        for _ in range(_ROUNDS):
            if len(left) < 2 or not length:
                break
            alike = _tensors_like_the_first(data, starts[left], length, indices[left], into)
            if alike is None:
                break
            left = left[~alike]
        _one_by_one(data, starts[left], lengths[left], indices[left], tensors=True, into=into)


def _tensors_like_the_first(
    data: Bytes, starts: Positions, length: int, indices: Positions, into: Histograms
) -> Mask | None:
    """Decode the tensors that are laid out as the first is.

    That is with float64 elements as content at the end, and buckets that touch each other. None
    where the first one is not.
    """
    buckets = _buckets_at_the_end(data[starts[0] : starts[0] + length].tobytes())
    if not buckets:
        return None
    head = length - 24 * buckets
    heads = np.lib.stride_tricks.sliding_window_view(data, head)[starts]
    alike: Mask = (heads == heads[0]).all(axis=1)
    values = _joined(data, starts + head, starts + length).reshape(-1, buckets, 3)
    alike &= touching(values[:, 1:, 0], values[:, :-1, 1]).all(axis=1)
    if not alike[0]:
        return None
    some = values if alike.all() else values[alike]
    limits, counts = np.empty((2, len(some), buckets + 1))
    limits[:, 0], limits[:, 1:] = some[:, 0, 0], some[:, :, 1]
    counts[:, 0], counts[:, 1:] = 0.0, some[:, :, 2]
    numbers = np.full((len(some), len(NUMBERS)), np.nan)
    numbers[:, 0], numbers[:, 1] = limits[:, 0], limits[:, -1]
    numbers[:, 2] = some[:, :, 2].sum(axis=1)
    for array in (limits, counts):
        array.setflags(write=False)
    into.put(indices[alike], list(limits), list(counts), numbers)
    return alike


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


def _one_by_one(
    data: Bytes,
    starts: Positions,
    lengths: Positions,
    indices: Positions,
    *,
    tensors: bool,
    into: Histograms,
) -> None:
    decode = bucket_tensor if tensors else histogram_proto
    for start, length, index in zip(
        starts.tolist(), lengths.tolist(), indices.tolist(), strict=True
    ):
        try:
            one = decode(data[start : start + length].tobytes())
        except Damaged as error:
            into.faults.append((index, error))
        else:
            into.limits[index], into.counts[index] = one.limits, one.counts
            into.numbers[index] = one.numbers
