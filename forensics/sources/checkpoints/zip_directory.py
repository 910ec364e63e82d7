"""Members of a zip archive: the directory at its end, compared with the header of each member.

After APPNOTE.TXT 6.3.10. Directory and local headers say the same twice, and readers differ in
which they believe; here both must agree, no byte belongs to two members, and no name is there
twice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from forensics.errors import Damaged
from forensics.sources.storage.blob import Blob

STORED, DEFLATED = 0, 8
_END, _END64, _LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_CENTRAL, _LOCAL, _DESCRIPTOR = b"PK\1\2", b"PK\3\4", b"PK\7\x08"
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES = 22, 20, 56
_CENTRAL_BYTES, _LOCAL_BYTES = 46, 30
_LONGEST_COMMENT = 65535
_ENCRYPTED, _DESCRIBED, _UTF8 = 1, 8, 0x800
_UNKNOWN_FLAGS = 0xFFFF & ~(_ENCRYPTED | _DESCRIBED | _UTF8 | 6)
"""All but those, and the two bits in which deflate states its effort."""
_MAX_MEMBERS = 10_000
_MAX_DIRECTORY = 16 << 20
_WIDE = 0xFFFFFFFF
_ZIP64 = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A member whose two headers agree.

    Attributes
    ----------
    name : str
        As stored; it is never used as a path.
    header, start : int
        Offset of its local header, and of its first byte.
    stored, size : int
        Bytes in the archive, and once inflated.
    method : int
        `STORED` or `DEFLATED`.
    crc : int
        CRC-32 of the content.
    """

    name: str
    header: int
    start: int
    stored: int
    size: int
    method: int
    crc: int
    end: int


@dataclass(frozen=True, slots=True)
class Directory:
    """Members by name, and what is wrong with the archive although they can be read."""

    members: dict[str, Member]
    failures: tuple[Damaged, ...]


class _Entry(NamedTuple):
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    header: int
    name: bytes


class _End(NamedTuple):
    entries: int
    size: int
    start: int
    """Where the directory begins by its own account."""
    at: int
    """Where what follows the directory begins."""


def read_directory(blob: Blob) -> Directory:
    """Read the directory of an archive.

    Raises
    ------
    Damaged
        There is none, or it contradicts itself or the local headers.
    """
    end = _end(blob)
    # What lies before the archive shifts all offsets.
    first = end.at - end.size
    shift = first - end.start
    if first < 0 or shift < 0 or end.size > _MAX_DIRECTORY or end.entries > _MAX_MEMBERS:
        raise Damaged(
            blob.name, max(end.at, 0), "bad_archive", "its directory is not where it says"
        )
    members: dict[str, Member] = {}
    for entry in _entries(blob, first, end):
        member = _member(blob, entry, shift, first)
        if member.name in members:
            detail = f"the archive holds {member.name!r} twice"
            raise Damaged(blob.name, member.header, "duplicate_member", detail)
        members[member.name] = member
    return Directory(members, tuple(_unaccounted(blob, members, first)))


def _unaccounted(blob: Blob, members: dict[str, Member], end: int) -> list[Damaged]:
    """Bytes that no member owns; members that share bytes are refused."""
    failures, at = [], 0
    for member in sorted(members.values(), key=lambda m: m.header):
        if member.header < at:
            detail = f"{member.name!r} lies on top of another member"
            raise Damaged(blob.name, member.header, "claimed_twice", detail)
        failures += _gap(blob, at, member.header)
        at = member.end
    return failures + _gap(blob, at, end)


def _gap(blob: Blob, start: int, end: int) -> list[Damaged]:
    if start == end:
        return []
    return [Damaged(blob.name, start, "unaccounted_bytes", f"{end - start} bytes are of no member")]


