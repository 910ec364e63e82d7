from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.sources.events.records import Hole, RecordReader
from tests.sources.event_writer import record


def read(
    stream: bytes, piece: int = 1 << 20, *, sized: bool = True
) -> tuple[RecordReader, list[bytes]]:
    reader = RecordReader(len(stream) if sized else None)
    found: list[bytes] = []
    offsets: list[int] = []
    pieces = [stream[i : i + piece] for i in range(0, len(stream), piece)]
    blocks = [block for part in pieces for block in reader.feed(part)]
    for block in [*blocks, *reader.finish()]:
        spans = zip(block.starts, block.ends, strict=True)
        for start, end in spans:
            found.append(block.data[start:end])
            offsets.append(block.base + start)
    assert [stream[o : o + len(d)] for o, d in zip(offsets, found, strict=True)] == found
    return reader, found


def payloads(count: int, seed: int = 0) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(source.choice([0, 1, 7, 60, 61, 80, 200, 3000])) for _ in range(count)]


@pytest.mark.parametrize("piece", [1, 13, 4096, 1 << 20])
@pytest.mark.parametrize("sized", [True, False])
def test_reads_every_record_whatever_the_pieces(piece: int, sized: bool) -> None:
    data = payloads(120)
    reader, found = read(b"".join(map(record, data)), piece, sized=sized)
    assert found == data
    assert reader.holes == []
    assert reader.incomplete_tail is None


def test_an_empty_stream_is_complete() -> None:
    reader, found = read(b"")
    assert (found, reader.holes, reader.incomplete_tail) == ([], [], None)


def test_no_prefix_is_corrupt() -> None:
    # A blob that holds a whole file of its own is the hardest to cut.
    inner = b"".join(map(record, payloads(4, seed=1)))
    data = [b"first", b"", inner, b"x" * 90, b"last"]
    stream = b"".join(map(record, data))
    ends = [0]
    for item in data:
        ends.append(ends[-1] + len(item) + 16)
    for cut in range(len(stream) + 1):
        reader, found = read(stream[:cut])
        complete = sum(end <= cut for end in ends) - 1
        assert reader.holes == [], cut
        assert found == data[:complete], cut
        assert reader.incomplete_tail == (None if cut in ends else ends[complete]), cut


@given(st.integers(0, 2**31), st.integers(1, 300), st.booleans())
def test_a_flipped_bit_costs_one_record(position: int, piece: int, sized: bool) -> None:
    data = [bytes([i]) * (20 + i) for i in range(40)]
    stream = bytearray(b"".join(map(record, data)))
    position %= 8 * len(stream)
    stream[position // 8] ^= 1 << position % 8
    reader, found = read(bytes(stream), piece, sized=sized)
    end, hit = 0, 0
    for hit, item in enumerate(data):  # noqa: B007
        end += len(item) + 16
        if position // 8 < end:
            break
    rest = [*data[:hit], *data[hit + 1 :]]
    start = end - len(data[hit]) - 16
    if found != rest:
        # The last length now leads out of the file: as if its writer had been killed.
        assert (hit, found, reader.incomplete_tail) == (39, rest, start)
    else:
        assert [(h.offset, h.length) for h in reader.holes] == [(start, end - start)]


def test_zeros_are_reported_as_one_hole() -> None:
    data = payloads(400, seed=2)
    stream = bytearray(b"".join(map(record, data)))
    stream[20_000:24_096] = bytes(4096)
    ends, end = [], 0
    for item in data:
        end += len(item) + 16
        ends.append(end)
    first = max(e for e in ends if e <= 20_000)
    after = min(e for e, item in zip(ends, data, strict=True) if e - len(item) - 16 >= 24_096)
    after = max(e for e in ends if e < after)
    reader, found = read(bytes(stream))
    assert [(h.offset, h.offset + h.length) for h in reader.holes] == [(first, after)]
    lost = [i for i, e in enumerate(ends) if first < e <= after]
    assert found == [d for i, d in enumerate(data) if i not in lost]


def test_several_damaged_records_are_several_holes() -> None:
    data = [bytes(50)] * 30
    stream = bytearray(b"".join(map(record, data)))
    for hit in (3, 4, 9):
        stream[hit * 66 + 30] ^= 1
    reader, found = read(bytes(stream))
    assert len(found) == 27
    assert [(h.offset, h.length) for h in reader.holes] == [(198, 66), (264, 66), (594, 66)]
    assert {h.kind for h in reader.holes} == {"crc_mismatch"}


def test_records_inside_a_damaged_blob_stay_inside() -> None:
    blob = bytearray(b"".join(map(record, payloads(20, seed=3))) + b"end")
    stream = bytearray(record(b"one") + record(bytes(blob)) + record(b"two"))
    stream[len(record(b"one")) + 12 + len(blob) - 1] ^= 0xFF
    reader, found = read(bytes(stream))
    assert found == [b"one", b"two"]
    assert [(h.offset, h.length) for h in reader.holes] == [(19, len(blob) + 16)]


def test_damage_before_an_incomplete_tail() -> None:
    stream = bytearray(record(b"a" * 40) * 5 + record(b"b" * 40)[:-7])
    stream[4 * 56 + 3] ^= 1
    reader, found = read(bytes(stream))
    assert len(found) == 4
    assert [(h.offset, h.length) for h in reader.holes] == [(224, 56)]
    assert reader.incomplete_tail == 280


@pytest.mark.parametrize("length", [1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 16, (1 << 64) - 1])
def test_lengths_no_event_can_have(length: int) -> None:
    field = struct.pack("<Q", length)
    header = field + record(field)[12 + 8 : 12 + 8 + 4]
    stream = record(b"good") + header + bytes(100) + record(b"after")
    reader, found = read(stream)
    assert found == [b"good", b"after"]
    assert reader.holes[0] == Hole(20, 112, "bad_length", reader.holes[0].detail)
    assert str(length) in reader.holes[0].detail


def test_garbage_is_one_hole() -> None:
    garbage = random.Random(4).randbytes(200_000)
    reader, found = read(garbage, 4096)
    assert found == []
    assert [(h.offset, h.length) for h in reader.holes] == [(0, 200_000)]


def test_inserted_and_deleted_bytes_cost_their_neighbourhood_only() -> None:
    data = payloads(200, seed=5)
    stream = b"".join(map(record, data))
    for changed in (stream[:9000] + b"noise" + stream[9000:], stream[:9000] + stream[9011:]):
        reader, found = read(changed)
        assert len(found) >= 198
        assert set(found) <= set(data)
        assert len(reader.holes) == 1


def test_an_expensive_search_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forensics.sources.events.records._SPARE_EFFORT", 0)
    # Sound headers that promise everything that follows, of which nothing verifies.
    count = 4000
    stream = bytearray(b"\xff")
    for index in range(count):
        field = struct.pack("<Q", max(0, 12 * (count - index - 1) - 4))
        stream += field + record(field)[20:24]
    reader, found = read(bytes(stream))
    assert found == []
    assert reader.gave_up
    assert [h.kind for h in reader.holes] == ["limit"]
    assert reader.holes[0].offset + reader.holes[0].length == len(stream)
