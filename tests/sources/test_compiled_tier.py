"""The compiled tier answers what pure Python answers, whatever the stream holds."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.events import spill
from forensics.sources.events.compiled_columns import CompiledColumns, CompiledRecords
from forensics.sources.events.event_columns import Content, EventColumns, Fault
from forensics.sources.events.records import MAX_LENGTH, Hole, RecordReader
from tests.sources import event_writer as ew
from tests.sources.event_streams import events, streams


@dataclass
class Found:
    content: dict[object, Any]
    faults: list[Fault]
    holes: list[Hole]
    tail: int | None
    gave_up: bool
    unverified: int


def _plain(content: Content) -> dict[object, Any]:
    """Everything as bytes and numbers, so that NaN equals itself."""
    found: dict[object, Any] = {
        ("scalars", tag): (
            column.steps.tobytes(),
            column.values.tobytes(),
            column.wall_times.tobytes(),
        )
        for tag, column in content.columns.items()
    }
    for key, blob in content.blobs.tags.items():
        rows = (blob.steps, blob.wall_times, blob.offsets, blob.lengths)
        found[key] = (tuple(row.tobytes() for row in rows), blob.plugin, blob.plugin_content)
    found["order"] = [list(content.columns), list(content.blobs.tags)]
    found["rest"] = (dict(content.other), content.n_events, content.renamed)
    return found


def _result(reader: RecordReader, content: Content) -> Found:
    return Found(
        _plain(content),
        content.faults,
        reader.holes,
        reader.incomplete_tail,
        reader.gave_up,
        reader.unverified,
    )


def by_python(stream: bytes, piece: int, verified: int) -> Found:
    columns, reader = EventColumns(), RecordReader(len(stream), verified)
    for start in range(0, len(stream), piece):
        for block in reader.feed(stream[start : start + piece]):
            columns.take(block)
    for block in reader.finish():
        columns.take(block)
    return _result(reader, columns.content())


def by_kernels(stream: bytes, piece: int, verified: int) -> Found:
    columns = CompiledColumns(verified)
    reader = CompiledRecords(columns, len(stream), verified)
    for start in range(0, len(stream), piece):
        assert list(reader.feed(stream[start : start + piece])) == []
    assert list(reader.finish()) == []
    return _result(reader, columns.content())


def same(stream: bytes, piece: int = 1 << 20, verified: int = MAX_LENGTH) -> Found:
    found = by_kernels(stream, piece, verified)
    assert found == by_python(stream, 1 << 20, verified)
    return found


@given(streams(), st.integers(20, 3000), st.sampled_from([MAX_LENGTH, 60]))
def test_streams(stream: bytes, piece: int, verified: int) -> None:
    same(stream, piece, verified)


@given(events())
def test_single_events(event: bytes) -> None:
    same(ew.record(event))


def test_every_prefix_of_a_stream() -> None:
    stream = ew.VERSION + ew.scalars("loss", [1.0, math.nan], wall=1.0) + ew.scalars("b", [2.0])
    for size in range(len(stream) + 1):
        found = same(stream[:size], 64)
        assert found.holes == []
        assert (found.tail is None) == (size in _boundaries(stream))


def _boundaries(stream: bytes) -> set[int]:
    found, position = {0}, 0
    while position < len(stream):
        position += 16 + int.from_bytes(stream[position : position + 8], "little")
        found.add(position)
    return found


def test_more_tags_and_longer_ones_than_there_is_room_for() -> None:
    tags = [f"layer_{index}/kernel" for index in range(12_000)] + [f"{i:05000d}" for i in range(99)]
    records = [ew.record(ew.event(step, [ew.v2(tag, step)])) for step in (1, 2) for tag in tags]
    found = same(b"".join(records), 100_000)
    assert len(found.content["order"][0]) == len(tags)


def test_more_rows_than_a_chunk_has() -> None:
    record = ew.record(ew.event(3, [ew.v1("a", 1.5), ew.v1("b", 2.5)] * 200))
    found = same(record * 400)
    steps = np.frombuffer(found.content["scalars", "a"][0], np.int64)
    assert (len(steps), set(steps.tolist())) == (80_000, {3})


def test_more_values_in_an_event_than_kernels_take() -> None:
    event = ew.event(3, [ew.v1("a", 1.5), ew.bytes_field(1, b"h") + ew.bytes_field(5, b"")] * 3000)
    found = same(ew.record(event) + ew.scalars("b", [1.0]))
    assert len(found.content["order"][0]) == 2


def test_an_event_that_is_left_out_leaves_no_tag_behind() -> None:
    broken = ew.event(1, [ew.v1("never", 1.0), b"\x0a\x7f"])
    found = same(ew.record(broken) + ew.scalars("loss", [1.0]))
    assert found.content["order"][0] == ["loss"]
    assert len(found.faults) == 1


def test_a_record_in_the_bytes_of_a_blob_is_none() -> None:
    inner = ew.scalars("fake", [1.0] * 3)
    blob = ew.bytes_field(1, b"x") + ew.bytes_field(8, ew.tensor(7, (1,), ew.bytes_field(8, inner)))
    outer = ew.record(ew.event(1, [blob]))
    assert same(outer + ew.scalars("loss", [1.0])).content["order"][0] == ["loss"]
    damaged = outer[:20] + bytes([outer[20] ^ 1]) + outer[21:]
    found = same(damaged + ew.scalars("loss", [1.0]))
    assert [hole.length for hole in found.holes] == [len(outer)]


@given(st.lists(events(), max_size=5))
def test_as_protobuf_parses(made: list[bytes]) -> None:
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    expected: dict[str, list[tuple[int, bytes, float]]] = {}
    sound = []
    for event in made:
        try:
            parsed = event_pb2.Event.FromString(event)
        except DecodeError:
            continue
        sound.append(event)
        for value in parsed.summary.value:
            if value.WhichOneof("value") == "simple_value":
                expected.setdefault(value.tag, []).append(
                    (parsed.step, struct.pack("<d", value.simple_value), parsed.wall_time)
                )
    columns = CompiledColumns()
    records = b"".join(ew.record(event) for event in sound)
    list(CompiledRecords(columns, len(records)).feed(records))
    content = columns.content()
    for tag, points in expected.items():
        if any(fault.kind for fault in content.faults):
            return
        column = content.columns[tag]
        rows = zip(column.steps, column.values, column.wall_times, strict=True)
        found = [(int(step), struct.pack("<d", v), wall) for step, v, wall in rows]
        assert _subsequence(points, found)


def _subsequence(
    points: list[tuple[int, bytes, float]], found: list[tuple[int, bytes, float]]
) -> bool:
    """Whether all points are found in this order, tensors of one number between them."""
    rest = iter([(step, value, struct.pack("<d", wall)) for step, value, wall in found])
    return all((s, v, struct.pack("<d", wall)) in rest for s, v, wall in points)


def test_rows_beyond_memory_lie_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "KEPT", 100_000)
    monkeypatch.setattr(spill, "STAGED", 2_000_000)
    values = [ew.v1("a", 1.5), ew.v1("b", 2.5)] * 100
    stream = b"".join(ew.record(ew.event(step, values)) for step in range(1200))
    found = same(stream)
    steps = np.frombuffer(found.content["scalars", "b"][0], np.int64)
    assert steps.tolist() == [step for step in range(1200) for _ in range(100)]


def test_a_full_disk_is_no_reason_to_lose_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill, "KEPT", 0)
    monkeypatch.setattr(spill, "STAGED", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    record = ew.record(ew.event(3, [ew.v1("a", 1.5), ew.v1("b", 2.5)] * 200))
    same(record * 400)
