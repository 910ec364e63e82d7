"""The sorted table behind a tensor bundle's ``.index``: blocks of prefix-compressed keys.

The layout is LevelDB's [1]_ as TensorFlow writes it: data blocks, a metaindex block and an index
block, each followed by one type byte and a masked CRC-32C, then a footer of 48 bytes with the
handles of the last two and a magic number.

References
----------
.. [1] https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checksum import crc32c, unmask
from forensics.sources.wire import varint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_KEY_EXPANSION = 64
"""Keys may be this many times as large as the file: writers restart prefixes every 16 keys."""


def is_table(data: bytes | memoryview) -> bool:
    """Whether `data` ends with a table's magic number."""
    return len(data) >= FOOTER_BYTES and bytes(data[-8:]) == MAGIC


class Table:
    """Entries of a table, every block verified before it is interpreted.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        What to call it in errors.

    Raises
    ------
    Damaged
        Here for the footer, by `entries` for the blocks.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self._data, self._path = data, path
        self._key_bytes_left = len(data) * _KEY_EXPANSION
        if not is_table(data):
            raise Damaged(path, max(0, len(data) - 8), "bad_magic", "this is no bundle index")
        footer = len(data) - FOOTER_BYTES
        _, offset = self._handle(footer, len(data) - 8)
        self._index = self._handle(offset, len(data) - 8)[0]

    def entries(self) -> Iterator[tuple[bytes, int, int]]:
        """Key, and first and last byte (exclusive) of its value in the file, in the file's order.

        Raises
        ------
        Damaged
            With the offset of the first byte that is wrong.
        """
        last: bytes | None = None
        taken_to = 0
        for _, start, end in self._block(*self._index):
            (offset, size), _ = self._handle(start, end)
            if offset != taken_to:
                raise Damaged(
                    self._path, start, "bad_offset",
                    f"a block is said to start at {offset}, the one before it ends at {taken_to}",
                )  # fmt: skip
            taken_to = offset + size + _TRAILER_BYTES
            for key, value, value_end in self._block(offset, size):
                if last is not None and key <= last:
                    raise Damaged(self._path, value, "bad_order", "keys are not in order")
                last = key
                yield key, value, value_end

    def _handle(self, offset: int, end: int) -> tuple[tuple[int, int], int]:
        """Handle (offset and size of a block) at `offset`, and where it ends."""
        start, after = varint(self._data, offset, end, self._path)
        size, after = varint(self._data, after, end, self._path)
        if start + size + _TRAILER_BYTES > len(self._data) - FOOTER_BYTES:
            raise Damaged(
                self._path, offset, "bad_offset",
                f"a block of {size} bytes at {start} reaches beyond the file",
            )  # fmt: skip
        return (start, size), after

    def _block(self, start: int, size: int) -> Iterator[tuple[bytes, int, int]]:
        """Entries of one block: key, and first and last byte (exclusive) of its value."""
        end = self._checked(start, size)
        offset, key = start, b""
        while offset < end:
            at = offset
            shared, offset = varint(self._data, offset, end, self._path)
            fresh, offset = varint(self._data, offset, end, self._path)
            length, offset = varint(self._data, offset, end, self._path)
            if shared > len(key) or offset + fresh + length > end:
                raise Damaged(self._path, at, "bad_length", "an entry reaches beyond its block")
            key = key[:shared] + self._data[offset : offset + fresh]
            offset += fresh
            self._key_bytes_left -= len(key)
            if self._key_bytes_left < 0:
                raise Damaged(self._path, at, "limit", "keys are far larger than the file")
            yield key, offset, offset + length
            offset += length

    def _checked(self, start: int, size: int) -> int:
        """Where the entries of a block end, after its checksum was verified."""
        end = start + size
        kind, stored = struct.unpack_from("<BI", self._data, end)
        if crc32c(memoryview(self._data)[start : end + 1]) != unmask(stored):
            raise Damaged(self._path, start, "crc_mismatch", "the checksum of a block is wrong")
        if kind != 0:
            raise Damaged(
                self._path, end, "unsupported", f"blocks compressed by method {kind} are not read"
            )
        if size < 4:
            raise Damaged(self._path, start, "bad_length", "a block has no restart points")
        (restarts,) = struct.unpack_from("<I", self._data, end - 4)
        if restarts < 1 or 4 * (restarts + 1) > size:
            raise Damaged(self._path, end - 4, "bad_length", "restart points fill the block")
        return end - 4 * (int(restarts) + 1)