def _end(blob: Blob) -> _End:
    longest = min(blob.size, _END_BYTES + _LONGEST_COMMENT)
    tail = bytes(blob.read(blob.size - longest, longest))
    position = tail.rfind(_END)
    while position >= 0:
        if position + _END_BYTES <= len(tail):
            comment = int.from_bytes(tail[position + 20 : position + 22], "little")
            if position + _END_BYTES + comment == len(tail):
                break
        position = tail.rfind(_END, 0, position + 3)
    else:
        raise Damaged(blob.name, 0, "bad_archive", "this is no zip archive, or its end is missing")
    at = blob.size - longest + position
    disk, first_disk, here, count, size, start = struct.unpack_from("<4H2I", tail, position + 4)
    wide = _end64(blob, at)
    if wide is not None:
        narrow = ((count, 0xFFFF), (size, _WIDE), (start, _WIDE))
        if any(v not in (most, w) for (v, most), w in zip(narrow, wide[:3], strict=True)):
            raise Damaged(blob.name, at, "bad_archive", "its two ends disagree")
        return wide
    if disk or first_disk or here != count:
        raise Damaged(blob.name, at, "unsupported", "the archive is one of several parts")
    return _End(count, size, start, at)


def _end64(blob: Blob, end: int) -> _End | None:
    if end < _LOCATOR_BYTES + _END64_BYTES:
        return None
    locator = bytes(blob.read(end - _LOCATOR_BYTES, _LOCATOR_BYTES))
    if locator[:4] != _LOCATOR64:
        return None
    at = end - _LOCATOR_BYTES - _END64_BYTES
    record = bytes(blob.read(at, _END64_BYTES))
    if record[:4] != _END64:
        raise Damaged(blob.name, at, "bad_archive", "its zip64 directory is not where it should be")
    disk, first_disk, here, count, size, start = struct.unpack_from("<2I4Q", record, 16)
    if disk or first_disk or here != count:
        raise Damaged(blob.name, at, "unsupported", "the archive is one of several parts")
    return _End(count, size, start, at)


def _entries(blob: Blob, first: int, end: _End) -> list[_Entry]:
    data = bytes(blob.read(first, end.size))
    entries: list[_Entry] = []
    at = 0
    for _ in range(end.entries):
        entry, at = _entry(blob, data, at, first)
        entries.append(entry)
    if at != len(data):
        raise Damaged(
            blob.name, first + at, "bad_archive", "its directory is longer than its entries"
        )
    return entries


def _entry(blob: Blob, data: bytes, at: int, first: int) -> tuple[_Entry, int]:
    if data[at : at + 4] != _CENTRAL or at + _CENTRAL_BYTES > len(data):
        raise Damaged(blob.name, first + at, "bad_archive", "its directory breaks off")
    flags, method = struct.unpack_from("<2H", data, at + 8)
    crc, stored, size, *lengths = struct.unpack_from("<3I3H", data, at + 16)
    (header,) = struct.unpack_from("<I", data, at + 42)
    name_at = at + _CENTRAL_BYTES
    extra_at = name_at + lengths[0]
    following = extra_at + lengths[1] + lengths[2]
    if following > len(data):
        raise Damaged(blob.name, first + at, "bad_archive", "its directory breaks off")
    extra = data[extra_at : extra_at + lengths[1]]
    size, stored, header = _widened(extra, [size, stored, header], blob, first + at)
    name = data[name_at:extra_at]
    return _Entry(flags, method, crc, stored, size, header, name), following


