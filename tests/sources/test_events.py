from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.events.blob_index import BlobKind
from forensics.sources.events.common_event import common_event
from forensics.sources.events.event_columns import Content, EventColumns, readable_tags
from forensics.sources.events.records import Block
from tests.sources import event_writer as ew


def take(*events: bytes) -> Content:
    columns = EventColumns()
    data = b"".join(events)
    ends = [sum(map(len, events[: i + 1])) for i in range(len(events))]
    columns.take(Block(data, 1000, [0, *ends[:-1]], ends))
    return columns.content()


def points(columns: Content, tag: str) -> list[tuple[int, float, float]]:
    column = columns.columns[tag]
    return list(zip(column.steps, column.values, column.wall_times, strict=True))


def test_a_tag_described_once_goes_on() -> None:
    found = take(
        ew.event(0, [ew.v2("loss", 2.0)]), ew.event(1, [ew.v2("loss", 1.5, described=False)])
    )
    assert points(found, "loss") == [(0, 2.0, ew.START), (1, 1.5, ew.START + 1)]
    assert found.n_events == 2


def test_an_event_may_hold_several_values_and_summaries() -> None:
    one = ew.event(3, [ew.v1("a", 1.0), ew.v2("b", 2.0)])
    more = ew.bytes_field(5, ew.bytes_field(1, ew.v1("c", 3.0)))
    found = take(one + more)
    assert {tag: points(found, tag)[0][:2] for tag in ("a", "b", "c")} == {
        "a": (3, 1.0),
        "b": (3, 2.0),
        "c": (3, 3.0),
    }


def test_negative_and_huge_steps() -> None:
    found = take(*(ew.event(step, [ew.v1("a", 1.0)], 1.0) for step in (-5, 2**62)))
    assert [step for step, _, _ in points(found, "a")] == [-5, 2**62]


def test_non_finite_values_are_kept() -> None:
    found = take(
        *(ew.event(1, [make("a", v)]) for make in (ew.v1, ew.v2) for v in (math.nan, math.inf))
    )
    kept = [value for _, value, _ in points(found, "a")]
    assert [math.isnan(kept[0]), kept[1], math.isnan(kept[2]), kept[3]] == [
        True,
        math.inf,
        True,
        math.inf,
    ]


def test_other_things_are_counted() -> None:
    histogram = ew.bytes_field(1, b"w") + ew.bytes_field(5, b"\x09\0\0\0\0\0\0\0\0")
    image = ew.bytes_field(1, b"i") + ew.bytes_field(4, b"")
    vector = ew.bytes_field(1, b"v") + ew.bytes_field(
        8, ew.tensor(1, (2,), ew.bytes_field(4, b"\0" * 8))
    )
    text = ew.bytes_field(1, b"t") + ew.bytes_field(8, ew.tensor(7, (), ew.bytes_field(8, b"hi")))
    graph = ew.double_field(1, 1.0) + ew.bytes_field(4, b"graph")
    start = ew.double_field(1, 1.0) + ew.bytes_field(7, ew.number_field(1, 1))
    found = take(ew.event(0, [histogram, image, vector, text]), graph, start)
    assert found.columns == {}
    assert dict(found.other) == {
        "histogram": 1,
        "image": 1,
        "tensor": 2,
        "graph": 1,
        "session_log": 1,
    }


def test_a_tag_that_changes_type_keeps_its_scalars() -> None:
    histogram = ew.bytes_field(1, b"a") + ew.bytes_field(5, b"")
    found = take(
        ew.event(0, [ew.v1("a", 1.0)]), ew.event(1, [histogram]), ew.event(2, [ew.v2("a", 3.0)])
    )
    assert [p[:2] for p in points(found, "a")] == [(0, 1.0), (2, 3.0)]


def test_the_last_of_alternatives_counts() -> None:
    value = ew.v2("a", 1.0) + ew.float_field(2, 7.0)
    both = ew.float_field(2, 7.0) + ew.v2("b", 1.0)
    found = take(ew.event(0, [value, both]))
    assert (points(found, "a")[0][1], points(found, "b")[0][1]) == (7.0, 1.0)


def test_a_tensor_written_twice_is_merged() -> None:
    halves = [ew.number_field(1, 1), ew.bytes_field(2, b"") + ew.float_field(5, 4.5)]
    value = ew.bytes_field(1, b"a") + b"".join(ew.bytes_field(8, half) for half in halves)
    assert points(take(ew.event(0, [value])), "a")[0][1] == 4.5


def test_a_malformed_event_is_left_out_whole() -> None:
    broken = ew.event(1, [ew.v1("a", 1.0), b"\x0a\x7f"])
    cut = ew.bytes_field(1, b"a") + ew.bytes_field(8, ew.tensor(1, (), ew.bytes_field(4, b"\0")))
    found = take(ew.event(0, [ew.v1("a", 1.0)]), broken, ew.event(2, [cut]))
    assert len(points(found, "a")) == 1
    assert [f.kind for f in found.faults] == ["bad_wire", "bad_tensor"]
    assert all(1000 < f.offset < 1200 for f in found.faults)


