"""Bytes of one untrusted file, wherever it lies: never read past its end, identified."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from forensics.domain.run import InputFile, InputState
from forensics.errors import Damaged

IN_MEMORY = 64 << 20
"""Bytes up to which a file is held as a whole, so that hash and parse see the same content."""
PIECE = 1 << 20
"""Bytes that are taken from a disk at once."""


class NotRegular(Exception):
    """The path is a FIFO, a device, a socket or a directory: nothing to be read."""


class Blob(ABC):
    """Content of a file, read by offset. Open one with `Place.open`, close it after use.

    Attributes
    ----------
    name : str
        What it is called in errors and records (relative to the root of its place).
    size : int
        Bytes it had when it was opened (when it was listed, where it is remote).
    descriptor : int or None
        Open file on a local disk, for those who map it; None where it is remote.
    """

    descriptor: int | None = None
    _hashes = True

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._whole: bytes | None = None
        self._digest: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give back what is held of the operating system, or of the connection."""

    @property
    @abstractmethod
    def changed(self) -> bool:
        """Whether somebody has written to it since it was opened, as far as can be told."""

    @abstractmethod
    def identified(self, kind: str, state: InputState) -> InputFile:
        """Record of this file as an input, with what identifies its content."""

    @abstractmethod
    def _range(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; fewer only where the file has become shorter."""

    @property
    def whole(self) -> bytes | None:
        """All of it, None where the file is larger than `IN_MEMORY`.

        Raises
        ------
        OSError
            It cannot be read.
        """
        if self._whole is None and self.size <= IN_MEMORY:
            self._whole = self._range(0, self.size)
            self.size = len(self._whole)
        return self._whole

    def head(self, count: int) -> bytes:
        """First bytes, `count` of them if there are as many; nothing else is read for them.

        Raises
        ------
        OSError
            It cannot be read.
        """
        if self._whole is not None:
            return self._whole[:count]
        return self._range(0, min(count, self.size))

    def read(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset`.

        Raises
        ------
        Damaged
            ``out_of_range``: the file does not hold them (nothing is allocated then);
            ``truncated``: it shrank while being read.
        OSError
            It cannot be read.
        """
        whole = self.whole
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Damaged(
                self.name,
                min(max(offset, 0), self.size),
                "out_of_range",
                f"{count} bytes at {offset} are promised, the file has {self.size}",
            )
        if whole is not None:
            return memoryview(whole)[offset : offset + count]
        data = self._range(offset, count)
        if len(data) != count:
            raise Damaged(
                self.name, offset + len(data), "truncated", "the file shrank while it was read"
            )
        return memoryview(data)

    def pieces(self) -> Iterator[bytes]:
        """Content from the first byte to `size`, a piece at a time, for a single pass.

        What was appended since the file was opened is left; one that shrank ends early. The pass
        hashes what it hands out: `record` need not read the file again after a complete one.

        Raises
        ------
        OSError
            It cannot be read.
        """
        if not self._hashes:
            yield from self._pieces()
            return
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
            yield piece
        self._digest = digest.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        offset = 0
        while offset < self.size:
            piece = self._range(offset, min(PIECE, self.size - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece

    def record(self, kind: str, state: InputState) -> InputFile:
        """Record of this file as an input; whatever its state, if it has `changed` it is live."""
        return self.identified(kind, InputState.LIVE if self.changed else state)

    def sha256(self) -> str:
        """Digest of the content, in hex; of a file that was not read as a whole, it is read."""
        if self._digest is None:
            digest = hashlib.sha256()
            for piece in self._pieces() if self._whole is None else (self._whole,):
                digest.update(piece)
            self._digest = digest.hexdigest()
        return self._digest


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
