"""A tensor that lies in a file as one stretch of bytes, in pieces, and checked where it can be.

Large local files are read into buffers that are used again: a fresh one costs more in page faults
than the copy itself, and a mapped file that shrinks would end the process.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.stored_tensor import PIECE
from forensics.sources.checksum import crc32c, unmask
from forensics.sources.storage.blob import Blob

READ = PIECE
"""Bytes read at once: mostly they are still in the second-level cache when they are summed up."""
_SMALL = 1 << 16
"""Bytes up to which a fresh buffer costs nothing."""
_HELD = 1 << 20
"""Bytes of files up to which they are held as a whole, and hashed as they were parsed."""
_IDLE: list[bytearray] = []
"""Buffers that nobody reads into at the moment."""


def file_pieces(blob: Blob, offset: int, size: int) -> Generator[memoryview, None, None]:
    """Bytes of a file, at most `PIECE` at a time; each piece is overwritten by the next.

    Raises
    ------
    Damaged
        The file does not hold them, or cannot be read.
    """
    if size > _SMALL and _is_direct(blob, offset, size):
        yield from _reused(blob, offset, size)
        return
    read_piece(blob, offset + size, 0)  # All of it is there, or nothing is read.
    for start in range(offset, offset + size, PIECE):
        yield read_piece(blob, start, min(PIECE, offset + size - start))


def read_piece(blob: Blob, offset: int, count: int) -> memoryview:
    """Bytes of a file, where a failure to read it is damage."""
    if _is_direct(blob, offset, count):
        buffer = memoryview(bytearray(count))
        _fill(blob, buffer, offset)
        return buffer
    try:
        return blob.read(offset, count)
    except OSError as error:
        raise _failed(blob, offset, error) from None


def _is_direct(blob: Blob, offset: int, size: int) -> bool:
    """Whether bytes that are there can be read without holding all of a large file."""
    inside = offset >= 0 and size >= 0 and offset + size <= blob.size
    return blob.descriptor is not None and blob.size > _HELD and inside


def _reused(blob: Blob, offset: int, size: int) -> Iterator[memoryview]:
    buffer = _IDLE.pop() if _IDLE else bytearray(READ)
    view, end = memoryview(buffer), offset + size
    try:
        while offset < end:
            piece = view[: min(READ, end - offset)]
            _fill(blob, piece, offset)
            yield piece
            offset += len(piece)
    finally:
        _IDLE.append(buffer)


def _fill(blob: Blob, view: memoryview, offset: int) -> None:
    """Fill a buffer: the system may hand over less than it was asked for."""
    if blob.descriptor is None:
        raise Damaged(blob.name, offset, "read_error", "this file is on no local disk")
    done = 0
    while done < len(view):
        try:
            count = os.preadv(blob.descriptor, [view[done:]], offset + done)
        except OSError as error:
            raise _failed(blob, offset + done, error) from None
        if count == 0:
            detail = "the file shrank while it was read"
            raise Damaged(blob.name, offset + done, "truncated", detail)
        done += count


def _failed(blob: Blob, offset: int, error: OSError) -> Damaged:
    why = error.strerror or type(error).__name__
    return Damaged(blob.name, offset, "read_error", f"it cannot be read: {why}")


def verified_pieces(
    blob: Blob, offset: int, size: int, masked_crc: int, name: str
) -> Iterator[memoryview]:
    """Bytes of a file whose masked CRC-32C is known, at most `PIECE` at a time.

    Raises
    ------
    Damaged
        As `file_pieces`; and after the last piece, where the checksum is wrong.
    """
    crc = 0
    for piece in file_pieces(blob, offset, size):
        crc = crc32c(piece, crc)
        yield piece
    verify(blob, offset, size, crc, masked_crc, name)


def verify(blob: Blob, offset: int, size: int, crc: int, masked_crc: int, name: str) -> None:
    """Compare the checksum of a stretch with the masked one that was promised."""
    if crc != unmask(masked_crc):
        raise Damaged(
            blob.name, offset, "crc_mismatch", f"the {size} bytes of {name!r} fail their checksum"
        )
