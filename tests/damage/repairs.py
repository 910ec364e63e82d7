"""Damage below good checksums: it gets past them, to the parsers behind.

Each function changes one part of a file (a record, a block, a member) and makes the checksums
around it right again. They know the formats from their specifications, not from the readers.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator

import crc32c

from tests.damage.mutations import SAME_SIZE, mutated

Repair = Callable[[bytes, str], tuple[bytes, str]]
"""From a content and a seed to another content and what was done to it."""

_EMPTY = 8
"""Bytes of a block without entries."""
_STRING, _DTYPE, _OFFSET, _SIZE, _CRC = 7, 1, 4, 5, 6


def masked_crc(data: bytes) -> bytes:
    crc = crc32c.crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    """TFRecord framing (tensorflow/core/lib/io/record_writer.h)."""
    length = struct.pack("<Q", len(data))
    return length + masked_crc(length) + data + masked_crc(data)


def records(content: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        found.append(content[position + 12 : position + 12 + length])
        position += length + 16
    return found


def mutated_record(content: bytes, seed: str) -> tuple[bytes, str]:
    """One record holds something else, its length and both checksums are right."""
    parts = records(content)
    hit = random.Random(seed).choice([i for i, part in enumerate(parts) if part])
    parts[hit], done = mutated(parts[hit], seed)
    return b"".join(map(record, parts)), f"record {hit}: {done}"


def mutated_wandb_record(content: bytes, seed: str) -> tuple[bytes, str]:
    """One record of W&B's log (in one piece) holds something else of the same size."""
    header, places, at = struct.Struct("<IHB"), [], 7
    while at < len(content):
        _, length, kind = header.unpack_from(content, at)
        if kind == 1 and length:
            places.append((at, length))
        at += header.size + length
    at, length = random.Random(seed).choice(places)
    start = at + header.size
    data, done = mutated(content[start : start + length], seed, SAME_SIZE)
    sealed = header.pack(zlib.crc32(b"\1" + data), length, 1) + data
    return content[:at] + sealed + content[start + length :], f"record at {at}: {done}"


def mutated_gzip(content: bytes, seed: str) -> tuple[bytes, str]:
    """What is packed is damaged; the packing is sound, its CRC-32 and size right."""
    inner, done = mutated(gzip.decompress(content), seed)
    return gzip.compress(inner, mtime=0), done


def mutated_gzip_record(content: bytes, seed: str) -> tuple[bytes, str]:
    """Sound packing of sound records, of which one holds something else."""
    inner, done = mutated_record(gzip.decompress(content), seed)
    return gzip.compress(inner, mtime=0), done


def mutated_table(content: bytes, seed: str) -> tuple[bytes, str]:
    """One block of a LevelDB table keeps its size, and its checksum is right."""
    offset, size = random.Random(seed).choice(table_blocks(content))
    block, done = mutated(content[offset : offset + size], seed, SAME_SIZE)
    return with_block(content, offset, block), f"block at {offset}: {done}"


def with_block(content: bytes, offset: int, block: bytes) -> bytes:
    """The table with another block of the same size, sealed."""
    end = offset + len(block)
    kind = content[end : end + 1]
    sealed = block + kind + masked_crc(block + kind)
    return content[:offset] + sealed + content[end + 5 :]


def table_blocks(content: bytes) -> list[tuple[int, int]]:
    """Offset and size of the blocks of a table that hold anything, its index block among them."""
    found = [*(_handle(content, len(content) - 48, skip) for skip in (0, 2)), *data_blocks(content)]
    return [(offset, size) for offset, size in found if size > _EMPTY]


def data_blocks(content: bytes) -> list[tuple[int, int]]:
    """Offset and size of the blocks that hold entries (tensorflow/core/lib/io/format.cc)."""
    start, size = _handle(content, len(content) - 48, 2)
    block = content[start : start + size]
    return [_handle(block, value, 0) for value, _ in _values(block)]


