"""Event files by either tier, mapped or through a buffer: one result."""

from __future__ import annotations

import gzip
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from forensics.domain.run import InputState
from forensics.sources.events import tiers
from forensics.sources.events.event_file import (
    FAST,
    EventFile,
    Reading,
    read_event_file,
    read_event_files,
)
from forensics.sources.events.tiers import Tier
from forensics.sources.storage import windows
from forensics.sources.storage.place import Directory
from forensics.sources.storage.read_lease import ReadLease
from tests.sources import event_writer as ew
from tests.sources.event_streams import streams

IMAGE = ew.bytes_field(1, b"image") + ew.bytes_field(4, ew.bytes_field(4, bytes(range(256)) * 40))
PYTHON, COMPILED = (Reading(tier=tier) for tier in (Tier.PYTHON, Tier.COMPILED))


def plain(file: EventFile) -> list[object]:
    return [
        file.input,
        file.warnings,
        file.n_events,
        dict(file.other),
        [
            (tag, c.steps.tobytes(), c.values.tobytes(), c.wall_times.tobytes())
            for tag, c in file.columns.items()
        ],
        [
            (key, b.offsets.tolist(), b.lengths.tolist(), b.steps.tolist(), b.plugin)
            for key, b in file.blobs.tags.items()
        ],
    ]


def read(path: Path, how: Reading) -> EventFile:
    return read_event_file(Directory(path.parent), path.name, how)


