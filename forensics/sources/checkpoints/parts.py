"""A file, a part of one, or content in memory, to be read by offset all the same."""

from __future__ import annotations

from forensics.errors import Damaged
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
        self._whole = blob.whole  # Where it is held as a whole, its size is known only then.
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
        try:
            return self._blob.read(self._start + offset, count)
        except OSError as error:
            why = error.strerror or type(error).__name__
            where = self.place(offset)
            raise Damaged(self.name, where, "read_error", f"it cannot be read: {why}") from None

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

    def place(self, offset: int) -> int:
        """Offset in the file: where the compressed content begins."""
        return self._start


def _check(name: str, start: int, size: int, offset: int, count: int) -> None:
    if offset < 0 or count < 0 or offset + count > size:
        detail = f"{count} bytes at {offset} are promised, there are {size}"
        raise Damaged(name, start, "out_of_range", detail)
