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
from contextlib import contextmanager
from typing import NamedTuple

from forensics.errors import Damaged
from forensics.sources.checkpoints.snappy import decompress
from forensics.sources.checksum import crc32c, unmask
from forensics.sources.storage.blob import NotRegular
from forensics.sources.storage.place import Place
from forensics.sources.wire import varint

PLAIN, SNAPPY = 0, 1
MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_KEY_EXPANSION = 64
"""Keys may be this many times as large as the file: writers restart prefixes every 16 keys."""
_BLOCK_EXPANSION = 32
"""All blocks together may be this many times as large as the file."""


class Row(NamedTuple):
    """A key, and its value: ``data[start:end]``.

    ``data`` is the file, or a block that was compressed in it; ``at`` is the byte of the file to be
    named in errors.
    """

    key: bytes
    data: bytes
    start: int
    end: int
    at: int


def is_table(data: bytes | memoryview) -> bool:
    """Whether `data` ends with a table's magic number."""
    return len(data) >= FOOTER_BYTES and bytes(data[-8:]) == MAGIC


def is_table_file(name: str, place: Place) -> bool:
    """Whether a file ends like a table; what cannot be read does not."""
    try:
        with place.open(name) as blob:
            tail = min(blob.size, FOOTER_BYTES)
            return is_table(blob.read(blob.size - tail, tail))
    except (OSError, NotRegular, Damaged):
        return False


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
        self._block_bytes_left = len(data) * _BLOCK_EXPANSION
        if not is_table(data):
            raise Damaged(path, max(0, len(data) - 8), "bad_magic", "this is no bundle index")
        footer = len(data) - FOOTER_BYTES
        _, offset = self._handle(Row(b"", data, footer, len(data) - 8, footer))
        self._index = self._handle(Row(b"", data, offset, len(data) - 8, offset))[0]

    def entries(self, lost: list[Damaged] | None = None) -> Iterator[Row]:
        """Keys and values, in the file's order.

        Parameters
        ----------
        lost : list of Damaged, optional
            Takes what is wrong with a block; the others are read all the same.

        Raises
        ------
        Damaged
            With the offset of the first byte that is wrong.
        """
        last: bytes | None = None
        taken_to = 0
        for handle in self._block(*self._index):
            (offset, size), _ = self._handle(handle)
            if offset != taken_to:
                raise Damaged(
                    self._path, handle.at, "bad_offset",
                    f"a block is said to start at {offset}, the one before it ends at {taken_to}",
                )  # fmt: skip
            taken_to = offset + size + _TRAILER_BYTES
            try:
                rows = list(self._block(offset, size))
            except Damaged as error:
                if lost is None:
                    raise
                lost.append(error)
                continue
            for row in rows:
                if last is not None and row.key <= last:
                    raise Damaged(self._path, row.at, "bad_order", "keys are not in order")
                last = row.key
                yield row

    def _handle(self, row: Row) -> tuple[tuple[int, int], int]:
        """Handle (offset and size of a block) that a value is, and where it ends."""
        with self._inside(row.data, row.at):
            start, after = varint(row.data, row.start, row.end, self._path)
            size, after = varint(row.data, after, row.end, self._path)
        if start + size + _TRAILER_BYTES > len(self._data) - FOOTER_BYTES:
            raise Damaged(
                self._path, row.at, "bad_offset",
                f"a block of {size} bytes at {start} reaches beyond the file",
            )  # fmt: skip
        return (start, size), after

    @contextmanager
    def _inside(self, data: bytes, at: int) -> Iterator[None]:
        """Name the block in errors where an offset in what it holds says nothing of the file."""
        try:
            yield
        except Damaged as error:
            if data is self._data:
                raise
            raise Damaged(self._path, at, error.kind, error.detail) from None

    def _block(self, start: int, size: int) -> Iterator[Row]:
        """Entries of one block."""
        data, offset, end = self._checked(start, size)
        plain, key = data is self._data, b""
        while offset < end:
            at = offset if plain else start
            if offset + 3 <= end and max(data[offset : offset + 3]) < 0x80:
                # Nearly every entry: three sizes of one byte.
                shared, fresh, length = data[offset : offset + 3]
                offset += 3
            else:
                with self._inside(data, at):
                    shared, offset = varint(data, offset, end, self._path)
                    fresh, offset = varint(data, offset, end, self._path)
                    length, offset = varint(data, offset, end, self._path)
            if shared > len(key) or offset + fresh + length > end:
                raise Damaged(self._path, at, "bad_length", "an entry reaches beyond its block")
            key = key[:shared] + data[offset : offset + fresh]
            offset += fresh
            self._key_bytes_left -= len(key)
            if self._key_bytes_left < 0:
                raise Damaged(self._path, at, "limit", "keys are far larger than the file")
            yield Row(key, data, offset, offset + length, offset if plain else start)
            offset += length

    def _checked(self, start: int, size: int) -> tuple[bytes, int, int]:
        """Where the entries of a block begin and end, after its checksum was verified."""
        data, end = self._data, start + size
        kind, stored = struct.unpack_from("<BI", data, end)
        if crc32c(memoryview(data)[start : end + 1]) != unmask(stored):
            raise Damaged(self._path, start, "crc_mismatch", "the checksum of a block is wrong")
        at = start
        if kind == SNAPPY:
            data = decompress(data[start:end], self._path, start)
            start, end = 0, len(data)
            self._block_bytes_left -= len(data)
            if self._block_bytes_left < 0:
                raise Damaged(self._path, at, "limit", "blocks are far larger than the file")
        elif kind != PLAIN:
            raise Damaged(
                self._path, end, "unsupported", f"blocks compressed by method {kind} are not read"
            )
        if end - start < 4:
            raise Damaged(self._path, at, "bad_length", "a block has no restart points")
        (restarts,) = struct.unpack_from("<I", data, end - 4)
        if restarts < 1 or 4 * (restarts + 1) > end - start:
            where = end - 4 if kind == PLAIN else at
            raise Damaged(self._path, where, "bad_length", "restart points fill the block")
        return data, start, end - 4 * (int(restarts) + 1)
