"""Bytes of one chunk, decoded as they are read: never more of them is held than was asked for."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from forensics.errors import Damaged
from forensics.sources.checkpoints.orbax import zstd
from forensics.sources.checkpoints.orbax.span import Span
from forensics.sources.checksum import crc32c

CODECS = ("zstd", "gzip", "zlib", "crc32c")
"""Encodings of bytes that are read; the names are those of zarr 3."""
_PIECE = 1 << 16
_CHECKSUM_BYTES = 4


class ChunkStream:
    """Decoded bytes of a chunk in their order.

    Parameters
    ----------
    span : Span
        The encoded bytes.
    codecs : sequence of str
        Encodings in the order in which they were applied.

    Raises
    ------
    Damaged
        A checksum over the encoded bytes is wrong, or a package to decode them is missing.
    """

    def __init__(self, span: Span, codecs: Sequence[str]) -> None:
        self._path, self._at = span.path, span.first
        self._failures: tuple[type[BaseException], ...] = (EOFError, OSError, ValueError)
        left = list(codecs)
        while left and left[-1] == "crc32c":
            span = _verified(span)
            left.pop()
        self._source: Any = span.open()
        for codec in reversed(left):
            self._source = self._decoded(codec)

    def _decoded(self, codec: str) -> Any:
        if codec == "zstd":
            self._failures += zstd.failures(self._path)
            return zstd.open_zstd(self._source, self._path)
        if codec == "gzip":
            self._failures += (zlib.error,)
            return gzip.GzipFile(fileobj=self._source, mode="rb")
        if codec == "zlib":
            self._failures += (zlib.error,)
            return _Zlib(self._source)
        detail = f"chunks encoded with {codec[:40]!r} are not read"
        raise Damaged(self._path, self._at, "unsupported", detail)

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises
        ------
        Damaged
            There are not so many, or they cannot be decoded.
        """
        pieces: list[bytes] = []
        while count > 0:
            piece = self._read(count)
            if not piece:
                detail = f"{count} bytes are missing at the end of a chunk"
                raise Damaged(self._path, self._at, "truncated", detail)
            pieces.append(piece)
            count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, count: int) -> None:
        """Read and drop `count` bytes: what a chunk holds beyond the edge of its array."""
        while count > 0:
            count -= len(self.read(min(count, _PIECE)))

    def finish(self) -> None:
        """Check that nothing is left.

        Raises
        ------
        Damaged
            Something is, or the end is not that of its encoding.
        """
        if self._read(1):
            raise Damaged(self._path, self._at, "bad_length", "a chunk holds more than its array")

    def _read(self, count: int) -> bytes:
        try:
            return bytes(self._source.read(count))
        except self._failures as error:
            detail = f"a chunk cannot be decoded: {type(error).__name__}: {error}"
            raise Damaged(self._path, self._at, "bad_chunk", detail) from None


def _verified(span: Span) -> Span:
    """Return what is before the CRC-32C (little-endian) at the end, which is verified."""
    inner = span.size - _CHECKSUM_BYTES
    if inner < 0:
        raise Damaged(span.path, span.first, "truncated", "a chunk has no room for its checksum")
    crc, source = 0, span.part(0, inner).open()
    while piece := source.read(1 << 20):
        crc = crc32c(piece, crc)
    (stored,) = struct.unpack("<I", span.part(inner, _CHECKSUM_BYTES).read())
    if crc != stored:
        raise Damaged(span.path, span.first, "crc_mismatch", "the checksum of a chunk is wrong")
    return span.part(0, inner)


class _Zlib:
    """A zlib stream as something to read from."""

    def __init__(self, source: Any) -> None:
        self._source, self._decoder = source, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        while not self._decoder.eof:
            waiting = self._decoder.unconsumed_tail or self._source.read(_PIECE)
            piece = self._decoder.decompress(waiting, count)
            if piece:
                return piece
            if not waiting:
                raise EOFError("the stream is cut off")
        if self._decoder.unused_data:
            raise ValueError("bytes after the end of the stream")
        return b""
