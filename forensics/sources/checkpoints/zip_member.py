"""Content of a member of a zip archive: in place or inflated, its CRC-32 verified."""

from __future__ import annotations

import zlib

from forensics.errors import Damaged
from forensics.sources.checkpoints.parts import Inflated, Part
from forensics.sources.checkpoints.zip_directory import STORED, Member
from forensics.sources.storage.blob import Blob

_DEFLATE_RATIO = 1032
"""No deflate stream expands further (zlib's technical details)."""


def open_member(blob: Blob, member: Member, most: int) -> Part | Inflated:
    """Verify a member, and offer it for reading.

    Parameters
    ----------
    most : int
        Bytes to which a compressed member may be inflated: they are held in memory. One that is
        stored as it is may have any size.

    Raises
    ------
    Damaged
        ``crc_mismatch``; ``bad_length`` where it is not as long as the directory says; ``limit``.
    """
    if member.method != STORED:
        return Inflated(blob.name, member.start, inflate(blob, member, most))
    part, crc = Part(blob, member.start, member.stored), 0
    for piece in part.pieces(0, part.size):
        crc = zlib.crc32(piece, crc)
    _verify(blob, member, crc)
    return part


def member_bytes(blob: Blob, member: Member, most: int) -> bytes:
    """Content of a member that takes at most `most` bytes, verified."""
    if member.size > most:
        detail = f"{member.name!r} takes more than {most} bytes"
        raise Damaged(blob.name, member.header, "limit", detail)
    source = open_member(blob, member, most)
    return bytes(source.read(0, source.size))


def inflate(blob: Blob, member: Member, most: int) -> bytes:
    """Inflate a member; never more than `most` bytes, or than it says, are made."""
    if member.size > most or member.size > _DEFLATE_RATIO * member.stored + 64:
        detail = f"{member.name!r} takes more than {most} bytes, or than can be stored"
        raise Damaged(blob.name, member.header, "limit", detail)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    parts, left = [], member.size + 1
    try:
        for piece in Part(blob, member.start, member.stored).pieces(0, member.stored):
            parts.append(stream.decompress(piece, left))
            left -= len(parts[-1])
            if left <= 0 or stream.unused_data or stream.unconsumed_tail:
                break
    except zlib.error as error:
        detail = f"{member.name!r} cannot be inflated: {error}"
        raise Damaged(blob.name, member.start, "bad_archive", detail) from None
    data = b"".join(parts)
    if len(data) != member.size or not stream.eof or stream.unused_data:
        detail = f"{member.name!r} is not as long as the archive says"
        raise Damaged(blob.name, member.start, "bad_length", detail)
    _verify(blob, member, zlib.crc32(data))
    return data


def _verify(blob: Blob, member: Member, crc: int) -> None:
    if crc != member.crc:
        detail = f"{member.name!r} fails its checksum"
        raise Damaged(blob.name, member.start, "crc_mismatch", detail)
