"""Tensors of a bundle that hold no numbers.

Strings: lengths as varints, a checksum of the lengths, then the bytes. Variants (the state of an
iterator): for each element its length, its bytes and a checksum; they are verified and not looked
into. After ``WriteStringTensor`` and ``WriteVariantTensor`` in
``tensorflow/core/util/tensor_bundle/tensor_bundle.cc``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_entries import Entry
from forensics.sources.checkpoints.file_pieces import read_piece
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
    data = _all_of(blob, entry)
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


def verify_variants(blob: Blob, entry: Entry) -> None:
    """Verify a tensor of variants.

    Raises
    ------
    Damaged
        Lengths, sizes or checksums do not hold, or it is too large to be read.
    """
    data = _all_of(blob, entry)
    position = crc = 0
    for _ in range(entry.elements):
        length, start = _length(data, position, blob, entry)
        end = start + length
        if end + 4 > len(data):
            raise _broken(blob, entry, "bad_length", "an element reaches beyond them")
        crc = crc32c(memoryview(data)[start:end], crc32c(struct.pack("<Q", length), crc))
        if data[end : end + 4] != struct.pack("<I", mask(crc)):
            raise _broken(blob, entry, "crc_mismatch", "an element fails its checksum")
        crc = crc32c(data[end : end + 4], crc)
        position = end + 4
    if position != len(data):
        raise _broken(blob, entry, "bad_length", "the elements do not fill them")
    if crc != unmask(entry.crc):
        raise _broken(blob, entry, "crc_mismatch", "they fail their checksum")


def _broken(blob: Blob, entry: Entry, kind: str, what: str) -> Damaged:
    detail = f"in the {entry.size} bytes of {entry.name!r}: {what}"
    return Damaged(blob.name, entry.offset, kind, detail)


def _all_of(blob: Blob, entry: Entry) -> bytes:
    if entry.size > IN_MEMORY:
        raise Damaged(blob.name, entry.offset, "limit", f"{entry.name!r} takes {entry.size} bytes")
    return bytes(read_piece(blob, entry.offset, entry.size))


def _length(data: bytes, position: int, blob: Blob, entry: Entry) -> tuple[int, int]:
    """Length of the element at a position of the tensor's bytes, and where the length ends."""
    try:
        return varint(data, position, len(data))
    except Damaged as error:
        at = entry.offset + error.offset
        raise Damaged(blob.name, at, error.kind, f"in {entry.name!r}: {error.detail}") from None


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
        length, offset = _length(data, offset, blob, entry)
        lengths.append(length)
    return lengths, offset
