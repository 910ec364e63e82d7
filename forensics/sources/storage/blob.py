"""Bytes of one untrusted file: opened without blocking, never read past its end, hashed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Any

from forensics.domain.run import InputFile, InputState
from forensics.errors import Damaged

IN_MEMORY = 64 << 20
"""Bytes up to which a file is read at once, so that hash and parse see the same content."""
_PIECE = 1 << 20


class NotRegular(Exception):
    """The path is a FIFO, a device, a socket or a directory: nothing to be read."""


class Blob:
    """Content of a regular file, read by offset.

    Parameters
    ----------
    path : Path
        Where it lies.
    name : str
        What it is called in errors and records (relative to the log directory).

    Raises
    ------
    OSError
        It cannot be opened or read.
    NotRegular
        It is no regular file. A FIFO is refused without waiting for its writer.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._whole: bytes | None = None
        try:
            self._stat = os.fstat(self._fd)
            if not stat.S_ISREG(self._stat.st_mode):
                raise NotRegular(name)
            self.size = self._stat.st_size
            if self.size <= IN_MEMORY:
                self._whole = self._pread(0, self.size)
                self.size = len(self._whole)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Blob:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def _pread(self, offset: int, count: int) -> bytes:
        pieces: list[bytes] = []
        while count > 0:
            piece = os.pread(self._fd, min(count, _PIECE), offset)
            if not piece:
                break
            pieces.append(piece)
            offset, count = offset + len(piece), count - len(piece)
        return b"".join(pieces)

    @property
    def whole(self) -> bytes | None:
        """All of it, None where the file is larger than `IN_MEMORY`."""
        return self._whole

    def read(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset`.

        Raises
        ------
        Damaged
            ``out_of_range``: the file does not hold them (nothing is allocated then);
            ``truncated``: it shrank while being read.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Damaged(
                self.name,
                min(max(offset, 0), self.size),
                "out_of_range",
                f"{count} bytes at {offset} are promised, the file has {self.size}",
            )
        if self._whole is not None:
            return memoryview(self._whole)[offset : offset + count]
        data = self._pread(offset, count)
        if len(data) != count:
            raise Damaged(
                self.name, offset + len(data), "truncated", "the file shrank while it was read"
            )
        return memoryview(data)

    def sha256(self) -> str:
        """Digest of the content, in hex."""
        if self._whole is not None:
            return hashlib.sha256(self._whole).hexdigest()
        digest = hashlib.sha256()
        offset = 0
        while piece := os.pread(self._fd, _PIECE, offset):
            digest.update(piece)
            offset += len(piece)
        return digest.hexdigest()

    def record(self, kind: str, state: InputState) -> InputFile:
        """Record of this file as an input; a file that changed while it was read is ``live``."""
        now = os.fstat(self._fd)
        before = (self._stat.st_size, self._stat.st_mtime_ns)
        if (now.st_size, now.st_mtime_ns) != before:
            state = InputState.LIVE
        return InputFile(self.name, kind, self.size, self.sha256(), state)


class BlobFile(io.RawIOBase):
    """A part of a `Blob` as a file that can be read and sought in."""

    def __init__(self, blob: Blob, start: int, size: int) -> None:
        super().__init__()
        self._blob, self._start, self._position = blob, start, 0
        self._size = max(0, min(size, blob.size - start))

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought in: yes."""
        return True

    def tell(self) -> int:
        """Position in the part."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; one before the beginning is an error, one after the end is not."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("a position before the beginning")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the part goes on."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._size - self._position))
        target[:count] = self._blob.read(self._start + self._position, count)
        self._position += count
        return count
