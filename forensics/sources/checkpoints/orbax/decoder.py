"""Reading one decoded record of an OCDBT database: numbers and bytes, one after the other."""

from __future__ import annotations

import struct

from forensics.errors import Damaged
from forensics.sources.wire import varint

MOST = 1 << 20
"""Numbers in one column, at most: the arity that the format allows."""


class Decoder:
    """A position in decoded bytes that never leaves them.

    Parameters
    ----------
    data : bytes
        All of the record.
    path : str
        The file, for errors.
    at : int
        Where the record begins in the file: decoded bytes have no place of their own there.
    """

    def __init__(self, data: bytes, path: str, at: int) -> None:
        self._data, self._path, self._at, self._position = data, path, at, 0

    def fail(self, kind: str, detail: str) -> Damaged:
        """Return what to raise."""
        return Damaged(self._path, self._at, kind, detail)

    def byte(self) -> int:
        """Next byte as a number."""
        return self.bytes(1)[0]

    def bytes(self, count: int) -> bytes:
        """Next `count` bytes."""
        if count > len(self._data) - self._position:
            raise self.fail("truncated", "a record ends within a value")
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, bits: int = 64) -> int:
        """Next varint, which must fit `bits`."""
        try:
            value, self._position = varint(self._data, self._position, len(self._data), self._path)
        except Damaged as error:
            raise self.fail("truncated", error.detail) from None
        if value >> bits:
            raise self.fail("bad_number", f"a number does not fit {bits} bits")
        return value

    def numbers(self, count: int, bits: int = 64) -> list[int]:
        """Next `count` varints: each takes a byte at least."""
        if count > min(MOST, len(self._data) - self._position):
            raise self.fail("bad_count", f"{count} numbers are promised, the record has no room")
        return [self.number(bits) for _ in range(count)]

    def fixed64s(self, count: int) -> tuple[int, ...]:
        """Next `count` little-endian 64-bit numbers."""
        return struct.unpack(f"<{count}Q", self.bytes(8 * count))

    def end(self) -> None:
        """Check that nothing is left."""
        if self._position != len(self._data):
            raise self.fail("trailing_bytes", "a record goes on after its last value")
