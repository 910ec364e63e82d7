from __future__ import annotations

import gzip
import hashlib
import os
import socket
import struct
from pathlib import Path

import pytest

from forensics.domain.run import InputState
from forensics.sources.events.event_file import EventFile, read_event_file
from forensics.sources.storage.place import Directory
from tests.sources import event_writer as ew

CURVE = [2.0, 1.5, float("nan"), 1.25]


def read(path: Path) -> EventFile:
    return read_event_file(Directory(path.parent), path.name)


def values(file: EventFile, tag: str = "loss") -> list[float]:
    return list(file.columns[tag].values)


def test_a_sound_file(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", CURVE))
    file = read(path)
    assert file.input.path == path.name
    assert file.input.kind == "events"
    assert file.input.bytes == path.stat().st_size
    assert file.input.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.input.state is InputState.COMPLETE
    assert file.warnings == ()
    assert (file.n_events, dict(file.other)) == (5, {"file_version": 1})
    assert [str(v) for v in values(file)] == ["2.0", "1.5", "nan", "1.25"]


@pytest.mark.parametrize("content", [b"", ew.VERSION])
def test_a_file_without_scalars_is_an_input(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(content)
    file = read(path)
    assert (len(file.columns), file.warnings) == (0, ())
    assert file.input.state is InputState.COMPLETE


def test_an_incomplete_tail_is_no_damage(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", CURVE))
    path.write_bytes(path.read_bytes()[:-5])
    file = read(path)
    assert len(values(file)) == 3
    assert file.input.state is InputState.INCOMPLETE_TAIL
    assert file.warnings == ()


def test_damage_is_a_warning_with_its_place(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [1.0] * 40))
    data = bytearray(path.read_bytes())
    size = len(ew.scalars("loss", [1.0], first=1))
    data[-2 * size - 10] ^= 4
    path.write_bytes(data)
    file = read(path)
    assert len(values(file)) == 39
    assert file.input.state is InputState.DAMAGED
    [warning] = file.warnings
    assert (warning.path, warning.kind) == (file.input.path, "crc_mismatch")
    assert warning.offset == len(data) - 3 * size
    assert f"[{len(data) - 3 * size}, {len(data) - 2 * size})" in warning.detail


def test_a_malformed_event_is_a_warning(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.record(b"\x2a\x7f"), ew.scalars("loss", CURVE))
    file = read(path)
    assert len(values(file)) == 4
    assert file.input.state is InputState.DAMAGED
    assert [(w.kind, w.offset) for w in file.warnings] == [("bad_wire", len(ew.VERSION) + 13)]


def test_many_damaged_places_are_summed_up(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.record(b"\x2a\x7f") * 300)
    warnings = read(path).warnings
    assert len(warnings) == 21
    assert "280 more" in warnings[-1].detail


def test_a_length_of_2_to_the_40(tmp_path: Path) -> None:
    field = struct.pack("<Q", 1 << 40)
    header = field + ew.record(field)[20:24]
    path = ew.write(tmp_path, header, bytes(100))
    file = read(path)
    assert [(w.kind, w.offset) for w in file.warnings] == [("bad_length", len(ew.VERSION))]
    assert file.input.state is InputState.DAMAGED


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [float(i) for i in range(40_000)]))
    plain = path.read_bytes()
    assert len(plain) > 2 << 20
    members = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]) + bytes(512)
    path.write_bytes(members)
    file = read(path)
    assert values(file) == [float(i) for i in range(40_000)]
    assert file.input.state is InputState.COMPLETE
    assert file.input.sha256 == hashlib.sha256(members).hexdigest()
    assert file.warnings == ()


