"""Builds protobuf messages, tables and bundles by hand, for files that no writer would write."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from forensics.sources.checksum import crc32c, mask

TABLE_MAGIC = 0xDB4775248B80FB57


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return varint(field << 3 | 2) + varint(len(data)) + data


def fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<I", value)


def node(
    children: dict[str, int] | None = None,
    variable: tuple[str, str] | None = None,
    slots: Sequence[tuple[int, str, int]] = (),
) -> bytes:
    """One node of a TrackableObjectGraph; `variable` is (full name, checkpoint key)."""
    out = b""
    for name, to in (children or {}).items():
        out += message(1, number(1, to) + message(2, name))
    if variable:
        full, key = variable
        out += message(2, message(1, "VARIABLE_VALUE") + message(2, full) + message(3, key))
    for original, name, slot in slots:
        out += message(3, number(1, original) + message(2, name) + number(3, slot))
    return message(1, out)


def entry(
    dtype: int,
    shape: Iterable[int],
    offset: int,
    size: int,
    crc: int,
    *,
    shard: int = 0,
    extra: bytes = b"",
) -> bytes:
    """A BundleEntryProto; `crc` is not masked yet."""
    dims = b"".join(message(2, number(1, d)) for d in shape)
    return (
        number(1, dtype)
        + message(2, dims)
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
        + fixed32(6, mask(crc))
        + extra
    )


def block(entries: Sequence[tuple[bytes, bytes]], kind: int = 0, *, growing: bool = False) -> bytes:
    """A block of a table with its trailer; `growing`: each key is appended to the one before."""
    body, shared = b"", 0
    for key, value in entries:
        body += varint(shared) + varint(len(key)) + varint(len(value)) + key + value
        shared += len(key) if growing else 0
    body += struct.pack("<II", 0, 1) + bytes([kind])
    return body + struct.pack("<I", mask(crc32c(body)))


def table(
    entries: Sequence[tuple[bytes, bytes]],
    kind: int = 0,
    *,
    growing: bool = False,
    per_block: int = 0,
) -> bytes:
    """A whole `.index`, of one data block or of blocks of so many entries."""
    size = per_block or max(1, len(entries))
    data, handles = b"", []
    for first in range(0, max(1, len(entries)), size):
        made = block(entries[first : first + size], kind, growing=growing)
        handles.append((b"%09d" % first, varint(len(data)) + varint(len(made) - 5)))
        data += made
    meta = block([])
    index = block(handles)
    footer = varint(len(data)) + varint(len(meta) - 5)
    footer += varint(len(data) + len(meta)) + varint(len(index) - 5)
    return data + meta + index + footer.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def bundle_index(entries: Sequence[tuple[bytes, bytes]], shards: int = 1, endian: int = 0) -> bytes:
    header = number(1, shards) + number(2, endian)
    return table([(b"", header), *sorted(entries)])
