"""The compiled tier answers what pure Python answers, whatever the stream holds."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.events.compiled_columns import CompiledColumns, CompiledRecords
from forensics.sources.events.event_columns import Content, EventColumns, Fault
from forensics.sources.events.records import MAX_LENGTH, Hole, RecordReader
from tests.sources import event_writer as ew
from tests.sources.event_streams import events, streams


@dataclass
class Found:
    content: dict[object, object]
    faults: list[Fault]
    holes: list[Hole]
    tail: int | None
    gave_up: bool
    unverified: int


def _plain(content: Content) -> dict[object, object]:
    """Everything as bytes and numbers, so that NaN equals itself."""
    found: dict[object, object] = {
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
