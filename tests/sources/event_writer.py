"""A tiny writer of event files, so that tests can plant faults that no real writer makes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from forensics.sources.checksum import crc32c, mask

SCALARS = b"\x4a\x0b\x0a\x09\x0a\x07scalars"
START = 1_700_000_000.0


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def bytes_field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def float_field(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def double_field(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def shape(*sizes: int) -> bytes:
    return b"".join(bytes_field(2, number_field(1, size) if size else b"") for size in sizes)


def tensor(dtype: int, sizes: Sequence[int] = (), rest: bytes = b"") -> bytes:
    return number_field(1, dtype) + bytes_field(2, shape(*sizes)) + rest


def v1(tag: str | bytes, value: float) -> bytes:
    return bytes_field(1, _raw(tag)) + float_field(2, value)


def v2(tag: str | bytes, value: float, *, described: bool = True) -> bytes:
    content = bytes_field(4, struct.pack("<f", value))
    scalar = bytes_field(8, tensor(1, (), content))
    return bytes_field(1, _raw(tag)) + scalar + (SCALARS if described else b"")


def event(step: int, values: Iterable[bytes], wall_time: float | None = None) -> bytes:
    when = START + step if wall_time is None else wall_time
    summary = b"".join(bytes_field(1, value) for value in values)
    counted = number_field(2, step) if step else b""
    return double_field(1, when) + counted + bytes_field(5, summary)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _crc(length) + data + _crc(data)


def scalars(
    tag: str, values: Iterable[float], first: int = 0, wall: float = START, every: int = 1
) -> bytes:
    """Records of one tag, one second apart."""
    return b"".join(
        record(event(first + every * i, [v2(tag, value)], wall + i))
        for i, value in enumerate(values)
    )


def write(folder: Path, *contents: bytes, number: int = 0) -> Path:
    """An event file of `contents` after its version record."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.17000000{number:02d}.host.1.{number}.v2"
    path.write_bytes(VERSION + b"".join(contents))
    return path


def _raw(tag: str | bytes) -> bytes:
    return tag.encode() if isinstance(tag, str) else tag


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", mask(crc32c(data)))


VERSION = record(double_field(1, START) + bytes_field(3, b"brain.Event:2"))
