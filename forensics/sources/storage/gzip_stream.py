"""Unpacking of gzip'd files piece by piece, within bounds, up to the first damaged byte."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from forensics.errors import Damaged

MAGIC = b"\x1f\x8b\x08"
"""First bytes of a gzip member that is deflated."""
_MAX_RATIO, _SPARE = 64, 16 << 20
"""Unpacked bytes accepted per packed byte, and besides: event files pack five- to tenfold."""
_SLICE, _OUTPUT = 1 << 14, 1 << 20
"""Packed bytes taken, and bytes unpacked, at once."""


class Unpacker:
    """Unpacks gzip members, one after the other.

    Parameters
    ----------
    name : str
        What the file is called in errors.
    packed_size : int
        Bytes of the file.
    """

    def __init__(self, name: str, packed_size: int) -> None:
        self._name = name
        self._limit = _MAX_RATIO * packed_size + _SPARE
        self._taken = self._unpacked = 0
        self._member: zlib._Decompress | None = None

    @property
    def complete(self) -> bool:
        """Whether the last member has ended."""
        return self._member is None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Unpack the next bytes; all that comes before a damaged byte is yielded.

        Raises
        ------
        Damaged
            ``bad_gzip``; ``limit`` where it unpacks to more than any event file would.
        """
        for start in range(0, len(piece), _SLICE):
            part = piece[start : start + _SLICE]
            before = None if self._member is None else self._member.copy()
            at = (self._taken, self._unpacked)
            try:
                found = list(self._take(part))
            except zlib.error:
                # What this slice had unpacked is lost with the error: once more, byte by byte.
                self._member, (self._taken, self._unpacked) = before, at
                yield from self._up_to_damage(part)
            else:
                yield from found

    def _up_to_damage(self, part: bytes) -> Iterator[bytes]:
        found: list[bytes] = []
        for index in range(len(part)):
            try:
                found.extend(self._take(part[index : index + 1]))
            except zlib.error as error:
                yield b"".join(found)
                detail = f"the gzip stream is damaged ({error}); the rest was not read"
                raise Damaged(self._name, self._taken, "bad_gzip", detail) from None
        yield b"".join(found)

    def _take(self, part: bytes) -> Iterator[bytes]:
        full = False
        while part or full:
            if self._member is None:
                if not part.strip(b"\0"):
                    # Padding, as tape and block devices leave it.
                    self._taken += len(part)
                    return
                self._member = zlib.decompressobj(wbits=31)
            unpacked = self._member.decompress(part, _OUTPUT)
            self._unpacked += len(unpacked)
            if self._unpacked > self._limit:
                detail = f"unpacks to more than {self._limit} bytes; the rest was not read"
                raise Damaged(self._name, self._taken, "limit", detail)
            if unpacked:
                yield unpacked
            rest, full = self._member.unconsumed_tail, len(unpacked) == _OUTPUT
            if self._member.eof:
                rest, full, self._member = self._member.unused_data, False, None
            self._taken += len(part) - len(rest)
            part = rest
