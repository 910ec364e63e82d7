"""Histograms of both formats: TensorBoard's numbers, one by one and many at a time."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.events import histogram_batches
from forensics.sources.events.histogram_batches import (
    Histograms,
    decode_bucket_tensors,
    decode_protos,
)
from forensics.sources.events.histograms import Histogram, bucket_tensor, histogram_proto
from tests.sources import event_writer as ew

LARGEST = 1.7976931348623157e308
numbers = st.floats(allow_nan=True, allow_infinity=True)


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def proto(
    limits: list[float], counts: list[float], five: list[float], *, packed: bool = True
) -> bytes:
    """As a writer of protobuf 3 does: fields that hold 0 are left out."""
    head = b"".join(ew.double_field(i + 1, v) for i, v in enumerate(five) if v != 0 or v != v)
    if packed:
        return head + ew.bytes_field(6, doubles(*limits)) + ew.bytes_field(7, doubles(*counts))
    apart = [ew.double_field(6, v) for v in limits] + [ew.double_field(7, v) for v in counts]
    return head + b"".join(apart)


def buckets(rows: list[tuple[float, float, float]]) -> bytes:
    content = b"".join(doubles(*row) for row in rows)
    return ew.tensor(2, (len(rows), 3), ew.bytes_field(4, content) if rows else b"")


def listed(found: Histogram) -> tuple[list[float], list[float], list[float]]:
    return found.limits.tolist(), found.counts.tolist(), found.numbers.tolist()


def test_a_histogram_of_tensorflow_1() -> None:
    found = histogram_proto(proto([-LARGEST, 0.5, LARGEST], [0, 3, 1], [-1.0, 7.0, 4, 9.5, 60]))
    assert listed(found) == ([-LARGEST, 0.5, LARGEST], [0, 3, 1], [-1.0, 7.0, 4, 9.5, 60])


def test_its_parts_may_be_packed_or_not_and_zeros_are_absent() -> None:
    args = ([1.0, 2.0], [0.0, 5.0], [0.0, 2.0, 5.0, 0.0, math.inf])
    assert listed(histogram_proto(proto(*args))) == args
    assert listed(histogram_proto(proto(*args, packed=False))) == args
    assert listed(histogram_proto(b"")) == ([], [], [0.0] * 5)


def test_a_histogram_of_tensorflow_2() -> None:
    limits, counts, five = listed(bucket_tensor(buckets([(0, 1, 2), (1, 3, 4)])))
    assert (limits, counts, five[:3]) == ([0, 1, 3], [0, 2, 4], [0, 3, 6])
    assert all(math.isnan(v) for v in five[3:])


def test_buckets_that_do_not_touch_have_an_empty_one_between_them() -> None:
    limits, counts, _ = listed(bucket_tensor(buckets([(0, 1, 2), (5, 6, 4), (6, 7, 1)])))
    assert (limits, counts) == ([0, 1, 5, 6, 7], [0, 2, 0, 4, 1])


def test_no_buckets() -> None:
    limits, counts, five = listed(bucket_tensor(buckets([])))
    assert (limits, counts, five[2]) == ([], [], 0)
    assert math.isnan(five[0])


def test_values_that_were_all_alike() -> None:
    limits, counts, five = listed(bucket_tensor(buckets([(2, 2, 0), (2, 2, 0), (2, 2, 9)])))
    assert (limits, counts, five[:3]) == ([2, 2, 2, 2], [0, 0, 0, 9], [2, 2, 9])


def test_values_that_were_nan() -> None:
    found = bucket_tensor(buckets([(math.nan, math.nan, 0)] * 3))
    assert np.isnan(found.limits).all()
    assert (len(found.limits), found.counts.tolist()) == (4, [0, 0, 0, 0])


@pytest.mark.parametrize(
    "message",
    [
        ew.bytes_field(6, doubles(1.0, 2.0)) + ew.bytes_field(7, doubles(1.0)),
        ew.bytes_field(6, b"\0" * 12),
        ew.float_field(6, 1.0),
        b"\x32\x7f",
    ],
)
def test_broken_protos(message: bytes) -> None:
    with pytest.raises(Damaged):
        histogram_proto(message)


@pytest.mark.parametrize(
    "message",
    [
        ew.tensor(2, (3,), ew.bytes_field(4, doubles(1, 2, 3))),
        ew.tensor(2, (1, 4), ew.bytes_field(4, doubles(1, 2, 3, 4))),
        ew.tensor(7, (1, 3), ew.bytes_field(8, b"a") * 3),
        ew.tensor(2, (1 << 30, 3), ew.double_field(6, 1.0)),
    ],
)
def test_broken_buckets(message: bytes) -> None:
    with pytest.raises(Damaged):
        bucket_tensor(message)


def together(messages: list[bytes], *, tensors: bool) -> list[Any]:
    """Decode messages that lie one after the other, with some bytes between; None if damaged."""
    data = b"\x3a".join(messages)
    lengths = np.array([len(message) for message in messages], np.int64)
    starts = np.cumsum(lengths + 1) - lengths - 1
    into = Histograms.room_for(len(messages))
    decode = decode_bucket_tensors if tensors else decode_protos
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histogram_batches, "_FEW", 1)
        decode(np.frombuffer(data, np.uint8), starts, lengths, np.arange(len(messages)), into)
    broken = {index for index, _ in into.faults}
    assert broken == {i for i, limits in enumerate(into.limits) if limits is None}
    parts = zip(into.limits, into.counts, into.numbers, strict=True)
    return [
        None if limits is None or counts is None else _bytes(limits, counts, five)
        for limits, counts, five in parts
    ]


def _bytes(*parts: Any) -> tuple[bytes, ...]:
    return tuple(part.tobytes() for part in parts)


def one_by_one(messages: list[bytes], *, tensors: bool) -> list[Any]:
    found: list[Any] = []
    for message in messages:
        try:
            one = (bucket_tensor if tensors else histogram_proto)(message)
            found.append(_bytes(one.limits, one.counts, one.numbers))
        except Damaged:
            found.append(None)
    return found


@given(st.data())
def test_protos_together(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    five = st.lists(numbers, min_size=5, max_size=5)
    drawn = data.draw(
        st.lists(st.tuples(st.lists(numbers, min_size=2 * count, max_size=2 * count), five))
    )
    made = [
        proto(both[:count], both[count:], f, packed=i % 3 != 2) for i, (both, f) in enumerate(drawn)
    ]
    _same_either_way(made, tensors=False)


@given(st.data())
def test_buckets_together(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 3))
    made = []
    for _ in range(data.draw(st.integers(0, 6))):
        edges = data.draw(st.lists(numbers, min_size=2 * count, max_size=2 * count))
        counts = data.draw(st.lists(numbers, min_size=count, max_size=count))
        if data.draw(st.booleans()):
            edges[2::2] = edges[1:-1:2]
        made.append(buckets(list(zip(edges[::2], edges[1::2], counts, strict=True))))
    _same_either_way(made, tensors=True)


@given(st.data())
def test_mutants_together(data: st.DataObject) -> None:
    tensors = data.draw(st.booleans())
    sound = buckets([(0, 1, 2), (1, 3, 4)]) if tensors else proto([1, 2], [3, 4], [1, 2, 3, 4, 5])
    made = []
    for _ in range(data.draw(st.integers(2, 5))):
        message = bytearray(sound)
        for _ in range(data.draw(st.integers(0, 2))):
            message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
        made.append(bytes(message))
    _same_either_way(made, tensors=tensors)


def _same_either_way(messages: list[bytes], *, tensors: bool) -> None:
    assert together(messages, tensors=tensors) == one_by_one(messages, tensors=tensors)


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 9)), max_size=6),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_what_tensorboard_draws_of_a_proto_can_be_had_from_ours(
    pairs: list[tuple[float, int]], low: float, high: float
) -> None:
    """TensorBoard shows old histograms without empty ends, from the least value to the largest."""
    from tensorboard import data_compat
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.util import tensor_util

    limits, counts = sorted(v for v, _ in pairs), [float(n) for _, n in pairs]
    value = summary_pb2.Summary.Value(tag="w")
    value.histo.min, value.histo.max = low, high
    value.histo.bucket_limit.extend(limits)
    value.histo.bucket.extend(counts)
    theirs = tensor_util.make_ndarray(data_compat.migrate_value(value).tensor)

    found = histogram_proto(value.histo.SerializeToString())
    filled = np.flatnonzero(found.counts > 0)
    if not len(filled):
        assert theirs.shape == (0, 3)
        return
    inner = found.limits[filled[0] : filled[-1]]
    lefts, rights = np.concatenate([[low], inner]), np.concatenate([inner, [high]])
    ours = np.stack([lefts, rights, found.counts[filled[0] : filled[-1] + 1]], axis=1)
    assert np.array_equal(ours.astype(np.float32), theirs)