def test_a_cut_gzip_is_an_incomplete_tail(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [float(i) for i in range(2000)]))
    packed = gzip.compress(path.read_bytes(), mtime=0)
    path.write_bytes(packed[: len(packed) // 2])
    file = read(path)
    kept = values(file)
    assert 100 < len(kept) < 2000
    assert kept == [float(i) for i in range(len(kept))]
    assert file.input.state is InputState.INCOMPLETE_TAIL
    assert file.warnings == ()


def test_a_damaged_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [float(i) for i in range(9000)]))
    sound = gzip.compress(path.read_bytes(), mtime=0)
    last = bytearray(sound)
    last[-4] ^= 1
    path.write_bytes(last)
    file = read(path)
    assert len(values(file)) == 9000
    assert file.input.state is InputState.DAMAGED
    assert [(w.kind, w.offset) for w in file.warnings] == [("bad_gzip", len(sound) - 1)]
    middle = bytearray(sound)
    middle[len(sound) // 2 : len(sound) // 2 + 2000] = bytes(2000)
    path.write_bytes(middle)
    file = read(path)
    assert values(file)[:4000] == [float(i) for i in range(4000)]
    assert file.input.state is InputState.DAMAGED


def test_a_gzip_bomb_is_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(gzip.compress(ew.VERSION + bytes(64 << 20), compresslevel=9, mtime=0))
    file = read(path)
    assert file.input.state is InputState.LIMIT
    assert file.warnings[0].kind == "limit"
    assert file.n_events == 1


def test_tags_that_are_no_utf8_stay_apart(tmp_path: Path) -> None:
    contents = [ew.record(ew.event(0, [ew.v1(tag, 1.0)])) for tag in (b"\xff", b"\xfe", b"\\xff")]
    file = read(ew.write(tmp_path, *contents))
    assert len(file.columns) == 3
    assert "\\xff" in file.columns
    assert [w.kind for w in file.warnings] == ["tag_not_utf8"]
    assert "2 tag" in file.warnings[0].detail
    assert file.input.state is InputState.COMPLETE


def test_empty_long_and_many_tags(tmp_path: Path) -> None:
    names = ["", "x" * 5000, *(f"tag{i}" for i in range(3000))]
    file = read(ew.write(tmp_path, *(ew.record(ew.event(0, [ew.v2(n, 1.0)])) for n in names)))
    assert list(file.columns) == names


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    os.mkfifo(path)
    file = read(path)
    assert file.input.state is InputState.DENIED
    assert (file.input.bytes, file.input.sha256) == (0, None)
    assert [w.kind for w in file.warnings] == ["denied"]


def test_sockets_and_devices_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))
        assert read(path).input.state is InputState.DENIED
    assert read(Path("/dev/zero")).input.state is InputState.DENIED


def test_what_cannot_be_opened_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ew.write(tmp_path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("forensics.sources.storage.local_file.os.open", refuse)
    file = read(path)
    assert file.input.state is InputState.DENIED
    assert "Permission denied" in file.warnings[0].detail


def test_a_read_error_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ew.write(tmp_path)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("forensics.sources.storage.local_file.os.pread", fail)
    assert read(path).input.state is InputState.DENIED


@pytest.mark.parametrize("change", ["grows", "shrinks"])
def test_a_file_that_changes_meanwhile_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", CURVE))
    real = os.pread

    def meanwhile(descriptor: int, count: int, offset: int) -> bytes:
        if change == "shrinks":
            os.truncate(path, path.stat().st_size - 20)
            return real(descriptor, count, offset)
        data = real(descriptor, count, offset)
        with path.open("ab") as file:
            file.write(ew.scalars("loss", [9.0], first=4))
        return data

    monkeypatch.setattr("forensics.sources.storage.local_file.os.pread", meanwhile)
    file = read(path)
    assert file.input.state is InputState.LIVE
    assert len(values(file)) == (4 if change == "grows" else 3)


def test_pieces_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [float(i) for i in range(50)]))
    whole = read(path)
    monkeypatch.setattr("forensics.sources.storage.blob.PIECE", 37)
    assert values(read(path)) == values(whole)
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    assert values(read(path)) == values(whole)
