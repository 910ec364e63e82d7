"""A tensor that lies in a file as one stretch of bytes, in pieces, and checked where it can be."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.stored_tensor import PIECE
from forensics.sources.checksum import crc32c, unmask
from forensics.sources.storage.blob import Blob


def file_pieces(blob: Blob, offset: int, size: int) -> Iterator[memoryview]:
    """Bytes of a file, at most `PIECE` at a time.

    Raises
    ------
    Damaged
        The file does not hold them, or cannot be read.
    """
    blob.read(offset + size, 0)  # All of it is there, or nothing is read.
    for start in range(offset, offset + size, PIECE):
        try:
            yield blob.read(start, min(PIECE, offset + size - start))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Damaged(blob.name, start, "read_error", f"it cannot be read: {why}") from None


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
    if crc != unmask(masked_crc):
        raise Damaged(
            blob.name, offset, "crc_mismatch", f"the {size} bytes of {name!r} fail their checksum"
        )