tags = st.binary(max_size=150)
floats = st.floats(width=32)


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.tuples(tags, floats, st.sampled_from([0, 1, 2])), max_size=5),
    st.floats(allow_nan=False),
)
def test_common_layouts_are_read_as_by_the_general_parser(
    step: int, values: list[tuple[bytes, float, int]], wall: float
) -> None:
    made = [ew.v1(t, v) if how == 0 else ew.v2(t, v, described=how == 1) for t, v, how in values]
    _same_either_way(ew.event(step, made, wall))


@given(st.data())
def test_near_misses_of_common_layouts(data: st.DataObject) -> None:
    event = bytearray(ew.event(300, [ew.v1("loss", 1.0), ew.v2("acc", 2.0)]))
    for _ in range(data.draw(st.integers(1, 3))):
        event[data.draw(st.integers(0, len(event) - 1))] = data.draw(st.integers(0, 255))
    _same_either_way(bytes(event[: data.draw(st.integers(0, len(event)))]))


def _same_either_way(event: bytes) -> None:
    quick = common_event(event, 0, len(event))
    if quick is None:
        return
    collected = EventColumns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forensics.sources.events.event_columns.common_event", lambda *_: None)
        collected.take(Block(event, 0, [0], [len(event)]))
    slow = collected.content()
    assert slow.faults == []
    wall, step, found = quick
    expected = [
        (tag, struct.pack("<d", value))
        for tag, column in slow.columns.items()
        for value in column.values
    ]
    tags, _ = readable_tags(dict.fromkeys(tag for tag, _, _ in found))
    named = dict(zip(dict.fromkeys(tag for tag, _, _ in found), tags, strict=True))
    assert sorted((named[t], struct.pack("<d", value)) for t, value, _ in found) == sorted(expected)
    for column in slow.columns.values():
        assert set(column.steps) == {step}
        assert struct.pack("<d", column.wall_times[0]) == struct.pack("<d", wall)


def test_real_layouts_take_the_quick_way() -> None:
    for event in (ew.event(0, [ew.v2("a", 1.0)]), ew.event(70000, [ew.v1("a", 1.0)] * 9)):
        assert common_event(event, 0, len(event)) is not None


def test_blobs_are_indexed_by_tag_and_kind() -> None:
    described = ew.bytes_field(9, ew.bytes_field(1, ew.bytes_field(1, b"text") + b"\x12\x01c"))
    text = ew.bytes_field(8, ew.tensor(7, (1,), ew.bytes_field(8, b"hi")))
    histogram = ew.bytes_field(5, b"\x09\0\0\0\0\0\0\0\0")
    tag = ew.bytes_field(1, b"t")
    events = [
        ew.event(1, [ew.v1("t", 1.0) + described]),
        ew.event(2, [tag + text, tag + histogram]),
        ew.event(3, [tag + text]),
        ew.double_field(1, 9.0) + ew.bytes_field(4, b"graph"),
    ]
    found = take(*events)
    assert len(points(found, "t")) == 1
    data = bytes(1000) + b"".join(events)
    at = {
        key: [data[o : o + n] for o, n in zip(blob.offsets, blob.lengths, strict=True)]
        for key, blob in found.blobs.tags.items()
    }
    payload = ew.tensor(7, (1,), ew.bytes_field(8, b"hi"))
    assert at == {
        ("t", BlobKind.HISTOGRAM): [b"\x09\0\0\0\0\0\0\0\0"],
        ("t", BlobKind.TENSOR): [payload, payload],
        ("", BlobKind.GRAPH): [b"graph"],
    }
    tensors = found.blobs.tags["t", BlobKind.TENSOR]
    assert (tensors.plugin, tensors.plugin_content) == ("text", b"c")
    assert tensors.steps.tolist() == [2, 3]
    assert tensors.wall_times.tolist() == [ew.START + 2, ew.START + 3]


def test_a_value_of_metadata_alone_is_a_blob() -> None:
    metadata = ew.bytes_field(1, ew.bytes_field(1, b"hparams") + ew.bytes_field(2, b"content"))
    found = take(ew.event(0, [ew.bytes_field(1, b"_hparams_/x") + ew.bytes_field(9, metadata)]))
    blob = found.blobs.tags["_hparams_/x", BlobKind.METADATA]
    assert (blob.plugin, blob.plugin_content) == ("hparams", b"content")
    assert blob.lengths.tolist() == [len(metadata)]


def test_the_last_alternative_of_an_event_counts() -> None:
    summary = ew.event(1, [ew.v1("a", 1.0)])
    version = ew.bytes_field(3, b"brain.Event:2")
    found = take(summary + version, summary + version + ew.bytes_field(5, b""))
    assert (len(found.columns), dict(found.other)) == (0, {"file_version": 1})
    graphs = take(ew.bytes_field(4, b"first") + ew.bytes_field(4, b"last"))
    assert graphs.blobs.tags["", BlobKind.GRAPH].offsets.tolist() == [1000 + 7 + 2]


def test_a_tensor_that_makes_no_sense_costs_no_other_value_of_its_event() -> None:
    cut = ew.bytes_field(1, b"a") + ew.bytes_field(8, ew.tensor(1, (), ew.bytes_field(4, b"\0")))
    found = take(ew.event(3, [ew.v1("b", 1.0), cut, ew.v1("c", 2.0)]))
    assert [len(points(found, tag)) for tag in "bc"] == [1, 1]
    [fault] = found.faults
    assert (fault.kind, fault.lost) == ("bad_tensor", "a value")
    assert found.n_events == 1
