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

import re
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
_KIND = re.compile(rb"[\x01-\x04]")
_OF_KIND = [zlib.crc32(bytes([kind])) for kind in range(_LAST + 1)]
MOST_SOUGHT = 8 << 20
"""Bytes of a file in which, after damage, the next record is sought."""
MOST_BYTES = 64 << 20
"""Bytes of a record that are put together."""


class LevelLog:
    """Reads the records of a file.

    Attributes
    ----------
    damage : list of Damaged
        What was passed over: reading goes on at the next piece whose checksum is right.
    cut : bool
        The file ends within a record.
    """

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self.damage: list[Damaged] = []
        self.cut = False
        self._sought = 0

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
            piece = self._piece(at)
            if piece is not None:
                yield at, *piece
                at += _PIECE.size + len(piece[1])
            elif left < _PIECE.size:
                at += left  # padding
            else:
                following = self._next(at + 1)
                if following is None:
                    self._end(at)
                    return
                if following - at >= _PIECE.size or any(self._blob.read(at, following - at)):
                    self._note(at, f"no record begins here; the next one does at {following}")
                at = following

    def _piece(self, at: int) -> tuple[int, bytes] | None:
        """Return type and content of the piece that begins at an offset, None where none does."""
        if self._blob.size - at < _PIECE.size:
            return None
        checksum, length, kind = _PIECE.unpack(self._blob.read(at, _PIECE.size))
        start = at + _PIECE.size
        if not _FULL <= kind <= _LAST or length > min(_BLOCK, self._blob.size - start):
            return None
        data = bytes(self._blob.read(start, length))
        return (kind, data) if zlib.crc32(data, _OF_KIND[kind]) == checksum else None

    def _next(self, at: int) -> int | None:
        """Return where the next sound piece begins: in what was damaged blocks may be displaced."""
        end = self._blob.size - _PIECE.size + 1
        while at < end and self._sought < MOST_SOUGHT:
            span = self._blob.read(at, min(_BLOCK, end - at) + _PIECE.size - 1)
            for place in _KIND.finditer(span, _PIECE.size - 1):
                begin = at + place.start() - _PIECE.size + 1
                piece = self._piece(begin)
                # An empty piece is as likely to be made of zeros.
                if piece is not None and piece[1]:
                    return begin
            self._sought += _BLOCK
            at += _BLOCK
        return None

    def _end(self, at: int) -> None:
        """Say how the file ends: within a piece, or with something else."""
        rest = self._blob.size - at
        head = bytes(self._blob.read(at, min(rest, _PIECE.size)))
        if len(head) == _PIECE.size:
            _, length, kind = _PIECE.unpack(head)
            if not _FULL <= kind <= _LAST or length <= rest - _PIECE.size:
                self._note(at, "no record begins here, nor after it")
                return
        self.cut = True

    def _note(self, offset: int, detail: str) -> None:
        self.damage.append(Damaged(self._blob.name, offset, "bad_record", detail))
