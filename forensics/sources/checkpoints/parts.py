"""A file, a part of one, or content in memory, to be read by offset all the same."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.errors import Damaged
from forensics.sources.checkpoints.file_pieces import file_pieces, read_piece
from forensics.sources.checkpoints.stored_tensor import PIECE
from forensics.sources.storage.blob import Blob


class Part:
    """A part of a file; all of it unless told otherwise.

    Parameters
    ----------
    blob : Blob
        The file.
    start, size : int
        The part.
    """

    def __init__(self, blob: Blob, start: int = 0, size: int | None = None) -> None:
        self.name = blob.name
        self._whole = blob.whole
        self.size = blob.size - start if size is None else size
        self._blob, self._start = blob, start

    def read(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset` of the part.

        Raises
        ------
        Damaged
            It does not hold them, or they cannot be read.
        """
        _check(self.name, self.place(0), self.size, offset, count)
        return read_piece(self._blob, self._start + offset, count)

    def pieces(self, offset: int, count: int) -> Iterator[memoryview]:
        """`count` bytes from `offset`, at most `PIECE` at a time, or `Damaged`."""
        _check(self.name, self.place(0), self.size, offset, count)
        start = self._start + offset
        if self._whole is not None:
            return sliced(memoryview(self._whole)[start : start + count])
        return file_pieces(self._blob, start, count)

    @property
    def descriptor(self) -> tuple[int, int] | None:
        """Open file on a local disk and where the part begins in it, None where it is remote."""
        own = self._blob.descriptor
        return None if own is None else (own, self._start)

    def place(self, offset: int) -> int:
        """Offset in the file."""
        return self._start + offset


class Inflated:
    """Content that is held in memory.

    Attributes
    ----------
    descriptor : None
        It is in no file.

    Parameters
    ----------
    name : str
        Of the file that it comes from.
    start : int
        Where it begins there: for errors, since what follows is compressed.
    data : bytes
        The content.
    """

    descriptor: tuple[int, int] | None = None

    def __init__(self, name: str, start: int, data: bytes) -> None:
        self.name, self.size = name, len(data)
        self._start, self._data = start, memoryview(data)

    def read(self, offset: int, count: int) -> memoryview:
        """`count` bytes from `offset`, or `Damaged`."""
        _check(self.name, self._start, self.size, offset, count)
        return self._data[offset : offset + count]

    def pieces(self, offset: int, count: int) -> Iterator[memoryview]:
        """`count` bytes from `offset`, at most `PIECE` at a time, or `Damaged`."""
        return sliced(self.read(offset, count))

    def place(self, offset: int) -> int:
        """Offset in the file: where the compressed content begins."""
        return self._start


def sliced(data: memoryview) -> Iterator[memoryview]:
    """Cut what is in memory into pieces."""
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def _check(name: str, start: int, size: int, offset: int, count: int) -> None:
    if offset < 0 or count < 0 or offset + count > size:
        detail = f"{count} bytes at {offset} are promised, there are {size}"
        raise Damaged(name, start, "out_of_range", detail)
