"""String tensors of a bundle: lengths as varints, a checksum of the lengths, then the bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import Entry
from forensics.sources.checksum import crc32c, mask, unmask
from forensics.sources.storage.blob import IN_MEMORY, Blob
from forensics.sources.wire import varint


def strings(blob: Blob, entry: Entry) -> list[memoryview]:
    """Verify a string tensor and return its elements, in C order.

    Raises
    ------
    Damaged
        Lengths, sizes or checksums do not hold, or it is too large to be read.
    """
    if entry.size > IN_MEMORY:
        raise Damaged(blob.name, entry.offset, "limit", f"{entry.name!r} takes {entry.size} bytes")
    data = bytes(blob.read(entry.offset, entry.size))
    lengths, start = _lengths(data, blob, entry)
    packed = b"".join(struct.pack("<I" if n < 1 << 32 else "<Q", n) for n in lengths)
    crc = crc32c(packed)
    if start + 4 + sum(lengths) != entry.size:
        raise Damaged(
            blob.name, entry.offset, "bad_length", f"the strings of {entry.name!r} do not fill it"
        )
    stored = data[start : start + 4]
    if stored != struct.pack("<I", mask(crc)):
        raise Damaged(
            blob.name, entry.offset + start, "crc_mismatch",
            f"the lengths of {entry.name!r} fail their checksum",
        )  # fmt: skip
    if crc32c(memoryview(data)[start + 4 :], crc32c(stored, crc)) != unmask(entry.crc):
        raise Damaged(
            blob.name, entry.offset, "crc_mismatch",
            f"the {entry.size} bytes of {entry.name!r} fail their checksum",
        )  # fmt: skip
    return list(_elements(memoryview(data)[start + 4 :], lengths))


def _elements(data: memoryview, lengths: list[int]) -> Iterator[memoryview]:
    start = 0
    for length in lengths:
        yield data[start : start + length]
        start += length


def _lengths(data: bytes, blob: Blob, entry: Entry) -> tuple[list[int], int]:
    """Length of each element (the entry has a byte for each), and where the lengths end."""
    lengths: list[int] = []
    offset = 0
    for _ in range(entry.elements):
        try:
            length, offset = varint(data, offset, len(data))
        except Damaged as error:
            at = entry.offset + error.offset
            raise Damaged(blob.name, at, error.kind, f"in {entry.name!r}: {error.detail}") from None
        lengths.append(length)
    return lengths, offset