def images(count: int) -> bytes:
    records = (ew.record(ew.event(i, [IMAGE, ew.v2("loss", i)])) for i in range(count))
    return b"".join(records)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers and windows that a small file does not fit in."""
    monkeypatch.setattr(windows, "_BUFFER", 300)
    monkeypatch.setattr(windows, "_MAPPED", 0)
    monkeypatch.setattr(windows, "_WINDOW", 700)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(stream=streams())
def test_files_of_any_stream(stream: bytes, tmp_path: Path, narrow: None) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(stream)
    expected = plain(read(path, PYTHON))
    assert plain(read(path, COMPILED)) == expected
    hurried = [Reading(verified_length=60, tier=tier) for tier in (Tier.PYTHON, Tier.COMPILED)]
    assert plain(read(path, hurried[0])) == plain(read(path, hurried[1]))


@pytest.mark.parametrize("fast", [False, True])
def test_windows_and_buffers_that_grow(tmp_path: Path, narrow: None, fast: bool) -> None:
    path = ew.write(tmp_path, images(5), ew.scalars("b", [1.0] * 50))
    length = FAST if fast else PYTHON.verified_length
    found = [plain(read(path, Reading(length, tier=tier))) for tier in Tier]
    assert found[0] == found[1] == found[2]


def test_packed_files(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [1.0] * 500))
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert plain(read(path, COMPILED)) == plain(read(path, PYTHON))


def test_what_was_not_verified_is_said(tmp_path: Path) -> None:
    path = ew.write(tmp_path, images(3))
    content = bytearray(path.read_bytes())
    content[len(ew.VERSION) + 500] ^= 1
    path.write_bytes(content)
    for tier in (Tier.PYTHON, Tier.COMPILED):
        file = read(path, Reading(FAST, tier=tier))
        assert [w.kind for w in file.warnings] == ["not_verified"]
        assert "3 record(s)" in file.warnings[0].detail
        assert len(file.columns["loss"].steps) == 3
        assert read(path, Reading(tier=tier)).input.state is InputState.DAMAGED


def test_files_keep_their_order(tmp_path: Path) -> None:
    for number in range(9):
        ew.write(tmp_path, ew.scalars("loss", [number] * (9 - number)), number=number)
    (tmp_path / "events.out.tfevents.5000000000").mkdir()
    place = Directory(tmp_path)
    names = [*place.survey().events, "events.out.tfevents.5000000000", "missing.tfevents"]
    found = read_event_files(place, names, COMPILED)
    assert [plain(f) for f in found] == [plain(f) for f in read_event_files(place, names, PYTHON)]
    assert [f.input.path for f in found] == names
    assert [f.input.state for f in found[-2:]] == [InputState.DENIED] * 2
    assert read_event_files(place, [], COMPILED) == []


def test_hashes_beside_the_scan_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forensics.sources.events.event_stream._ASIDE", 0)
    path = ew.write(tmp_path, ew.scalars("loss", [1.0] * 9))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(path, COMPILED).input.sha256 == digest
    assert read(path, Reading(hashed=False, tier=Tier.COMPILED)).input.sha256 is None


def test_the_switch_leaves_kernels_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiers.kernels(Tier.COMPILED, 0) is not None
    monkeypatch.setenv(tiers.SWITCH, "0")
    assert tiers.kernels(Tier.COMPILED, 1 << 40) is None
    monkeypatch.setenv(tiers.SWITCH, "1")
    assert tiers.kernels(Tier.PYTHON, 1 << 40) is None


def test_small_directories_do_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tiers.SWITCH, raising=False)
    monkeypatch.setattr(tiers._Kernels, "module", None)
    monkeypatch.setattr(tiers._Kernels, "sought", False)
    assert tiers.kernels(Tier.BEST, tiers.PAYS - 1) is None
    assert not tiers._Kernels.sought
    assert tiers.kernels(Tier.BEST, tiers.PAYS) is not None


def test_kernels_that_cannot_be_had_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers._Kernels, "module", None)
    monkeypatch.setattr(tiers._Kernels, "sought", False)
    monkeypatch.setitem(
        __import__("sys").modules, "forensics.sources.events.compiled_columns", None
    )
    path = ew.write(tmp_path, ew.scalars("loss", [1.0]))
    assert len(read(path, COMPILED).columns["loss"].steps) == 1
    assert tiers._Kernels.sought


def leased(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with ReadLease(descriptor) as lease:
            return lease.held
    finally:
        os.close(descriptor)


def test_a_lease_is_refused_while_somebody_writes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("ab"):
        assert not leased(path)


def test_whoever_wants_to_write_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    if not leased(path):
        pytest.skip("this file system gives no leases")
    descriptor = os.open(path, os.O_RDONLY)
    with ReadLease(descriptor) as lease:
        assert lease.held
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        assert not lease.held
    os.close(descriptor)
    path.write_bytes(b"now it can be written")


class Shortening:
    """An examiner under whose hands the file becomes shorter."""

    needed = 1

    def __init__(self, path: Path) -> None:
        self.path, self.seen = path, bytearray()

    def examine(self, view: memoryview, *, final: bool) -> int:
        if not self.seen and not final:
            os.truncate(self.path, 1000)
        self.seen += view
        return len(view)


def test_a_file_that_becomes_shorter_ends_early(tmp_path: Path, narrow: None) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    descriptor = os.open(path, os.O_RDONLY)
    examiner = Shortening(path)
    assert windows.examine_file(descriptor, 5000, examiner, windows.Buffer()) == 1000
    assert len(examiner.seen) == 1000
    os.close(descriptor)


def test_a_lease_that_breaks_ends_the_mapping(
    tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = iter([True, True, False])
    monkeypatch.setattr(ReadLease, "held", property(lambda _: next(held)))
    path = ew.write(tmp_path, images(5))
    hurried = Reading(FAST, tier=Tier.COMPILED)
    assert plain(read(path, hurried)) == plain(read(path, Reading(FAST, tier=Tier.PYTHON)))
    assert next(held, None) is None


def test_a_longer_record_takes_the_place_of_a_long_one(tmp_path: Path) -> None:
    def image(size: int) -> bytes:
        encoded = ew.bytes_field(4, ew.bytes_field(4, bytes(size)))
        return ew.record(ew.event(1, [ew.bytes_field(1, b"image") + encoded]))

    how = Reading(tier=Tier.COMPILED, hashed=False)
    read(ew.write(tmp_path / "small", image(1)), how)
    long = 8 << 20
    path = ew.write(tmp_path / "large", image(long), image(long + 9))
    tracemalloc.start()
    try:
        assert read(path, how).other["image"] == 2
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * (long + (2 << 20))