def _handle(data: bytes, position: int, skip: int) -> tuple[int, int]:
    """Offset and size after `skip` other numbers."""
    for _ in range(skip):
        _, position = _varint(data, position)
    offset, position = _varint(data, position)
    return offset, _varint(data, position)[0]


def _values(block: bytes) -> Iterator[tuple[int, int]]:
    """First and last byte of the value of every entry of a block."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    position, end = 0, len(block) - 4 - 4 * restarts
    while position < end:
        _, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        yield position + unshared, position + unshared + length
        position += unshared + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def mutated_ocdbt(content: bytes, seed: str) -> tuple[bytes, str]:
    """One record of an OCDBT file keeps its size, its length and CRC-32C are right."""
    found = list(ocdbt_records(content))
    if not found:
        return mutated(content, seed)
    offset, size = random.Random(seed).choice(found)
    body, done = mutated(content[offset + 12 : offset + size - 4], seed, SAME_SIZE)
    record = content[offset : offset + 12] + body
    sealed = record + struct.pack("<I", crc32c.crc32c(record))
    return content[:offset] + sealed + content[offset + size :], f"record at {offset}: {done}"


def ocdbt_records(content: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of manifests and nodes (tensorstore/kvstore/ocdbt, Storage format)."""
    for magic in (0x0CDB3A2A, 0x0CDB1234, 0x0CDB20DE):
        offset = content.find(struct.pack(">I", magic))
        while offset >= 0:
            (size,) = struct.unpack_from("<Q", content, offset + 4)
            yield offset, size
            offset = content.find(struct.pack(">I", magic), offset + size)


def mutated_member(content: bytes, seed: str) -> tuple[bytes, str]:
    """One member of a zip archive is damaged, and archived again with the right CRC-32."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: (info.compress_type, archive.read(info)) for info in
                   archive.infolist()}  # fmt: skip
    hit = random.Random(seed).choice(sorted(name for name, (_, data) in members.items() if data))
    inner, done = mutated(members[hit][1], seed)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, (kind, data) in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = kind
            archive.writestr(info, inner if name == hit else data)
    return out.getvalue(), f"{hit}: {done}"


def mutated_tensor(index: bytes, data: bytes, seed: str) -> tuple[bytes, bytes, str]:
    """One tensor of a bundle of one shard holds something else, its checksum in the index agrees.

    Of a string tensor of one element only the characters change: the object graph is one.
    """
    entries = list(_bundle_entries(index))
    block, place, fields = random.Random(seed).choice(entries)
    offset, size = fields.get(_OFFSET, 0), fields[_SIZE]
    head, checksummed = b"", b""
    if fields[_DTYPE] == _STRING:
        length, after = _varint(data, offset)
        head = data[offset : after + 4]
        checksummed = struct.pack("<I", length) + data[after : after + 4]
    content, done = mutated(data[offset + len(head) : offset + size], seed, SAME_SIZE)
    changed = data[:offset] + head + content + data[offset + size :]
    start, length = block
    sealed = bytearray(index[start : start + length])
    sealed[place : place + 4] = masked_crc(checksummed + content)
    return with_block(index, start, bytes(sealed)), changed, f"tensor at {offset}: {done}"


def _bundle_entries(index: bytes) -> Iterator[tuple[tuple[int, int], int, dict[int, int]]]:
    """Block, place of the checksum in it, and numbers of every tensor that has bytes."""
    for start, size in data_blocks(index):
        block = index[start : start + size]
        for first, last in _values(block):
            fields, place = _numbers(block, first, last)
            if place and fields.get(_SIZE):
                yield (start, size), place, fields


def _numbers(data: bytes, position: int, end: int) -> tuple[dict[int, int], int]:
    """Varint fields of a message by number, and where the bundle entry's checksum stands."""
    found, place = {}, 0
    while position < end:
        key, position = _varint(data, position)
        if key & 7 == 0:
            found[key >> 3], position = _varint(data, position)
        elif key & 7 == 2:
            size, position = _varint(data, position)
            position += size
        else:
            assert key == _CRC << 3 | 5
            place, position = position, position + 4
    return found, place
