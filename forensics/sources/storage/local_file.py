"""A regular file on a local disk: opened without blocking, by nobody's leave but its mode."""

from __future__ import annotations

import os
import stat

from forensics.domain.run import InputFile, InputState
from forensics.sources.storage.blob import Blob, NotRegular

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class LocalFile(Blob):
    """Content of a regular file on a disk.

    Parameters
    ----------
    path : str or path-like
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

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        # looked at before it is opened too: opening some devices does something
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            raise NotRegular(name)
        self.descriptor: int = os.open(path, _FLAGS)
        try:
            self._stat = os.fstat(self.descriptor)
            if not stat.S_ISREG(self._stat.st_mode):
                raise NotRegular(name)
        except BaseException:
            os.close(self.descriptor)
            raise
        super().__init__(name, self._stat.st_size)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)

    def _range(self, offset: int, count: int) -> bytes:
        pieces: list[bytes] = []
        while count > 0:
            # At once: the kernel stops at the file's end, and joined pieces are a second copy.
            piece = os.pread(self.descriptor, count, offset)
            if not piece:
                break
            pieces.append(piece)
            offset, count = offset + len(piece), count - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def changed(self) -> bool:
        """Whether somebody has written to it since it was opened."""
        now = os.fstat(self.descriptor)
        before = self._stat
        # where less was read than there was, it has been shorter meanwhile
        cut = self.size != before.st_size
        return cut or (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)

    def identified(self, kind: str, state: InputState) -> InputFile:
        """Record of this file as an input, identified by the hash of its content."""
        return InputFile(self.name, kind, self.size, self.sha256(), state)
