"""Records in the framing of LevelDB's log [1]_, as Weights & Biases keeps its runs [2]_.

Blocks of 32 KiB hold pieces of records, each behind checksum, length and type; what does not fit
goes on in the next block. W&B puts seven bytes in front and takes zlib's CRC-32 of type and data,
not the masked CRC-32C of LevelDB.

References
----------
.. [1] https://github.com/google/leveldb/blob/main/doc/log_format.md
.. [2] wandb 0.16, ``sdk/internal/datastore.py``; the same bytes come from the newer core.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.storage.blob import Blob

HEADER = b":W&B\xe1\xbe\x00"
"""Name, magic number and version 0."""
_BLOCK = 32768
_PIECE = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
MOST_BYTES = 64 << 20
"""Bytes of a record that are put together."""


class LevelLog:
    """Reads the records of a file.

    Attributes
    ----------
    damage : list of Damaged
        What was passed over: reading goes on at the next block, as LevelDB does.
    cut : bool
        The file ends within a record.
    """

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.damage: list[Damaged] = []
        self.cut = False

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield offset and content of every sound record."""
        parts: list[bytes] = []
        begun = size = 0
        for offset, kind, data in self._pieces():
            if kind in (_FULL, _FIRST):
                if parts:
                    self._note(begun, "the record that begins here is not ended")
                parts, begun, size = [], offset, 0
            elif not parts:
                continue  # the rest of a record whose beginning is lost
            size += len(data)
            if size > MOST_BYTES:
                self._note(begun, f"a record of more than {MOST_BYTES} bytes")
                parts = []
                continue
            parts.append(data)
            if kind in (_FULL, _LAST):
                yield begun, b"".join(parts)
                parts = []
        self.cut = self.cut or bool(parts)

    def _pieces(self) -> Iterator[tuple[int, int, bytes]]:
        at, end = len(HEADER), self._blob.size
        while at < end:
            left = _BLOCK - at % _BLOCK
            if left < _PIECE.size:
                at += left  # padding
                continue
            if end - at < _PIECE.size:
                self.cut = True
                return
            head = self._blob.read(at, _PIECE.size)
            checksum, length, kind = _PIECE.unpack(head)
            stop = at + _PIECE.size + length
            if stop > end and length <= left - _PIECE.size and kind in range(_FULL, _LAST + 1):
                self.cut = True
                return
            if length > left - _PIECE.size or stop > end or kind not in range(_FULL, _LAST + 1):
                self._note(at, "no record can begin here")
                at += left
                continue
            data = bytes(self._blob.read(at + _PIECE.size, length))
            if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
                self._note(at, "the checksum of a record is wrong")
                at += left
                continue
            yield at, kind, data
            at = stop

    def _note(self, offset: int, detail: str) -> None:
        self.damage.append(Damaged(self._blob.name, offset, "bad_record", detail))