def _widened(extra: bytes, values: list[int], blob: Blob, offset: int) -> list[int]:
    """Replace what does not fit 32 bits by what the zip64 field says, in the field's order."""
    if _WIDE not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64:
            field = extra[at + 4 : at + 4 + length]
            wide = [field[i : i + 8] for i in range(0, len(field) // 8 * 8, 8)]
            if len(wide) >= values.count(_WIDE):
                found = iter(wide)
                return [int.from_bytes(next(found), "little") if v == _WIDE else v for v in values]
        at += 4 + length
    raise Damaged(blob.name, offset, "bad_archive", "a member does not say how long it is")


def _member(blob: Blob, entry: _Entry, shift: int, end: int) -> Member:
    name = entry.name.decode("utf-8" if entry.flags & _UTF8 else "cp437", "backslashreplace")
    at = entry.header + shift
    _supported(blob, entry, name, at)
    header = bytes(blob.read(at, _LOCAL_BYTES))
    flags, method = struct.unpack_from("<2H", header, 6)
    crc, stored, size, name_bytes, extra_bytes = struct.unpack_from("<3I2H", header, 14)
    start = at + _LOCAL_BYTES + name_bytes + extra_bytes
    local = bytes(blob.read(at + _LOCAL_BYTES, name_bytes + extra_bytes))
    if not entry.flags & _DESCRIBED:
        size, stored = _widened(local[name_bytes:], [size, stored], blob, at)
        same = (crc, stored, size) == (entry.crc, entry.stored, entry.size)
    else:
        # They follow the content; here they may be zero already, or still.
        same = crc in (0, entry.crc)
    named = local[:name_bytes] == entry.name
    if header[:4] != _LOCAL or not (named and same) or (flags, method) != entry[:2]:
        detail = f"{name!r} is another in the directory than where it lies"
        raise Damaged(blob.name, at, "bad_archive", detail)
    after = start + entry.stored
    if entry.flags & _DESCRIBED:
        after = _after_descriptor(blob, after, entry, name)
    if after > end:
        raise Damaged(blob.name, at, "out_of_range", f"{name!r} is longer than the archive")
    if entry.method == STORED and entry.stored != entry.size:
        raise Damaged(blob.name, at, "bad_length", f"{name!r} is of two lengths")
    return Member(name, at, start, entry.stored, entry.size, entry.method, entry.crc, after)


def _supported(blob: Blob, entry: _Entry, name: str, at: int) -> None:
    if entry.flags & _ENCRYPTED:
        raise Damaged(blob.name, at, "unsupported", "the archive is encrypted")
    if entry.flags & _UNKNOWN_FLAGS or entry.method not in (STORED, DEFLATED):
        detail = f"{name!r} is compressed by method {entry.method}, flags {entry.flags:#x}"
        raise Damaged(blob.name, at, "unsupported", detail)


def _after_descriptor(blob: Blob, at: int, entry: _Entry, name: str) -> int:
    """Where the descriptor after a member ends: with or without signature, 32 or 64 bits wide."""
    tail = bytes(blob.read(at, min(24, max(0, blob.size - at))))
    for signature in (_DESCRIPTOR, b""):
        for width in ("<3I", "<I2Q"):
            if max(entry.stored, entry.size) > _WIDE and width == "<3I":
                continue
            found = signature + struct.pack(width, entry.crc, entry.stored, entry.size)
            if tail.startswith(found):
                return at + len(found)
    raise Damaged(blob.name, at, "bad_archive", f"{name!r} is another than its descriptor says")


def leading_members(blob: Blob) -> dict[str, Member]:
    """Members at the beginning of an archive whose directory is missing, by local headers alone.

    The walk ends where a member is not whole, or does not say how long it is. Only what verifies
    by its CRC-32 may be used.
    """
    members: dict[str, Member] = {}
    at = 0
    while at + _LOCAL_BYTES <= blob.size and len(members) < _MAX_MEMBERS:
        header = bytes(blob.read(at, _LOCAL_BYTES))
        flags, method = struct.unpack_from("<2H", header, 6)
        crc, stored, size, name_bytes, extra_bytes = struct.unpack_from("<3I2H", header, 14)
        start = at + _LOCAL_BYTES + name_bytes + extra_bytes
        end = start + stored
        plain = method in (STORED, DEFLATED) and not flags & (_ENCRYPTED | _DESCRIBED)
        if header[:4] != _LOCAL or not plain or _WIDE in (stored, size) or end > blob.size:
            break
        name = bytes(blob.read(at + _LOCAL_BYTES, name_bytes)).decode("utf-8", "backslashreplace")
        members.setdefault(name, Member(name, at, start, stored, size, method, crc, end))
        at = end
    return members
