"""Event files damaged in many ways: nothing is invented, little is lost, nothing escapes."""

from __future__ import annotations

import gzip
import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from forensics.domain.run import InputState
from forensics.sources.events.event_file import EventFile, read_event_file
from forensics.sources.storage.place import Directory
from tests.sources import event_writer as ew

Point = tuple[str, int, bytes, float]
Mutation = Callable[[bytearray, random.Random], None]


def _flip(data: bytearray, source: random.Random) -> None:
    position = source.randrange(len(data))
    data[position] ^= 1 << source.randrange(8)


def _flip_several(data: bytearray, source: random.Random) -> None:
    for _ in range(source.randint(2, 12)):
        data[source.randrange(len(data))] = source.randrange(256)


def _truncate(data: bytearray, source: random.Random) -> None:
    del data[source.randrange(len(data)) :]


def _zero(data: bytearray, source: random.Random) -> None:
    count = min(len(data), source.choice([4, 64, 512, 4096]))
    start = source.randrange(len(data) - count + 1)
    data[start : start + count] = bytes(count)


def _insert(data: bytearray, source: random.Random) -> None:
    position = source.randrange(len(data))
    data[position:position] = source.randbytes(source.randint(1, 64))


def _delete(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data))
    del data[start : start + source.randint(1, 256)]


def _splice(data: bytearray, source: random.Random) -> None:
    count = source.randint(1, 1024)
    start, target = source.randrange(len(data)), source.randrange(len(data))
    data[target : target + count] = data[start : start + count]


def _extreme(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data) - 8)
    value = source.choice([0, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 8])
    data[start : start + 8] = struct.pack("<Q", value)


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip_several,
    _truncate,
    _zero,
    _insert,
    _delete,
    _splice,
    _extreme,
)


def payloads() -> list[bytes]:
    """Events as a run writes them, in all layouts, with a blob and a few oddities."""
    source = random.Random(7)
    found = [ew.double_field(1, ew.START) + ew.bytes_field(3, b"brain.Event:2")]
    found.append(ew.double_field(1, ew.START) + ew.bytes_field(4, source.randbytes(5000)))
    for step in range(150):
        tags = ["loss", "grad_norm/dense/kernel", "lr"]
        made = [ew.v2(tag, source.gauss(0, 1), described=step == 0) for tag in tags]
        if step % 3 == 0:
            found.append(ew.event(step, [ew.v1(tag, source.random()) for tag in tags]))
        found.extend(ew.event(step, [value]) for value in made)
        if step % 40 == 0:
            wide = ew.tensor(2, (1,), ew.double_field(6, source.random()))
            found.append(ew.event(step, [ew.bytes_field(1, b"wide") + ew.bytes_field(8, wide)]))
    return found


def points(file: EventFile) -> Counter[Point]:
    return Counter(
        (tag, step, struct.pack("<d", value), wall)
        for tag, column in file.columns.items()
        for step, value, wall in zip(column.steps, column.values, column.wall_times, strict=True)
    )


@pytest.fixture(scope="module")
def sound() -> bytes:
    return b"".join(map(ew.record, payloads()))


def read(path: Path, data: bytes) -> EventFile:
    path.write_bytes(data)
    return read_event_file(Directory(path.parent), path.name)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_mutants(tmp_path: Path, sound: bytes, mutate: Mutation) -> None:
    path = tmp_path / "tfevents"
    truth = points(read(path, sound))
    source = random.Random(mutate.__name__)
    salvaged = 0
    rounds = 65
    for _ in range(rounds):
        data = bytearray(sound)
        mutate(data, source)
        file = read(path, bytes(data))
        found = points(file)
        # Splicing may double whole records; no number may be invented by it either.
        invented = set(found) - set(truth) if mutate is _splice else found - truth
        assert not invented
        if found != truth:
            assert file.input.state in (InputState.DAMAGED, InputState.INCOMPLETE_TAIL)
        if mutate is _truncate:
            assert file.warnings == ()
            continue
        salvaged += sum((found & truth).values())
        assert bytes(data) == sound or file.input.state is not InputState.COMPLETE
    if mutate is not _truncate:
        assert salvaged >= 0.9 * rounds * sum(truth.values())


def test_mutants_with_repaired_checksums(tmp_path: Path) -> None:
    """What reaches the protobuf parser is understood, or is a warning with its place."""
    path = tmp_path / "tfevents"
    events = payloads()
    source = random.Random(11)
    damaged = 0
    for index in range(500):
        changed = list(events)
        hit = source.randrange(2, len(events))
        data = bytearray(events[hit])
        source.choice((_flip, _flip_several, _truncate, _insert, _splice))(data, source)
        changed[hit] = bytes(data)
        # Fewer around it: what is between does not matter here.
        kept = changed[hit - 1 : hit + 2]
        file = read(path, b"".join(map(ew.record, kept)))
        assert file.n_events + len(file.warnings) >= len(kept), index
        damaged += bool(file.warnings)
        for warning in file.warnings:
            assert warning.kind in ("bad_wire", "bad_tensor", "tag_not_utf8")
            size = path.stat().st_size
            assert warning.offset is None or 0 <= warning.offset <= size
    assert damaged > 50


def test_mutants_of_a_packed_file(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "tfevents"
    truth = points(read(path, sound))
    packed = gzip.compress(sound, mtime=0)
    source = random.Random(13)
    for _ in range(60):
        data = bytearray(packed)
        source.choice(MUTATIONS)(data, source)
        # What a damaged stream repeats from its window may be whole records, doubled.
        assert not set(points(read(path, bytes(data)))) - set(truth)


def test_garbage(tmp_path: Path) -> None:
    source = random.Random(17)
    for _ in range(40):
        data = source.randbytes(source.randrange(4000))
        file = read(tmp_path / "tfevents", data)
        assert file.n_events == 0
        expected = InputState.DAMAGED if len(data) >= 12 else None
        assert expected in (None, file.input.state)
